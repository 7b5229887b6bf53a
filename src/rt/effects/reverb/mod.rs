//! `reverb`: a feedback delay network. Mono in, stereo out. No latency: the dry part is not delayed.
//!
//! J.-M. Jot and A. Chaigne, "Digital delay networks for designing artificial reverberators" (AES
//! 90, 1991): sixteen lines of incommensurate lengths, an energy-preserving feedback matrix, and behind
//! each line the absorption of its length. Every line's absorption is matched at three frequencies, so
//! that all lines agree on the decay time (S. Schlecht and E. Habets, "Accurate reverberation time
//! control in feedback delay networks", DAFx 2017). No line is interpolated, which would cost highs;
//! instead the matrix moves: a Hadamard one behind plane rotations that turn slowly, so that it
//! preserves energy at every moment and no mode stays where it is (S. Schlecht and E. Habets,
//! "Time-varying feedback matrices in feedback delay networks", JASA 138, 2015). Before it four all-pass
//! diffusers (M. Schroeder 1962); early reflections come from taps of the pre-delay.
//!
//! `room_size` and `damping` set the decay time by 60 dB at a frequency f in Hz, [`t60_at_s`]:
//!
//! ```text
//! T60(f) = 0.4 s · 15^room_size / (1 + (6^damping − 1) · S(f)),  S(f) = f² / (f² + 3000²)
//! ```
//!
//! That is 0.4, 1.55 and 6 s at low frequencies for a `room_size` of 0, 0.5 and 1; at 8 kHz 0.48 of
//! that at half damping, 0.22 at full damping, but hardly less than [`SHORTEST_S`]. Wherever they stand, the wet
//! part of a voice is about as loud as the voice. `low_freq` and `high_freq` filter all that is wet, by
//! 3 dB at their frequency (Butterworth, 12 dB/oct).

mod decay;
mod network;
mod ring;

use decay::{Decay, Levels};
use network::{LENGTHS, LINES, Network, scaled};
use ring::{Span, flushed, onward, read, write};

pub use decay::{SHORTEST_S, t60_at_s, t60_s};

use super::Context;
use crate::effect::{Param, linear, log};
use crate::ramp::Ramp;
use crate::svf::{Coefficients, Svf};
use crate::{Frame, GRID};

/// Its parameters.
pub const PARAMS: [Param; 6] = [
    linear("wet_dry", "Wet/dry", 0.0, 1.0, 0.25, ""),
    linear("room_size", "Room size", 0.0, 1.0, 0.5, ""),
    linear("damping", "Damping", 0.0, 1.0, 0.5, ""),
    linear("pre_delay", "Pre-delay", 0.0, 200.0, 20.0, "ms"),
    log("high_freq", "High cut", 1000.0, 20_000.0, 8000.0, "Hz"),
    log("low_freq", "Low cut", 20.0, 1000.0, 120.0, "Hz"),
];

/// Diffusers at 48 kHz: short ones, which are silent again before the smallest room is.
const DIFFUSERS: [u32; 4] = [113, 163, 229, 293];
/// Of the diffusers.
const DIFFUSION: f32 = 0.62;
/// Early reflections: time in ms, gain left, gain right.
const TAPS: [(f32, f32, f32); 6] = [
    (5.3, 0.30, 0.12),
    (9.7, 0.10, 0.28),
    (14.9, 0.24, -0.10),
    (21.1, -0.08, 0.22),
    (28.3, 0.18, -0.06),
    (36.7, 0.05, -0.16),
];
/// The longest pre-delay and the last early reflection, in ms.
const PRE_DELAY_MS_MAX: f32 = 200.0 + 37.0;
/// The transform's rows that are heard left and right: they share no signs with each other, nor with
/// those by which the lines are fed.
const EARS: [usize; 2] = [5, 10];
/// Of a change of the pre-delay.
const CROSSFADE_MS: f32 = 20.0;

/// With room for a span behind the longest tap.
fn pre_delay_len(rate_hz: u32) -> usize {
    (PRE_DELAY_MS_MAX * 0.001 * rate_hz as f32) as usize + 2 + GRID
}

/// Samples of delay memory.
pub fn memory(rate_hz: u32) -> usize {
    let lengths = LENGTHS.iter().chain(&DIFFUSERS);
    let lengths = lengths.map(|length| scaled(*length, rate_hz));
    pre_delay_len(rate_hz) + lengths.sum::<usize>()
}

/// See the module.
pub struct Reverb {
    rate_hz: u32,
    fresh: bool,
    wet: Ramp,
    room_size: Ramp,
    damping: Ramp,
    high_freq: Ramp,
    low_freq: Ramp,
    pre_delay_ms: f32,
    /// Taps of the pre-delay in samples: the one that is heard, and the one that fades in.
    tap: [usize; 2],
    fade: Ramp,
    low_cut: Svf,
    high_cut: Svf,
    pre_at: usize,
    diffuser_at: [usize; DIFFUSERS.len()],
    decay: Decay,
    network: Network,
    levels: Levels,
    levels_goal: Levels,
    levels_step: Levels,
    moves: bool,
}

impl Reverb {
    /// At its defaults.
    pub fn new(rate_hz: u32) -> Reverb {
        let none = Levels {
            fed: 0.0,
            heard: 0.0,
        };
        let mut reverb = Reverb {
            rate_hz,
            fresh: true,
            wet: Ramp::new(0.25),
            room_size: Ramp::new(0.5),
            damping: Ramp::new(0.5),
            high_freq: Ramp::new(8000.0),
            low_freq: Ramp::new(120.0),
            pre_delay_ms: 20.0,
            tap: [0; 2],
            fade: Ramp::new(0.0),
            low_cut: Svf::new(core::f32::consts::SQRT_2),
            high_cut: Svf::new(core::f32::consts::SQRT_2),
            pre_at: 0,
            diffuser_at: [0; DIFFUSERS.len()],
            decay: Decay::new(rate_hz),
            network: Network::new(rate_hz),
            levels: none,
            levels_goal: none,
            levels_step: none,
            moves: true,
        };
        reverb.snap();
        reverb
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        match param {
            0 => self.wet.go(value, samples),
            1 => self.room_size.go(value, samples),
            2 => self.damping.go(value, samples),
            3 => self.pre_delay_ms = value,
            4 => self.high_freq.go(value, samples),
            5 => self.low_freq.go(value, samples),
            _ => return,
        }
        self.moves = true;
        if samples == 0 {
            self.snap();
        }
    }

    fn wanted_tap(&self) -> usize {
        (self.pre_delay_ms * 0.001 * self.rate_hz as f32 + 0.5) as usize
    }

    fn snap(&mut self) {
        let (room_size, damping) = (self.room_size.value(), self.damping.value());
        self.levels_goal = self.network.snap(&self.decay, room_size, damping);
        self.levels = self.levels_goal;
        self.levels_step = Levels {
            fed: 0.0,
            heard: 0.0,
        };
        let rate = self.rate_hz as f32;
        self.low_cut.snap(Coefficients::new(
            self.low_freq.value(),
            self.low_cut.k(),
            rate,
        ));
        self.high_cut.snap(Coefficients::new(
            self.high_freq.value(),
            self.high_cut.k(),
            rate,
        ));
        if self.fresh {
            self.tap = [self.wanted_tap(); 2];
        }
    }

    fn on_grid(&mut self) {
        self.network.on_grid();
        self.low_cut.flush();
        self.high_cut.flush();
        if self.fade.rests_at(1.0) {
            self.tap = [self.tap[1]; 2];
            self.fade.snap(0.0);
        }
        let wanted = self.wanted_tap();
        if self.fade.rests_at(0.0) && wanted != self.tap[0] {
            self.tap[1] = wanted;
            self.fade
                .go(1.0, (CROSSFADE_MS * 0.001 * self.rate_hz as f32) as u32);
        }
        if !self.moves {
            return;
        }
        let still = [self.room_size, self.damping, self.high_freq, self.low_freq]
            .iter()
            .all(Ramp::is_still);
        let ahead = |ramp: Ramp| {
            let mut ramp = ramp;
            ramp.skip(GRID)
        };
        self.levels = self.levels_goal;
        let (room_size, damping) = (ahead(self.room_size), ahead(self.damping));
        self.levels_goal = self.network.glide(&self.decay, room_size, damping);
        let per = 1.0 / GRID as f32;
        self.levels_step = Levels {
            fed: (self.levels_goal.fed - self.levels.fed) * per,
            heard: (self.levels_goal.heard - self.levels.heard) * per,
        };
        let rate = self.rate_hz as f32;
        self.low_cut.glide(Coefficients::new(
            ahead(self.low_freq),
            self.low_cut.k(),
            rate,
        ));
        self.high_cut.glide(Coefficients::new(
            ahead(self.high_freq),
            self.high_cut.k(),
            rate,
        ));
        // One more cell after the ramps' ends brings every step back to nothing.
        self.moves = !still
            || !self.network.is_at_goal()
            || self.levels != self.levels_goal
            || !self.low_cut.is_at_goal()
            || !self.high_cut.is_at_goal();
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: Context<'_>) {
        self.fresh = false;
        if context.on_grid {
            self.on_grid();
        }
        for ramp in [
            &mut self.room_size,
            &mut self.damping,
            &mut self.high_freq,
            &mut self.low_freq,
        ] {
            ramp.skip(frames.len());
        }
        let mut tail = [0.0; GRID];
        for (tail, frame) in tail.iter_mut().zip(frames.iter()) {
            let mono = 0.5 * (frame[0] + frame[1]);
            let cut = self.low_cut.tick([mono, 0.0]).high;
            *tail = flushed(self.high_cut.tick(cut).low[0]);
        }
        let used = frames.len().min(GRID);
        let (pre, rest) = context
            .memory
            .split_at_mut_checked(pre_delay_len(self.rate_hz))
            .unwrap_or_default();
        let mut early = [[0.0; GRID]; 2];
        self.pre_delay(pre, &mut tail, &mut early, used);
        let rest = self.diffuse(rest, &mut tail, used);
        for tail in tail.iter_mut().take(used) {
            *tail *= self.levels.fed;
            self.levels.fed += self.levels_step.fed;
        }
        let mut lines = [[0.0; GRID]; LINES];
        self.network.run(rest, &tail, &mut lines, used, self.moves);
        let [left, right] = EARS.map(|row| lines.get(row).copied().unwrap_or([0.0; GRID]));
        let tails = left.iter().zip(&right);
        let early = early[0].iter().zip(&early[1]);
        for ((frame, tail), early) in frames.iter_mut().zip(tails).zip(early) {
            let wet = self.wet.tick();
            let heard = self.levels.heard;
            self.levels.heard += self.levels_step.heard;
            *frame = [
                frame[0] * (1.0 - wet) + (tail.0 * heard + early.0) * wet,
                frame[1] * (1.0 - wet) + (tail.1 * heard + early.1) * wet,
            ];
        }
    }

    /// Into the pre-delay; out come the tail's input and the early reflections.
    fn pre_delay(
        &mut self,
        pre: &mut [f32],
        tail: &mut Span,
        early: &mut [Span; 2],
        frames: usize,
    ) {
        let len = pre.len();
        write(pre, self.pre_at, tail.get(..frames).unwrap_or_default());
        let at = |back: usize| {
            if back <= self.pre_at {
                self.pre_at - back
            } else {
                // Without memory there is no place at all.
                (self.pre_at + len).wrapping_sub(back)
            }
        };
        let heard = |tap: usize, tail: &mut Span, early: &mut [Span; 2]| {
            read(pre, at(tap), tail.get_mut(..frames).unwrap_or_default());
            let [left, right] = early;
            for (ms, to_left, to_right) in TAPS {
                let back = tap + (ms * 0.001 * self.rate_hz as f32) as usize;
                let mut late = [0.0; GRID];
                read(pre, at(back), late.get_mut(..frames).unwrap_or_default());
                for ((left, right), late) in left.iter_mut().zip(right.iter_mut()).zip(&late) {
                    *left += to_left * late;
                    *right += to_right * late;
                }
            }
        };
        heard(self.tap[0], tail, early);
        if self.tap[0] != self.tap[1] {
            let (mut next, mut next_early) = ([0.0; GRID], [[0.0; GRID]; 2]);
            heard(self.tap[1], &mut next, &mut next_early);
            for index in 0..frames.min(GRID) {
                let fade = self.fade.tick();
                tail[index] += (next[index] - tail[index]) * fade;
                for side in 0..2 {
                    early[side][index] += (next_early[side][index] - early[side][index]) * fade;
                }
            }
        }
        self.pre_at = onward(self.pre_at, frames, len);
    }

    /// Gives back the memory behind the diffusers'.
    fn diffuse<'a>(
        &mut self,
        memory: &'a mut [f32],
        samples: &mut Span,
        frames: usize,
    ) -> &'a mut [f32] {
        let mut rest = memory;
        for (at, length) in self.diffuser_at.iter_mut().zip(DIFFUSERS) {
            let len = scaled(length, self.rate_hz);
            let Some((line, behind)) = rest.split_at_mut_checked(len) else {
                return &mut [];
            };
            rest = behind;
            let mut samples = samples.get_mut(..frames).unwrap_or_default();
            while !samples.is_empty() && *at < len {
                let count = samples.len().min(len - *at);
                let (now, later) = samples.split_at_mut_checked(count).unwrap_or_default();
                let places = line.get_mut(*at..).unwrap_or_default();
                for (sample, place) in now.iter_mut().zip(places) {
                    let delayed = *place;
                    let fed = flushed(*sample - DIFFUSION * delayed);
                    *place = fed;
                    *sample = delayed + DIFFUSION * fed;
                }
                *at = onward(*at, count, len);
                samples = later;
            }
        }
        rest
    }
}
