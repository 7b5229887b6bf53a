"""rig.panic and rig.restore: who asked, what everyone sees (wire.md section 3)."""

import pytest


@pytest.mark.parametrize("mode", ["mute", "dry"])
def test_everyone_sees_it_and_who_it_was(alice, bob, mode):
    reply = alice.ask("rig.panic", {"mode": mode}, user_id="ana")
    heard = bob.wait("rig.panic")
    assert heard["seq"] == reply["seq"]
    assert heard["data"]["mode"] == mode
    assert heard["data"]["changed_by"] == "ana"
    panic = bob.state()["panic"]
    assert mode in str(panic)
    restored = bob.ask("rig.restore", user_id="ben")
    assert alice.wait("rig.restore")["data"]["changed_by"] == "ben"
    assert restored["seq"] == reply["seq"] + 1
    assert not alice.state()["panic"]


def test_a_mode_that_is_none(alice):
    assert alice.fail("INVALID_MESSAGE", "rig.panic", {"mode": "loud"})["field"] == "mode"


def test_what_was_set_stays_set(alice):
    at = alice.add("reverb", "r")
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.7, "mute": True})
    alice.ask("plugin.bypass", {**at, "bypass": True})
    before = alice.state()["tracks"]
    for mode in ("mute", "dry"):
        alice.ask("rig.panic", {"mode": mode})
    alice.ask("rig.restore")
    assert alice.state()["tracks"] == before


def test_changes_during_a_panic_are_kept(alice):
    at = alice.add()
    alice.ask("rig.panic", {"mode": "mute"})
    alice.ask("plugin.parameter", {**at, "parameter_id": "volume", "value": 0.5})
    alice.ask("rig.restore")
    assert alice.plugin("g")["parameters"]["volume"] == 0.5


def peaks(client, since, count=20):
    """Levels of mic1 and master from 100 ms after a frame on, dB."""
    seen = []
    while len(seen) < count:
        data = client.wait("meters")["data"]
        if data["frame"] > since + 4800 + 1600:
            seen.append([max(data["tracks"][track]["peak_db"]) for track in ("mic1", "master")])
    return [max(levels) for levels in zip(*seen)]


def test_the_masters_meter_shows_what_is_heard(alice):
    alice.ask("meters.subscribe", {"rate_hz": 60, "format": "json"})
    mic, master = peaks(alice, 0)
    assert mic > -60 and master > -60
    frame = alice.ask("rig.panic", {"mode": "mute"})["data"]["applied_frame"]
    mic, master = peaks(alice, frame)
    assert mic > -60, "the mics can still be seen"
    assert master <= -120, "silence"
    frame = alice.ask("rig.restore")["data"]["applied_frame"]
    assert peaks(alice, frame)[1] > -60


def test_a_muted_track_is_silent_on_its_meter(alice):
    alice.ask("meters.subscribe", {"rate_hz": 60, "format": "json"})
    frame = alice.ask("track.update", {"track_id": "mic1", "mute": True})["data"]["applied_frame"]
    assert peaks(alice, frame)[0] <= -120
