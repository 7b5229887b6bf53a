//! The high-pass against the bilinear Butterworth of the cookbook, and its sweeps.

mod common;

use common::*;
use rigd_rt::Kind;

/// Magnitude of the cookbook's (R. Bristow-Johnson) high-pass in dB.
fn cookbook_db(freq: f64, cutoff: f64, q: f64, rate: f64) -> f64 {
    let w0 = std::f64::consts::TAU * cutoff / rate;
    let alpha = w0.sin() / (2.0 * q);
    let cos = w0.cos();
    let b = [(1.0 + cos) / 2.0, -(1.0 + cos), (1.0 + cos) / 2.0];
    let a = [1.0 + alpha, -2.0 * cos, 1.0 - alpha];
    let w = std::f64::consts::TAU * freq / rate;
    let size = |c: [f64; 3]| {
        let re = c[0] + c[1] * w.cos() + c[2] * (2.0 * w).cos();
        let im = c[1] * w.sin() + c[2] * (2.0 * w).sin();
        re.hypot(im)
    };
    db(size(b) / size(a))
}

fn butterworth_db(freq: f64, cutoff: f64, slope: f32, rate: f64) -> f64 {
    let pi = std::f64::consts::PI;
    if slope < 18.0 {
        cookbook_db(freq, cutoff, std::f64::consts::FRAC_1_SQRT_2, rate)
    } else {
        [pi / 8.0, 3.0 * pi / 8.0]
            .iter()
            .map(|angle| cookbook_db(freq, cutoff, 1.0 / (2.0 * angle.cos()), rate))
            .sum()
    }
}

#[test]
fn its_magnitude_is_butterworths() {
    let mut worst = 0.0f64;
    for rate_hz in [16_000, 44_100, 48_000, 192_000] {
        for cutoff in [20.0, 90.0, 300.0, 500.0] {
            for slope in [12.0f32, 24.0] {
                let params = [(0, cutoff as f32), (1, slope)];
                for factor in [0.4, 0.5, 0.7, 0.9, 1.0, 1.2, 1.6, 2.5, 5.0, 12.0] {
                    let freq = cutoff * factor;
                    let mut rig = Rig::with_effect(rate_hz, Kind::Hpf, &params);
                    // Whole periods behind the time that it needs to ring in.
                    let settle = (f64::from(rate_hz) * 12.0 / cutoff) as usize;
                    let window = (f64::from(rate_hz) / freq * 12.0).round() as usize;
                    let input = sine(freq, 0.0, 0.5, rate_hz, settle + window);
                    let [left, _] = rig.run_twin(&input);
                    let found = amplitude(&left[settle..], freq, rate_hz);
                    let sent = amplitude(&input[settle..], freq, rate_hz);
                    let expected = butterworth_db(freq, cutoff, slope, f64::from(rate_hz));
                    let off = (db(found / sent) - expected).abs();
                    worst = worst.max(off);
                    assert!(
                        off < 0.1,
                        "{rate_hz} Hz, {slope} dB/oct at {cutoff}: {off:.3} dB off at {freq} Hz"
                    );
                }
            }
        }
    }
    println!("worst deviation {worst:.4} dB");
}

#[test]
fn a_value_that_was_swept_to_is_the_same_as_one_that_was_set_at_once() {
    for slope in [12.0, 24.0] {
        let mut at_once = Rig::with_effect(RATE_HZ, Kind::Hpf, &[(0, 300.0), (1, slope)]);
        let mut swept = Rig::with_effect(RATE_HZ, Kind::Hpf, &[(0, 40.0), (1, 36.0 - slope)]);
        swept.silence(1_000);
        swept.now(&[set(0, 0, 300.0), set(0, 1, slope)]);
        swept.silence(48_000);
        let input = sine(200.0, 0.0, 0.5, RATE_HZ, 9_600);
        let (one, other) = (at_once.run_twin(&input), swept.run_twin(&input));
        for (one, other) in one[0].iter().zip(&other[0]) {
            assert!((one - other).abs() < 1e-4);
        }
    }
}

/// Highest amplitude above 4 kHz, by two fourth-order high-passes in a row.
fn above_4_khz(signal: &[f32]) -> f64 {
    let mut out: Vec<f64> = signal.iter().map(|s| f64::from(*s)).collect();
    for k in [1.847_759_065, 0.765_366_865, 1.847_759_065, 0.765_366_865] {
        let g = (std::f64::consts::PI * 4_000.0 / f64::from(RATE_HZ)).tan();
        let a1 = 1.0 / (1.0 + g * (g + k));
        let (mut s1, mut s2) = (0.0, 0.0);
        for sample in &mut out {
            let v3 = *sample - s2;
            let v1 = a1 * s1 + g * a1 * v3;
            let v2 = s2 + g * a1 * s1 + g * g * a1 * v3;
            s1 = 2.0 * v1 - s1;
            s2 = 2.0 * v2 - s2;
            *sample -= k * v1 + v2;
        }
    }
    out.iter()
        .skip(2_000)
        .fold(0.0, |peak, s| s.abs().max(peak))
}

#[test]
fn sweeps_and_slope_switches_do_not_click() {
    let input = sine(300.0, 0.0, 1.0, RATE_HZ, 48_000);
    for changes in [
        &[(0, 20.0), (0, 500.0)][..],
        &[(1, 12.0), (1, 24.0)],
        &[(0, 20.0), (1, 24.0), (0, 500.0), (1, 12.0)],
    ] {
        let mut rig = Rig::with_effect(RATE_HZ, Kind::Hpf, &[]);
        for turn in 0..40usize {
            let (param, value) = changes[turn % changes.len()];
            rig.at(4_000 + 1_003 * turn as u64, &[set(0, param, value)]);
        }
        let [left, _] = rig.run_twin(&input);
        let click = db(above_4_khz(&left));
        println!("{changes:?}: {click:.1} dB");
        assert!(click < -60.0, "{changes:?}: {click:.1} dB");
    }
}
