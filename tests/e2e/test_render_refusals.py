"""`rigd render` and bad input: its exact place, its reason, exit 2 (wire.md section 10)."""

import json

import numpy as np
import pytest

from rig import run
from sound import RATE, level_at, read_wav, sine, write_wav

GOOD = '{"frame": 10, "message": {"type": "track.update", "data": {"track_id": "mic1", "volume": 0.5}}}'


def message(kind, data, frame=20):
    return json.dumps({"frame": frame, "message": {"type": kind, "data": data}})


BAD = {
    "not json": "{",
    "not an object": "5",
    "no frame": '{"message": {"type": "rig.restore"}}',
    "no message": '{"frame": 5}',
    "a negative frame": '{"frame": -1, "message": {"type": "rig.restore"}}',
    "half a frame": '{"frame": 1.5, "message": {"type": "rig.restore"}}',
    "no type": '{"frame": 5, "message": {}}',
    "an unknown type": message("plugin.wobble", {}),
    "a question": message("state.get", {}),
    "a heartbeat": message("heartbeat", {}),
    "an unknown track": message("track.update", {"track_id": "nowhere", "volume": 1}),
    "an unknown plugin": message("plugin.remove", {"track_id": "mic1", "plugin_id": "nope"}),
    "a misspelt field": message("track.update", {"track_id": "mic1", "volumne": 1}),
    "out of range": message("track.update", {"track_id": "mic1", "volume": 3}),
    "an unknown effect": message("plugin.add", {"track_id": "mic1", "name": "autotune"}),
    "the limiter": message("plugin.remove", {"track_id": "master", "plugin_id": "limiter"}),
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_a_bad_line(render, line):
    result = render.raw(np.zeros(1000), "\n".join([GOOD, GOOD, line, GOOD]))
    assert result.returncode == 2
    assert "commands.jsonl:3" in result.stderr or "line 3" in result.stderr
    assert len(result.stderr.strip()) > 30, "and why"
    assert "panicked" not in result.stderr


def test_a_bad_line_behind_the_end_is_bad_too(render):
    result = render.raw(np.zeros(1000), message("track.update", {"track_id": "x", "mute": True}, 10**9))
    assert result.returncode == 2


def test_a_line_behind_the_end_is_harmless(render):
    result = render.raw(np.zeros(1000), message("track.update", {"track_id": "mic1", "mute": True}, 10**15))
    assert result.returncode == 0, result.stderr
    assert len(read_wav(render.output)[1]) == 1000


def test_blank_lines_count(render):
    result = render.raw(np.zeros(1000), f"\n{GOOD}\n\n{{\n")
    assert result.returncode == 2
    assert "4" in result.stderr


@pytest.mark.parametrize("dialect", ["PLUGIN_ADD", "plugin.add", "ADD_PLUGIN"])
def test_all_dialects(render, dialect):
    lines = [
        message(dialect, {"trackId": "mic1", "name": "gain", "plugin_id": "g"}, 0),
        message("UPDATE_PARAMETER", {"pluginId": "g", "parameterId": "volume", "value": 0}, 0),
    ]
    result = render.raw(np.full(RATE, 0.1), "\n".join(lines))
    assert result.returncode == 0, result.stderr
    assert np.all(read_wav(render.output)[1][RATE // 2 :] == 0)


def test_no_limits_apply(render):
    lines = [message("track.update", {"track_id": "mic1", "mute": False}, 5)] * 3000
    assert render.raw(np.zeros(1000), "\n".join(lines)).returncode == 0


def test_debouncing_counts_frames(render):
    changes = [{"track_id": "mic1", "plugin_id": "g", "parameter_id": "volume", "value": 0}]
    lines = [
        message("plugin.add", {"track_id": "mic1", "name": "gain", "plugin_id": "g"}, 0),
        message("plugin.parameter.batch", {"changes": changes, "debounce_ms": 100}, 1000),
    ]
    steady = np.full(RATE, 0.1)
    render.raw(steady, lines[0])
    plain = read_wav(render.output)[1][:, 0]
    result = render.raw(steady, "\n".join(lines))
    assert result.returncode == 0, result.stderr
    first = int(np.flatnonzero(plain != read_wav(render.output)[1][:, 0])[0])
    assert 1000 + RATE // 10 <= first <= 1000 + RATE // 10 + 100


def inputs(folder):
    (folder / "text.wav").write_text("This is not a WAV file at all, whatever its name says.")
    (folder / "empty.wav").write_bytes(b"")
    write_wav(folder / "none.wav", np.zeros((0, 1)))
    write_wav(folder / "many.wav", np.zeros((100, 17)))
    good = write_wav(folder / "good.wav", np.zeros(100)).read_bytes()
    (folder / "head.wav").write_bytes(good[:20])
    return folder


@pytest.mark.parametrize("name", ["text", "empty", "none", "many", "head", "missing"])
@pytest.mark.parametrize("option", ["--input", "--music"])
def test_what_cannot_be_played(tmp_path, name, option):
    folder = inputs(tmp_path)
    arguments = ["--input", folder / "good.wav", option, folder / f"{name}.wav"]
    result = run(folder, "render", *arguments[0 if option == "--music" else 2 :], "--output", folder / "o.wav")
    assert result.returncode in (1, 2)
    assert f"{name}.wav" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, "one sentence"
    assert "panicked" not in result.stderr
    assert not (folder / "o.wav").exists()


@pytest.mark.parametrize("kind", ["f32", "s16"])
def test_formats(tmp_path, kind):
    source = write_wav(tmp_path / "in.wav", sine(1000), kind=kind)
    result = run(tmp_path, "render", "--input", source, "--output", tmp_path / "out.wav")
    assert result.returncode == 0, result.stderr
    heard = read_wav(tmp_path / "out.wav")[1]
    assert abs(level_at(heard[4800:, 0], 1000) - 0.1 / np.sqrt(2)) < 1e-3


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
def test_another_sample_rate_is_resampled(render, rate):
    heard = render(sine(1000, 1.0, 0.1, rate), rate=rate)
    assert abs(len(heard) - RATE) <= 2
    assert abs(level_at(heard[9600:38400, 0], 1000) - 0.1 / np.sqrt(2)) < 1e-3, "as loud, and as high"
    if rate >= 44100:
        assert level_at(heard[9600:38400, 0], rate - 1000 if rate < 48000 else 20000) < 1e-4


def test_an_output_that_cannot_be_written(tmp_path):
    source = write_wav(tmp_path / "in.wav", np.zeros(100))
    result = run(tmp_path, "render", "--input", source, "--output", tmp_path / "no/such/folder/out.wav")
    assert result.returncode in (1, 2)
    assert "out.wav" in result.stderr


def test_a_failed_render_leaves_no_half_file(render):
    result = render.raw(np.zeros(RATE), message("rig.wobble", {}, 20000))
    assert result.returncode == 2
    assert not render.output.exists()


@pytest.mark.parametrize("arguments", [[], ["--input"], ["--input", "x.wav"], ["--wobble"]])
def test_bad_usage(tmp_path, arguments):
    result = run(tmp_path, "render", *arguments)
    assert result.returncode == 2
    assert result.stderr
