"""The device image in an emulator: a card that is a file, a serial line that is a log, forwarded ports."""

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "target/image"
UBOOT = "/usr/lib/u-boot/qemu_arm64/u-boot.bin"
BOOT_AT = 8192 * 512
# Nobody listens there.
NOTHING = 9
# An emulated box on a busy machine takes minutes for what a Pi does in seconds.
PATIENCE = 600


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def card(path, gib=3):
    """A copy of the image, on a card that is larger."""
    subprocess.run(["cp", "--sparse=always", OUT / "rig-virt.img", path], check=True)
    with open(path, "r+b") as file:
        file.truncate(gib << 30)
    return path


def put(image, name, text):
    """Places a file on the boot partition, as an owner does with a computer."""
    source = image.parent / f"put-{name}"
    source.write_text(text)
    subprocess.run(["mcopy", "-o", "-i", f"{image}@@{BOOT_AT}", source, f"::{name}"], check=True)


def get(image, name):
    """Reads a file of the boot partition."""
    command = ["mtype", "-i", f"{image}@@{BOOT_AT}", f"::{name}"]
    return subprocess.run(command, check=True, capture_output=True).stdout.decode()


class Vm:
    """A box that is switched on. `off` pulls the plug, `on` puts it back."""

    def __init__(self, image, *, key=None, **more):
        self.image, self.key = Path(image), key
        self.ssh_options = []
        self.console = self.image.with_suffix(".console")
        self.ports = {inside: free_port() for inside in (8000, 80, 22, NOTHING)}
        self.on(**more)

    def on(self, *, wav=None, usb=False, writes=None, shift=0):
        """Switches it on. `wav` has what its sound card plays, or one that is plugged in with `usb`. An
        instruction takes it 2 to the power of `shift` ns."""
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{out}-:{into}" for into, out in self.ports.items())
        drive = f"driver=raw,node-name=card,file.driver=file,file.filename={self.image},file.cache.direct=off"
        blocks = ["-blockdev", drive]
        node = "card"
        if writes:
            Path(writes).touch()
            blocks += ["-blockdev", f"driver=blklogwrites,node-name=logged,file=card,log.driver=file,log.filename={writes}"]
            node = "logged"
        sound = []
        if wav:
            sound = ["-audiodev", f"wav,id=a,path={wav},out.frequency=48000"]
            sound += ["-device", "qemu-xhci"] if usb else ["-device", "intel-hda", "-device", "hda-output,audiodev=a"]
        self.monitor = self.image.with_suffix(".qmp")
        self.seen = self.console.stat().st_size if self.console.exists() else 0
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a76", "-smp", "1", "-m", "1G",
             # Its clock goes by instructions: on a busy machine it is slow, and never late.
             "-icount", f"shift={shift},sleep=on", "-display", "none", "-monitor", "none", "-bios", UBOOT,
             "-qmp", f"unix:{self.monitor},server=on,wait=off",
             "-chardev", f"file,id=c,path={self.console},append=on", "-serial", "chardev:c",
             *blocks, "-device", f"virtio-blk-pci,drive={node},romfile=",
             "-netdev", f"user,id=n{forwards}", "-device", "virtio-net-pci,netdev=n,romfile=",
             "-device", "i6300esb", "-watchdog-action", "reset", *sound],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

        threading.Thread(target=self._nudge, daemon=True).start()

    def _nudge(self):
        """The emulator, with its clock by instructions, stands still at times until something comes from outside."""
        while self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.ports[NOTHING]), 1).close()
            except OSError:
                pass
            time.sleep(1)

    def plug_in(self, kind, **properties):
        """Plugs a device in, which is known by its kind."""
        self._tell("device_add", {"driver": kind, "id": kind, **properties})

    def pull_out(self, kind):
        self._tell("device_del", {"id": kind})

    def _tell(self, command, arguments):
        """Tells the emulator."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(60)
            monitor.connect(str(self.monitor))
            lines = monitor.makefile("rw")
            for order in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(order) + "\n")
                lines.flush()
                # Besides answers there are events, and a greeting.
                answer = next(said for said in map(json.loads, lines) if "return" in said or "error" in said)
                assert "return" in answer, answer

    def said(self):
        """What came on the console since it was switched on."""
        if not self.console.exists():
            return ""
        with open(self.console, "rb") as file:
            file.seek(self.seen)
            return file.read().decode(errors="replace").replace("\r", "")

    def wait(self, what, patience=PATIENCE):
        """Until `what()` gives something."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the emulator ended: {self.process.stderr.read()}"
            found = what()
            if found:
                return found
            time.sleep(0.25)
        raise AssertionError(f"nothing came of it in {patience} s; the console ends:\n{self.said()[-3000:]}")

    def wait_said(self, pattern, patience=PATIENCE, after=0):
        """Until the console says so."""
        return self.wait(lambda: re.compile(pattern).search(self.said(), after), patience)

    def http(self, path, port=8000, **headers):
        """(status, body), or None while nobody answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[port]}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return None

    def wait_healthy(self, patience=PATIENCE):
        """Until rigd has sound running; seconds since it was switched on."""
        self.wait(lambda: (self.http("/healthz") or (0, b""))[0] == 200, patience)
        return time.monotonic() - self.started

    def wait_good(self, patience=PATIENCE):
        """Until the slot was kept; the version that runs."""
        return self.wait_said(r"rig: (\S+) is good", patience)[1]

    def run(self, command, check=True, timeout=300):
        """Runs a command on the box, by SSH."""
        ssh = ["ssh", "-q", "-i", self.key, "-p", str(self.ports[22]), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
               "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=200", *self.ssh_options, "root@127.0.0.1", command]  # fmt: skip
        done = subprocess.run(ssh, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if check else done

    def off(self):
        """Pulls the plug."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        """Ends the emulator so that it finishes its files."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def needed():
    """Why nothing can be tested, or None."""
    if not (OUT / "rig-virt.img").exists():
        return "there is no image: image/build makes it"
    if not shutil.which("qemu-system-aarch64"):
        return "there is no qemu-system-aarch64: .ci/install image"
    return None
