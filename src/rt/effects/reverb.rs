//! `reverb`: a feedback delay network. Mono in, stereo out. No latency: the dry part is not delayed.
//!
//! J.-M. Jot and A. Chaigne, "Digital delay networks for designing artificial reverberators" (AES
//! 90, 1991): sixteen lines of incommensurate lengths, an energy-preserving feedback matrix (a
//! Hadamard one, by its fast transform), and in each line the absorption that gives the wanted
//! decay time at low and at high frequencies. Before it four all-pass diffusers (M. Schroeder 1962;
//! J. Dattorro 1997) make the echo density of a room from the first moment; eight of the lines are
//! slowly modulated so that no mode rings; early reflections come from taps of the pre-delay.
//!
//! `room_size` sets the decay time: see [`t60_s`]. The wet part's loudness hardly depends on it.

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
/// Diffusers at 48 kHz.
const DIFFUSERS: [u32; 4] = [229, 173, 613, 449];
/// Of the diffusers.
const DIFFUSION: f32 = 0.65;
/// Early reflections: time in ms, gain left, gain right.
const TAPS: [(f32, f32, f32); 6] = [
    (5.3, 0.30, 0.12),
    (9.7, 0.10, 0.28),
    (14.9, 0.24, -0.10),
    (21.1, -0.08, 0.22),
    (28.3, 0.18, 0.06),
    (36.7, 0.05, 0.16),
];
/// The longest pre-delay and the last early reflection, in ms.
const PRE_DELAY_MS_MAX: f32 = 200.0 + 37.0;
/// Lines that are modulated: every other one.
const MODULATED: usize = LINES / 2;
/// How far, in samples at 48 kHz.
const DEPTH: f32 = 7.0;
/// How fast, in Hz: the first, and how much faster each next one is.
const SPEED_HZ: (f32, f32) = (0.31, 0.107);
/// Of a change of the pre-delay.
const CROSSFADE_MS: f32 = 20.0;
/// Shortest and longest decay.
const T60_S: (f32, f32) = (0.4, 6.0);
/// Of the highest frequencies' decay time to the lowest's, at full damping.
const DAMPED: f32 = 0.06;
/// What one pass through a line leaves of the highest frequencies at least: with hardly anything the
/// damper would swallow the low ones too, and give them back for minutes.
const LEAST_RATIO: f32 = 0.03;
/// Brings the wet part of a voice to the loudness of the dry one.
const WET_GAIN: f32 = 1.02;
/// As good as silence; denormals never come near.
const SILENCE: f32 = 1e-15;

/// Decay time by 60 dB at low frequencies for a `room_size` of 0…1, in seconds: 0.4 s … 6 s, by equal
/// ratios; 1.55 s in the middle.
pub fn t60_s(room_size: f32) -> f32 {
    let (shortest, longest) = T60_S;
    shortest * libm::powf(longest / shortest, room_size)
}

fn scaled(length: u32, rate_hz: u32) -> usize {
    // Odd, so that lines keep few factors in common at any rate.
    (u64::from(length) * u64::from(rate_hz) / 48_000) as usize | 1
}

fn pre_delay_len(rate_hz: u32) -> usize {
    (PRE_DELAY_MS_MAX * 0.001 * rate_hz as f32) as usize + 2
}

fn depth(rate_hz: u32) -> f32 {
    DEPTH * rate_hz as f32 / 48_000.0
}

/// Samples of delay memory.
pub fn memory(rate_hz: u32) -> usize {
    let lines: usize = LENGTHS
        .iter()
        .map(|length| line_len(*length, rate_hz))
        .sum();
    let diffusers: usize = DIFFUSERS
        .iter()
        .map(|length| scaled(*length, rate_hz))
        .sum();
    pre_delay_len(rate_hz) + diffusers + lines
}

/// A line with room for its modulation.
fn line_len(length: u32, rate_hz: u32) -> usize {
    scaled(length, rate_hz) + 2 * (depth(rate_hz) as usize + 2)
}

/// A slow sine, advanced once a grid cell.
#[derive(Clone, Copy, Default)]
struct Sway {
    sin: f32,
    cos: f32,
    turn_sin: f32,
    turn_cos: f32,
    now: f32,
    step: f32,
}

impl Sway {
    fn new(index: usize, rate_hz: u32) -> Sway {
        let (first, next) = SPEED_HZ;
        let turn = 2.0 * core::f32::consts::PI * (first + next * index as f32) * GRID as f32
            / rate_hz as f32;
        // Each begins elsewhere.
        let phase = 2.399_963 * index as f32;
        let (sin, cos) = (libm::sinf(phase), libm::cosf(phase));
        Sway {
            sin,
            cos,
            turn_sin: libm::sinf(turn),
            turn_cos: libm::cosf(turn),
            now: sin,
            step: 0.0,
        }
    }

    fn on_grid(&mut self) {
        self.now = self.sin;
        let sin = self.sin * self.turn_cos + self.cos * self.turn_sin;
        let cos = self.cos * self.turn_cos - self.sin * self.turn_sin;
        // Keeps it on the circle, whatever rounding does.
        let mend = 1.5 - 0.5 * (sin * sin + cos * cos);
        self.sin = sin * mend;
        self.cos = cos * mend;
        self.step = (self.sin - self.now) * (1.0 / GRID as f32);
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
    lens: [usize; LINES],
    lengths: [usize; LINES],
    /// Gain and damping of each line, with their steps a sample within a grid cell.
    gain: [f32; LINES],
    gain_goal: [f32; LINES],
    gain_step: [f32; LINES],
    damp: [f32; LINES],
    damp_goal: [f32; LINES],
    damp_step: [f32; LINES],
    level: f32,
    level_goal: f32,
    level_step: f32,
    dampers: [f32; LINES],
    sways: [Sway; MODULATED],
    depth: f32,
    moves: bool,
}

impl Reverb {
    /// At its defaults.
    pub fn new(rate_hz: u32) -> Reverb {
        let mut sways = [Sway::default(); MODULATED];
        for (index, sway) in sways.iter_mut().enumerate() {
            *sway = Sway::new(index, rate_hz);
        }
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
            lens: LENGTHS.map(|length| line_len(length, rate_hz)),
            lengths: LENGTHS.map(|length| scaled(length, rate_hz) + depth(rate_hz) as usize + 2),
            gain: [0.0; LINES],
            gain_goal: [0.0; LINES],
            gain_step: [0.0; LINES],
            damp: [0.0; LINES],
            damp_goal: [0.0; LINES],
            damp_step: [0.0; LINES],
            level: 0.0,
            level_goal: 0.0,
            level_step: 0.0,
            dampers: [0.0; LINES],
            sways,
            depth: depth(rate_hz),
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

    /// What the lines are at a room size and a damping.
    fn aim(&mut self, room_size: f32, damping: f32) {
        let t60 = t60_s(room_size);
        // The highest frequencies decay faster, by equal ratios of the parameter.
        let high = t60 * libm::powf(DAMPED, damping);
        let rate = self.rate_hz as f32;
        let mut mean = 0.0;
        for ((gain, damp), length) in self
            .gain_goal
            .iter_mut()
            .zip(&mut self.damp_goal)
            .zip(&self.lengths)
        {
            let seconds = *length as f32 / rate;
            *gain = libm::powf(10.0, -3.0 * seconds / t60);
            // One pole, 1 at 0 Hz and `ratio` at the Nyquist frequency.
            let ratio = libm::powf(10.0, -3.0 * seconds * (1.0 / high - 1.0 / t60));
            let ratio = LEAST_RATIO + (1.0 - LEAST_RATIO) * ratio;
            *damp = (1.0 - ratio) / (1.0 + ratio);
            mean += *gain * *gain;
        }
        // The energy of a decay is 1/(1 − g²): the same loudness for every room.
        self.level_goal = WET_GAIN * libm::sqrtf(1.0 - mean / LINES as f32);
    }

    fn snap(&mut self) {
        self.aim(self.room_size.value(), self.damping.value());
        self.gain = self.gain_goal;
        self.damp = self.damp_goal;
        self.level = self.level_goal;
        self.gain_step = [0.0; LINES];
        self.damp_step = [0.0; LINES];
        self.level_step = 0.0;
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
        self.sways.iter_mut().for_each(Sway::on_grid);
        self.low_cut.flush();
        self.high_cut.flush();
        for state in &mut self.dampers {
            if !(*state > SILENCE || *state < -SILENCE) {
                *state = 0.0;
            }
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
        self.gain = self.gain_goal;
        self.damp = self.damp_goal;
        self.level = self.level_goal;
        self.aim(ahead(self.room_size), ahead(self.damping));
        let per = 1.0 / GRID as f32;
        for line in 0..LINES {
            self.gain_step[line] = (self.gain_goal[line] - self.gain[line]) * per;
            self.damp_step[line] = (self.damp_goal[line] - self.damp[line]) * per;
        }
        self.level_step = (self.level_goal - self.level) * per;
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
            || self.gain != self.gain_goal
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
        let (pre, rest) = context
            .memory
            .split_at_mut_checked(pre_delay_len(self.rate_hz))
            .unwrap_or_default();
        let diffusers: usize = DIFFUSERS
            .iter()
            .map(|length| scaled(*length, self.rate_hz))
            .sum();
        let (diffusers, lines) = rest.split_at_mut_checked(diffusers).unwrap_or_default();
        for frame in frames {
            let wet = self.wet.tick();
            let mono = 0.5 * (frame[0] + frame[1]);
            let (tail_in, early) = self.pre_delay(pre, mono);
            let cut = self.low_cut.tick([tail_in, 0.0]).high;
            let cut = self.high_cut.tick(cut).low[0];
            let diffuse = self.diffuse(diffusers, cut);
            let tail = self.network(lines, diffuse);
            for side in 0..2 {
                frame[side] =
                    frame[side] * (1.0 - wet) + (tail[side] * self.level + early[side]) * wet;
            }
            self.level += self.level_step;
        }
    }

    /// Into the pre-delay; out come the tail's input and the early reflections.
    fn pre_delay(&mut self, pre: &mut [f32], input: f32) -> (f32, Frame) {
        let len = pre.len();
        let write = self.pre_at;
        if let Some(place) = pre.get_mut(write) {
            *place = flushed(input);
        }
        let read = |back: usize| {
            let index = if back <= write {
                write - back
            } else {
                // Without memory there is no place at all.
                (write + len).wrapping_sub(back)
            };
            pre.get(index).copied().unwrap_or(0.0)
        };
        let fade = self.fade.tick();
        let mut tail = read(self.tap[0]);
        let early_at = |tap: usize| {
            let mut early = [0.0; 2];
            for (ms, left, right) in TAPS {
                let sample = read(tap + (ms * 0.001 * self.rate_hz as f32) as usize);
                early[0] += left * sample;
                early[1] += right * sample;
            }
            early
        };
        let mut early = early_at(self.tap[0]);
        if fade > 0.0 {
            let (next, next_early) = (read(self.tap[1]), early_at(self.tap[1]));
            tail += (next - tail) * fade;
            early[0] += (next_early[0] - early[0]) * fade;
            early[1] += (next_early[1] - early[1]) * fade;
        }
        self.pre_at = if write + 1 >= len { 0 } else { write + 1 };
        (tail, early)
    }

    fn diffuse(&mut self, memory: &mut [f32], input: f32) -> f32 {
        let mut sample = input;
        let mut rest = memory;
        for (at, length) in self.diffuser_at.iter_mut().zip(DIFFUSERS) {
            let len = scaled(length, self.rate_hz);
            let Some((line, behind)) = rest.split_at_mut_checked(len) else {
                return sample;
            };
            rest = behind;
            if let Some(place) = line.get_mut(*at) {
                let delayed = *place;
                let fed = flushed(sample - DIFFUSION * delayed);
                *place = fed;
                sample = delayed + DIFFUSION * fed;
            }
            *at = if *at + 1 >= len { 0 } else { *at + 1 };
        }
        sample
    }

    fn network(&mut self, memory: &mut [f32], input: f32) -> Frame {
        let mut out = [0.0; LINES];
        let mut rest = &*memory;
        for (line, sample) in out.iter_mut().enumerate() {
            let len = self.lens[line];
            let Some((delay, behind)) = rest.split_at_checked(len) else {
                return [0.0; 2];
            };
            rest = behind;
            let write = self.line_at[line];
            let read = |back: usize| {
                let index = if back <= write {
                    write - back
                } else {
                    write + len - back
                };
                delay.get(index).copied().unwrap_or(0.0)
            };
            let length = self.lengths[line];
            *sample = match self.sways.get_mut(line / 2) {
                Some(sway) if line % 2 == 0 => {
                    let shift = sway.now * self.depth + self.depth + 1.0;
                    sway.now += sway.step;
                    let whole = shift as usize;
                    let part = shift - whole as f32;
                    // Around the nominal length, which `line_len` leaves room for.
                    let near = length + whole - self.depth as usize - 2;
                    let (near, far) = (read(near), read(near + 1));
                    near + (far - near) * part
                }
                _ => read(length),
            };
        }
        let mut back = [0.0; LINES];
        for line in 0..LINES {
            // Absorption: the line's gain and its one-pole damper.
            let damped = out[line] + (self.dampers[line] - out[line]) * self.damp[line];
            self.dampers[line] = damped;
            out[line] = damped;
            back[line] = damped * self.gain[line];
            self.gain[line] += self.gain_step[line];
            self.damp[line] += self.damp_step[line];
        }
        // Before the absorption: the first pass is as loud in a small room as in a large one.
        let heard = ears(&out);
        hadamard(&mut back);
        let mut rest = memory;
        for (line, sample) in back.iter().enumerate() {
            let len = self.lens[line];
            let Some((delay, behind)) = rest.split_at_mut_checked(len) else {
                break;
            };
            rest = behind;
            // Each line is fed equally, with signs that no output shares.
            let sign = if (line ^ (line >> 1)) & 1 == 0 {
                0.25
            } else {
                -0.25
            };
            if let Some(place) = delay.get_mut(self.line_at[line]) {
                *place = flushed(*sample * 0.25 + input * sign);
            }
            self.line_at[line] = if self.line_at[line] + 1 >= len {
                0
            } else {
                self.line_at[line] + 1
            };
        }
        heard
    }
}

/// Two outputs of the lines that have nothing in common.
fn ears(lines: &[f32; LINES]) -> Frame {
    let mut heard = [0.0; 2];
    for (line, sample) in lines.iter().enumerate() {
        heard[0] += if (line >> 2) & 1 == 0 {
            *sample
        } else {
            -*sample
        };
        heard[1] += if (line >> 3) & 1 == 0 {
            *sample
        } else {
            -*sample
        };
    }
    heard
}

/// The fast Walsh–Hadamard transform; four times too loud.
fn hadamard(values: &mut [f32; LINES]) {
    let mut half = 1;
    while half < LINES {
        let mut index = 0;
        while index < LINES {
            if index & half == 0 {
                let (a, b) = (values[index & 15], values[(index | half) & 15]);
                values[index & 15] = a + b;
                values[(index | half) & 15] = a - b;
            }
            index += 1;
        }
        half *= 2;
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
