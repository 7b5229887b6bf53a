"""The package: installed, upgraded, taken back, removed, purged, in a machine that runs meanwhile."""

import io
import os
import shutil
import sqlite3
import stat
import subprocess
import tarfile

import pytest

from machine import wait_until
from rig import Client
from test_service import keep

def connect(machine):
    machine.wait_for("active")
    return Client(f"ws://127.0.0.1:{machine.port}/ws")


def has_kept(machine):
    client = connect(machine)
    kept = client.plugin("kept")
    client.close()
    return kept


def test_it_is_installed_and_enabled(machine):
    assert machine.run("systemctl", "is-enabled", "rigd") == "enabled"
    assert machine.run("systemctl", "is-enabled", "rigd-jackd", check=False) == "disabled"
    assert {"audio", "systemd-journal"} <= set(machine.run("id", "-nG", "rigd").split())
    assert machine.path("/usr/share/polkit-1/rules.d/60-rigd.rules").exists()
    settings = machine.path("/etc/rigd/rigd.toml")
    assert stat.S_IMODE(settings.stat().st_mode) == 0o640
    assert settings.stat().st_uid == 0 and settings.stat().st_gid == int(machine.run("id", "-g", "rigd"))
    assert stat.S_IMODE(machine.path("/var/lib/rigd").stat().st_mode) == 0o700
    assert machine.run("rigd", "check", "--config", "/etc/rigd/rigd.toml")
    machine.run("bash", "-n", "/usr/share/bash-completion/completions/rigd")
    client = connect(machine)
    keep(client)
    client.close()


def test_the_one_for_aarch64_is_the_same_with_another_binary(package):
    binary = os.environ.get("RIGD_AARCH64_BIN")
    if not binary:
        pytest.skip("RIGD_AARCH64_BIN names no aarch64 binary")

    def listing(deb):
        lines = subprocess.run(["dpkg-deb", "-c", deb], check=True, capture_output=True, text=True).stdout
        return [line.split()[5] for line in lines.splitlines()]

    def field(deb, name):
        return subprocess.run(["dpkg-deb", "-f", deb, name], check=True, capture_output=True, text=True).stdout.strip()

    there, here = package("1.0", "arm64", RIGD_BIN=binary), package("1.0")
    assert listing(there) == listing(here)
    assert field(there, "Architecture") == "arm64"
    assert "libc6" in field(there, "Depends") and "cross" not in field(there, "Depends")
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", there], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        head = tar.extractfile("./usr/bin/rigd").read(20)
    assert head[:4] == b"\x7fELF" and head[18] == 183, "EM_AARCH64"


def test_units_have_no_faults(machine):
    units = ["rigd.service", "rigd-again.timer", "rigd-again.service", "rigd-jackd.service"]
    assert machine.run("systemd-analyze", "verify", "--man=no", *units) == ""


@pytest.mark.parametrize("unit", ["rigd.service", "rigd-jackd.service"])
def test_exposure_is_under_2(machine, unit):
    said = machine.run("systemd-analyze", "security", "--no-pager", "--threshold=20", unit)
    print(said.splitlines()[-1])


def test_an_upgrade_keeps_state_and_settings_and_can_be_taken_back(machine, package):
    settings = machine.path("/etc/rigd/rigd.toml")
    mine = settings.read_text() + "\n# a line of mine\n"
    settings.write_text(mine)
    for version in ("1.1", "1.0"):
        before = machine.pid()
        machine.dpkg("--install", package(version))
        assert machine.run("dpkg-query", "-W", "-f", "${Version}", "rigd") == version
        assert has_kept(machine) and machine.pid() != before
        assert settings.read_text() == mine


def test_the_state_of_a_newer_rigd_can_be_taken_back_to_the_copy(machine):
    """An upgrade that changes the tables leaves a copy of them beside; the README tells the way back."""
    machine.run("systemctl", "stop", "rigd")
    state = machine.path("/var/lib/rigd")
    shutil.copy(state / "rigd.db", state / "rigd.v1.backup")
    shutil.chown(state / "rigd.v1.backup", *[(state / "rigd.db").stat().st_uid] * 2)
    newer = sqlite3.connect(state / "rigd.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    machine.run("systemctl", "start", "rigd", check=False)
    wait_until(lambda: "newer rigd" in machine.tail(), "it says that it cannot read this")
    machine.run("systemctl", "stop", "rigd", "rigd-again.timer")
    machine.run("sh", "-c", "cd /var/lib/rigd && rm -f rigd.db-wal rigd.db-shm && mv rigd.v1.backup rigd.db")
    machine.run("systemctl", "reset-failed", "rigd")
    machine.run("systemctl", "start", "rigd")
    assert has_kept(machine)


def test_what_is_removed_can_come_back_and_what_is_purged_is_gone(machine, package):
    machine.dpkg("--remove", "rigd")
    assert machine.pid() is None and not machine.path("/usr/bin/rigd").exists()
    assert machine.path("/var/lib/rigd/rigd.db").exists() and machine.path("/etc/rigd/rigd.toml").exists()
    machine.dpkg("--install", package("1.1"))
    assert has_kept(machine)
    machine.path("/etc/default/rigd").unlink()  # the test's own
    machine.dpkg("--purge", "rigd")
    left = [
        os.path.join(folder, name)
        for place in ("etc", "lib", "usr", "var/lib")
        for folder, _, names in os.walk(machine.root / place)
        for name in names
        if "rigd" in name and "/dpkg/" not in folder and "/doc/" not in folder
    ]
    assert left == [], left
    assert not machine.path("/var/lib/rigd").exists() and not machine.path("/etc/rigd").exists()
    assert machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "rigd*") == ""
