"""A real kernel with sound drivers, under virtual time.

qemu runs Debian's realtime kernel with a small root in memory. With `-icount` the guest's clock counts the
instructions that it has run, so nothing is ever late however busy the machine is, and every run is the same.
"""

import gzip
import os
import re
import shutil
import stat
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
CACHE = TARGET / "kernel"
KERNEL = "linux-image-rt-amd64"
# In the order in which they are loaded.
MODULES = ["soundcore", "snd", "snd-timer", "snd-pcm", "snd-aloop", "snd-dummy"]
PATIENCE_S = 900


def fetch(package):
    """The package's files, in a folder of their own; fetched once, never installed."""
    folder = CACHE / package
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # apt's own user may not be let into this folder, which it would only remark on.
        download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
        if subprocess.run(download, cwd=folder).returncode != 0:
            # Nobody has asked yet what there is.
            subprocess.run(["apt-get", "update", "-qq"])
            subprocess.run(download, cwd=folder, check=True)
        (deb,) = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", deb.name, "."], cwd=folder, check=True)
        deb.unlink()
        (folder / "complete").touch()
    return folder


def kernel():
    """Where the kernel is that Debian's meta package names."""
    known = CACHE / "kernel-package"
    if not known.exists():
        said = subprocess.run(["apt-cache", "depends", KERNEL], capture_output=True, text=True)
        if said.returncode != 0:
            subprocess.run(["apt-get", "update", "-qq"])
            said = subprocess.run(["apt-cache", "depends", KERNEL], capture_output=True, text=True, check=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        known.write_text(re.search(r"Depends: (linux-image-\S+)", said.stdout)[1])
    folder = fetch(known.read_text())
    (image,) = folder.glob("boot/vmlinuz-*")
    return folder, image


def libraries(binary):
    """Of a program: what the dynamic linker would load, itself among it."""
    said = subprocess.run(["ldd", str(binary)], capture_output=True, text=True)
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", said.stdout)]


def entry(number, name, mode, data, device=(0, 0)):
    """A file of a cpio archive ("newc")."""
    path = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def archive(files):
    """The root of the guest: path in it → file here or text."""
    entries = [("dev", stat.S_IFDIR | 0o755, b"", (0, 0)), ("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1))]
    folders = {"dev"}
    for name, source in sorted(files.items()):
        for parent in reversed(Path(name).parents[:-1]):
            if str(parent) not in folders:
                folders.add(str(parent))
                entries.append((str(parent), stat.S_IFDIR | 0o755, b"", (0, 0)))
        data = source.encode() if isinstance(source, str) else source.read_bytes()
        entries.append((name, stat.S_IFREG | 0o755, data, (0, 0)))
    entries.append(("TRAILER!!!", 0, b"", (0, 0)))
    return b"".join(entry(number, *what) for number, what in enumerate(entries, 1))


def run(programs, script):
    """Runs a shell script as the guest's only process; what it printed. `programs`: name → file here."""
    folder, image = kernel()
    busybox = fetch("busybox-static")
    files = {"bin/busybox": busybox / "bin/busybox", "init": script}
    loaded = {path.name: path for path in folder.glob("lib/modules/*/kernel/sound/**/*.ko")}
    files |= {f"modules/{name}.ko": loaded[f"{name}.ko"] for name in MODULES}
    needed = [Path("/usr/lib/x86_64-linux-gnu/libasound.so.2")]
    for name, program in programs.items():
        files[f"bin/{name}"] = program
        needed += libraries(program)
    for library in [*needed, *libraries(needed[0])]:
        files[str(library).lstrip("/")] = library.resolve()
    for path in Path("/usr/share/alsa").glob("*.conf"):
        files[str(path).lstrip("/")] = path
    initrd = CACHE / f"initrd-{os.getpid()}"
    initrd.write_bytes(gzip.compress(archive(files), 1))
    command = ["qemu-system-x86_64", "-accel", "tcg", "-icount", "shift=0,sleep=off", "-m", "512"]
    command += ["-nographic", "-no-reboot", "-nic", "none", "-kernel", str(image), "-initrd", str(initrd)]
    command += ["-append", "console=ttyS0 quiet panic=-1 tsc=reliable"]
    guest = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    )
    patience = threading.Timer(PATIENCE_S, guest.kill)
    patience.start()
    try:
        lines = []
        for line in guest.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
        return lines
    finally:
        patience.cancel()
        guest.kill()
        guest.wait()
        initrd.unlink()
