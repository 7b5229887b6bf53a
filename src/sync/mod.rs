//! Who still has to hear what.
//!
//! | file | noun |
//! |---|---|
//! | `stream.rs` | what happens, once for everybody |
//! | `outbox.rs` | what waits for one client: its own answers, and its place in the stream |
//!
//! A change is put into the [`Stream`] once, however many hear of it; each client's [`Outbox`] takes it from
//! there when its socket has room, and what it asked for comes in between in the order of things.
//! A client that keeps up hears everything. Once a backlog has formed, changes of a parameter that has
//! changed again since are left out (but not across an answer that tells of the state: it agrees with
//! what was heard before it); and who falls behind the stream's oldest change gets a fresh snapshot instead.

mod outbox;
mod stream;

pub use outbox::{Latest, Outbox, REPLIES_BYTES_MAX, REPLIES_MAX};
pub use stream::Stream;

/// Names a parameter for coalescing: a hash of plugin and parameter.
pub type Key = u64;

/// Changes that wait before those of one parameter coalesce. A client that keeps up sees every one.
const COALESCE_FROM: usize = 64;

/// A map by keys, which are hashes already.
type ByKey<T> = std::collections::HashMap<Key, T, std::hash::BuildHasherDefault<AsIs>>;

#[derive(Default)]
struct AsIs(u64);

impl std::hash::Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
