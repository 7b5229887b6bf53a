//! `feedback`: hears a microphone howl, and puts notches where it does. No latency.
//!
//! Notch-filter-based howling suppression as in T. van Waterschoot, M. Moonen, "Fifty years of acoustic
//! feedback control: state of the art and future challenges" (Proceedings of the IEEE 99, 2011): the
//! input is analysed beside the signal ([`spectrum`]), a peak that has all the marks of a howl
//! ([`detector`]) gets a notch, and one that persists a deeper one ([`notch`]). Notches stay for `life_s`
//! after their last howl.
//!
//! The last resort, if `howl_mute` says so, is the gain: when no notch is free, when notches have not
//! helped for a while, or when the howl grows so fast that it would be loud before they do. The
//! microphone is cut within 8 ms, until the room is quiet; then it is back, 6 dB lower, and after
//! `life_s` without a howl gets back a dB each second.
//!
//! Bypassing it takes all notches out, and gives the gain back.

mod detector;
mod notch;
mod spectrum;

pub use spectrum::Twiddles;

use super::Context;
use crate::effect::{Param, linear, log};
use crate::ramp::Ramp;
use crate::report::Report;
use crate::{Frame, GRID, decibel};
use detector::{Detector, Howl, Thresholds};
use notch::{Notch, Watch, cells};
use spectrum::Spectrum;

/// Its parameters.
pub const PARAMS: [Param; 5] = [
    linear("sensitivity", "Sensitivity", 0.0, 1.0, 0.5, ""),
    linear("depth_db", "Deepest notch", 3.0, 40.0, 18.0, "dB"),
    log("width", "Width of a notch", 0.05, 1.0, 0.1, "oct"),
    log("life_s", "Life of a notch", 1.0, 600.0, 60.0, "s"),
    Param {
        step: Some(1.0),
        ..linear("howl_mute", "Mute as the last resort", 0.0, 1.0, 1.0, "")
    },
];

/// Notches of one effect.
pub const NOTCHES: usize = 12;
/// Where howls are looked for, in Hz, and as a share of the rate.
const LOWEST_HZ: f32 = 90.0;
const HIGHEST_HZ: f32 = 16_000.0;
const HIGHEST: f32 = 0.42;
/// How deep a notch is at first, and by how much it gets deeper.
const FIRST_DB: f32 = 12.0;
const STEP_DB: f32 = 6.0;
/// After so long a notch must have had an effect.
const WATCH_MS: f32 = 60.0;
/// By how much less a howl must be then to be on its way out.
const LESS_DB: f32 = 3.0;
/// How far a howl that is watched must stand out of its neighbours.
const ALONE_DB: f32 = 8.0;
/// Peaks of a loop with a notch may be so far from its middle, in bins.
const REACH: f32 = 2.0;
/// The notches have so long to end what is this loud, in dB of full scale. What is not has time.
const HOWLING_MS: f32 = 215.0;
const LOUD_DB: f32 = -30.0;
/// A howl is seldom alone: for so long after one, sensitivity is so much higher.
const ALARM_MS: f32 = 4000.0;
const ALARMED: f32 = 0.3;
/// A howl that grows faster than this, in dB a second, will not wait for notches.
const VIOLENT_DB: f32 = 900.0;
/// The microphone is cut within so many ms.
const CUT_MS: f32 = 8.0;
/// And for so long, until the room is quiet.
const MUTE_MS: f32 = 300.0;
/// It is back within so many ms.
const BACK_MS: f32 = 60.0;
/// So much lower,
const LOWER_DB: f32 = 6.0;
/// but not by more than this.
const LOWEST_DB: f32 = -24.0;
/// Then it gets so much back, in dB a second.
const RECOVERY_DB: f32 = 1.0;

/// Samples of memory at a rate in Hz.
pub fn memory(rate_hz: u32) -> usize {
    spectrum::memory(spectrum::points(rate_hz)) + detector::MEMORY
}

/// What has become of the microphone's gain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resort {
    /// As it should be.
    Open,
    /// Cut, for so many grid cells.
    Muted(u32),
    /// Lower, for so many grid cells.
    Lower(u32),
    /// On its way back.
    Recovering,
}

/// See the module.
pub struct Feedback {
    rate_hz: f32,
    hz_a_bin: f32,
    spectra_a_second: f32,
    depth_db: f32,
    /// The logarithm to base 2 of octaves.
    width: Ramp,
    life_s: f32,
    may_mute: bool,
    is_bypassed: bool,
    spectrum: Spectrum,
    detector: Detector,
    sensitivity: f32,
    thresholds: Thresholds,
    /// After a howl, for so many spectra, the next one is likely.
    alarm: u32,
    notches: [Notch; NOTCHES],
    /// Spectra for which it has howled.
    howling: u32,
    resort: Resort,
    gain_db: f32,
    gain: Ramp,
    /// Whether it is muted, and its gain in dB, as told last.
    told: (bool, f32),
}

impl Feedback {
    /// At its defaults.
    pub fn new(rate_hz: u32) -> Feedback {
        let rate = rate_hz as f32;
        let spectrum = Spectrum::new(rate_hz);
        let hz_a_bin = rate / spectrum.points() as f32;
        let highest = if HIGHEST_HZ < HIGHEST * rate {
            HIGHEST_HZ
        } else {
            HIGHEST * rate
        };
        let bin = |hz: f32| (hz / hz_a_bin) as usize;
        Feedback {
            rate_hz: rate,
            hz_a_bin,
            spectra_a_second: rate / (spectrum.cells_a_hop() * GRID) as f32,
            depth_db: 18.0,
            width: Ramp::new(libm::log2f(0.1)),
            life_s: 60.0,
            may_mute: true,
            is_bypassed: false,
            detector: Detector::new(bin(LOWEST_HZ).max(2), bin(highest)),
            spectrum,
            sensitivity: 0.5,
            thresholds: Thresholds::new(0.5),
            alarm: 0,
            notches: core::array::from_fn(|_| Notch::new(rate)),
            howling: 0,
            resort: Resort::Open,
            gain_db: 0.0,
            gain: Ramp::new(1.0),
            told: (false, 0.0),
        }
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        match param {
            0 => {
                self.sensitivity = value;
                self.alarm = 0;
                self.judge_by(value);
            }
            1 => {
                self.depth_db = value;
                let too_deep = |notch: &&mut Notch| notch.is_held() && notch.depth_db() > value;
                self.notches
                    .iter_mut()
                    .filter(too_deep)
                    .for_each(|notch| notch.deepen(value));
            }
            2 => self.width.go(libm::log2f(value), samples),
            3 => {
                self.life_s = value;
                let life = self.life();
                for rest in self.notches.iter_mut().map(|notch| &mut notch.rest) {
                    *rest = life.min(*rest);
                }
                if let Resort::Lower(rest) = &mut self.resort {
                    *rest = life.min(*rest);
                }
            }
            4 => {
                self.may_mute = value >= 0.5;
                if !self.may_mute {
                    self.open();
                }
            }
            _ => {}
        }
    }

    /// Bypassed, it listens to nothing and forgets what it knew.
    pub fn bypass(&mut self, on: bool) {
        self.is_bypassed = on;
        self.howling = 0;
        self.alarm = 0;
        self.judge_by(self.sensitivity);
        self.detector.forget();
        if on {
            self.notches.iter_mut().for_each(|notch| notch.leave(true));
            self.open();
        }
    }

    /// What the control side does not know yet of the effect in a slot; `None` when it knows everything.
    pub fn take_news(&mut self, slot: u8) -> Option<Report> {
        for (index, notch) in self.notches.iter_mut().enumerate() {
            if let Some((freq_hz, depth_db)) = notch.take_news() {
                return Some(Report::Notch {
                    slot,
                    index: index as u8,
                    freq_hz,
                    depth_db,
                });
            }
        }
        let muted = matches!(self.resort, Resort::Muted(_));
        let gain_db = match self.resort {
            Resort::Open => 0.0,
            Resort::Muted(_) | Resort::Lower(_) => self.gain_db,
            // In whole dB: it is on its way for seconds.
            Resort::Recovering => libm::roundf(decibel::from_linear(self.gain.value())),
        };
        let news = (muted, gain_db);
        (news != self.told).then(|| {
            self.told = news;
            Report::Howl {
                slot,
                muted,
                gain_db,
            }
        })
    }

    fn judge_by(&mut self, sensitivity: f32) {
        self.thresholds = Thresholds::new(sensitivity);
    }

    /// Of a notch, in grid cells.
    fn life(&self) -> u32 {
        cells(1000.0 * self.life_s, self.rate_hz)
    }

    fn samples(&self, ms: f32) -> u32 {
        (ms * 0.001 * self.rate_hz) as u32
    }

    /// Gives the gain back.
    fn open(&mut self) {
        if self.resort != Resort::Open {
            self.resort = Resort::Open;
            self.gain.go(1.0, self.samples(BACK_MS));
        }
    }

    /// The last resort.
    fn cut(&mut self) {
        if !self.may_mute {
            return;
        }
        let now_db = decibel::from_linear(self.gain.value());
        let lower_db = now_db - LOWER_DB;
        self.gain_db = if lower_db > LOWEST_DB {
            lower_db
        } else {
            LOWEST_DB
        };
        self.resort = Resort::Muted(cells(MUTE_MS, self.rate_hz));
        self.gain.go(0.0, self.samples(CUT_MS));
        self.howling = 0;
        self.detector.forget();
        for notch in &mut self.notches {
            notch.watch = None;
        }
    }

    /// On the grid: the gain's way back.
    fn recover(&mut self) {
        match &mut self.resort {
            Resort::Open => {}
            Resort::Muted(cells) | Resort::Lower(cells) if *cells > 1 => *cells -= 1,
            Resort::Muted(_) => {
                self.resort = Resort::Lower(self.life());
                self.detector.forget();
                self.gain
                    .go(decibel::to_linear(self.gain_db), self.samples(BACK_MS));
            }
            Resort::Lower(_) => {
                self.resort = Resort::Recovering;
                let ms = 1000.0 / RECOVERY_DB * -self.gain_db;
                self.gain.go(1.0, self.samples(ms));
            }
            Resort::Recovering => {
                if self.gain.is_still() {
                    self.resort = Resort::Open;
                }
            }
        }
    }

    fn on_grid(&mut self, memory: &mut [f32], twiddles: &Twiddles) {
        self.recover();
        for notch in &mut self.notches {
            if notch.is_held() {
                notch.rest = notch.rest.saturating_sub(1);
                if notch.rest == 0 {
                    notch.leave(false);
                }
            }
        }
        let parts = memory.split_at_mut_checked(spectrum::memory(self.spectrum.points()));
        if let Some((memory, history)) = parts
            && let Some(power) = self.spectrum.work(memory, twiddles)
            && !self.is_bypassed
            && !matches!(self.resort, Resort::Muted(_))
        {
            self.detector.follow(power, history);
            self.judge(power, history);
        }
        let width_moves = !self.width.is_still();
        let mut ahead = self.width;
        ahead.skip(GRID);
        let mut width = None;
        for notch in &mut self.notches {
            if notch.is_free() {
                continue;
            }
            let width = *width.get_or_insert_with(|| libm::exp2f(ahead.value()));
            notch.on_grid(width, width_moves);
        }
    }

    /// A spectrum is there: are there howls, and do those that are known go away?
    fn judge(&mut self, power: &[f32], history: &[f32]) {
        let mut is_helpless = false;
        for index in 0..NOTCHES {
            is_helpless |= !self.watch(index, power);
        }
        let howls = {
            let has_howled = self.alarm > 0;
            self.detector
                .howls(power, history, &self.thresholds, has_howled)
        };
        if howls.iter().any(Option::is_some) {
            if self.alarm == 0 {
                self.judge_by(least(self.sensitivity + ALARMED, 1.0));
            }
            self.alarm = self.spectra(ALARM_MS);
        } else if self.alarm > 0 {
            self.alarm -= 1;
            if self.alarm == 0 {
                self.judge_by(self.sensitivity);
            }
        }
        for howl in howls.into_iter().flatten() {
            is_helpless |= !self.answer(howl);
            is_helpless |= howl.slope_db * self.spectra_a_second > VIOLENT_DB;
        }
        let is_loud = |notch: &Notch| notch.watch.is_some_and(|watch| watch.level_db > LOUD_DB);
        if self.notches.iter().any(is_loud) {
            self.howling = self.howling.saturating_add(1);
        } else {
            self.howling = self.howling.saturating_sub(1);
        }
        if is_helpless || self.howling > self.spectra(HOWLING_MS) {
            self.cut();
        }
    }

    fn spectra(&self, ms: f32) -> u32 {
        (ms * 0.001 * self.spectra_a_second) as u32 + 1
    }

    /// Has a howl become less since its notch came? `false` when nothing more can be done, and it is loud.
    fn watch(&mut self, index: usize, power: &[f32]) -> bool {
        let patience = self.spectra(WATCH_MS);
        let reach = self.reach_bins(index);
        let deepest = self.depth_db;
        let life = self.life();
        let Some(notch) = self.notches.get_mut(index) else {
            return true;
        };
        let bin = notch.freq_hz() / self.hz_a_bin;
        let Some(watch) = &mut notch.watch else {
            return true;
        };
        watch.spectra += 1;
        if watch.spectra < patience {
            return true;
        }
        let level = self.detector.level_near(power, bin, reach, ALONE_DB);
        let Some(level_db) = level.filter(|level| *level > watch.level_db - LESS_DB) else {
            notch.watch = None;
            return true;
        };
        *watch = Watch {
            level_db,
            spectra: 0,
        };
        notch.rest = life;
        if notch.depth_db() >= deepest {
            return level_db < LOUD_DB;
        }
        notch.deepen(least(notch.depth_db() + STEP_DB, deepest));
        true
    }

    /// How far from the middle of a notch its howl may be, in bins.
    fn reach_bins(&self, index: usize) -> f32 {
        let freq = self.notches.get(index).map_or(0.0, Notch::freq_hz);
        let half_width =
            freq / self.hz_a_bin * 0.5 * libm::exp2f(self.width.value()) * core::f32::consts::LN_2;
        if half_width > REACH {
            half_width
        } else {
            REACH
        }
    }

    /// Puts a notch where it howls, or deepens the one that is there. `false` when that cannot be
    /// done, and it is loud.
    fn answer(&mut self, howl: Howl) -> bool {
        let life = self.life();
        let near = (0..NOTCHES).find(|index| {
            let reach = self.reach_bins(*index);
            self.notches.get(*index).is_some_and(|notch| {
                let off = notch.freq_hz() / self.hz_a_bin - howl.bin;
                !notch.is_free() && off <= reach && off >= -reach
            })
        });
        let watch = Some(Watch {
            level_db: howl.level_db,
            spectra: 0,
        });
        if let Some(notch) = near.and_then(|index| self.notches.get_mut(index)) {
            notch.rest = life;
            if notch.watch.is_some() {
                return true;
            }
            notch.watch = watch;
            let depth_db = notch.depth_db();
            if depth_db >= self.depth_db {
                return howl.level_db < LOUD_DB;
            }
            let next_db = if depth_db > 0.0 {
                depth_db + STEP_DB
            } else {
                FIRST_DB
            };
            notch.deepen(least(next_db, self.depth_db));
            return true;
        }
        let Some(notch) = self.notches.iter_mut().find(|notch| notch.is_free()) else {
            return howl.level_db < LOUD_DB;
        };
        notch.place(howl.bin * self.hz_a_bin);
        notch.deepen(least(FIRST_DB, self.depth_db));
        notch.rest = life;
        notch.watch = watch;
        true
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: Context<'_>) {
        if context.on_grid {
            self.on_grid(context.memory, &context.tables.twiddles);
        }
        self.width.skip(frames.len());
        self.spectrum.write(context.memory, frames);
        for notch in &mut self.notches {
            notch.process(frames);
        }
        if !self.gain.rests_at(1.0) {
            for frame in frames {
                let gain = self.gain.tick();
                *frame = frame.map(|sample| sample * gain);
            }
        }
    }
}

fn least(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::super::testing::same_in_any_spans;
    use crate::Kind;

    #[test]
    fn spans_do_not_matter() {
        same_in_any_spans(Kind::Feedback, 48_000);
        same_in_any_spans(Kind::Feedback, 44_100);
        same_in_any_spans(Kind::Feedback, 8_000);
    }
}
