"""rigd as aarch64 code, beside rigd as the code of this machine: the same bits, and a rig to talk to.
RIGD_AARCH64_BIN names the binary; it runs under qemu's user emulation."""

import os
import shutil

import numpy as np
import pytest

import rig as rigs
from rig import NO_LIMITS, run
from sound import add, noise, read_wav, sine
from test_replay import again, files, night

BINARY = os.environ.get("RIGD_AARCH64_BIN")
EMULATOR = shutil.which("qemu-aarch64-static")

pytestmark = [
    pytest.mark.skipif(not BINARY, reason="RIGD_AARCH64_BIN names no aarch64 binary"),
    pytest.mark.skipif(not EMULATOR, reason="qemu-aarch64-static is not installed"),
]
files = files  # the fixture of test_replay


@pytest.fixture
def emulated(tmp_path, monkeypatch):
    """Whatever starts rigd starts the aarch64 one, between `emulated(True)` and `emulated(False)`."""
    script = tmp_path / "rigd-aarch64"
    script.write_text(f'#!/bin/sh\nexec {EMULATOR} -L / {BINARY} "$@"\n')
    script.chmod(0o755)
    here = rigs.BINARY

    def switch(on):
        monkeypatch.setattr(rigs, "BINARY", str(script) if on else here)

    return switch


def everything():
    """Every effect, moved about, and what changes a whole chain."""
    for place, kind in enumerate(["hpf", "gate", "deesser", "compressor", "eq", "echo", "reverb", "gain"]):
        yield from add(place * 100, kind, f"{kind}_x", "mic2")
    yield from add(1_000, "feedback", "feedback_x", "mic1")
    yield from add(1_100, "duck", "duck_x", "music")
    yield from add(1_200, "limiter", "limiter_x", "mic1")
    at = {"track_id": "mic2", "plugin_id": "reverb_x"}
    for step in range(20):
        frame = 5_000 + step * 3_001
        yield (frame, "plugin.parameter", {**at, "parameter_id": "room_size", "value": step / 20})
        yield (frame, "track.update", {"track_id": "mic1", "pan": step / 10 - 1, "volume": step / 19})
    for step, name in enumerate(["warm", "big hall", "slap echo", "talk", "off", "natural"]):
        yield (70_000 + step * 7_003, "track.preset", {"track_id": "mic1", "preset_name": name})
    yield (120_000, "rig.panic", {"mode": "dry"})
    yield (130_000, "rig.restore", {})


@pytest.mark.parametrize(("rate", "seconds"), [(48_000, 3.1), (44_100, 0.3)])
def test_a_render_is_the_same_to_the_bit(render, emulated, rate, seconds):
    """Files of another rate than the rig's are resampled first, which is slow without optimisation."""
    voices = np.stack([noise(seconds, 0.4, seed=5), sine(311, seconds, 0.7)], axis=1)
    music = np.stack([sine(97, seconds, 0.5), noise(seconds, 0.3, seed=6)], axis=1).astype(np.float32)
    commands = [command for command in everything() if command[0] < seconds * rate]
    heard = []
    for on in (False, True):
        emulated(on)
        heard.append(render(voices, *commands, music=music, settings=NO_LIMITS, rate=rate))
    assert np.abs(heard[0]).max() > 0.1
    assert heard[0].tobytes() == heard[1].tobytes()


def test_a_night_here_is_replayed_there_and_the_other_way_round(start, tmp_path, files, emulated):
    for on in (False, True):
        folder = tmp_path / f"emulated-{on}"
        folder.mkdir()
        emulated(on)
        heard, _ = night(start, files, folder, 3, guests=4, rounds=6)
        emulated(not on)
        replayed = again(folder, files)
        assert np.abs(heard).max() > 0.01
        assert heard[: len(replayed)].tobytes() == replayed[: len(heard)].tobytes()
        emulated(True)
        verified = run(folder, "log", "verify", "--state-dir", folder / "state")
        assert verified.returncode == 0, verified.stderr


def test_it_serves_a_client(start, emulated):
    emulated(True)
    rig = start()
    client = rig.client()
    at = client.add("reverb", "r")
    client.ask("plugin.parameter", {**at, "parameter_id": "wet_dry", "value": 0.5})
    client.ask("meters.subscribe", {"rate_hz": 10, "format": "json"})
    client.wait("meters")
    status = client.ask("status.get")["data"]
    assert status["backend"] == "null" and status["frame"] > 0, status
    assert rig.http("/healthz")[0] == 200
