"""Batches that wait for a pause (wire.md section 4)."""

import time

import pytest

from rig import NO_LIMITS, seqs, value

BATCH = "plugin.parameter.batch"


@pytest.fixture
def at(alice):
    return alice.add("reverb", "r")


def pending(client, changes, debounce_ms=1000):
    return client.send(BATCH, {"changes": changes, "debounce_ms": debounce_ms})


def counts(reply):
    return reply["data"]["applied"], reply["data"]["superseded"]


@pytest.mark.parametrize("asked,used", [(None, 50), (1, 50), (49, 50), (51, 51), (1001, 1000), (90000, 1000)])
def test_the_wait_is_clamped_and_the_reply_says_what_was_used(alice, at, asked, used):
    data = {"changes": [value(at, "wet_dry", 0.5)]}
    if asked is not None:
        data["debounce_ms"] = asked
    started = time.monotonic()
    reply = alice.ask(BATCH, data)
    took = time.monotonic() - started
    assert reply["data"]["debounce_ms"] == used
    assert used / 1000 - 0.002 <= took < used / 1000 + 1


def test_what_is_pending_goes_out_whole_and_is_answered_in_order(alice, bob, at):
    bob.fence()
    first = pending(alice, [value(at, "wet_dry", 0.1), value(at, "damping", 0.2)], 200)
    second = pending(alice, [value(at, "wet_dry", 0.3), value(at, "room_size", 0.4)], 200)
    replies = [alice.wait(BATCH), alice.wait(BATCH)]
    assert [reply["id"] for reply in replies] == [first, second]
    assert [counts(reply) for reply in replies] == [(1, 1), (2, 0)]
    frames = {reply["data"]["applied_frame"] for reply in replies}
    assert len(frames) == 1 and type(frames.pop()) is int
    assert replies[0]["data"]["batch_id"] != replies[1]["data"]["batch_id"]
    assert replies[1]["seq"] == replies[0]["seq"] + 2, "what was replaced gets no number"
    heard = bob.fence()[0]
    assert seqs(heard) == [replies[0]["seq"] + step for step in range(3)]
    assert [m["data"]["parameter_id"] for m in heard] == ["damping", "wet_dry", "room_size"]
    parameters = alice.plugin("r")["parameters"]
    assert (parameters["wet_dry"], parameters["damping"], parameters["room_size"]) == (0.3, 0.2, 0.4)


def test_a_value_replaced_within_its_own_batch_counts_too(alice, at):
    id = pending(alice, [value(at, "wet_dry", step / 10) for step in range(4)], 50)
    assert counts(alice.answer(id)) == (1, 3)


def test_a_batch_that_was_replaced_altogether_carries_no_seq(alice, at):
    first = pending(alice, [value(at, "wet_dry", 0.1)], 100)
    second = pending(alice, [value(at, "wet_dry", 0.2)], 100)
    replaced, applied = alice.answer(first), alice.answer(second)
    assert counts(replaced) == (0, 1)
    assert "seq" not in replaced
    assert replaced["data"]["success"] is True
    assert counts(applied) == (1, 0)
    assert "seq" in applied


def test_nothing_is_heard_before_its_time(alice, bob, at):
    bob.fence()
    id = pending(alice, [value(at, "wet_dry", 0.9)], 1000)
    assert alice.plugin("r")["parameters"]["wet_dry"] == 0.25
    bob.silence()
    alice.answer(id)
    bob.wait("plugin.parameter")


def test_the_latest_wait_rules(alice, at):
    started = time.monotonic()
    first = pending(alice, [value(at, "wet_dry", 0.1)], 1000)
    second = pending(alice, [value(at, "damping", 0.1)], 50)
    alice.answer(first)
    assert alice.answer(second)["data"]["debounce_ms"] == 50
    assert time.monotonic() - started < 0.8


def test_it_waits_for_the_last_but_not_for_ever(start):
    rig = start(settings=NO_LIMITS)
    alice = rig.client()
    at = alice.add("reverb", "r")
    started = time.monotonic()
    first = pending(alice, [value(at, "wet_dry", 0.0)], 300)
    step = 0
    while True:  # a finger that does not rest: a batch every 50 ms
        step += 1
        pending(alice, [value(at, "wet_dry", (step % 100) / 100)], 300)
        try:
            reply = alice.answer(first, timeout=0.05)
            break
        except AssertionError:
            assert step < 100
    took = time.monotonic() - started
    assert counts(reply) == (0, 1)
    assert 0.59 <= took < 1.2, "twice the wait after the first"


def test_an_immediate_change_by_anyone_removes_the_pending_one(alice, bob, at):
    id = pending(alice, [value(at, "wet_dry", 0.1), value(at, "damping", 0.9)], 300)
    alice.ask("heartbeat")
    bob.ask("plugin.parameter", value(at, "wet_dry", 0.7))
    reply = alice.answer(id)
    assert counts(reply) == (1, 1)
    parameters = alice.plugin("r")["parameters"]
    assert (parameters["wet_dry"], parameters["damping"]) == (0.7, 0.9)


def test_an_immediate_batch_removes_the_pending_one(alice, bob, at):
    id = pending(alice, [value(at, "wet_dry", 0.1)], 300)
    alice.ask("heartbeat")
    bob.ask(BATCH, {"changes": [value(at, "wet_dry", 0.7)], "apply_immediately": True})
    reply = alice.answer(id)
    assert counts(reply) == (0, 1)
    assert "seq" not in reply
    assert alice.plugin("r")["parameters"]["wet_dry"] == 0.7


def test_the_plugins_removal_removes_it(alice, bob, at):
    gain = alice.add("gain", "g")
    id = pending(alice, [value(at, "wet_dry", 0.1), value(gain, "volume", 0.5)], 300)
    alice.ask("heartbeat")
    bob.ask("plugin.remove", at)
    assert counts(alice.answer(id)) == (1, 1)
    assert alice.plugin("g")["parameters"]["volume"] == 0.5


def test_a_tracks_removal_removes_it(alice, bob):
    alice.ask("track.add", {"track_id": "t", "name": "T", "kind": "mic"})
    id = pending(alice, [value(alice.add(track_id="t"), "volume", 0.5)], 300)
    alice.ask("heartbeat")
    bob.ask("track.remove", {"track_id": "t"})
    assert counts(alice.answer(id)) == (0, 1)


def test_a_preset_removes_it(alice, bob, at):
    id = pending(alice, [value(at, "wet_dry", 0.1)], 300)
    alice.ask("heartbeat")
    bob.ask("plugin.preset", {**at, "preset_data": {"wet_dry": 0.6}})
    assert counts(alice.answer(id)) == (0, 1)
    assert alice.plugin("r")["parameters"]["wet_dry"] == 0.6


def test_who_leaves_does_not_take_it_along(alice, bob, at):
    bob.fence()
    pending(alice, [value(at, "wet_dry", 0.9)], 200)
    alice.close()
    heard = bob.wait("plugin.parameter")
    assert heard["data"]["parameter_value"] == 0.9
    assert bob.plugin("r")["parameters"]["wet_dry"] == 0.9


def test_clients_wait_each_for_themselves(alice, bob, at):
    slow = pending(alice, [value(at, "wet_dry", 0.1)], 1000)
    fast = pending(bob, [value(at, "damping", 0.1)], 50)
    replied = bob.answer(fast)
    assert counts(replied) == (1, 0)
    assert alice.answer(slow)["seq"] > replied["seq"]


def test_validity_is_decided_on_arrival(alice, at):
    started = time.monotonic()
    data = {"changes": [value(at, "wet_dry", 7)], "debounce_ms": 1000}
    alice.fail("INVALID_PARAMETER", BATCH, data)
    assert time.monotonic() - started < 0.9


def test_a_single_change_never_waits(alice, at):
    pending(alice, [value(at, "damping", 0.1)], 1000)
    started = time.monotonic()
    alice.ask("plugin.parameter", value(at, "wet_dry", 0.5))
    assert time.monotonic() - started < 0.5
