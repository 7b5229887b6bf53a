//! `limiter`: look-ahead true-peak limiter. Latency: [`latency_frames`], at most 2 ms.
//!
//! Peaks between samples are found by 8× oversampling, as in ITU-R BS.1770-5 Annex 2 (there 4×): first
//! the middle between two samples, by up to 60 taps, so that nothing is missed up to 20 kHz; then from
//! this doubled signal, in which nothing is high any more, three points in each gap, by 8 taps. Both are
//! Kaiser-windowed sincs. Where samples are so small that no filter of these weights could bring them to
//! the ceiling, nothing is computed: the outcome is known.
//!
//! The gain that each peak needs is held by a sliding maximum of its deficit over the look-ahead (M. van
//! Herk 1992), released exponentially and smoothed by a moving average of the same length: so the gain is
//! in full effect when the peak comes out, and has no corners. The average is a sum of integers, which
//! cannot drift. Channels are linked.
//!
//! Below the ceiling the gain is exactly 1: what comes out is what went in, later. Peaks are held
//! [`MARGIN`] (0.23 dB) below it. What adds up over more samples than the filter has may
//! still exceed it: signs that all add up over 80 samples at 44.1 kHz, by 0.18 dB.

use super::Context;
use crate::effect::{Param, linear};
use crate::ramp::Ramp;
use crate::{Frame, GRID};

/// Its parameters.
pub const PARAMS: [Param; 2] = [
    linear("ceiling_db", "Ceiling", -12.0, 0.0, -1.0, "dBTP"),
    linear("release_ms", "Release", 10.0, 1000.0, 80.0, "ms"),
];

/// Samples to each side of a middle, at most.
const REACH: usize = 30;
/// Points of the doubled signal to each side of a gap.
const NEAR: usize = 4;
/// Frames that [`NEAR`] are.
const NEAR_FRAMES: usize = NEAR / 2;
/// Frames before a span that its peaks depend on, at most.
const PAST: usize = 2 * REACH - 1 + NEAR;
/// Middles that a span needs: its own, and some before.
const MIDDLES: usize = GRID + NEAR;
/// Frames, and middles, that are computed at once.
const PART: usize = 12;
/// Shapes of the Kaiser windows: of the middles' filter, whose edge must be steep, and of the gaps', which
/// must be clean.
const BETA: f64 = 2.5;
const BETA_NEAR: f64 = 5.0;
/// Peaks are held so far below the ceiling, linear: for what the moving gain adds between samples, for
/// what eight points miss, and for what other meters see that have shorter filters.
pub const MARGIN: f32 = 0.974;
/// 1.0 in the moving average's integers.
const ONE: i64 = 1 << 30;
/// Of the bounds, for rounding.
const ROUNDED: f32 = 1.001;

/// The oversampling filters.
pub struct TruePeak {
    reach: usize,
    /// Weights of a middle's neighbours, from the nearest pair outwards.
    middle: [f32; REACH],
    /// Weights of a gap's neighbours, from the nearest pair outwards: of the sum for the point in the
    /// middle, of the sum and of the difference for the points at a quarter and at three.
    gap: [[f32; 3]; NEAR],
    /// A middle is at most so many times as high as the samples; a point in a gap, as the doubled signal.
    bounds: [f32; 2],
}

impl TruePeak {
    /// Computes them. Control side.
    pub fn new(rate_hz: u32) -> TruePeak {
        let reach = detection(rate_hz) - NEAR_FRAMES;
        let mut middle = [0.0; REACH];
        let mut sum = 0.0;
        for index in 0..reach {
            sum += 2.0 * sinc(index as f64 + 0.5, reach as f64, BETA);
        }
        let mut bounds = [1.0f32; 2];
        let mut size = 0.0;
        for (index, weight) in middle.iter_mut().enumerate().take(reach) {
            *weight = (sinc(index as f64 + 0.5, reach as f64, BETA) / sum) as f32;
            size += 2.0 * weight.abs();
        }
        bounds[0] = if size > 1.0 { size * ROUNDED } else { ROUNDED };
        let mut gap = [[0.0; 3]; NEAR];
        let pair = |index: usize, part: f64| {
            [part, 1.0 - part].map(|part| sinc(index as f64 + part, NEAR as f64, BETA_NEAR))
        };
        for (part, at) in [(0.5, 0), (0.25, 1)] {
            let sum: f64 = (0..NEAR)
                .map(|index| pair(index, part).iter().sum::<f64>())
                .sum();
            let mut size = 0.0;
            for (index, weights) in gap.iter_mut().enumerate() {
                let [one, other] = pair(index, part).map(|weight| weight / sum);
                size += libm::fabs(one) + libm::fabs(other);
                weights[at] = (0.5 * (one + other)) as f32;
                if at == 1 {
                    weights[2] = (0.5 * (one - other)) as f32;
                }
            }
            let size = size as f32 * ROUNDED;
            bounds[1] = if size > bounds[1] { size } else { bounds[1] };
        }
        TruePeak {
            reach,
            middle,
            gap,
            bounds,
        }
    }

    /// For each frame of a span, the highest absolute value from a sample to just before the next one, of
    /// which the first is `reach + 2` frames old. `seen` holds [`PAST`] frames and the span. Left as they
    /// are where nothing can reach `limit`.
    fn peaks(&self, seen: &[f32; PAST + GRID], limit: f32, peaks: &mut [f32; GRID]) {
        let highest = highest(seen);
        if highest * (self.bounds[0] * self.bounds[1]) < limit {
            return;
        }
        let mut middles = [0.0; MIDDLES];
        let first = PAST - NEAR - self.reach;
        for (part, middles) in middles.chunks_exact_mut(PART).enumerate() {
            let first = first + part * PART;
            let mut sums = [0.0; PART];
            for (index, weight) in self.middle.iter().enumerate().take(self.reach) {
                let (Some(early), Some(late)) = (
                    at::<PART>(seen, first.wrapping_sub(index)),
                    at::<PART>(seen, first + 1 + index),
                ) else {
                    return;
                };
                for lane in 0..PART {
                    sums[lane] += weight * (early[lane] + late[lane]);
                }
            }
            middles.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum);
        }
        // The sample before the gap of the span's first frame.
        let sample = first + NEAR_FRAMES;
        let samples = seen.iter().skip(sample);
        let both = samples.zip(middles.iter().skip(NEAR_FRAMES));
        for (peak, (one, other)) in peaks.iter_mut().zip(both) {
            let (one, other) = (one.abs(), other.abs());
            let higher = if one > other { one } else { other };
            *peak = if higher > *peak { higher } else { *peak };
        }
        let doubled = self::highest(&middles);
        let doubled = if doubled > highest { doubled } else { highest };
        if doubled * self.bounds[1] < limit {
            return;
        }
        for (part, peaks) in peaks.chunks_exact_mut(GAPS).enumerate() {
            let from = part * GAPS;
            // Sample, middle, sample …: from the fourth before the gap behind the sample on.
            let (Some(m0), Some(m1), Some(m2), Some(m3), Some(m4)) = (
                at::<GAPS>(&middles, from),
                at::<GAPS>(&middles, from + 1),
                at::<GAPS>(&middles, from + 2),
                at::<GAPS>(&middles, from + 3),
                at::<GAPS>(&middles, from + 4),
            ) else {
                return;
            };
            let from = sample + from;
            let (Some(s1), Some(s2), Some(s3), Some(s4)) = (
                at::<GAPS>(seen, from.wrapping_sub(1)),
                at::<GAPS>(seen, from),
                at::<GAPS>(seen, from + 1),
                at::<GAPS>(seen, from + 2),
            ) else {
                return;
            };
            self.gap(peaks, [[s2, m2], [m1, s3], [s1, m3], [m0, s4]]);
            self.gap(peaks, [[m2, s3], [s2, m3], [m1, s4], [s1, m4]]);
        }
    }

    /// Raises peaks by what is in a gap, from its neighbours' pairs.
    #[inline]
    fn gap(&self, peaks: &mut [f32], pairs: [[&[f32; GAPS]; 2]; NEAR]) {
        let mut sums = [[0.0; GAPS]; 3];
        for ([early, late], weights) in pairs.iter().zip(&self.gap) {
            for lane in 0..GAPS {
                let (sum, difference) = (early[lane] + late[lane], early[lane] - late[lane]);
                sums[0][lane] += weights[0] * sum;
                sums[1][lane] += weights[1] * sum;
                sums[2][lane] += weights[2] * difference;
            }
        }
        for (lane, peak) in peaks.iter_mut().enumerate().take(GAPS) {
            let [middle, sum, difference] = [sums[0][lane], sums[1][lane], sums[2][lane]];
            for value in [middle, sum + difference, sum - difference] {
                let value = value.abs();
                *peak = if value > *peak { value } else { *peak };
            }
        }
    }
}

/// Frames whose gaps are computed at once.
const GAPS: usize = 8;

/// So many values from a place on.
#[inline]
fn at<const COUNT: usize>(values: &[f32], from: usize) -> Option<&[f32; COUNT]> {
    values.get(from..).and_then(<[f32]>::first_chunk)
}

/// The highest absolute value.
#[inline]
fn highest(values: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut lanes = [0.0f32; LANES];
    let (parts, rest) = values.as_chunks::<LANES>();
    for part in parts {
        for (highest, value) in lanes.iter_mut().zip(part) {
            let value = value.abs();
            *highest = if value > *highest { value } else { *highest };
        }
    }
    let mut highest = 0.0;
    for value in lanes.iter().chain(rest) {
        let value = value.abs();
        highest = if value > highest { value } else { highest };
    }
    highest
}

/// The sinc at a distance in samples, in a Kaiser window of that half width and shape.
fn sinc(x: f64, half: f64, beta: f64) -> f64 {
    let ratio = 1.0 - (x / half) * (x / half);
    let window = if ratio > 0.0 {
        bessel(beta * libm::sqrt(ratio)) / bessel(beta)
    } else {
        0.0
    };
    let arc = core::f64::consts::PI * x;
    window * if x == 0.0 { 1.0 } else { libm::sin(arc) / arc }
}

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

/// A peak is known so many frames after it came: a third of 2 ms, and what the filters need.
fn detection(rate_hz: u32) -> usize {
    (rate_hz as usize / 1500).clamp(8, REACH + NEAR_FRAMES)
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
/// sliding maximum and in the average.
pub fn memory(rate_hz: u32) -> usize {
    2 * latency_frames(rate_hz) + 2 * window(rate_hz)
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
    /// The newest frames, for detection, by side.
    recent: [[f32; PAST]; 2],
    delay_at: usize,
    /// Of the sliding maximum: its place, and the highest since its first place.
    hold_at: usize,
    highest: f32,
    /// Frames since something was needed, up to the window.
    quiet: usize,
    /// 1 − gain: near unity a gain of its own would stop short of it.
    deficit: f32,
    average_at: usize,
    /// Of the deficits `ONE − gain`, so that memory of zeros means unity.
    deficits: i64,
    least: f32,
}

impl Limiter {
    /// At its defaults.
    pub fn new(rate_hz: u32) -> Limiter {
        let mut limiter = Limiter {
            rate_hz: rate_hz as f32,
            window: window(rate_hz),
            delay: latency_frames(rate_hz),
            ceiling_db: Ramp::new(-1.0),
            ceiling: 1.0,
            release_ms: Ramp::new(80.0),
            release: 0.0,
            moves: false,
            last_resort: 1.0,
            settling: 0,
            recent: [[0.0; PAST]; 2],
            delay_at: 0,
            hold_at: 0,
            highest: 0.0,
            quiet: window(rate_hz),
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
        let used = frames.len().min(GRID);
        let mut peaks = [0.0; GRID];
        for side in 0..2 {
            let recent = &mut self.recent[side];
            let mut seen = [0.0; PAST + GRID];
            let (old, new) = seen.split_at_mut(PAST);
            old.copy_from_slice(recent);
            for (to, from) in new.iter_mut().zip(frames.iter()) {
                *to = from[side];
            }
            let limit = self.ceiling * MARGIN;
            context.tables.true_peak.peaks(&seen, limit, &mut peaks);
            let newest = seen.iter().skip(used);
            recent
                .iter_mut()
                .zip(newest)
                .for_each(|(to, from)| *to = *from);
        }
        let (delay, rest) = context
            .memory
            .split_at_mut_checked(2 * self.delay)
            .unwrap_or_default();
        self.delay(delay, frames);
        let (hold, average) = rest.split_at_mut_checked(self.window).unwrap_or_default();
        let is_needed = |peak: &f32| peak * MARGIN_INVERSE > self.ceiling;
        if self.is_at_rest() && !peaks.iter().take(used).any(is_needed) {
            return;
        }
        for (frame, peak) in frames.iter_mut().zip(peaks) {
            let needed = if peak * MARGIN_INVERSE > self.ceiling {
                self.quiet = 0;
                1.0 - self.ceiling * MARGIN / peak
            } else {
                self.quiet = (self.quiet + 1).min(self.window);
                0.0
            };
            let needed = self.hold(hold, needed);
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
            for sample in frame {
                let limited = *sample * gain;
                // Only ever touches what rounding left above the ceiling.
                let limited = if limited > self.last_resort {
                    self.last_resort
                } else {
                    limited
                };
                *sample = if limited < -self.last_resort {
                    -self.last_resort
                } else {
                    limited
                };
            }
        }
    }

    /// Whether its gain is 1 and, unless something new is needed, stays so: all its memory of what was
    /// needed is zeros.
    fn is_at_rest(&self) -> bool {
        self.quiet >= self.window && self.deficit == 0.0 && self.deficits == 0
    }

    /// The highest of the last `window` values. The memory holds the values since its first place, and
    /// behind them the highest from each place on of those of the last time round.
    fn hold(&mut self, memory: &mut [f32], value: f32) -> f32 {
        self.highest = if value > self.highest {
            value
        } else {
            self.highest
        };
        if let Some(place) = memory.get_mut(self.hold_at) {
            *place = value;
        }
        self.hold_at += 1;
        if let Some(held) = memory.get(self.hold_at) {
            return if *held > self.highest {
                *held
            } else {
                self.highest
            };
        }
        let held = self.highest;
        let mut highest = 0.0;
        for place in memory.iter_mut().rev() {
            highest = if *place > highest { *place } else { highest };
            *place = highest;
        }
        (self.hold_at, self.highest) = (0, 0.0);
        held
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

    /// Frames go in, those of `delay` frames ago come out.
    fn delay(&mut self, memory: &mut [f32], frames: &mut [Frame]) {
        let (places, _) = memory.as_chunks_mut::<2>();
        let mut rest = frames;
        while !rest.is_empty() && self.delay_at < places.len() {
            let count = rest.len().min(places.len() - self.delay_at);
            let (now, later) = rest.split_at_mut_checked(count).unwrap_or_default();
            let places = places.iter_mut().skip(self.delay_at);
            for (frame, place) in now.iter_mut().zip(places) {
                core::mem::swap(frame, place);
            }
            self.delay_at += count;
            if self.delay_at >= self.delay {
                self.delay_at = 0;
            }
            rest = later;
        }
    }
}

/// 1/[`MARGIN`].
const MARGIN_INVERSE: f32 = 1.0 / MARGIN;
/// From here on the release is over.
const ALMOST_NOTHING: f32 = 1e-5;
