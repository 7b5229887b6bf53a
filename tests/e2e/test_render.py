"""Golden audio: what each thing does to known signals, through `rigd render` (sections 10 and 11)."""

import numpy as np
import pytest

from sound import RATE, add, band, db, delay_of, level_at, noise, rms, sine, true_peak

SETTLED = RATE // 10


@pytest.fixture
def delay(render):
    return delay_of(render)


def lowpass(samples, hz):
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) > hz] = 0
    return np.fft.irfft(spectrum, len(samples))


def late(heard, delay=0):
    """The left channel once everything has settled."""
    return heard[SETTLED + delay :, 0]


def test_a_mono_mic_in_the_centre_is_3_db_down_on_both_sides(render):
    heard = render(sine(1000))
    assert np.array_equal(heard[:, 0], heard[:, 1])
    assert abs(db(level_at(late(heard), 1000) / 0.1) + 3.0103) < 0.01


def test_music_passes_as_it_is(render, delay):
    music = np.stack([noise(seed=1), noise(seed=2)], axis=1).astype(np.float32)
    heard = render(np.zeros(RATE), music=music)
    assert np.max(np.abs(heard[delay:] - music[: RATE - delay])) < 1e-6


def test_the_output_is_as_long_as_the_longer_input(render):
    assert len(render(np.zeros(1000))) == 1000
    assert len(render(np.zeros(1000), music=np.zeros((3001, 2)))) == 3001
    assert len(render(np.zeros(3001), music=np.zeros((1000, 2)))) == 3001


def test_channels_feed_the_mics_in_order(render):
    both = np.stack([sine(500), sine(3000)], axis=1)
    heard = render(both, (0, "track.update", {"track_id": "mic2", "mute": True}))
    assert level_at(late(heard), 500) > 0.06
    assert level_at(late(heard), 3000) < 1e-5
    heard = render(both, (0, "track.update", {"track_id": "mic1", "mute": True}))
    assert level_at(late(heard), 500) < 1e-5
    assert level_at(late(heard), 3000) > 0.06


def test_silence_is_silent(render):
    heard = render(np.zeros(RATE), *add(0, "reverb"), *add(0, "hpf", "h"), *add(0, "gain", "g"))
    assert np.all(heard == 0)


def test_a_gain_of_two_doubles_every_sample(render):
    voice = noise()
    plain = render(voice)
    doubled = render(voice, *add(0, "gain", volume=2))
    assert np.array_equal(late(doubled), 2 * late(plain))


def test_a_gain_of_one_and_a_bypassed_effect_change_nothing(render):
    voice = noise()
    plain = render(voice)
    at = {"track_id": "mic1", "plugin_id": "p"}
    assert np.array_equal(late(render(voice, *add(0, "gain"))), late(plain))
    bypassed = render(voice, *add(0, "gain", volume=4), (0, "plugin.bypass", {**at, "bypass": True}))
    assert np.array_equal(late(bypassed), late(plain))


def test_a_change_in_a_plugins_first_frame_is_not_ramped(render, delay):
    """Nothing of a gain of 1 is heard on the way to 0: only the effect's own fading in."""
    tone = sine(1000)
    heard = render(tone, *add(0, "gain", volume=0))
    assert rms(late(heard)) == 0
    fading = np.flatnonzero(np.abs(heard[:, 0]) > 1e-6)
    assert len(fading) == 0 or fading[-1] < RATE // 20


@pytest.mark.parametrize("volume", [0, 0.5, 1, 2])
def test_the_fader_is_a_linear_factor(render, volume):
    plain = late(render(sine(1000)))
    heard = late(render(sine(1000), (0, "track.update", {"track_id": "mic1", "volume": volume})))
    assert np.max(np.abs(heard - volume * plain)) < 1e-6


def test_input_gain(render):
    heard = render(sine(1000, level=0.01), (0, "track.update", {"track_id": "mic1", "input_gain_db": 20}))
    assert abs(db(level_at(late(heard), 1000) / 0.01) - 20 + 3.0103) < 0.01


@pytest.mark.parametrize("pan", [-1, -0.5, 0, 0.5, 1])
def test_mono_pan_has_constant_power(render, pan):
    heard = render(sine(1000), (0, "track.update", {"track_id": "mic1", "pan": pan}))[SETTLED:]
    left, right = level_at(heard[:, 0], 1000), level_at(heard[:, 1], 1000)
    assert abs(left**2 + right**2 - 0.01) < 1e-5
    angle = (pan + 1) * np.pi / 4
    assert abs(left - 0.1 * np.cos(angle)) < 1e-3
    assert abs(right - 0.1 * np.sin(angle)) < 1e-3


@pytest.mark.parametrize("pan,left,right", [(-1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_stereo_pan_is_balance(render, pan, left, right):
    music = np.stack([sine(500), sine(3000)], axis=1)
    heard = render(np.zeros(RATE), (0, "track.update", {"track_id": "music", "pan": pan}), music=music)[SETTLED:]
    assert abs(level_at(heard[:, 0], 500) - 0.1 * left) < 1e-4
    assert abs(level_at(heard[:, 1], 3000) - 0.1 * right) < 1e-4


def test_the_pan_law_goes_by_the_input_whatever_effects_make_of_it(render):
    """A mono mic stays mono-panned behind a stereo reverb that lets everything through."""
    heard = render(sine(1000), *add(0, "reverb", wet_dry=0))
    assert abs(db(level_at(late(heard), 1000) / 0.1) + 3.0103) < 0.05


def test_solo(render):
    both = np.stack([sine(500), sine(3000)], axis=1)
    heard = render(both, (0, "track.update", {"track_id": "mic2", "solo": True}))
    assert level_at(late(heard), 500) < 1e-5
    assert level_at(late(heard), 3000) > 0.06


def test_sends_are_post_fader_and_feed_their_bus(render):
    bus = (0, "track.add", {"track_id": "fx", "name": "FX", "kind": "bus"})
    muted = (0, "track.update", {"track_id": "mic1", "sends": {"fx": 0.5}})
    tone = sine(1000)
    plain = render(tone)
    both = render(tone, bus, muted)
    gain = level_at(late(both), 1000) / level_at(late(plain), 1000)
    assert 1.3 < gain < 1.8, "the bus adds to the direct sound"
    down = render(tone, bus, muted, (0, "track.update", {"track_id": "mic1", "volume": 0}))
    assert rms(late(down)) < 1e-6, "post-fader"


def test_a_reverb_on_a_bus_is_heard_under_a_solo(render):
    burst = np.concatenate([noise(0.3), np.zeros(RATE)])
    commands = [
        (0, "track.add", {"track_id": "fx", "name": "FX", "kind": "bus"}),
        *add(0, "reverb", "r", "fx", wet_dry=1),
        (0, "track.update", {"track_id": "mic1", "sends": {"fx": 1}, "solo": True}),
    ]
    heard = render(burst, *commands)
    assert rms(heard[RATE // 2 : RATE, 0]) > 1e-4


@pytest.mark.parametrize("slope,order", [(12, 2), (24, 4)])
@pytest.mark.parametrize("freq", [90, 300])
def test_the_high_pass_is_a_butterworth(render, slope, order, freq):
    for hz in (freq / 2, freq, 2 * freq, 10 * freq):
        tone = sine(hz, 2)
        plain = level_at(render(tone)[RATE:, 0], hz)
        heard = level_at(render(tone, *add(0, "hpf", freq=freq, slope=slope))[RATE:, 0], hz)
        wanted = -10 * np.log10(1 + (freq / hz) ** (2 * order))
        assert abs(db(heard / plain) - wanted) < 0.15, hz


def test_mute_begins_at_its_very_frame(render, delay):
    frame = 24007
    steady = np.full(RATE, 0.25)
    plain = render(steady)[:, 0]
    muted = render(steady, (frame, "track.update", {"track_id": "mic1", "mute": True}))[:, 0]
    first = int(np.flatnonzero(plain != muted)[0])
    assert frame + delay <= first <= frame + delay + 1
    assert np.all(muted[frame + delay + RATE // 20 :] == 0), "silent within 50 ms"
    assert np.max(np.abs(np.diff(muted[RATE // 4 :]))) < 0.25 / 100, "without a click"


@pytest.mark.parametrize("frame", [12000, 12001, 12345, 23999])
def test_a_parameter_begins_to_move_at_its_very_frame(render, delay, frame):
    steady = np.full(RATE, 0.1)
    at = {"track_id": "mic1", "plugin_id": "p", "parameter_id": "volume"}
    plain = render(steady, *add(0, "gain"))[:, 0]
    moved = render(steady, *add(0, "gain"), (frame, "plugin.parameter", {**at, "value": 2}))[:, 0]
    first = int(np.flatnonzero(plain != moved)[0])
    assert frame + delay <= first <= frame + delay + 1
    settled = moved[frame + delay + RATE // 20 :]
    assert np.allclose(settled, 2 * plain[-1], rtol=1e-6)
    step = np.max(np.abs(np.diff(moved[frame - 10 : frame + delay + 2000])))
    assert step < 3 * plain[-1] / (0.02 * RATE), "a ramp of 20 ms"


@pytest.mark.parametrize(
    "change",
    [
        [*add(24007, "reverb", "new", wet_dry=1)],
        [*add(24007, "gain", "new", volume=4)],
        [(24007, "plugin.remove", {"track_id": "mic1", "plugin_id": "a"})],
        [(24007, "plugin.bypass", {"track_id": "mic1", "plugin_id": "a", "bypass": True})],
        [(24007, "plugin.move", {"track_id": "mic1", "plugin_id": "a", "position": 1})],
        [(24007, "rig.panic", {"mode": "mute"})],
        [(24007, "rig.panic", {"mode": "dry"})],
        [(24007, "track.update", {"track_id": "mic1", "solo": True})],
        [(24007, "track.remove", {"track_id": "mic1"})],
        [(24007, "track.update", {"track_id": "mic1", "pan": -1})],
        [(24007, "track.update", {"track_id": "mic1", "volume": 2})],
        [(24007, "track.update", {"track_id": "mic1", "input_gain_db": 12})],
    ],
    ids=lambda change: change[0][1] + str(len(change)),
)
def test_no_change_clicks(render, change):
    """On a low tone, what lies far above it stays far below it."""
    tone = sine(80, 1.0, 0.1)
    setup = [*add(0, "gain", "a", volume=0.25), *add(0, "gain", "b", volume=2)]
    heard = render(tone, *setup, *change)[:, 0]
    around = heard[24007 - 4800 : 24007 + 9600]
    assert db(band(around, 6000, 24000) / rms(around)) < -55


def test_dry_bypasses_effects_on_mics_only(render):
    both = np.stack([sine(1000), sine(3000)], axis=1)
    music = np.stack([sine(500), sine(500)], axis=1)
    commands = [*add(0, "gain", "m", volume=2), *add(0, "gain", "s", "music", volume=2)]
    plain = render(both, music=music)
    dry = render(both, *commands, (0, "rig.panic", {"mode": "dry"}), music=music)
    assert abs(level_at(late(dry), 1000) / level_at(late(plain), 1000) - 1) < 1e-3
    assert abs(level_at(late(dry), 500) / level_at(late(plain), 500) - 2) < 1e-3


def test_panic_and_restore(render):
    tone = sine(1000, 2)
    plain = render(tone)[:, 0]
    heard = render(tone, (RATE // 2, "rig.panic", {"mode": "mute"}), (RATE, "rig.restore", {}))[:, 0]
    assert np.all(heard[RATE // 2 + RATE // 10 : RATE] == 0)
    assert np.allclose(heard[RATE + RATE // 10 :], plain[RATE + RATE // 10 :], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38, 1e-42])
def test_bad_samples_cannot_poison_a_track(render, bad):
    tone = sine(1000).astype(np.float32)
    tone[10000] = bad
    commands = [*add(0, "hpf", "h"), *add(0, "reverb", "r"), *add(0, "gain", "g")]
    heard = render(tone, *commands)
    good = render(sine(1000), *commands)
    tail = slice(RATE // 2, None)
    assert abs(level_at(heard[tail, 0], 1000) / level_at(good[tail, 0], 1000) - 1) < 0.05
    assert np.max(np.abs(heard)) <= 10 ** (-1 / 20) + 1e-6


@pytest.mark.parametrize("ceiling", [-1, -6, -12])
def test_the_limiter_holds_its_ceiling_between_the_samples_too(render, ceiling):
    hiss = lowpass(noise(1.0), 20000)
    between = np.sin(2 * np.pi * 12000 * np.arange(RATE) / RATE + np.pi / 4)  # peaks between samples
    square = np.sign(sine(441, 1.0))
    loud = np.concatenate([hiss / np.max(np.abs(hiss)), between, square, sine(997, 0.5, 1.0)])
    loud[7 * RATE // 2 - RATE // 4 :: 4801] = -1.0
    limiter = {"track_id": "master", "plugin_id": "limiter", "parameter_id": "ceiling_db", "value": ceiling}
    commands = [(0, "plugin.parameter", limiter), *add(0, "gain", volume=4)]
    heard = render(loud, *commands)
    assert db(np.max(np.abs(heard))) <= ceiling + 0.001, "no sample above it"
    assert db(true_peak(heard)) <= ceiling + 0.2
    assert db(np.max(np.abs(heard[RATE:]))) > ceiling - 3, "and no quieter than need be"


def test_below_its_ceiling_the_limiter_only_delays(render, delay):
    quiet = noise(level=0.25).astype(np.float32)
    heard = render(np.zeros(RATE), music=np.stack([quiet, quiet], axis=1))[:, 0]
    assert np.max(np.abs(heard[delay:] - quiet[: RATE - delay])) < 1e-6
