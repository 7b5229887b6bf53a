//! Provenance: every accepted change on record, and the state that survives, in one SQLite file.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the log as the desk sees it: never waits |
//! | `recorder.rs` | changes → events and rows; gestures; pure |
//! | `event.rs` | one event |
//! | `rows.rs` | the state as rows |
//! | `canonical.rs`, `daid.rs` | canonical JSON; identifiers |
//! | `journal.rs`, `runs.rs` | what the engine was told, for replay; the same in the database |
//! | `record.rs` | one row of the log: its columns, for writing, chaining and reading |
//! | `chain.rs`, `head.rs` | what makes tampering evident: the links, and both ends |
//! | `prune.rs` | what becomes of old rows |
//! | `verify.rs` | is the log as it was written? |
//! | `copies.rs` | whole databases, copied and exchanged |
//! | `database.rs` | the file and its tables |
//! | `writer.rs`, `commit.rs` | the append thread; what is in one commit |
//! | `query.rs`, `reader.rs` | questions to the log; the thread that answers them |
//! | `commands.rs`, `legacy.rs` | `rigd log`; `rigd import-legacy` |
//!
//! Events and the rows that they changed are in one commit, and the rows follow from the changes alone:
//! log and state cannot disagree. Every commit is synced, so what can be read is on disk.

pub mod canonical;
pub mod chain;
pub mod commands;
pub mod commit;
pub mod copies;
pub mod daid;
pub mod database;
pub mod event;
pub mod head;
pub mod journal;
pub mod legacy;
pub mod prune;
pub mod query;
pub mod reader;
pub mod record;
pub mod recorder;
pub mod rows;
pub mod runs;
pub mod verify;
pub mod writer;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rigd_rt::Command;
use rusqlite::Connection;

use crate::backend::Format;
use crate::cli::Failure;
use crate::rig::{Change, Durable, What};
use crate::session::By;
use chain::Key;
use commit::Batch;
use database::Unusable;
use event::Notice;
use journal::{Journal, Stage};
use query::Ask;
use reader::{Answer, Reader};
use recorder::{Circumstances, Recorder, Taken};
use writer::{Health, Run, Writer};

/// What nobody waits for is handed over so long after it was closed, at most.
const COMMIT_EVERY: Duration = Duration::from_millis(50);
/// A disk that has not answered for so long counts as dead.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of the time between two looks at the disk, so much at most counts for [`PATIENCE`].
const LOOKED_AWAY: Duration = Duration::from_millis(100);
/// Numbers that are reserved ahead: enough for more than a day at a thousand changes a second while the
/// disk takes nothing, and JSON's exact integers last for 2^25 starts.
const RESERVED: u64 = 1 << 28;
/// The name of the mark behind which numbers are free.
pub const SEQ_MARK: &str = "seq_mark";
/// How long the end waits for the disk.
const LAST_COMMIT: Duration = Duration::from_secs(3);

/// What was found in the state folder.
pub struct Opened {
    /// The rig as it was; `None` in a new folder.
    pub state: Option<Durable>,
    /// Numbers go on behind this one.
    pub seq: u64,
    store: Option<Store>,
    /// What the database holds.
    kept: Option<Durable>,
    /// What is wrong, in sentences for a person.
    pub troubles: Vec<String>,
}

struct Store {
    /// `None`: the disk does not take anything yet.
    db: Option<Connection>,
    path: PathBuf,
    key: Key,
    lock: File,
    /// The newest commit in it.
    committed: Option<String>,
}

/// Opens the log in a state folder. A folder that cannot be used leaves the rig playable, with nothing
/// kept. A database from a newer rigd gives way to the copy of before; without one it is refused.
pub fn open(folder: &Path) -> Result<Opened, Failure> {
    let mut opened = Opened {
        state: None,
        seq: 0,
        store: None,
        kept: None,
        troubles: Vec::new(),
    };
    match try_open(folder, &mut opened) {
        Ok(()) => {}
        Err(Problem::Refused(failure)) => return Err(failure),
        Err(Problem::Playable(reason)) => {
            opened.seq = opened.seq.max(unused());
            opened.troubles.push(format!("nothing is kept: {reason}"));
        }
    }
    for trouble in &opened.troubles {
        log::error!("{trouble}");
    }
    Ok(opened)
}

/// A number that no run has reached: for when what was reserved is not known, or cannot be reserved.
fn unused() -> u64 {
    let seconds = Timestamp::now().as_second().max(0) as u64;
    seconds << 20
}

enum Problem {
    Refused(Failure),
    Playable(String),
}

/// Takes a state folder for this process: two that write to it would destroy it.
fn lock(folder: &Path) -> Result<File, Problem> {
    let unusable = |error| unusable(folder, &error);
    fs::create_dir_all(folder).map_err(unusable)?;
    let lock = folder.join("rigd.lock");
    // A disk that is read-only may hold a state all the same.
    let lock = File::create(&lock)
        .or_else(|error| File::open(&lock).map_err(|_| error))
        .map_err(unusable)?;
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
    Ok(lock)
}

/// Takes a state folder for a command that changes it; `what` that cannot do then.
pub fn hold(folder: &Path, what: &str) -> Result<File, Failure> {
    lock(folder).map_err(|problem| match problem {
        Problem::Refused(failure) => failure,
        Problem::Playable(reason) => Failure::failed(format!("{what}: {reason}.")),
    })
}

fn unusable(folder: &Path, error: &std::io::Error) -> Problem {
    Problem::Playable(format!(
        "the state folder {} cannot be used ({error}); choose another with --state-dir",
        folder.display()
    ))
}

fn try_open(folder: &Path, opened: &mut Opened) -> Result<(), Problem> {
    let unusable = |error| unusable(folder, &error);
    let lock = lock(folder)?;
    let key = Key::open(&folder.join(database::KEY_FILE)).map_err(unusable)?;
    let path = folder.join(database::FILE);
    let mut store = Store {
        db: None,
        path,
        key,
        lock,
        committed: None,
    };
    let (path, key) = (&store.path, &store.key);
    let mut found = database::open(path);
    if let Err(newer @ Unusable::Newer { .. }) = &found {
        match copies::go_back(path) {
            Some(Ok(aside)) => {
                opened.troubles.push(format!(
                    "{} was written by a newer rigd, and is set aside as {}: this rigd goes on with what was \
                     there before the newer one came",
                    path.display(),
                    aside.display()
                ));
                found = database::open(path);
            }
            Some(Err(reason)) => {
                let text = format!("{newer}. The copy of before is of no use: {reason}.");
                return Err(Problem::Refused(Failure::failed(text)));
            }
            None => {}
        }
    }
    match found.and_then(|db| take(&db, key, opened).map(|found| (db, found))) {
        Ok((db, committed)) => {
            opened.kept.clone_from(&opened.state);
            store.committed = committed;
            store.db = Some(db);
        }
        Err(Unusable::Corrupt(error)) => {
            let aside = database::set_aside(path).map_err(unusable)?;
            opened
                .troubles
                .push(database::damaged(&error.to_string(), &aside));
            salvage(&aside, opened);
            store.db = database::open(path).ok();
        }
        Err(newer @ Unusable::Newer { .. }) => {
            return Err(Problem::Refused(Failure::failed(format!("{newer}."))));
        }
        // What cannot be written may be readable. The writer will find out when the disk is back; until
        // then nobody knows what is in it if it is not, and nothing must be written over that.
        Err(Unusable::Failed(error)) => {
            log::error!("the log cannot be opened for writing: {error}");
            let read = database::open_unwritable(path).and_then(|db| take(&db, key, opened));
            store.committed = read.map_err(|_| Problem::Playable(error.to_string()))?;
            opened.kept.clone_from(&opened.state);
        }
    }
    // No number is given out before it is reserved.
    let reserve = |db| database::keep_number(db, SEQ_MARK, opened.seq.saturating_add(RESERVED));
    if store.db.as_ref().is_none_or(|db| reserve(db).is_err()) {
        opened.seq = opened.seq.max(unused());
        store.db = None;
    }
    opened.store = Some(store);
    Ok(())
}

/// Takes what a database holds; gives the name of its newest commit.
fn take(db: &Connection, key: &Key, opened: &mut Opened) -> Result<Option<String>, Unusable> {
    opened.seq = database::number(db, SEQ_MARK)?.unwrap_or(0);
    let loaded = database::load(db)?;
    let bad = head::fault(db, key)?;
    let committed = head::committed(db)?;
    take_state(loaded, opened);
    opened.troubles.extend(bad.map(|row| {
        format!(
            "the log was changed by another hand: row {row} is not as it was written; `rigd log verify` checks it"
        )
    }));
    Ok(committed)
}

fn take_state(loaded: Option<(Durable, Vec<String>)>, opened: &mut Opened) {
    let Some((state, left_out)) = loaded else {
        return;
    };
    for what in left_out {
        opened
            .troubles
            .push(format!("this rigd cannot read a part of the state: {what}"));
    }
    opened.state = Some(state).filter(|state| !state.tracks.is_empty());
}

/// What can still be read of a damaged database.
fn salvage(aside: &Path, opened: &mut Opened) {
    if let Ok(db) = database::open_to_read(aside) {
        opened.seq = database::number(&db, SEQ_MARK)
            .ok()
            .flatten()
            .unwrap_or(opened.seq);
        take_state(database::salvage(&db), opened);
    }
    opened.seq = opened.seq.max(unused());
}

impl Opened {
    /// Starts keeping what happens to a rig that is `state` now. `keeps_events`: the log of people's
    /// changes, beside the state.
    pub fn begin(self, state: Durable, seq: u64, run: Run, keeps_events: bool) -> Log {
        let epoch = run.epoch.clone();
        let is_kept = self.kept.as_ref() == Some(&state);
        let mut recorder = Recorder::new(state, keeps_events);
        if !is_kept {
            recorder.record_everything();
        }
        let mut troubles = self.troubles;
        let mut lock = None;
        let mut reader = None;
        let seq_mark = seq.saturating_add(RESERVED);
        let writer = self.store.and_then(|store| {
            lock = Some(store.lock);
            let is_writable = store.db.is_some();
            let (path, key) = (store.path.clone(), store.key.clone());
            match Writer::start(store.db, store.path, store.key, run, store.committed) {
                Ok(writer) => {
                    match Reader::start(path, key, Arc::clone(writer.health())) {
                        Ok(started) => reader = Some(started),
                        Err(error) => troubles.push(format!(
                            "the log cannot be read: no thread for that ({error})"
                        )),
                    }
                    if !is_writable {
                        // Not before the disk takes this can anyone say that it is well.
                        let _ = writer.offer(Box::new(Batch {
                            taken: Taken::default(),
                            journal: Vec::new(),
                            stage: None,
                            seq_mark,
                        }));
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
            seq_mark,
            seq,
            due: None,
            waited: Duration::ZERO,
            ticked: Duration::ZERO,
            wanted: 0,
            journal: Journal::default(),
            epoch,
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
    /// How long something has been on its way to the disk, while [`Log::tick`] looked.
    waited: Duration,
    ticked: Duration,
    /// The newest ticket that somebody waits for.
    wanted: u64,
    journal: Journal,
    epoch: String,
    _lock: Option<File>,
}

impl Log {
    /// Records a change that is in effect. The ticket says when it is on disk, if it is awaited; `None`:
    /// it will never be there.
    pub fn record(&mut self, change: &Change, by: &Arc<By>, how: Circumstances) -> Option<u64> {
        self.seq = self.seq.max(change.seq);
        let ticket = self.recorder.record(change, by, how);
        if let Some(ticket) = ticket.filter(|_| how.is_awaited) {
            self.wanted = ticket;
        }
        ticket
    }

    /// Records something about people. The ticket as of [`Log::record`].
    pub fn record_notice(
        &mut self,
        notice: Notice,
        by: &Arc<By>,
        how: Circumstances,
    ) -> Option<u64> {
        let ticket = self.recorder.record_notice(notice, self.seq, by, how);
        if let Some(ticket) = ticket.filter(|_| how.is_awaited) {
            self.wanted = ticket;
        }
        ticket
    }

    /// An engine is there: what it is told from now on goes into the journal. The journal of a run ends
    /// where its engine does.
    pub fn stage(&mut self, format: &Format, pool_samples: u64) {
        let stage = Stage::new(&self.epoch, format, pool_samples);
        self.journal.begin(stage, self.seq);
    }

    /// Puts a group that the engine has applied into the journal.
    pub fn journal(&mut self, frame: u64, seq: u64, commands: Vec<Command>, now: Duration) {
        if self.writer.is_some() {
            let at = Timestamp::now();
            self.journal.push(frame, seq, commands, at, now);
        }
    }

    /// Whether the journal should be given the whole rig, once the engine has applied all that it was
    /// told.
    pub fn wants_snapshot(&self, now: Duration) -> bool {
        self.writer.is_some() && self.journal.wants_snapshot(now)
    }

    /// Puts everything that builds the rig as it is at `frame` into the journal.
    pub fn snapshot(&mut self, frame: u64, seq: u64, everything: Vec<Command>, now: Duration) {
        let at = Timestamp::now();
        self.journal.push_snapshot(frame, seq, everything, at, now);
    }

    fn batch(&mut self, now: Duration, seq_mark: u64) -> Box<Batch> {
        Box::new(Batch {
            taken: self.recorder.take(Timestamp::now(), now),
            stage: self.journal.stage().cloned(),
            journal: self.journal.take(),
            seq_mark,
        })
    }

    /// Records that the rig had no room for a plugin any more.
    pub fn record_dropped(&mut self, seq: u64, plugin_id: &str, now: Duration) {
        let Some((track, _)) = self.recorder.state().plugin(plugin_id) else {
            return;
        };
        let what = What::PluginRemoved {
            track_id: track.id.clone(),
            plugin_id: plugin_id.to_owned(),
        };
        let how = Circumstances {
            at: Timestamp::now(),
            now,
            applied_frame: None,
            is_awaited: false,
        };
        self.record(&Change { seq, what }, &Arc::new(By::rig()), how);
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

    /// The newest ticket given out.
    pub fn ticket(&self) -> u64 {
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

    /// How long the disk has been at what it was given last.
    pub fn lag(&self) -> Duration {
        if self.is_busy() {
            self.waited
        } else {
            Duration::ZERO
        }
    }

    /// Whether the disk has not taken anything for so long that nobody should wait for it.
    pub fn is_dead(&self) -> bool {
        self.writer.is_none() || self.lag() >= PATIENCE
    }

    fn is_busy(&self) -> bool {
        self.health().is_some_and(|health| health.is_busy())
    }

    /// What is wrong, in sentences for a person.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = self.troubles.clone();
        troubles.extend(
            self.health()
                .into_iter()
                .flat_map(|health| health.damages()),
        );
        if self.writer.is_some() && self.is_dead() {
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
        let passed = now.saturating_sub(std::mem::replace(&mut self.ticked, now));
        // Time in which nobody looked (this thread was held up, or the whole process) says nothing of the disk.
        self.waited += passed.min(LOOKED_AWAY);
        let Some(writer) = &self.writer else {
            self.recorder.close_due(now);
            let _ = self.recorder.take(Timestamp::now(), now);
            return;
        };
        if !writer.health().is_busy() {
            self.waited = Duration::ZERO;
        }
        if writer.health().wants_everything() {
            self.recorder.record_replaced(self.seq);
        }
        self.recorder.close_due(now);
        if !self.recorder.is_waiting() && !self.journal.is_waiting() {
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
        let batch = self.batch(now, self.seq_mark);
        self.due = None;
        if let Some(writer) = &self.writer {
            // It is not busy, so there is room.
            let _ = writer.offer(batch);
        }
    }

    /// When [`Log::tick`] has something to do. While the writer is busy that is when it has news.
    pub fn next_due(&self) -> Option<Duration> {
        if self.health().is_some_and(|health| health.is_busy()) {
            return None;
        }
        self.recorder.next_due().into_iter().chain(self.due).min()
    }

    /// Keeps everything that happened, and that no number was left out; gives up after a while.
    pub fn finish(mut self, now: Duration, last_frame: u64) {
        self.recorder.close_all();
        self.journal.end(last_frame);
        let mut batch = self.batch(now, self.seq);
        let Some(writer) = self.writer.take() else {
            return;
        };
        let until = std::time::Instant::now() + LAST_COMMIT;
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
