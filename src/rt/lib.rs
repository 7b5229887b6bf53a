//! The realtime engine: everything that runs inside the audio callback, and nothing else.
//!
//! This crate cannot allocate (no `alloc`), cannot call the system (no `std`), and has no
//! `unsafe`. What crosses its border is small and `Copy`: [`Command`] in, [`Report`] out.
//!
//! | file | noun |
//! |---|---|
//! | `command.rs` | what the control side may ask for |
//! | `report.rs` | what the engine says back |
//! | `effect.rs` | the kinds of effect and their parameters |
//! | `engine.rs` | one block: groups, spans, the way through tracks, buses and master |
//! | `mixer.rs` | commands → tracks and slots; solo, sends |
//! | `track.rs` | one track: input, fader, meters |
//! | `slot.rs` | one effect's place: crossfades, clearing |
//! | `effects/` | one algorithm a file |
//! | `ramp.rs`, `svf.rs` | how numbers move; the filter that may be modulated |
//! | `tone.rs` | a test tone |
//! | `switch.rs` | a switch that a level operates |
//! | `section.rs` | a section of an equaliser on that filter |
//! | `decibel.rs` | levels in dB, for every sample |
//!
//! Sound is stereo frames everywhere (a mono microphone carries the same twice): two lanes cost
//! hardly more than one. A block is computed in spans that end on a grid of the absolute frame
//! ([`GRID`]) and where a group takes effect; what happens now and then happens on that grid. So the
//! output does not depend on the block size.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![allow(
    clippy::needless_range_loop,
    reason = "the two sides of a frame read best by index"
)]

pub mod command;
mod decibel;
pub mod effect;
pub mod effects;
pub mod engine;
mod mixer;
pub mod ramp;
pub mod report;
pub mod section;
mod slot;
pub mod svf;
mod switch;
mod tone;
mod track;

pub use command::{Command, Inbox, PanicMode, TrackKind};
pub use effect::{Kind, Param, Scale};
pub use engine::Engine;
pub use report::{Outbox, Report};

/// One stereo sample.
pub type Frame = [f32; 2];

/// Frames between two moments at which coefficients, states and meters are looked at.
pub const GRID: usize = 32;

/// Constants that are computed once, before sound runs.
pub struct Tables {
    /// For the limiter.
    pub true_peak: effects::limiter::TruePeak,
    /// For feedback's spectrum.
    pub twiddles: effects::feedback::Twiddles,
}

/// Tracks that a rig can have at one time, the master included.
pub const TRACKS_MAX: usize = 16;
/// Engine places for tracks: a few more than [`TRACKS_MAX`], for tracks that are still fading out.
pub const TRACK_PLACES: usize = 20;
/// Live effects in one track's chain (the master's limiter counts).
pub const CHAIN_MAX: usize = 8;
/// Engine places for effects: all chains full, and some effects still fading out or being cleared.
pub const SLOTS: usize = TRACKS_MAX * CHAIN_MAX + 32;
/// Sends that one track can have.
pub const SENDS_MAX: usize = 4;
/// Parameters that one effect can have.
pub const PARAMS_MAX: usize = 16;
/// Channels that a backend can hand in.
pub const CHANNELS_MAX: usize = 64;
/// Commands in one group: every key that there can be (all parameters, bypasses, chain places
/// and track settings) fits with room to spare.
pub const GROUP_MAX: usize = 4096;
