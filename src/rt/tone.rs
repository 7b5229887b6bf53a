//! A test tone of one track: a sine that comes and goes softly. By a rotating phasor, so that it is the
//! same on every machine and at any block size.

use crate::Frame;
use crate::ramp::Ramp;

/// It fades in, and out, within so many ms.
const FADE_MS: u32 = 50;
/// The lowest frequency that is taken, in Hz.
const FREQ_MIN_HZ: f32 = 1.0;

/// See the module.
#[derive(Clone, Copy)]
pub struct Tone {
    /// Cosine and sine of the phase, and of its step a frame.
    phase: [f64; 2],
    step: [f64; 2],
    level: Ramp,
    /// Frames until it begins to fade out.
    left: u32,
    fade: u32,
}

impl Tone {
    /// None.
    pub const fn silent() -> Tone {
        Tone {
            phase: [1.0, 0.0],
            step: [1.0, 0.0],
            level: Ramp::new(0.0),
            left: 0,
            fade: 0,
        }
    }

    /// Begins, or becomes another one; over after `frames`, fades included. 0 ends it. What cannot be
    /// played is ignored.
    pub fn begin(&mut self, freq_hz: f32, level: f32, frames: u32, rate_hz: u32) {
        let rate = rate_hz as f32;
        let is_sound = (FREQ_MIN_HZ..0.5 * rate).contains(&freq_hz) && (0.0..=1.0).contains(&level);
        self.fade = rate_hz / 1000 * FADE_MS;
        if !is_sound || frames == 0 {
            self.left = 0;
            self.level.go(0.0, self.fade);
            return;
        }
        if self.level.rests_at(0.0) {
            self.phase = [1.0, 0.0];
        }
        let turn = core::f32::consts::TAU * (freq_hz / rate);
        let (cos, sin) = (f64::from(libm::cosf(turn)), f64::from(libm::sinf(turn)));
        // Exactly of length 1, or a minute of it would become louder.
        let length = libm::sqrt(cos * cos + sin * sin);
        self.step = [cos / length, sin / length];
        self.level.go(level, self.fade);
        self.left = frames.saturating_sub(self.fade).max(1);
    }

    /// Whether there is anything to add.
    pub fn is_on(&self) -> bool {
        self.left > 0 || !self.level.rests_at(0.0)
    }

    /// Adds it. Realtime thread.
    pub fn add(&mut self, frames: &mut [Frame]) {
        for frame in frames {
            let sample = self.level.tick() * self.phase[1] as f32;
            *frame = frame.map(|sound| sound + sample);
            let ([cos, sin], [c, s]) = (self.phase, self.step);
            self.phase = [cos * c - sin * s, sin * c + cos * s];
            if self.left > 0 {
                self.left -= 1;
                if self.left == 0 {
                    self.level.go(0.0, self.fade);
                }
            }
        }
    }
}
