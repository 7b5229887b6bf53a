//! Decibels and back, cheap enough for every sample: polynomials, the same on every machine.
//!
//! The logarithm is the series of artanh on the mantissa, the exponential a Taylor polynomial on
//! half an octave either way; both are good to 0.0001 dB.

use crate::Frame;

/// Decibels of a factor of 2.
const OCTAVE_DB: f32 = 6.020_6;
const PER_OCTAVE: f32 = 1.0 / OCTAVE_DB;
/// As quiet as it gets, in dB.
pub const SILENCE_DB: f32 = -140.0;
/// The same, linear.
const SILENCE: f32 = 1e-7;
/// Farthest from 0 dB that a gain may be.
const FARTHEST_DB: f32 = 600.0;

/// A linear level in dB, from [`SILENCE_DB`] up.
#[inline]
pub fn from_linear(level: f32) -> f32 {
    let level = if level > SILENCE { level } else { SILENCE };
    // The mantissa between 1/√2 and √2, and its exponent.
    let bits = level.to_bits();
    let octave = bits.wrapping_sub(0x3f35_04f3) as i32 >> 23;
    let mantissa = f32::from_bits(bits.wrapping_sub((octave << 23) as u32));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    // 2·20/ln(10)·artanh(s).
    let series = 1.0 + s2 * (1.0 / 3.0 + s2 * (1.0 / 5.0 + s2 * (1.0 / 7.0)));
    octave as f32 * OCTAVE_DB + 17.371_78 * s * series
}

/// A level in dB as a factor.
#[inline]
pub fn to_linear(db: f32) -> f32 {
    let db = if db < FARTHEST_DB { db } else { FARTHEST_DB };
    let db = if db > -FARTHEST_DB { db } else { -FARTHEST_DB };
    let octaves = db * PER_OCTAVE;
    let half = if octaves < 0.0 { -0.5 } else { 0.5 };
    let whole = (octaves + half) as i32;
    let x = (octaves - whole as f32) * core::f32::consts::LN_2;
    let tail = 1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0));
    let exp = 1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x * tail)));
    exp * f32::from_bits((whole.wrapping_add(127) as u32) << 23)
}

/// The louder side of a frame: channels are linked.
#[inline]
pub fn peak(frame: Frame) -> f32 {
    let [left, right] = frame.map(|sample| if sample < 0.0 { -sample } else { sample });
    if left > right { left } else { right }
}

/// The weight of the new value in a one-pole average whose time constant is so many samples.
pub fn smoothing(samples: f32) -> f32 {
    if samples > 0.0 {
        1.0 - libm::expf(-1.0 / samples)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_within_a_thousandth_of_a_decibel() {
        for tenth in -1390..=600 {
            let db = f64::from(tenth) * 0.1;
            let linear = libm::pow(10.0, db / 20.0);
            let there = f64::from(from_linear(linear as f32));
            assert!((there - db).abs() < 5e-4, "{db} dB came out as {there}");
            let back = f64::from(to_linear(db as f32));
            let off = 20.0 * libm::log10(back / linear);
            assert!(off.abs() < 5e-4, "{db} dB is off by {off} dB");
        }
        assert_eq!(to_linear(0.0), 1.0);
        assert_eq!(from_linear(1.0), 0.0);
        assert!((from_linear(0.0) - SILENCE_DB).abs() < 1e-3);
        assert!((from_linear(f32::NAN) - SILENCE_DB).abs() < 1e-3);
        assert!(to_linear(f32::NAN).is_finite() && to_linear(1e30).is_finite());
    }
}
