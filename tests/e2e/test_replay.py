"""`rigd replay`: a night once more from its journal, to the bit."""

import random
import re
import threading

import numpy as np
import pytest

from rig import NO_LIMITS, run, value
from sound import noise, read_wav, sine, write_wav

SETTINGS = 'preset = "karaoke"\n' + NO_LIMITS


@pytest.fixture
def files(tmp_path):
    """What the microphones hear, and the music: of odd lengths, so that the loops drift apart."""
    voices = np.stack([noise(1.237, 0.3, seed=2), sine(220, 1.237, 0.4)], axis=1)
    music = np.stack([sine(330, 0.911, 0.5), noise(0.911, 0.2, seed=3)], axis=1)
    return write_wav(tmp_path / "voices.wav", voices), write_wav(tmp_path / "music.wav", music)


def guest(rig, seed, rounds):
    """Somebody who touches everything."""
    dice = random.Random(seed)
    client = rig.client()
    tracks = ["mic1", "mic2", "music"]
    for step in range(rounds):
        track = dice.choice(tracks)
        kind = dice.choice(["hpf", "gate", "compressor", "eq", "deesser", "echo", "reverb", "gain", "duck"])
        roll = dice.random()
        if roll < 0.15:
            id = client.send("plugin.add", {"track_id": track, "name": kind})
        elif roll < 0.25:
            chain = client.ask("track.list")["data"]["tracks"][tracks.index(track)]["plugins"]
            if not chain:
                continue
            at = {"track_id": track, "plugin_id": dice.choice(chain)["plugin_id"]}
            id = client.send(*dice.choice([
                ("plugin.remove", at),
                ("plugin.bypass", {**at, "bypass": dice.random() < 0.5}),
                ("plugin.move", {**at, "position": 0}),
                ("plugin.preset", {**at, "preset_name": "Default"}),
            ]))  # fmt: skip
        elif roll < 0.35:
            id = client.send("track.preset", {
                "track_id": dice.choice(["mic1", "mic2"]),
                "preset_name": dice.choice(["natural", "warm", "big hall", "slap echo", "talk", "off"]),
            })  # fmt: skip
        elif roll < 0.4:
            id = client.send(*dice.choice([("rig.panic", {"mode": "dry"}), ("rig.restore", {})]))
        elif roll < 0.7:
            id = client.send("track.update", {
                "track_id": track, "volume": dice.random() * 2, "pan": dice.random() * 2 - 1,
                "mute": dice.random() < 0.1, "sends": {"reverb": dice.random()} if track != "music" else {},
            })  # fmt: skip
        else:
            at = {"track_id": "reverb", "plugin_id": "reverb.reverb"}
            id = client.send("plugin.parameter", value(at, "room_size", dice.random()))
        client.answer(id)  # An error is an answer too: somebody else may have been faster.
    client.close()


def night(start, files, folder, seed, guests=20, rounds=12):
    """One run with that many people at it; its recording and its epoch."""
    out = folder / f"live{seed}.wav"
    rig = start("--state-dir", folder / "state", "--input", files[0], "--music", files[1], "--output", out,
                settings=SETTINGS)  # fmt: skip
    people = [threading.Thread(target=guest, args=(rig, seed * 1000 + n, rounds)) for n in range(guests)]
    for each in people:
        each.start()
    for each in people:
        each.join()
    state = rig.client().state()
    rig.finish()
    return read_wav(out)[1], state


def again(folder, files, *options):
    out = folder / "again.wav"
    result = run(folder, "replay", "--state-dir", folder / "state", "--input", files[0], "--music", files[1],
                 "--output", out, *options)  # fmt: skip
    assert result.returncode == 0, result.stderr
    return read_wav(out)[1]


def test_a_night_with_restarts_sounds_the_same_again(start, tmp_path, files):
    nights = [night(start, files, tmp_path, seed) for seed in (1, 2, 3)]
    assert nights[2][1]["seq"] > nights[1][1]["seq"] > nights[0][1]["seq"]
    for heard, state in nights:
        played = again(tmp_path, files, "--epoch", state["epoch"])
        assert len(played) > 4800
        assert np.max(np.abs(played)) > 0.01, "sound"
        assert abs(len(played) - len(heard)) < 48000
        both = min(len(played), len(heard))
        assert np.array_equal(played[:both], heard[:both])
    assert np.array_equal(again(tmp_path, files), played), "without a name it is the newest one"


def test_until_a_change(start, tmp_path, files):
    heard, state = night(start, files, tmp_path, seed=4, guests=3)
    part = again(tmp_path, files, "--until", state["seq"] // 2)
    assert 0 < len(part) < len(heard)
    assert np.array_equal(part, heard[: len(part)])


def test_from_a_snapshot(start, tmp_path, files):
    """A long run can be replayed from within: with every value as it was, and what sounded on left out. (A
    reverb's modulation and a notch would go on from there, too.)"""
    out = tmp_path / "live.wav"
    rig = start("--state-dir", tmp_path / "state", "--input", files[0], "--music", files[1], "--output", out,
                settings=NO_LIMITS)  # fmt: skip
    client = rig.client()
    client.ask("plugin.add", {"track_id": "mic2", "name": "gain", "plugin_id": "gone"})
    for name in ("echo", "eq", "compressor"):
        client.ask("plugin.add", {"track_id": "mic2", "name": name, "plugin_id": f"{name}_of_mic2"})
    client.ask("plugin.remove", {"track_id": "mic2", "plugin_id": "gone"})
    client.ask("track.update", {"track_id": "music", "mute": True})
    for step in range(1200):  # A snapshot is due every 1024 groups.
        client.ask("track.update", {"track_id": "mic1", "pan": step % 100 / 100})
    last = client.ask("plugin.parameter", value({"track_id": "mic2", "plugin_id": "echo_of_mic2"}, "feedback", 0.2))
    until = client.ask("status.get")["data"]["frame"] + 5 * 48000
    while client.ask("status.get")["data"]["frame"] < until:
        pass
    rig.finish()
    heard = read_wav(out)[1]
    played = again(tmp_path, files)
    both = min(len(played), len(heard))
    assert both > until and np.array_equal(played[:both], heard[:both]), "a snapshot is not a change"

    part = tmp_path / "part.wav"
    options = ("replay", "--state-dir", tmp_path / "state", "--input", files[0], "--music", files[1])
    result = run(tmp_path, *options, "--output", part, "--from", last["seq"])
    assert result.returncode == 0, result.stderr
    frame, seq = (int(n) for n in re.search(r"begins at frame (\d+) \(change (\d+)\)", result.stderr).groups())
    assert 1000 < seq <= last["seq"] and frame < last["data"]["applied_frame"]
    played = read_wav(part)[1]
    assert len(played) + frame >= both
    tail = slice(both - 24000, both)
    apart = np.max(np.abs(played[tail.start - frame : tail.stop - frame] - heard[tail]))
    assert apart < 1e-2 * np.max(np.abs(heard[tail])), apart
    # From before the first snapshot there is only the beginning.
    result = run(tmp_path, *options, "--output", part, "--from", seq - 1)
    assert result.returncode == 0 and "begins at" not in result.stderr
    assert np.array_equal(read_wav(part)[1][:both], heard[:both])


def test_what_cannot_be_replayed(start, tmp_path, files):
    night(start, files, tmp_path, seed=5, guests=1, rounds=2)
    there = ("replay", "--state-dir", tmp_path / "state", "--output", tmp_path / "x.wav")
    for code, words, arguments in [
        (1, "no log", ("replay", "--state-dir", tmp_path / "nowhere", *there[3:], "--input", files[0])),
        (1, "no run", (*there, "--input", files[0], "--music", files[1], "--epoch", "yesterday")),
        (2, "--music", (*there, "--input", files[0])),
        (2, "--input", (*there, "--input", write_wav(tmp_path / "one.wav", noise(0.1)), "--music", files[1])),
        (2, "", (*there, "--input", tmp_path / "none.wav")),
    ]:
        result = run(tmp_path, *arguments)
        assert (result.returncode, words in result.stderr) == (code, True), result.stderr
        assert not (tmp_path / "x.wav").exists()
