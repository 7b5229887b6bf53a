"""Who reads slowly costs the others nothing, and gets a fresh snapshot (wire.md section 5)."""

import json
import time

import pytest

from raw import Raw
from rig import NO_LIMITS, value


@pytest.fixture
def rig(start):
    return start(settings=NO_LIMITS)


@pytest.fixture
def sleeper(rig):
    """A client that does not read until it is asked to."""
    raw = Raw(rig.port, receive_buffer=4096)
    assert json.loads(raw.frame()[1])["type"] == "connection.status"
    yield raw
    raw.close()


def memory_kib(rig):
    status = open(f"/proc/{rig.process.pid}/status").read()
    return int(status.split("VmRSS:")[1].split()[0])


def read_up(raw):
    """All messages up to the answer to a state.get, which is the last of them."""
    raw.text('{"type": "state.get", "id": "now"}')
    messages = []
    while True:
        opcode, payload = raw.frame()
        if opcode == 1:
            messages.append(json.loads(payload))
            if messages[-1]["id"] == "now":
                return messages


def consistent(messages):
    """Numbers only go up, and nothing at or below a snapshot's follows it."""
    seq = -1
    for message in messages:
        if message["type"] == "state.snapshot":
            assert message["data"]["seq"] >= seq
            seq = message["data"]["seq"]
        elif "seq" in message:
            assert message["seq"] > seq, message
            seq = message["seq"]


def test_a_backlog_of_values_coalesces_and_the_last_ones_arrive(rig, sleeper):
    alice, bob = rig.client(), rig.client()
    plugins = [alice.add("gain", f"g{number}") for number in range(8)]
    before = memory_kib(rig)
    sent = 0
    for step in range(300):
        changes = [value(at, "volume", (step % 40) / 10) for at in plugins] * 25
        alice.ask("plugin.parameter.batch", {"changes": changes[:200], "apply_immediately": True})
        for number, at in enumerate(plugins):
            alice.ask("plugin.parameter", value(at, "volume", step / 100 + number / 1000))
        sent += 16
    assert memory_kib(rig) - before < 16 * 1024, "the backlog is bounded"
    messages = read_up(sleeper)
    consistent(messages)
    changes = [m for m in messages if m["type"] == "plugin.parameter"]
    assert len(changes) <= sent
    final = {p["plugin_id"]: p["parameters"]["volume"] for p in messages[-1]["data"]["tracks"][0]["plugins"]}
    assert final == {f"g{n}": 2.99 + n / 1000 for n in range(8)}
    heard = {m["data"]["plugin_id"]: m["data"]["parameter_value"] for m in changes}
    if not any(m["type"] == "state.snapshot" for m in messages[:-1]):
        assert heard == final, "the last value of every parameter always arrives"
    bob.fence()


def test_past_the_bound_it_gets_a_snapshot_instead(rig, sleeper):
    alice, bob = rig.client(), rig.client()
    slowest = 0.0
    before = memory_kib(rig)
    for step in range(4000):  # things that cannot coalesce
        started = time.monotonic()
        alice.ask("track.update", {"track_id": "mic1", "name": f"{step} " + "x" * 100})
        slowest = max(slowest, time.monotonic() - started)
    heard_by_bob = sum(m["type"] == "track.update" for m in bob.fence()[0])
    assert heard_by_bob == 4000, "the others hear everything"
    assert slowest < 2
    assert memory_kib(rig) - before < 16 * 1024
    messages = []
    while not messages or messages[-1]["type"] != "state.snapshot":  # a fresh one, without asking
        messages.append(json.loads(sleeper.frame()[1]))
    assert len(messages) < 3000
    assert messages[-1]["data"]["tracks"][0]["name"].startswith("3999 ")
    messages += read_up(sleeper)
    consistent(messages)
    # From here on it is a client like any other.
    seq = alice.ask("track.update", {"track_id": "mic1", "name": "last"})["seq"]
    while True:
        message = json.loads(sleeper.frame()[1])
        if message["type"] == "track.update":
            assert message["seq"] == seq
            break


def test_it_can_still_ask_for_silence(rig, sleeper):
    alice = rig.client()
    for step in range(3000):
        alice.send("track.update", {"track_id": "mic1", "name": f"{step} " + "x" * 100})
    sleeper.text('{"type": "rig.panic", "id": "help", "data": {"mode": "mute"}}')
    assert alice.wait("rig.panic", timeout=30)["data"]["mode"] == "mute"


def test_who_reads_nothing_for_30_s_is_closed_with_1013(rig, sleeper):
    alice = rig.client()
    for step in range(3000):
        alice.send("track.update", {"track_id": "mic1", "name": f"{step} " + "x" * 100})
    alice.answer("m3000", timeout=30)
    assert alice.ask("status.get")["data"]["clients"] == 2
    time.sleep(34)  # the time is what is tested
    assert sleeper.close_code() == 1013
