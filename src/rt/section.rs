//! A section of an equaliser, safe to sweep: a state-variable filter and how its outputs are mixed.
//!
//! The transfer functions are those of R. Bristow-Johnson's "Cookbook formulae for audio EQ biquad
//! filter coefficients" (peaking, and shelves with slope 1), in the mixing forms of A. Simper,
//! "Solving the continuous SVF equations using trapezoidal integration" (Cytomic, 2013). The
//! mixture moves linearly within a grid cell together with the coefficients.

use crate::svf::{Coefficients, Svf, warped};
use crate::{Frame, GRID};

/// 1/Q of a shelf with slope 1.
const K_SHELF: f32 = core::f32::consts::SQRT_2;

/// What a section does to the spectrum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Raises or lowers what is below the frequency.
    LowShelf,
    /// Raises or lowers what is around the frequency.
    Peak,
    /// Raises or lowers what is above the frequency.
    HighShelf,
}

/// How much of the input, the band-pass and the low-pass comes out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mix {
    input: f32,
    band: f32,
    low: f32,
}

const UNITY: Mix = Mix {
    input: 1.0,
    band: 0.0,
    low: 0.0,
};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    shape: Shape,
    svf: Svf,
    now: Mix,
    step: Mix,
    goal: Mix,
}

impl Section {
    /// A section that changes nothing yet.
    pub const fn new(shape: Shape) -> Section {
        Section {
            shape,
            svf: Svf::new(K_SHELF),
            now: UNITY,
            step: Mix {
                input: 0.0,
                band: 0.0,
                low: 0.0,
            },
            goal: UNITY,
        }
    }

    /// `gain` is the section's gain in dB; `q` concerns peaks only.
    fn design(&self, freq_hz: f32, gain_db: f32, q: f32, rate_hz: f32) -> (Coefficients, Mix) {
        let g = warped(freq_hz, rate_hz);
        // √gain, and its root.
        let a = libm::exp2f(gain_db * (1.0 / (40.0 * core::f32::consts::LOG10_2)));
        let root = libm::sqrtf(a);
        match self.shape {
            Shape::LowShelf => (
                Coefficients::of_warped(g / root, K_SHELF),
                Mix {
                    input: 1.0,
                    band: K_SHELF * (a - 1.0),
                    low: a * a - 1.0,
                },
            ),
            Shape::Peak => {
                let k = 1.0 / (q * a);
                (
                    Coefficients::of_warped(g, k),
                    Mix {
                        input: 1.0,
                        band: k * (a * a - 1.0),
                        low: 0.0,
                    },
                )
            }
            Shape::HighShelf => (
                Coefficients::of_warped(g * root, K_SHELF),
                Mix {
                    input: a * a,
                    band: K_SHELF * (1.0 - a) * a,
                    low: 1.0 - a * a,
                },
            ),
        }
    }

    /// Is so at once.
    pub fn snap(&mut self, freq_hz: f32, gain_db: f32, q: f32, rate_hz: f32) {
        let (coefficients, mix) = self.design(freq_hz, gain_db, q, rate_hz);
        self.svf.snap(coefficients);
        self.now = mix;
        self.goal = mix;
        self.step = Mix::default();
    }

    /// On the grid: will be so at the end of the cell.
    pub fn glide(&mut self, freq_hz: f32, gain_db: f32, q: f32, rate_hz: f32) {
        let (coefficients, mix) = self.design(freq_hz, gain_db, q, rate_hz);
        self.svf.glide(coefficients);
        let per = 1.0 / GRID as f32;
        self.now = self.goal;
        self.goal = mix;
        self.step = Mix {
            input: (mix.input - self.now.input) * per,
            band: (mix.band - self.now.band) * per,
            low: (mix.low - self.now.low) * per,
        };
    }

    /// Whether it rests where it was sent.
    pub fn is_at_goal(&self) -> bool {
        self.step == Mix::default() && self.svf.is_at_goal()
    }

    /// On the grid: state that has decayed is silence.
    pub fn flush(&mut self) {
        self.svf.flush();
    }

    /// Forgets the past, which it may while it changes nothing.
    pub fn reset(&mut self) {
        self.svf.reset();
    }

    /// One frame.
    #[inline]
    pub fn tick(&mut self, frame: Frame) -> Frame {
        let outputs = self.svf.tick(frame);
        let Mix { input, band, low } = self.now;
        self.now.input += self.step.input;
        self.now.band += self.step.band;
        self.now.low += self.step.low;
        let mut out = [0.0; 2];
        for side in 0..2 {
            out[side] = input * frame[side] + band * outputs.band[side] + low * outputs.low[side];
        }
        out
    }
}
