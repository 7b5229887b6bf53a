//! A gesture at the parameters of a plugin is one event.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rigd::provenance::event::Event;
use rigd::provenance::recorder::Recorder;
use serde_json::Value;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Somebody moves a fader.
    Move {
        user: u8,
        plugin: u8,
        parameter: u8,
        value: u8,
        is_awaited: bool,
    },
    /// Something else happens to a plugin.
    Bypass(u8),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let moves = (0u8..2, 0u8..2, 0u8..2, 0u8..4, 0u8..12).prop_map(
        |(user, plugin, parameter, value, awaited)| Step::Move {
            user,
            plugin,
            parameter,
            value,
            is_awaited: awaited == 0,
        },
    );
    prop_oneof![
        10 => moves,
        1 => (0u8..2).prop_map(Step::Bypass),
        6 => (1u16..60).prop_map(Step::Pass),
        1 => (60u16..300).prop_map(Step::Pass),
    ]
}

/// What an event of a gesture says.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    user: u8,
    seq_first: u64,
    seq_last: u64,
    /// Parameter → first value, last value, changes.
    pub changes: BTreeMap<String, (f64, f64, u64)>,
}

/// The gestures of one plugin by the words of the contract: each change goes on with the one before
/// it, unless 100 ms have passed since that or 2 s since the first, somebody else is at it, or something
/// ended it.
#[derive(Default)]
struct Gestures {
    told: Vec<Told>,
    /// When the open one began, and its last change.
    open: Option<(u64, u64)>,
    values: BTreeMap<String, f64>,
}

impl Gestures {
    fn moved(&mut self, user: u8, seq: u64, parameter: &str, value: f64, ms: u64) {
        let goes_on = self.open.filter(|(began, last)| {
            let same = self.told.last().is_some_and(|told| told.user == user);
            same && ms < last + 100 && ms < began + 2000
        });
        if goes_on.is_none() {
            self.told.push(Told {
                user,
                seq_first: seq,
                seq_last: seq,
                changes: BTreeMap::new(),
            });
        }
        self.open = Some((goes_on.map_or(ms, |(began, _)| began), ms));
        let told = self.told.last_mut().unwrap();
        told.seq_last = seq;
        let from = *self.values.get(parameter).unwrap_or(&1.0);
        let change = told
            .changes
            .entry(parameter.to_owned())
            .or_insert((from, value, 0));
        (change.1, change.2) = (value, change.2 + 1);
        self.values.insert(parameter.to_owned(), value);
    }
}

pub fn told(event: &Event) -> Option<(String, Told)> {
    if event.operation != "plugin.parameter" {
        return None;
    }
    let metadata: Value = serde_json::from_str(&event.metadata).unwrap();
    let changes = metadata["changes"].as_object()?;
    let number = |change: &Value, name: &str| change[name].as_f64().unwrap();
    let changes = changes.iter().map(|(id, change)| {
        let count = change["count"].as_u64().unwrap();
        (
            id.clone(),
            (number(change, "from"), number(change, "to"), count),
        )
    });
    let told = Told {
        user: u8::from(event.by.user_id == "bob"),
        seq_first: event.seq_first,
        seq_last: event.seq_last,
        changes: changes.collect(),
    };
    Some((event.entity_id.clone(), told))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// One event for each gesture, whoever does what and when; no change is missing or told twice, and a
    /// change that somebody waits for is closed at once.
    #[test]
    fn a_gesture_is_one_event(steps in prop::collection::vec(step(), 1..200)) {
        let state = two_equalisers();
        let mut recorder = Recorder::new(state.durable(), true);
        let mut expected: BTreeMap<String, Gestures> = BTreeMap::new();
        let users = [by("ana"), by("bob")];
        let (mut seq, mut ms, mut others) = (0, 0u64, Vec::new());
        let mut events = Vec::new();
        for step in steps {
            match step {
                Step::Move { user, plugin, parameter, value, is_awaited } => {
                    seq += 1;
                    let value = 0.5 + f64::from(value);
                    let change = moved(seq, plugin, parameter, value);
                    let ticket = recorder.record(&change, &users[usize::from(user)], how(ms, is_awaited));
                    let gestures = expected.entry(format!("p{plugin}")).or_default();
                    gestures.moved(user, seq, QS[usize::from(parameter)], value, ms);
                    if is_awaited {
                        gestures.open = None;
                        let taken = recorder.take(how(ms, false).at, Duration::from_millis(ms));
                        prop_assert_eq!(Some(taken.ticket), ticket);
                        prop_assert_eq!(taken.events.last().unwrap().seq_last, seq);
                        events.extend(taken.events);
                    }
                }
                Step::Bypass(plugin) => {
                    seq += 1;
                    others.push(seq);
                    recorder.record(&bypassed(seq, plugin, seq % 2 == 0), &users[0], how(ms, false));
                    expected.entry(format!("p{plugin}")).or_default().open = None;
                }
                Step::Pass(more) => {
                    ms += u64::from(more);
                    recorder.close_due(Duration::from_millis(ms));
                    prop_assert!(recorder.next_due().is_none_or(|due| due > Duration::from_millis(ms)));
                }
            }
        }
        recorder.close_all();
        events.extend(recorder.take(how(ms, false).at, Duration::from_millis(ms)).events);
        let mut found: BTreeMap<String, Vec<Told>> = BTreeMap::new();
        let mut others_found = Vec::new();
        for event in &events {
            match told(event) {
                Some((plugin, told)) => found.entry(plugin).or_default().push(told),
                None => others_found.push(event.seq_first),
            }
        }
        let counts = found.values().flatten().flat_map(|told| told.changes.values());
        prop_assert_eq!(counts.map(|change| change.2).sum::<u64>() + others.len() as u64, seq);
        for (plugin, gestures) in &expected {
            prop_assert_eq!(&found.remove(plugin).unwrap_or_default(), &gestures.told);
        }
        prop_assert_eq!(others_found, others);
    }
}
