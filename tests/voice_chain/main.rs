//! The voice chain as a listener would judge it: known sounds through `rigd render`, and numbers from
//! the recording alone. `cargo test --test voice_chain -- --nocapture` prints the worst of each.

mod dynamics;
mod filters;
mod latency;
mod limiter;
mod listen;
mod sends;
mod session;
mod sibilants;
