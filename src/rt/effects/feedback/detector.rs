//! Tells a howl from everything else that sings.
//!
//! The features are those of T. van Waterschoot, M. Moonen, "Fifty years of acoustic feedback control: state
//! of the art and future challenges" (Proceedings of the IEEE 99, 2011, section on notch-filter-based
//! howling suppression), of the loudest peaks of each spectrum:
//!
//! - PTPR, peak to threshold: it is loud enough to matter, and among the loudest there is;
//! - PNPR, peak to neighbours: it stands alone, also where the partials of a low voice would be;
//! - PHPR, peak to harmonics: there is nothing at its multiples, nor is it a multiple itself;
//! - IPMP, peak persistence: it has been there, at one frequency, for several spectra. A voice, a
//!   whistle or a flute wavers; a loop's pole does not;
//! - IMSD, magnitude slope deviation: its level rises in a straight line in dB, for a loop grows
//!   exponentially. The attack of an instrument is steep first and flat then.
//!
//! All of them must hold, but that a rise which is straighter and longer than anything that sings needs no
//! more marks (often several howls begin at the same time, and stand beside each other), and that a
//! howl may have stopped growing: then what rose as one must stand still. A tone that only is
//! steady is never taken for a howl, however pure it is.

use crate::decibel;

/// Peaks that are looked at in each spectrum.
pub const PEAKS: usize = 16;
/// Spectra that are remembered of each.
const HISTORY: usize = 64;
/// Samples of memory.
pub const MEMORY: usize = PEAKS * 2 * HISTORY;
/// How many spectra a rise is looked for in.
const SPANS: [usize; 8] = [5, 7, 10, 14, 20, 30, 44, 62];
/// A peak stays itself while it moves by no more than so many bins.
const REACH: f32 = 1.0;
/// Bins on either side that belong to a peak, also one that grows fast.
const LOBE: usize = 4;
/// Bins on either side in which its neighbours are.
const NEIGHBOURS: usize = 14;
/// Farther below the loudest peak, in dB, a howl has yet to grow.
const BELOW_LOUDEST_DB: f32 = 25.0;
/// A peak may be the first partial of a tone, or the second … or this one.
const PARTIALS: usize = 10;
/// How exactly, in bins, a partial is where it belongs.
const EXACT: f32 = 0.35;
/// The same while nothing moves.
const EXACT_STILL: f32 = 0.15;
/// Partials nearer to each other, in bins, are not told apart.
const LOWEST_PITCH: f32 = 3.0;
/// The overtones of a tone that is alone are looked for so far below it, in dB.
const DEEP_DB: f32 = 36.0;
/// And so far below what is around it: the next one is among that.
const DEEPER_DB: f32 = 6.0;
/// No level at all.
const NOTHING_DB: f32 = -130.0;

/// How sure one must be.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// PTPR, in dB of full scale.
    level_db: f32,
    /// PNPR, in dB.
    neighbours_db: f32,
    /// PHPR, in dB.
    harmonics_db: f32,
    /// By how much it must have risen, in dB.
    rise_db: f32,
    /// How much of what could be inaccuracy is taken for it: frequencies wander and levels are off a
    /// straight line because of all else that is heard.
    leniency: f32,
}

impl Thresholds {
    /// For a sensitivity from 0 to 1.
    pub fn new(sensitivity: f32) -> Thresholds {
        let between = |low: f32, high: f32| low + (high - low) * sensitivity;
        Thresholds {
            level_db: between(-50.0, -70.0),
            neighbours_db: between(14.0, 6.0),
            harmonics_db: between(25.0, 11.0),
            rise_db: between(16.0, 8.0),
            leniency: between(0.6, 1.4),
        }
    }
}

/// Of a pure tone in silence: what a window and a parabola leave. In bins, in dB, and of the rise.
const WANDER: f32 = 0.02;
const BEND_DB: f32 = 0.1;
const BEND: f32 = 0.01;
/// The same for a peak that is as loud as what is around it.
const WANDER_IN_NOISE: f32 = 0.3;
const BEND_IN_NOISE_DB: f32 = 3.0;

/// What rises as straight as this, for so many spectra and so many times as far, is a howl, whatever is around
/// it: often several begin at the same time.
const STRAIGHT_FROM: usize = 10;
const STRAIGHT_RISE: f32 = 1.25;
const STRAIGHT_WANDER: f32 = 0.25;
/// From so many spectra on it may have risen by so much less.
const SLOW_FROM: usize = 62;
const SLOW_RISE: f32 = 0.4;
/// Or by no more than this in dB, if it has come from far below, as straight as this, and alone.
const CREEP_DB: f32 = 1.0;
const CREEP_BEND: f32 = 0.15;
const CREEP_ALONE_DB: f32 = 15.0;
/// By how much less it may rise in the second half, in dB, and of the rise.
const SLOWING_DB: f32 = 0.1;
const SLOWING: f32 = 0.05;
/// A howl that something has ended the growth of is still for so many spectra, and within so many dB.
const STILL: usize = 14;
const STILL_DB: f32 = 1.0;
/// Nothing alive stands still for so many, in whatever company: one that has grown somehow, where there
/// was a howl before, must be one too.
const STUCK: usize = 28;
const STUCK_ALONE_DB: f32 = 0.0;
const STUCK_LEVEL_DB: f32 = -30.0;
/// Over so many spectra two poles near each other may beat, in shares of the rise and of the frequency.
const LONG_FROM: usize = 20;
const LONG_BEND: f32 = 0.1;
const LONG_WANDER: f32 = 0.001;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Howl {
    /// In bins.
    pub bin: f32,
    /// In dB of full scale.
    pub level_db: f32,
    /// In dB from one spectrum to the next.
    pub slope_db: f32,
}

/// A peak, and since when it has been followed.
#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    /// Spectra that it has been in, in a row; 0: nobody.
    age: u16,
    /// In bins.
    bin: f32,
    level_db: f32,
    /// Whether it is in the present spectrum.
    is_fresh: bool,
    /// The least that it has been since it is followed.
    lowest_db: f32,
    /// Whether it has risen as a howl might, since then.
    rose: bool,
}

/// See the module.
pub struct Detector {
    peaks: [Peak; PEAKS],
    /// Number of the spectrum, for the places in the history.
    count: usize,
    /// Bins in which howls are looked for.
    lowest: usize,
    highest: usize,
}

/// How a peak has risen.
struct Rise {
    /// From one spectrum to the next.
    slope_db: f32,
    is_straight: bool,
}

/// A straight line through the newest levels of a peak.
struct Line {
    slope_db: f32,
    /// Root mean square.
    off_db: f32,
    /// Rises of the two halves.
    halves_db: [f32; 2],
    /// Of the frequency, in bins, root mean square.
    wander: f32,
}

impl Detector {
    /// Looks between these bins.
    pub fn new(lowest: usize, highest: usize) -> Detector {
        Detector {
            peaks: [Peak::default(); PEAKS],
            count: 0,
            lowest,
            highest,
        }
    }

    /// Takes a spectrum in.
    pub fn follow(&mut self, power: &[f32], history: &mut [f32]) {
        self.count = self.count.wrapping_add(1);
        let found = self.find(power);
        for peak in &mut self.peaks {
            peak.is_fresh = false;
        }
        // The loudest chooses first.
        for (bin, level_db) in found.into_iter().filter(|(_, level)| *level > NOTHING_DB) {
            let near = |peak: &&mut Peak| {
                let off = peak.bin - bin;
                peak.age > 0 && !peak.is_fresh && off < REACH && off > -REACH
            };
            let at = match self.peaks.iter_mut().find(near) {
                Some(peak) => Some(peak),
                None => self.peaks.iter_mut().find(|peak| peak.age == 0),
            };
            if let Some(peak) = at {
                *peak = Peak {
                    age: peak.age.saturating_add(1),
                    bin,
                    level_db,
                    is_fresh: true,
                    lowest_db: if peak.age > 0 && peak.lowest_db < level_db {
                        peak.lowest_db
                    } else {
                        level_db
                    },
                    rose: peak.rose && peak.age > 0,
                };
            }
        }
        let place = self.count % HISTORY;
        for (peak, history) in self
            .peaks
            .iter_mut()
            .zip(history.chunks_exact_mut(2 * HISTORY))
        {
            if !peak.is_fresh {
                peak.age = 0;
                continue;
            }
            if let Some(level) = history.get_mut(place) {
                *level = peak.level_db;
            }
            if let Some(bin) = history.get_mut(HISTORY + place) {
                *bin = peak.bin;
            }
        }
    }

    /// The loudest peaks, loudest first: bin and level.
    fn find(&self, power: &[f32]) -> [(f32, f32); PEAKS] {
        let mut loudest = [(0.0f32, 0usize); PEAKS];
        let bins = power.windows(3).enumerate().skip(self.lowest - 1);
        for (before, window) in bins.take(self.highest.saturating_sub(self.lowest)) {
            let [low, peak, high] = *window else {
                continue;
            };
            let mut entry = (peak, before + 1);
            if !(peak > low && peak >= high && peak > loudest.last().map_or(0.0, |last| last.0)) {
                continue;
            }
            for place in &mut loudest {
                if entry.0 > place.0 {
                    core::mem::swap(place, &mut entry);
                }
            }
        }
        loudest.map(|(_, bin)| between_bins(power, bin))
    }

    /// The peaks of the present spectrum that are howls. `has_howled`: it did lately, and may well again.
    pub fn howls(
        &mut self,
        power: &[f32],
        history: &[f32],
        thresholds: &Thresholds,
        has_howled: bool,
    ) -> [Option<Howl>; PEAKS] {
        let loudest_db =
            self.peaks
                .iter()
                .filter(|peak| peak.is_fresh)
                .fold(NOTHING_DB, |loudest, peak| {
                    if peak.level_db > loudest {
                        peak.level_db
                    } else {
                        loudest
                    }
                });
        let mut howls = [None; PEAKS];
        let histories = history.chunks_exact(2 * HISTORY);
        let mut peaks = self.peaks;
        for ((howl, peak), history) in howls.iter_mut().zip(&mut peaks).zip(histories) {
            if !peak.is_fresh
                || peak.level_db < thresholds.level_db
                || peak.level_db < loudest_db - BELOW_LOUDEST_DB
            {
                continue;
            }
            let alone_db = alone_db(power, peak.bin);
            let rise = self.rise(peak, history, alone_db, thresholds);
            peak.rose |= rise.is_some();
            let still = |span| self.is_still(peak, history, alone_db, span, thresholds);
            // What has grown, in whatever way.
            let grew =
                peak.rose || (has_howled && peak.level_db - peak.lowest_db >= thresholds.rise_db);
            let is_straight = rise.as_ref().is_some_and(|rise| rise.is_straight);
            let is_suspect = (rise.is_some() || (peak.rose && still(STILL)))
                && alone_db >= thresholds.neighbours_db;
            let is_stuck = grew
                && peak.level_db >= STUCK_LEVEL_DB
                && alone_db >= STUCK_ALONE_DB
                && still(STUCK);
            let is_howl = is_straight
                || (is_suspect && is_no_partial(power, peak, alone_db, EXACT, thresholds))
                || (is_stuck && is_no_partial(power, peak, alone_db, EXACT_STILL, thresholds));
            if is_howl {
                *howl = Some(Howl {
                    bin: peak.bin,
                    level_db: peak.level_db,
                    slope_db: rise.map_or(0.0, |rise| rise.slope_db),
                });
            }
        }
        self.peaks = peaks;
        howls
    }

    /// How a peak has risen, if it did so long and straight enough. `alone_db` is its PNPR.
    fn rise(
        &self,
        peak: &Peak,
        history: &[f32],
        alone_db: f32,
        thresholds: &Thresholds,
    ) -> Option<Rise> {
        let mut found = None;
        for span in SPANS
            .into_iter()
            .filter(|span| *span <= usize::from(peak.age))
        {
            let line = self.line(history, span);
            let rise_db = line.slope_db * (span - 1) as f32;
            // What takes long may be less: nothing alive stands still for so long.
            let share = if span >= SLOW_FROM { SLOW_RISE } else { 1.0 };
            let creeps = span >= SLOW_FROM
                && alone_db >= CREEP_ALONE_DB
                && peak.level_db - peak.lowest_db >= thresholds.rise_db
                && rise_db >= CREEP_DB
                && line.off_db <= CREEP_BEND * rise_db;
            if rise_db < share * thresholds.rise_db && !creeps {
                continue;
            }
            let [first, second] = line.halves_db;
            let slows_db = first - second;
            let slope_db = line.slope_db;
            let bend_db = BEND_DB + BEND * rise_db;
            let slowing_db = SLOWING_DB + SLOWING * rise_db;
            if span >= STRAIGHT_FROM
                && rise_db >= STRAIGHT_RISE * thresholds.rise_db
                && line.off_db <= thresholds.leniency * bend_db
                && slows_db <= slowing_db
                && slows_db >= -slowing_db
                && line.wander <= STRAIGHT_WANDER
            {
                return Some(Rise {
                    slope_db,
                    is_straight: true,
                });
            }
            // On its way here it was less alone.
            let noise = noise(alone_db - 0.5 * rise_db, thresholds);
            let noise_db = BEND_IN_NOISE_DB * noise;
            let mut bend_db = bend_db + noise_db;
            let mut wander = WANDER + WANDER_IN_NOISE * noise;
            if span >= LONG_FROM && alone_db >= rise_db {
                bend_db = most(bend_db, LONG_BEND * rise_db);
                wander = most(wander, LONG_WANDER * peak.bin);
            }
            if line.off_db <= bend_db && slows_db <= slowing_db + noise_db && line.wander <= wander
            {
                found = Some(Rise {
                    slope_db,
                    is_straight: false,
                });
            }
        }
        found
    }

    /// Whether a peak has stood still for so many spectra.
    fn is_still(
        &self,
        peak: &Peak,
        history: &[f32],
        alone_db: f32,
        span: usize,
        thresholds: &Thresholds,
    ) -> bool {
        if usize::from(peak.age) < span {
            return false;
        }
        let line = self.line(history, span);
        let rise_db = line.slope_db * (span - 1) as f32;
        rise_db > -STILL_DB
            && line.off_db <= STILL_DB
            && line.wander <= WANDER + WANDER_IN_NOISE * noise(alone_db, thresholds)
    }

    /// Through the newest so many levels.
    fn line(&self, history: &[f32], span: usize) -> Line {
        let at = |offset: usize, back: usize| {
            let place = self.count.wrapping_sub(back) % HISTORY;
            history.get(offset + place).copied().unwrap_or(0.0)
        };
        let middle = (span - 1) as f32 * 0.5;
        let per = 1.0 / span as f32;
        let newest = at(HISTORY, 0);
        let (mut sum, mut turned, mut bins) = (0.0, 0.0, 0.0);
        for back in 0..span {
            let level = at(0, back);
            sum += level;
            turned += level * (middle - back as f32);
            bins += at(HISTORY, back) - newest;
        }
        let (mean, bin) = (sum * per, bins * per);
        let squares = middle * (middle + 1.0) * (2.0 * middle + 1.0) / 3.0;
        let slope_db = turned / squares;
        let (mut off, mut wander) = (0.0, 0.0);
        for back in 0..span {
            let miss = at(0, back) - mean - slope_db * (middle - back as f32);
            off += miss * miss;
            let miss = at(HISTORY, back) - newest - bin;
            wander += miss * miss;
        }
        let half = (span - 1) / 2;
        let (begin, centre, end) = (at(0, 2 * half), at(0, half), at(0, 0));
        Line {
            slope_db,
            off_db: libm::sqrtf(off * per),
            halves_db: [centre - begin, end - centre],
            wander: libm::sqrtf(wander * per),
        }
    }

    /// The loudest peak of the present spectrum within some bins of another, if it stands alone: its level.
    pub fn level_near(&self, power: &[f32], bin: f32, reach: f32, least_db: f32) -> Option<f32> {
        let near = |peak: &&Peak| {
            let off = peak.bin - bin;
            peak.is_fresh && off <= reach && off >= -reach
        };
        let level = |found: Option<f32>, peak: &Peak| match found {
            Some(level) if level > peak.level_db => Some(level),
            _ => Some(peak.level_db),
        };
        self.peaks
            .iter()
            .filter(near)
            .filter(|peak| alone_db(power, peak.bin) >= least_db)
            .fold(None, level)
    }

    /// Begins anew.
    pub fn forget(&mut self) {
        self.peaks = [Peak::default(); PEAKS];
    }
}

/// A power in dB.
fn level_db(power: f32) -> f32 {
    // A logarithm that is made for amplitudes, within its range.
    0.5 * decibel::from_linear(power * 1e6) - 60.0
}

/// Where a peak is between bins, and how high: a parabola through three levels.
fn between_bins(power: &[f32], bin: usize) -> (f32, f32) {
    let Some([low, peak, high]) = bin
        .checked_sub(1)
        .and_then(|before| power.get(before..before + 3))
    else {
        return (0.0, NOTHING_DB);
    };
    let [low, peak, high] = [low, peak, high].map(|power| level_db(*power));
    let bend = 2.0 * peak - low - high;
    let off = if bend > 0.0 {
        0.5 * (high - low) / bend
    } else {
        0.0
    };
    (bin as f32 + off, peak + 0.25 * (high - low) * off)
}

/// How much of what could be inaccuracy is taken for it, at a PNPR.
fn noise(alone_db: f32, thresholds: &Thresholds) -> f32 {
    let noise = decibel::to_linear(-alone_db);
    thresholds.leniency * if noise < 1.0 { noise } else { 1.0 }
}

fn most(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

fn strongest(power: &[f32], from: usize, to: usize) -> f32 {
    let part = power.get(from..to).unwrap_or_default();
    part.iter()
        .fold(0.0, |most, power| if *power > most { *power } else { most })
}

/// PNPR: by how many dB a peak is over all that is near it.
fn alone_db(power: &[f32], bin: f32) -> f32 {
    let middle = (bin + 0.5) as usize;
    let here = strongest(power, middle.saturating_sub(1), middle + 2);
    let below = strongest(
        power,
        middle.saturating_sub(NEIGHBOURS),
        middle.saturating_sub(LOBE),
    );
    let above = (middle + NEIGHBOURS + 1).min(power.len());
    let above = strongest(power, middle + LOBE + 1, above);
    level_db(here) - level_db(most(below, above))
}

/// PHPR: whether no peak is exactly where the next partials would be of a tone that this is a partial of.
fn is_no_partial(
    power: &[f32],
    peak: &Peak,
    alone_db: f32,
    exact: f32,
    thresholds: &Thresholds,
) -> bool {
    let bin = peak.bin;
    let is_partial = |wanted: f32, by_db: f32| {
        let near = (wanted + 0.5) as usize;
        let from = near.saturating_sub(2);
        let window = power.get(from..near + 3).unwrap_or_default();
        let mut peaks = window.windows(3).enumerate();
        peaks.any(|(index, three)| {
            let [low, middle, high] = *three else {
                return false;
            };
            if !(middle > low && middle >= high && level_db(middle) > peak.level_db - by_db) {
                return false;
            }
            let off = between_bins(power, from + index + 1).0 - wanted;
            off < exact && off > -exact
        })
    };
    // Overtones are looked for as far down as anything can be seen.
    let by_db = thresholds.harmonics_db;
    let deep_db = alone_db + DEEPER_DB;
    let deep_db = most(by_db, if deep_db < DEEP_DB { deep_db } else { DEEP_DB });
    if is_partial(2.0 * bin, deep_db) || is_partial(3.0 * bin, deep_db) {
        return false;
    }
    // A high partial of a low tone has the next ones on both sides, equally far.
    let near = (bin + 0.5) as usize;
    let above = power.get(near + 1..near + NEIGHBOURS).unwrap_or_default();
    let mut next = (near + LOWEST_PITCH as usize, 0.0);
    for (index, three) in above.windows(3).enumerate() {
        let [low, middle, high] = *three else {
            continue;
        };
        let at = near + 2 + index;
        let is_far = at as f32 - bin >= LOWEST_PITCH;
        if is_far && middle > low && middle >= high && middle > next.1 {
            next = (at, middle);
        }
    }
    let (at, level) = between_bins(power, next.0);
    if next.1 > 0.0 && level > peak.level_db - by_db && is_partial(2.0 * bin - at, by_db) {
        return false;
    }
    !(2..=PARTIALS).any(|number| {
        let pitch = bin / number as f32;
        pitch >= LOWEST_PITCH && (is_partial(bin - pitch, by_db) || is_partial(bin + pitch, by_db))
    })
}
