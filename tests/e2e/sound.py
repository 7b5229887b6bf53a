"""Listening with numbers: WAV files, signals, levels, spectra, and `rigd render`."""

import json
import struct

import numpy as np

from rig import run

RATE = 48000


def write_wav(path, samples, rate=RATE, kind="f32"):
    """`samples`: frames, or frames × channels, in −1…1."""
    samples = np.asarray(samples)
    samples = samples[:, None] if samples.ndim == 1 else samples
    channels = samples.shape[1]
    if kind == "f32":
        tag, bits, body = 3, 32, samples.astype("<f4").tobytes()
    elif kind == "s16":
        tag, bits, body = 1, 16, np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    else:
        raise ValueError(kind)
    block = channels * bits // 8
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, tag, channels,
                       rate, rate * block, block, bits)  # fmt: skip
    path.write_bytes(head + b"data" + struct.pack("<I", len(body)) + body)
    return path


def read_wav(path):
    """(rate, float64 frames × channels); every length in the file must be right."""
    data = path.read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE", "a WAV file"
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8, "RIFF length"
    at, form, body = 12, None, None
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        chunk = data[at + 8 : at + 8 + length]
        assert len(chunk) == length, f"{name} is cut off"
        if name == b"fmt ":
            form = struct.unpack_from("<HHIIHH", chunk)
            if form[0] == 0xFFFE:
                form = (struct.unpack_from("<H", chunk, 24)[0], *form[1:])
        elif name == b"data":
            body = chunk
        at += 8 + length + length % 2
    tag, channels, rate, _, _, bits = form
    assert (tag, bits) in ((3, 32), (1, 16)), form
    samples = np.frombuffer(body, "<f4" if tag == 3 else "<i2").astype(np.float64)
    return rate, (samples if tag == 3 else samples / 32768).reshape(-1, channels)


def sine(hz, seconds=1.0, level=0.1, rate=RATE):
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def noise(seconds=1.0, level=0.1, seed=1):
    return level * np.random.default_rng(seed).uniform(-1, 1, int(seconds * RATE))


def db(ratio):
    return 20 * np.log10(np.maximum(np.abs(ratio), 1e-12))


def rms(samples):
    return float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0


def level_at(samples, hz, rate=RATE):
    """Amplitude of one frequency; the window must hold whole periods of it, or very many."""
    turn = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / rate)
    window = np.hanning(len(samples))
    return float(2 * abs(np.sum(samples * window * turn)) / np.sum(window))


def band(samples, low, high, rate=RATE):
    """RMS of what lies between two frequencies; the ends are faded, so that they are no clicks."""
    spectrum = np.fft.rfft(samples * np.hanning(len(samples)))
    hz = np.fft.rfftfreq(len(samples), 1 / rate)
    spectrum[(hz < low) | (hz >= high)] = 0
    return rms(np.fft.irfft(spectrum, len(samples)))


def true_peak(samples, factor=8):
    """The highest value between the samples too, per channel, by band-limited interpolation."""
    peak = 0.0
    fade = np.minimum(1, np.minimum(np.arange(len(samples)), np.arange(len(samples))[::-1]) / 480)
    for channel in (np.asarray(samples).T * fade).reshape(-1, len(samples)):
        spectrum = np.fft.rfft(channel)
        dense = np.fft.irfft(spectrum, len(channel) * factor) * factor
        peak = max(peak, float(np.max(np.abs(dense))))
    return peak


def loudness(samples):
    """RMS in dB of the 400 ms blocks that are within 20 dB of the loudest: speech without its pauses."""
    size = RATE * 2 // 5
    blocks = [rms(samples[at : at + size]) for at in range(0, len(samples) - size + 1, size // 4)]
    loud = [block for block in blocks if block > max(blocks) / 10]
    return float(db(np.sqrt(np.mean(np.square(loud)))))


class Render:
    """`rigd render` in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    def raw(self, samples, commands="", music=None, block=None, settings=None, rate=RATE):
        """Runs it; `commands` is the text of the file."""
        self.count += 1
        self.output = self.folder / f"out{self.count}.wav"
        source = write_wav(self.folder / "in.wav", samples, rate)
        arguments = ["render", "--input", source, "--output", self.output]
        if music is not None:
            arguments += ["--music", write_wav(self.folder / "music.wav", music, rate)]
        if commands:
            (self.folder / "commands.jsonl").write_text(commands)
            arguments += ["--commands", self.folder / "commands.jsonl"]
        if block:
            arguments += ["--block", block]
        if settings:
            (self.folder / "render.toml").write_text(settings)
            arguments += ["--config", self.folder / "render.toml"]
        return run(self.folder, *arguments)

    def __call__(self, samples, *commands, **more):
        """The master, frames × 2. A command is (frame, type, data)."""
        lines = [
            json.dumps({"frame": frame, "message": {"type": kind, "data": data}})
            for frame, kind, data in commands
        ]
        result = self.raw(samples, "\n".join(lines), **more)
        assert result.returncode == 0, result.stderr
        rate, heard = read_wav(self.output)
        assert heard.shape[1] == 2, "stereo"
        assert np.all(np.isfinite(heard))
        return heard


def add(frame, name, plugin_id="p", track_id="mic1", **parameters):
    """Commands that add an effect with these parameters."""
    at = {"track_id": track_id, "plugin_id": plugin_id}
    yield (frame, "plugin.add", {**at, "name": name})
    for parameter, number in parameters.items():
        yield (frame, "plugin.parameter", {**at, "parameter_id": parameter, "parameter_value": number})


def delay_of(render):
    """Frames from an input to the master: the limiter's look-ahead."""
    impulse = np.zeros(4800)
    impulse[1000] = 0.1
    heard = np.abs(render(impulse)[:, 0])
    delay = int(np.argmax(heard)) - 1000
    assert 0 <= delay <= 96, "at most 2 ms"
    return delay
