//! The reverb as a room: decay times, colour, density, width and loudness.

mod common;

use common::*;
use rigd_rt::Kind;
use rigd_rt::effects::reverb::{SHORTEST_S, t60_at_s, t60_s};
use rustfft::{FftPlanner, num_complex::Complex};

const WET: u8 = 0;
const ROOM_SIZE: u8 = 1;
const DAMPING: u8 = 2;
const PRE_DELAY: u8 = 3;
const HIGH_FREQ: u8 = 4;
const LOW_FREQ: u8 = 5;

/// All wet, no pre-delay, as wide open as can be.
fn open(room_size: f32, damping: f32) -> Vec<(u8, f32)> {
    vec![
        (WET, 1.0),
        (ROOM_SIZE, room_size),
        (DAMPING, damping),
        (PRE_DELAY, 0.0),
        (HIGH_FREQ, 20_000.0),
        (LOW_FREQ, 20.0),
    ]
}

fn impulse_response(rate_hz: u32, params: &[(u8, f32)], seconds: f32) -> [Vec<f32>; 2] {
    let mut rig = Rig::with_effect(rate_hz, Kind::Reverb, params);
    let mut pulse = vec![0.0; (seconds * rate_hz as f32) as usize];
    pulse[0] = 1.0;
    rig.run_twin(&pulse)
}

/// Decay by 60 dB in seconds, from Schroeder's backward integration between −5 and −35 dB.
fn decay_s(response: &[f32], rate_hz: u32) -> f64 {
    let mut energy = 0.0;
    let mut curve: Vec<f64> = response
        .iter()
        .rev()
        .map(|sample| {
            energy += f64::from(*sample).powi(2);
            energy
        })
        .collect();
    curve.reverse();
    let at = |level_db: f64| {
        let level = curve[0] * 10f64.powf(level_db / 10.0);
        curve.iter().position(|energy| *energy <= level).unwrap() as f64
    };
    2.0 * (at(-35.0) - at(-5.0)) / f64::from(rate_hz)
}

/// A gentle band-pass around a frequency.
fn band(signal: &[f32], freq: f64, rate_hz: u32) -> Vec<f32> {
    let g = (std::f64::consts::PI * freq / f64::from(rate_hz)).tan();
    let k = 0.7;
    let a1 = 1.0 / (1.0 + g * (g + k));
    let (mut s1, mut s2) = (0.0, 0.0);
    let tick = |sample: &f32| {
        let v3 = f64::from(*sample) - s2;
        let v1 = a1 * s1 + g * a1 * v3;
        let v2 = s2 + g * a1 * s1 + g * g * a1 * v3;
        s1 = 2.0 * v1 - s1;
        s2 = 2.0 * v2 - s2;
        v1 as f32
    };
    signal.iter().map(tick).collect()
}

/// The octave around a frequency.
fn octave(signal: &[f32], freq_hz: f64, rate_hz: u32) -> Vec<f32> {
    around(signal, freq_hz, 0.5, rate_hz)
}

/// So many octaves to each side of a frequency, by a zero-phase filter with raised cosines at its edges.
fn around(signal: &[f32], freq_hz: f64, octaves: f64, rate_hz: u32) -> Vec<f32> {
    let len = (signal.len() + rate_hz as usize / 4).next_power_of_two();
    let mut bins = vec![Complex::new(0.0, 0.0); len];
    for (bin, sample) in bins.iter_mut().zip(signal) {
        bin.re = f64::from(*sample);
    }
    let mut planner = FftPlanner::new();
    planner.plan_fft_forward(len).process(&mut bins);
    for (index, bin) in bins.iter_mut().enumerate() {
        let hz = index.min(len - index) as f64 * f64::from(rate_hz) / len as f64;
        *bin *= edge((hz.max(1e-9) / freq_hz).log2().abs() / octaves);
    }
    planner.plan_fft_inverse(len).process(&mut bins);
    let per = 1.0 / len as f64;
    bins.iter()
        .take(signal.len())
        .map(|bin| (bin.re * per) as f32)
        .collect()
}

/// [`decay_s`] of a tail that keeps to the documented times, from `TAIL_S` on and seen through the octave.
fn documented_s(room_size: f32, damping: f32, freq_hz: f64) -> f64 {
    let parts: Vec<(f64, f64)> = (-60..=60)
        .map(|part| {
            let away = f64::from(part) * 0.01;
            let freq = freq_hz * away.exp2();
            let rate = 1e6f64.ln() / f64::from(t60_at_s(room_size, damping, freq as f32));
            // An octave's power grows with its bandwidth; what is left is power over rate.
            (freq * edge(away.abs() / 0.5).powi(2) / rate, rate)
        })
        .collect();
    let left = |time: f64| -> f64 {
        let parts = parts.iter();
        parts
            .map(|(power, rate)| power * (-rate * (TAIL_S + time)).exp())
            .sum()
    };
    let at = |level_db: f64| {
        let level = left(0.0) * 10f64.powf(level_db / 10.0);
        let (mut early, mut late) = (0.0, 10.0);
        for _ in 0..50 {
            let middle = (early + late) / 2.0;
            if left(middle) > level {
                early = middle;
            } else {
                late = middle;
            }
        }
        late
    };
    2.0 * (at(-35.0) - at(-5.0))
}

/// Of a band: 1 over four fifths of its half width, 0 from six fifths on.
fn edge(away: f64) -> f64 {
    let edge = ((1.2 - away) / 0.4).clamp(0.0, 1.0);
    0.5 - 0.5 * (std::f64::consts::PI * edge).cos()
}

/// The tail begins here: the early reflections and the diffusers are over.
const TAIL_S: f64 = 0.1;

#[test]
fn each_octave_decays_in_the_documented_time() {
    for (rate_hz, rooms) in [
        (48_000, &[0.0, 0.25, 0.5, 0.75, 1.0][..]),
        (44_100, &[0.0, 1.0]),
        (96_000, &[0.5]),
    ] {
        // Up to half damping, and beyond.
        let mut worst = [0.0f64; 2];
        for room_size in &rooms[..cases(rooms.len(), 1, "sizes of a room")] {
            for damping in [0.0, 0.5, 1.0] {
                let seconds = t60_s(*room_size) + 0.3;
                let [left, right] = impulse_response(rate_hz, &open(*room_size, damping), seconds);
                let mut line = String::new();
                for freq_hz in [125.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0] {
                    let wanted = documented_s(*room_size, damping, freq_hz);
                    let from = (TAIL_S * f64::from(rate_hz)) as usize;
                    let found = [&left, &right]
                        .map(|side| decay_s(&octave(side, freq_hz, rate_hz)[from..], rate_hz));
                    let found = (found[0] + found[1]) / 2.0;
                    let off = found / wanted - 1.0;
                    line += &format!(" {found:.3}/{wanted:.3}");
                    // What is shorter than the network can be is only printed.
                    if wanted > f64::from(SHORTEST_S) {
                        let worst = &mut worst[usize::from(damping > 0.5)];
                        *worst = worst.max(off.abs());
                    }
                }
                println!("{rate_hz} Hz, room {room_size}, damping {damping}:{line} s");
            }
        }
        let worst = worst.map(|off| off * 100.0);
        println!("{rate_hz} Hz: up to half damping, and beyond: at most {worst:.1?} % off");
        assert!(worst[0] < 5.0 && worst[1] < 10.0, "{worst:.1?} %");
    }
}

#[test]
fn its_loudness_depends_on_neither_room_nor_damping() {
    let input = voice(7 * 48_000);
    let from = 3 * 48_000;
    let dry = db(rms(&input[from..]) * std::f64::consts::SQRT_2);
    let mut all = Vec::new();
    for damping in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let levels = [0.0, 0.25, 0.5, 0.75, 1.0].map(|room_size| {
            let params = [(WET, 1.0), (ROOM_SIZE, room_size), (DAMPING, damping)];
            let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &params);
            let [left, right] = rig.run_twin(&input);
            db(rms(&left[from..]).hypot(rms(&right[from..]))) - dry
        });
        println!("damping {damping}: wet against dry {levels:+.2?} dB");
        all.extend(levels);
    }
    let low = all.iter().copied().fold(f64::MAX, f64::min);
    let high = all.iter().copied().fold(f64::MIN, f64::max);
    println!("spread {:.2} dB", high - low);
    assert!(high - low < 1.0, "{:.2} dB", high - low);
    assert!(low > -1.0 && high < 1.0, "{low:+.2} … {high:+.2} dB");
}

#[test]
fn a_change_of_room_is_neither_a_swell_nor_a_dip() {
    for (from, to) in [(0.0, 1.0), (1.0, 0.0)] {
        let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &open(from, 0.5));
        let input = hum(14 * 48_000);
        rig.at(6 * 48_000, &[set(0, ROOM_SIZE, to)]);
        let [left, right] = rig.run_twin(&input);
        let level = |from: usize, frames: usize| {
            let [left, right] = [&left, &right].map(|side| rms(&side[from..from + frames]));
            db(left.hypot(right))
        };
        let before = level(4 * 48_000, 2 * 48_000);
        let during: Vec<f64> = (0..120)
            .map(|turn| level(6 * 48_000 + turn * 2_400, 4_800) - before)
            .collect();
        let high = during.iter().copied().fold(f64::MIN, f64::max);
        let low = during.iter().copied().fold(f64::MAX, f64::min);
        println!("room {from} to {to}: {low:+.2} … {high:+.2} dB");
        assert!(low > -2.0 && high < 2.0, "{low:+.2} … {high:+.2} dB");
    }
}

/// Noise with the spectrum of a voice.
fn hum(frames: usize) -> Vec<f32> {
    let white = noise(11, frames, 1.0);
    let low = band(&white, 500.0, RATE_HZ);
    let high = band(&white, 1_800.0, RATE_HZ);
    let signal = low.iter().zip(&high);
    signal.map(|(low, high)| low + 0.4 * high).collect()
}

/// The same in syllables.
fn voice(frames: usize) -> Vec<f32> {
    let mut signal = hum(frames);
    for (at, sample) in signal.iter_mut().enumerate() {
        let swing = (std::f64::consts::TAU * 4.0 * at as f64 / f64::from(RATE_HZ)).sin();
        *sample *= swing.max(0.0) as f32;
    }
    signal
}

#[test]
fn dry_is_what_went_in() {
    let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &[(WET, 0.0)]);
    let (left, right) = (noise(1, 9_600, 0.5), noise(2, 9_600, 0.5));
    assert!(rig.run(&[&left, &right]) == [left, right]);
}

#[test]
fn both_ears_hear_something_else_and_a_mono_sum_loses_nothing() {
    for room_size in [0.0, 0.5, 1.0] {
        let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &open(room_size, 0.3));
        let [left, right] = rig.run_twin(&noise(7, 6 * 48_000, 0.3));
        let (left, right) = (&left[96_000..], &right[96_000..]);
        let product: f64 = left
            .iter()
            .zip(right)
            .map(|(l, r)| f64::from(*l) * f64::from(*r))
            .sum();
        let both = rms(left).hypot(rms(right));
        let correlation = product / left.len() as f64 / (rms(left) * rms(right));
        let sum: Vec<f32> = left.iter().zip(right).map(|(l, r)| l + r).collect();
        let mono = db(rms(&sum) / both);
        let balance = db(rms(left) / rms(right));
        println!(
            "room {room_size}: correlation {correlation:.3}, mono {mono:+.2} dB, {balance:+.2} dB"
        );
        assert!(
            correlation.abs() < 0.1,
            "room {room_size}: {correlation:.3}"
        );
        assert!(mono.abs() < 0.5, "room {room_size}: {mono:+.2} dB");
        assert!(balance.abs() < 0.5, "room {room_size}: {balance:+.2} dB");
    }
}

/// Edges of the critical bands in Hz (E. Zwicker 1961), from the second to the twentieth.
const CRITICAL_HZ: [f64; 20] = [
    100.0, 200.0, 300.0, 400.0, 510.0, 630.0, 770.0, 920.0, 1_080.0, 1_270.0, 1_480.0, 1_720.0,
    2_000.0, 2_320.0, 2_700.0, 3_150.0, 3_700.0, 4_400.0, 5_300.0, 6_400.0,
];

/// In each critical band: the highest peak of the spectrum over the median, in dB.
fn peaks_db(signal: &[f64]) -> Vec<f64> {
    let frames = signal.len();
    let signal = signal.iter();
    let mut bins: Vec<Complex<f64>> = signal.map(|sample| Complex::new(*sample, 0.0)).collect();
    FftPlanner::new()
        .plan_fft_forward(frames)
        .process(&mut bins);
    let bin = |hz: f64| (hz * frames as f64 / f64::from(RATE_HZ)) as usize;
    let bands = CRITICAL_HZ.windows(2);
    bands
        .map(|edges| {
            let band = &bins[bin(edges[0])..bin(edges[1])];
            let mut power: Vec<f64> = band.iter().map(Complex::norm_sqr).collect();
            power.sort_by(f64::total_cmp);
            10.0 * (power[power.len() - 1] / power[power.len() / 2]).log10()
        })
        .collect()
}

/// Gaussian noise, by the sum of twelve.
fn gaussian(seed: u64, frames: usize) -> Vec<f64> {
    let mut random = Random(seed);
    let mut one = || (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    (0..frames).map(|_| one()).collect()
}

#[test]
fn no_mode_of_the_late_tail_rings() {
    // A tail is to be like noise that decays as it does: peaks stand out of their critical bands hardly
    // higher than those of so many noises. Without the turning planes they do by 6 dB in the largest room.
    const NOISES: u64 = 40;
    let mut bad = false;
    for (room_size, from, seconds) in [(0.3, 0.3, 1.0), (0.5, 0.5, 2.0), (1.0, 1.0, 3.0)] {
        let [left, right] = impulse_response(RATE_HZ, &open(room_size, 0.0), from + seconds + 0.1);
        let start = (from * 48_000.0) as usize;
        let frames = (seconds * 48_000.0) as usize;
        let decay = (1_000f64).ln() / f64::from(t60_s(room_size)) / 48_000.0;
        let noises: Vec<Vec<f64>> = (0..NOISES)
            .map(|seed| {
                let noise = gaussian(100 + seed, frames).into_iter().enumerate();
                let noise = noise.map(|(at, sample)| sample * (-decay * at as f64).exp());
                peaks_db(&noise.collect::<Vec<f64>>())
            })
            .collect();
        let mean = |peaks: &[f64]| peaks.iter().sum::<f64>() / peaks.len() as f64;
        let noise_mean = mean(&noises.iter().map(|peaks| mean(peaks)).collect::<Vec<f64>>());
        let noise_highest = noises.iter().flatten().copied().fold(0.0, f64::max);
        for side in [&left, &right] {
            let tail = side[start..start + frames].iter().copied();
            let peaks = peaks_db(&tail.map(f64::from).collect::<Vec<f64>>());
            let highest = peaks.iter().copied().fold(0.0, f64::max);
            let band = peaks.iter().position(|peak| *peak == highest).unwrap();
            println!(
                "room {room_size}: peaks {:.1} dB in the mean (noise {noise_mean:.1}), at most {highest:.1} dB \
                 (noise {noise_highest:.1}), above {} Hz",
                mean(&peaks),
                CRITICAL_HZ[band]
            );
            bad |= mean(&peaks) > noise_mean + 2.0 || highest > noise_highest + 2.5;
        }
    }
    assert!(!bad);
}

#[test]
fn a_held_note_stays_in_tune() {
    for (room_size, freq) in [(0.5, 220.0), (1.0, 220.0), (1.0, 880.0)] {
        let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &open(room_size, 0.0));
        let mut note = sine(freq, 0.0, 0.5, RATE_HZ, 4 * 48_000);
        for (at, sample) in note.iter_mut().rev().enumerate().take(9_600) {
            *sample *= 0.5 - 0.5 * (std::f32::consts::PI * at as f32 / 9_600.0).cos();
        }
        rig.run_twin(&note);
        let [left, _] = rig.silence(48_000);
        let mut bins: Vec<Complex<f64>> = left
            .iter()
            .enumerate()
            .map(|(at, sample)| {
                let weight = 1.0 - (std::f64::consts::TAU * at as f64 / 48_000.0).cos();
                Complex::new(f64::from(*sample) * weight, 0.0)
            })
            .collect();
        FftPlanner::new()
            .plan_fft_forward(48_000)
            .process(&mut bins);
        // One bin is one Hz.
        let near = freq as usize - 30..freq as usize + 31;
        let power = |bin: usize| bins[bin].norm_sqr();
        let sum: f64 = near.clone().map(power).sum();
        let centre = near.clone().map(|bin| bin as f64 * power(bin)).sum::<f64>() / sum;
        let spread = near
            .map(|bin| (bin as f64 - centre).powi(2) * power(bin))
            .sum::<f64>();
        let spread = (spread / sum).sqrt();
        let cents = 1_200.0 * (centre / freq).log2();
        println!("room {room_size}, {freq} Hz: {cents:+.1} cents, ±{spread:.2} Hz");
        assert!(cents.abs() < 8.0, "{cents:+.1} cents");
        assert!(spread < 4.0, "±{spread:.2} Hz");
    }
}

#[test]
fn its_echoes_are_dense_after_100_ms() {
    for rate_hz in [44_100, 48_000, 96_000] {
        for room_size in [0.0, 0.5, 1.0] {
            let [left, right] = impulse_response(rate_hz, &open(room_size, 0.0), 0.5);
            // J. Abel and P. Huang 2006: the share of samples beyond one standard deviation, of Gaussian
            // noise's, in a window of 20 ms.
            let density = |ms: usize| {
                let per = rate_hz as usize / 1_000;
                let mut both = 0.0;
                for side in [&left, &right] {
                    let window = &side[(ms - 10) * per..(ms + 10) * per];
                    let deviation = rms(window);
                    let beyond = window.iter().filter(|s| f64::from(s.abs()) > deviation);
                    both += beyond.count() as f64 / window.len() as f64 / 0.3173;
                }
                both / 2.0
            };
            let found = [30, 50, 80, 100, 150, 200, 400].map(density);
            println!(
                "{rate_hz} Hz, room {room_size}: density {found:.2?} at 30, 50, 80, 100, 150, 200, 400 ms"
            );
            // At twice the rate there are twice the samples to be filled.
            let late = found.iter().skip(if rate_hz > 48_000 { 4 } else { 3 });
            assert!(late.copied().all(|density| density > 0.9), "{found:?}");
        }
    }
}

#[test]
fn the_pre_delay_is_exact() {
    let response = |ms: f32| {
        let mut params = open(0.5, 0.5);
        params.push((PRE_DELAY, ms));
        impulse_response(RATE_HZ, &params, 0.3)
    };
    let first = |side: &[f32]| side.iter().position(|sample| *sample != 0.0).unwrap();
    let none = response(0.0);
    for ms in [1.0, 20.0, 33.0, 100.0, 200.0] {
        let later = response(ms);
        let delay = (ms * 48.0) as usize;
        for (none, later) in none.iter().zip(&later) {
            let from = first(none);
            assert_eq!(first(later), from + delay, "{ms} ms");
            let (early, late) = (&none[from..from + 700], &later[from + delay..]);
            assert!(early == &late[..700], "{ms} ms");
            // The tail goes along. The planes have turned a little in the meantime.
            if delay <= 960 {
                let (early, late) = (&none[1_700..5_000], &later[1_700 + delay..]);
                let error: Vec<f32> = early.iter().zip(late).map(|(a, b)| a - b).collect();
                let error = db(rms(&error) / rms(early));
                println!("{ms} ms: the tail differs by {error:.1} dB");
                assert!(error < -15.0, "{ms} ms: {error:.1} dB");
            }
        }
    }
}

#[test]
fn its_high_and_low_cuts_take_3_db_at_their_frequency() {
    let level = |param: (u8, f32), freq: f64| {
        let mut params = open(0.5, 0.0);
        params.push(param);
        let [left, _] = impulse_response(RATE_HZ, &params, 2.0);
        db(rms(&around(&left, freq, 0.05, RATE_HZ)))
    };
    let mut worst = 0.0f64;
    for (param, open_hz, at_hz) in [
        (HIGH_FREQ, 20_000.0, [1_000.0, 2_500.0, 8_000.0]),
        (LOW_FREQ, 20.0, [120.0, 400.0, 1_000.0]),
    ] {
        for hz in at_hz {
            let freq = f64::from(hz);
            let taken = level((param, open_hz), freq) - level((param, hz), freq);
            // An octave on, a Butterworth filter of the second order takes 12.3 dB.
            let beyond = if param == HIGH_FREQ {
                freq * 2.0
            } else {
                freq / 2.0
            };
            let more = level((param, open_hz), beyond) - level((param, hz), beyond);
            println!(
                "parameter {param} at {hz} Hz: −{taken:.2} dB there, −{more:.1} dB an octave on"
            );
            worst = worst.max((taken - 3.0).abs());
            assert!(more > 11.0, "{more:.1} dB");
        }
    }
    assert!(worst < 0.5, "{worst:.2} dB off");
}

#[test]
fn the_block_size_does_not_matter_while_everything_moves() {
    let run = |block: usize| {
        let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &open(0.5, 0.5));
        rig.block = block;
        let mut random = Random(5);
        for turn in 0..60u64 {
            let param = &Kind::Reverb.params()[turn as usize % 6];
            let value = param.min + random.unit() * (param.max - param.min);
            rig.at(997 + turn * 611, &[set(0, (turn % 6) as u8, value as f32)]);
        }
        let input = noise(6, 48_000, 0.5);
        rig.run_twin(&input).map(|side| bits(&side))
    };
    let whole = run(48_000);
    for block in [1, 16, 64, 128, 441, 1024] {
        assert!(run(block) == whole, "blocks of {block}");
    }
}

#[test]
fn a_tail_ends_in_zeros_and_never_in_denormals() {
    for (room_size, damping) in [(0.0, 0.0), (0.0, 1.0), (0.5, 0.5)] {
        let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &open(room_size, damping));
        rig.run_twin(&noise(2, 48_000, 0.9));
        // −300 dB takes five times as long as −60 dB, and the numbers have 15 digits more to go.
        let seconds = 12.0 * t60_s(room_size) + 1.0;
        let tail = rig.silence((seconds * 48_000.0) as usize);
        assert!(tail.iter().flatten().all(|sample| !sample.is_subnormal()));
        assert!(tail.iter().all(|side| side.ends_with(&[0.0; 4_800])));
        let pool = rig.engine.into_pool();
        assert!(pool.iter().all(|sample| *sample == 0.0));
    }
}

#[test]
fn what_cannot_be_is_finite_and_forgotten() {
    let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &open(0.0, 0.0));
    let mut input = noise(8, 48_000, 900.0);
    for (at, sample) in input.iter_mut().enumerate().step_by(97) {
        *sample = [f32::NAN, f32::INFINITY, f32::MIN, 1e-40, 1e30][at % 5];
    }
    let loud = rig.run_twin(&input);
    assert!(loud.iter().flatten().all(|sample| sample.is_finite()));
    assert!(peak(&loud[0]) > 1.0);
    rig.silence(8 * 48_000);
    assert!(peak(&rig.silence(4_800)[0]) == 0.0);
}

#[test]
fn the_most_extreme_values_stay_finite_and_decay() {
    for rate_hz in [8_000, 48_000, 192_000] {
        for corner in 0..64u32 {
            let params: Vec<(u8, f32)> = Kind::Reverb
                .params()
                .iter()
                .enumerate()
                .map(|(index, param)| {
                    let value = if corner >> index & 1 == 0 {
                        param.min
                    } else {
                        param.max
                    };
                    (index as u8, value as f32)
                })
                .collect();
            if rate_hz != 48_000 && corner & 1 == 0 {
                continue;
            }
            let mut rig = Rig::with_effect(rate_hz, Kind::Reverb, &params);
            let second = rate_hz as usize / 4;
            let [left, right] = rig.run_twin(&noise(u64::from(corner), second, 1.0));
            let loudest = peak(&left).max(peak(&right));
            assert!(
                loudest.is_finite() && loudest < 8.0,
                "{params:?}: {loudest}"
            );
            rig.silence(second);
            let [early, _] = rig.silence(second);
            rig.silence(4 * second);
            let [late, _] = rig.silence(second);
            let (early, late) = (rms(&early), rms(&late));
            assert!(
                late <= early * 0.5,
                "{rate_hz} Hz, {params:?}: {early:e}, {late:e}"
            );
        }
    }
}
