//! One notch: comes in without a click, goes deeper while its howl persists, and leaves when its time
//! is over.

use crate::ramp::Ramp;
use crate::section::{Section, Shape};
use crate::{Frame, GRID};

/// A notch comes, and goes deeper, within so many ms.
const COME_MS: f32 = 8.0;
/// And goes within so many.
const GO_MS: f32 = 400.0;

/// What waits to be seen: has the howl become weaker?
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watch {
    /// As it was, in dB.
    pub level_db: f32,
    /// Spectra since.
    pub spectra: u32,
}

/// See the module.
pub struct Notch {
    section: Section,
    freq_hz: f32,
    rate_hz: f32,
    /// In dB, 0 and more, once a grid cell.
    depth: Ramp,
    is_leaving: bool,
    /// Grid cells until it leaves.
    pub rest: u32,
    /// Whether its howl may still be there.
    pub watch: Option<Watch>,
    /// What was reported last of frequency and depth.
    told: (f32, f32),
}

/// Grid cells in so many ms.
pub fn cells(ms: f32, rate_hz: f32) -> u32 {
    (ms * 0.001 * rate_hz / GRID as f32) as u32 + 1
}

impl Notch {
    /// One that is not there.
    pub const fn new(rate_hz: f32) -> Notch {
        Notch {
            section: Section::new(Shape::Peak),
            freq_hz: 0.0,
            rate_hz,
            depth: Ramp::new(0.0),
            is_leaving: false,
            rest: 0,
            watch: None,
            told: (0.0, 0.0),
        }
    }

    /// Whether it changes nothing.
    pub fn is_free(&self) -> bool {
        self.depth.rests_at(0.0) && self.section.is_at_goal()
    }

    /// Whether it is to stay.
    pub fn is_held(&self) -> bool {
        !self.is_free() && !self.is_leaving
    }

    /// Its middle, in Hz.
    pub fn freq_hz(&self) -> f32 {
        self.freq_hz
    }

    /// Where its depth goes, in dB.
    pub fn depth_db(&self) -> f32 {
        self.depth.target()
    }

    /// Is put somewhere, and changes nothing yet.
    pub fn place(&mut self, freq_hz: f32) {
        self.freq_hz = freq_hz;
        self.depth.snap(0.0);
        self.section.reset();
        self.section.snap(freq_hz, 0.0, 1.0, self.rate_hz);
        self.told = (freq_hz, 0.0);
    }

    /// Goes to a depth in dB, and stays.
    pub fn deepen(&mut self, depth_db: f32) {
        self.is_leaving = false;
        self.depth.go(depth_db, cells(COME_MS, self.rate_hz));
    }

    /// Leaves, slowly or (`at_once`) as fast as it came.
    pub fn leave(&mut self, at_once: bool) {
        self.watch = None;
        if self.is_held() || (at_once && !self.is_free()) {
            let ms = if at_once { COME_MS } else { GO_MS };
            self.is_leaving = true;
            self.depth.go(0.0, cells(ms, self.rate_hz));
        }
    }

    /// Frequency and depth, when they are not what was told last. While it leaves it is still there.
    pub fn take_news(&mut self) -> Option<(f32, f32)> {
        let depth_db = if self.is_leaving && !self.is_free() {
            self.told.1
        } else {
            self.depth.target()
        };
        let news = (self.freq_hz, depth_db);
        (news != self.told).then(|| {
            self.told = news;
            news
        })
    }

    /// On the grid; `width` is in octaves between the points of half its depth in dB.
    pub fn on_grid(&mut self, width: f32, width_moves: bool) {
        self.section.flush();
        if self.depth.is_still() && self.section.is_at_goal() && !width_moves {
            return;
        }
        // R. Bristow-Johnson's cookbook: the bilinear transform narrows what is high up.
        let turn = core::f32::consts::TAU * self.freq_hz / self.rate_hz;
        let octaves = core::f32::consts::LN_2 * 0.5 * width * turn / libm::sinf(turn);
        let q = 0.5 / libm::sinhf(octaves);
        let depth_db = self.depth.tick();
        self.section.glide(self.freq_hz, -depth_db, q, self.rate_hz);
    }

    /// Computes a span in place.
    pub fn process(&mut self, frames: &mut [Frame]) {
        if !self.is_free() {
            for frame in frames {
                *frame = self.section.tick(*frame);
            }
        }
    }
}
