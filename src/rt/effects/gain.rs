//! `gain`: a linear factor. No latency.

use crate::Frame;
use crate::effect::{Param, linear};
use crate::ramp::Ramp;

/// Its parameters.
pub const PARAMS: [Param; 1] = [linear("volume", "Volume", 0.0, 4.0, 1.0, "")];

/// See the module.
pub struct Gain {
    volume: Ramp,
}

impl Gain {
    /// At unity.
    pub fn new() -> Gain {
        Gain {
            volume: Ramp::new(1.0),
        }
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        if param == 0 {
            self.volume.go(value, samples);
        }
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame]) {
        for frame in frames {
            let volume = self.volume.tick();
            *frame = frame.map(|sample| sample * volume);
        }
    }
}

impl Default for Gain {
    fn default() -> Self {
        Gain::new()
    }
}
