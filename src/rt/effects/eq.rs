//! `eq`: a low shelf, two peaks, a high shelf. No latency.
//!
//! R. Bristow-Johnson's cookbook, as trapezoidal state-variable filters: see [`crate::section`]. A
//! band at 0 dB is not computed, and changes no bit.
//!
//! A narrow band rings, and would carry its ringing along on a long way as a chirp. Such a band
//! leaps: it is turned down to 0 dB, begins anew at the other frequency, and comes up again.

use super::Context;
use crate::Frame;
use crate::GRID;
use crate::effect::{Param, linear};
use crate::ramp::Ramp;
use crate::section::{Section, Shape};

/// Its parameters.
pub const PARAMS: [Param; 10] = [
    linear("low_freq", "Low frequency", 20.0, 500.0, 120.0, "Hz"),
    linear("low_gain_db", "Low gain", -18.0, 18.0, 0.0, "dB"),
    linear("mid1_freq", "Low-mid frequency", 100.0, 4000.0, 400.0, "Hz"),
    linear("mid1_gain_db", "Low-mid gain", -18.0, 18.0, 0.0, "dB"),
    linear("mid1_q", "Low-mid Q", 0.3, 10.0, 1.0, ""),
    linear(
        "mid2_freq",
        "High-mid frequency",
        500.0,
        16_000.0,
        3000.0,
        "Hz",
    ),
    linear("mid2_gain_db", "High-mid gain", -18.0, 18.0, 0.0, "dB"),
    linear("mid2_q", "High-mid Q", 0.3, 10.0, 1.0, ""),
    linear(
        "high_freq",
        "High frequency",
        2000.0,
        18_000.0,
        8000.0,
        "Hz",
    ),
    linear("high_gain_db", "High gain", -18.0, 18.0, 0.0, "dB"),
];

/// From this on, Q times octaves to go, a band leaps.
const LEAP: f32 = 4.0;
/// Either half of a leap.
const LEAP_MS: f32 = 15.0;

/// What a band is told by a parameter.
#[derive(Clone, Copy)]
enum Role {
    Freq,
    Gain,
    Q,
}

/// Band and role of each parameter.
const ROLES: [(usize, Role); PARAMS.len()] = [
    (0, Role::Freq),
    (0, Role::Gain),
    (1, Role::Freq),
    (1, Role::Gain),
    (1, Role::Q),
    (2, Role::Freq),
    (2, Role::Gain),
    (2, Role::Q),
    (3, Role::Freq),
    (3, Role::Gain),
];

/// One section and its numbers.
struct Band {
    /// In octaves of 1 Hz, so that sweeps are even to the ear.
    freq: Ramp,
    gain_db: Ramp,
    /// In octaves, so that the bandwidth never changes at a stroke.
    q: Ramp,
    /// Where it leaps to, in octaves, and how much of its gain is there meanwhile.
    leap: Option<f32>,
    presence: Ramp,
    section: Section,
    runs: bool,
}

impl Band {
    fn new(shape: Shape, freq_hz: f32, rate_hz: f32) -> Band {
        let mut band = Band {
            freq: Ramp::new(libm::log2f(freq_hz)),
            gain_db: Ramp::new(0.0),
            q: Ramp::new(0.0),
            leap: None,
            presence: Ramp::new(1.0),
            section: Section::new(shape),
            runs: false,
        };
        band.snap(rate_hz);
        band
    }

    fn snap(&mut self, rate_hz: f32) {
        if let Some(octaves) = self.leap.take() {
            self.freq.snap(octaves);
        }
        self.presence.snap(1.0);
        self.section.snap(
            linear_of(self.freq),
            self.gain_db.value(),
            linear_of(self.q),
            rate_hz,
        );
        self.runs = !self.gain_db.rests_at(0.0);
    }

    /// Moves its frequency, in octaves, or changes where it leaps to.
    fn go(&mut self, octaves: f32, samples: u32, rate_hz: f32) {
        if self.leap.is_some() {
            self.leap = Some(octaves);
        } else {
            self.freq.go(octaves, samples);
            self.leap_if_far(rate_hz);
        }
    }

    /// Whether it glides to where it is going, or leaps.
    fn leap_if_far(&mut self, rate_hz: f32) {
        let octaves = self.freq.target() - self.freq.value();
        let octaves = if octaves < 0.0 { -octaves } else { octaves };
        let (q, goal) = (self.q.value(), self.q.target());
        let narrowest = libm::exp2f(if q > goal { q } else { goal });
        if self.leap.is_none() && octaves * narrowest > LEAP {
            self.leap = Some(self.freq.target());
            self.freq.snap(self.freq.value());
            self.presence.go(0.0, leap_samples(rate_hz));
        }
    }

    fn on_grid(&mut self, rate_hz: f32) {
        let is_flat = self.gain_db.rests_at(0.0);
        if self.leap.is_some() && self.presence.rests_at(0.0) {
            self.freq.snap(self.leap.take().unwrap_or_default());
            self.section.reset();
            self.section
                .snap(linear_of(self.freq), 0.0, linear_of(self.q), rate_hz);
            self.presence.go(1.0, leap_samples(rate_hz));
        }
        let moves = !(self.freq.is_still()
            && self.gain_db.is_still()
            && self.q.is_still()
            && self.presence.is_still());
        if !self.runs {
            if is_flat {
                return;
            }
            // Begins as something that changes nothing.
            self.runs = true;
            self.section.reset();
            self.section
                .snap(linear_of(self.freq), 0.0, linear_of(self.q), rate_hz);
        }
        self.section.flush();
        if moves || !self.section.is_at_goal() {
            let [mut freq, mut gain, mut q] = [self.freq, self.gain_db, self.q];
            let mut presence = self.presence;
            let gain_db = gain.skip(GRID) * presence.skip(GRID);
            freq.skip(GRID);
            q.skip(GRID);
            self.section
                .glide(linear_of(freq), gain_db, linear_of(q), rate_hz);
        } else if is_flat {
            self.runs = false;
        }
    }
}

fn leap_samples(rate_hz: f32) -> u32 {
    (LEAP_MS * 0.001 * rate_hz) as u32
}

/// What a ramp of octaves stands for.
fn linear_of(octaves: Ramp) -> f32 {
    libm::exp2f(octaves.value())
}

/// See the module.
pub struct Eq {
    rate_hz: f32,
    bands: [Band; 4],
}

impl Eq {
    /// At its defaults: flat.
    pub fn new(rate_hz: u32) -> Eq {
        let rate_hz = rate_hz as f32;
        Eq {
            rate_hz,
            bands: [
                Band::new(Shape::LowShelf, 120.0, rate_hz),
                Band::new(Shape::Peak, 400.0, rate_hz),
                Band::new(Shape::Peak, 3000.0, rate_hz),
                Band::new(Shape::HighShelf, 8000.0, rate_hz),
            ],
        }
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        let Some((band, role)) = ROLES.get(usize::from(param)) else {
            return;
        };
        let Some(band) = self.bands.get_mut(*band) else {
            return;
        };
        match role {
            Role::Freq => band.go(libm::log2f(value), samples, self.rate_hz),
            Role::Gain => band.gain_db.go(value, samples),
            Role::Q => {
                band.q.go(libm::log2f(value), samples);
                band.leap_if_far(self.rate_hz);
            }
        }
        if samples == 0 {
            band.snap(self.rate_hz);
        }
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: &Context<'_>) {
        for band in &mut self.bands {
            if context.on_grid {
                band.on_grid(self.rate_hz);
            }
            for ramp in [
                &mut band.freq,
                &mut band.gain_db,
                &mut band.q,
                &mut band.presence,
            ] {
                ramp.skip(frames.len());
            }
            if band.runs {
                for frame in frames.iter_mut() {
                    *frame = band.section.tick(*frame);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::testing::{Rig, clicks_db, noise, response_db, same_in_any_spans};
    use crate::Kind;
    use core::f64::consts::PI;

    /// The cookbook's biquad, in f64: numerator and denominator.
    fn cookbook(shape: u8, hz: f64, gain_db: f64, q: f64, rate: f64) -> [[f64; 3]; 2] {
        let a = 10f64.powf(gain_db / 40.0);
        let w = 2.0 * PI * hz / rate;
        let (sin, cos) = w.sin_cos();
        if shape == 1 {
            let alpha = sin / (2.0 * q);
            return [
                [1.0 + alpha * a, -2.0 * cos, 1.0 - alpha * a],
                [1.0 + alpha / a, -2.0 * cos, 1.0 - alpha / a],
            ];
        }
        let alpha = sin / 2.0 * 2f64.sqrt();
        let root = 2.0 * a.sqrt() * alpha;
        // The high shelf is the low one with the cosine's sign turned.
        let (c, sign) = if shape == 0 { (cos, 1.0) } else { (-cos, -1.0) };
        [
            [
                a * ((a + 1.0) - (a - 1.0) * c + root),
                sign * 2.0 * a * ((a - 1.0) - (a + 1.0) * c),
                a * ((a + 1.0) - (a - 1.0) * c - root),
            ],
            [
                (a + 1.0) + (a - 1.0) * c + root,
                sign * -2.0 * ((a - 1.0) + (a + 1.0) * c),
                (a + 1.0) + (a - 1.0) * c - root,
            ],
        ]
    }

    fn magnitude_db([b, a]: [[f64; 3]; 2], hz: f64, rate: f64) -> f64 {
        let square = |c: [f64; 3]| {
            let w = 2.0 * PI * hz / rate;
            let re = c[0] + c[1] * w.cos() + c[2] * (2.0 * w).cos();
            let im = c[1] * w.sin() + c[2] * (2.0 * w).sin();
            re * re + im * im
        };
        10.0 * (square(b) / square(a)).log10()
    }

    const POINTS: [f64; 10] = [
        30.0, 70.0, 150.0, 320.0, 700.0, 1500.0, 3200.0, 6500.0, 12_000.0, 19_000.0,
    ];

    #[test]
    fn magnitudes_are_the_cookbooks_within_0_1_db() {
        // Parameters of frequency, gain and Q, and the shape.
        let bands = [
            (0, 1, None, 0),
            (2, 3, Some(4), 1),
            (5, 6, Some(7), 1),
            (8, 9, None, 2),
        ];
        let mut worst = 0.0f64;
        let params = Kind::Eq.params();
        for (freq, gain, q, shape) in bands {
            for at in [0.0, 0.3, 1.0] {
                let range = &params[freq];
                let hz = range.min * (range.max / range.min).powf(at);
                for gain_db in [-18.0, -6.0, 3.0, 18.0] {
                    for quality in [0.3, 1.0, 10.0] {
                        if q.is_none() && quality != 1.0 {
                            continue;
                        }
                        let mut rig = Rig::new(Kind::Eq, 48_000);
                        rig.set(freq as u8, hz as f32, 0);
                        rig.set(gain as u8, gain_db as f32, 0);
                        if let Some(q) = q {
                            rig.set(q as u8, quality as f32, 0);
                        }
                        let measured = response_db(&mut rig, &POINTS, 48_000);
                        let wanted = cookbook(shape, hz, gain_db, quality, 48_000.0);
                        for (hz, measured) in POINTS.iter().zip(measured) {
                            let off = measured - magnitude_db(wanted, *hz, 48_000.0);
                            worst = worst.max(off.abs());
                        }
                    }
                }
            }
        }
        std::println!("eq: off the cookbook by {worst:.4} dB at most");
        assert!(worst < 0.1, "off by {worst} dB");
    }

    #[test]
    fn bands_add_up_and_flat_changes_no_bit() {
        let settings = [(1, 6.0), (3, -9.0), (6, 4.0), (9, 8.0)];
        let mut all = Rig::new(Kind::Eq, 48_000);
        let mut sum = [0.0; POINTS.len()];
        for (param, value) in settings {
            all.set(param, value, 0);
            let mut one = Rig::new(Kind::Eq, 48_000);
            one.set(param, value, 0);
            for (sum, db) in sum.iter_mut().zip(response_db(&mut one, &POINTS, 48_000)) {
                *sum += db;
            }
        }
        for (sum, db) in sum.iter().zip(response_db(&mut all, &POINTS, 48_000)) {
            assert!((sum - db).abs() < 0.01);
        }
        // Back to flat, and some time later nothing is left of it.
        for (param, _) in settings {
            all.set(param, 0.0, 960);
        }
        let mut frames = noise(9600);
        let before = frames.clone();
        all.run(&mut frames);
        assert!(frames[..480] != before[..480] && frames[2048..] == before[2048..]);
    }

    #[test]
    fn sweeps_do_not_click() {
        let gains = [(1, 12.0), (3, 12.0), (6, 12.0), (9, 12.0)];
        for param in 0..Kind::Eq.params().len() {
            let db = clicks_db(Kind::Eq, &gains, param);
            std::println!("eq: {} at {db:.1} dB", Kind::Eq.params()[param].id);
            assert!(
                db < -60.0,
                "{} clicks: {db} dB",
                Kind::Eq.params()[param].id
            );
        }
    }

    #[test]
    fn spans_do_not_matter() {
        same_in_any_spans(Kind::Eq, 48_000);
        same_in_any_spans(Kind::Eq, 44_100);
    }
}
