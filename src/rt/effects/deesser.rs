//! `deesser`: takes down what is above a frequency, while there is too much of it. No latency.
//!
//! Split-band with a linked detector, after D. Giannoulis, M. Massberg, J. Reiss, "Digital Dynamic
//! Range Compressor Design" (JAES 60, 2012) and U. Zölzer, "DAFX: Digital Audio Effects" (2nd ed., 2011,
//! chapter 4): the detector hears the band above `freq` through a fourth-order Butterworth
//! high-pass; the peak of each grid cell goes through a soft-kneed 4:1 curve and a branching
//! smoother. What is turned down is a dynamic high shelf ([`crate::section`]), not a band that
//! is split off and added again: at rest nothing is changed, not even phases, and vowels pass.
//!
//! The shelf begins a third of an octave below `freq`, so that at `freq` most of it is in effect.

use super::Context;
use crate::decibel;
use crate::effect::{Param, linear, log};
use crate::ramp::Ramp;
use crate::section::{Section, Shape};
use crate::svf::{Coefficients, Svf};
use crate::{Frame, GRID};

/// Its parameters.
pub const PARAMS: [Param; 3] = [
    log("freq", "Frequency", 2000.0, 12_000.0, 6500.0, "Hz"),
    linear("threshold_db", "Threshold", -60.0, 0.0, -30.0, "dB"),
    linear("range_db", "Range", 0.0, 24.0, 8.0, "dB"),
];

/// 1/Q of the detector's halves: 2·cos(π/8) and 2·cos(3π/8).
const K: [f32; 2] = [1.847_759_1, 0.765_366_9];
/// Time constants: faster than a consonant begins, slower than its noise.
const ATTACK_MS: f32 = 1.0;
const RELEASE_MS: f32 = 40.0;
/// How much of what is over the threshold goes: 4:1.
const SLOPE: f32 = 0.75;
const HALF_KNEE_DB: f32 = 3.0;
/// Of the shelf's middle to `freq`.
const SHELF: f32 = 0.8;
/// No reduction at all, in dB.
const NOTHING_DB: f32 = 1e-3;

/// See the module.
pub struct Deesser {
    rate_hz: f32,
    /// In octaves of 1 Hz.
    freq: Ramp,
    threshold_db: Ramp,
    range_db: Ramp,
    /// Weights of the new value, once a grid cell.
    attack: f32,
    release: f32,
    detector: [Svf; 2],
    shelf: Section,
    /// Of the band, in this cell.
    peak: f32,
    reduction_db: f32,
    most_db: f32,
}

impl Deesser {
    /// At its defaults.
    pub fn new(rate_hz: u32) -> Deesser {
        let cells_per_ms = 0.001 * rate_hz as f32 / GRID as f32;
        let mut deesser = Deesser {
            rate_hz: rate_hz as f32,
            freq: Ramp::new(libm::log2f(6500.0)),
            threshold_db: Ramp::new(-30.0),
            range_db: Ramp::new(8.0),
            attack: decibel::smoothing(ATTACK_MS * cells_per_ms),
            release: decibel::smoothing(RELEASE_MS * cells_per_ms),
            detector: K.map(Svf::new),
            shelf: Section::new(Shape::HighShelf),
            peak: 0.0,
            reduction_db: 0.0,
            most_db: 0.0,
        };
        deesser.snap();
        deesser
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        match param {
            0 => self.freq.go(libm::log2f(value), samples),
            1 => self.threshold_db.go(value, samples),
            2 => self.range_db.go(value, samples),
            _ => return,
        }
        if samples == 0 {
            self.snap();
        }
    }

    /// See [`super::Effect::take_reduction`].
    pub fn take_reduction(&mut self) -> f32 {
        decibel::to_linear(-core::mem::replace(&mut self.most_db, 0.0))
    }

    fn snap(&mut self) {
        let freq = libm::exp2f(self.freq.value());
        for svf in &mut self.detector {
            svf.snap(Coefficients::new(freq, svf.k(), self.rate_hz));
        }
        self.shelf
            .snap(freq * SHELF, -self.reduction_db, 1.0, self.rate_hz);
    }

    /// The reduction in dB that the last cell asks for.
    fn wanted_db(&self) -> f32 {
        let over = decibel::from_linear(self.peak) - self.threshold_db.value();
        let over = if over >= HALF_KNEE_DB {
            over
        } else if over > -HALF_KNEE_DB {
            let into = over + HALF_KNEE_DB;
            into * into / (4.0 * HALF_KNEE_DB)
        } else {
            0.0
        };
        let wanted = over * SLOPE;
        let range = self.range_db.value();
        if wanted < range { wanted } else { range }
    }

    fn on_grid(&mut self) {
        let wanted = self.wanted_db();
        self.peak = 0.0;
        let weight = if wanted > self.reduction_db {
            self.attack
        } else {
            self.release
        };
        let before = self.reduction_db;
        self.reduction_db += (wanted - before) * weight;
        if wanted == 0.0 && self.reduction_db < NOTHING_DB {
            self.reduction_db = 0.0;
        }
        if self.reduction_db > self.most_db {
            self.most_db = self.reduction_db;
        }
        let moves = !self.freq.is_still();
        let mut ahead = self.freq;
        ahead.skip(GRID);
        self.shelf.flush();
        let filters_move = moves || self.detector.iter().any(|svf| !svf.is_at_goal());
        if !(filters_move || self.reduction_db != before || !self.shelf.is_at_goal()) {
            self.detector.iter_mut().for_each(Svf::flush);
            return;
        }
        let freq = libm::exp2f(ahead.value());
        for svf in &mut self.detector {
            svf.flush();
            if filters_move {
                svf.glide(Coefficients::new(freq, svf.k(), self.rate_hz));
            }
        }
        self.shelf
            .glide(freq * SHELF, -self.reduction_db, 1.0, self.rate_hz);
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: &Context<'_>) {
        if context.on_grid {
            self.on_grid();
        }
        for ramp in [&mut self.freq, &mut self.threshold_db, &mut self.range_db] {
            ramp.skip(frames.len());
        }
        for frame in frames {
            let mut band = *frame;
            for svf in &mut self.detector {
                band = svf.tick(band).high;
            }
            let peak = decibel::peak(band);
            if peak > self.peak {
                self.peak = peak;
            }
            *frame = self.shelf.tick(*frame);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::testing::{Rig, amplitude, clicks_beside_db, noise, same_in_any_spans, sine};
    use crate::svf::{Coefficients, Svf};
    use crate::{Frame, Kind};
    use std::vec;
    use std::vec::Vec;

    const RATE: u32 = 48_000;

    /// An "s": noise between 5 and 10 kHz, mostly.
    fn sibilant(peak: f32, frames: usize) -> Vec<Frame> {
        let rate = RATE as f32;
        let mut filters = [Svf::new(1.0), Svf::new(1.0), Svf::new(1.0)];
        filters[0].snap(Coefficients::new(5500.0, 1.0, rate));
        filters[1].snap(Coefficients::new(5500.0, 1.0, rate));
        filters[2].snap(Coefficients::new(10_000.0, 1.0, rate));
        let mut out: Vec<Frame> = noise(frames)
            .into_iter()
            .map(|frame| {
                let frame = filters[0].tick(frame).high;
                let frame = filters[1].tick(frame).high;
                filters[2].tick(frame).low
            })
            .collect();
        let loudest = out.iter().flatten().fold(0.0f32, |m, s| m.max(s.abs()));
        for sample in out.iter_mut().flatten() {
            *sample *= peak / loudest;
        }
        out
    }

    const PITCH: f64 = 150.0;

    /// An "a": a glottal −12 dB/oct source at 150 Hz through four formants.
    fn vowel(peak: f32, frames: usize) -> Vec<Frame> {
        let mut out = vec![[0.0; 2]; frames];
        for n in 1..100 {
            let hz = PITCH * f64::from(n);
            // Radiation gives back 6 dB of each octave.
            let mut level = 1.0 / f64::from(n);
            for (formant, width) in [
                (730.0, 90.0),
                (1090.0, 110.0),
                (2440.0, 170.0),
                (3400.0, 250.0),
            ] {
                let (ratio, damping) = (hz / formant, width / formant);
                let real = 1.0 - ratio * ratio;
                level /= (real * real + (damping * ratio).powi(2)).sqrt();
            }
            for (to, from) in out.iter_mut().zip(sine(hz, level as f32, RATE, frames)) {
                *to = [to[0] + from[0], to[1] + from[1]];
            }
        }
        let loudest = out.iter().flatten().fold(0.0f32, |m, s| m.max(s.abs()));
        for sample in out.iter_mut().flatten() {
            *sample *= peak / loudest;
        }
        out
    }

    fn power_db(frames: &[Frame]) -> f64 {
        let sum: f64 = frames.iter().map(|f| f64::from(f[0]).powi(2)).sum();
        10.0 * (sum / frames.len() as f64).log10()
    }

    #[test]
    fn sibilants_go_down_and_vowels_stay() {
        for (threshold, range) in [(-30.0, 8.0), (-40.0, 16.0)] {
            let mut rig = Rig::new(Kind::Deesser, RATE);
            rig.set(1, threshold, 0);
            rig.set(2, range, 0);
            let before = sibilant(0.3, 24_000);
            let mut after = before.clone();
            rig.run(&mut after);
            let down = power_db(&before[2400..]) - power_db(&after[2400..]);
            let reported = -20.0 * rig.effect.take_reduction().log10();
            // How soon: the first 5 ms, 2 ms in.
            let onset = power_db(&before[96..336]) - power_db(&after[96..336]);
            std::println!(
                "deesser: range {range}: an s goes down by {down:.2} dB (reports {reported:.2}), by {onset:.2} from 2 to 7 ms"
            );
            assert!(down > 0.75 * f64::from(range) && down <= f64::from(range) + 0.1);
            assert!((reported - range).abs() < 0.1);
            assert!(onset > 0.5 * f64::from(range));

            let mut rig = Rig::new(Kind::Deesser, RATE);
            rig.set(1, threshold, 0);
            rig.set(2, range, 0);
            let before = vowel(0.5, 48_000);
            let mut after = before.clone();
            rig.run(&mut after);
            let worst = (1..60)
                .map(|n| PITCH * f64::from(n))
                .map(|hz| {
                    let [was, is] = [&before, &after].map(|f| amplitude(&f[24_000..], hz, RATE));
                    (20.0 * (is / was).log10()).abs()
                })
                .fold(0.0, f32::max);
            std::println!("deesser: a vowel changes by {worst:.4} dB at most");
            assert!(worst < 0.1);
        }
    }

    #[test]
    fn a_vowel_under_a_sibilant_keeps_its_formants() {
        let mut rig = Rig::new(Kind::Deesser, RATE);
        let before = vowel(0.4, 48_000);
        let mut after: Vec<Frame> = before
            .iter()
            .zip(sibilant(0.3, 48_000))
            .map(|(v, s)| [v[0] + s[0], v[1] + s[1]])
            .collect();
        rig.run(&mut after);
        for n in [1, 3, 5, 7, 12, 16] {
            let hz = PITCH * f64::from(n);
            let [was, is] = [&before, &after].map(|f| amplitude(&f[9600..], hz, RATE));
            let off = 20.0 * (is / was).log10();
            std::println!("deesser: {hz} Hz under an s: {off:.3} dB");
            assert!(off.abs() < 0.6);
        }
    }

    #[test]
    fn at_rest_it_changes_nothing_and_comes_back_to_rest() {
        let mut rig = Rig::new(Kind::Deesser, RATE);
        let mut frames = sibilant(0.01, 9600);
        let before = frames.clone();
        rig.run(&mut frames);
        assert_eq!(frames, before);
        assert_eq!(rig.effect.take_reduction(), 1.0);
        rig.run(&mut sibilant(0.5, 9600));
        assert!(rig.effect.take_reduction() < 0.5);
        rig.run(&mut vec![[0.0; 2]; 48_000]);
        let mut frames = before.clone();
        rig.run(&mut frames);
        assert_eq!(frames, before);
    }

    #[test]
    fn either_side_takes_both_down() {
        let mut rig = Rig::new(Kind::Deesser, RATE);
        let mut frames = sibilant(0.3, 9600);
        for frame in &mut frames {
            frame[0] *= 1e-3;
        }
        let before = frames.clone();
        rig.run(&mut frames);
        assert!(power_db(&before[2400..]) - power_db(&frames[2400..]) > 6.0);
    }

    #[test]
    fn nothing_clicks() {
        for param in 0..Kind::Deesser.params().len() {
            let id = Kind::Deesser.params()[param].id;
            let settings = [(0, 4000.0), (1, -40.0), (2, 24.0)];
            let db = clicks_beside_db(Kind::Deesser, &settings, param, 6000.0, 1800.0);
            std::println!("deesser: {id} at {db:.1} dB");
            assert!(db < -60.0, "{id} clicks: {db} dB");
        }
    }

    #[test]
    fn spans_do_not_matter() {
        same_in_any_spans(Kind::Deesser, 48_000);
        same_in_any_spans(Kind::Deesser, 44_100);
    }
}
