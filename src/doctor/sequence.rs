//! A noise that is like nothing but itself, and where it is in a recording.
//!
//! A maximum length sequence of a linear feedback shift register (Golomb, "Shift Register Sequences",
//! 1967): ±1, white, and its correlation with itself is one peak. The correlation is computed by FFT.

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

/// Stages of the shift register: the sequence has 2^15 − 1 samples, 0.7 s at 48 kHz.
const STAGES: u32 = 15;
/// Taps of a primitive polynomial: x^15 + x^14 + 1.
const TAPS: [u32; 2] = [15, 14];
/// A peak must stand so high above what is typical (root mean square) elsewhere.
const PROMINENCE: f32 = 20.0;
/// And the next highest, further away than [`NEAR`], must be lower by this.
const RIVAL: f32 = 0.7;
/// A converter's filters spread a peak over so many samples.
const NEAR: usize = 64;

/// Where the sequence is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Frames from where it was looked for.
    pub lag: usize,
    /// How loud it is, against how it was played; below 0: upside down.
    pub gain: f32,
}

/// Why no peak is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    /// Nothing is there that is like the sequence.
    NotThere,
    /// It is there more than once, so loudly: an echo, a room, a second way.
    Twice,
}

/// The sequence: ±1.
pub fn sequence() -> Vec<f32> {
    let mut register = 1_u32;
    (0..(1 << STAGES) - 1)
        .map(|_| {
            let [a, b] = TAPS.map(|tap| register >> (STAGES - tap));
            let bit = (a ^ b) & 1;
            register = register >> 1 | bit << (STAGES - 1);
            if bit == 1 { 1.0 } else { -1.0 }
        })
        .collect()
}

/// Finds the sequence in a recording that is longer than it: at the first sample, or later.
pub fn find(sequence: &[f32], recording: &[f32]) -> Result<Peak, Doubt> {
    let lags = recording.len().saturating_sub(sequence.len()) + 1;
    let likeness = correlate(sequence, recording, lags);
    let (lag, peak) = highest(likeness.iter().copied().enumerate());
    let is_far = |lag_here: usize| lag_here.abs_diff(lag) > NEAR;
    let far = || {
        let all = likeness.iter().copied().enumerate();
        all.filter(|(lag, _)| is_far(*lag))
    };
    let (count, sum) = far().fold((0, 0.0), |(count, sum), (_, value)| {
        (count + 1, sum + f64::from(value) * f64::from(value))
    });
    let typical = (sum / f64::from(count.max(1))).sqrt() as f32;
    if peak == 0.0 || peak.abs() < PROMINENCE * typical {
        return Err(Doubt::NotThere);
    }
    if highest(far()).1.abs() > RIVAL * peak.abs() {
        return Err(Doubt::Twice);
    }
    Ok(Peak { lag, gain: peak })
}

fn highest(values: impl Iterator<Item = (usize, f32)>) -> (usize, f32) {
    values.fold((0, 0.0), |best, here| {
        if here.1.abs() > best.1.abs() {
            here
        } else {
            best
        }
    })
}

/// How like the sequence the recording is from each of its first `lags` samples on: 1 where it is the
/// same.
fn correlate(sequence: &[f32], recording: &[f32], lags: usize) -> Vec<f32> {
    let length = (recording.len() + sequence.len()).next_power_of_two();
    let mut planner = FftPlanner::new();
    let transform = planner.plan_fft_forward(length);
    let spectrum = |samples: &[f32]| {
        let padded = samples.iter().copied().chain(std::iter::repeat(0.0));
        let mut buffer: Vec<Complex<f32>> = padded
            .take(length)
            .map(|sample| Complex::new(sample, 0.0))
            .collect();
        transform.process(&mut buffer);
        buffer
    };
    let (known, heard) = (spectrum(sequence), spectrum(recording));
    let mut product: Vec<Complex<f32>> = known
        .iter()
        .zip(heard)
        .map(|(known, heard)| known.conj() * heard)
        .collect();
    planner.plan_fft_inverse(length).process(&mut product);
    let scale = 1.0 / (length as f32 * sequence.len() as f32);
    product
        .iter()
        .take(lags)
        .map(|value| value.re * scale)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(frames: usize) -> Vec<f32> {
        let mut state = 7_u32;
        (0..frames)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// A second and a half of noise with the sequence in it.
    fn recording(level: f32, ways: &[(usize, f32)]) -> Vec<f32> {
        let mut sound: Vec<f32> = noise(72_000).iter().map(|sample| sample * level).collect();
        for (lag, gain) in ways {
            for (to, sample) in sound[*lag..].iter_mut().zip(sequence()) {
                *to += sample * gain;
            }
        }
        sound
    }

    #[test]
    fn a_sequence_is_as_long_as_it_can_be_and_balanced() {
        let sequence = sequence();
        assert_eq!(sequence.len(), 32_767);
        assert_eq!(sequence.iter().sum::<f32>(), 1.0);
        // Round and round it is like itself at no shift but 0.
        for shift in [1, 15, 1000, 32_766] {
            let turned = sequence.iter().cycle().skip(shift);
            let likeness: f32 = sequence.iter().zip(turned).map(|(a, b)| a * b).sum();
            assert_eq!(likeness, -1.0, "{shift}");
        }
    }

    #[test]
    fn it_is_found_to_the_sample() {
        for (lag, gain) in [(0, 0.1), (1, 0.1), (127, -0.05), (38_000, 0.01)] {
            let found = find(&sequence(), &recording(0.005, &[(lag, gain)])).unwrap();
            assert_eq!(found.lag, lag);
            assert!((found.gain / gain - 1.0).abs() < 0.05, "{found:?}");
        }
    }

    #[test]
    fn it_is_found_behind_a_converters_filters() {
        let mut sound = recording(0.001, &[(500, 0.1)]);
        // A high-pass at 20 Hz and a short low-pass.
        let (mut low, mut last) = (0.0, 0.0);
        for sample in &mut sound {
            low += 0.0026 * (*sample - low);
            let high = *sample - low;
            (*sample, last) = (0.7 * high + 0.3 * last, high);
        }
        assert_eq!(find(&sequence(), &sound).unwrap().lag, 500);
    }

    #[test]
    fn noise_alone_is_doubted_and_so_are_two_ways() {
        let doubt = |sound: &[f32]| find(&sequence(), sound).unwrap_err();
        assert_eq!(doubt(&recording(0.1, &[])), Doubt::NotThere);
        assert_eq!(doubt(&recording(1.0, &[(500, 0.01)])), Doubt::NotThere);
        assert_eq!(doubt(&[0.0; 72_000]), Doubt::NotThere);
        let two = recording(0.001, &[(500, 0.1), (900, 0.08)]);
        assert_eq!(doubt(&two), Doubt::Twice);
        let echo = recording(0.001, &[(500, 0.1), (900, 0.05)]);
        assert_eq!(find(&sequence(), &echo).unwrap().lag, 500);
    }
}
