//! The ALSA backend. `plugins.rs`: PCMs that need no hardware, on any machine. `card.rs`: real drivers, where
//! the cards `Loopback` and `Dummy` are: in the guest of `tests/kernel`, which is the usual place, or on a
//! machine where they are loaded; elsewhere those tests say SKIP.

mod card;
mod mixer;
mod peer;
mod plugins;
mod proofs;
mod rig;
#[path = "../common/watch.rs"]
mod watch;

#[global_allocator]
static ALLOCATOR: watch::Watching = watch::Watching;
