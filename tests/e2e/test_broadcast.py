"""One box, one sound: everyone hears everyone else's changes, in order (wire.md sections 1 and 5)."""

import threading

import pytest

from rig import NO_LIMITS, seqs, value

GAIN = {"track_id": "mic1", "plugin_id": "g"}
CHANGES = [
    ("plugin.add", {"track_id": "mic1", "name": "gain", "plugin_id": "h"}, {"plugin_path": "builtin:gain"}),
    ("plugin.parameter", value(GAIN, "volume", 0.5), {"parameter_value": 0.5}),
    ("plugin.bypass", {**GAIN, "bypass": True}, {"bypass": True}),
    ("plugin.preset", {**GAIN, "preset_data": {"volume": 0.25}}, {"parameters": {"volume": 0.25}}),
    ("plugin.preset.save", {**GAIN, "preset_name": "mine"}, {"preset_name": "mine"}),
    ("plugin.move", {**GAIN, "position": 1}, {"position": 1}),
    ("plugin.remove", GAIN, {}),
    ("track.update", {"track_id": "mic2", "volume": 0.5}, {"volume": 0.5}),
    ("track.add", {"track_id": "fx", "name": "Effects", "kind": "bus"}, {"kind": "bus"}),
    ("track.remove", {"track_id": "fx"}, {}),
    ("rig.panic", {"mode": "dry"}, {"mode": "dry"}),
    ("rig.restore", {}, {}),
]


@pytest.mark.parametrize("dialect", ["dotted", "upper"])
def test_every_kind_of_change_reaches_the_others(alice, bob, dialect):
    bob.ask("client.features", {"dialect": dialect})
    alice.add()
    for kind, data, shown in CHANGES:
        bob.fence()
        reply = alice.ask(kind, data, user_id="ana", session_id="s")
        heard = [m for m in bob.fence()[0] if m["type"] != "PLUGIN_STATE_UPDATE"]
        spoken = kind.upper().replace(".", "_") if dialect == "upper" else kind
        assert [message["type"] for message in heard] == [spoken]
        (message,) = heard
        assert message["seq"] == reply["seq"]
        assert message["id"] != reply["id"], "a broadcast's id is the server's own"
        assert (message["user_id"], message["session_id"]) == ("ana", "s"), "whose change it was"
        assert message["data"]["changed_by"] == "ana"
        for field in ("track_id", "plugin_id"):
            assert message["data"].get(field) == data.get(field, message["data"].get(field))
        assert {key: message["data"][key] for key in shown} == shown


def test_the_sender_hears_nothing_of_its_own(alice):
    at = alice.add()
    alice.ask("plugin.parameter", value(at, "volume", 0.5))
    alice.ask("plugin.parameter.batch", {"changes": [value(at, "volume", 0.6)], "apply_immediately": True})
    alice.ask("rig.panic", {"mode": "mute"})
    alice.silence()


def test_sessions_do_not_divide_the_sound(rig):
    one, two = rig.client(), rig.client()
    one.ask("auth", {"user_id": "ana", "session_id": "red"})
    two.ask("auth", {"user_id": "ben", "session_id": "blue"})
    seq = one.ask("track.update", {"track_id": "mic1", "volume": 0.5})["seq"]
    assert two.wait("track.update")["seq"] == seq


def test_what_is_refused_is_nobodys_business(alice, bob):
    at = alice.add()
    bob.fence()
    alice.fail("INVALID_PARAMETER", "plugin.parameter", value(at, "volume", 99))
    alice.fail("TRACK_NOT_FOUND", "track.update", {"track_id": "nope", "mute": True})
    bob.silence()


def test_a_batch_arrives_as_one_message_per_change_in_the_order_given(alice, bob):
    at, other = alice.add(plugin_id="g"), alice.add("reverb", "r", "mic2")
    bob.fence()
    changes = [value(other, "wet_dry", 0.1), value(at, "volume", 2), value(other, "room_size", 0.9)]
    reply = alice.ask("plugin.parameter.batch", {"changes": changes, "apply_immediately": True})
    heard, _ = bob.fence()
    assert [message["type"] for message in heard] == ["plugin.parameter"] * 3
    assert seqs(heard) == [reply["seq"] - 2, reply["seq"] - 1, reply["seq"]]
    assert [(m["data"]["parameter_id"], m["data"]["parameter_value"]) for m in heard] == [
        ("wet_dry", 0.1),
        ("volume", 2),
        ("room_size", 0.9),
    ]


@pytest.mark.parametrize("at_once", [True, False])
def test_who_wants_batches_gets_one_message(rig, alice, bob, at_once):
    carol = rig.client()
    assert bob.ask("client.features", {"batch": True})["data"]["batch"] is True
    at = alice.add()
    bob.fence(), carol.fence()
    changes = [value(at, "volume", 0.1), value(alice.add("reverb", "r"), "wet_dry", 1)]
    reply = alice.ask("plugin.parameter.batch", {"changes": changes, "apply_immediately": at_once})
    heard = [message for message in bob.fence()[0] if "batch" in message["type"]]
    assert len(heard) == 1
    (batch,) = heard
    assert batch["type"] == "plugin.parameter.batch"
    assert batch["seq"] == reply["seq"]
    assert batch["data"]["changed_by"] == "legacy_user"
    assert [(c["plugin_id"], c["parameter_id"], c["value"]) for c in batch["data"]["changes"]] == [
        ("g", "volume", 0.1),
        ("r", "wet_dry", 1),
    ]
    assert len([m for m in carol.fence()[0] if m["type"] == "plugin.parameter"]) == 2


def test_values_are_kept_as_they_came(alice, bob):
    """f64 all the way on the control side, whatever the engine makes of it."""
    at = alice.add()
    for exact in (0.123456789012345, 1 / 3, 1e-300, 3):
        reply = alice.ask("plugin.parameter", value(at, "volume", exact))
        assert reply["data"]["parameter_value"] == exact
        assert bob.wait("plugin.parameter")["data"]["parameter_value"] == exact
        assert bob.plugin("g")["parameters"]["volume"] == exact
        alice.ask("track.update", {"track_id": "mic1", "pan": exact / 4})
        assert bob.state()["tracks"][0]["pan"] == exact / 4


def test_a_single_change_stays_single_for_who_wants_batches(alice, bob):
    bob.ask("client.features", {"batch": True})
    at = alice.add()
    alice.ask("plugin.parameter", value(at, "volume", 0.5))
    bob.wait("plugin.parameter")


def test_everyone_sees_the_same_changes_in_the_same_order(start):
    rig = start(settings=NO_LIMITS)
    watcher = rig.client()
    at = watcher.add()
    people = [rig.client() for _ in range(4)]
    rounds = 150

    def play(client, number):
        for step in range(rounds):
            client.send("plugin.parameter", value(at, "volume", number + step / rounds))

    threads = [threading.Thread(target=play, args=each) for each in zip(people, range(4))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everyone = (*people, watcher)
    logs = [client.fence()[0] for client in everyone]  # now all of it is applied
    logs = [log + client.fence()[0] for log, client in zip(logs, everyone)]
    for log in logs:
        numbers = seqs(log)
        assert numbers == sorted(set(numbers)), "each at most once, in order"
    heard = [{m["seq"]: m["data"]["parameter_value"] for m in log if "seq" in m} for log in logs]
    final = watcher.plugin("g")["parameters"]["volume"]
    for changes in heard:
        assert changes.items() <= heard[-1].items() or len(heard[-1]) < 4 * rounds
        assert changes[max(changes)] == final, "the last value always arrives"


def test_replies_and_broadcasts_of_one_connection_are_in_order(start):
    rig = start(settings=NO_LIMITS)
    alice, bob = rig.client(), rig.client()
    at = alice.add()
    bob.fence()
    for step in range(100):
        alice.send("plugin.parameter", value(at, "volume", step / 100))
        bob.send("plugin.parameter", value(at, "volume", 1 + step / 100))
    for client in (alice, bob):
        heard = client.fence()[0]
        numbers = seqs(heard)
        assert numbers == sorted(set(numbers))
        assert len([m for m in heard if m["id"].startswith("m")]) == 100


def test_two_people_at_one_fader(rig, alice, bob):
    """One order everywhere; who was first sees who was last within one broadcast."""
    carol = rig.client()
    at = alice.add()
    for person in (bob, carol):
        person.wait("plugin.add")
    for step in range(25):
        values = {alice: step / 100, bob: 1 + step / 100}
        asked = {person: person.send("plugin.parameter", value(at, "volume", values[person])) for person in values}
        seq = {person: person.answer(id)["seq"] for person, id in asked.items()}
        loser, winner = sorted(seq, key=seq.get)
        told = loser.wait("plugin.parameter")
        assert (told["data"]["parameter_value"], told["seq"]) == (values[winner], seq[winner])
        assert winner.wait("plugin.parameter")["seq"] == seq[loser], "and the other way round, from before"
        heard = [carol.wait("plugin.parameter") for _ in values]
        assert seqs(heard) == [seq[loser], seq[winner]]
        assert [m["data"]["parameter_value"] for m in heard] == [values[loser], values[winner]]
    assert alice.plugin("g")["parameters"]["volume"] == values[winner]
