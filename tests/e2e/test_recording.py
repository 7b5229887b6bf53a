"""A phone message changes what comes out of the box: `serve --output`, heard at the applied frame."""

import os
import signal
import subprocess
import threading

import numpy as np
import pytest

from rig import NO_LIMITS, value
from sound import RATE, db, level_at, read_wav, rms, sine, write_wav


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def tone(folder):
    """A second of 1 kHz: loops without a seam."""
    return write_wav(folder / "tone.wav", sine(1000, 1.0, 0.2))


def wait_frames(client, frames):
    """Until so many frames have been played since now."""
    until = client.ask("status.get")["data"]["frame"] + frames
    client.ask("meters.subscribe", {"rate_hz": 60, "format": "json"})
    client.find(lambda m: m["type"] == "meters" and m["data"]["frame"] >= until, "that much sound")
    client.ask("meters.unsubscribe")


def recorded(rig, path):
    assert rig.stop() == 0
    rate, heard = read_wav(path)
    assert rate == RATE and heard.shape[1] == 2
    assert np.all(np.isfinite(heard))
    return heard


def levels(heard, frame):
    """Levels of the tone in the 50 ms before a frame and in 50 ms from 50 ms behind it."""
    span = RATE // 20
    return level_at(heard[frame - span : frame, 0], 1000), level_at(heard[frame + span : frame + 2 * span, 0], 1000)


def test_a_fader_a_parameter_and_a_batch(start, folder, tone):
    rig = start("--input", tone, "--output", folder / "out.wav")
    alice = rig.client()
    wait_frames(alice, RATE // 4)
    at = alice.add()
    wait_frames(alice, RATE // 4)
    changes = []
    for kind, data, ratio in [
        ("plugin.parameter", value(at, "volume", 0.5), 0.5),
        ("UPDATE_PARAMETER", {"pluginId": "g", "parameterId": "volume", "value": 1}, 2),
        ("track.update", {"track_id": "mic1", "volume": 0.25}, 0.25),
        ("plugin.parameter.batch", {"changes": [value(at, "volume", 2)]}, 2),
        ("plugin.bypass", {**at, "bypass": True}, 0.5),
        ("plugin.remove", at, 1),
    ]:
        # mic2 plays the same file: silent, so that mic1 is heard alone.
        alice.ask("track.update", {"track_id": "mic2", "mute": True})
        wait_frames(alice, RATE // 5)
        changes.append((alice.ask(kind, data)["data"]["applied_frame"], ratio, kind))
        wait_frames(alice, RATE // 5)
    heard = recorded(rig, folder / "out.wav")
    for frame, ratio, kind in changes:
        before, after = levels(heard, frame)
        assert abs(after / before / ratio - 1) < 0.02, kind


def test_when_it_ends_the_sound_fades_out(start, folder):
    steady = write_wav(folder / "steady.wav", np.full(RATE, 0.2))
    rig = start("--input", steady, "--output", folder / "out.wav")
    alice = rig.client()
    wait_frames(alice, RATE // 2)
    volume = alice.state()["tracks"][-1]["volume"]
    heard = recorded(rig, folder / "out.wav")[:, 0]
    last = np.flatnonzero(np.abs(heard) > 1e-6)[-1]
    assert len(heard) - last > RATE // 100, "silent before it is gone"
    assert abs(heard[last - RATE // 20]) > 0.1, "and heard until then"
    assert np.max(np.abs(np.diff(heard[last - RATE // 20 :]))) < 0.002, "without a click"
    again = start("--state-dir", rig.state).client()
    assert again.state()["tracks"][-1]["volume"] == volume, "the fader is where it was"


def test_the_change_is_in_the_recording_at_its_frame(start, folder):
    steady = write_wav(folder / "steady.wav", np.full(RATE, 0.2))
    rig = start("--input", steady, "--output", folder / "out.wav")
    alice = rig.client()
    alice.ask("track.update", {"track_id": "mic2", "mute": True})
    wait_frames(alice, RATE // 2)
    frame = alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})["data"]["applied_frame"]
    wait_frames(alice, RATE // 4)
    left = recorded(rig, folder / "out.wav")[:, 0]
    before = left[frame - 1]
    first = frame - 200 + int(np.flatnonzero(left[frame - 200 :] != before)[0])
    assert frame <= first <= frame + 100, "no later than the limiter's look-ahead"
    assert abs(left[frame + RATE // 10] / before - 0.5) < 1e-3


def test_panic_is_silence_in_the_next_block(start, folder, tone):
    rig = start("--input", tone, "--output", folder / "out.wav")
    alice = rig.client()
    wait_frames(alice, RATE // 4)
    panic = alice.ask("rig.panic", {"mode": "mute"})["data"]["applied_frame"]
    wait_frames(alice, RATE // 4)
    restored = alice.ask("rig.restore")["data"]["applied_frame"]
    wait_frames(alice, RATE // 4)
    heard = recorded(rig, folder / "out.wav")[:, 0]
    assert rms(heard[panic - RATE // 10 : panic]) > 0.05
    assert np.all(heard[panic + RATE // 10 : restored] == 0)
    assert rms(heard[restored + RATE // 10 : restored + RATE // 5]) > 0.05


def test_a_batch_is_heard_whole_at_one_frame(start, folder):
    """Two faders at different effects cross: at no frame is only one of them moved."""
    steady = write_wav(folder / "steady.wav", np.full(RATE, 0.2))
    rig = start("--input", steady, "--output", folder / "out.wav")
    alice = rig.client()
    up, down = alice.add("gain", "a", "mic1"), alice.add("gain", "b", "mic2")
    base = {"changes": [value(up, "volume", 0.0), value(down, "volume", 1.0)], "apply_immediately": True}
    alice.ask("plugin.parameter.batch", base)
    wait_frames(alice, RATE // 4)
    swap = {"changes": [value(up, "volume", 1.0), value(down, "volume", 0.0)], "apply_immediately": True}
    frame = alice.ask("plugin.parameter.batch", swap)["data"]["applied_frame"]
    wait_frames(alice, RATE // 4)
    left = recorded(rig, folder / "out.wav")[frame - 1000 : frame + 4000, 0]
    assert np.max(np.abs(left - left[0])) < 1e-4, "the sum never moves"


def test_without_input_the_built_in_voices_are_heard(start, folder):
    rig = start("--output", folder / "out.wav")
    alice = rig.client()
    wait_frames(alice, 2 * RATE)
    heard = recorded(rig, folder / "out.wav")
    loud = db(rms(heard[:, 0]))
    assert -45 < loud < -6
    assert db(np.max(np.abs(heard))) <= -0.999


def test_the_built_in_voices_are_the_same_every_time(start, folder):
    heard = []
    for number in range(2):
        rig = start("--output", folder / f"{number}.wav")
        wait_frames(rig.client(), RATE // 2)
        heard.append(recorded(rig, folder / f"{number}.wav")[: RATE // 2])
    assert np.array_equal(*heard)


def test_inputs_loop_and_music_plays(start, folder):
    tone = write_wav(folder / "tone.wav", np.stack([sine(500, 0.1), np.zeros(RATE // 10)], axis=1))
    music = write_wav(folder / "music.wav", np.stack([sine(2000, 0.1), sine(3000, 0.1)], axis=1))
    rig = start("--input", tone, "--music", music, "--output", folder / "out.wav")
    wait_frames(rig.client(), RATE)
    heard = recorded(rig, folder / "out.wav")[RATE // 2 : RATE]
    assert abs(level_at(heard[:, 0], 500) - 0.0707) < 0.002
    assert abs(level_at(heard[:, 0], 2000) - 0.1) < 0.002
    assert abs(level_at(heard[:, 1], 3000) - 0.1) < 0.002


def test_no_frame_is_lost_while_clients_storm(start, folder, tone):
    """The tone's phase never jumps, and the frame counter is the recording's."""
    rig = start("--input", tone, "--output", folder / "out.wav", settings=NO_LIMITS)
    people = [rig.client() for _ in range(4)]

    def storm(client):
        for step in range(500):
            client.send("track.update", {"track_id": "mic2", "pan": step / 500})
        client.ask("heartbeat", {})

    threads = [threading.Thread(target=storm, args=(client,)) for client in people]
    people[0].ask("track.update", {"track_id": "mic2", "mute": True})
    wait_frames(people[0], RATE // 4)
    start_frame = people[0].ask("status.get")["data"]["frame"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = people[0].ask("status.get")["data"]["frame"]
    heard = recorded(rig, folder / "out.wav")[:, 0]
    assert len(heard) >= last
    span = heard[start_frame:last]
    phase = np.arange(start_frame, last)
    one_second = np.exp(-2j * np.pi * 1000 * phase / RATE)
    whole = len(span) // 48 * 48
    turns = (span * one_second)[:whole].reshape(-1, 48).mean(axis=1)
    assert np.max(np.abs(np.angle(turns / turns[0]))) < 1e-3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(start, folder, number):
    rig = start("--output", folder / "out.wav")
    alice = rig.client()
    wait_frames(alice, RATE // 10)
    assert rig.stop(number) == 0
    assert len(read_wav(folder / "out.wav")[1]) > RATE // 10


def test_a_recording_is_valid_even_when_rigd_is_killed(start, folder):
    """What had been written is there, under a right head or one that readers mend."""
    rig = start("--output", folder / "out.wav")
    wait_frames(rig.client(), 2 * RATE)
    rig.process.kill()
    rig.process.wait()
    data = (folder / "out.wav").read_bytes()
    assert data[:4] == b"RIFF" and len(data) > RATE * 8
    rig.finish = lambda: None


@pytest.fixture
def small_disk(folder):
    """2 MB of disk."""
    place = folder / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small disk can only be mounted by root where mounting is allowed")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_stops_the_recording_and_not_the_sound(start, small_disk):
    output = small_disk / "out.wav"
    rig = start("--output", output)
    alice, bob = rig.client(), rig.client()
    rig.wait_for_log(r"(?i)record.*(space|full|disk)", timeout=30)  # after some 5 s
    before = alice.ask("status.get")["data"]["frame"]
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    bob.wait("track.update")
    wait_frames(alice, RATE // 2)
    assert alice.ask("status.get")["data"]["frame"] >= before + RATE // 2, "sound goes on"
    assert rig.stop() == 1, "and at the end it says that not all was done"
    assert "panicked" not in rig.log
    rate, heard = read_wav(output)
    assert len(heard) > 3 * RATE, "what fitted is there, and valid"
    rig.finish = lambda: None
