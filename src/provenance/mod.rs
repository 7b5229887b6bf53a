//! Provenance: every accepted change on record, and the state that survives, in one SQLite file.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the log as the desk sees it: never waits |
//! | `recorder.rs` | changes → events and rows; gestures; pure |
//! | `event.rs` | one event |
//! | `rows.rs` | the state as rows |
//! | `canonical.rs`, `daid.rs` | canonical JSON; identifiers |
//! | `record.rs` | one row of the log: its columns, for writing, chaining and reading |
//! | `chain.rs`, `head.rs` | what makes tampering evident: the links, and both ends |
//! | `verify.rs` | is the log as it was written? |
//! | `database.rs` | the file and its tables |
//! | `writer.rs` | the append thread |
//! | `query.rs`, `reader.rs` | questions to the log; the thread that answers them |
//!
//! Events and the rows that they changed are in one commit, and the rows follow from the changes alone:
//! log and state cannot disagree. Every commit is synced, so what can be read is on disk.

pub mod canonical;
pub mod chain;
pub mod daid;
pub mod database;
pub mod event;
pub mod head;
pub mod query;
pub mod reader;
pub mod record;
pub mod recorder;
pub mod rows;
pub mod verify;
pub mod writer;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use crate::cli::Failure;
use crate::rig::{Change, Durable};
use crate::session::By;
use chain::Key;
use database::Unusable;
use query::Ask;
use reader::{Answer, Reader};
use recorder::{Circumstances, Recorder};
use writer::{Batch, Health, Run, Writer};

/// What nobody waits for is handed over so long after it was closed, at most.
const COMMIT_EVERY: Duration = Duration::from_millis(50);
/// A disk that has not answered for so long counts as dead.
const PATIENCE: Duration = Duration::from_secs(2);
/// Numbers that are reserved ahead.
const RESERVED: u64 = 1 << 20;
/// How long the end waits for the disk.
const LAST_COMMIT: Duration = Duration::from_secs(3);

/// What was found in the state folder.
pub struct Opened {
    /// The rig as it was; `None` in a new folder.
    pub state: Option<Durable>,
    /// Numbers go on behind this one.
    pub seq: u64,
    store: Option<Store>,
    /// The database holds this very state.
    is_kept: bool,
    /// What is wrong, in sentences for a person.
    pub troubles: Vec<String>,
}

struct Store {
    db: Connection,
    path: PathBuf,
    key: Key,
    lock: File,
}

/// Opens the log in a state folder. A folder that cannot be used leaves the rig playable, with nothing
/// kept; only a database from a newer rigd is refused.
pub fn open(folder: &Path) -> Result<Opened, Failure> {
    let mut opened = Opened {
        state: None,
        seq: 0,
        store: None,
        is_kept: false,
        troubles: Vec::new(),
    };
    match try_open(folder, &mut opened) {
        Ok(()) => {}
        Err(Problem::Refused(failure)) => return Err(failure),
        Err(Problem::Playable(reason)) => {
            opened.troubles.push(format!("nothing is kept: {reason}"))
        }
    }
    for trouble in &opened.troubles {
        log::error!("{trouble}");
    }
    Ok(opened)
}

enum Problem {
    Refused(Failure),
    Playable(String),
}

fn try_open(folder: &Path, opened: &mut Opened) -> Result<(), Problem> {
    let unusable = |error: std::io::Error| {
        Problem::Playable(format!(
            "the state folder {} cannot be used ({error}); choose another with --state-dir",
            folder.display()
        ))
    };
    fs::create_dir_all(folder).map_err(unusable)?;
    let lock = File::create(folder.join("rigd.lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Problem::Playable(format!(
                "another rigd uses the state folder {}; stop it, or choose another with --state-dir",
                folder.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let key = Key::open(&folder.join(database::KEY_FILE)).map_err(unusable)?;
    let path = folder.join(database::FILE);
    let db = match read(&path, &key, opened) {
        Ok((db, bad)) => {
            opened.is_kept = opened.state.is_some() && opened.troubles.is_empty();
            opened.troubles.extend(bad.map(|row| {
                format!(
                    "the log was changed by another hand: row {row} is not as it was written; `rigd log verify` checks it"
                )
            }));
            db
        }
        Err(Unusable::Corrupt(error)) => {
            let aside = set_aside(&path).map_err(unusable)?;
            opened.troubles.push(format!(
                "the log was damaged ({error}) and is set aside as {}; a new one is begun",
                aside.display()
            ));
            salvage(&aside, opened);
            database::open(&path).map_err(|error| Problem::Playable(error.to_string()))?
        }
        Err(newer @ Unusable::Newer { .. }) => {
            return Err(Problem::Refused(Failure::failed(format!("{newer}."))));
        }
        Err(Unusable::Failed(error)) => return Err(Problem::Playable(error.to_string())),
    };
    opened.store = Some(Store {
        db,
        path,
        key,
        lock,
    });
    Ok(())
}

/// With the row that is not as it was written, where the ends of the log show one.
fn read(
    path: &Path,
    key: &Key,
    opened: &mut Opened,
) -> Result<(Connection, Option<i64>), Unusable> {
    let db = database::open(path)?;
    take_state(&db, opened)?;
    let bad = head::fault(&db, key)?;
    Ok((db, bad))
}

fn take_state(db: &Connection, opened: &mut Opened) -> Result<(), Unusable> {
    opened.seq = database::number(db, "seq_mark")?.unwrap_or(0);
    if let Some((state, left_out)) = database::load(db)? {
        let is_whole = state.track("master").is_some() || !state.tracks.is_empty();
        for what in left_out {
            opened
                .troubles
                .push(format!("this rigd cannot read a part of the state: {what}"));
        }
        opened.state = Some(state).filter(|_| is_whole);
    }
    Ok(())
}

/// What can still be read of a damaged database.
fn salvage(aside: &Path, opened: &mut Opened) {
    if let Ok(db) = database::open_to_read(aside) {
        let _ = take_state(&db, opened);
    }
    // Whatever numbers were used, these were not.
    let seconds = Timestamp::now().as_second().max(0) as u64;
    opened.seq = opened.seq.max(seconds << 16);
}

/// Moves a damaged database, and what belongs to it, out of the way. Nothing is deleted.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let stamp = Timestamp::now().as_second();
    let aside = path.with_extension(format!("damaged-{stamp}.db"));
    fs::rename(path, &aside)?;
    for end in ["-wal", "-shm"] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        match fs::rename(with(path), with(&aside)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

impl Opened {
    /// Starts keeping what happens to a rig that is `state` now. `keeps_events`: the log of people's
    /// changes, beside the state.
    pub fn begin(self, state: Durable, seq: u64, run: Run, keeps_events: bool) -> Log {
        let mut recorder = Recorder::new(state, keeps_events);
        if !self.is_kept {
            recorder.record_everything();
        }
        let mut troubles = self.troubles;
        let mut lock = None;
        let mut reader = None;
        let writer = self.store.and_then(|store| {
            lock = Some(store.lock);
            let (path, key) = (store.path.clone(), store.key.clone());
            match Writer::start(store.db, store.path, store.key, run) {
                Ok(writer) => {
                    match Reader::start(path, key, Arc::clone(writer.health())) {
                        Ok(started) => reader = Some(started),
                        Err(error) => troubles.push(format!(
                            "the log cannot be read: no thread for that ({error})"
                        )),
                    }
                    Some(writer)
                }
                Err(error) => {
                    troubles.push(format!("nothing is kept: no thread for the log ({error})"));
                    None
                }
            }
        });
        Log {
            recorder,
            writer,
            reader,
            troubles,
            seq_mark: seq.saturating_add(RESERVED),
            seq,
            due: None,
            unsynced_since: None,
            wanted: 0,
            _lock: lock,
        }
    }
}

/// The log, as the desk sees it. Control thread; never waits for the disk.
pub struct Log {
    recorder: Recorder,
    writer: Option<Writer>,
    reader: Option<Reader>,
    troubles: Vec<String>,
    seq_mark: u64,
    seq: u64,
    /// When what waits is handed over.
    due: Option<Duration>,
    /// Since when something has been on its way to the disk.
    unsynced_since: Option<Duration>,
    /// The newest ticket that somebody waits for.
    wanted: u64,
    _lock: Option<File>,
}

impl Log {
    /// Records a change that is in effect. The ticket says when it is on disk, if it is awaited.
    pub fn record(&mut self, change: &Change, by: &Arc<By>, how: Circumstances) -> u64 {
        self.seq = self.seq.max(change.seq);
        let ticket = self.recorder.record(change, by, how);
        if how.is_awaited {
            self.wanted = ticket;
        }
        ticket
    }

    /// Whether anything is kept at all.
    pub fn is_kept(&self) -> bool {
        self.writer.is_some()
    }

    /// Whether questions are answered.
    pub fn can_be_read(&self) -> bool {
        self.reader.is_some()
    }

    /// Asks the reader, which takes one question at a time. Whether it took it.
    pub fn ask(&self, ask: Ask) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.ask(ask))
    }

    /// What it answers.
    pub fn answer(&self) -> Option<Answer> {
        self.reader.as_ref()?.answer()
    }

    /// The ticket of everything that is closed by now, which somebody waits for.
    pub fn await_closed(&mut self) -> u64 {
        self.wanted = self.wanted.max(self.recorder.ticket());
        self.recorder.ticket()
    }

    /// Every entry up to this ticket is on disk.
    pub fn synced(&self) -> u64 {
        self.health().map_or(0, |health| health.synced())
    }

    /// Whom to ask for news.
    pub fn health(&self) -> Option<&Arc<Health>> {
        self.writer.as_ref().map(Writer::health)
    }

    /// Whether the disk has not taken anything for so long that nobody should wait for it.
    pub fn is_dead(&self, now: Duration) -> bool {
        self.writer.is_none()
            || self
                .unsynced_since
                .is_some_and(|since| now.saturating_sub(since) >= PATIENCE)
    }

    /// What is wrong, in sentences for a person.
    pub fn troubles(&self, now: Duration) -> Vec<String> {
        let mut troubles = self.troubles.clone();
        if self.writer.is_some() && self.is_dead(now) {
            let trouble = self.health().and_then(|health| health.trouble());
            troubles.push(format!(
                "the disk does not take the log: {}; changes are played and not kept",
                trouble.as_deref().unwrap_or("it does not answer")
            ));
        }
        troubles
    }

    /// Moves what waits towards the disk.
    pub fn tick(&mut self, now: Duration) {
        let Some(writer) = &self.writer else {
            self.recorder.close_due(now);
            let _ = self.recorder.take(Timestamp::now(), now);
            return;
        };
        if !writer.health().is_busy() {
            self.unsynced_since = None;
        }
        self.recorder.close_due(now);
        if !self.recorder.is_waiting() {
            self.due = None;
            return;
        }
        let is_awaited = self.wanted > writer.health().synced();
        let due = *self.due.get_or_insert(now + COMMIT_EVERY);
        if writer.health().is_busy() || (now < due && !is_awaited) {
            return;
        }
        if self.seq + RESERVED / 2 > self.seq_mark {
            self.seq_mark = self.seq + RESERVED;
        }
        let batch = Batch {
            entries: self.recorder.take(Timestamp::now(), now),
            seq_mark: self.seq_mark,
        };
        self.due = None;
        self.unsynced_since = Some(now);
        // It is not busy, so there is room.
        let _ = writer.offer(batch);
    }

    /// When [`Log::tick`] has something to do.
    pub fn next_due(&self) -> Option<Duration> {
        let waiting = self.due.filter(|_| self.recorder.is_waiting());
        self.recorder.next_due().into_iter().chain(waiting).min()
    }

    /// Keeps everything that happened, and that no number was left out; gives up after a while.
    pub fn finish(mut self, now: Duration) {
        self.recorder.close_all();
        let Some(writer) = self.writer.take() else {
            return;
        };
        let until = std::time::Instant::now() + LAST_COMMIT;
        let mut batch = Batch {
            entries: self.recorder.take(Timestamp::now(), now),
            seq_mark: self.seq,
        };
        while let Err(refused) = writer.offer(batch) {
            if std::time::Instant::now() > until {
                log::error!("the last changes could not be kept: the disk does not take them");
                return;
            }
            batch = refused;
            std::thread::sleep(Duration::from_millis(2));
        }
        if !writer.finish(until.saturating_duration_since(std::time::Instant::now())) {
            log::error!("the last changes could not be kept in time");
        }
    }
}
