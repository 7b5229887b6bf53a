//! The reverb as a room: decay times, colour, density, width and loudness.

mod common;

use common::*;
use rigd_rt::Kind;
use rigd_rt::effects::reverb::t60_s;
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

#[test]
fn it_decays_in_the_time_that_its_room_has() {
    for rate_hz in [44_100, 48_000] {
        for room_size in [0.0, 0.5, 1.0] {
            let wanted = f64::from(t60_s(room_size));
            let response = impulse_response(rate_hz, &open(room_size, 0.0), wanted as f32 * 1.3);
            for side in &response {
                let found = decay_s(side, rate_hz);
                println!("{rate_hz} Hz, room {room_size}: {found:.3} s of {wanted:.3} s");
                assert!(
                    (found / wanted - 1.0).abs() < 0.15,
                    "{found} s, not {wanted} s"
                );
            }
        }
    }
}

#[test]
fn damping_shortens_what_is_high_and_leaves_what_is_low() {
    let decay = |damping: f32, freq: f64| {
        let [left, _] = impulse_response(RATE_HZ, &open(0.5, damping), 2.5);
        decay_s(&band(&left, freq, RATE_HZ), RATE_HZ)
    };
    let high = [0.0, 0.5, 1.0].map(|damping| decay(damping, 8_000.0));
    let low = [0.0, 0.5, 1.0].map(|damping| decay(damping, 250.0));
    println!("decay at 8 kHz {high:.2?} s, at 250 Hz {low:.2?} s");
    assert!(high[1] < 0.75 * high[0] && high[2] < 0.75 * high[1]);
    assert!(low[1] > 0.9 * low[0], "{low:?}");
}

#[test]
fn its_loudness_hardly_depends_on_the_room() {
    let frames = 8 * 48_000;
    let cases = [(0.0, noise(5, frames, 0.3)), (0.5, voice(frames))];
    for (damping, input) in cases {
        let levels = [0.0, 0.25, 0.5, 0.75, 1.0].map(|room_size| {
            let mut params = open(room_size, damping);
            params.push((HIGH_FREQ, 8_000.0));
            let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &params);
            let [left, right] = rig.run_twin(&input);
            let from = 5 * 48_000;
            db(rms(&left[from..]).hypot(rms(&right[from..])))
        });
        let (low, high) = levels
            .iter()
            .fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        println!("damping {damping}: {levels:.2?} dB");
        assert!(high - low < 2.0, "damping {damping}: {levels:.2?} dB");
    }
}

/// Noise with the spectrum of a voice, in syllables.
fn voice(frames: usize) -> Vec<f32> {
    let white = noise(11, frames, 1.0);
    let low = band(&white, 500.0, RATE_HZ);
    let high = band(&white, 1_800.0, RATE_HZ);
    let signal = low.iter().zip(&high).enumerate();
    let syllable = |at: usize| {
        let swing = (std::f64::consts::TAU * 4.0 * at as f64 / f64::from(RATE_HZ)).sin();
        swing.max(0.0) as f32
    };
    signal
        .map(|(at, (low, high))| (low + 0.4 * high) * syllable(at))
        .collect()
}

#[test]
fn all_wet_is_about_as_loud_as_all_dry() {
    let input = voice(6 * 48_000);
    let level = |wet: f32| {
        let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &[(WET, wet)]);
        let [left, right] = rig.run_twin(&input);
        db(rms(&left[96_000..]).hypot(rms(&right[96_000..])))
    };
    let (dry, wet) = (level(0.0), level(1.0));
    println!("wet is {:+.2} dB of dry", wet - dry);
    assert!((wet - dry).abs() < 3.0, "{:+.2} dB", wet - dry);
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
            correlation.abs() < 0.3,
            "room {room_size}: {correlation:.3}"
        );
        assert!(mono.abs() < 3.0, "room {room_size}: {mono:+.2} dB");
        assert!(balance.abs() < 1.0, "room {room_size}: {balance:+.2} dB");
    }
}

#[test]
fn no_mode_of_the_late_tail_rings() {
    for (room_size, from, seconds) in [(0.3, 0.3, 0.7), (0.5, 0.5, 1.0), (1.0, 2.0, 2.7)] {
        let [left, _] = impulse_response(RATE_HZ, &open(room_size, 0.0), from + seconds + 0.1);
        let start = (from * 48_000.0) as usize;
        let frames = (seconds * 48_000.0) as usize;
        let decay = (1_000f64).ln() / f64::from(t60_s(room_size)) / 48_000.0;
        let mut bins: Vec<Complex<f64>> = left[start..start + frames]
            .iter()
            .enumerate()
            .map(|(at, sample)| {
                // Without its decay, in a Hann window.
                let turn = std::f64::consts::TAU * at as f64 / frames as f64;
                let weight = (1.0 - turn.cos()) * (decay * at as f64).exp();
                Complex::new(f64::from(*sample) * weight, 0.0)
            })
            .collect();
        FftPlanner::new()
            .plan_fft_forward(frames)
            .process(&mut bins);
        let power: Vec<f64> = bins
            .iter()
            .take(frames / 2)
            .map(Complex::norm_sqr)
            .collect();
        let hz = |freq: f32| (freq * seconds) as usize;
        let mut highest = (0.0, 0);
        for bin in hz(200.0)..hz(12_000.0) {
            let near = &power[bin - 100..bin + 100];
            let ratio = power[bin] / (near.iter().sum::<f64>() / near.len() as f64);
            if ratio > highest.0 {
                highest = (ratio, bin);
            }
        }
        // Gaussian noise has peaks of ln(bins) = 10 dB above its mean; a mode that rings, far more; in
        // the largest room single modes of the lowest octaves stand apart, as they do in any hall.
        let peak_db = 10.0 * highest.0.log10();
        println!(
            "room {room_size}: highest {peak_db:.1} dB at {} Hz",
            highest.1 as f32 / seconds
        );
        assert!(peak_db < 15.0, "room {room_size}: {peak_db:.1} dB");
    }
}

#[test]
fn its_echoes_are_dense_after_80_ms() {
    for room_size in [0.0, 0.5, 1.0] {
        let [left, _] = impulse_response(RATE_HZ, &open(room_size, 0.0), 0.4);
        // J. Abel and P. Huang 2006: the share of samples beyond one standard deviation, of Gaussian noise's.
        let density = |ms: usize| {
            let window = &left[(ms - 10) * 48..(ms + 10) * 48];
            let deviation = rms(window);
            let beyond = window.iter().filter(|s| f64::from(s.abs()) > deviation);
            beyond.count() as f64 / window.len() as f64 / 0.3173
        };
        let found = [50, 80, 120, 200].map(density);
        println!("room {room_size}: density {found:.2?} at 50, 80, 120, 200 ms");
        assert!(found[1] > 0.7, "{found:?}");
        assert!(
            found[2..].iter().all(|density| *density > 0.85),
            "{found:?}"
        );
    }
}

#[test]
fn the_pre_delay_is_exact() {
    let first = |ms: f32| {
        let mut params = open(0.5, 0.5);
        params.push((PRE_DELAY, ms));
        let [left, right] = impulse_response(RATE_HZ, &params, 0.3);
        let at = left.iter().position(|sample| *sample != 0.0).unwrap();
        (
            at,
            left[at..at + 700].to_vec(),
            right[at..at + 700].to_vec(),
        )
    };
    let none = first(0.0);
    for ms in [1.0, 20.0, 33.0, 100.0, 200.0] {
        let later = first(ms);
        assert_eq!(later.0 - none.0, (ms * 48.0) as usize, "{ms} ms");
        assert!(later.1 == none.1 && later.2 == none.2, "{ms} ms");
    }
}

#[test]
fn its_high_and_low_cuts_shape_the_tail() {
    let level = |param: (u8, f32), freq: f64| {
        let mut params = open(0.5, 0.0);
        params.push(param);
        let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &params);
        let [left, _] = rig.run_twin(&noise(3, 96_000, 0.5));
        rig.silence(4_800);
        let [tail, _] = rig.silence(24_000);
        assert!(!left.is_empty());
        db(rms(&band(&band(&tail, freq, RATE_HZ), freq, RATE_HZ)))
    };
    assert!(level((HIGH_FREQ, 20_000.0), 8_000.0) - level((HIGH_FREQ, 1_000.0), 8_000.0) > 20.0);
    assert!(level((LOW_FREQ, 20.0), 60.0) - level((LOW_FREQ, 1_000.0), 60.0) > 20.0);
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
