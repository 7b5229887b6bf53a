"""The image's scripts and units, read by those who know."""

import re
import shutil
import subprocess

import pytest
from conftest import IMAGE, OVERLAY, ROOT, SCRIPTS

UNITS = OVERLAY / "etc/systemd/system"


def scripts():
    found = [IMAGE / "build", IMAGE / "test", *sorted((IMAGE / "make").iterdir()), *sorted(SCRIPTS.iterdir())]
    return [path for path in found if path.read_bytes().startswith(b"#!/") and b"sh\n" in path.read_bytes()[:30]]


@pytest.mark.parametrize("script", scripts(), ids=lambda path: str(path.relative_to(IMAGE)))
def test_shellcheck_finds_nothing(script):
    done = subprocess.run(["shellcheck", "-x", "-S", "warning", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert script.stat().st_mode & 0o111, "it can be run"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root with the units of the image, those of rigd's package and this machine's own."""
    root = tmp_path_factory.mktemp("units")
    shutil.copytree("/lib/systemd/system", root / "lib/systemd/system", symlinks=True, ignore_dangling_symlinks=True)
    for path in (ROOT / "systemd").glob("*.*"):
        shutil.copy(path, root / "lib/systemd/system")
    shutil.copytree(OVERLAY, root, dirs_exist_ok=True)
    for program in ["usr/bin/rigd", "usr/bin/jackd", "bin/sh", "bin/rm", "bin/systemctl", "usr/sbin/sshd"]:
        path = root / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        path.chmod(0o755)
    return root


@pytest.mark.parametrize("unit", sorted({path.name for path in UNITS.glob("rig*.*") if path.is_file()} | {"rigd.service", "emergency.service"}))
def test_systemd_understands_the_unit(root, unit):
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    of_ours = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert done.returncode == 0 and of_ours == [], of_ours


def test_what_the_image_enables_is_there():
    text = (IMAGE / "make/root").read_text()
    [block] = re.findall(r"^for unit in (.*?); do$", text, re.M | re.S)
    enabled = [unit for unit in block.replace("\\\n", " ").split() if unit.startswith("rig")]
    for unit in enabled:
        path = UNITS / unit if (UNITS / unit).exists() else ROOT / "systemd" / unit
        assert "[Install]" in path.read_text(), unit
    timed = {path.with_suffix(".service").name for path in UNITS.glob("*.timer")}
    started = {unit for unit in enabled} | timed
    assert {path.name for path in UNITS.glob("rig*.service") if path.is_file()} <= started, "every unit is started by something"
