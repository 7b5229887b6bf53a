//! Who still has to hear what: one bounded outbox for each client.
//!
//! Frames leave in the order they came. What a client asked for (replies, errors, acks, snapshots)
//! is never dropped: its connection stops reading requests while [`REPLIES_MAX`] of them, or
//! [`REPLIES_BYTES_MAX`] bytes, wait.
//! Changes of others coalesce by parameter once a backlog has formed (but not across an answer that
//! tells of the state: it agrees with what was heard before it), and past the bound all of them give way
//! to one fresh snapshot. Meters and
//! presence are replaced by newer ones.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::task::Waker;

use tokio_tungstenite::tungstenite::Message;

/// Replies that may wait for a client before no more of its requests are read.
pub const REPLIES_MAX: usize = 1024;
/// And how large they may be together, in bytes.
pub const REPLIES_BYTES_MAX: usize = 1024 * 1024;
/// Changes that wait before those of one parameter coalesce. A client that keeps up sees every one.
const COALESCE_FROM: usize = 64;

/// Names a parameter for coalescing: a hash of plugin and parameter.
pub type Key = u64;

/// A key is a hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
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

enum What {
    /// Never dropped.
    Reply,
    /// The same, and it tells of the state.
    State,
    /// Somebody else's change.
    Change(Option<Key>),
    /// Of which only the newest is worth anything.
    Latest(Latest),
}

/// What is worth nothing once there is a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latest {
    /// How loud it is.
    Meters,
    /// Who is here.
    Presence,
}

struct Entry {
    /// `None`: something newer took its place.
    message: Option<Message>,
    what: What,
}

/// What waits for one client.
pub struct Outbox {
    entries: VecDeque<Entry>,
    /// Number of the first entry; numbers go on for ever.
    first: u64,
    changes: usize,
    changes_max: usize,
    replies: usize,
    replies_bytes: usize,
    /// Entries whose message is gone.
    blanks: usize,
    /// Where a parameter's newest change waits, if nothing that tells of the state waits behind it.
    newest: HashMap<Key, u64, BuildHasherDefault<AsIs>>,
    /// By [`Latest`].
    latest: [Option<u64>; 2],
    is_lagging: bool,
    waker: Option<Waker>,
}

impl Outbox {
    /// An empty one that holds at most `changes_max` changes.
    pub fn new(changes_max: usize) -> Outbox {
        Outbox {
            entries: VecDeque::new(),
            first: 0,
            changes: 0,
            changes_max,
            replies: 0,
            replies_bytes: 0,
            blanks: 0,
            newest: HashMap::default(),
            latest: [None; 2],
            is_lagging: false,
            waker: None,
        }
    }

    /// What the client asked for.
    pub fn reply(&mut self, message: Message) {
        self.replies += 1;
        self.replies_bytes += message.len();
        self.push(message, What::Reply);
    }

    /// What the client asked for, when it tells of the state.
    pub fn state(&mut self, message: Message) {
        self.newest.clear();
        self.replies += 1;
        self.replies_bytes += message.len();
        self.push(message, What::State);
    }

    /// Somebody else's change; `key` when it is a parameter's value.
    pub fn change(&mut self, message: Message, key: Option<Key>) {
        if self.is_lagging {
            return;
        }
        if self.changes >= COALESCE_FROM
            && let Some(older) = key.and_then(|key| self.newest.get(&key).copied())
        {
            self.blank(older);
        }
        if self.changes >= self.changes_max {
            self.give_up_changes();
            return;
        }
        self.changes += 1;
        let number = self.first + self.entries.len() as u64;
        if let Some(key) = key {
            self.newest.insert(key, number);
        }
        self.push(message, What::Change(key));
    }

    /// Something that is worth nothing once there is a newer one.
    pub fn latest(&mut self, which: Latest, message: Message) {
        if let Some(older) = self.latest[which as usize].take() {
            self.blank(older);
        }
        self.latest[which as usize] = Some(self.first + self.entries.len() as u64);
        self.push(message, What::Latest(which));
    }

    /// The next reply is the snapshot that a lagging client was promised; behind it, it hears
    /// changes again.
    pub fn caught_up(&mut self) {
        self.is_lagging = false;
    }

    /// The next frame to write.
    pub fn pop(&mut self) -> Option<Message> {
        while let Some(entry) = self.entries.pop_front() {
            let number = self.first;
            self.first += 1;
            self.blanks -= usize::from(entry.message.is_none());
            if self.entries.is_empty() && self.entries.capacity() > COALESCE_FROM {
                // A backlog that is over gives its memory back.
                self.entries.shrink_to_fit();
            }
            match entry.what {
                What::Reply | What::State => {
                    self.replies -= 1;
                    self.replies_bytes -= entry.message.as_ref().map_or(0, Message::len);
                }
                What::Latest(which) => {
                    let newest = &mut self.latest[which as usize];
                    *newest = newest.filter(|newest| *newest != number);
                }
                What::Change(key) if entry.message.is_some() => {
                    self.changes -= 1;
                    if let Some(key) = key
                        && self.newest.get(&key) == Some(&number)
                    {
                        self.newest.remove(&key);
                    }
                }
                What::Change(_) => {}
            }
            if entry.message.is_some() {
                return entry.message;
            }
        }
        None
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no more requests should be read for now.
    pub fn is_full(&self) -> bool {
        self.replies >= REPLIES_MAX || self.replies_bytes >= REPLIES_BYTES_MAX
    }

    /// Whether changes were given up and a snapshot is owed.
    pub fn is_lagging(&self) -> bool {
        self.is_lagging
    }

    /// Whom to wake when something comes.
    pub fn set_waker(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(present) => present.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Wakes the connection.
    pub fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    fn push(&mut self, message: Message, what: What) {
        self.entries.push_back(Entry {
            message: Some(message),
            what,
        });
        if self.entries.len() == 1 {
            self.wake();
        }
    }

    /// Empties an entry, which keeps its number.
    fn blank(&mut self, number: u64) {
        let entry = number
            .checked_sub(self.first)
            .and_then(|index| self.entries.get_mut(index as usize));
        if let Some(entry) = entry
            && entry.message.take().is_some()
        {
            self.blanks += 1;
            self.changes -= usize::from(matches!(entry.what, What::Change(_)));
        }
        if self.blanks > self.changes_max.max(COALESCE_FROM) {
            self.compact();
        }
    }

    /// Drops empty entries, so that a client that reads nothing cannot make the list grow.
    fn compact(&mut self) {
        self.entries.retain(|entry| entry.message.is_some());
        self.blanks = 0;
        self.newest.clear();
        self.latest = [None; 2];
        for (number, entry) in (self.first..).zip(&self.entries) {
            match entry.what {
                What::Reply | What::Change(None) => {}
                What::State => self.newest.clear(),
                What::Change(Some(key)) => {
                    self.newest.insert(key, number);
                }
                What::Latest(which) => self.latest[which as usize] = Some(number),
            }
        }
    }

    fn give_up_changes(&mut self) {
        self.entries
            .retain(|entry| !matches!(entry.what, What::Change(_)));
        self.changes = 0;
        self.compact();
        self.is_lagging = true;
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Message {
        Message::text(text.to_owned())
    }

    fn drain(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.pop())
            .map(|message| message.into_text().unwrap().to_string())
            .collect()
    }

    #[test]
    fn a_client_that_keeps_up_hears_everything_in_order() {
        let mut outbox = Outbox::new(1000);
        outbox.change(text("a1"), Some(1));
        outbox.reply(text("reply"));
        outbox.change(text("a2"), Some(1));
        assert_eq!(drain(&mut outbox), ["a1", "reply", "a2"]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_backlog_coalesces_and_keeps_the_last_value_of_every_parameter() {
        let mut outbox = Outbox::new(100);
        for step in 0..5000u32 {
            outbox.change(
                text(&format!("{}={step}", step % 10)),
                Some(Key::from(step % 10)),
            );
        }
        assert!(!outbox.is_lagging());
        assert!(outbox.len() <= 300, "and takes no more room than its bound");
        let heard = drain(&mut outbox);
        assert!(heard.len() <= 100);
        assert_eq!(
            heard[heard.len() - 10..],
            (4990..5000)
                .map(|step| format!("{}={step}", step % 10))
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_was_heard_before_a_snapshot_is_not_older_than_the_snapshot() {
        let mut outbox = Outbox::new(1000);
        for step in 0..100 {
            outbox.change(text(&format!("other {step}")), None);
        }
        outbox.change(text("a1"), Some(1));
        outbox.state(text("snapshot with a1"));
        outbox.change(text("a2"), Some(1));
        outbox.reply(text("a reply"));
        for step in 3..10 {
            outbox.change(text(&format!("a{step}")), Some(1));
        }
        let heard = drain(&mut outbox);
        assert_eq!(heard[100..], ["a1", "snapshot with a1", "a reply", "a9"]);
    }

    #[test]
    fn past_the_bound_a_snapshot_is_owed_and_replies_stay() {
        let mut outbox = Outbox::new(100);
        outbox.reply(text("mine"));
        for step in 0..101 {
            outbox.change(text(&format!("add {step}")), None);
        }
        assert!(outbox.is_lagging());
        outbox.change(text("lost in the snapshot"), None);
        assert_eq!(drain(&mut outbox), ["mine"]);
        outbox.caught_up();
        outbox.reply(text("snapshot"));
        outbox.change(text("after"), None);
        assert_eq!(drain(&mut outbox), ["snapshot", "after"]);
    }

    #[test]
    fn of_meters_and_presence_only_the_newest_wait() {
        let mut outbox = Outbox::new(100);
        for step in 0..50 {
            outbox.latest(Latest::Meters, text(&format!("meters {step}")));
            if step % 20 == 0 {
                outbox.latest(Latest::Presence, text(&format!("presence {step}")));
            }
        }
        assert_eq!(drain(&mut outbox), ["presence 40", "meters 49"]);
        outbox.latest(Latest::Meters, text("again"));
        assert_eq!(drain(&mut outbox), ["again"]);
    }

    #[test]
    fn too_many_waiting_replies_stop_the_reading() {
        let mut outbox = Outbox::new(100);
        for _ in 0..REPLIES_MAX {
            assert!(!outbox.is_full());
            outbox.reply(text("reply"));
        }
        assert!(outbox.is_full());
        drain(&mut outbox);
        assert!(!outbox.is_full());
        outbox.reply(Message::text("x".repeat(REPLIES_BYTES_MAX)));
        assert!(outbox.is_full(), "few but large ones do too");
    }
}
