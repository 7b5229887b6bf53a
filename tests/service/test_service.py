"""The unit under a real systemd: ready, watched over, restarted, reloaded, stopped; and everything that
rigd does works within what the unit leaves it."""

import os
import re
import signal
import time

import pytest

from machine import hold, is_dead, let_go, wait_until
from rig import Client


def connect(machine):
    return Client(f"ws://127.0.0.1:{machine.port}/ws")


def keep(client):
    """Something that must outlive a restart, on disk."""
    if not client.plugin("kept"):
        client.ask("plugin.add", {"track_id": "mic1", "name": "reverb", "plugin_id": "kept"}, requires_ack=True)
        client.wait("ack")


def sound_is_back(machine, since):
    """Seconds since then until a client hears that frames are computed."""

    def moves():
        try:
            client = connect(machine)
        except OSError:
            return None
        try:
            return client.ask("status.get")["data"]["frame"] > 0
        finally:
            client.close()

    wait_until(moves, "there is sound again")
    return time.monotonic() - since


def test_it_is_ready_and_says_how_it_is(machine):
    machine.wait_for("active")
    client = connect(machine)
    wait_until(lambda: "clients: 1" in machine.show("StatusText"), machine.show("StatusText"))
    assert re.match(r"null at 48000 Hz, clients: 1, xruns: \d+", machine.show("StatusText"))
    client.close()
    wait_until(lambda: "clients: 0" in machine.show("StatusText"), machine.show("StatusText"))


def test_it_is_not_root_and_has_what_sound_needs(machine):
    pid = machine.pid()
    status = open(f"/proc/{pid}/status").read()
    assert re.search(r"^CapEff:\s+0+$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M), status
    assert re.search(r"^Uid:\s+(\d+)", status, re.M)[1] == machine.run("id", "-u", "rigd")
    limits = open(f"/proc/{pid}/limits").read()
    asked = re.search(r"Max realtime priority\s+(\d+)", limits)[1]
    log = " ".join(entry["MESSAGE"] for entry in machine.journal("-u", "rigd"))
    policy = os.sched_getscheduler(machine.thread("rigd-audio")) & ~os.SCHED_RESET_ON_FORK
    if asked == "95":
        assert policy == os.SCHED_FIFO and "realtime priority 70" in log, log
        assert "memory is locked" in log, log
    else:
        assert "LimitRTPRIO" in log and "LimitMEMLOCK" in log, log


def test_the_hardening_leaves_it_realtime_and_its_memory(machine):
    """Where limits cannot be raised in a container, capabilities stand in for them; what the unit
    forbids is forbidden all the same."""
    may = "CAP_SYS_NICE CAP_IPC_LOCK"
    folder = "/etc/systemd/system/rigd.service.d"
    instead = f"[Service]\nPrivateUsers=no\nCapabilityBoundingSet={may}\nAmbientCapabilities={may}\n"
    machine.write(f"{folder}/capable.conf", instead)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "rigd")
    policy = os.sched_getscheduler(machine.thread("rigd-audio")) & ~os.SCHED_RESET_ON_FORK
    log = [entry["MESSAGE"] for entry in machine.journal("-u", "rigd", "-n", "20")]
    machine.path(f"{folder}/capable.conf").unlink()
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "rigd")
    assert policy == os.SCHED_FIFO, log
    assert "memory is locked" in log, log


def test_the_journal_has_fields(machine):
    client = connect(machine)
    at = client.add("gain", "g")
    client.fail("PLUGIN_NOT_FOUND", "plugin.remove", {**at, "plugin_id": "nobody"})
    client.close()

    def refused():
        return [e for e in machine.journal("-u", "rigd") if e.get("CODE") == "PLUGIN_NOT_FOUND"]

    entry = wait_until(refused, "the refusal is in the journal")[0]
    assert entry["SYSLOG_IDENTIFIER"] == "rigd" and entry["CLIENT"].isdigit(), entry
    assert any(e.get("SEQ", "").isdigit() for e in machine.journal("-u", "rigd"))


@pytest.mark.parametrize("how", ["killed", "audio thread", "control thread", "whole process"])
def test_it_comes_back_with_sound_and_as_it_was(machine, how, record_property):
    client = connect(machine)
    keep(client)
    client.close()
    pid, restarts = machine.pid(), int(machine.show("NRestarts"))
    begun = time.monotonic()
    if how == "killed":
        os.kill(pid, signal.SIGKILL)
    elif how == "whole process":
        os.kill(pid, signal.SIGSTOP)
    else:
        thread = machine.thread("rigd-audio" if how == "audio thread" else "rigd-control")
        hold(thread)
        wait_until(lambda: is_dead(thread), "systemd has ended it")
    wait_until(lambda: int(machine.show("NRestarts")) > restarts, f"systemd has started it anew ({how})")
    seconds = sound_is_back(machine, begun)
    record_property("seconds", round(seconds, 2))
    print(f"{how}: sound is back after {seconds:.2f} s")
    client = connect(machine)
    assert client.plugin("kept")
    client.close()
    if how != "killed":
        said = [e["MESSAGE"] for e in machine.journal("UNIT=rigd.service")]
        assert any("Watchdog" in line or "watchdog" in line for line in said[-20:]), said[-20:]
        assert not any("code=dumped" in line for line in said), "no core: secrets would be in it"
    # The next one is not to meet the start limit.
    machine.run("systemctl", "reset-failed", "rigd.service")


def test_the_control_side_comes_back_before_the_watchdog_bites(machine):
    """Seven seconds without control, and with sound: nothing is restarted."""
    restarts, thread = machine.show("NRestarts"), machine.thread("rigd-control")
    hold(thread)
    time.sleep(7)
    let_go(thread)
    client = connect(machine)
    assert client.plugin("kept")
    client.close()
    assert machine.show("NRestarts") == restarts


def test_settings_are_reloaded_without_a_restart(machine):
    pid = machine.pid()
    caught = int(re.search(r"^SigCgt:\s+(\w+)", open(f"/proc/{pid}/status").read(), re.M)[1], 16)
    if not caught >> (signal.SIGHUP - 1) & 1:
        pytest.skip("this rigd does not read its settings again")
    machine.run("systemctl", "reload", "rigd")
    client = connect(machine)
    client.ask("status.get")
    client.close()
    assert machine.pid() == pid


def test_it_stops_in_time_and_keeps_its_state(machine):
    client = connect(machine)
    begun = time.monotonic()
    machine.run("systemctl", "stop", "rigd")
    print(f"stopped in {time.monotonic() - begun:.2f} s")
    assert machine.show("Result") == "success" and machine.show("ExecMainStatus") == "0", machine.tail()
    client.close()
    begun = time.monotonic()
    machine.run("systemctl", "start", "rigd")
    print(f"from start to ready {time.monotonic() - begun:.2f} s")
    print(f"from start to sound {sound_is_back(machine, begun):.2f} s")
    client = connect(machine)
    assert client.plugin("kept")
    client.close()


def test_it_plays_through_the_jack_server_beside_it(machine):
    machine.write("/etc/default/rigd-jackd", "JACKD_OPTIONS=-d dummy -r 48000 -p 256 -C 2 -P 2\n")
    before = machine.path("/etc/default/rigd").read_text()
    machine.write("/etc/default/rigd", before.replace("BACKEND=null", "BACKEND=jack"))
    machine.run("systemctl", "stop", "rigd")
    machine.run("systemctl", "start", "rigd-jackd")
    machine.run("systemctl", "restart", "rigd")
    client = connect(machine)
    client.ask("meters.subscribe", {"rate_hz": 10, "format": "json"})
    client.wait("meters")
    assert client.ask("status.get")["data"]["backend"] == "jack"
    machine.run("systemctl", "restart", "rigd-jackd")
    wait_until(lambda: client.ask("status.get")["data"]["degraded"] == [], "the new server is found")
    client.close()
    machine.write("/etc/default/rigd", before)
    machine.run("systemctl", "stop", "rigd-jackd")
    machine.run("systemctl", "restart", "rigd")


def test_bad_settings_are_not_tried_again_at_once(machine):
    settings = machine.path("/etc/rigd/rigd.toml")
    good = settings.read_text()
    settings.write_text('listen = "nowhere"\n')
    machine.run("systemctl", "restart", "rigd", check=False)
    machine.wait_for("failed")
    assert machine.show("ExecMainStatus") == "2", machine.tail()
    attempt = machine.show("ExecMainStartTimestampMonotonic")
    machine.wait_for("active", "rigd-again.timer")
    time.sleep(1)
    assert machine.show("ExecMainStartTimestampMonotonic") == attempt, "not before the timer says so"
    settings.write_text(good)
    machine.run("systemctl", "start", "rigd-again.service")
    machine.wait_for("active")
    machine.run("systemctl", "stop", "rigd-again.timer")


def test_a_crash_loop_slows_down_and_ends_by_itself(machine):
    machine.write("/etc/systemd/system/rigd-again.timer.d/soon.conf", "[Timer]\nOnActiveSec=\nOnActiveSec=5\n")
    machine.run("systemctl", "daemon-reload")
    for _ in range(6):
        if machine.show("Result") == "start-limit-hit":
            break
        pid = wait_until(machine.pid, "it runs")
        written = int(re.search(r"^write_bytes: (\d+)", open(f"/proc/{pid}/io").read(), re.M)[1])
        assert written < 256 * 1024, f"a start writes {written} bytes"
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: machine.pid() not in (pid,), "it is gone")
        wait_until(lambda: machine.show("SubState") in ("running", "failed"), "it is back or given up")
    machine.wait_for("failed")
    machine.wait_for("active", "rigd-again.timer")
    machine.run("systemctl", "reset-failed", "rigd.service") if False else None
    wait_until(lambda: machine.show("ActiveState") == "active", "the timer has started it", 90)
    sound_is_back(machine, time.monotonic())
