"""Whole-chain presets of a microphone: track.preset, track.preset.save, track.presets.get (README)."""

import pytest

BUSES = """
[[tracks]]
track_id = "mic1"
kind = "mic"
input = "device:1"
[[tracks]]
track_id = "mic2"
kind = "mic"
input = "device:2"
[[tracks]]
track_id = "music"
kind = "stem"
input = "file"
[[tracks]]
track_id = "hall"
kind = "bus"
[[tracks]]
track_id = "master"
kind = "master"
"""
NAMES = ["natural", "warm", "bright", "big hall", "slap echo", "talk", "off"]


def track(client, track_id="mic1"):
    return next(t for t in client.state()["tracks"] if t["track_id"] == track_id)


def kinds(track):
    return [plugin["plugin_path"].removeprefix("builtin:") for plugin in track["plugins"]]


def load(client, name, track_id="mic1"):
    return client.ask("track.preset", {"track_id": track_id, "preset_name": name})


def presets(client):
    return {p["name"]: p for p in client.ask("track.presets.get")["data"]["presets"]}


def test_the_boxs_own(alice):
    there = presets(alice)
    assert list(there)[:7] == NAMES
    for name in NAMES:
        assert there[name]["factory"] is True
        reply = load(alice, name)
        now = track(alice)
        assert reply["data"]["track"] == now
        assert reply["data"]["preset_name"] == name
        assert reply["seq"] == alice.state()["seq"]
        assert kinds(now) == [p["plugin_path"].removeprefix("builtin:") for p in there[name]["plugins"]]
        assert [p["parameters"] for p in now["plugins"]] == [p["parameters"] for p in there[name]["plugins"]]
        assert not any(p["bypassed"] for p in now["plugins"])
    assert track(alice)["plugins"] == [], "off is nothing at all"
    assert load(alice, "Big Hall")["data"]["track"]["plugins"], "in any case"


@pytest.mark.parametrize("name", NAMES[:-1])
def test_it_flatters_a_voice(alice, name):
    """Rumble goes, levels are evened, and pauses are quiet; talk is dry and the others are not."""
    chain = kinds(load(alice, name)["data"]["track"])
    assert chain[0] == "hpf" and "gate" in chain and "compressor" in chain and "eq" in chain
    wet = "reverb" in chain or "echo" in chain
    assert wet == (name != "talk")


def test_effects_that_are_wanted_stay(alice):
    alice.add("reverb", "mine")
    alice.add("compressor", "squash", position=0)
    alice.ask("plugin.bypass", {"track_id": "mic1", "plugin_id": "squash", "bypass": True})
    now = load(alice, "natural")["data"]["track"]
    ids = {kind: plugin["plugin_id"] for kind, plugin in zip(kinds(now), now["plugins"], strict=True)}
    assert ids["compressor"] == "squash"
    assert ids["hpf"] == "mic1.hpf"
    compressor = next(p for p in now["plugins"] if p["plugin_id"] == "squash")
    assert compressor["bypassed"] is False
    assert compressor["parameters"]["ratio"] == 2.0
    assert load(alice, "talk")["data"]["track"]["plugins"]
    assert alice.plugin("mine") is None, "what the new chain does not have goes"


def test_buses_are_used_where_there_are_some(start):
    alice = start(settings=BUSES).client()
    alice.add("reverb", "big", track_id="hall")
    now = load(alice, "natural")["data"]["track"]
    assert now["sends"] == {"hall": 0.25}
    assert "reverb" not in kinds(now)
    assert "echo" in kinds(now), "there is no bus for that"
    assert load(alice, "off")["data"]["track"]["sends"] == {}


def follow(model, message):
    """What a client does that has never heard of chain presets."""
    data = message["data"]
    chain = model.setdefault(data.get("track_id"), [])
    match message["type"]:
        case "plugin.add":
            chain.insert(data["position"], {"id": data["plugin_id"], **data["parameters"]})
        case "plugin.remove":
            chain[:] = [plugin for plugin in chain if plugin["id"] != data["plugin_id"]]
        case "plugin.preset":
            next(p for p in chain if p["id"] == data["plugin_id"]).update(data["parameters"])
        case "plugin.move":
            chain.sort(key=lambda plugin: data["order"].index(plugin["id"]))
        case "track.update":
            model["sends"] = data["sends"]


def test_others_follow_by_ordinary_changes(start):
    rig = start(settings=BUSES)
    alice, bob = rig.client(), rig.client()
    alice.add("reverb", "big", track_id="hall")
    for plugin in ("eq", "gain", "compressor", "gain"):
        alice.add(plugin, f"{plugin}_{alice.count}", position=0)
    model, seq = {}, 0
    for name in ["warm", "slap echo", "off", "big hall", "talk", "natural"]:
        reply = load(alice, name)
        bob.wait("track.preset", preset_name=name, track=reply["data"]["track"])
    heard, _ = bob.fence()
    for message in sorted(heard, key=lambda message: message.get("seq", 0)):
        assert message.get("seq", seq + 1) > seq
        seq = message.get("seq", seq)
        follow(model, message)
    now = track(alice)
    assert model["mic1"] == [{"id": p["plugin_id"], **p["parameters"]} for p in now["plugins"]]
    assert model["sends"] == now["sends"] == {"hall": 0.25}


def test_users_keep_their_own(alice, bob):
    load(alice, "warm")
    at = {"track_id": "mic1", "plugin_id": "mic1.eq"}
    alice.ask("plugin.parameter", {**at, "parameter_id": "low_gain_db", "value": 4.5})
    alice.ask("plugin.bypass", {"track_id": "mic1", "plugin_id": "mic1.gate", "bypass": True})
    before = alice.state()["seq"]
    reply = alice.ask("track.preset.save", {"track_id": "mic1", "preset_name": "Ana ♀"})
    assert reply["seq"] == before + 1
    assert bob.wait("track.preset.save")["data"]["preset_name"] == "Ana ♀"
    mine = presets(bob)["Ana ♀"]
    assert mine["factory"] is False
    load(bob, "Ana ♀", "mic2")
    ana, other = track(bob), track(bob, "mic2")
    assert kinds(ana) == kinds(other)
    assert [p["parameters"] for p in ana["plugins"]] == [p["parameters"] for p in other["plugins"]]
    assert [p["bypassed"] for p in ana["plugins"]] == [p["bypassed"] for p in other["plugins"]]


def test_refusals_change_nothing(alice):
    before = alice.state()
    alice.fail("PRESET_LOAD_FAILED", "track.preset", {"track_id": "mic1", "preset_name": "opera"})
    alice.fail("PRESET_LOAD_FAILED", "track.preset", {"track_id": "music", "preset_name": "warm"})
    alice.fail("TRACK_NOT_FOUND", "track.preset", {"track_id": "mic9", "preset_name": "warm"})
    alice.fail("INVALID_MESSAGE", "track.preset", {"track_id": "mic1"})
    alice.fail("PRESET_LOAD_FAILED", "track.preset.save", {"track_id": "mic1", "preset_name": "Natural"})
    after = alice.state()
    assert (after["seq"], after["tracks"]) == (before["seq"], before["tracks"])


def test_no_room_is_no_half_chain(start):
    """With one MiB of delay memory not every microphone can have its own reverb."""
    alice = start(settings="[audio]\ndelay_pool_mb = 1\nsample_rate = 96000\n").client()
    fits = 0
    while True:
        alice.ask("track.add", {"track_id": f"m{fits}", "kind": "mic"})
        id = alice.send("track.preset", {"track_id": f"m{fits}", "preset_name": "big hall"})
        answer = alice.answer(id)
        if answer["type"] == "ERROR":
            break
        fits += 1
    assert answer["data"]["code"] == "CAPACITY"
    assert track(alice, f"m{fits}")["plugins"] == [], "nothing of it is there"
