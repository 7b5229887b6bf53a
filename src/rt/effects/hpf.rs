//! `hpf`: Butterworth high-pass, 12 or 24 dB an octave. No latency.
//!
//! One state-variable filter with Q 1/√2, or two with the Qs of a fourth-order Butterworth
//! (S. Butterworth 1930; pole angles π/8 and 3π/8). The slopes are two paths that are crossfaded.

use super::Context;
use crate::Frame;
use crate::effect::{Param, Scale, linear, log};
use crate::ramp::Ramp;
use crate::svf::{Coefficients, Svf};

/// Its parameters.
pub const PARAMS: [Param; 2] = [
    log("freq", "Frequency", 20.0, 500.0, 90.0, "Hz"),
    Param {
        step: Some(12.0),
        scale: Scale::Linear,
        ..linear("slope", "Slope", 12.0, 24.0, 12.0, "dB/oct")
    },
];

/// 1/Q of the second-order filter: √2.
const K_GENTLE: f32 = core::f32::consts::SQRT_2;
/// 1/Q of the fourth-order filter's halves: 2·cos(π/8) and 2·cos(3π/8).
const K_STEEP: [f32; 2] = [1.847_759_1, 0.765_366_9];

/// See the module.
pub struct Hpf {
    rate_hz: f32,
    freq: Ramp,
    /// 0: gentle, 1: steep.
    steepness: Ramp,
    gentle: Svf,
    steep: [Svf; 2],
    gentle_runs: bool,
    steep_runs: bool,
}

impl Hpf {
    /// At its defaults.
    pub fn new(rate_hz: u32) -> Hpf {
        let mut hpf = Hpf {
            rate_hz: rate_hz as f32,
            freq: Ramp::new(90.0),
            steepness: Ramp::new(0.0),
            gentle: Svf::new(K_GENTLE),
            steep: K_STEEP.map(Svf::new),
            gentle_runs: true,
            steep_runs: false,
        };
        hpf.snap();
        hpf
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        match param {
            0 => {
                self.freq.go(value, samples);
                if samples == 0 {
                    self.snap();
                }
            }
            1 => {
                self.steepness
                    .go(if value > 18.0 { 1.0 } else { 0.0 }, samples);
                self.gentle_runs = true;
                self.steep_runs = true;
            }
            _ => {}
        }
    }

    fn filters(&mut self) -> impl Iterator<Item = &mut Svf> {
        core::iter::once(&mut self.gentle).chain(&mut self.steep)
    }

    fn snap(&mut self) {
        let (freq, rate) = (self.freq.value(), self.rate_hz);
        self.filters()
            .for_each(|svf| svf.snap(Coefficients::new(freq, svf.k(), rate)));
    }

    fn on_grid(&mut self) {
        // A path that is not heard rests, and begins anew when it is wanted again.
        self.gentle_runs = !self.steepness.rests_at(1.0);
        self.steep_runs = !self.steepness.rests_at(0.0);
        if !self.gentle_runs {
            self.gentle.reset();
        }
        if !self.steep_runs {
            self.steep.iter_mut().for_each(Svf::reset);
        }
        let moves = !self.freq.is_still();
        let mut ahead = self.freq;
        let freq = ahead.skip(crate::GRID);
        let rate = self.rate_hz;
        self.filters().for_each(|svf| {
            svf.flush();
            if moves || !svf.is_at_goal() {
                svf.glide(Coefficients::new(freq, svf.k(), rate));
            }
        });
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: &Context<'_>) {
        if context.on_grid {
            self.on_grid();
        }
        self.freq.skip(frames.len());
        for frame in frames {
            let steepness = self.steepness.tick();
            let input = *frame;
            let gentle = if self.gentle_runs {
                self.gentle.tick(input).high
            } else {
                [0.0; 2]
            };
            let mut steep = [0.0; 2];
            if self.steep_runs {
                steep = input;
                for svf in &mut self.steep {
                    steep = svf.tick(steep).high;
                }
            }
            for side in 0..2 {
                frame[side] = gentle[side] * (1.0 - steepness) + steep[side] * steepness;
            }
        }
    }
}
