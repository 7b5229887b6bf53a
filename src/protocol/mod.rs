//! Bytes ↔ messages, in three dialects. No I/O and no state: the only room that knows JSON's shape
//! on the wire.
//!
//! | file | noun |
//! |---|---|
//! | `dialect.rs` | the dialects and every message type's name in each |
//! | `fields.rs` | the known fields of a JSON object, found without copying |
//! | `incoming.rs` | what a message says and asks |
//! | `decode/` | a text frame → [`Incoming`] |
//! | `encode.rs` | replies, broadcasts, errors → one text frame |
//! | `views.rs` | tracks, plugins and snapshots as JSON |
//! | `meters.rs` | meters as JSON and binary |
//!
//! A further dialect (Socket.IO) brings its own transport and its own names; what lies behind
//! [`Incoming`] and `rig::Change` does not know dialects.

pub mod decode;
pub mod dialect;
pub mod encode;
mod fields;
pub mod incoming;
pub mod meters;
pub mod views;

pub use decode::decode;
pub use dialect::{Dialect, Kind};
pub use incoming::{Batch, Body, DeviceAsk, Given, Head, Incoming, Limits, SessionAsk, Whom};
