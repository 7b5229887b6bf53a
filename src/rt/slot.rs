//! One effect's place in the engine: crossfades in and out, and is cleaned before it is free again.

use crate::effect::Kind;
use crate::effects::{Context, Effect};
use crate::ramp::Ramp;
use crate::{Frame, GRID, PARAMS_MAX, TRACK_PLACES, Tables};

/// Samples of delay memory that are cleared for each frame.
const CLEARED_PER_FRAME: usize = 64;

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody's.
    Free,
    /// To be put into its chain, or moved in it, once it is not heard.
    Waiting,
    /// In its chain.
    Live,
    /// Fading out for the last time.
    Leaving,
    /// Out of its chain; its memory is being cleared.
    Clearing,
    /// Clean; the control side does not know yet.
    Clean,
}

/// See the module.
pub struct Slot {
    pub phase: Phase,
    pub track: u8,
    pub effect: Effect,
    kind: Kind,
    /// What its parameters were set to, for when it begins anew; what never was is at its default.
    values: [Option<f32>; PARAMS_MAX],
    /// 0: what goes in comes out; 1: the effect.
    pub mix: Ramp,
    /// What an effect with a memory gets of its input. It begins, and is moved, from silence: a step in
    /// its input would come out of its memory when it is heard again.
    pub feed: Ramp,
    /// Frames until [`Slot::mix`] may begin to move: until what comes out is what goes in, and no longer
    /// the silence that it began from. Heard earlier, it would dip the level.
    filling: u32,
    latency: u32,
    pub bypassed: bool,
    /// To compute nothing, once it is not heard.
    pub rests: bool,
    /// Computes nothing: what goes in comes out.
    sleeps: bool,
    /// Places of the tracks that its effect listens to, a bit each.
    pub sidechain: u32,
    /// Has computed nothing yet: what is set now is not ramped.
    pub fresh: bool,
    memory: (usize, usize),
    cleared: usize,
    poisoned: bool,
}

impl Slot {
    /// A free slot.
    pub fn free() -> Slot {
        Slot {
            phase: Phase::Free,
            track: 0,
            effect: Effect::Gain(Default::default()),
            kind: Kind::Gain,
            values: [None; PARAMS_MAX],
            mix: Ramp::new(0.0),
            feed: Ramp::new(1.0),
            filling: 0,
            latency: 0,
            bypassed: false,
            rests: false,
            sleeps: false,
            sidechain: 0,
            fresh: true,
            memory: (0, 0),
            cleared: 0,
            poisoned: false,
        }
    }

    /// Takes a new effect in.
    pub fn install(&mut self, track: u8, kind: Kind, rate_hz: u32, memory: (usize, usize)) {
        *self = Slot {
            phase: Phase::Waiting,
            track,
            effect: Effect::new(kind, rate_hz),
            kind,
            latency: kind.latency_frames(rate_hz) as u32,
            memory,
            ..Slot::free()
        };
    }

    /// Whether it may be put elsewhere: once it is not heard, it gets its input no longer, within so
    /// many frames.
    pub fn may_move(&mut self, frames: u32) -> bool {
        if self.fresh || !self.mix.rests_at(0.0) {
            return self.fresh;
        }
        let has_memory = self.memory.1 > 0;
        if has_memory && self.feed.target() != 0.0 {
            self.feed.go(0.0, frames);
        }
        !has_memory || self.feed.rests_at(0.0)
    }

    /// Begins to get its input, within so many frames, and is heard once it has got it.
    pub fn begin_feeding(&mut self, frames: u32) {
        let from = if self.fresh { 0.0 } else { self.feed.value() };
        self.feed.snap(from);
        self.feed.go(1.0, frames);
        let has_memory = self.memory.1 > 0;
        self.filling = if has_memory { frames + self.latency } else { 0 };
    }

    /// Whether it is in a track, or about to be.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Waiting)
    }

    /// Whether it may be taken out of its chain without being heard.
    pub fn is_silent(&self) -> bool {
        self.fresh || self.mix.rests_at(0.0)
    }

    /// Sets a parameter, within so many frames.
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        if let Some(place) = self.values.get_mut(usize::from(param)) {
            *place = Some(value);
        }
        self.effect
            .set(param, value, if self.fresh { 0 } else { samples });
    }

    /// On the grid: falls asleep once it rests and is not heard, and wakes, as a new effect, once it is
    /// to work and its memory is clean. It then gets its input within `feed` frames, and is heard after
    /// `settling`.
    pub fn doze(&mut self, rate_hz: u32, feed: u32, settling: u32) {
        if self.rests && !self.sleeps && self.is_silent() {
            self.sleeps = true;
            self.cleared = 0;
            self.feed.snap(0.0);
        } else if !self.rests && self.sleeps && !self.is_dirty() {
            self.sleeps = false;
            self.effect = Effect::new(self.kind, rate_hz);
            for (param, value) in self.values.iter().enumerate() {
                if let Some(value) = value {
                    self.effect.set(param as u8, *value, 0);
                }
            }
            self.effect.bypass(self.bypassed);
            self.begin_feeding(feed);
            self.filling = self.filling.max(settling);
        }
    }

    /// Whether its memory is to be cleared.
    pub fn is_dirty(&self) -> bool {
        self.phase == Phase::Clearing || (self.sleeps && self.cleared < self.memory.1)
    }

    /// Computes a span in place.
    pub fn process(
        &mut self,
        frames: &mut [Frame],
        pool: &mut [f32],
        tables: &Tables,
        keys: &[f32; TRACK_PLACES],
        on_grid: bool,
    ) {
        self.fresh = false;
        if self.sleeps {
            return;
        }
        let (start, len) = self.memory;
        let memory = pool.get_mut(start..start + len).unwrap_or_default();
        let mut dry = [[0.0; 2]; GRID];
        for (keep, frame) in dry.iter_mut().zip(frames.iter()) {
            *keep = *frame;
        }
        if len > 0 && !self.feed.rests_at(1.0) {
            for frame in frames.iter_mut() {
                let feed = self.feed.tick();
                *frame = frame.map(|sample| sample * feed);
            }
        }
        let key = if self.sidechain == 0 {
            0.0
        } else {
            loudest(keys, self.sidechain)
        };
        let context = Context {
            memory,
            tables,
            on_grid,
            key,
        };
        self.effect.process(frames, context);
        for (frame, dry) in frames.iter_mut().zip(dry) {
            if !(frame[0].is_finite() && frame[1].is_finite()) {
                *frame = [0.0; 2];
                self.poisoned = true;
            }
            let mix = if self.filling == 0 {
                self.mix.tick()
            } else {
                self.filling -= 1;
                self.mix.value()
            };
            // Exactly one or the other at the ends.
            if mix <= 0.0 {
                *frame = dry;
            } else if mix < 1.0 {
                for side in 0..2 {
                    frame[side] = dry[side] + (frame[side] - dry[side]) * mix;
                }
            }
        }
    }

    /// Whether its effect went astray since the last time.
    pub fn take_poisoned(&mut self) -> bool {
        core::mem::replace(&mut self.poisoned, false)
    }

    /// It is out of its chain.
    pub fn begin_clearing(&mut self) {
        self.phase = Phase::Clearing;
        self.cleared = 0;
    }

    /// Clears memory for so many frames' worth of time.
    pub fn clear(&mut self, frames: usize, pool: &mut [f32]) {
        let (start, len) = self.memory;
        let memory = pool.get_mut(start..start + len).unwrap_or_default();
        let budget = frames * CLEARED_PER_FRAME;
        for sample in memory.iter_mut().skip(self.cleared).take(budget) {
            *sample = 0.0;
        }
        self.cleared += budget;
        if self.cleared >= len && self.phase == Phase::Clearing {
            self.phase = Phase::Clean;
        }
    }
}

/// The highest of the keys whose bits are set.
fn loudest(keys: &[f32; TRACK_PLACES], places: u32) -> f32 {
    let mut loudest = 0.0;
    for (place, key) in keys.iter().enumerate() {
        if places >> place & 1 == 1 && *key > loudest {
            loudest = *key;
        }
    }
    loudest
}
