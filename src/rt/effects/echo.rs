//! `echo`: a feedback delay with a low-pass in its loop. No latency: the dry part is not delayed.
//!
//! The recirculating delay of J. O. Smith, "Physical Audio Signal Processing" (2010, "Feedback comb
//! filters"), stereo. The low-pass has one pole, at exactly −3 dB at `tone_freq`, and gain 1 at
//! 0 Hz, so each repeat is a little duller than the one before and the loop is stable for every
//! tone. It is heard from the first repeat on.
//!
//! A new time does not move the tap, which would be heard as a screech: a second tap fades in at
//! the new place, along an S without corners, while the first fades out. Repeats already in the
//! loop go on at the new time.

use super::Context;
use crate::effect::{Param, linear, log};
use crate::ramp::Ramp;
use crate::{Frame, GRID};

/// Its parameters.
pub const PARAMS: [Param; 4] = [
    linear("time_ms", "Time", 20.0, 1500.0, 320.0, "ms"),
    linear("feedback", "Feedback", 0.0, 0.95, 0.35, ""),
    log("tone_freq", "Tone", 500.0, 16_000.0, 4000.0, "Hz"),
    linear("wet_dry", "Wet/dry", 0.0, 1.0, 0.25, ""),
];

const TIME_MS_MAX: f32 = 1500.0;
/// Of a change of the time.
const CROSSFADE_MS: f32 = 40.0;
/// As good as silence; denormals never come near.
const SILENCE: f32 = 1e-15;

/// Frames of delay: the longest, and the one that is being written.
fn places(rate_hz: u32) -> usize {
    (TIME_MS_MAX * 0.001 * rate_hz as f32) as usize + 2
}

/// Samples of delay memory.
pub fn memory(rate_hz: u32) -> usize {
    2 * places(rate_hz)
}

/// See the module.
pub struct Echo {
    rate_hz: f32,
    places: usize,
    fresh: bool,
    time_ms: f32,
    feedback: Ramp,
    /// In octaves of 1 Hz.
    tone: Ramp,
    wet: Ramp,
    /// Taps in frames: the one that is heard, and the one that fades in.
    tap: [usize; 2],
    fade: Ramp,
    at: usize,
    /// The low-pass: weight of the new value, with its step a sample within a grid cell.
    weight: f32,
    weight_goal: f32,
    weight_step: f32,
    toned: Frame,
}

impl Echo {
    /// At its defaults.
    pub fn new(rate_hz: u32) -> Echo {
        let mut echo = Echo {
            rate_hz: rate_hz as f32,
            places: places(rate_hz),
            fresh: true,
            time_ms: 320.0,
            feedback: Ramp::new(0.35),
            tone: Ramp::new(libm::log2f(4000.0)),
            wet: Ramp::new(0.25),
            tap: [1; 2],
            fade: Ramp::new(0.0),
            at: 0,
            weight: 1.0,
            weight_goal: 1.0,
            weight_step: 0.0,
            toned: [0.0; 2],
        };
        echo.snap();
        echo
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        match param {
            0 => self.time_ms = value,
            1 => self.feedback.go(value, samples),
            2 => self.tone.go(libm::log2f(value), samples),
            3 => self.wet.go(value, samples),
            _ => return,
        }
        if samples == 0 {
            self.snap();
        }
    }

    fn wanted_tap(&self) -> usize {
        let frames = (self.time_ms * 0.001 * self.rate_hz + 0.5) as usize;
        frames.min(self.places - 1).max(1)
    }

    /// The low-pass's weight for a tone in octaves.
    fn weight_of(&self, tone: f32) -> f32 {
        let ratio = libm::exp2f(tone) / self.rate_hz;
        let ratio = if ratio < 0.49 { ratio } else { 0.49 };
        // 1 − cos, without its cancellation at low frequencies; then where the square is a half.
        let sin = libm::sinf(core::f32::consts::PI * ratio);
        let c = 2.0 * sin * sin;
        libm::sqrtf(c * (c + 2.0)) - c
    }

    fn snap(&mut self) {
        self.weight_goal = self.weight_of(self.tone.value());
        self.weight = self.weight_goal;
        self.weight_step = 0.0;
        if self.fresh {
            self.tap = [self.wanted_tap(); 2];
        }
    }

    fn on_grid(&mut self) {
        for state in &mut self.toned {
            *state = flushed(*state);
        }
        if self.fade.rests_at(1.0) {
            self.tap = [self.tap[1]; 2];
            self.fade.snap(0.0);
        }
        let wanted = self.wanted_tap();
        if self.fade.rests_at(0.0) && wanted != self.tap[0] {
            self.tap[1] = wanted;
            let samples = CROSSFADE_MS * 0.001 * self.rate_hz;
            self.fade.go(1.0, samples as u32);
        }
        if !self.tone.is_still() || self.weight_step != 0.0 {
            let mut ahead = self.tone;
            self.weight = self.weight_goal;
            self.weight_goal = self.weight_of(ahead.skip(GRID));
            self.weight_step = (self.weight_goal - self.weight) * (1.0 / GRID as f32);
        }
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: Context<'_>) {
        self.fresh = false;
        if context.on_grid {
            self.on_grid();
        }
        self.tone.skip(frames.len());
        for frame in frames {
            let fade = self.fade.tick();
            let mut late = self.read(context.memory, self.tap[0]);
            if fade > 0.0 {
                let next = self.read(context.memory, self.tap[1]);
                let share = fade * fade * (3.0 - 2.0 * fade);
                for side in 0..2 {
                    late[side] += (next[side] - late[side]) * share;
                }
            }
            let feedback = self.feedback.tick();
            let wet = self.wet.tick();
            let mut fed = [0.0; 2];
            for side in 0..2 {
                self.toned[side] += (late[side] - self.toned[side]) * self.weight;
                fed[side] = flushed(frame[side] + self.toned[side] * feedback);
                frame[side] = frame[side] * (1.0 - wet) + self.toned[side] * wet;
            }
            self.weight += self.weight_step;
            let at = 2 * self.at;
            if let Some([left, right]) = context.memory.get_mut(at..at + 2) {
                (*left, *right) = (fed[0], fed[1]);
            }
            self.at = if self.at + 1 >= self.places {
                0
            } else {
                self.at + 1
            };
        }
    }

    /// What was written so many frames ago.
    #[inline]
    fn read(&self, memory: &[f32], back: usize) -> Frame {
        let index = if back <= self.at {
            self.at - back
        } else {
            self.at + self.places - back
        };
        match memory.get(2 * index..2 * index + 2) {
            Some([left, right]) => [*left, *right],
            _ => [0.0; 2],
        }
    }
}

#[inline]
fn flushed(sample: f32) -> f32 {
    if (-SILENCE..=SILENCE).contains(&sample) {
        0.0
    } else {
        sample
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::testing::{Rig, amplitude, clicks_db, same_in_any_spans, sine};
    use crate::Kind;
    use std::vec;

    #[test]
    fn repeats_come_exactly_when_stated() {
        for rate in [44_100, 48_000, 96_000] {
            for ms in [20.0, 320.0, 1500.0] {
                let mut rig = Rig::new(Kind::Echo, rate);
                for (param, value) in [(0, ms), (1, 0.5), (2, 16_000.0), (3, 1.0)] {
                    rig.set(param, value, 0);
                }
                let tap = (f64::from(ms) * 0.001 * f64::from(rate)).round() as usize;
                let mut frames = vec![[0.0; 2]; 3 * tap + 1000.min(tap)];
                frames[0] = [1.0, -0.5];
                rig.run(&mut frames);
                let loudest = |from: usize, to: usize| {
                    let part = frames[from..to].iter().enumerate();
                    from + part
                        .max_by(|a, b| a.1[0].abs().total_cmp(&b.1[0].abs()))
                        .unwrap()
                        .0
                };
                // Nothing comes before; the first repeat's peak is at the very frame.
                assert!(frames[..tap].iter().all(|f| *f == [0.0; 2]));
                assert_eq!(loudest(0, 2 * tap - 8), tap);
                assert_eq!(loudest(2 * tap - 8, 3 * tap - 8), 2 * tap);
                // Sides stay apart.
                assert_eq!(frames[tap][1], -0.5 * frames[tap][0]);
            }
        }
    }

    #[test]
    fn each_repeat_is_quieter_by_the_feedback_and_duller_by_the_tone() {
        for (feedback, tone) in [(0.35, 4000.0), (0.95, 4000.0), (0.7, 500.0)] {
            let mut rig = Rig::new(Kind::Echo, 48_000);
            for (param, value) in [(1, feedback), (2, tone), (3, 1.0)] {
                rig.set(param, value, 0);
            }
            let tap = 15_360;
            let mut frames = vec![[0.0; 2]; 5 * tap];
            // A note of 200 ms at the tone's frequency, and one at a tenth of it.
            let hz = f64::from(tone);
            let [high, low] = [hz, hz / 10.0].map(|hz| sine(hz, 0.4, 48_000, 9600));
            for ((frame, high), low) in frames.iter_mut().zip(&high).zip(&low) {
                *frame = [high[0] + low[0]; 2];
            }
            rig.run(&mut frames);
            for (hz, loss) in [(hz, 0.5f32.sqrt()), (hz / 10.0, (1.0 / 1.01f32).sqrt())] {
                let level = |n: usize| amplitude(&frames[n * tap..][..9600], hz, 48_000);
                for n in 1..4 {
                    let ratio = level(n + 1) / level(n) / (feedback * loss);
                    let off = 20.0 * ratio.log10();
                    std::println!("echo: repeat {n} at {hz} Hz off by {off:.3} dB");
                    assert!(off.abs() < 0.15, "{off} dB");
                }
            }
        }
    }

    #[test]
    fn it_dies_away_to_nothing_and_never_runs_away() {
        let mut rig = Rig::new(Kind::Echo, 48_000);
        for (param, value) in [(0, 20.0), (1, 0.95), (2, 16_000.0), (3, 1.0)] {
            rig.set(param, value, 0);
        }
        let mut frames = sine(1000.0, 1.0, 48_000, 48_000);
        rig.run(&mut frames);
        let loudest = frames.iter().map(|f| f[0].abs()).fold(0.0, f32::max);
        assert!(loudest < 1.0 / (1.0 - 0.95));
        let mut silence = vec![[0.0; 2]; 48_000 * 30];
        rig.run(&mut silence);
        assert!(silence[48_000 * 29..].iter().all(|f| *f == [0.0; 2]));
    }

    #[test]
    fn a_new_time_takes_over_without_a_click_or_another_pitch() {
        for param in 0..Kind::Echo.params().len() {
            let settings = [(1, 0.5), (3, 1.0)];
            let db = clicks_db(Kind::Echo, &settings, param);
            let id = Kind::Echo.params()[param].id;
            std::println!("echo: {id} at {db:.1} dB");
            assert!(db < -60.0, "{id} clicks: {db} dB");
        }
        // A held note, the time halved: what comes out stays within a semitone of its pitch.
        let mut rig = Rig::new(Kind::Echo, 48_000);
        rig.set(1, 0.0, 0);
        rig.set(3, 1.0, 0);
        let mut frames = sine(440.0, 0.5, 48_000, 96_000);
        let (before, after) = frames.split_at_mut(48_000);
        rig.run(before);
        rig.set(0, 160.0, 960);
        rig.run(after);
        for hz in [220.0, 330.0, 415.3, 466.2, 587.3, 880.0] {
            let rest = amplitude(&after[..9600], hz, 48_000) / 0.5;
            assert!(rest < 0.03, "{hz} Hz at {rest}");
        }
    }

    #[test]
    fn spans_do_not_matter() {
        same_in_any_spans(Kind::Echo, 48_000);
        same_in_any_spans(Kind::Echo, 44_100);
    }
}
