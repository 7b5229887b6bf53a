//! rigd: a karaoke rig. Phones steer, over WebSocket, a realtime engine that mixes microphones and
//! music.
//!
//! ```text
//! phone ─ws─▶ server ─▶ protocol ─▶ desk ─▶ rig ─┬─▶ batcher ─▶ ring ═▶ rt engine ═▶ backend
//!   ▲                     session ──┘            │                      ║
//!   └───────────── sync ◀── desk ◀───────────────┴── telemetry ◀════════╝ reports
//! ```
//!
//! | room | what |
//! |---|---|
//! | [`cli`], [`config`], [`log`], [`run`], [`signals`], [`reload`] | the command line, the settings, the log; what wires everything; what ends it; settings read again |
//! | [`care`], [`update`] | backup, restore, support bundle, factory reset, reboot and power-off; a new version, on the device image |
//! | [`systemd`] | readiness, watchdog and status, for systemd |
//! | [`server`], [`remote`] | sockets and HTTP; the page |
//! | [`protocol`] | bytes ↔ messages, in all dialects |
//! | [`session`], [`keyfile`] | who may do what, and how much; what nobody else may read |
//! | [`desk`] | where control meets the engine: requests, answers, broadcasts |
//! | [`rig`] | the authoritative state: pure, one owner |
//! | [`batcher`] | debounced changes: pure |
//! | [`provenance`] | every change on record, and the state that survives |
//! | [`sync`] | what each client still has to hear |
//! | [`ring`] | the only way to and from the realtime thread |
//! | [`telemetry`], [`ticker`] | status and metrics; the fast clock |
//! | [`backend`], [`render`], [`replay`] | who calls the engine: a JACK server, a card, a clock, a file, a night once more |
//! | [`devices`], [`doctor`], [`tone`] | what there is to hear with; is this box fit for realtime sound; a test tone |
//! | [`rigd_rt`] | the engine: `no_std`, no alloc, no unsafe |
//!
//! Invariants:
//! 1. The realtime path cannot allocate, lock or make a system call: the engine's crate cannot even
//!    name them, and only [`backend`] runs on that thread.
//! 2. The engine is deterministic and does not care about the block size.
//! 3. A group of changes is heard whole, at one frame: it crosses [`ring`] as one chunk.
//! 4. A reply is sent after the realtime thread has applied the change.
//! 5. A panic on the control side costs connections, never the sound ([`run`]).
//! 6. Every queue has a bound, written where it is.
//! 7. The safe direction (panic, mute, turning down) is never refused.

pub mod backend;
pub mod batcher;
pub mod care;
pub mod cli;
pub mod config;
pub mod desk;
pub mod devices;
pub mod doctor;
pub mod keyfile;
pub mod log;
pub mod protocol;
pub mod provenance;
pub mod reload;
pub mod remote;
pub mod render;
pub mod replay;
pub mod rig;
pub mod ring;
pub mod run;
pub mod server;
pub mod session;
pub mod signals;
pub mod sync;
pub mod systemd;
pub mod telemetry;
pub mod ticker;
pub mod tone;
pub mod update;
pub mod voice;
pub mod wav;
