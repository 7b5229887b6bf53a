"""What an emulated sound card has recorded."""

import numpy as np

RATE = 48_000


def is_heard(wav, hz):
    """Whether a steady tone of that pitch is the loudest thing in some second of a WAV that still grows."""
    samples = np.frombuffer(wav.read_bytes()[44:], "<i2")
    samples = samples[: len(samples) // 2 * 2].reshape(-1, 2)[:, 0] / 32768
    for start in range(0, len(samples) - RATE, RATE // 2):
        spectrum = np.abs(np.fft.rfft(samples[start : start + RATE] * np.hanning(RATE)))
        if spectrum[1:].max() > 100 and abs(int(spectrum[1:].argmax()) + 1 - hz) <= 2:
            return True
    return False
