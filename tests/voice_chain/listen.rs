//! Signals, and how to listen to them with numbers.

use std::f64::consts::TAU;

use super::session::RATE_HZ;

/// A level in dB as a factor.
pub fn factor(db: f64) -> f64 {
    10f64.powf(db / 20.0)
}

/// A factor in dB.
pub fn db(factor: f64) -> f64 {
    20.0 * factor.abs().max(1e-30).log10()
}

pub fn sine(hz: f64, phase: f64, peak: f64, rate_hz: u32, frames: usize) -> Vec<f32> {
    let step = TAU * hz / f64::from(rate_hz);
    (0..frames)
        .map(|frame| (peak * (step * frame as f64 + phase).sin()) as f32)
        .collect()
}

/// White noise, −`peak`…`peak` (SplitMix64).
pub fn noise(seed: u64, peak: f64, frames: usize) -> Vec<f32> {
    let mut state = seed;
    let mut unit = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..frames)
        .map(|_| (peak * (2.0 * unit() - 1.0)) as f32)
        .collect()
}

pub fn impulse(at: usize, height: f32, frames: usize) -> Vec<f32> {
    let mut signal = vec![0.0; frames];
    signal[at] = height;
    signal
}

/// Levels in dB, each held for so many milliseconds at 48 kHz: a signal without a waveform.
pub fn steps(levels: &[(usize, f64)]) -> Vec<f32> {
    let parts = levels
        .iter()
        .map(|(ms, level)| vec![factor(*level) as f32; ms * RATE_HZ as usize / 1000]);
    parts.collect::<Vec<_>>().concat()
}

/// The gain of each sample in dB.
pub fn gains(heard: &[f32], sent: &[f32]) -> Vec<f64> {
    let pairs = heard.iter().zip(sent);
    pairs
        .map(|(heard, sent)| db(f64::from(*heard) / f64::from(*sent)))
        .collect()
}

/// Magnitude of a spectrum at one frequency, in dB of an impulse of 1.
pub fn magnitude_db(response: &[f32], hz: f64, rate_hz: u32) -> f64 {
    let step = TAU * hz / f64::from(rate_hz);
    let (mut re, mut im) = (0.0, 0.0);
    for (frame, sample) in response.iter().enumerate() {
        let (sin, cos) = (step * frame as f64).sin_cos();
        re += f64::from(*sample) * cos;
        im += f64::from(*sample) * sin;
    }
    db(re.hypot(im))
}

pub fn rms(signal: &[f32]) -> f64 {
    let sum: f64 = signal.iter().map(|s| f64::from(*s).powi(2)).sum();
    (sum / signal.len().max(1) as f64).sqrt()
}

pub fn peak(signal: &[f32]) -> f64 {
    let sizes = signal.iter().map(|sample| f64::from(sample.abs()));
    sizes.fold(0.0, f64::max)
}

/// The shift in frames, 0…`most`, at which `heard` is most like `sent`.
pub fn shift(heard: &[f32], sent: &[f32], most: usize) -> usize {
    let likeness = |shift: usize| -> f64 {
        let pairs = heard[shift..].iter().zip(sent);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    (0..=most)
        .max_by(|a, b| likeness(*a).total_cmp(&likeness(*b)))
        .unwrap_or(0)
}
