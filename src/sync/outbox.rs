//! What waits for one client, bounded.
//!
//! Frames leave in the order they came. What a client asked for (replies, errors, acks, snapshots)
//! is never dropped: its connection stops reading requests while [`REPLIES_MAX`] of them, or
//! [`REPLIES_BYTES_MAX`] bytes, wait. News that are not in the stream (views, cursors) coalesce by key, and
//! past the bound all of them give way to one fresh snapshot, as the stream does for who falls behind it.
//! Meters and presence are replaced by newer ones.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use tokio_tungstenite::tungstenite::Message;

use super::stream::{Place, Stream};
use super::{ByKey, COALESCE_FROM, Key};

/// Replies that may wait for a client before no more of its requests are read.
pub const REPLIES_MAX: usize = 1024;
/// And how large they may be together, in bytes.
pub const REPLIES_BYTES_MAX: usize = 1024 * 1024;

enum What<R> {
    /// Never dropped.
    Reply(Message),
    /// The same, and it tells of the state.
    State(Message),
    /// Not in the stream.
    News(Message, Option<Key>),
    /// Of which only the newest is worth anything.
    Latest(Latest, Message),
    /// Which of the stream is heard from here on; comes with a reply, and so has that one's bound.
    Rules(Rc<R>),
    /// Something newer took its place.
    Blank,
}

/// What is worth nothing once there is a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latest {
    /// How loud it is.
    Meters,
    /// Who is here.
    Presence,
}

struct Entry<R> {
    what: What<R>,
    /// It comes behind what happened before this place of the stream.
    after: Place,
}

/// What waits for one client, who hears of the stream by rules `R`.
pub struct Outbox<R> {
    entries: VecDeque<Entry<R>>,
    /// Number of the first entry; numbers go on for ever.
    first: u64,
    news: usize,
    news_max: usize,
    replies: usize,
    replies_bytes: usize,
    blanks: usize,
    /// Where the newest of a key waits, if nothing that tells of the state waits behind it.
    newest: ByKey<u64>,
    /// By [`Latest`].
    latest: [Option<u64>; 2],
    /// Places of what waits and tells of the state.
    states: VecDeque<Place>,
    /// What happened before this place of the stream was heard.
    heard: Place,
    end: Rc<Cell<Place>>,
    rules: Rc<R>,
    is_lagging: bool,
    waker: Option<Waker>,
}

impl<R> Outbox<R> {
    /// An empty one that holds at most `news_max` news, and hears of the stream from now on.
    pub fn new<T>(news_max: usize, stream: &Stream<T>, rules: Rc<R>) -> Outbox<R> {
        Outbox {
            entries: VecDeque::new(),
            first: 0,
            news: 0,
            news_max,
            replies: 0,
            replies_bytes: 0,
            blanks: 0,
            newest: ByKey::default(),
            latest: [None; 2],
            states: VecDeque::new(),
            heard: stream.end(),
            end: stream.shared_end(),
            rules,
            is_lagging: false,
            waker: None,
        }
    }

    /// The same, which hears nothing of the stream and of news: only what was asked for.
    pub fn deaf(mut self) -> Outbox<R> {
        self.is_lagging = true;
        self
    }

    /// What the client asked for.
    pub fn reply(&mut self, message: Message) {
        self.replies += 1;
        self.replies_bytes += message.len();
        self.push(What::Reply(message));
    }

    /// What the client asked for, when it tells of the state.
    pub fn state(&mut self, message: Message) {
        self.newest.clear();
        self.states.push_back(self.end.get());
        self.replies += 1;
        self.replies_bytes += message.len();
        self.push(What::State(message));
    }

    /// What happens from now on is heard by these rules; what waits, by those before.
    pub fn rule(&mut self, rules: Rc<R>) {
        self.push(What::Rules(rules));
    }

    /// News that not everybody hears, or not so; with a `key`, a newer one may take its place.
    pub fn news(&mut self, message: Message, key: Option<Key>) {
        if self.is_lagging {
            return;
        }
        if self.news >= COALESCE_FROM
            && let Some(older) = key.and_then(|key| self.newest.get(&key).copied())
        {
            self.blank(older);
        }
        if self.news >= self.news_max {
            self.lag();
            self.wake();
            return;
        }
        self.news += 1;
        if let Some(key) = key {
            self.newest.insert(key, self.next());
        }
        self.push(What::News(message, key));
    }

    /// Something that is worth nothing once there is a newer one.
    pub fn latest(&mut self, which: Latest, message: Message) {
        if let Some(older) = self.latest[which as usize].take() {
            self.blank(older);
        }
        self.latest[which as usize] = Some(self.next());
        self.push(What::Latest(which, message));
    }

    /// What was put into the stream since `before` is its own and no news to it; it has fallen behind
    /// nobody but itself.
    pub fn knows_since(&mut self, before: u64) {
        if self.heard == before {
            self.heard = self.end.get();
        }
    }

    /// The next reply is the snapshot that a lagging client was promised; behind it, it hears
    /// changes again.
    pub fn caught_up(&mut self) {
        self.is_lagging = false;
        self.heard = self.end.get();
    }

    /// The next frame to write. `tell` makes one of what happened, unless the rules say that this client does
    /// not hear it.
    pub fn pop<T>(
        &mut self,
        stream: &Stream<T>,
        mut tell: impl FnMut(&R, &T) -> Option<Message>,
    ) -> Option<Message> {
        loop {
            let own = self.entries.front().map(|entry| entry.after);
            let until = own.unwrap_or(stream.end());
            if let Some(message) = self.hear(stream, until, &mut tell) {
                return Some(message);
            }
            own?;
            if let Some(message) = self.pop_own() {
                return Some(message);
            }
        }
    }

    /// What is next of the stream before `until`.
    fn hear<T>(
        &mut self,
        stream: &Stream<T>,
        until: Place,
        tell: &mut impl FnMut(&R, &T) -> Option<Message>,
    ) -> Option<Message> {
        if self.is_lagging || self.heard >= until {
            return None;
        }
        // A newer one takes the place of an older, if no answer that tells of the state is between them.
        let limit = self.states.front().copied().unwrap_or(Place::MAX);
        if stream.has_lost(self.heard) || stream.was_compacted_behind(limit) {
            self.lag();
            return None;
        }
        let coalesces = stream.end() - self.heard >= COALESCE_FROM as u64;
        while let Some((place, key, what)) = stream.at(self.heard)
            && place < until
        {
            self.heard = place + 1;
            let newest = key
                .filter(|_| coalesces)
                .and_then(|key| stream.newest(key))
                .unwrap_or(place);
            let is_overtaken = place < newest && newest < limit;
            if !is_overtaken && let Some(message) = tell(&self.rules, what) {
                return Some(message);
            }
        }
        self.heard = until;
        None
    }

    /// The next of its own; `None` when that is no frame.
    fn pop_own(&mut self) -> Option<Message> {
        let entry = self.entries.pop_front()?;
        let number = self.first;
        self.first += 1;
        if self.entries.is_empty() && self.entries.capacity() > COALESCE_FROM {
            // A backlog that is over gives its memory back.
            self.entries.shrink_to_fit();
        }
        match entry.what {
            What::Reply(message) => {
                self.replies -= 1;
                self.replies_bytes -= message.len();
                Some(message)
            }
            What::State(message) => {
                self.states.pop_front();
                self.replies -= 1;
                self.replies_bytes -= message.len();
                Some(message)
            }
            What::News(message, key) => {
                self.news -= 1;
                if let Some(key) = key
                    && self.newest.get(&key) == Some(&number)
                {
                    self.newest.remove(&key);
                }
                Some(message)
            }
            What::Latest(which, message) => {
                let newest = &mut self.latest[which as usize];
                *newest = newest.filter(|newest| *newest != number);
                Some(message)
            }
            What::Rules(rules) => {
                self.rules = rules;
                None
            }
            What::Blank => {
                self.blanks -= 1;
                None
            }
        }
    }

    /// Frames that wait, those of the stream that it may not want included.
    pub fn len(&self) -> usize {
        let unheard = if self.is_lagging {
            0
        } else {
            self.end.get() - self.heard
        };
        self.entries.len() + unheard as usize
    }

    /// Memory of the frames that wait.
    pub fn bytes(&self) -> usize {
        let entries = self.entries.iter();
        entries
            .map(|entry| match &entry.what {
                What::Reply(message)
                | What::State(message)
                | What::News(message, _)
                | What::Latest(_, message) => message.len(),
                What::Rules(_) | What::Blank => 0,
            })
            .sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    /// Number of the entry that comes next.
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn push(&mut self, what: What<R>) {
        let after = self.end.get();
        self.entries.push_back(Entry { what, after });
        if self.entries.len() == 1 {
            self.wake();
        }
    }

    /// Empties an entry, which keeps its number.
    fn blank(&mut self, number: u64) {
        let entry = number
            .checked_sub(self.first)
            .and_then(|index| self.entries.get_mut(index as usize));
        if let Some(entry) = entry {
            self.news -= usize::from(matches!(entry.what, What::News(..)));
            self.blanks += usize::from(!matches!(entry.what, What::Blank));
            entry.what = What::Blank;
        }
        if self.blanks > self.news_max.max(COALESCE_FROM) {
            self.compact();
        }
    }

    /// Drops empty entries, so that a client that reads nothing cannot make the list grow.
    fn compact(&mut self) {
        self.entries
            .retain(|entry| !matches!(entry.what, What::Blank));
        self.blanks = 0;
        self.newest.clear();
        self.latest = [None; 2];
        for (number, entry) in (self.first..).zip(&self.entries) {
            match entry.what {
                What::State(_) => self.newest.clear(),
                What::News(_, Some(key)) => {
                    self.newest.insert(key, number);
                }
                What::Latest(which, _) => self.latest[which as usize] = Some(number),
                _ => {}
            }
        }
    }

    /// Gives all news up: a snapshot is owed.
    fn lag(&mut self) {
        self.entries
            .retain(|entry| !matches!(entry.what, What::News(..)));
        self.news = 0;
        self.compact();
        self.is_lagging = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of text, of which a client hears what contains its rule.
    struct Rig {
        stream: Stream<String>,
        outbox: Outbox<&'static str>,
    }

    impl Rig {
        fn new(held_max: usize) -> Rig {
            let stream = Stream::new(held_max);
            let outbox = Outbox::new(held_max, &stream, Rc::new(""));
            Rig { stream, outbox }
        }

        fn change(&mut self, text: &str, key: Option<Key>) {
            self.stream.push(text.to_owned(), key);
        }

        fn drain(&mut self) -> Vec<String> {
            let Rig { stream, outbox } = self;
            let tell = |rule: &&str, what: &String| what.contains(rule).then(|| text(what));
            std::iter::from_fn(|| outbox.pop(stream, tell))
                .map(|message| message.into_text().unwrap().to_string())
                .collect()
        }
    }

    fn text(text: &str) -> Message {
        Message::text(text.to_owned())
    }

    #[test]
    fn a_client_that_keeps_up_hears_everything_in_order() {
        let mut rig = Rig::new(1000);
        rig.change("a1", Some(1));
        rig.outbox.reply(text("reply"));
        rig.change("a2", Some(1));
        assert_eq!(rig.drain(), ["a1", "reply", "a2"]);
        assert!(rig.outbox.is_empty());
        rig.change("a3", Some(1));
        assert_eq!(rig.drain(), ["a3"]);
    }

    #[test]
    fn a_backlog_coalesces_and_keeps_the_last_value_of_every_parameter() {
        let mut rig = Rig::new(100);
        rig.change("before", None);
        for step in 0..5000u32 {
            let key = Key::from(step % 10);
            rig.change(&format!("{}={step}", step % 10), Some(key));
        }
        let heard = rig.drain();
        assert!(!rig.outbox.is_lagging());
        assert!(heard.len() <= 100);
        assert_eq!(heard[0], "before");
        assert_eq!(
            heard[heard.len() - 10..],
            (4990..5000)
                .map(|step| format!("{}={step}", step % 10))
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_was_heard_before_a_snapshot_is_not_older_than_the_snapshot() {
        let mut rig = Rig::new(1000);
        for step in 0..100 {
            rig.change(&format!("other {step}"), None);
        }
        rig.change("a1", Some(1));
        rig.outbox.state(text("snapshot with a1"));
        rig.change("a2", Some(1));
        rig.outbox.reply(text("a reply"));
        for step in 3..=100 {
            rig.change(&format!("a{step}"), Some(1));
        }
        let heard = rig.drain();
        assert_eq!(heard[100..], ["a1", "snapshot with a1", "a reply", "a100"]);
    }

    #[test]
    fn what_was_left_out_before_a_snapshot_was_asked_for_is_not_missed() {
        let mut rig = Rig::new(100);
        for step in 1..=1000 {
            rig.change(&format!("a{step}"), Some(1));
        }
        rig.outbox.state(text("snapshot with a1000"));
        assert_eq!(rig.drain(), ["a1000", "snapshot with a1000"]);
        assert!(!rig.outbox.is_lagging());
    }

    #[test]
    fn a_snapshot_that_waits_is_never_ahead_of_what_was_left_out() {
        let mut rig = Rig::new(100);
        rig.change("a1", Some(1));
        rig.outbox.state(text("snapshot with a1"));
        for step in 2..=1000 {
            rig.change(&format!("a{step}"), Some(1));
        }
        assert_eq!(rig.drain(), ["snapshot with a1"]);
        assert!(rig.outbox.is_lagging(), "a fresh one is owed");
    }

    #[test]
    fn who_falls_behind_the_stream_is_owed_a_snapshot_and_replies_stay() {
        let mut rig = Rig::new(100);
        rig.outbox.reply(text("mine"));
        rig.outbox.news(text("a view"), None);
        for step in 0..201 {
            rig.change(&format!("add {step}"), None);
        }
        assert_eq!(rig.drain(), ["mine", "a view"]);
        assert!(rig.outbox.is_lagging());
        rig.change("lost in the snapshot", None);
        rig.outbox.news(text("lost as well"), None);
        assert_eq!(rig.drain(), [""; 0]);
        rig.outbox.caught_up();
        rig.outbox.reply(text("snapshot"));
        rig.change("after", None);
        assert_eq!(rig.drain(), ["snapshot", "after"]);
    }

    #[test]
    fn nobody_falls_behind_itself() {
        let mut rig = Rig::new(100);
        rig.change("another's", None);
        assert_eq!(rig.drain(), ["another's"]);
        for step in 0..1000 {
            let before = rig.stream.end();
            rig.change(&format!("mine {step}"), None);
            rig.outbox.knows_since(before);
            rig.outbox.reply(text("done"));
        }
        rig.change("another's again", None);
        let heard = rig.drain();
        assert_eq!(heard.len(), 1001);
        assert_eq!(heard.last().unwrap(), "another's again");
    }

    #[test]
    fn too_many_news_of_its_own_are_given_up_too() {
        let mut rig = Rig::new(100);
        rig.outbox.reply(text("mine"));
        for step in 0..101 {
            rig.outbox.news(text(&format!("news {step}")), None);
        }
        assert!(rig.outbox.is_lagging());
        assert_eq!(rig.drain(), ["mine"]);
    }

    #[test]
    fn news_of_its_own_coalesce_by_key_within_their_bound() {
        let mut rig = Rig::new(100);
        for step in 0..5000u32 {
            let key = Key::from(step % 10);
            rig.outbox
                .news(text(&format!("{}={step}", step % 10)), Some(key));
        }
        assert!(!rig.outbox.is_lagging());
        assert!(rig.outbox.len() <= 300);
        let heard = rig.drain();
        assert_eq!(heard.last().unwrap(), "9=4999");
    }

    #[test]
    fn what_waits_is_told_by_the_rules_that_held_when_it_happened() {
        let mut rig = Rig::new(100);
        rig.change("one a", None);
        rig.outbox.rule(Rc::new("b"));
        rig.outbox.reply(text("only b from now on"));
        rig.change("two a", None);
        rig.change("two b", None);
        assert_eq!(rig.drain(), ["one a", "only b from now on", "two b"]);
    }

    #[test]
    fn of_meters_and_presence_only_the_newest_wait() {
        let mut rig = Rig::new(100);
        for step in 0..50 {
            let meters = text(&format!("meters {step}"));
            rig.outbox.latest(Latest::Meters, meters);
            if step % 20 == 0 {
                let presence = text(&format!("presence {step}"));
                rig.outbox.latest(Latest::Presence, presence);
            }
        }
        assert_eq!(rig.drain(), ["presence 40", "meters 49"]);
        rig.outbox.latest(Latest::Meters, text("again"));
        assert_eq!(rig.drain(), ["again"]);
    }

    #[test]
    fn too_many_waiting_replies_stop_the_reading() {
        let mut rig = Rig::new(100);
        for _ in 0..REPLIES_MAX {
            assert!(!rig.outbox.is_full());
            rig.outbox.reply(text("reply"));
        }
        assert!(rig.outbox.is_full());
        rig.drain();
        assert!(!rig.outbox.is_full());
        rig.outbox
            .reply(Message::text("x".repeat(REPLIES_BYTES_MAX)));
        assert!(rig.outbox.is_full(), "few but large ones do too");
    }
}
