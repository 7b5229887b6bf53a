"""A Debian of the test's own, with systemd, in a container (systemd-nspawn): its root is temporary, its
network is this machine's."""

import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PATIENCE = 60.0
# What the root has besides rigd. It is made once and kept beside the builds.
PACKAGES = "systemd,systemd-sysv,dbus,udev,polkitd,libjack-jackd2-0,jackd2"
SUITE = "bookworm"
# How nspawn ends when the machine in it reboots and somebody else is to boot it (--keep-unit).
REBOOTS = 133


def missing():
    """Why this machine cannot do it, or None."""
    if os.geteuid() != 0:
        return "containers need root"
    for tool in ("mmdebstrap", "systemd-nspawn", "nsenter", "dpkg-deb"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    return None


def base(target):
    """The root as a tar file; downloaded the first time."""
    tar = target / "service" / f"{SUITE}-{hashlib.sha256(PACKAGES.encode()).hexdigest()[:8]}.tar"
    if not tar.exists():
        tar.parent.mkdir(parents=True, exist_ok=True)
        half = tar.with_suffix(".half.tar")
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}",
                   "--dpkgopt=path-exclude=/usr/share/locale/*", SUITE, half]  # fmt: skip
        subprocess.run(command, check=True)
        half.rename(tar)
    return tar


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(fact, what, timeout=PATIENCE):
    """The first answer of `fact` that is true."""
    deadline = time.monotonic() + timeout
    while True:
        answer = fact()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {timeout} s: {what}"
        time.sleep(0.02)


class Machine:
    """The root, and the container while it is booted."""

    def __init__(self, folder, tar):
        self.root = folder / "root"
        self.root.mkdir()
        subprocess.run(["tar", "xf", tar, "-C", self.root], check=True)
        self.port = free_port()
        self.write("/etc/default/rigd", f"RIGD_LISTEN=127.0.0.1:{self.port}\nRIGD_AUDIO_BACKEND=null\nRIGD_LOG=debug\n")
        self.write("/etc/hostname", "rig\n")
        self.process = None
        self.init = None
        self.console = folder / "console"

    def write(self, path, text):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def path(self, path):
        return self.root / path.lstrip("/")

    def run(self, *command, check=True):
        """What a command says, in the booted container, else in the bare root."""
        enter = ["nsenter", "-a", "-t", str(self.init)] if self.init else ["chroot", self.root]
        done = subprocess.run([*enter, *map(str, command)], capture_output=True, text=True, timeout=PATIENCE * 2)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.tail()}"
        return done.stdout.strip()

    def tail(self):
        """The end of rigd's journal."""
        if not self.init:
            return ""
        enter = ["nsenter", "-a", "-t", str(self.init)]
        command = [*enter, "journalctl", "--no-pager", "-n", "40", "-u", "rigd*"]
        return subprocess.run(command, capture_output=True, text=True).stdout

    def dpkg(self, *arguments):
        shutil.copy(arguments[-1], self.path("/root")) if str(arguments[-1]).endswith(".deb") else None
        last = "/root/" + Path(arguments[-1]).name if str(arguments[-1]).endswith(".deb") else arguments[-1]
        return self.run("dpkg", "--force-confold", *arguments[:-1], last)

    def boot(self):
        with open(self.console, "w") as console:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "--boot",
                 "--capability=CAP_SYS_NICE,CAP_IPC_LOCK",
                 "--system-call-filter=sched_setscheduler sched_setaffinity mlockall", "-D", self.root],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip

        def child():
            assert self.process.poll() is None, self.console.read_text()
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            # nspawn's own helpers come and go before.
            return next((child for child in children if self._is_init(child)), None)

        self.init = int(wait_until(child, "the container's first process"))

        def state():
            return self.run("systemctl", "is-system-running", check=False) in ("running", "degraded")

        wait_until(state, "the container has booted")

    def ends(self):
        """Waits until it has ended by itself; whether it wants to be booted again."""
        wait_until(lambda: self.process.poll() is not None, "the machine has ended")
        code = self.process.returncode
        assert code in (0, REBOOTS), self.console.read_text()[-2000:]
        self.process = self.init = None
        return code == REBOOTS

    @staticmethod
    def _is_init(pid):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False
        return bool(re.search(r"^Name:\s+systemd$", status, re.M) and re.search(r"^NSpid:.*\s1$", status, re.M))

    def halt(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = self.init = None

    def show(self, name, unit="rigd.service"):
        return self.run("systemctl", "show", "-P", name, unit)

    def wait_for(self, state, unit="rigd.service"):
        wait_until(lambda: self.show("ActiveState", unit) == state, f"{unit} is {state}")

    def pid(self):
        """rigd's number outside of the container."""
        inside = self.show("MainPID")
        if inside == "0":
            return None
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            except OSError:
                continue
            numbers = lines.get("NSpid", "").split()
            if len(numbers) > 1 and numbers[-1] == inside and lines["Name"].strip() == "rigd":
                if os.readlink(f"/proc/{numbers[0]}/ns/pid") == os.readlink(f"/proc/{self.init}/ns/pid"):
                    return int(numbers[0])
        return None

    def thread(self, name):
        pid = self.pid()
        for task in Path(f"/proc/{pid}/task").iterdir():
            if (task / "comm").read_text().strip() == name:
                return int(task.name)
        raise AssertionError(f"no thread {name}")

    def journal(self, *fits):
        """What rigd's journal holds, as its fields."""
        lines = self.run("journalctl", "--no-pager", "-o", "json", *fits).splitlines()
        return [json.loads(line) for line in lines]


libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def hold(thread):
    """Lets one thread of a process stand still, while the others go on."""
    ptrace(PTRACE_SEIZE, thread)
    ptrace(PTRACE_INTERRUPT, thread)
    os.waitpid(thread, WALL)


def let_go(thread):
    ptrace(PTRACE_DETACH, thread)


def is_dead(thread):
    """Whether a held thread has been killed; it is gone for good only when its holder has seen that."""
    try:
        pid, status = os.waitpid(thread, WALL | os.WNOHANG)
    except ChildProcessError:
        return True
    return pid != 0 and (os.WIFEXITED(status) or os.WIFSIGNALED(status))
