"""Tracks: list, add, update, remove, sends, solo (wire.md sections 3 and 11)."""

import pytest


def track(client, track_id):
    tracks = client.ask("track.list")["data"]["tracks"]
    return next((each for each in tracks if each["track_id"] == track_id), None)


def update(client, track_id="mic1", **fields):
    return client.ask("track.update", {"track_id": track_id, **fields})["data"]


def shown(data, track_id="mic1"):
    """The track in a reply, nested or flat."""
    return data["track"] if "track" in data else data


def test_a_rig_without_settings(alice):
    tracks = alice.ask("track.list")["data"]["tracks"]
    assert [each["track_id"] for each in tracks] == ["mic1", "mic2", "music", "master"]
    assert [each["kind"] for each in tracks] == ["mic", "mic", "stem", "master"]
    assert [each["input"] for each in tracks[:3]] == ["device:1", "device:2", "file"]
    for each in tracks:
        assert (each["volume"], each["pan"], each["input_gain_db"]) == (1, 0, 0)
        assert each["mute"] is False and each["solo"] is False
        assert each["sends"] == {}
        assert each["name"]
    assert [plugin["plugin_id"] for each in tracks for plugin in each["plugins"]] == ["limiter"]


@pytest.mark.parametrize(
    "field,value",
    [
        ("name", "Ana's mic ä"),
        ("volume", 0),
        ("volume", 2),
        ("pan", -1),
        ("pan", 1),
        ("input_gain_db", -24),
        ("input_gain_db", 40),
        ("mute", True),
        ("solo", True),
        ("input", "device:2"),
        ("input", "none"),
    ],
)
def test_update_and_the_track_as_it_is_now(alice, bob, field, value):
    reply = alice.ask("track.update", {"track_id": "mic1", field: value})
    assert shown(reply["data"])[field] == value
    assert reply["data"]["track_id"] == "mic1"
    assert track(bob, "mic1")[field] == value
    heard = bob.wait("track.update")
    assert heard["seq"] == reply["seq"]
    assert shown(heard["data"])[field] == value


def test_several_at_once(alice):
    update(alice, volume=0.5, pan=0.25, mute=True)
    now = track(alice, "mic1")
    assert (now["volume"], now["pan"], now["mute"]) == (0.5, 0.25, True)


@pytest.mark.parametrize(
    "field,wrong,low,high",
    [
        ("volume", 2.001, 0, 2),
        ("volume", -0.1, 0, 2),
        ("pan", 1.1, -1, 1),
        ("pan", -1.1, -1, 1),
        ("input_gain_db", 40.5, -24, 40),
        ("input_gain_db", -25, -24, 40),
    ],
)
def test_a_number_out_of_range(alice, field, wrong, low, high):
    data = {"track_id": "mic1", "mute": True, field: wrong}
    details = alice.fail("INVALID_PARAMETER", "track.update", data)
    assert (details["parameter_id"], details["parameter_value"]) == (field, wrong)
    assert (details["min"], details["max"]) == (low, high)
    assert track(alice, "mic1")["mute"] is False, "nothing of it was applied"


@pytest.mark.parametrize("field", ["volume", "pan", "input_gain_db"])
def test_a_number_that_is_none(alice, field):
    alice.fail("INVALID_PARAMETER", "track.update", {"track_id": "mic1", field: "loud"})


@pytest.mark.parametrize("field,wrong", [("mute", 1), ("solo", "yes"), ("name", 5), ("input", 3), ("sends", 4)])
def test_a_field_of_the_wrong_type(alice, field, wrong):
    details = alice.fail("INVALID_MESSAGE", "track.update", {"track_id": "mic1", field: wrong})
    assert details["field"] == field


@pytest.mark.parametrize("wrong", ["device:0", "device:x", "device:1-3", "device:4-3", "hw:0", ""])
def test_an_input_that_is_none(alice, wrong):
    id = alice.send("track.update", {"track_id": "mic1", "input": wrong})
    assert alice.answer(id)["data"]["code"] in ("INVALID_MESSAGE", "INVALID_PARAMETER")
    assert track(alice, "mic1")["input"] == "device:1"


def test_an_update_that_changes_nothing_is_a_misspelt_one(alice):
    alice.fail("INVALID_MESSAGE", "track.update", {"track_id": "mic1", "volumne": 0.5})


@pytest.mark.parametrize("kind", ["mic", "stem", "bus"])
def test_add_and_remove(alice, bob, kind):
    reply = alice.ask("track.add", {"track_id": "new", "name": "New", "kind": kind, "volume": 0.5})
    assert shown(reply["data"])["kind"] == kind
    assert reply["data"]["track_id"] == "new"
    assert bob.wait("track.add")["seq"] == reply["seq"]
    now = track(bob, "new")
    assert (now["kind"], now["name"], now["volume"], now["plugins"]) == (kind, "New", 0.5, [])
    reply = alice.ask("track.remove", {"track_id": "new"})
    assert bob.wait("track.remove")["seq"] == reply["seq"]
    assert track(bob, "new") is None


def test_the_master_comes_last_and_stays(alice):
    alice.ask("track.add", {"track_id": "a", "name": "A", "kind": "mic"})
    assert alice.ask("track.list")["data"]["tracks"][-1]["track_id"] == "master"
    id = alice.send("track.remove", {"track_id": "master"})
    assert alice.answer(id)["type"] == "ERROR"
    id = alice.send("track.add", {"track_id": "m2", "name": "M", "kind": "master"})
    assert alice.answer(id)["type"] == "ERROR"
    assert track(alice, "m2") is None


def test_a_taken_or_bad_id(alice):
    id = alice.send("track.add", {"track_id": "mic1", "name": "x", "kind": "mic"})
    assert alice.answer(id)["type"] == "ERROR"
    data = {"track_id": "a b", "name": "x", "kind": "mic"}
    assert alice.fail("INVALID_MESSAGE", "track.add", data)["field"] == "track_id"
    data = {"track_id": "a", "name": "x", "kind": "drum"}
    assert alice.fail("INVALID_MESSAGE", "track.add", data)["field"] == "kind"


def test_sixteen_tracks(alice):
    for number in range(12):
        alice.ask("track.add", {"track_id": f"t{number}", "name": f"T{number}", "kind": "mic"})
    data = {"track_id": "t12", "name": "One too many", "kind": "mic"}
    assert alice.fail("CAPACITY", "track.add", data)["limit"] == 16
    alice.ask("track.remove", {"track_id": "t5"})
    alice.ask("track.add", data)
    assert len(alice.ask("track.list")["data"]["tracks"]) == 16


def test_a_tracks_effects_go_with_it(alice):
    alice.ask("track.add", {"track_id": "t", "name": "T", "kind": "mic"})
    at = alice.add(track_id="t")
    alice.ask("track.remove", {"track_id": "t"})
    alice.fail("TRACK_NOT_FOUND", "plugin.remove", at)
    alice.add(track_id="mic1")


@pytest.fixture
def buses(alice):
    names = [f"fx{number}" for number in range(5)]
    for name in names:
        alice.ask("track.add", {"track_id": name, "name": name, "kind": "bus"})
    return names


def test_sends(alice, bob, buses):
    update(alice, sends={"fx0": 0.5, "fx1": 1})
    assert track(bob, "mic1")["sends"] == {"fx0": 0.5, "fx1": 1}


def test_four_sends_and_no_more(alice, buses):
    update(alice, sends={name: 0.5 for name in buses[:4]})
    data = {"track_id": "mic1", "sends": {name: 0.5 for name in buses}}
    assert alice.fail("CAPACITY", "track.update", data)["limit"] == 4
    assert len(track(alice, "mic1")["sends"]) == 4


@pytest.mark.parametrize("sends", [{"fx0": 1.5}, {"fx0": -0.1}, {"fx0": "loud"}])
def test_a_bad_send_level(alice, buses, sends):
    alice.fail("INVALID_PARAMETER", "track.update", {"track_id": "mic1", "sends": sends})
    assert track(alice, "mic1")["sends"] == {}


def test_sends_go_to_buses(alice, buses):
    alice.fail("TRACK_NOT_FOUND", "track.update", {"track_id": "mic1", "sends": {"nowhere": 0.5}})
    for target in ("mic2", "master"):
        id = alice.send("track.update", {"track_id": "mic1", "sends": {target: 0.5}})
        assert alice.answer(id)["type"] == "ERROR", target


def test_a_bus_takes_its_sends_along(alice, buses):
    update(alice, sends={"fx0": 0.5, "fx1": 0.5})
    alice.ask("track.remove", {"track_id": "fx0"})
    assert track(alice, "mic1")["sends"] == {"fx1": 0.5}
