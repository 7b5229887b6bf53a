"""The scripts of the box itself, with its places moved into a folder: what they make of what they find."""

import os
import subprocess

import pytest
from conftest import OVERLAY, SCRIPTS

# The names that are the box's own.
PLACES = ["/boot/firmware", "/run/", "/var/lib/", "/usr/lib/rig/", "/proc/sys/kernel/hostname", "/etc/rigd/", "/dev/console"]
PROGRAMS = {
    # Answers of rigd, from a file: a line is a question.
    "busybox": 'line=$(head -n 1 "$HERE/answers"); sed -i 1d "$HERE/answers"; [ "$line" = good ]',
    "sleep": "exit 0",
    "rauc": 'echo "rauc $*" >>"$HERE/done"',
    "systemctl": 'case $1 in list-units) cat "$HERE/failed" ;; *) echo "systemctl $*" >>"$HERE/done" ;; esac',
    "iw": "exit 0",
    "mount": 'echo "mount $*" >>"$HERE/done"',
    "rigd": 'case $1 in check) ! grep -q fault "$3" || { echo "line 1: a fault" >&2; exit 2; } ;; pair) cat "$HERE/code" ;; esac',
    # There is no group rigd here.
    "install": 'for last; do before=$file; file=$last; done; exec cp "$before" "$file"',
}


class Box:
    """A folder for a box."""

    def __init__(self, folder):
        self.folder = folder
        programs = folder / "programs"
        programs.mkdir()
        for name, text in PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        self.env = {**os.environ, "HERE": str(folder), "PATH": f"{programs}:{os.environ['PATH']}"}
        self.put("usr/lib/rig/version", "v2\n")
        self.put("etc/rigd/rigd.toml", "came with the box\n")
        self.put("proc/sys/kernel/hostname", "rig\n")
        self.put("code", "")
        self.put("failed", "")
        for name in ["boot/firmware", "run/rig", "var/lib/rig", "var/lib/rigd", "dev"]:
            (folder / name).mkdir(parents=True, exist_ok=True)

    def put(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def get(self, name):
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def moved(self, script):
        """The script, with its places in this folder."""
        text = (SCRIPTS / script).read_text()
        for place in PLACES:
            text = text.replace(place, f"{self.folder}{place}")
        path = self.folder / script
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, script):
        return subprocess.run([self.moved(script)], env=self.env, capture_output=True, text=True)


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_three_good_answers_in_a_row_keep_the_slot(box):
    box.put("answers", "bad\ngood\ngood\nbad\ngood\ngood\ngood\nleft\n")
    done = box.run("health")
    assert done.returncode == 0 and "v2 is good" in done.stdout and "failed" not in done.stdout
    assert box.get("done") == "rauc status mark-good\n" and box.get("var/lib/rig/good") == "v2\n"
    assert (box.folder / "run/rig/decided").exists() and box.get("answers") == "left\n"


def test_a_version_that_was_never_good_gives_way(box):
    box.put("var/lib/rig/good", "v1\n")
    box.put("answers", "good\ngood\nbad\n" * 100)
    box.put("failed", "rigd.service loaded failed failed Karaoke rig\nother.service loaded failed failed Other\n")
    done = box.run("health")
    assert "v2 is not healthy" in done.stdout and "reboot" in box.get("done")
    assert "what has failed: rigd.service other.service\n" in done.stdout
    assert "mark-good" not in box.get("done") and box.get("var/lib/rig/good") == "v1\n"


@pytest.mark.parametrize("known", [None, "v2\n"])
def test_one_that_was_good_or_is_the_first_stays(box, known):
    if known:
        box.put("var/lib/rig/good", known)
    box.put("answers", "bad\n" * 100)
    done = box.run("health")
    assert done.returncode == 1 and "reboot" not in box.get("done") and "mark-good" in box.get("done")


def test_the_settings_of_any_editor_are_taken(box):
    box.put("boot/firmware/rig.txt", b"\xef\xbb\xbfname = Stage \r\nclaim_code=SING-ALON-G2X7\r\n")
    box.put("boot/firmware/rigd.toml", "mine\n")
    assert box.run("settings").returncode == 0
    assert box.get("run/rig/problems") == ""
    assert box.get("proc/sys/kernel/hostname") == "stage\n" and box.get("run/rig/claim_code") == "SING-ALON-G2X7\n"
    assert (box.folder / "run/rig/claim_code").stat().st_mode & 0o077 == 0
    assert box.get("run/rig/rigd.toml") == "mine\n"


def test_what_is_wrong_is_told_and_the_rest_holds(box):
    box.put("boot/firmware/rig.txt", "name=my rig\nclaim_code=short\n")
    box.put("boot/firmware/rigd.toml", "a fault\n")
    box.put("boot/firmware/ssh-key.pub", "no key\n")
    assert box.run("settings").returncode == 0
    problems = box.get("run/rig/problems")
    for word in ["my rig", "claim_code", "ssh-key.pub", "rigd.toml: line 1"]:
        assert word in problems, problems
    assert box.get("proc/sys/kernel/hostname") == "rig\n" and box.get("run/rig/claim_code") == ""
    assert box.get("run/rig/rigd.toml") == "came with the box\n"
    assert not (box.folder / "run/rig/authorized_keys").exists()


def test_with_nothing_on_the_boot_partition_all_is_as_it_came(box):
    assert box.run("settings").returncode == 0
    assert box.get("run/rig/problems") == "" and box.get("run/rig/rigd.toml") == "came with the box\n"


def test_the_claim_is_written_in_place(box):
    box.put("code", "http://10.0.0.5/#pair=AAAA\nThe code AAAA makes a host.\n▀▄█\n")
    box.put("boot/firmware/rig-status.txt", " " * 4096)
    before = (box.folder / "boot/firmware/rig-status.txt").stat().st_ino
    assert box.run("claim").returncode == 0
    status = box.get("boot/firmware/rig-status.txt")
    assert len(status.encode()) == 4096 and "http://rig.local/#pair=AAAA" in status and "▀" not in status
    assert (box.folder / "boot/firmware/rig-status.txt").stat().st_ino == before
    assert "▀▄█" in box.get("dev/console")
    assert box.get("done").splitlines()[-1].startswith("mount -o remount,ro"), "and is read-only again"
    box.put("done", "")
    box.run("claim")
    assert "rw" not in box.get("done"), "what has not changed is not written"


def test_a_rig_with_a_host_tells_no_code(box):
    box.put("boot/firmware/rig-status.txt", " " * 4096)
    box.run("claim")
    assert "has a host" in box.get("boot/firmware/rig-status.txt")


def test_the_overlay_has_no_secret_and_nothing_of_one_box():
    names = [str(path.relative_to(OVERLAY)) for path in OVERLAY.rglob("*") if path.is_file()]
    assert not [name for name in names if "ssh_host" in name or name.endswith((".key", "machine-id", "shadow"))]
