//! The batcher: holds debounced parameter changes until their sender pauses, and lets the last
//! value for a key win. Pure: time is a number that the caller passes in (microseconds when
//! serving, frames when rendering).
//!
//! Each client has one pending group. It is due `wait` after the client's latest batch (whose
//! `wait` rules) and at the latest twice that after its first; then everything in it goes out
//! together and every batch that went into it is answered, in order of arrival.
//!
//! Bounds: a group has at most one change a key, so never more than there are parameters in the rig;
//! the batches that wait for an answer are bounded by the client's message rate times the longest
//! wait.

use std::collections::HashMap;
use std::hash::Hash;

/// A batch that waits for its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting<B> {
    /// What the caller wants back with the answer.
    pub batch: B,
    /// Changes of it that are in the group.
    pub applied: usize,
    /// Changes of it that a later one replaced or an immediate one removed.
    pub superseded: usize,
}

/// A group whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Group<C, K, V, B> {
    /// Whose.
    pub client: C,
    /// In order; those of one batch are neighbours, and batches come in order of arrival.
    pub changes: Vec<(K, V)>,
    /// In order of arrival.
    pub batches: Vec<Waiting<B>>,
    /// When its first change came.
    pub since: u64,
}

struct Pending<K, V, B> {
    changes: Vec<(K, V, usize)>,
    batches: Vec<Waiting<B>>,
    since: u64,
    due: u64,
}

impl<K: Eq, V, B> Pending<K, V, B> {
    /// Takes a change out of the group; its batch counts it as superseded.
    fn supersede(&mut self, matches: impl Fn(&K) -> bool) {
        let batches = &mut self.batches;
        self.changes.retain(|(key, _, batch)| {
            let out = matches(key);
            if out {
                batches[*batch].applied -= 1;
                batches[*batch].superseded += 1;
            }
            !out
        });
    }
}

/// All pending groups. `C` names a client, `K` a parameter, `V` is its value, `B` is what the caller
/// needs to answer a batch.
pub struct Batcher<C, K, V, B> {
    pending: HashMap<C, Pending<K, V, B>>,
}

impl<C, K, V, B> Default for Batcher<C, K, V, B> {
    fn default() -> Self {
        Batcher {
            pending: HashMap::new(),
        }
    }
}

impl<C: Copy + Eq + Hash + Ord, K: Clone + Eq, V, B> Batcher<C, K, V, B> {
    /// Adds a batch to its client's group. `wait` is in the unit of `now`.
    pub fn submit(&mut self, client: C, batch: B, changes: Vec<(K, V)>, wait: u64, now: u64) {
        let group = self.pending.entry(client).or_insert_with(|| Pending {
            changes: Vec::new(),
            batches: Vec::new(),
            since: now,
            due: 0,
        });
        let index = group.batches.len();
        group.batches.push(Waiting {
            batch,
            applied: 0,
            superseded: 0,
        });
        for (key, value) in changes {
            group.supersede(|present| *present == key);
            group.changes.push((key, value, index));
            group.batches[index].applied += 1;
        }
        let latest = group.since.saturating_add(wait.saturating_mul(2));
        group.due = now.saturating_add(wait).min(latest).max(now);
    }

    /// Whether a client has a group pending.
    pub fn is_pending(&self, client: C) -> bool {
        self.pending.contains_key(&client)
    }

    /// Removes pending changes, whosever they are: something newer was done to those keys.
    pub fn remove(&mut self, matches: impl Fn(&K) -> bool) {
        for group in self.pending.values_mut() {
            group.supersede(&matches);
        }
    }

    /// When the next group is due.
    pub fn next_due(&self) -> Option<u64> {
        self.pending.values().map(|group| group.due).min()
    }

    /// Takes a group that is due: the longest due first.
    pub fn take_due(&mut self, now: u64) -> Option<Group<C, K, V, B>> {
        let due = self.pending.iter().filter(|(_, group)| group.due <= now);
        let client = due.map(|(client, group)| (group.due, *client)).min()?.1;
        let group = self.pending.remove(&client)?;
        let changes = group
            .changes
            .into_iter()
            .map(|(key, value, _)| (key, value))
            .collect();
        Some(Group {
            client,
            changes,
            batches: group.batches,
            since: group.since,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Small = Batcher<u8, u8, u32, u32>;

    #[test]
    fn a_pause_of_the_wait_makes_it_due() {
        let mut batcher = Small::default();
        batcher.submit(1, 0, vec![(7, 1)], 50, 1000);
        assert_eq!(batcher.next_due(), Some(1050));
        assert_eq!(batcher.take_due(1049), None);
        let group = batcher.take_due(1050).unwrap();
        assert_eq!(group.changes, [(7, 1)]);
        assert_eq!(batcher.next_due(), None);
    }

    #[test]
    fn a_client_that_never_pauses_is_heard_after_twice_the_wait() {
        let mut batcher = Small::default();
        for step in 0..10 {
            batcher.submit(1, step, vec![(7, step)], 50, u64::from(step) * 20);
            if let Some(group) = batcher.take_due(u64::from(step) * 20) {
                assert_eq!(step, 5, "due at 100, not before and not later");
                assert_eq!(group.changes, [(7, 5)]);
                return;
            }
        }
        panic!("never due");
    }

    #[test]
    fn the_latest_wait_rules() {
        let mut batcher = Small::default();
        batcher.submit(1, 0, vec![(7, 1)], 1000, 0);
        batcher.submit(1, 1, vec![(8, 1)], 50, 10);
        assert_eq!(batcher.next_due(), Some(60));
        batcher.submit(1, 2, vec![(9, 1)], 1000, 20);
        assert_eq!(batcher.next_due(), Some(1020));
    }

    #[test]
    fn what_is_replaced_counts_as_superseded() {
        let mut batcher = Small::default();
        batcher.submit(1, 0, vec![(7, 1), (8, 1), (7, 2)], 50, 0);
        batcher.submit(1, 1, vec![(8, 3)], 50, 0);
        batcher.remove(|key| *key == 7);
        let group = batcher.take_due(50).unwrap();
        assert_eq!(group.changes, [(8, 3)]);
        assert_eq!(
            group.batches,
            [
                Waiting {
                    batch: 0,
                    applied: 0,
                    superseded: 3
                },
                Waiting {
                    batch: 1,
                    applied: 1,
                    superseded: 0
                }
            ]
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Submit {
            client: u8,
            changes: Vec<(u8, u32)>,
            wait: u64,
        },
        Remove(u8),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let submit = (
            0u8..3,
            prop::collection::vec((0u8..6, any::<u32>()), 0..6),
            50u64..200,
        )
            .prop_map(|(client, changes, wait)| Step::Submit {
                client,
                changes,
                wait,
            });
        let step = prop_oneof![
            submit,
            (0u8..6).prop_map(Step::Remove),
            (1u64..120).prop_map(Step::Pass)
        ];
        prop::collection::vec(step, 1..60)
    }

    /// The model: a list of everything that a client sent since its last group, looked at from scratch.
    #[derive(Default)]
    struct Model {
        sent: BTreeMap<u8, Vec<Sent>>,
    }

    /// When, for how long, which batch, and its changes with whether they still count.
    type Sent = (u64, u64, u32, Vec<(u8, u32, bool)>);

    impl Model {
        fn due(&self, client: u8) -> Option<u64> {
            let sent = self.sent.get(&client)?;
            let ((first, ..), (last, wait, ..)) = (sent.first()?, sent.last()?);
            Some((last + wait).min(first + 2 * wait).max(*last))
        }
    }

    proptest! {
        /// Against the model: the same groups at the same times, the last value of every key, batches
        /// answered in order, and no change ever lost or counted twice.
        #[test]
        fn behaves_like_its_description(steps in steps()) {
            let mut batcher = Small::default();
            let mut model = Model::default();
            let (mut now, mut next) = (0u64, 0u32);
            for step in steps.into_iter().chain([Step::Pass(1000)]) {
                match step {
                    Step::Submit { client, changes, wait } => {
                        batcher.submit(client, next, changes.clone(), wait, now);
                        let entries = changes.into_iter().map(|(key, value)| (key, value, true)).collect();
                        model.sent.entry(client).or_default().push((now, wait, next, entries));
                        next += 1;
                    }
                    Step::Remove(key) => {
                        batcher.remove(|present| *present == key);
                        for (.., entries) in model.sent.values_mut().flatten() {
                            entries.iter_mut().filter(|entry| entry.0 == key).for_each(|entry| entry.2 = false);
                        }
                    }
                    Step::Pass(time) => now += time,
                }
                let next_due = (0..3).filter_map(|client| model.due(client)).min();
                prop_assert_eq!(batcher.next_due(), next_due);
                while let Some(group) = batcher.take_due(now) {
                    let due = model.due(group.client).unwrap();
                    prop_assert!(due <= now);
                    let sent = model.sent.remove(&group.client).unwrap();
                    let all: Vec<(u32, u8, u32, bool)> = sent
                        .iter()
                        .flat_map(|(.., batch, entries)| entries.iter().map(|(k, v, alive)| (*batch, *k, *v, *alive)))
                        .collect();
                    let mut survivors = Vec::new();
                    for (index, (batch, key, value, alive)) in all.iter().enumerate() {
                        let last = !all[index + 1..].iter().any(|(_, later, ..)| later == key);
                        if *alive && last {
                            survivors.push((*batch, *key, *value));
                        }
                    }
                    let expected: Vec<(u8, u32)> = survivors.iter().map(|(_, k, v)| (*k, *v)).collect();
                    prop_assert_eq!(&group.changes, &expected);
                    let batches: Vec<Waiting<u32>> = sent
                        .iter()
                        .map(|(.., batch, entries)| {
                            let applied = survivors.iter().filter(|(of, ..)| of == batch).count();
                            Waiting { batch: *batch, applied, superseded: entries.len() - applied }
                        })
                        .collect();
                    prop_assert_eq!(group.batches, batches);
                }
                prop_assert!((0..3).filter_map(|client| model.due(client)).all(|due| due > now));
            }
        }
    }
}
