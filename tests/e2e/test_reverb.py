"""The reverb's tail, measured (wire.md section 11)."""

import numpy as np
import pytest

from sound import RATE, add, band, db, delay_of, noise, rms


def burst(seconds=3.0, length=0.05):
    """A short noise and then silence."""
    return np.concatenate([noise(length, 0.5), np.zeros(int((seconds - length) * RATE))])


def tail(render, seconds=3.0, **parameters):
    return render(burst(seconds), *add(0, "reverb", "r", **{"wet_dry": 1, **parameters}))


def decay(heard, length=0.05):
    """Seconds from −5 to −25 dB of the energy that is left, times three (T20 → T60)."""
    energy = np.sum(heard[int(length * RATE) :] ** 2, axis=1)
    left = db(np.sqrt(np.cumsum(energy[::-1])[::-1] / np.sum(energy)))
    start, end = np.argmax(left < -5), np.argmax(left < -25)
    assert end > start
    return 3 * (end - start) / RATE


def test_dry_is_dry(render):
    voice = noise()
    plain, dry = render(voice), render(voice, *add(0, "reverb", wet_dry=0))
    settled = RATE // 10
    assert np.max(np.abs(plain[settled:] - dry[settled:])) < 1e-6


def test_wet_is_only_wet_and_waits_for_its_pre_delay(render):
    delay = delay_of(render)
    for pre_delay in (0, 50, 200):
        heard = np.abs(tail(render, pre_delay=pre_delay)).max(axis=1)
        first = int(np.flatnonzero(heard > 1e-5)[0]) - delay
        assert first >= pre_delay * RATE // 1000 - 1
        assert first <= pre_delay * RATE // 1000 + RATE // 20


def test_the_mix_is_linear(render):
    settled = RATE // 10
    voice = noise(2)
    dry, wet, half = (render(voice, *add(0, "reverb", wet_dry=w)) for w in (0, 1, 0.5))
    error = half[settled:] - (dry[settled:] + wet[settled:]) / 2
    assert db(rms(error) / rms(half)) < -80


def test_it_rings_and_dies(render):
    heard = tail(render, 6.0)
    assert 0.4 < decay(heard) < 4
    loud = rms(heard[RATE // 10 : RATE // 4])
    assert loud > 1e-3
    assert rms(heard[-RATE // 2 :]) < loud / 1000
    assert np.all(heard[-10:] == 0) or np.max(np.abs(heard[-10:])) > 1e-30, "no denormals"


def test_a_larger_room_rings_longer(render):
    times = [decay(tail(render, 8.0, room_size=size)) for size in (0, 0.5, 1)]
    assert times[0] < times[1] < times[2]
    assert times[2] > 2 * times[0]


def test_damping_takes_the_highs_first(render):
    def brightness(damping):
        late = tail(render, damping=damping, high_freq=20000)[RATE // 2 : RATE, 0]
        return db(band(late, 4000, 12000) / band(late, 200, 1000))

    bright, damped = brightness(0), brightness(1)
    assert damped < bright - 10


@pytest.mark.parametrize("parameter,dull,full,low,high", [
    ("high_freq", 1000, 20000, 6000, 16000),
    ("low_freq", 1000, 20, 60, 200),
])  # fmt: skip
def test_the_tails_filters(render, parameter, dull, full, low, high):
    levels = [
        band(tail(render, damping=0, **{parameter: hz})[RATE // 10 : RATE // 2, 0], low, high)
        for hz in (dull, full)
    ]
    assert db(levels[0] / levels[1]) < -8


def test_mono_goes_in_and_stereo_comes_out(render):
    heard = tail(render)[RATE // 10 : RATE]
    left, right = heard[:, 0], heard[:, 1]
    assert abs(db(rms(left) / rms(right))) < 1.5, "in balance"
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.5, "wide"


def test_it_does_not_ring_like_metal(render):
    """The late tail of a noise burst is dense: no single frequency stands far out of its surroundings."""
    late = tail(render, 3.0)[RATE // 4 : RATE // 4 + 32768, 0]
    late = late / np.maximum(np.abs(late).max(), 1e-12)
    spectrum = np.abs(np.fft.rfft(late * np.hanning(len(late)))) ** 2
    hz = np.fft.rfftfreq(len(late), 1 / RATE)
    for low in (300, 600, 1200, 2400):
        octave = spectrum[(hz >= low) & (hz < 2 * low)]
        assert 10 * np.log10(octave.max() / octave.mean()) < 15, low


def test_silence_before_sound_has_no_noise(render):
    late_burst = np.concatenate([np.zeros(RATE), noise(0.1), np.zeros(RATE)])
    heard = render(late_burst, *add(0, "reverb", wet_dry=1))
    assert np.all(heard[:RATE] == 0)
