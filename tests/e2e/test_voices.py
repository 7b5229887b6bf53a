"""Real voices: Debian's spoken WAVs through the effects, listened to with numbers."""

from pathlib import Path

import numpy as np
import pytest

from sound import RATE, add, band, db, loudness, read_wav, rms, true_peak

SPOKEN = sorted(Path("/usr/share/sounds/alsa").glob("*_*.wav"))

pytestmark = pytest.mark.skipif(not SPOKEN, reason="no spoken WAVs: install alsa-utils")


@pytest.fixture(scope="module")
def voice():
    """All of them in a row, with a pause behind each."""
    spoken = []
    for path in SPOKEN:
        rate, samples = read_wav(path)
        assert rate == RATE
        spoken += [samples[:, 0], np.zeros(RATE // 2)]
    return np.concatenate(spoken)


def pauses(voice):
    """Where nobody speaks, some time after somebody did."""
    quiet = np.abs(voice) < 1e-4
    so_far = np.concatenate([np.zeros(RATE // 4), np.cumsum(quiet)])
    return so_far[RATE // 4 :] - so_far[: -(RATE // 4)] >= RATE // 4


def test_untouched_it_is_3_db_down_and_sounds_the_same(render, voice):
    heard = render(voice)[:, 0]
    assert abs(loudness(heard) - loudness(voice) + 3.01) < 0.05
    for low, high in ((100, 300), (300, 1000), (1000, 4000), (4000, 10000)):
        assert abs(db(band(heard, low, high) / band(voice, low, high)) + 3.01) < 0.1


def test_gain(render, voice):
    plain, soft = render(voice), render(voice, *add(0, "gain", volume=0.5))
    assert abs(loudness(plain[:, 0]) - loudness(soft[:, 0]) - 6.02) < 0.05


def test_the_high_pass_takes_rumble_and_leaves_the_words(render, voice):
    rumble = 0.1 * np.sin(2 * np.pi * 40 * np.arange(len(voice)) / RATE)
    plain = render(voice + rumble)[:, 0]
    heard = render(voice + rumble, *add(0, "hpf", freq=120, slope=24))[:, 0]
    assert db(band(heard, 30, 50) / band(plain, 30, 50)) < -30
    assert abs(db(band(heard, 300, 8000) / band(plain, 300, 8000))) < 0.2


def test_the_reverb_fills_the_pauses_and_leaves_the_words_clear(render, voice):
    plain = render(voice)
    wet = render(voice, *add(0, "reverb", wet_dry=0.3))
    there = pauses(voice)
    assert np.count_nonzero(there) > RATE
    assert rms(plain[there, 0]) < 1e-4
    in_pauses = db(rms(wet[there, 0]) / rms(wet[~there, 0]))
    assert -50 < in_pauses < -10, "heard, and not a swamp"
    assert abs(loudness(wet[:, 0]) - loudness(plain[:, 0])) < 4
    assert true_peak(wet[: 8 * RATE]) < 1


def test_shouting_stays_below_the_ceiling(render, voice):
    loud = render(voice / np.max(np.abs(voice)), *add(0, "gain", volume=4))
    assert db(np.max(np.abs(loud))) <= -1 + 0.001
    assert loudness(loud[:, 0]) > loudness(render(voice / np.max(np.abs(voice)))[:, 0]) + 3


def test_panic_dry_leaves_the_voice(render, voice):
    effects = [*add(0, "reverb", "r", wet_dry=1), *add(0, "gain", "g", volume=0)]
    plain = render(voice)[:, 0]
    dry = render(voice, *effects, (0, "rig.panic", {"mode": "dry"}))[:, 0]
    assert abs(loudness(dry) - loudness(plain)) < 0.1
