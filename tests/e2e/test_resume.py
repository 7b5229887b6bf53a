"""Coming back, meeting others at one fader, sending again: state.resume, base_seq, idempotency_key and
client.subscribe (wire.md sections 1, 3 and 5)."""

import threading

import pytest

from rig import NO_LIMITS, refusal, seqs, value


@pytest.fixture
def at(alice):
    return alice.add()


def stream(client, reply):
    """What follows the reply to a state.resume."""
    messages = [client.receive() for _ in range(reply["data"]["count"])]
    assert seqs(messages) == sorted(seqs(messages))
    return messages


def resume(client, since, **more):
    id = client.send("state.resume", {"since_seq": since, **more})
    while (message := client.receive())["id"] != id:
        pass
    return message


def test_what_was_missed_comes_in_order(rig, alice, at):
    seq = alice.state()["seq"]
    for step in range(50):
        alice.ask("plugin.parameter", value(at, "volume", step / 100))
    alice.ask("track.update", {"track_id": "mic2", "pan": 0.5})
    bob = rig.client()
    reply = resume(bob, seq, epoch=bob.status["data"]["epoch"])
    assert (reply["type"], reply["data"]["since_seq"], reply["data"]["count"]) == ("state.resume", seq, 51)
    missed = stream(bob, reply)
    assert seqs(missed) == list(range(seq + 1, seq + 52))
    assert [m["data"]["parameter_value"] for m in missed[:50]] == [step / 100 for step in range(50)]
    assert missed[50]["type"] == "track.update"
    assert all(m["data"]["changed_by"] == "legacy_user" for m in missed)
    after = alice.ask("plugin.parameter", value(at, "volume", 4))
    assert bob.receive()["seq"] == after["seq"], "and then it goes on"


def test_ones_own_changes_are_among_them(alice, at):
    alice.ask("auth", {"user_id": "alice"})
    seq = alice.ask("plugin.parameter", value(at, "volume", 0.5))["seq"]
    (mine,) = stream(alice, resume(alice, seq - 1))
    assert (mine["seq"], mine["data"]["changed_by"]) == (seq, "alice")


def test_nothing_was_missed(alice, at):
    assert resume(alice, alice.state()["seq"])["data"]["count"] == 0


def test_a_storm_goes_on_behind_it(start):
    """Reply, held changes and live ones: every number once, in order, with no gap."""
    rig = start(settings=NO_LIMITS)
    alice, bob = rig.client(), rig.client()
    at = alice.add()
    seq = bob.state()["seq"]
    stop = threading.Event()

    def storm():
        step = 0
        while not stop.is_set():
            step += 1
            alice.ask("plugin.parameter", value(at, "volume", (step % 400) / 100))

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for _ in range(20):
            reply = resume(bob, seq)
            assert reply["type"] == "state.resume"
            heard = [bob.receive() for _ in range(reply["data"]["count"] + 20)]
            assert seqs(heard) == list(range(seq + 1, seq + 1 + len(heard)))
            seq = seqs(heard)[-1] - 10
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("case", ["another run", "the future", "long ago"])
def test_what_cannot_be_told_one_by_one_is_a_snapshot(start, case):
    rig = start(settings=NO_LIMITS)
    alice = rig.client()
    at = alice.add()
    seq, more = alice.state()["seq"], {}
    if case == "another run":
        more = {"epoch": "of old"}
    elif case == "the future":
        seq += 1000
    else:
        for step in range(3000):
            alice.send("plugin.parameter", value(at, "volume", (step % 400) / 100))
        alice.answer(alice.send("plugin.parameter", value(at, "volume", 1)))
    reply = resume(alice, seq, **more)
    assert reply["type"] == "state.snapshot"
    assert reply["data"]["seq"] >= 1
    assert reply["data"]["tracks"]


@pytest.mark.parametrize("since", [None, -1, 1.5, "3"])
def test_a_bad_number(alice, since):
    details = alice.fail("INVALID_MESSAGE", "state.resume", {"since_seq": since})
    assert details["field"] == "since_seq"


def test_who_is_overtaken_is_told(alice, bob, at):
    base = alice.state()["seq"]
    won = bob.ask("plugin.parameter", {**value(at, "volume", 0.7), "base_seq": base})
    details = alice.fail("PARAMETER_UPDATE_FAILED", "plugin.parameter",
                         {**value(at, "volume", 0.1), "base_seq": base})  # fmt: skip
    assert details["current_value"] == 0.7
    assert details["seq"] == won["seq"]
    assert alice.plugin("g")["parameters"]["volume"] == 0.7
    alice.ask("plugin.parameter", {**value(at, "volume", 0.2), "base_seq": won["seq"]})
    alice.ask("plugin.parameter", {**value(at, "volume", 0.3), "base_seq": won["seq"]})  # mine since
    bob.ask("plugin.parameter", value(at, "volume", 0.4))  # Without it the last writer wins.


def test_another_parameter_is_another_matter(alice, bob):
    at = alice.add("reverb", "r")
    base = alice.state()["seq"]
    bob.ask("plugin.parameter", value(at, "damping", 0.7))
    alice.ask("plugin.parameter", {**value(at, "wet_dry", 0.1), "base_seq": base})
    bob.ask("plugin.preset", {**at, "preset_data": {"wet_dry": 0.3}})
    details = alice.fail("PARAMETER_UPDATE_FAILED", "plugin.parameter",
                         {**value(at, "wet_dry", 0.1), "base_seq": base})  # fmt: skip
    assert details["current_value"] == 0.3


def test_other_changes_can_be_overtaken_too(alice, bob, at):
    base = alice.state()["seq"]
    bob.ask("plugin.bypass", {**at, "bypass": True})
    bob.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    details = alice.fail("PARAMETER_UPDATE_FAILED", "plugin.bypass", {**at, "bypass": False, "base_seq": base})
    assert details["current_value"] is True
    alice.fail("PARAMETER_UPDATE_FAILED", "track.update", {"track_id": "mic1", "pan": 0.5, "base_seq": base})
    alice.ask("track.update", {"track_id": "mic2", "pan": 0.5, "base_seq": base})


def test_a_message_that_comes_twice_is_applied_once(alice, bob, at):
    first = alice.ask("plugin.parameter", value(at, "volume", 0.5), idempotency_key="k1")
    alice.ask("plugin.parameter", value(at, "volume", 0.9))
    again = alice.ask("plugin.parameter", value(at, "volume", 0.5), idempotency_key="k1")
    assert again["data"] == first["data"]
    assert again["seq"] == first["seq"]
    assert again["id"] != first["id"]
    assert alice.plugin("g")["parameters"]["volume"] == 0.9
    other = alice.ask("plugin.parameter", value(at, "volume", 0.6), idempotency_key="k2")
    assert other["seq"] == first["seq"] + 2


def test_over_a_broken_connection(rig, at):
    """The answer got lost: the same user asks again on a new connection."""
    carol = rig.client()
    carol.ask("auth", {"user_id": "carol"})
    carol.send("plugin.add", {"track_id": "mic2", "name": "gain"}, idempotency_key="once")
    carol.close()
    again = rig.client()
    again.ask("auth", {"user_id": "carol"})
    reply = again.ask("plugin.add", {"track_id": "mic2", "name": "gain"}, idempotency_key="once")
    plugins = next(t for t in again.state()["tracks"] if t["track_id"] == "mic2")["plugins"]
    assert [p["plugin_id"] for p in plugins] == [reply["data"]["plugin_id"]]


def test_another_user_may_use_the_same_key(alice, bob, at):
    alice.ask("auth", {"user_id": "alice"})
    bob.ask("auth", {"user_id": "bob"})
    first = alice.ask("plugin.parameter", value(at, "volume", 0.5), idempotency_key="k")
    second = bob.ask("plugin.parameter", value(at, "volume", 0.6), idempotency_key="k")
    assert second["seq"] > first["seq"]


def test_copies_in_flight_get_the_same_answer(alice, at):
    data = {"changes": [value(at, "volume", 0.5)], "debounce_ms": 200}
    ids = [alice.send("plugin.parameter.batch", data, idempotency_key="b", requires_ack=True) for _ in range(3)]
    answers = [alice.answer(id) for id in ids]
    assert len({answer["seq"] for answer in answers}) == 1
    assert all(answer["data"] == answers[0]["data"] for answer in answers)
    for id in ids:
        assert alice.wait("ack", original_message_id=id)["data"]["durable"] is True


def test_what_was_refused_may_be_tried_again(alice):
    change = {"track_id": "mic1", "plugin_id": "later", "parameter_id": "volume", "value": 0.5}
    refusal("PLUGIN_NOT_FOUND", alice.answer(alice.send("plugin.parameter", change, idempotency_key="r")))
    alice.add(plugin_id="later")
    alice.ask("plugin.parameter", change, idempotency_key="r")


def test_only_what_is_wanted_is_told(alice, bob, at):
    other = alice.add("reverb", "r", track_id="mic2")
    bob.fence()
    reply = bob.ask("client.subscribe", {"plugin_ids": ["g"], "types": ["plugin.parameter", "plugin.bypass"]})
    assert reply["data"]["plugin_ids"] == ["g"]
    alice.ask("plugin.parameter", value(other, "wet_dry", 0.5))
    alice.ask("plugin.bypass", {**at, "bypass": True})
    alice.ask("plugin.preset", {**at, "preset_name": "Default"})
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    alice.ask("plugin.parameter", value(at, "volume", 0.5))
    heard, _ = bob.fence()
    assert [m["type"] for m in heard] == ["plugin.bypass", "plugin.parameter"]
    assert bob.ask("plugin.parameter", value(other, "wet_dry", 0.25))["data"]["success"], "replies always"
    bob.fail("TRACK_NOT_FOUND", "track.update", {"track_id": "nope", "mute": True})
    bob.ask("client.subscribe", {})
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.6})
    assert bob.wait("track.update")["data"]["volume"] == 0.6


def test_by_track(alice, bob):
    bob.ask("client.subscribe", {"track_ids": ["mic2", "master"]})
    alice.add(track_id="mic1", plugin_id="one")
    alice.add(track_id="mic2", plugin_id="two")
    alice.ask("track.update", {"track_id": "mic1", "mute": True})
    alice.ask("track.update", {"track_id": "mic2", "mute": True})
    alice.ask("rig.panic", {"mode": "mute"})
    heard, _ = bob.fence()
    tracks = [(m["type"], m["data"].get("track_id")) for m in heard]
    assert tracks == [("plugin.add", "mic2"), ("track.update", "mic2"), ("rig.panic", None)]


def test_batches_are_filtered_inside(alice, bob):
    one, two = alice.add(plugin_id="one"), alice.add(plugin_id="two")
    bob.ask("client.features", {"batch": True})
    bob.ask("client.subscribe", {"plugin_ids": ["two"]})
    changes = [value(one, "volume", 0.1), value(two, "volume", 0.2)]
    alice.ask("plugin.parameter.batch", {"changes": changes, "apply_immediately": True})
    (change,) = bob.wait("plugin.parameter.batch")["data"]["changes"]
    assert (change["plugin_id"], change["value"]) == ("two", 0.2)


@pytest.mark.parametrize("data", [
    {"track_ids": "mic1"}, {"types": ["plugin.wobble"]}, {"plugin_ids": [1]}, {"track_ids": ["x"] * 257},
])  # fmt: skip
def test_a_bad_subscription(alice, bob, data):
    bob.fail("INVALID_MESSAGE", "client.subscribe", data)
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    bob.wait("track.update")
