//! The lines, what each of them absorbs, and the matrix that moves.

use super::decay::{Absorption, Decay, Levels};
use super::ring::{Span, flushed, onward, read, write};
use crate::GRID;

pub const LINES: usize = 16;
/// Lengths at 48 kHz: primes from 21 to 87 ms.
pub const LENGTHS: [u32; LINES] = [
    1031, 1327, 1523, 1801, 1973, 2203, 2399, 2617, 2803, 3001, 3187, 3371, 3571, 3767, 3967, 4157,
];
/// Planes that turn: each line is in one.
const PLANES: usize = LINES / 2;
/// How fast, in Hz: the slowest, and how much faster each next one is; every other one backwards.
const SPEED_HZ: (f32, f32) = (0.3, 0.1);

/// A length at 48 kHz, at another rate.
pub fn scaled(length: u32, rate_hz: u32) -> usize {
    // Odd, so that lines keep few factors in common at any rate.
    (u64::from(length) * u64::from(rate_hz) / 48_000) as usize | 1
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

/// Sixteen delay lines that feed each other.
pub struct Network {
    at: [usize; LINES],
    lengths: [usize; LINES],
    absorption: Absorption,
    goal: Absorption,
    step: Absorption,
    states: [f32; LINES],
    planes: Planes,
}

impl Network {
    pub fn new(rate_hz: u32) -> Network {
        Network {
            at: [0; LINES],
            lengths: LENGTHS.map(|length| scaled(length, rate_hz)),
            absorption: Absorption::NONE,
            goal: Absorption::NONE,
            step: Absorption::NONE,
            states: [0.0; LINES],
            planes: Planes::new(rate_hz),
        }
    }

    /// Is a room at once.
    pub fn snap(&mut self, decay: &Decay, room_size: f32, damping: f32) -> Levels {
        let levels = decay.aim(&self.lengths, room_size, damping, &mut self.goal);
        self.absorption = self.goal;
        self.step = Absorption::NONE;
        levels
    }

    /// Has arrived, and is a room at the end of this grid cell.
    pub fn glide(&mut self, decay: &Decay, room_size: f32, damping: f32) -> Levels {
        self.absorption = self.goal;
        let levels = decay.aim(&self.lengths, room_size, damping, &mut self.goal);
        self.step = Absorption::step(&self.absorption, &self.goal);
        levels
    }

    pub fn is_at_goal(&self) -> bool {
        self.absorption == self.goal
    }

    pub fn on_grid(&mut self) {
        self.planes.on_grid();
        for state in &mut self.states {
            *state = flushed(*state);
        }
    }

    /// Leaves what comes out of the transform in `lines`. `moves`: the absorption is on its way.
    pub fn run(
        &mut self,
        memory: &mut [f32],
        input: &Span,
        lines: &mut [Span; LINES],
        frames: usize,
        moves: bool,
    ) {
        let mut rest = &*memory;
        for (line, samples) in lines.iter_mut().enumerate() {
            let Some((delay, behind)) = rest.split_at_checked(self.lengths[line]) else {
                return;
            };
            rest = behind;
            let samples = samples.get_mut(..frames).unwrap_or_default();
            read(delay, self.at[line], samples);
        }
        self.absorb(lines, frames, moves);
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
            let at = &mut self.at[line];
            write(delay, *at, back.get(..frames).unwrap_or_default());
            *at = onward(*at, frames, len);
        }
    }

    /// What the lines' lengths absorb.
    fn absorb(&mut self, lines: &mut [Span; LINES], frames: usize, moves: bool) {
        const AT_ONCE: usize = 4;
        let (now, step) = (&mut self.absorption, &self.step);
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

/// The fast Walsh–Hadamard transform over the lines; its gain is in the absorption already.
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
