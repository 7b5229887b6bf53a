"""The engine is deterministic and does not care about block size (house.md, invariant 2)."""

import json
import random

import numpy as np
import pytest

from sound import RATE, noise

SECONDS = 3


def storm(seed, count=600):
    """Valid changes of every kind at odd frames; the text of a command file."""
    dice = random.Random(seed)
    tracks = {"mic1": [], "mic2": [], "music": [], "master": []}
    ranges = {
        "gain": {"volume": (0, 4)},
        "hpf": {"freq": (20, 500)},
        "reverb": {"wet_dry": (0, 1), "room_size": (0, 1), "damping": (0, 1), "pre_delay": (0, 200)},
        "limiter": {"ceiling_db": (-12, 0), "release_ms": (10, 1000)},
    }
    kinds, buses, made, reverbs = {}, [], 0, 0
    lines = []
    frames = sorted(dice.randrange(SECONDS * RATE) | 1 for _ in range(count))

    def say(frame, kind, data):
        lines.append(json.dumps({"frame": frame, "message": {"type": kind, "data": data}}))

    for frame in frames:
        track = dice.choice(list(tracks))
        chain = tracks[track]
        what = dice.random()
        if what < 0.15 and len(chain) < 6:
            made += 1
            kind = dice.choice(list(ranges))
            if kind == "reverb":
                reverbs += 1
                if reverbs > 10:
                    kind = "hpf"
            kinds[f"p{made}"] = kind
            chain.append(f"p{made}")
            say(frame, "plugin.add", {"track_id": track, "name": kind, "plugin_id": f"p{made}"})
        elif what < 0.2 and chain:
            say(frame, "plugin.remove", {"track_id": track, "plugin_id": chain.pop(dice.randrange(len(chain)))})
        elif what < 0.25 and chain:
            plugin = dice.choice(chain)
            chain.remove(plugin)
            position = dice.randint(0, len(chain))
            chain.insert(position, plugin)
            say(frame, "plugin.move", {"track_id": track, "plugin_id": plugin, "position": position})
        elif what < 0.32 and chain:
            data = {"track_id": track, "plugin_id": dice.choice(chain), "bypass": dice.random() < 0.5}
            say(frame, "plugin.bypass", data)
        elif what < 0.34 and len(buses) < 3:
            buses.append(f"bus{len(buses)}")
            tracks[buses[-1]] = []
            say(frame, "track.add", {"track_id": buses[-1], "name": "B", "kind": "bus"})
        elif what < 0.4 and buses:
            sends = {bus: dice.random() for bus in dice.sample(buses, dice.randint(1, len(buses)))}
            say(frame, "track.update", {"track_id": dice.choice(["mic1", "mic2", "music"]), "sends": sends})
        elif what < 0.6:
            field, level = dice.choice(
                [
                    ("volume", dice.uniform(0, 2)),
                    ("pan", dice.uniform(-1, 1)),
                    ("input_gain_db", dice.uniform(-24, 24)),
                    ("mute", dice.random() < 0.3),
                    ("solo", dice.random() < 0.2),
                ]
            )
            if track != "master" or field == "volume":
                say(frame, "track.update", {"track_id": track, field: level})
        elif what < 0.63:
            say(frame, "rig.panic", {"mode": dice.choice(["mute", "dry"])})
            say(frame + 2000, "rig.restore", {})
        elif what < 0.7 and kinds:
            live = [(t, p) for t, chain in tracks.items() for p in chain]
            changes = []
            for t, p in dice.sample(live, min(len(live), 5)):
                parameter, (low, high) = dice.choice(list(ranges[kinds[p]].items()))
                changes.append(
                    {"track_id": t, "plugin_id": p, "parameter_id": parameter, "value": dice.uniform(low, high)}
                )
            if changes:
                say(frame, "plugin.parameter.batch", {"changes": changes, "apply_immediately": dice.random() < 0.5})
        elif chain:
            plugin = dice.choice(chain)
            parameter, (low, high) = dice.choice(list(ranges[kinds[plugin]].items()))
            data = {"track_id": track, "plugin_id": plugin, "parameter_id": parameter}
            say(frame, "plugin.parameter", {**data, "parameter_value": dice.uniform(low, high)})
    return "\n".join(lines)


@pytest.fixture(scope="module")
def sounds():
    voices = np.stack([noise(SECONDS, 0.6, 1), noise(SECONDS, 0.6, 2)], axis=1)
    voices[RATE:RATE + RATE // 2] = 0
    return voices, np.stack([noise(SECONDS, 0.5, 3), noise(SECONDS, 0.5, 4)], axis=1)


def bytes_of(render, sounds, commands, block=None):
    result = render.raw(sounds[0], commands, music=sounds[1], block=block)
    assert result.returncode == 0, result.stderr
    return render.output.read_bytes()


@pytest.mark.parametrize("seed", range(3))
def test_bit_identical_at_any_block_size(render, sounds, seed):
    commands = storm(seed)
    reference = bytes_of(render, sounds, commands, 64)
    assert len(set(reference[1000::101])) > 100, "not silence"
    for block in (16, 128, 441, 1024):
        assert bytes_of(render, sounds, commands, block) == reference, f"block {block}"


def test_the_same_every_time(render, sounds):
    commands = storm(99)
    assert bytes_of(render, sounds, commands) == bytes_of(render, sounds, commands)


def test_equal_frames_take_effect_in_the_files_order(render, sounds):
    def volume(value):
        data = {"track_id": "mic1", "volume": value}
        return json.dumps({"frame": 24001, "message": {"type": "track.update", "data": data}})

    once = bytes_of(render, sounds, volume(0.5))
    assert bytes_of(render, sounds, "\n".join([volume(2), volume(0.5)])) == once
    assert bytes_of(render, sounds, "\n".join([volume(0.5), volume(2)])) != once


def test_lines_take_effect_by_frame_whatever_their_order(render, sounds):
    lines = storm(5, 30).splitlines()
    update = [line for line in lines if "track.update" in line and "bus" not in line]
    assert bytes_of(render, sounds, "\n".join(update)) == bytes_of(
        render, sounds, "\n".join(sorted(update, key=lambda line: -json.loads(line)["frame"]))
    )
