//! `compressor`: feed-forward, in decibels, with a soft knee. No latency.
//!
//! D. Giannoulis, M. Massberg, J. Reiss, "Digital Dynamic Range Compressor Design: A Tutorial and
//! Analysis" (JAES 60, 2012): the gain computer with its quadratic knee, then the smooth
//! branching detector on the reduction in dB, so that the times are those of the
//! reduction and hold for any ratio. Before the gain computer the peak is held for a moment that is
//! short against the release: so the level of a voice is its peaks, not its waveform, and the gain
//! does not ripple at its pitch. What the hold adds to the release is taken from it again.
//!
//! Attack and release are time constants (63 %) of the reduction in dB. Channels are linked.

use super::Context;
use crate::Frame;
use crate::decibel::{self, SILENCE_DB};
use crate::effect::{Param, linear};
use crate::ramp::Ramp;

/// Its parameters.
pub const PARAMS: [Param; 6] = [
    linear("threshold_db", "Threshold", -60.0, 0.0, -18.0, "dB"),
    linear("ratio", "Ratio", 1.0, 20.0, 3.0, ""),
    linear("knee_db", "Knee", 0.0, 24.0, 6.0, "dB"),
    linear("attack_ms", "Attack", 0.1, 100.0, 5.0, "ms"),
    linear("release_ms", "Release", 10.0, 1000.0, 100.0, "ms"),
    linear("makeup_db", "Make-up", -12.0, 24.0, 0.0, "dB"),
];

/// The peak is held for one to two of these: as a share of the release, and at most.
const HOLD_SHARE: f32 = 0.04;
const HOLD_MS_MAX: f32 = 5.0;
/// No reduction at all, in dB.
const NOTHING_DB: f32 = 1e-6;

/// See the module.
pub struct Compressor {
    rate_hz: f32,
    threshold_db: Ramp,
    /// 1 − 1/ratio.
    slope: Ramp,
    knee_db: Ramp,
    makeup_db: Ramp,
    attack_ms: f32,
    release_ms: f32,
    /// Weights of the new value.
    attack: f32,
    release: f32,
    times_changed: bool,
    hold: u32,
    /// Highest peaks of this hold and of the last one; samples left of this one.
    held: [f32; 2],
    left: u32,
    /// The higher of `held`, linear and in dB.
    peak: f32,
    level_db: f32,
    /// What the gain computer asks for, and what is in effect, in dB, 0 or more.
    wanted_db: f32,
    reduction_db: f32,
    most_db: f32,
}

impl Compressor {
    /// At its defaults.
    pub fn new(rate_hz: u32) -> Compressor {
        let mut compressor = Compressor {
            rate_hz: rate_hz as f32,
            threshold_db: Ramp::new(-18.0),
            slope: Ramp::new(slope(3.0)),
            knee_db: Ramp::new(6.0),
            makeup_db: Ramp::new(0.0),
            attack_ms: 5.0,
            release_ms: 100.0,
            attack: 1.0,
            release: 1.0,
            times_changed: false,
            hold: 1,
            held: [0.0; 2],
            left: 1,
            peak: 0.0,
            level_db: SILENCE_DB,
            wanted_db: 0.0,
            reduction_db: 0.0,
            most_db: 0.0,
        };
        compressor.compute();
        compressor
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        match param {
            0 => self.threshold_db.go(value, samples),
            1 => self.slope.go(slope(value), samples),
            2 => self.knee_db.go(value, samples),
            3 => self.attack_ms = value,
            4 => self.release_ms = value,
            5 => self.makeup_db.go(value, samples),
            _ => return,
        }
        self.times_changed |= matches!(param, 3 | 4);
        if samples == 0 {
            self.compute();
            self.wanted_db = self.curve();
        }
    }

    /// See [`super::Effect::take_reduction`].
    pub fn take_reduction(&mut self) -> f32 {
        decibel::to_linear(-core::mem::replace(&mut self.most_db, 0.0))
    }

    fn compute(&mut self) {
        let per_ms = 0.001 * self.rate_hz;
        let hold_ms = self.release_ms * HOLD_SHARE;
        let hold_ms = if hold_ms < HOLD_MS_MAX {
            hold_ms
        } else {
            HOLD_MS_MAX
        };
        self.hold = (hold_ms * per_ms) as u32;
        // One and a half holds pass before a release begins, on average.
        let release = self.release_ms * per_ms - 1.5 * self.hold as f32;
        self.attack = decibel::smoothing(self.attack_ms * per_ms);
        self.release = decibel::smoothing(release);
        self.times_changed = false;
    }

    /// The reduction in dB that the present level asks for.
    #[inline]
    fn curve(&self) -> f32 {
        let over = self.level_db - self.threshold_db.value();
        let half_knee = 0.5 * self.knee_db.value();
        let over = if over >= half_knee {
            over
        } else if over > -half_knee {
            let into = over + half_knee;
            into * into / (4.0 * half_knee)
        } else {
            0.0
        };
        over * self.slope.value()
    }

    /// The peak of the last one or two holds; whether it is another than before.
    #[inline]
    fn hold(&mut self, sample: f32) -> bool {
        if self.left == 0 {
            self.held = [0.0, self.held[0]];
            self.left = self.hold;
        } else {
            self.left -= 1;
        }
        if sample > self.held[0] {
            self.held[0] = sample;
        }
        let [now, last] = self.held;
        let peak = if now > last { now } else { last };
        core::mem::replace(&mut self.peak, peak) != peak
    }

    fn on_grid(&mut self) {
        if self.times_changed {
            self.compute();
        }
        if self.reduction_db < NOTHING_DB {
            self.reduction_db = 0.0;
        }
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: &Context<'_>) {
        if context.on_grid {
            self.on_grid();
        }
        for frame in frames {
            let moves =
                !(self.threshold_db.is_still() && self.slope.is_still() && self.knee_db.is_still());
            if moves {
                self.threshold_db.tick();
                self.slope.tick();
                self.knee_db.tick();
            }
            let another = self.hold(decibel::peak(*frame));
            if another {
                self.level_db = decibel::from_linear(self.peak);
            }
            if another || moves {
                self.wanted_db = self.curve();
            }
            let change = self.wanted_db - self.reduction_db;
            let weight = if change > 0.0 {
                self.attack
            } else {
                self.release
            };
            self.reduction_db += change * weight;
            if self.reduction_db > self.most_db {
                self.most_db = self.reduction_db;
            }
            let gain_db = self.makeup_db.tick() - self.reduction_db;
            if gain_db != 0.0 {
                let gain = decibel::to_linear(gain_db);
                *frame = frame.map(|sample| sample * gain);
            }
        }
    }
}

/// How much of what is over the threshold goes.
fn slope(ratio: f32) -> f32 {
    if ratio > 1.0 { 1.0 - 1.0 / ratio } else { 0.0 }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::testing::{Rig, amplitude, clicks_db, same_in_any_spans, sine};
    use crate::Kind;
    use std::vec;
    use std::vec::Vec;

    fn db(linear: f32) -> f32 {
        20.0 * linear.log10()
    }

    /// The curve of the paper, written down anew.
    fn expected(input: f32, threshold: f32, ratio: f32, knee: f32, makeup: f32) -> f32 {
        let over = input - threshold;
        makeup
            + if 2.0 * over < -knee {
                input
            } else if 2.0 * over.abs() <= knee {
                input + (1.0 / ratio - 1.0) * (over + knee / 2.0).powi(2) / (2.0 * knee)
            } else {
                threshold + over / ratio
            }
    }

    #[test]
    fn the_curve_is_the_papers_within_0_3_db() {
        let mut worst = 0.0f32;
        for (threshold, ratio, knee, makeup, release) in [
            (-18.0, 3.0, 6.0, 0.0, 100.0),
            (-30.0, 4.0, 12.0, 6.0, 100.0),
            (-24.0, 20.0, 0.0, -3.0, 60.0),
            (-12.0, 2.0, 24.0, 0.0, 300.0),
            (-40.0, 1.0, 6.0, 0.0, 100.0),
        ] {
            for hz in [220.0, 1000.0] {
                for level in (-60..=0).step_by(3) {
                    let mut rig = Rig::new(Kind::Compressor, 48_000);
                    for (param, value) in [(0, threshold), (1, ratio), (2, knee), (4, release)] {
                        rig.set(param, value, 0);
                    }
                    rig.set(5, makeup, 0);
                    let level = level as f32;
                    let mut frames = sine(hz, 10f32.powf(level / 20.0), 48_000, 48_000);
                    rig.run(&mut frames);
                    // The last 100 ms, by its power.
                    let tail = &frames[43_200..];
                    let power: f64 = tail.iter().map(|f| f64::from(f[0]).powi(2)).sum();
                    let out = 10.0 * (2.0 * power / tail.len() as f64).log10() as f32;
                    let off = out - expected(level, threshold, ratio, knee, makeup);
                    worst = worst.max(off.abs());
                }
            }
        }
        std::println!("compressor: curve off by {worst:.3} dB at most");
        assert!(worst < 0.3, "off by {worst} dB");
    }

    /// The reduction in dB, sample by sample, for a level that jumps from one dB value to another and
    /// back again.
    fn steps(attack: f32, release: f32, from_db: f32, to_db: f32) -> (Vec<f32>, usize) {
        let mut rig = Rig::new(Kind::Compressor, 48_000);
        rig.set(3, attack, 0);
        rig.set(4, release, 0);
        let cell = 96_000;
        // Alternating full samples: a level without a waveform.
        let level = |n: usize| {
            let db = if (cell..2 * cell).contains(&n) {
                to_db
            } else {
                from_db
            };
            10f32.powf(db / 20.0) * if n.is_multiple_of(2) { 1.0 } else { -1.0 }
        };
        let mut frames: Vec<_> = (0..4 * cell).map(|n| [level(n); 2]).collect();
        let input = frames.clone();
        rig.run(&mut frames);
        let reduction = frames.iter().zip(&input);
        (reduction.map(|(o, i)| -db(o[0] / i[0])).collect(), cell)
    }

    #[test]
    fn attack_and_release_are_as_stated_within_10_percent() {
        let reached = 1.0 - (-1.0f32).exp();
        for (attack, release) in [(5.0, 100.0), (0.5, 10.0), (20.0, 50.0), (100.0, 1000.0)] {
            let (reduction, cell) = steps(attack, release, -30.0, 0.0);
            let full = reduction[2 * cell - 1];
            assert!((full - 12.0).abs() < 0.05, "{full} dB");
            let rise = reduction[cell..].iter().position(|r| *r >= full * reached);
            let fall = reduction[2 * cell..]
                .iter()
                .position(|r| *r <= full * (1.0 - reached));
            let ms = |samples: Option<usize>| samples.unwrap() as f32 / 48.0;
            std::println!(
                "compressor: attack {attack} ms measured {:.2}, release {release} ms measured {:.1}",
                ms(rise),
                ms(fall)
            );
            assert!((ms(rise) / attack - 1.0).abs() < 0.1);
            assert!((ms(fall) / release - 1.0).abs() < 0.1);
        }
    }

    #[test]
    fn nothing_happens_below_the_knee_and_the_least_gain_is_reported_once() {
        let mut rig = Rig::new(Kind::Compressor, 48_000);
        let mut quiet = sine(440.0, 0.05, 48_000, 4800);
        let before = quiet.clone();
        rig.run(&mut quiet);
        assert_eq!(quiet, before);
        assert_eq!(rig.effect.take_reduction(), 1.0);
        let mut loud = vec![[0.0, 1.0]; 48_000];
        rig.run(&mut loud);
        assert!((db(rig.effect.take_reduction()) + 12.0).abs() < 0.05);
        // Linked: the silent side decided nothing, the loud one both.
        assert!((db(loud[47_999][1]) + 12.0).abs() < 0.05);
        let mut silence = vec![[0.0; 2]; 480_000];
        rig.run(&mut silence);
        rig.effect.take_reduction();
        rig.run(&mut [[0.0; 2]; 64]);
        assert_eq!(rig.effect.take_reduction(), 1.0);
    }

    #[test]
    fn a_held_low_note_is_not_distorted() {
        let mut rig = Rig::new(Kind::Compressor, 48_000);
        let mut frames = sine(150.0, 0.9, 48_000, 96_000);
        rig.run(&mut frames);
        let tail = &frames[48_000..];
        let third = amplitude(tail, 450.0, 48_000);
        let first = amplitude(tail, 150.0, 48_000);
        std::println!(
            "compressor: third harmonic of 150 Hz at {:.1} dB",
            db(third / first)
        );
        assert!(db(third / first) < -50.0);
    }

    #[test]
    fn nothing_clicks() {
        for (param, what) in Kind::Compressor.params().iter().enumerate() {
            let db = clicks_db(Kind::Compressor, &[(0, -30.0), (1, 10.0), (3, 1.0)], param);
            std::println!("compressor: {} at {db:.1} dB", what.id);
            assert!(db < -60.0, "{} clicks: {db} dB", what.id);
        }
    }

    #[test]
    fn spans_do_not_matter() {
        same_in_any_spans(Kind::Compressor, 48_000);
        same_in_any_spans(Kind::Compressor, 44_100);
    }
}
