//! Commands: what the control side asks of the engine. Fixed size, `Copy`, nothing to drop.
//!
//! Commands come in groups: a [`Command::Group`] header and exactly `len` commands behind it.
//! A group takes effect whole, at one frame. The engine trusts the control side for meaning
//! (ids in range, ranges of values) but never for safety: whatever is out of range is ignored.

use crate::effect::Kind;

/// No channel: the input is silent.
pub const NO_CHANNEL: u8 = u8::MAX;

/// What a track is for; decides where its sound comes from and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TrackKind {
    /// A microphone or another live source. Goes to the master and its sends.
    Mic,
    /// Music that plays from the box or a line input. Goes to the master and its sends.
    Stem,
    /// Fed by the sends of others. Goes to the master.
    Bus,
    /// The one sum that is heard.
    Master,
}

/// How `rig.panic` makes things safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PanicMode {
    /// The master is silent.
    Mute,
    /// All effects on mics are bypassed, and their sends are closed.
    Dry,
}

/// A smoothed number of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TrackLevel {
    /// Linear gain before the chain (the control side converts from dB), 0.06…100.
    InputGain,
    /// Fader, linear, 0…2.
    Volume,
    /// −1 (left) … 1 (right).
    Pan,
}

/// One instruction to the engine.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Command {
    /// Header of a group of `len` commands that take effect together, at frame `at` or, where
    /// that frame has passed (0: as soon as possible), at the start of the next block.
    /// `id` increases from group to group and comes back in [`crate::Report::Applied`].
    Group {
        /// Group number; increasing.
        id: u64,
        /// Absolute frame, or 0.
        at: u64,
        /// Commands that follow.
        len: u32,
    },
    /// A new track in a free place: unity fader, centre, no sends, silent input.
    AddTrack {
        /// Place, below [`crate::TRACK_PLACES`].
        track: u8,
        /// What it is for.
        kind: TrackKind,
        /// Whether its input is stereo: decides the pan law.
        stereo: bool,
    },
    /// Fades a track out, then frees it and its effects ([`crate::Report::TrackFreed`]).
    RemoveTrack {
        /// Place.
        track: u8,
    },
    /// Where a mic's or stem's sound comes from. A mono input names the same channel twice or
    /// only `left`.
    Input {
        /// Place.
        track: u8,
        /// Index into the backend's channels, or [`NO_CHANNEL`].
        left: u8,
        /// Index into the backend's channels, or [`NO_CHANNEL`] for mono.
        right: u8,
        /// Decides the pan law.
        stereo: bool,
    },
    /// A fader or another continuous number of a track.
    Level {
        /// Place.
        track: u8,
        /// Which number.
        level: TrackLevel,
        /// Its value, in the unit of [`TrackLevel`].
        value: f32,
    },
    /// Silences a track (its sends too).
    Mute {
        /// Place.
        track: u8,
        /// On or off.
        on: bool,
    },
    /// Solo in place: while any track is soloed, only soloed ones (and the buses that they
    /// feed) are heard.
    Solo {
        /// Place.
        track: u8,
        /// On or off.
        on: bool,
    },
    /// Post-fader send of a mic or stem to a bus. A level of 0 frees the send after its ramp.
    Send {
        /// Place of the sender.
        track: u8,
        /// Place of the bus.
        bus: u8,
        /// Linear, 0…1.
        level: f32,
    },
    /// A new effect in a free slot, with its parameters at their defaults, fading in.
    AddEffect {
        /// Place of the track.
        track: u8,
        /// Slot, below [`crate::SLOTS`].
        slot: u8,
        /// Which effect.
        kind: Kind,
        /// Position among the live effects of the chain.
        position: u8,
        /// Start of its delay memory in the pool, in samples.
        memory: u32,
        /// Length of its delay memory: [`Kind::memory`] at the engine's rate.
        memory_len: u32,
    },
    /// Fades an effect out, takes it from its chain, clears its memory and reports
    /// [`crate::Report::SlotFreed`].
    RemoveEffect {
        /// Slot.
        slot: u8,
    },
    /// Moves an effect within its chain, fading it out and in again.
    MoveEffect {
        /// Slot.
        slot: u8,
        /// New position among the live effects.
        position: u8,
    },
    /// Crossfades between an effect and what goes into it. The effect keeps running.
    Bypass {
        /// Slot.
        slot: u8,
        /// On or off.
        on: bool,
    },
    /// A parameter of an effect.
    Set {
        /// Slot.
        slot: u8,
        /// Index into [`Kind::params`].
        param: u8,
        /// Value in the parameter's own unit.
        value: f32,
    },
    /// Whom an effect's side chain listens to.
    Sidechain {
        /// Slot.
        slot: u8,
        /// Places of tracks, a bit each (bit 0: place 0).
        places: u32,
    },
    /// `rig.panic`, and `None` for `rig.restore`.
    Panic {
        /// What to do.
        mode: Option<PanicMode>,
    },
    /// A test tone in a track, behind its effects and before its fader (of the master: before its
    /// effects, so that the limiter has the last word). Comes and goes softly; 0 frames end it.
    Tone {
        /// Place.
        track: u8,
        /// In Hz, from 1 to half the rate.
        freq_hz: f32,
        /// Its peak, linear, 0…1.
        level: f32,
        /// How long it is, fades included.
        frames: u32,
    },
    /// An effect rests, or works again. One that rests is faded out, computes nothing, and forgets
    /// what it has heard; it comes back as a new one does.
    Rest {
        /// Slot.
        slot: u8,
        /// On or off.
        on: bool,
    },
}

// The ring's cost is this size; the realtime thread must never run a destructor.
const _: () = assert!(core::mem::size_of::<Command>() <= 24);
const _: () = assert!(!core::mem::needs_drop::<Command>());
const _: () = assert!(crate::TRACK_PLACES <= u32::BITS as usize);

/// Where the engine reads commands from (a wait-free ring, or a slice in a test). Realtime thread.
pub trait Inbox {
    /// The next command without taking it. A header is only ever visible together with its group.
    fn peek(&mut self) -> Option<Command>;
    /// Takes the next command.
    fn pop(&mut self) -> Option<Command>;
}
