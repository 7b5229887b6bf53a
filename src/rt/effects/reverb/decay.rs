//! How fast the lines decay: what is absorbed behind each, so that all agree on the decay time.

use super::network::LINES;
use crate::GRID;

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

/// The absorption behind each line: filters of the first order, `y = direct·x + s`,
/// `s' = through·x + pole·s`.
#[derive(Clone, Copy, PartialEq)]
pub struct Absorption {
    pub direct: [f32; LINES],
    pub through: [f32; LINES],
    pub pole: [f32; LINES],
}

impl Absorption {
    /// Nothing comes through.
    pub const NONE: Absorption = Absorption {
        direct: [0.0; LINES],
        through: [0.0; LINES],
        pole: [0.0; LINES],
    };

    /// What leads from one to the other within a grid cell, for each frame.
    pub fn step(from: &Absorption, to: &Absorption) -> Absorption {
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
pub struct Levels {
    pub fed: f32,
    pub heard: f32,
}

/// What is the same for every room at a rate.
pub struct Decay {
    rate_hz: f32,
    /// Squared tangents of [`MATCHED_HZ`], and their shares of the damping.
    matched: [[f32; 2]; 2],
}

impl Decay {
    pub fn new(rate_hz: u32) -> Decay {
        Decay {
            rate_hz: rate_hz as f32,
            matched: MATCHED_HZ.map(|freq| {
                // The lower rates have no 8 kHz.
                let highest = freq * 0.05e-3 * rate_hz as f32;
                let freq = if freq < highest { freq } else { highest };
                let tangent = libm::tanf(core::f32::consts::PI * freq / rate_hz as f32);
                [tangent * tangent, share(freq)]
            }),
        }
    }

    /// What lines of these lengths absorb at a room size and a damping, and the gains that go with it.
    pub fn aim(
        &self,
        lengths: &[usize; LINES],
        room_size: f32,
        damping: f32,
        goal: &mut Absorption,
    ) -> Levels {
        let extra = extra(damping);
        // Nepers of power that a frame costs at low frequencies.
        let loss = 6.0 * core::f32::consts::LN_10 / (t60_s(room_size) * self.rate_hz);
        let [[u1, share1], [u2, share2]] = self.matched;
        let mut passed = [0.0; 3];
        for line in 0..LINES {
            let loss = loss * lengths[line] as f32;
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
        Levels {
            fed: WET_GAIN / (libm::sqrtf(power) * heard),
            heard,
        }
    }
}
