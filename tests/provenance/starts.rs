//! Whatever is found at a start, the rig is playable.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rigd::provenance::{self, Log, SEQ_MARK, database};
use rigd::rig::{Request, State};
use rigd_rt::{Kind, PanicMode};
use rusqlite::Connection;

use super::*;

/// A log with a few changes in it, ended well; the state that it holds.
fn kept(folder: &Folder) -> Vec<Row> {
    let mut state = two_equalisers();
    let opened = provenance::open(&folder.0).unwrap();
    let mut log = opened.begin(state.durable(), state.seq, run("first"), true);
    let request = Request::Panic(PanicMode::Dry);
    for change in ask(&mut state, request) {
        log.record(&change, &by("ana"), how(1, true));
    }
    log.finish(Duration::from_secs(1), 0);
    rows(&state.durable())
}

fn mark(path: &Path) -> u64 {
    let db = database::open_to_read(path).unwrap();
    database::number(&db, SEQ_MARK).unwrap().unwrap()
}

#[test]
fn no_number_is_given_out_before_it_is_reserved() {
    let folder = Folder::new();
    let first = provenance::open(&folder.0).unwrap();
    assert_eq!(first.seq, 0);
    assert!(mark(&folder.database()) > 1_000_000, "before any change");
    drop(first);
    let second = provenance::open(&folder.0).unwrap();
    assert!(second.seq > 1_000_000, "the first may have given some out");
    assert!(mark(&folder.database()) > second.seq);
}

#[test]
fn after_a_clean_end_no_number_is_left_out() {
    let folder = Folder::new();
    kept(&folder);
    assert_eq!(provenance::open(&folder.0).unwrap().seq, 3);
}

#[test]
fn a_start_that_finds_the_state_as_it_is_writes_nothing_but_the_mark() {
    let folder = Folder::new();
    kept(&folder);
    let mut opened = provenance::open(&folder.0).unwrap();
    let found = opened.state.take().unwrap();
    let mut state = State::restore(found, opened.seq, wiring(), POOL_SAMPLES);
    let mut log: Log = opened.begin(state.durable(), state.seq, run("second"), true);
    state.build(wiring());
    log.tick(Duration::from_secs(10));
    assert_eq!(log.next_due(), None);
    assert!(!log.health().unwrap().is_busy(), "nothing was handed over");
    log.finish(Duration::from_secs(11), 0);
}

#[test]
fn a_damaged_log_is_set_aside_with_what_it_holds_and_the_rig_starts() {
    let folder = Folder::new();
    kept(&folder);
    let garbage = b"this was a database once, and is none any more. ".repeat(200);
    fs::write(folder.database(), &garbage).unwrap();
    let opened = provenance::open(&folder.0).unwrap();
    assert!(opened.state.is_none());
    assert!(
        opened.seq > 1 << 40,
        "numbers go on behind all that were used"
    );
    assert!(
        opened.troubles[0].contains("set aside"),
        "{:?}",
        opened.troubles
    );
    let state = new_rig();
    opened
        .begin(state.durable(), 7, run("second"), true)
        .finish(Duration::ZERO, 0);
    let aside = fs::read_dir(&folder.0).unwrap().flatten();
    let aside: Vec<_> = aside
        .filter(|file| file.file_name().to_string_lossy().contains("damaged"))
        .collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(
        fs::read(aside[0].path()).unwrap(),
        garbage,
        "nothing is deleted"
    );
    let found = provenance::open(&folder.0).unwrap();
    assert_eq!(rows(&found.state.unwrap()), rows(&state.durable()));
    assert!(
        found.troubles.is_empty(),
        "the new one is well: {:?}",
        found.troubles
    );
}

#[test]
fn of_a_log_that_is_damaged_in_places_the_state_is_saved() {
    let folder = Folder::new();
    let before = kept(&folder);
    {
        let db = Connection::open(folder.database()).unwrap();
        let page: u32 = db
            .query_row(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'daid_events'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        let size: u32 = db
            .query_row("PRAGMA page_size", [], |row| row.get(0))
            .unwrap();
        drop(db);
        let mut bytes = fs::read(folder.database()).unwrap();
        let at = ((page - 1) * size) as usize;
        bytes[at..at + 64].fill(0xff);
        fs::write(folder.database(), bytes).unwrap();
    }
    let opened = provenance::open(&folder.0).unwrap();
    assert!(
        opened.troubles[0].contains("set aside"),
        "{:?}",
        opened.troubles
    );
    assert_eq!(rows(opened.state.as_ref().unwrap()), before);
}

#[test]
fn a_log_from_a_newer_rigd_is_refused_and_left_alone() {
    let folder = Folder::new();
    kept(&folder);
    let db = Connection::open(folder.database()).unwrap();
    db.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(db);
    let before = fs::read(folder.database()).unwrap();
    let failure = provenance::open(&folder.0).err().unwrap();
    assert_eq!(failure.code, 1);
    assert!(failure.message.contains("newer rigd"), "{failure:?}");
    assert_eq!(fs::read(folder.database()).unwrap(), before);
}

#[test]
fn a_folder_that_cannot_be_made_leaves_the_rig_playable() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    fs::write(&file, "").unwrap();
    let opened = provenance::open(&file.join("state")).unwrap();
    assert!(opened.troubles[0].contains("--state-dir"));
    let mut state = two_equalisers();
    let mut log = opened.begin(state.durable(), state.seq, run("first"), true);
    assert!(!log.is_kept() && log.is_dead());
    for change in ask(&mut state, Request::Restore) {
        log.record(&change, &by("ana"), how(1, true));
    }
    log.tick(Duration::from_millis(1));
    assert_eq!(log.next_due(), None);
    log.finish(Duration::from_millis(2), 0);
}

#[test]
fn a_folder_has_one_rigd() {
    let folder = Folder::new();
    let first = provenance::open(&folder.0).unwrap();
    let second = provenance::open(&folder.0).unwrap();
    assert!(first.troubles.is_empty());
    assert!(second.troubles[0].contains("another rigd"));
    assert!(second.seq > first.seq, "and no number of the first");
    drop(first);
    assert!(
        provenance::open(&folder.0).unwrap().troubles.is_empty(),
        "the lock goes with its holder"
    );
}

#[test]
fn what_no_longer_fits_is_gone_from_the_log_as_well() {
    let folder = Folder::new();
    let mut state = new_rig();
    let add = |id: &str| Request::PluginAdd {
        track_id: "mic1".to_owned(),
        name: "echo".to_owned(),
        plugin_path: None,
        position: None,
        plugin_id: Some(id.to_owned()),
    };
    let mut log =
        provenance::open(&folder.0)
            .unwrap()
            .begin(state.durable(), state.seq, run("first"), true);
    for id in ["e0", "e1"] {
        for change in ask(&mut state, add(id)) {
            log.record(&change, &by("ana"), how(1, false));
        }
    }
    log.finish(Duration::from_secs(1), 0);
    let mut opened = provenance::open(&folder.0).unwrap();
    let found = opened.state.take().unwrap();
    // Memory for the limiter and one echo.
    let pool = Kind::Limiter.memory(48_000) + Kind::Echo.memory(48_000) * 3 / 2;
    let mut state = State::restore(found, opened.seq, wiring(), pool);
    let mut log = opened.begin(state.durable(), state.seq, run("second"), true);
    let (_, dropped) = state.build(wiring());
    assert_eq!(dropped, ["e1"]);
    log.record_dropped(state.next_seq(), "e1", Duration::ZERO);
    log.finish(Duration::from_secs(1), 0);
    let found = provenance::open(&folder.0).unwrap();
    assert_eq!(rows(&found.state.unwrap()), rows(&state.durable()));
    assert_eq!(found.seq, state.seq);
}

/// Waits until the writer is done with what it holds; the log itself is not asked to look.
fn wait_for_writer(log: &Log) {
    let until = Instant::now() + Duration::from_secs(20);
    while log.health().unwrap().is_busy() {
        assert!(Instant::now() < until, "the writer does not come back");
        std::thread::yield_now();
    }
}

#[test]
fn a_disk_is_dead_when_it_does_not_answer_and_not_when_nobody_looked() {
    let folder = Folder::new();
    kept(&folder);
    let opened = provenance::open(&folder.0).unwrap();
    let mut state = two_equalisers();
    let mut log = opened.begin(state.durable(), state.seq, run("second"), true);
    let mut now = Duration::from_secs(1);
    log.tick(now);
    wait_for_writer(&log);
    // Another has the database: the writer cannot go on.
    let other = Connection::open(folder.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for change in ask(&mut state, Request::Panic(PanicMode::Dry)) {
        log.record(&change, &by("ana"), how(1, true));
    }
    now += Duration::from_secs(1);
    log.tick(now);
    assert!(log.health().unwrap().is_busy());
    // The thread that looks was held up for longer than a disk is waited for.
    now += Duration::from_secs(60);
    log.tick(now);
    assert!(!log.is_dead() && log.troubles().is_empty());
    for _ in 0..200 {
        now += Duration::from_millis(20);
        log.tick(now);
    }
    assert!(log.is_dead());
    assert!(log.troubles()[0].contains("does not take the log"));
    // The disk answers: at that moment it is well, before anybody has looked again.
    other.execute_batch("ROLLBACK").unwrap();
    wait_for_writer(&log);
    assert!(!log.is_dead() && log.troubles().is_empty());
    assert_eq!(log.lag(), Duration::ZERO);
    log.finish(now, 0);
}
