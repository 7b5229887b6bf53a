//! Commands → tracks and slots: who is where, who is heard, and what has yet to fade before it can
//! go. Realtime thread; everything is bounded and nothing waits.

use crate::command::{Command, PanicMode, TrackKind, TrackLevel};
use crate::effect::Kind;
use crate::report::{Outbox, Report};
use crate::slot::{Phase, Slot};
use crate::track::{CHAIN, Life, Send, Source, Track};
use crate::{SLOTS, TRACK_PLACES};

/// Numbers that are heard move in 20 ms.
const RAMP_MS: u32 = 20;
/// Effects come, once they are fed, go and are bypassed in 10 ms; so do sends in a panic, and tracks
/// that go.
const CROSSFADE_MS: u32 = 10;
/// An effect with a memory gets its input within 5 ms, before it is heard, and loses it so, after.
const FEED_MS: u32 = 5;
/// Inputs are switched within twice 5 ms.
const SOURCE_MS: u32 = 5;
/// An effect that has rested is fed for so long before it is heard.
const SETTLING_MS: u32 = 50;

/// All tracks and slots.
pub struct Mixer {
    pub tracks: [Track; TRACK_PLACES],
    pub slots: [Slot; SLOTS],
    pub panic: Option<PanicMode>,
    rate_hz: u32,
    /// Solo, mute or panic changed: who is heard must be found anew.
    stale: bool,
}

impl Mixer {
    /// Nothing in it.
    pub fn new(rate_hz: u32) -> Mixer {
        Mixer {
            tracks: core::array::from_fn(|_| Track::free()),
            slots: core::array::from_fn(|_| Slot::free()),
            panic: None,
            rate_hz,
            stale: false,
        }
    }

    fn samples(&self, ms: u32) -> u32 {
        self.rate_hz / 1000 * ms
    }

    fn track(&mut self, place: u8) -> Option<&mut Track> {
        self.tracks
            .get_mut(usize::from(place))
            .filter(|track| track.life == Life::Live)
    }

    fn slot(&mut self, slot: u8) -> Option<&mut Slot> {
        self.slots
            .get_mut(usize::from(slot))
            .filter(|slot| slot.is_live())
    }

    /// One command. `is_running`: sound has been computed, so what changes must fade.
    pub fn apply(&mut self, command: Command, is_running: bool) {
        match command {
            Command::Group { .. } => {}
            Command::AddTrack {
                track,
                kind,
                stereo,
            } => self.add_track(track, kind, stereo, is_running),
            Command::RemoveTrack { track } => self.remove_track(track),
            Command::Input {
                track,
                left,
                right,
                stereo,
            } => self.input(
                track,
                Source {
                    left,
                    right,
                    stereo,
                },
            ),
            Command::Level {
                track,
                level,
                value,
            } => self.level(track, level, value),
            Command::Mute { track, on } => {
                if let Some(track) = self.track(track) {
                    track.mute = on;
                    self.stale = true;
                }
            }
            Command::Solo { track, on } => {
                if let Some(track) = self.track(track) {
                    track.solo = on;
                    self.stale = true;
                }
            }
            Command::Send { track, bus, level } => self.send(track, bus, level),
            Command::AddEffect {
                track,
                slot,
                kind,
                position,
                memory,
                memory_len,
            } => {
                self.add_effect(
                    track,
                    slot,
                    kind,
                    position,
                    (memory as usize, memory_len as usize),
                );
            }
            Command::RemoveEffect { slot } => self.remove_effect(slot),
            Command::MoveEffect { slot, position } => self.move_effect(slot, position),
            Command::Bypass { slot, on } => {
                if let Some(slot) = self.slot(slot) {
                    slot.bypassed = on;
                    slot.effect.bypass(on);
                    self.stale = true;
                }
            }
            Command::Set { slot, param, value } => {
                let samples = self.samples(RAMP_MS);
                if let Some(slot) = self.slot(slot) {
                    slot.set(param, value, samples);
                }
            }
            Command::Sidechain { slot, places } => {
                if let Some(slot) = self.slot(slot) {
                    slot.sidechain = places;
                }
            }
            Command::Panic { mode } => {
                self.panic = mode;
                self.stale = true;
            }
            Command::Tone {
                track,
                freq_hz,
                level,
                frames,
            } => {
                let rate_hz = self.rate_hz;
                if let Some(track) = self.track(track) {
                    track.tone.begin(freq_hz, level, frames, rate_hz);
                }
            }
            Command::Rest { slot, on } => {
                if let Some(slot) = self.slot(slot) {
                    slot.rests = on;
                    self.stale = true;
                }
            }
        }
    }

    fn add_track(&mut self, place: u8, kind: TrackKind, stereo: bool, is_running: bool) {
        let ramp = self.samples(RAMP_MS);
        let Some(track) = self
            .tracks
            .get_mut(usize::from(place))
            .filter(|track| track.life == Life::Free)
        else {
            return;
        };
        *track = Track {
            life: Life::Live,
            kind,
            ..Track::free()
        };
        track.source.stereo = stereo;
        if is_running {
            track.fade.snap(0.0);
            track.fade.go(1.0, ramp);
        }
        self.stale = true;
    }

    fn remove_track(&mut self, place: u8) {
        let fade = self.samples(CROSSFADE_MS);
        if let Some(track) = self.track(place) {
            track.life = Life::Leaving;
            track.fade.go(0.0, if track.fresh { 0 } else { fade });
            self.stale = true;
        }
        for track in &mut self.tracks {
            track
                .sends
                .iter_mut()
                .filter(|send| send.bus == place)
                .for_each(|send| send.level = 0.0);
        }
    }

    fn input(&mut self, place: u8, source: Source) {
        let fade = self.samples(SOURCE_MS);
        let Some(track) = self.track(place) else {
            return;
        };
        if track.fresh {
            track.source = source;
        } else {
            track.next_source = Some(source);
            track.source_fade.go(0.0, fade);
        }
        self.stale = true;
    }

    fn level(&mut self, place: u8, level: TrackLevel, value: f32) {
        let ramp = self.samples(RAMP_MS);
        let Some(track) = self.track(place) else {
            return;
        };
        match level {
            TrackLevel::InputGain => track
                .input_gain
                .go(value, if track.fresh { 0 } else { ramp }),
            TrackLevel::Volume => track.volume = value,
            TrackLevel::Pan => track.pan = value,
        }
        self.stale = true;
    }

    fn send(&mut self, place: u8, bus: u8, level: f32) {
        let Some(track) = self.track(place) else {
            return;
        };
        match track.sends.iter_mut().find(|send| send.bus == bus) {
            Some(send) => send.level = level,
            None => {
                let send = Send {
                    bus,
                    level,
                    gain: crate::ramp::Ramp::new(0.0),
                };
                // More than can be heard at a time are never asked for.
                let _ = track.sends.push(send);
            }
        }
        self.stale = true;
    }

    fn add_effect(
        &mut self,
        place: u8,
        slot: u8,
        kind: Kind,
        position: u8,
        memory: (usize, usize),
    ) {
        let rate_hz = self.rate_hz;
        let Some(track) = self
            .tracks
            .get_mut(usize::from(place))
            .filter(|track| track.life == Life::Live)
        else {
            return;
        };
        let Some(free) = self
            .slots
            .get_mut(usize::from(slot))
            .filter(|slot| slot.phase == Phase::Free)
        else {
            return;
        };
        let position = usize::from(position).min(track.order.len());
        if track.order.insert(position, slot).is_ok() {
            free.install(place, kind, rate_hz, memory);
            track.unsettled = true;
        }
    }

    fn remove_effect(&mut self, number: u8) {
        let fade = self.samples(CROSSFADE_MS);
        let Some(slot) = self.slot(number) else {
            return;
        };
        let place = slot.track;
        // One that was never put into its chain has nothing to fade.
        slot.phase = Phase::Leaving;
        slot.mix.go(0.0, if slot.fresh { 0 } else { fade });
        if let Some(track) = self.tracks.get_mut(usize::from(place)) {
            track.order.retain(|other| *other != number);
        }
    }

    fn move_effect(&mut self, number: u8, position: u8) {
        let fade = self.samples(CROSSFADE_MS);
        let Some(slot) = self.slot(number) else {
            return;
        };
        let place = slot.track;
        slot.phase = Phase::Waiting;
        slot.mix.go(0.0, if slot.fresh { 0 } else { fade });
        if let Some(track) = self.tracks.get_mut(usize::from(place)) {
            track.order.retain(|other| *other != number);
            let position = usize::from(position).min(track.order.len());
            let _ = track.order.insert(position, number);
            track.unsettled = true;
        }
    }

    /// After a group, and on the grid: whatever may follow now follows.
    pub fn settle(&mut self, is_running: bool) {
        for place in 0..TRACK_PLACES {
            self.settle_chain(place);
        }
        if self.stale {
            self.stale = false;
            self.find_who_is_heard(is_running);
        }
    }

    fn settle_chain(&mut self, place: usize) {
        let feed = self.samples(FEED_MS);
        let Some(track) = self.tracks.get_mut(place).filter(|track| track.unsettled) else {
            return;
        };
        let mut must_wait = false;
        for number in &track.order {
            let slot = self.slots.get_mut(usize::from(*number));
            must_wait |=
                slot.is_some_and(|slot| slot.phase == Phase::Waiting && !slot.may_move(feed));
        }
        let slots = &self.slots;
        let is_leaving = |number: &u8| {
            let slot = slots.get(usize::from(*number));
            slot.is_some_and(|slot| slot.phase == Phase::Leaving)
        };
        // All that leave must find room beside those that come, or they would never fade out.
        let leaving = track.chain.iter().filter(|number| is_leaving(number));
        if must_wait || track.order.len() + leaving.count() > CHAIN {
            return;
        }
        // The wanted order; those that leave stay behind whom they were behind.
        let mut chain = track.order.clone();
        for (index, number) in track.chain.iter().enumerate() {
            if !is_leaving(number) {
                continue;
            }
            let before = index
                .checked_sub(1)
                .and_then(|index| track.chain.get(index));
            let at = before
                .and_then(|before| chain.iter().position(|other| other == before))
                .map_or(0, |at| at + 1);
            let _ = chain.insert(at, *number);
        }
        track.chain = chain;
        track.unsettled = false;
        let is_heard = !track.fresh;
        for number in &track.order {
            if let Some(slot) = self.slots.get_mut(usize::from(*number))
                && slot.phase == Phase::Waiting
            {
                slot.phase = Phase::Live;
                if is_heard {
                    slot.begin_feeding(feed);
                } else {
                    slot.feed.snap(1.0);
                }
            }
        }
        self.stale = true;
    }

    /// Solo, mute, bypass and panic → the gains that tracks, sends and effects go to.
    fn find_who_is_heard(&mut self, is_running: bool) {
        let (ramp, crossfade) = (self.samples(RAMP_MS), self.samples(CROSSFADE_MS));
        let live = |track: &&Track| track.life == Life::Live;
        let can_solo = |track: &&Track| track.kind != TrackKind::Master && track.solo;
        let any_solo = self
            .tracks
            .iter()
            .filter(live)
            .any(|track| can_solo(&track));
        let any_source_soloed = self
            .tracks
            .iter()
            .filter(live)
            .any(|track| track.solo && matches!(track.kind, TrackKind::Mic | TrackKind::Stem));
        let mut bus_soloed = [false; TRACK_PLACES];
        for (flag, track) in bus_soloed.iter_mut().zip(&self.tracks) {
            *flag = track.life == Life::Live && track.kind == TrackKind::Bus && track.solo;
        }
        let is_dry = self.panic == Some(PanicMode::Dry);
        for track in self.tracks.iter_mut().filter(|track| track.sounds()) {
            let is_heard = match track.kind {
                TrackKind::Master => true,
                TrackKind::Bus => !any_solo || track.solo || any_source_soloed,
                TrackKind::Mic | TrackKind::Stem => !any_solo || track.solo,
            };
            let samples = if track.fresh { 0 } else { ramp };
            let goals = track.gains();
            for (gain, goal) in track.gain.iter_mut().zip(goals) {
                retarget(gain, goal, samples);
            }
            retarget(&mut track.direct, if is_heard { 1.0 } else { 0.0 }, samples);
            let is_soloed = track.solo;
            let is_dry = is_dry && track.kind == TrackKind::Mic;
            for send in &mut track.sends {
                let to_soloed = bus_soloed
                    .get(usize::from(send.bus))
                    .copied()
                    .unwrap_or(false);
                let is_open = !is_dry && (!any_solo || is_soloed || to_soloed);
                retarget(
                    &mut send.gain,
                    if is_open { send.level } else { 0.0 },
                    samples,
                );
            }
        }
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| slot.phase == Phase::Live)
        {
            let track = self.tracks.get(usize::from(slot.track));
            let is_dry = is_dry && track.is_some_and(|track| track.kind == TrackKind::Mic);
            let goal = if slot.bypassed || slot.rests || is_dry {
                0.0
            } else {
                1.0
            };
            // A new effect on a track that has been heard fades in; on a new track it is just there.
            let is_heard = is_running && track.is_some_and(|track| !track.fresh);
            retarget(&mut slot.mix, goal, if is_heard { crossfade } else { 0 });
        }
    }

    /// On the grid: what has faded goes, or sleeps.
    pub fn sweep(&mut self) {
        let (feed, settling) = (self.samples(FEED_MS), self.samples(SETTLING_MS));
        let rate_hz = self.rate_hz;
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| slot.phase == Phase::Live)
        {
            slot.doze(rate_hz, feed, settling);
        }
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.phase == Phase::Leaving && slot.is_silent() {
                let number = index as u8;
                if let Some(track) = self.tracks.get_mut(usize::from(slot.track)) {
                    track.chain.retain(|other| *other != number);
                }
                slot.begin_clearing();
            }
        }
        let fade = self.samples(SOURCE_MS);
        for (place, track) in self.tracks.iter_mut().enumerate() {
            if track.source_fade.rests_at(0.0)
                && let Some(source) = track.next_source.take()
            {
                track.source = source;
                track.source_fade.go(1.0, fade);
                self.stale = true;
            }
            track
                .sends
                .retain(|send| send.level > 0.0 || !send.gain.rests_at(0.0));
            if track.life == Life::Leaving && track.fade.rests_at(0.0) {
                track.life = Life::Clearing;
                let mine = |slot: &&mut Slot| usize::from(slot.track) == place;
                for slot in self.slots.iter_mut().filter(mine) {
                    if matches!(slot.phase, Phase::Live | Phase::Waiting | Phase::Leaving) {
                        slot.begin_clearing();
                    }
                }
                track.chain.clear();
                track.order.clear();
            }
        }
    }

    /// Clears what is to be cleared, for so many frames' worth of time.
    pub fn clear(&mut self, frames: usize, pool: &mut [f32]) {
        // One at a time: the cost of a frame does not grow with what was removed.
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_dirty()) {
            slot.clear(frames, pool);
        }
    }

    /// Tells the control side what may be used again, as far as there is room to tell.
    pub fn report_freed(&mut self, outbox: &mut impl Outbox) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.phase == Phase::Clean && outbox.push(Report::SlotFreed { slot: index as u8 }) {
                slot.phase = Phase::Free;
            }
        }
        for (place, track) in self.tracks.iter_mut().enumerate() {
            if track.life != Life::Clearing {
                continue;
            }
            let has_slots = self
                .slots
                .iter()
                .any(|slot| slot.phase != Phase::Free && usize::from(slot.track) == place);
            if !has_slots && outbox.push(Report::TrackFreed { track: place as u8 }) {
                track.life = Life::Free;
            }
        }
    }
}

/// Sends a ramp somewhere else, but not anew to where it is going.
fn retarget(ramp: &mut crate::ramp::Ramp, goal: f32, samples: u32) {
    if samples == 0 {
        ramp.snap(goal);
    } else if ramp.target() != goal {
        ramp.go(goal, samples);
    }
}
