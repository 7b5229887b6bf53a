//! What the disk does not take is named, and the state behind it is whole.

use std::collections::BTreeMap;
use std::time::Duration;

use rigd::provenance::recorder::{Recorder, Taken, WAITING_MAX};
use rigd::provenance::rows::Row;
use rigd::rig::Durable;
use serde_json::Value;

use super::gestures::told;
use super::*;

/// The rows that a database has once it has taken this.
fn rows_behind(before: &Durable, taken: &Taken) -> BTreeMap<String, Row> {
    let name = |row: &Row| match row {
        Row::State { key, .. } => key.clone(),
        Row::Plugin { id, .. } => format!("plugin {id}"),
    };
    let before = rows(before).into_iter().filter(|_| !taken.is_everything);
    let after = taken.rows.iter().map(|touched| touched.row.clone());
    before.chain(after).map(|row| (name(&row), row)).collect()
}

#[test]
fn a_gap_is_named_and_the_state_behind_it_is_whole() {
    let state = two_equalisers();
    let before = state.durable();
    let mut recorder = Recorder::new(before.clone(), true);
    let ana = by("ana");
    // A gesture that began before everything that is lost, and ends after it.
    recorder.record(&moved(1, 1, 0, 2.5), &ana, how(0, false));
    let room = WAITING_MAX as u64;
    for seq in 2..=room + 1 {
        let ticket = recorder.record(&bypassed(seq, 0, seq % 2 == 0), &ana, how(0, true));
        assert!(ticket.is_some(), "there is room for change {seq}");
    }
    for seq in room + 2..room + 12 {
        let lost = recorder.record(&bypassed(seq, 0, seq % 2 == 0), &ana, how(0, true));
        assert_eq!(lost, None, "what is lost is never said to be kept");
    }
    let lost = recorder.record(&moved(room + 12, 1, 0, 3.5), &ana, how(0, true));
    assert_eq!(lost, None);
    let taken = recorder.take(how(9, false).at, Duration::from_millis(9));
    assert_eq!(taken.events.len(), WAITING_MAX + 1);
    let gap = taken.events.last().unwrap();
    assert_eq!(gap.operation, "rig.gap");
    assert_eq!((gap.seq_first, gap.seq_last), (1, room + 12));
    let metadata: Value = serde_json::from_str(&gap.metadata).unwrap();
    assert_eq!(metadata["events"], 11);
    assert_eq!(taken.ticket, recorder.ticket());
    assert!(
        recorder
            .state()
            .plugin("p1")
            .unwrap()
            .1
            .values
            .contains(&3.5)
    );
    let nothing = Taken::default();
    assert_eq!(
        rows_behind(&before, &taken),
        rows_behind(recorder.state(), &nothing)
    );
    assert!(!recorder.is_waiting());
    // And it is over.
    let ticket = recorder.record(&bypassed(room + 13, 0, true), &ana, how(10, true));
    assert_eq!(ticket, Some(recorder.ticket()));
    assert_eq!(
        recorder
            .take(how(11, false).at, Duration::from_millis(11))
            .events
            .len(),
        1
    );
}

#[test]
fn while_the_disk_is_slow_gestures_stay_open() {
    let mut recorder = Recorder::new(two_equalisers().durable(), true);
    let ana = by("ana");
    for seq in 1..=(WAITING_MAX / 2) as u64 {
        recorder.record(&bypassed(seq, 0, seq % 2 == 0), &ana, how(0, false));
    }
    for step in 0..100u64 {
        let at = step * 500;
        recorder.record(
            &moved(10_000 + step, 1, 0, 1.0 + step as f64 / 100.0),
            &ana,
            how(at, false),
        );
        recorder.close_due(Duration::from_millis(at + 499));
    }
    assert_eq!(
        recorder
            .take(how(0, false).at, Duration::ZERO)
            .events
            .iter()
            .filter_map(told)
            .count(),
        0
    );
    recorder.close_due(Duration::from_secs(51));
    let events = recorder.take(how(0, false).at, Duration::ZERO).events;
    let (_, one) = told(&events[0]).unwrap();
    assert_eq!(one.changes[QS[0]], (1.0, 1.99, 100));
    assert_eq!(events.len(), 1);
}
