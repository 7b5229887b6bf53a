"""A microphone that howls: notches come, are told to everyone, and go when the effect is bypassed."""

import numpy as np
import pytest

from rig import NO_LIMITS
from sound import RATE, write_wav

HOWL_HZ = 2345.0


@pytest.fixture
def rig(start, tmp_path):
    """Its first mic hears, again and again, a tone that grows as a howl does, stays a while, and ends."""
    seconds = np.arange(2 * RATE) / RATE
    level = np.minimum(10 ** ((-70 + 150 * seconds) / 20), 0.2) * (seconds < 1.2)
    tone = level * np.sin(2 * np.pi * HOWL_HZ * seconds)
    hiss = np.random.default_rng(1).normal(0, 1e-5, len(tone))
    return start("--input", write_wav(tmp_path / "howl.wav", tone + hiss), settings=NO_LIMITS)


def near(notches):
    assert notches, "a notch"
    return all(abs(notch["freq_hz"] - HOWL_HZ) < 5 and 0 < notch["depth_db"] <= 18 for notch in notches)


def test_notches_are_seen_by_everyone_and_cleared_by_bypass(alice, bob):
    at = alice.add("feedback", "fb")
    assert alice.plugin("fb")["notches"] == [] or near(alice.plugin("fb")["notches"])
    is_there = lambda message: message["type"] == "plugin.notches" and message["data"]["notches"]  # noqa: E731
    for client in (alice, bob):
        message = client.find(is_there, "a notch")
        data = message["data"]
        assert (data["track_id"], data["plugin_id"]) == ("mic1", "fb")
        assert near(data["notches"]) and "seq" not in message
        assert isinstance(data["howl_muted"], bool) and data["howl_gain_db"] <= 0
    plugin = bob.plugin("fb")
    assert near(plugin["notches"]), "it lives for a minute"
    got = bob.ask("plugin.parameters.get", at)["data"]
    assert near(got["notches"]) and {"howl_muted", "howl_gain_db"} <= set(got)

    alice.ask("plugin.bypass", {**at, "bypass": True})
    cleared = lambda message: message["type"] == "plugin.notches" and not message["data"]["notches"]  # noqa: E731
    data = alice.find(cleared, "no notch")["data"]
    while data["howl_muted"] or data["howl_gain_db"]:
        data = alice.wait("plugin.notches")["data"]
    plugin = alice.plugin("fb")
    assert (plugin["notches"], plugin["howl_muted"], plugin["howl_gain_db"]) == ([], False, 0)


def test_the_last_resort_is_told(alice):
    # Nothing that the effect does ends this howl: the file does not hear the loudspeaker.
    alice.add("feedback", "fb")
    def howl(message, muted):
        data = message["data"]
        return message["type"] == "plugin.notches" and data["howl_muted"] is muted and data["howl_gain_db"] <= -6

    alice.find(lambda message: howl(message, True), "a mute")
    alice.find(lambda message: howl(message, False), "its end")


def test_other_effects_have_no_notches(alice):
    at = alice.add("gain", "g")
    assert "notches" not in alice.plugin("g")
    assert "notches" not in alice.ask("plugin.parameters.get", at)["data"]
