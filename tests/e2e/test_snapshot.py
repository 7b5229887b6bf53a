"""state.get: exactly the applied changes up to its seq, whatever goes on (wire.md sections 3 and 5)."""

import threading

import pytest

from rig import NO_LIMITS, value


@pytest.fixture
def rig(start):
    return start(settings=NO_LIMITS)


def test_its_contents(alice):
    alice.add("reverb", "r")
    alice.ask("plugin.bypass", {"track_id": "mic1", "plugin_id": "r", "bypass": True})
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.5, "mute": True})
    data = alice.ask("state.get")["data"]
    assert data["seq"] == 3
    assert data["epoch"]
    assert not data["panic"]
    assert isinstance(data["engine"], dict)
    tracks = {track["track_id"]: track for track in data["tracks"]}
    assert list(tracks) == ["mic1", "mic2", "music", "master"]
    mic = tracks["mic1"]
    assert (mic["volume"], mic["mute"]) == (0.5, True)
    (reverb,) = mic["plugins"]
    assert (reverb["plugin_id"], reverb["bypassed"]) == ("r", True)
    assert reverb["parameters"]["wet_dry"] == 0.25


def storm(client, at, rounds):
    for step in range(rounds):
        client.send("plugin.parameter", value(at, "volume", (step % 400) / 100))
        if step % 10 == 0:
            client.send("track.update", {"track_id": "mic2", "pan": (step % 100) / 100})
    client.send("plugin.parameter", value(at, "volume", 3.25))
    client.answer(f"m{client.count}", timeout=60)


def volumes(snapshot):
    return {p["plugin_id"]: p["parameters"]["volume"] for t in snapshot["tracks"][:2] for p in t["plugins"]}


def test_under_a_storm(rig):
    """What a snapshot shows, plus what follows it, is what there is: nothing twice, nothing missing."""
    watcher = rig.client()
    first, second = watcher.add(plugin_id="a"), watcher.add(plugin_id="b", track_id="mic2")
    people = [(rig.client(), first), (rig.client(), second), (rig.client(), first)]
    threads = [threading.Thread(target=storm, args=(*each, 1500)) for each in people]
    for thread in threads:
        thread.start()
    model, seq, snapshots = {}, 0, 0
    while any(thread.is_alive() for thread in threads) or snapshots < 50:
        id = watcher.send("state.get")
        while True:
            message = watcher.receive()
            data = message["data"]
            if message["id"] == id:
                break
            if message["type"] == "session.presence":
                continue
            if message["type"] == "state.snapshot":  # it fell behind, and starts anew
                model, seq = volumes(data), max(seq, data["seq"])
                continue
            assert message["seq"] > seq, "nothing numbered at or below a snapshot follows it"
            seq = message["seq"]
            if message["type"] == "plugin.parameter":
                model[data["plugin_id"]] = data["parameter_value"]
            if message["type"] == "state.snapshot":  # it read too slowly
                model = volumes(data)
        snapshots += 1
        shown = volumes(data)
        assert data["seq"] >= seq
        if data["seq"] == seq and snapshots > 1:
            assert shown == {**shown, **model}, "what was heard is what is shown"
        model, seq = shown, data["seq"]
    for thread in threads:
        thread.join()
    assert watcher.plugin("a")["parameters"]["volume"] == 3.25


def test_everything_heard_is_in_the_next_snapshot(rig):
    alice, bob = rig.client(), rig.client()
    at = alice.add()
    for step in range(200):
        alice.ask("plugin.parameter", value(at, "volume", step / 100))
        heard = bob.wait("plugin.parameter")
        snapshot = bob.ask("state.get")["data"]
        assert snapshot["seq"] >= heard["seq"]
        assert bob.plugin("g")["parameters"]["volume"] == step / 100
