//! A second-order state-variable filter for two channels, trapezoidal and safe to modulate.
//!
//! A. Simper, "Linear Trapezoidal Integrated State Variable Filter With Low Noise Optimisation"
//! (Cytomic, 2013); the same transfer functions as the bilinear ones of R. Bristow-Johnson's
//! cookbook. Coefficients move linearly within a grid cell, so that sweeps leave no steps.

use crate::{Frame, GRID};

/// Below this, state is as good as silence (−300 dB); denormals never come near.
const SILENCE: f32 = 1e-15;

/// What a filter does at one frequency.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coefficients {
    a1: f32,
    a2: f32,
    a3: f32,
}

impl Coefficients {
    /// `k` is 1/Q.
    pub fn new(freq_hz: f32, k: f32, rate_hz: f32) -> Coefficients {
        Coefficients::of_warped(warped(freq_hz, rate_hz), k)
    }

    /// From a frequency that [`warped`] has made, and 1/Q.
    pub fn of_warped(g: f32, k: f32) -> Coefficients {
        let a1 = 1.0 / (1.0 + g * (g + k));
        Coefficients {
            a1,
            a2: g * a1,
            a3: g * g * a1,
        }
    }
}

/// The analogue frequency that the bilinear transform takes to `freq_hz`, over twice the rate.
pub fn warped(freq_hz: f32, rate_hz: f32) -> f32 {
    // Up to just below the Nyquist frequency, where the tangent ends.
    let ratio = freq_hz / rate_hz;
    let ratio = if ratio < 0.49 { ratio } else { 0.49 };
    libm::tanf(core::f32::consts::PI * ratio)
}

/// The three outputs for one frame.
pub struct Outputs {
    /// Low-pass.
    pub low: Frame,
    /// Band-pass.
    pub band: Frame,
    /// High-pass.
    pub high: Frame,
}

/// One filter.
#[derive(Clone, Copy, Debug)]
pub struct Svf {
    k: f32,
    now: Coefficients,
    step: Coefficients,
    goal: Coefficients,
    s1: Frame,
    s2: Frame,
}

impl Svf {
    /// A filter with 1/Q that passes nothing until it has coefficients.
    pub const fn new(k: f32) -> Svf {
        let none = Coefficients {
            a1: 0.0,
            a2: 0.0,
            a3: 0.0,
        };
        Svf {
            k,
            now: none,
            step: none,
            goal: none,
            s1: [0.0; 2],
            s2: [0.0; 2],
        }
    }

    /// 1/Q.
    pub const fn k(&self) -> f32 {
        self.k
    }

    /// Has these coefficients at once.
    pub fn snap(&mut self, goal: Coefficients) {
        self.now = goal;
        self.goal = goal;
        self.step = Coefficients::default();
    }

    /// On the grid: will have these coefficients at the end of the cell.
    pub fn glide(&mut self, goal: Coefficients) {
        let per = 1.0 / GRID as f32;
        self.now = self.goal;
        self.goal = goal;
        self.step = Coefficients {
            a1: (goal.a1 - self.now.a1) * per,
            a2: (goal.a2 - self.now.a2) * per,
            a3: (goal.a3 - self.now.a3) * per,
        };
    }

    /// Whether its coefficients rest where they were sent.
    pub fn is_at_goal(&self) -> bool {
        self.step == Coefficients::default()
    }

    /// On the grid: state that has decayed is silence.
    pub fn flush(&mut self) {
        for state in self.s1.iter_mut().chain(&mut self.s2) {
            if !(*state > SILENCE || *state < -SILENCE) {
                *state = 0.0;
            }
        }
    }

    /// Forgets the past.
    pub fn reset(&mut self) {
        self.s1 = [0.0; 2];
        self.s2 = [0.0; 2];
    }

    /// One frame.
    #[inline]
    pub fn tick(&mut self, input: Frame) -> Outputs {
        let Coefficients { a1, a2, a3 } = self.now;
        self.now.a1 += self.step.a1;
        self.now.a2 += self.step.a2;
        self.now.a3 += self.step.a3;
        let mut out = Outputs {
            low: [0.0; 2],
            band: [0.0; 2],
            high: [0.0; 2],
        };
        for side in 0..2 {
            let v3 = input[side] - self.s2[side];
            let v1 = a1 * self.s1[side] + a2 * v3;
            let v2 = self.s2[side] + a2 * self.s1[side] + a3 * v3;
            self.s1[side] = 2.0 * v1 - self.s1[side];
            self.s2[side] = 2.0 * v2 - self.s2[side];
            out.low[side] = v2;
            out.band[side] = v1;
            out.high[side] = input[side] - self.k * v1 - v2;
        }
        out
    }
}
