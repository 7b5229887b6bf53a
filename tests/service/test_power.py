"""What a host asks of the box, under a real systemd with a logind and a polkit: files, a new beginning, reboot
and power-off. Tests follow each other: the last one leaves the machine switched off."""

import http.client
import io
import json
import tarfile
import time

from websockets.exceptions import WebSocketException

from machine import PATIENCE, wait_until
from test_service import connect, keep

TAR = {"Content-Type": "application/x-tar"}


def call(machine, method, path, body=None, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=PATIENCE)
    try:
        connection.request(method, f"/api/device/{path}", body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def another_run(machine, epoch):
    """The state, if it is not of that run any more."""
    try:
        client = connect(machine)
        try:
            state = client.state()
        finally:
            client.close()
    except (OSError, WebSocketException):
        return None
    return state if state["epoch"] != epoch else None


def settle(machine):
    machine.wait_for("active")
    machine.run("systemctl", "reset-failed", "rigd.service")


def test_a_backup_comes_back_without_a_restart_by_systemd(machine):
    settle(machine)
    client = connect(machine)
    keep(client)
    status, data = call(machine, "GET", "backup")
    assert status == 200, data
    client.ask("plugin.remove", {"track_id": "mic1", "plugin_id": "kept"}, requires_ack=True)
    client.wait("ack")
    epoch = client.state()["epoch"]
    pid, restarts = machine.show("MainPID"), machine.show("NRestarts")
    begun = time.monotonic()
    status, answer = call(machine, "POST", "restore", data, TAR)
    assert status == 200, answer
    answer = json.loads(answer)
    assert answer["takes"] == ["state", "log"], answer
    assert "/etc/rigd/rigd.toml is not rigd's to write" in answer["leaves"][0], "and that is said"

    state = wait_until(lambda: another_run(machine, epoch), "it has begun anew")
    print(f"restored and back after {time.monotonic() - begun:.2f} s")
    assert any(p["plugin_id"] == "kept" for t in state["tracks"] for p in t["plugins"])
    assert (machine.show("MainPID"), machine.show("NRestarts")) == (pid, restarts), "the same process"
    wait_until(lambda: machine.show("ActiveState") == "active", "and systemd knows that it is ready")
    # Its watchdog looks as before.
    wait_until(lambda: machine.show("WatchdogUSec") == "5s", machine.show("WatchdogUSec"))


def test_a_support_bundle_has_the_journal_in_it(machine):
    machine.wait_for("active")
    status, data = call(machine, "GET", "support")
    assert status == 200, data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        journal = tar.extractfile("journal.txt").read().decode()
        versions = tar.extractfile("versions.txt").read().decode()
    assert "rigd is listening" in journal, journal[-2000:]
    assert "rigd.service" in versions and "systemd" in versions, versions


def test_a_factory_reset_under_systemd(machine):
    client = connect(machine)
    keep(client)
    pid, epoch = machine.show("MainPID"), client.state()["epoch"]
    client.ask("device.reset", {"factory": True})
    client.close()

    state = wait_until(lambda: another_run(machine, epoch), "it has begun anew")
    assert not any(p["plugin_id"] == "kept" for t in state["tracks"] for p in t["plugins"])
    assert machine.show("MainPID") == pid


def test_what_the_settings_forbid_does_not_reach_logind(machine):
    before = machine.path("/etc/default/rigd").read_text()
    machine.write("/etc/default/rigd", before + "RIGD_DEVICE_ALLOW_POWER=false\n")
    machine.run("systemctl", "restart", "rigd")
    client = connect(machine)
    answer = client.answer(client.send("device.reboot"))
    assert answer["type"] == "ERROR" and "allow_power" in answer["data"]["error"], answer
    client.close()
    machine.write("/etc/default/rigd", before)
    machine.run("systemctl", "restart", "rigd")


def test_without_the_rule_logind_refuses_and_it_is_said_why(machine):
    rule = machine.path("/usr/share/polkit-1/rules.d/60-rigd.rules")
    text = rule.read_text()
    rule.unlink()
    machine.run("systemctl", "restart", "polkit")
    client = connect(machine)
    details = client.fail("DEVICE_FAILED", "device.reboot")
    client.close()
    rule.write_text(text)
    machine.run("systemctl", "restart", "polkit")
    assert "polkit" in details["reason"], details


def test_a_reboot_is_a_reboot(machine):
    settle(machine)
    client = connect(machine)
    keep(client)
    assert client.ask("device.reboot")["data"]["success"]
    client.close()
    assert machine.ends(), "it wants to be booted again"
    machine.boot()
    machine.wait_for("active")
    client = connect(machine)
    assert client.plugin("kept"), "as it was"
    events = client.ask("daid.query", {"operation": "device.reboot"})["data"]["events"]
    assert len(events) >= 1 and "failed" not in events[-1]["metadata"]
    client.close()
    said = machine.journal("-u", "rigd", "-b", "-1")
    assert any("rigd is ending" in entry["MESSAGE"] for entry in said), "it ended in order"


def test_a_power_off_is_a_power_off(machine):
    client = connect(machine)
    assert client.ask("device.power_off")["data"]["success"]
    client.close()
    assert not machine.ends(), "it is off, and stays off"
