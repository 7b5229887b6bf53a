//! `limiter`: look-ahead true-peak limiter. Latency: [`latency_frames`], at most 2 ms.
//!
//! Peaks between samples are found by 8× oversampling with a polyphase FIR, as in ITU-R BS.1770-5
//! Annex 2 (there 4× and 12 taps; here up to 64, so that nothing is missed up to 20 kHz). The gain
//! that each peak needs is held by a sliding minimum over the look-ahead (D. Lemire 2006, monotonic
//! deque), released exponentially and smoothed by a moving average of the same length: so the gain is
//! in full effect when the peak comes out, and has no corners. The average is a sum of integers, which
//! cannot drift. Channels are linked.
//!
//! Below the ceiling the gain is exactly 1: what comes out is what went in, later.

use super::Context;
use crate::effect::{Param, linear};
use crate::ramp::Ramp;
use crate::{Frame, GRID};

/// Its parameters.
pub const PARAMS: [Param; 2] = [
    linear("ceiling_db", "Ceiling", -12.0, 0.0, -1.0, "dBTP"),
    linear("release_ms", "Release", 10.0, 1000.0, 80.0, "ms"),
];

/// Taps of each phase, at most.
const TAPS: usize = 64;
/// Phases between two samples, the samples themselves included.
const PHASES: usize = 8;
/// Phases that are computed; the others mirror them.
const HALF: usize = PHASES / 2;
/// For what the moving gain adds between samples, and for what 64 taps and 8 phases miss.
const MARGIN: f32 = 0.985;
/// 1.0 in the moving average's integers.
const ONE: i64 = 1 << 30;

/// The oversampling filter: a Kaiser-windowed sinc.
///
/// The taps at equal distances from the middle share their weights, the other way round: phase p of
/// the one is phase 8 − p of the other. So from a pair's sum and difference come both phases at once.
pub struct TruePeak {
    /// From the outermost pair to the middle: weights of the sum and of the difference.
    pairs: [[[f32; HALF]; 2]; TAPS / 2],
    detection: usize,
}

impl TruePeak {
    /// Computes it. Control side.
    pub fn new(rate_hz: u32) -> TruePeak {
        let detection = detection(rate_hz);
        let half = detection as f64;
        let weight = |x: f64| {
            let ratio = 1.0 - (x / half) * (x / half);
            let window = if ratio > 0.0 {
                bessel(BETA * libm::sqrt(ratio)) / bessel(BETA)
            } else {
                0.0
            };
            let arc = core::f64::consts::PI * x;
            let sinc = if x == 0.0 { 1.0 } else { libm::sin(arc) / arc };
            sinc * window
        };
        let mut pairs = [[[0.0; HALF]; 2]; TAPS / 2];
        for (tap, [sums, differences]) in pairs.iter_mut().enumerate().take(detection) {
            // Distance of this tap's sample from the earlier of the two middle ones.
            let distance = tap as f64 - (half - 1.0);
            for (index, (sum, difference)) in sums.iter_mut().zip(differences).enumerate() {
                let part = (index + 1) as f64 / PHASES as f64;
                let (one, other) = (weight(distance - part), weight(distance - 1.0 + part));
                *sum = (0.5 * (one + other)) as f32;
                *difference = (0.5 * (one - other)) as f32;
            }
        }
        TruePeak { pairs, detection }
    }

    /// The highest absolute value between the two middle samples of the filter's frames, which are the
    /// newest of `window`.
    #[inline]
    fn peak(&self, window: &[Frame]) -> f32 {
        let unused = TAPS - 2 * self.detection;
        let frames = window.get(unused..).unwrap_or_default();
        let mut sums = [[0.0f32; HALF]; 4];
        let ends = frames.iter().zip(frames.iter().rev());
        for ((weights, (early, late)), _) in self.pairs.iter().zip(ends).zip(0..self.detection) {
            let values = [
                early[0] + late[0],
                early[1] + late[1],
                early[0] - late[0],
                early[1] - late[1],
            ];
            for lane in 0..4 {
                for phase in 0..HALF {
                    sums[lane][phase] += weights[lane / 2][phase] * values[lane];
                }
            }
        }
        let mut peak = 0.0;
        let mut take = |value: f32| {
            let value = if value < 0.0 { -value } else { value };
            peak = if value > peak { value } else { peak };
        };
        if let Some(middle) = frames.get(self.detection - 1) {
            middle.iter().for_each(|sample| take(*sample));
        }
        for side in 0..2 {
            for phase in 0..HALF {
                take(sums[side][phase] + sums[side + 2][phase]);
                take(sums[side][phase] - sums[side + 2][phase]);
            }
        }
        peak
    }
}

/// Shape of the Kaiser window.
const BETA: f64 = 4.0;

/// The modified Bessel function of order 0, by its series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..30 {
        let half = x / (2.0 * f64::from(n));
        term *= half * half;
        sum += term;
    }
    sum
}

/// A peak is known so many frames after it came: half of the taps, and a third of 2 ms at most.
fn detection(rate_hz: u32) -> usize {
    (rate_hz as usize / 1500).clamp(1, TAPS / 2)
}

fn decibels(db: f32) -> f32 {
    libm::powf(10.0, db / 20.0)
}

/// Frames of look-ahead at a rate: 1.5 ms, and never so much that detection brings it over 2 ms.
fn window(rate_hz: u32) -> usize {
    let most = (rate_hz as usize / 500)
        .saturating_sub(detection(rate_hz))
        .max(1);
    (rate_hz as usize * 3 / 2000).clamp(1, most)
}

/// Frames that it delays.
pub fn latency_frames(rate_hz: u32) -> usize {
    window(rate_hz) - 1 + detection(rate_hz)
}

/// Samples of delay memory: the delayed frames, and for each frame of the window a place in the
/// deque (value and number) and in the average.
pub fn memory(rate_hz: u32) -> usize {
    2 * (latency_frames(rate_hz) + 1) + 3 * window(rate_hz)
}

/// See the module.
pub struct Limiter {
    rate_hz: f32,
    window: usize,
    delay: usize,
    ceiling_db: Ramp,
    ceiling: f32,
    release_ms: Ramp,
    release: f32,
    moves: bool,
    /// Nothing is louder. While the ceiling moves, the higher of its ends: what is under way was
    /// measured against an earlier ceiling, and must not be cut by a later one.
    last_resort: f32,
    /// Grid cells until all that is under way was measured against the present ceiling.
    settling: usize,
    /// The newest frames, for detection.
    recent: [Frame; TAPS - 1],
    delay_at: usize,
    /// The deque's first entry and its length; `count` numbers the frames modulo 2²².
    first: usize,
    len: usize,
    count: u32,
    /// 1 − gain: near unity a gain of its own would stop short of it.
    deficit: f32,
    average_at: usize,
    /// Of the deficits `ONE − gain`, so that memory of zeros means unity.
    deficits: i64,
    least: f32,
}

/// Frame numbers in the deque are small enough to be exact in an f32.
const COUNT_MASK: u32 = (1 << 22) - 1;

impl Limiter {
    /// At its defaults.
    pub fn new(rate_hz: u32) -> Limiter {
        let mut limiter = Limiter {
            rate_hz: rate_hz as f32,
            window: window(rate_hz),
            delay: latency_frames(rate_hz) + 1,
            ceiling_db: Ramp::new(-1.0),
            ceiling: 1.0,
            release_ms: Ramp::new(80.0),
            release: 0.0,
            moves: false,
            last_resort: 1.0,
            settling: 0,
            recent: [[0.0; 2]; TAPS - 1],
            delay_at: 0,
            first: 0,
            len: 0,
            count: 0,
            deficit: 0.0,
            average_at: 0,
            deficits: 0,
            least: 1.0,
        };
        limiter.compute();
        limiter.last_resort = limiter.ceiling;
        limiter
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        match param {
            0 => {
                self.ceiling_db.go(value, samples);
                let goal = decibels(value);
                self.last_resort = if goal > self.last_resort {
                    goal
                } else {
                    self.last_resort
                };
            }
            1 => self.release_ms.go(value, samples),
            _ => return,
        }
        self.moves = true;
        self.settling = self.delay / GRID + 2;
        if samples == 0 {
            self.compute();
            self.last_resort = self.ceiling;
        }
    }

    /// See [`super::Effect::take_reduction`].
    pub fn take_reduction(&mut self) -> f32 {
        core::mem::replace(&mut self.least, 1.0)
    }

    fn compute(&mut self) {
        self.ceiling = decibels(self.ceiling_db.value());
        let samples = self.release_ms.value() * 0.001 * self.rate_hz;
        self.release = 1.0 - libm::expf(-1.0 / samples);
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: Context<'_>) {
        if context.on_grid && self.moves {
            self.compute();
            if self.ceiling_db.is_still() && self.release_ms.is_still() {
                self.settling = self.settling.saturating_sub(1);
            }
            if self.settling == 0 {
                self.moves = false;
                self.last_resort = self.ceiling;
            }
        }
        self.ceiling_db.skip(frames.len());
        self.release_ms.skip(frames.len());
        let mut seen = [[0.0; 2]; TAPS - 1 + GRID];
        let (old, new) = seen.split_at_mut(TAPS - 1);
        old.copy_from_slice(&self.recent);
        for (to, from) in new.iter_mut().zip(frames.iter()) {
            *to = *from;
        }
        let (delay, rest) = context
            .memory
            .split_at_mut_checked(2 * self.delay)
            .unwrap_or_default();
        let (deque, average) = rest
            .split_at_mut_checked(2 * self.window)
            .unwrap_or_default();
        for (frame, window) in frames.iter_mut().zip(seen.windows(TAPS)) {
            let peak = context.tables.true_peak.peak(window);
            let needed = if peak * MARGIN_INVERSE > self.ceiling {
                self.ceiling * MARGIN / peak
            } else {
                1.0
            };
            let needed = 1.0 - self.slide(deque, needed);
            if needed > self.deficit {
                self.deficit = needed;
            } else {
                self.deficit += (needed - self.deficit) * self.release;
                if self.deficit < ALMOST_NOTHING && needed == 0.0 {
                    self.deficit = 0.0;
                }
            }
            let gain = self.smooth(average);
            if gain < self.least {
                self.least = gain;
            }
            let late = self.delayed(delay, *frame);
            for side in 0..2 {
                let sample = late[side] * gain;
                // Only ever touches what rounding left above the ceiling.
                let sample = if sample > self.last_resort {
                    self.last_resort
                } else {
                    sample
                };
                frame[side] = if sample < -self.last_resort {
                    -self.last_resort
                } else {
                    sample
                };
            }
        }
        let used = frames.len();
        for (index, to) in self.recent.iter_mut().enumerate() {
            *to = seen.get(used + index).copied().unwrap_or_default();
        }
    }

    /// The least of the last `window` values. The deque holds pairs of value and frame number,
    /// values rising from its first to its last entry.
    fn slide(&mut self, deque: &mut [f32], value: f32) -> f32 {
        let places = self.window;
        let at = |index: usize| {
            if index >= places {
                index - places
            } else {
                index
            }
        };
        while self.len > 0 {
            let last = 2 * at(self.first + self.len - 1);
            if deque.get(last).is_some_and(|held| *held < value) {
                break;
            }
            self.len -= 1;
        }
        if self.len > 0 {
            let number = deque.get(2 * self.first + 1).copied().unwrap_or(0.0) as u32;
            if self.count.wrapping_sub(number) & COUNT_MASK >= places as u32 {
                self.first = at(self.first + 1);
                self.len -= 1;
            }
        }
        let place = 2 * at(self.first + self.len);
        if let Some([held, number]) = deque.get_mut(place..place + 2) {
            (*held, *number) = (value, self.count as f32);
        }
        self.len += 1;
        self.count = (self.count + 1) & COUNT_MASK;
        deque.get(2 * self.first).copied().unwrap_or(1.0)
    }

    /// The moving average of the deficit, as a gain.
    fn smooth(&mut self, average: &mut [f32]) -> f32 {
        // Deficits are kept as the bits of integers: memory is made of f32.
        let deficit = (f64::from(self.deficit) * ONE as f64) as i64;
        if let Some(place) = average.get_mut(self.average_at) {
            self.deficits += deficit - i64::from(place.to_bits());
            *place = f32::from_bits(deficit as u32);
        }
        self.average_at = if self.average_at + 1 >= self.window {
            0
        } else {
            self.average_at + 1
        };
        if self.deficits == 0 {
            return 1.0;
        }
        let whole = self.window as i64 * ONE;
        ((whole - self.deficits) as f64 / whole as f64) as f32
    }

    /// The frame of `delay − 1` frames ago.
    fn delayed(&mut self, delay: &mut [f32], frame: Frame) -> Frame {
        let at = 2 * self.delay_at;
        if let Some([left, right]) = delay.get_mut(at..at + 2) {
            (*left, *right) = (frame[0], frame[1]);
        }
        self.delay_at = if self.delay_at + 1 >= self.delay {
            0
        } else {
            self.delay_at + 1
        };
        let at = 2 * self.delay_at;
        match delay.get(at..at + 2) {
            Some([left, right]) => [*left, *right],
            _ => frame,
        }
    }
}

/// 1/[`MARGIN`].
const MARGIN_INVERSE: f32 = 1.0 / MARGIN;
/// From here on the release is over.
const ALMOST_NOTHING: f32 = 1e-5;
