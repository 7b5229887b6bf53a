//! What happens, in order, held once for everybody until it is too old.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::{ByKey, Key};

/// A place between two things that happened: the number of the next one. Goes on for ever.
pub type Place = u64;

struct Entry<T> {
    place: Place,
    /// When it is a parameter's value.
    key: Option<Key>,
    what: T,
}

/// See the module.
pub struct Stream<T> {
    entries: VecDeque<Entry<T>>,
    /// Outboxes look at it, too.
    end: Rc<Cell<Place>>,
    held_max: usize,
    /// Everything before it that was not overtaken is gone.
    lost_before: Place,
    /// What was overtaken before it is gone.
    compacted_before: Place,
    /// Where each parameter's newest change is.
    newest: ByKey<Place>,
}

impl<T> Stream<T> {
    /// An empty one that holds at least the newest `held_max` changes, and twice as many at most.
    pub fn new(held_max: usize) -> Stream<T> {
        Stream {
            entries: VecDeque::new(),
            end: Rc::default(),
            held_max,
            lost_before: 0,
            compacted_before: 0,
            newest: ByKey::default(),
        }
    }

    /// Something happened; `key` when it is a parameter's value.
    pub fn push(&mut self, what: T, key: Option<Key>) {
        let place = self.end.get();
        if let Some(key) = key {
            self.newest.insert(key, place);
        }
        self.entries.push_back(Entry { place, key, what });
        self.end.set(place + 1);
        if self.entries.len() > 2 * self.held_max {
            self.compact();
        }
    }

    /// How much is held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where the next thing that happens will be.
    pub fn end(&self) -> Place {
        self.end.get()
    }

    pub(super) fn shared_end(&self) -> Rc<Cell<Place>> {
        Rc::clone(&self.end)
    }

    /// Whether something that was not overtaken since is gone behind `place`.
    pub(super) fn has_lost(&self, place: Place) -> bool {
        place < self.lost_before
    }

    /// Whether what was overtaken behind `place` may have made something before it go.
    pub(super) fn was_compacted_behind(&self, place: Place) -> bool {
        place < self.compacted_before
    }

    /// The first thing at `place` or behind it.
    pub(super) fn at(&self, place: Place) -> Option<(Place, Option<Key>, &T)> {
        let first = self.entries.front()?.place;
        let guess = place.saturating_sub(first) as usize;
        let is_it = |entry: &&Entry<T>| entry.place == place;
        let entry = match self.entries.get(guess).filter(is_it) {
            Some(entry) => entry,
            // There are holes.
            None => self
                .entries
                .get(self.entries.partition_point(|entry| entry.place < place))?,
        };
        Some((entry.place, entry.key, &entry.what))
    }

    /// Where a parameter's newest change is.
    pub(super) fn newest(&self, key: Key) -> Option<Place> {
        self.newest.get(&key).copied()
    }

    /// Drops what was overtaken, and then the oldest beyond the bound.
    fn compact(&mut self) {
        let newest = &self.newest;
        self.entries.retain(|entry| {
            entry
                .key
                .is_none_or(|key| newest.get(&key) == Some(&entry.place))
        });
        self.compacted_before = self.end.get();
        while self.entries.len() > self.held_max
            && let Some(oldest) = self.entries.pop_front()
        {
            self.lost_before = oldest.place + 1;
            if let Some(key) = oldest.key {
                self.newest.remove(&key);
            }
        }
    }
}
