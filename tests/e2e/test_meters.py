"""Meters as JSON and as binary frames (wire.md section 3)."""

import math
import struct

import pytest

RATE = 48000


def test_json(alice):
    reply = alice.ask("meters.subscribe", {"rate_hz": 30, "format": "json"})
    assert reply["data"]["rate_hz"] == 30
    meters = alice.wait("meters")["data"]
    assert type(meters["frame"]) is int
    assert set(meters["tracks"]) == {"mic1", "mic2", "music", "master"}
    for name, track in meters["tracks"].items():
        for key in ("peak_db", "rms_db"):
            assert len(track[key]) in (1, 2), name
            assert all(-144 <= level <= 20 for level in track[key])
        assert all(rms <= peak + 0.01 for rms, peak in zip(track["rms_db"], track["peak_db"]))
        assert track["clipped"] is False
        assert track.get("gain_reduction_db", 0) >= 0


def test_the_built_in_signal_moves_them(alice):
    alice.ask("meters.subscribe", {"rate_hz": 60, "format": "json"})
    levels = {
        name: {max(alice.wait("meters")["data"]["tracks"][name]["peak_db"]) for _ in range(30)}
        for name in ("mic1", "mic2", "master")
    }
    for name, seen in levels.items():
        assert len(seen) > 3 and max(seen) > -60, name
    quiet = alice.wait("meters")["data"]["tracks"]["music"]
    assert max(quiet["peak_db"]) <= -144, "no music without --music"


def test_the_rate_is_as_asked(alice):
    alice.ask("meters.subscribe", {"rate_hz": 20, "format": "json"})
    frames = [alice.wait("meters")["data"]["frame"] for _ in range(21)]
    assert frames == sorted(set(frames))
    assert 0.7 * RATE < frames[-1] - frames[0] < 1.6 * RATE


def test_binary_layout(alice):
    alice.ask("track.add", {"track_id": "fx", "name": "FX", "kind": "bus"})
    alice.ask("meters.subscribe", {"rate_hz": 60, "format": "binary"})
    order = [each["track_id"] for each in alice.ask("track.list")["data"]["tracks"]]
    frames = []
    for payload in alice.take_binary(20):
        version, tracks, zero, frame = struct.unpack_from("<BBHQ", payload)
        assert (version, tracks, zero) == (1, len(order), 0)
        assert len(payload) == 12 + 24 * tracks
        frames.append(frame)
        for index in range(tracks):
            *levels, reduction, flags = struct.unpack_from("<fffffI", payload, 12 + 24 * index)
            assert all(math.isfinite(level) and -144 <= level <= 20 for level in levels)
            assert math.isfinite(reduction) and reduction >= 0
            assert flags in (0, 1)
            if order[index] in ("music", "fx"):
                assert levels == [-144] * 4
    assert frames == sorted(set(frames))
    alice.silence("meters")


def test_both_formats_tell_the_same(rig, alice, bob):
    alice.ask("plugin.add", {"track_id": "mic1", "name": "gain", "plugin_id": "g"})
    alice.ask("meters.subscribe", {"rate_hz": 60, "format": "binary"})
    bob.ask("meters.subscribe", {"rate_hz": 60, "format": "json"})
    loud = []
    for payload in alice.take_binary(60):
        loud.append(struct.unpack_from("<f", payload, 12)[0])
    json_loud = [bob.wait("meters")["data"]["tracks"]["mic1"]["peak_db"][0] for _ in range(60)]
    assert abs(max(loud) - max(json_loud)) < 6


def test_unsubscribe(alice, bob):
    alice.ask("meters.subscribe", {"rate_hz": 60, "format": "json"})
    alice.wait("meters")
    alice.ask("meters.unsubscribe")
    alice.held.clear()
    bob.ask("meters.subscribe", {"rate_hz": 60, "format": "json"})
    for _ in range(20):
        bob.wait("meters")
    alice.silence("meters")


def test_a_second_subscription_replaces_the_first(alice):
    alice.ask("meters.subscribe", {"rate_hz": 60, "format": "json"})
    alice.ask("meters.subscribe", {"rate_hz": 60, "format": "binary"})
    alice.held.clear()
    alice.take_binary(10)
    alice.silence("meters")


def test_upper_dialect_gets_them_too(alice):
    alice.ask("METERS_SUBSCRIBE", {"rate_hz": 10, "format": "json"})
    assert alice.wait("meters")["data"]["tracks"]


@pytest.mark.parametrize("rate", [0, 0.5, 61, -1, 1000])
def test_the_rate_has_a_range(alice, rate):
    id = alice.send("meters.subscribe", {"rate_hz": rate, "format": "json"})
    assert alice.answer(id)["data"]["code"] in ("INVALID_MESSAGE", "INVALID_PARAMETER")


def test_the_format_is_one_of_two(alice):
    assert alice.fail("INVALID_MESSAGE", "meters.subscribe", {"rate_hz": 10, "format": "xml"})["field"] == "format"


def test_clipping_is_shown(alice):
    at = [alice.add("gain", f"g{number}") for number in range(4)]
    changes = [{**each, "parameter_id": "volume", "value": 4} for each in at]
    alice.ask("plugin.parameter.batch", {"changes": changes, "apply_immediately": True})
    alice.ask("meters.subscribe", {"rate_hz": 60, "format": "json"})

    def reduced(message):
        tracks = message.get("data", {}).get("tracks", {})
        return message["type"] == "meters" and tracks["master"].get("gain_reduction_db", 0) > 3

    loud = alice.find(reduced, "gain reduction")["data"]["tracks"]
    assert max(loud["master"]["peak_db"]) <= -0.9, "the ceiling"
    alice.find(lambda m: m["type"] == "meters" and m["data"]["tracks"]["mic1"]["clipped"], "a clip")
