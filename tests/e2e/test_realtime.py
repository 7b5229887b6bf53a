"""The audio thread while 50 clients storm: no system call but the wait for its clock, no frame lost."""

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from rig import PATIENCE

HERE = Path(__file__).parent
STORM_S = 6
# Attaching ends the wait that goes on, which the kernel then takes up again.
WAITS = {"clock_nanosleep", "restart_syscall"}
GENEROUS = "[limits]\nmessages_per_s = 1000\nmessage_burst = 1000\noperations_per_s = 1000\n"


def thread_named(pid, name):
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise AssertionError(f"no thread {name}")


@pytest.fixture
def storm(start):
    """A rig with 50 clients at it; (rig, the storm's process)."""
    if not shutil.which("node") or not (HERE / "node_modules/ws").exists():
        pytest.skip("Node and its packages are not installed")
    rig = start(settings=GENEROUS)
    command = ["node", HERE / "storm.mjs", rig.url, "50", str(STORM_S)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watcher = rig.client()
    deadline = time.monotonic() + PATIENCE
    while watcher.ask("status.get")["data"]["clients"] < 51:
        assert time.monotonic() < deadline, "the crowd did not come"
        time.sleep(0.05)
    yield rig, process, watcher
    process.kill()
    process.wait()


def traced(thread, until):
    """System calls of one thread while `until` runs, or None where tracing is not allowed."""
    strace = ["strace", "-qq", "-p", str(thread)]
    process = subprocess.Popen(strace, stderr=subprocess.PIPE, text=True)
    try:
        until(process)
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    return said


def test_it_makes_no_system_call_but_its_clocks_wait(storm):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    rig, crowd, _ = storm
    audio = thread_named(rig.process.pid, "rigd-audio")
    said = traced(audio, lambda tracer: wait_a_while(tracer, crowd))
    if re.search(r"attach: (ptrace|Operation not permitted)|PTRACE", said):
        pytest.skip(f"this machine does not allow tracing: {said.strip()}")
    calls = re.findall(r"^(?:<\.\.\. )?(\w+)", said, re.MULTILINE)
    assert calls.count("clock_nanosleep") > 500, f"the thread was seen at work: {said[-500:]}"
    others = {call for call in calls if call not in WAITS}
    assert others == set(), others
    counts = json.loads(crowd.communicate(timeout=30)[0])
    assert counts["opened"] == 50 and counts["closed"] == 0, counts
    assert counts["replies"] > 1000, counts


def wait_a_while(tracer, crowd):
    """Three seconds in the middle of the storm."""
    try:
        tracer.wait(STORM_S / 2)  # ends early only when it may not trace
    except subprocess.TimeoutExpired:
        assert crowd.poll() is None, "the storm was over too soon"


def test_sound_and_control_go_on_as_usual(storm):
    rig, crowd, watcher = storm
    before = watcher.ask("status.get")["data"]
    crowd_said, _ = crowd.communicate(timeout=30)
    after = watcher.ask("status.get")["data"]
    counts = json.loads(crowd_said)
    assert counts["opened"] == 50 and counts["closed"] == 0, "nobody was thrown out"
    assert set(counts["errors"]) <= {
        "UNKNOWN_MESSAGE_TYPE",
        "INVALID_MESSAGE",
        "RATE_LIMITED",
        "TRACK_NOT_FOUND",
        "PLUGIN_NOT_FOUND",
        "INVALID_PARAMETER",
        "PLUGIN_ADD_FAILED",
        "CAPACITY",
        "ENGINE_ERROR",
    }, counts
    played = (after["frame"] - before["frame"]) / 48000
    assert played > 0.8 * (after["uptime_s"] - before["uptime_s"]), "the clock went on"
    assert after["degraded"] == []


def test_its_memory_is_all_there(rig):
    """With locked memory, an idle second of sound causes no minor fault on the audio thread."""
    client = rig.client()
    client.ask("meters.subscribe", {"rate_hz": 10, "format": "json"})
    client.wait("meters")
    thread = thread_named(rig.process.pid, "rigd-audio")

    def faults():
        fields = Path(f"/proc/{rig.process.pid}/task/{thread}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[7]) + int(fields[9])

    before = faults()
    for _ in range(10):
        client.wait("meters")
    assert faults() == before
