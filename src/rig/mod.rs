//! The rig: the authoritative state, what may be asked of it, and what an accepted request
//! becomes. Pure: no I/O, no clock, one owner.
//!
//! | file | noun |
//! |---|---|
//! | `state.rs` | tracks, plugins, panic: what is |
//! | `presets.rs` | values for one effect, under a name |
//! | `chain.rs` | whole chains for a microphone, under a name |
//! | `karaoke.rs` | the rig that `preset = "karaoke"` starts with |
//! | `durable.rs` | what of it survives a restart, and how it follows from changes |
//! | `request.rs` | what may be asked |
//! | `change.rs` | what an accepted request did: numbered, and told to everyone |
//! | `reject.rs` | why a request was refused |
//! | `apply.rs` | request → changes and engine commands, for plugins and the rig |
//! | `batch.rs` | many parameter changes at once |
//! | `tracks.rs` | the same for tracks |
//! | `places.rs` | the engine's places, slots and delay memory |

pub mod apply;
pub mod batch;
pub mod chain;
pub mod change;
pub mod durable;
pub mod howl;
pub mod karaoke;
pub mod places;
pub mod presets;
pub mod reject;
pub mod request;
pub mod shed;
pub mod state;
pub mod tone;
mod tracks;

pub use apply::{Accepted, apply};
pub use change::{Change, What};
pub use durable::Durable;
pub use reject::Reject;
pub use request::{ParameterChange, PluginRef, Request, TrackFields};
pub use state::{MicFeed, Plugin, State, Track};
pub use tone::ToneFields;
pub use tracks::is_quieting;
