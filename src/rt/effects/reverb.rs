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

const LINES: usize = 16;
/// Lengths at 48 kHz: primes from 21 to 87 ms.
const LENGTHS: [u32; LINES] = [
    1031, 1327, 1523, 1801, 1973, 2203, 2399, 2617, 2803, 3001, 3187, 3371, 3571, 3767, 3967, 4157,
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
/// Planes that turn: each line is in one.
const PLANES: usize = LINES / 2;
/// How fast, in Hz: the slowest, and how much faster each next one is; every other one backwards.
const SPEED_HZ: (f32, f32) = (0.3, 0.1);
/// The transform's rows that are heard left and right: they share no signs with each other, nor with
/// those by which the lines are fed.
const EARS: [usize; 2] = [5, 10];
/// Of a change of the pre-delay.
const CROSSFADE_MS: f32 = 20.0;
/// Shortest and longest decay at low frequencies.
const T60_S: (f32, f32) = (0.4, 6.0);
/// How much faster the highest frequencies decay at full damping.
const DAMPED: f32 = 6.0;
/// Where half of that is reached.
const DAMPED_HZ: f32 = 3000.0;
/// Where the absorption is matched, besides 0 Hz.
const MATCHED_HZ: [f32; 2] = [2000.0, 8000.0];
/// What a line takes from the highest frequencies beyond the lowest, at most, in nepers of power
/// (30 dB): a filter of the first order that took more would swallow low ones too.
const DAMPED_MOST: f32 = 7.0;
/// And at least, so that the filter is defined.
const DAMPED_LEAST: f32 = 1e-4;
/// Shortest decay that the network can have.
pub const SHORTEST_S: f32 = 0.15;
/// Shares of a voice's power near the frequencies where the absorption is matched.
const VOICE: [f32; 3] = [0.33, 0.55, 0.12];
/// Brings the wet part of a voice to the loudness of the dry one.
const WET_GAIN: f32 = 0.93;
/// Of the Hadamard transform, so that it preserves energy.
const HADAMARD: f32 = 0.25;
/// As good as silence; denormals never come near.
const SILENCE: f32 = 1e-15;

/// Decay time by 60 dB at low frequencies for a `room_size` of 0…1, in seconds: 0.4 s … 6 s, by equal
/// ratios; 1.55 s in the middle.
pub fn t60_s(room_size: f32) -> f32 {
    let (shortest, longest) = T60_S;
    shortest * libm::powf(longest / shortest, room_size)
}

/// Decay time by 60 dB at a frequency in Hz, in seconds, for a `room_size` and a `damping` of 0…1: see
/// the module.
pub fn t60_at_s(room_size: f32, damping: f32, freq_hz: f32) -> f32 {
    t60_s(room_size) / (1.0 + extra(damping) * share(freq_hz))
}

/// How much faster the highest frequencies decay, less 1.
fn extra(damping: f32) -> f32 {
    libm::powf(DAMPED, damping) - 1.0
}

/// How much of that a frequency gets.
fn share(freq_hz: f32) -> f32 {
    let square = (freq_hz / DAMPED_HZ) * (freq_hz / DAMPED_HZ);
    square / (square + 1.0)
}

fn scaled(length: u32, rate_hz: u32) -> usize {
    // Odd, so that lines keep few factors in common at any rate.
    (u64::from(length) * u64::from(rate_hz) / 48_000) as usize | 1
}

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

/// One signal for the time of a span.
type Span = [f32; GRID];

/// Copies a ring's samples from a place on.
#[inline]
fn read(ring: &[f32], at: usize, to: &mut [f32]) {
    let end = ring.len().saturating_sub(at).min(to.len());
    if let Some((first, second)) = to.split_at_mut_checked(end) {
        let from = ring.get(at..).unwrap_or_default();
        first
            .iter_mut()
            .zip(from)
            .for_each(|(to, from)| *to = *from);
        second
            .iter_mut()
            .zip(ring)
            .for_each(|(to, from)| *to = *from);
    }
}

/// Copies samples into a ring, from a place on.
#[inline]
fn write(ring: &mut [f32], at: usize, from: &[f32]) {
    let end = ring.len().saturating_sub(at).min(from.len());
    if let Some((first, second)) = from.split_at_checked(end) {
        let to = ring.get_mut(at..).unwrap_or_default();
        to.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
        let to = ring.iter_mut();
        to.zip(second).for_each(|(to, from)| *to = *from);
    }
}

/// A place in a ring, so many samples on.
#[inline]
fn onward(at: usize, samples: usize, len: usize) -> usize {
    let at = at + samples;
    if at >= len { at - len } else { at }
}

/// The absorption behind each line: filters of the first order, `y = direct·x + s`,
/// `s' = through·x + pole·s`.
#[derive(Clone, Copy, PartialEq)]
struct Absorption {
    direct: [f32; LINES],
    through: [f32; LINES],
    pole: [f32; LINES],
}

impl Absorption {
    const NONE: Absorption = Absorption {
        direct: [0.0; LINES],
        through: [0.0; LINES],
        pole: [0.0; LINES],
    };

    /// What leads from one to the other within a grid cell, for each frame.
    fn step(from: &Absorption, to: &Absorption) -> Absorption {
        let step = |from: &[f32; LINES], to: &[f32; LINES]| {
            let mut step = *to;
            for (step, from) in step.iter_mut().zip(from) {
                *step = (*step - *from) * (1.0 / GRID as f32);
            }
            step
        };
        Absorption {
            direct: step(&from.direct, &to.direct),
            through: step(&from.through, &to.through),
            pole: step(&from.pole, &to.pole),
        }
    }
}

/// Gains before the network and behind it.
#[derive(Clone, Copy, PartialEq)]
struct Levels {
    fed: f32,
    heard: f32,
}

/// Plane rotations, slow ones. Sines and cosines move linearly within a grid cell.
struct Planes {
    cos: [f32; PLANES],
    sin: [f32; PLANES],
    cos_step: [f32; PLANES],
    sin_step: [f32; PLANES],
    /// Where they are at the end of the cell.
    next: [[f32; 2]; PLANES],
    turn: [[f32; 2]; PLANES],
    /// Frames since the cell's beginning.
    at: usize,
}

impl Planes {
    fn new(rate_hz: u32) -> Planes {
        let (slowest, more) = SPEED_HZ;
        let mut turn = [[1.0, 0.0]; PLANES];
        let mut next = [[1.0, 0.0]; PLANES];
        for (index, (turn, next)) in turn.iter_mut().zip(&mut next).enumerate() {
            let sign = if index % 2 == 0 { 1.0 } else { -1.0 };
            let speed = sign * (slowest + more * index as f32);
            let angle = 2.0 * core::f32::consts::PI * speed * GRID as f32 / rate_hz as f32;
            *turn = [libm::cosf(angle), libm::sinf(angle)];
            // Each begins elsewhere.
            let angle = 2.399_963 * index as f32;
            *next = [libm::cosf(angle), libm::sinf(angle)];
        }
        Planes {
            cos: next.map(|[cos, _]| cos),
            sin: next.map(|[_, sin]| sin),
            cos_step: [0.0; PLANES],
            sin_step: [0.0; PLANES],
            next,
            turn,
            at: 0,
        }
    }

    fn on_grid(&mut self) {
        self.at = 0;
        let per = 1.0 / GRID as f32;
        for index in 0..PLANES {
            let [cos, sin] = self.next[index];
            let [turn_cos, turn_sin] = self.turn[index];
            let next = [
                cos * turn_cos - sin * turn_sin,
                sin * turn_cos + cos * turn_sin,
            ];
            // Keeps it on the circle, whatever rounding does.
            let mend = 1.5 - 0.5 * (next[0] * next[0] + next[1] * next[1]);
            self.next[index] = next.map(|part| part * mend);
            self.cos[index] = cos;
            self.sin[index] = sin;
            self.cos_step[index] = (self.next[index][0] - cos) * per;
            self.sin_step[index] = (self.next[index][1] - sin) * per;
        }
    }

    /// Turns each line of the first half with one of the second.
    fn turn(&mut self, lines: &mut [Span; LINES], frames: usize) {
        let mut place = [0.0; GRID];
        for (index, place) in place.iter_mut().enumerate() {
            *place = (self.at + index) as f32;
        }
        self.at += frames;
        let Some((ones, others)) = lines.split_at_mut_checked(PLANES) else {
            return;
        };
        for (index, (ones, others)) in ones.iter_mut().zip(others).enumerate().take(PLANES) {
            let (cos, sin) = (self.cos[index], self.sin[index]);
            let (cos_step, sin_step) = (self.cos_step[index], self.sin_step[index]);
            for ((one, other), place) in ones.iter_mut().zip(others).zip(&place) {
                let (cos, sin) = (cos + cos_step * place, sin + sin_step * place);
                (*one, *other) = (cos * *one - sin * *other, sin * *one + cos * *other);
            }
        }
    }
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
    line_at: [usize; LINES],
    lengths: [usize; LINES],
    /// Squared tangents of [`MATCHED_HZ`], and their shares of the damping.
    matched: [[f32; 2]; 2],
    absorption: Absorption,
    absorption_goal: Absorption,
    absorption_step: Absorption,
    states: [f32; LINES],
    levels: Levels,
    levels_goal: Levels,
    levels_step: Levels,
    planes: Planes,
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
            line_at: [0; LINES],
            lengths: LENGTHS.map(|length| scaled(length, rate_hz)),
            matched: MATCHED_HZ.map(|freq| {
                // The lower rates have no 8 kHz.
                let highest = freq * 0.05e-3 * rate_hz as f32;
                let freq = if freq < highest { freq } else { highest };
                let tangent = libm::tanf(core::f32::consts::PI * freq / rate_hz as f32);
                [tangent * tangent, share(freq)]
            }),
            absorption: Absorption::NONE,
            absorption_goal: Absorption::NONE,
            absorption_step: Absorption::NONE,
            states: [0.0; LINES],
            levels: none,
            levels_goal: none,
            levels_step: none,
            planes: Planes::new(rate_hz),
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

    /// What the network is at a room size and a damping.
    fn aim(&mut self, room_size: f32, damping: f32) {
        let extra = extra(damping);
        // Nepers of power that a frame costs at low frequencies.
        let loss = 6.0 * core::f32::consts::LN_10 / (t60_s(room_size) * self.rate_hz as f32);
        let [[u1, share1], [u2, share2]] = self.matched;
        let goal = &mut self.absorption_goal;
        let mut passed = [0.0; 3];
        for line in 0..LINES {
            let loss = loss * self.lengths[line] as f32;
            let more = loss * extra;
            let more = if more < DAMPED_MOST {
                more
            } else {
                DAMPED_MOST
            };
            let more = if more > DAMPED_LEAST {
                more
            } else {
                DAMPED_LEAST
            };
            // The power that goes through is, with u = tan²(π f / rate), (1 + b·u) / (1 + a·u) of that at
            // 0 Hz: a and b follow from what is taken at two frequencies.
            let power = libm::expf(-loss);
            let (taken1, taken2) = (-libm::expm1f(-more * share1), -libm::expm1f(-more * share2));
            let a = (taken1 / u1 - taken2 / u2) / (taken2 - taken1);
            let b = (1.0 - taken1) * a - taken1 / u1;
            let (a, b) = if b > 0.0 {
                (a, b)
            } else {
                (taken1 / ((1.0 - taken1) * u1), 0.0)
            };
            let (a, b) = (libm::sqrtf(a), libm::sqrtf(b));
            let gain = HADAMARD * libm::sqrtf(power) / (1.0 + a);
            let pole = (a - 1.0) / (a + 1.0);
            goal.direct[line] = gain * (1.0 + b);
            goal.pole[line] = pole;
            goal.through[line] = gain * (1.0 - b) + pole * gain * (1.0 + b);
            let per = power * (1.0 / LINES as f32);
            passed[0] += per;
            passed[1] += per * (1.0 - taken1);
            passed[2] += per * (1.0 - taken2);
        }
        // Where a pass leaves a share e of the power, there is e/(1 − e) of it in all. What the lines
        // hold is to be as loud in every room, so that a change of room is neither a swell nor a dip:
        // hence a gain before and one behind.
        let mut power = 0.0;
        for (passed, voice) in passed.iter().zip(VOICE) {
            power += voice * passed / (1.0 - passed);
        }
        let heard = 1.0 / libm::sqrtf(passed[0]);
        self.levels_goal = Levels {
            fed: WET_GAIN / (libm::sqrtf(power) * heard),
            heard,
        };
    }

    fn snap(&mut self) {
        self.aim(self.room_size.value(), self.damping.value());
        self.absorption = self.absorption_goal;
        self.levels = self.levels_goal;
        self.absorption_step = Absorption::NONE;
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
        self.planes.on_grid();
        self.low_cut.flush();
        self.high_cut.flush();
        for state in &mut self.states {
            *state = flushed(*state);
        }
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
        self.absorption = self.absorption_goal;
        self.levels = self.levels_goal;
        self.aim(ahead(self.room_size), ahead(self.damping));
        self.absorption_step = Absorption::step(&self.absorption, &self.absorption_goal);
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
            || self.absorption != self.absorption_goal
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
        self.network(rest, &tail, &mut lines, used);
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

    /// Leaves what comes out of the transform in `lines`.
    fn network(
        &mut self,
        memory: &mut [f32],
        input: &Span,
        lines: &mut [Span; LINES],
        frames: usize,
    ) {
        let mut rest = &*memory;
        for (line, samples) in lines.iter_mut().enumerate() {
            let Some((delay, behind)) = rest.split_at_checked(self.lengths[line]) else {
                return;
            };
            rest = behind;
            let samples = samples.get_mut(..frames).unwrap_or_default();
            read(delay, self.line_at[line], samples);
        }
        self.absorb(lines, frames);
        self.planes.turn(lines, frames);
        hadamard(lines);
        let mut rest = memory;
        for (line, samples) in lines.iter().enumerate() {
            let len = self.lengths[line];
            let Some((delay, behind)) = rest.split_at_mut_checked(len) else {
                return;
            };
            rest = behind;
            // Each line is fed equally, with signs that no output shares.
            let sign = if (line ^ (line >> 1)) & 1 == 0 {
                1.0
            } else {
                -1.0
            };
            let mut back = [0.0; GRID];
            for ((back, sample), input) in back.iter_mut().zip(samples).zip(input) {
                *back = flushed(*sample + input * sign);
            }
            let at = &mut self.line_at[line];
            write(delay, *at, back.get(..frames).unwrap_or_default());
            *at = onward(*at, frames, len);
        }
    }

    /// What the lines' lengths absorb.
    fn absorb(&mut self, lines: &mut [Span; LINES], frames: usize) {
        const AT_ONCE: usize = 4;
        let moves = self.moves;
        let (now, step) = (&mut self.absorption, &self.absorption_step);
        for (group, lines) in lines.chunks_exact_mut(AT_ONCE).enumerate() {
            let [one, two, three, four] = lines else {
                return;
            };
            let mut direct = [0.0; AT_ONCE];
            let mut through = [0.0; AT_ONCE];
            let mut pole = [0.0; AT_ONCE];
            let mut state = [0.0; AT_ONCE];
            for lane in 0..AT_ONCE {
                let line = (group * AT_ONCE + lane) % LINES;
                direct[lane] = now.direct[line];
                through[lane] = now.through[line];
                pole[lane] = now.pole[line];
                state[lane] = self.states[line];
            }
            let pairs = one.iter_mut().zip(two.iter_mut());
            let others = three.iter_mut().zip(four.iter_mut());
            for ((one, two), (three, four)) in pairs.zip(others).take(frames) {
                let samples = [*one, *two, *three, *four];
                let mut out = [0.0; AT_ONCE];
                for lane in 0..AT_ONCE {
                    out[lane] = direct[lane] * samples[lane] + state[lane];
                    state[lane] = through[lane] * samples[lane] + pole[lane] * state[lane];
                }
                [*one, *two, *three, *four] = out;
                if moves {
                    for lane in 0..AT_ONCE {
                        let line = (group * AT_ONCE + lane) % LINES;
                        direct[lane] += step.direct[line];
                        through[lane] += step.through[line];
                        pole[lane] += step.pole[line];
                    }
                }
            }
            for lane in 0..AT_ONCE {
                let line = (group * AT_ONCE + lane) % LINES;
                now.direct[line] = direct[lane];
                now.through[line] = through[lane];
                now.pole[line] = pole[lane];
                self.states[line] = state[lane];
            }
        }
    }
}

/// The fast Walsh–Hadamard transform over the lines; [`HADAMARD`] is in the absorption already.
fn hadamard(lines: &mut [Span; LINES]) {
    let mut half = 1;
    while half < LINES {
        for block in lines.chunks_exact_mut(4 * half) {
            let Some((a, rest)) = block.split_at_mut_checked(half) else {
                return;
            };
            let Some((b, rest)) = rest.split_at_mut_checked(half) else {
                return;
            };
            let Some((c, d)) = rest.split_at_mut_checked(half) else {
                return;
            };
            for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                    let (ab, a_b) = (*a + *b, *a - *b);
                    let (cd, c_d) = (*c + *d, *c - *d);
                    (*a, *b, *c, *d) = (ab + cd, a_b + c_d, ab - cd, a_b - c_d);
                }
            }
        }
        half *= 4;
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
