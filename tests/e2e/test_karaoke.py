"""`preset = "karaoke"`: what a host finds without touching anything; and the ducker in it."""

import numpy as np
import pytest

from sound import RATE, add, band, db, noise, rms, sine, true_peak

KARAOKE = 'preset = "karaoke"\n'


def test_what_is_there(start):
    rig = start(settings=KARAOKE)
    client = rig.client()
    state = client.state()
    assert state["seq"] == 0
    tracks = {track["track_id"]: track for track in state["tracks"]}
    assert list(tracks) == ["mic1", "mic2", "music", "reverb", "echo", "master"]

    def kinds(track):
        return [plugin["plugin_path"].removeprefix("builtin:") for plugin in tracks[track]["plugins"]]

    for mic in ("mic1", "mic2"):
        chain = kinds(mic)
        assert chain[0] == "hpf"
        for effect in ("feedback", "gate", "compressor", "eq", "deesser"):
            assert effect in chain
        assert "reverb" not in chain and "echo" not in chain
        assert tracks[mic]["sends"]["reverb"] > 0 and tracks[mic]["sends"]["echo"] > 0
    for bus in ("reverb", "echo"):
        assert tracks[bus]["kind"] == "bus"
        assert kinds(bus) == [bus]
        assert tracks[bus]["plugins"][0]["parameters"]["wet_dry"] == 1.0
    assert tracks["music"]["volume"] < 1
    assert kinds("music") == ["duck"]
    assert tracks["master"]["plugins"][-1]["parameters"]["ceiling_db"] == -3.0


def test_a_louder_singer_stays_under_the_ceiling(render):
    loud = sine(440, 2.0, 1.0) * (1 + sine(3, 2.0, 0.9))
    out = render(loud, settings=KARAOKE, music=np.stack([sine(200, 2.0, 0.9)] * 2, axis=1))
    assert true_peak(out) < 10 ** (-3 / 20)


def test_the_voice_is_in_a_room_on_both_sides(render):
    """After the voice stops, the shared reverb and echo go on, and they are not the same left and right."""
    burst = np.concatenate([noise(1.0, 0.3), np.zeros(RATE)])
    dry = render(burst)
    wet = render(burst, settings=KARAOKE)
    tail = wet[int(1.1 * RATE) : int(1.6 * RATE)]
    assert rms(dry[int(1.1 * RATE) :]) == 0
    assert db(rms(tail)) > -70
    assert rms(tail[:, 0] - tail[:, 1]) > 0.3 * rms(tail), "stereo out of a mono mic"


def test_wet_buses_carry_no_dry_voice(render):
    """With the mic's own fader path soloed away, only what the buses make of it is heard."""
    voice = sine(1000, 1.0, 0.3)
    at_bus = [
        (0, "track.add", {"track_id": "room", "kind": "bus"}),
        *add(0, "echo", "e", "room", wet_dry=1, time_ms=100, feedback=0, tone_freq=16000),
        (0, "track.update", {"track_id": "mic1", "sends": {"room": 1}}),
        (0, "track.update", {"track_id": "room", "solo": True}),
    ]
    out = render(voice, *at_bus)
    assert np.max(np.abs(out[: int(0.1 * RATE)])) < 1e-6, "nothing before the echo"
    assert db(rms(out[int(0.2 * RATE) : int(0.9 * RATE), 0])) == pytest.approx(
        db(0.3 / np.sqrt(2) / np.sqrt(2)), abs=0.5
    )


def talk_and_music(seconds=6):
    """Somebody talks from 2 s to 3 s into the second of two mics; music plays all the time."""
    talk = np.zeros((seconds * RATE, 2))
    talk[2 * RATE : 3 * RATE, 1] = sine(300, 1.0, 0.5)
    return talk, np.stack([sine(2000, seconds, 0.2)] * 2, axis=1)


def music_level(out, second):
    """The music's share, in dB, in a tenth of a second."""
    at = int(second * RATE)
    return db(band(out[at : at + RATE // 10, 0], 1800, 2200))


@pytest.mark.parametrize(("mic", "ducks"), [(0, True), (1, False), (2, True), (3, False)])
def test_speech_on_the_chosen_mic_lowers_the_music(render, mic, ducks):
    talk, music = talk_and_music()
    duck = add(0, "duck", "d", "music", mic=mic, amount_db=12)
    out = render(talk, *duck, music=music)
    before, during, after = (music_level(out, second) for second in (1.5, 2.5, 5.5))
    assert during - before == pytest.approx(-12 if ducks else 0, abs=0.3)
    assert after - before == pytest.approx(0, abs=0.1)


def test_a_muted_mic_ducks_nothing(render):
    talk, music = talk_and_music()
    duck = add(0, "duck", "d", "music", amount_db=12)
    out = render(talk, *duck, (0, "track.update", {"track_id": "mic2", "mute": True}), music=music)
    assert music_level(out, 2.5) - music_level(out, 1.5) == pytest.approx(0, abs=0.1)


def test_the_number_goes_by_the_list_of_tracks(render):
    """With the first mic gone, the second one is number 1."""
    talk, music = talk_and_music()
    duck = add(0, "duck", "d", "music", amount_db=12, mic=1)
    out = render(talk, *duck, (0, "track.remove", {"track_id": "mic1"}), music=music)
    assert music_level(out, 2.5) - music_level(out, 1.5) == pytest.approx(-12, abs=0.3)


def test_the_music_comes_back_when_its_key_is_removed(render):
    talk, music = talk_and_music()
    talk[2 * RATE :, 1] = sine(300, 4.0, 0.5)
    duck = add(0, "duck", "d", "music", amount_db=12)
    out = render(talk, *duck, (3 * RATE, "track.remove", {"track_id": "mic2"}), music=music)
    assert music_level(out, 2.8) - music_level(out, 1.5) == pytest.approx(-12, abs=0.3)
    assert music_level(out, 5.5) - music_level(out, 1.5) == pytest.approx(0, abs=0.1)


def test_the_ducking_is_seen_on_the_musics_meter(start):
    client = start(settings=KARAOKE).client()
    at = {"track_id": "music", "plugin_id": "music.duck"}
    client.ask("plugin.preset", {**at, "preset_name": "Talkover"})
    client.ask("meters.subscribe", {"rate_hz": 30})
    client.find(
        lambda m: m["type"] == "meters" and m["data"]["tracks"]["music"].get("gain_reduction_db", 0) > 11,
        "12 dB of ducking under the built-in voices",
    )
