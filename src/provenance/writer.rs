//! The append thread: the only one that writes to the database. It takes one batch at a time and
//! commits it, synced; a batch that the disk does not take is tried again until it does.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Notify;

use super::chain::Key;
use super::commit::{Batch, Committer};
use super::database::{self, Unusable};
use super::head;
use super::prune::{Pruner, Retention};

/// A disk that refused a batch is asked again after so long.
const RETRY: Duration = Duration::from_millis(200);
/// Damaged databases that are set aside in one run; behind that the disk counts as dead.
const SET_ASIDE_MAX: u32 = 3;

/// What the writer says of itself. Any thread.
#[derive(Default)]
pub struct Health {
    /// Every entry up to this ticket is on disk.
    synced: AtomicU64,
    /// It holds a batch.
    busy: AtomicBool,
    /// Nobody waits for what the disk does not take.
    given_up: AtomicBool,
    /// The database is not the one that it was: the state has to be written whole.
    wants_everything: AtomicBool,
    /// Why the disk does not take what it should.
    trouble: Mutex<Option<String>>,
    /// What had to be set aside, in sentences for a person.
    damages: Mutex<Vec<String>>,
    /// Wakes whoever waits for any of this to change.
    pub news: Notify,
}

impl Health {
    /// Every entry up to this ticket is on disk.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Whether it holds a batch.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Why the disk does not take what it should.
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What had to be set aside in this run, in sentences for a person.
    pub fn damages(&self) -> Vec<String> {
        self.damages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the state has to be written whole. Says it once.
    pub fn wants_everything(&self) -> bool {
        self.wants_everything.swap(false, Ordering::AcqRel)
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        self.news.notify_one();
    }
}

/// Names this run of this rig in every row.
#[derive(Clone, Debug)]
pub struct Run {
    /// The rig's own name.
    pub agent_id: String,
    /// The run's.
    pub epoch: String,
    /// How much of the log is kept.
    pub retention: Retention,
}

/// The control side's end.
pub struct Writer {
    batches: Option<SyncSender<Box<Batch>>>,
    health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on an opened database, or on one that cannot be written yet. `committed` names
    /// the newest commit in it.
    pub fn start(
        db: Option<Connection>,
        path: PathBuf,
        key: Key,
        run: Run,
        committed: Option<String>,
    ) -> std::io::Result<Writer> {
        let (batches, waiting) = sync_channel(1);
        let health = Arc::new(Health::default());
        let appender = Appender {
            is_certain: db.is_some(),
            db,
            path,
            key,
            committed,
            batches: 0,
            set_aside: 0,
            pruner: Pruner::new(run.retention),
            committer: Committer::new(&run.agent_id, &run.epoch),
            health: Arc::clone(&health),
        };
        let thread = std::thread::Builder::new()
            .name("rigd-log".to_owned())
            .spawn(move || appender.run(&waiting))?;
        Ok(Writer {
            batches: Some(batches),
            health,
            thread: Some(thread),
        })
    }

    /// What it says of itself.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Hands a batch over, or gives it back while it holds one. Never waits.
    pub fn offer(&self, batch: Box<Batch>) -> Result<(), Box<Batch>> {
        let Some(batches) = &self.batches else {
            return Err(batch);
        };
        self.health.busy.store(true, Ordering::Release);
        batches.try_send(batch).map_err(|refused| match refused {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        })
    }

    /// Ends the thread once it has committed what it holds, or after so long. Says whether it has.
    pub fn finish(mut self, within: Duration) -> bool {
        self.batches = None;
        let Some(thread) = self.thread.take() else {
            return true;
        };
        let until = std::time::Instant::now() + within;
        while !thread.is_finished() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.health.given_up.store(true, Ordering::Release);
        thread.is_finished() && thread.join().is_ok()
    }
}

/// What a commit took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// All of it.
    Whole,
    /// The events: the database is not the one that the rows belong to.
    Events,
}

struct Appender {
    db: Option<Connection>,
    path: PathBuf,
    key: Key,
    committer: Committer,
    /// The newest commit that is known to be in the database.
    committed: Option<String>,
    /// The database holds what is known to be in it, and nothing else.
    is_certain: bool,
    /// Taken in this run.
    batches: u64,
    /// Damaged databases in this run.
    set_aside: u32,
    pruner: Pruner,
    health: Arc<Health>,
}

impl Appender {
    fn run(mut self, batches: &Receiver<Box<Batch>>) {
        while let Ok(batch) = batches.recv() {
            self.batches += 1;
            let kept = self.commit_at_last(&batch);
            if kept == Some(Kept::Events) {
                self.health.wants_everything.store(true, Ordering::Release);
            }
            if kept == Some(Kept::Whole) {
                let ticket = batch.taken.ticket;
                self.health.synced.fetch_max(ticket, Ordering::Release);
            }
            self.health.busy.store(false, Ordering::Release);
            self.health.news.notify_one();
            self.prune(batch.taken.events.len());
        }
    }

    /// Lets old rows go. What cannot go now goes later.
    fn prune(&mut self, events: usize) {
        let Some(db) = &self.db else { return };
        let epoch = self.committer.epoch();
        if let Err(error) = self.pruner.after_commit(events, db, &self.key, epoch) {
            log::warn!("the log's oldest rows could not be pruned, and are later: {error}");
            self.db = None;
            self.is_certain = false;
        }
    }

    /// Tries until the disk takes it, or until nobody waits any more. Says what it took.
    fn commit_at_last(&mut self, batch: &Batch) -> Option<Kept> {
        let mut damaged = 0;
        loop {
            match self.commit(batch) {
                Ok(kept) => {
                    if self.health.trouble().is_some() {
                        log::info!("the disk takes the log again");
                        self.health.set_trouble(None);
                    }
                    return Some(kept);
                }
                Err(error) => {
                    damaged += u32::from(matches!(error, Unusable::Corrupt(_)));
                    let reason = error.to_string();
                    if self.health.trouble().is_none() {
                        log::error!("the log cannot be written, and is tried again: {reason}");
                    }
                    self.health.set_trouble(Some(reason));
                    // Nothing can be trusted of it; what was refused may be on disk all the same.
                    self.committer.forget();
                    self.db = None;
                    self.is_certain = false;
                    // Once may be what the connection had in memory.
                    if damaged >= 2 && self.set_aside < SET_ASIDE_MAX {
                        damaged = 0;
                        self.set_aside(&error);
                        continue;
                    }
                }
            }
            std::thread::sleep(RETRY);
            if self.health.given_up.load(Ordering::Acquire) {
                log::error!("rigd ends with changes that the disk did not take");
                return None;
            }
        }
    }

    /// Puts a database that cannot be written any more out of the way.
    fn set_aside(&mut self, error: &Unusable) {
        match database::set_aside(&self.path) {
            Ok(aside) => {
                self.set_aside += 1;
                let damage = database::damaged(&error.to_string(), &aside);
                log::error!("{damage}");
                let damages = self.health.damages.lock();
                damages.unwrap_or_else(PoisonError::into_inner).push(damage);
            }
            Err(error) => log::error!("the damaged log cannot be set aside: {error}"),
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<Kept, Unusable> {
        let db = match self.db.take() {
            Some(db) => db,
            None => database::open(&self.path)?,
        };
        let result = self.write(&db, batch);
        self.db = Some(db);
        result
    }

    fn write(&mut self, db: &Connection, batch: &Batch) -> Result<Kept, Unusable> {
        let whole = db.unchecked_transaction()?;
        let name = format!("{} {}", self.committer.epoch(), self.batches);
        let mut kept = Kept::Whole;
        if !self.is_certain {
            let found = head::committed(db)?;
            if found.as_ref() == Some(&name) {
                // The disk took it when it said that it had not.
                self.is_certain = true;
                self.committed = found;
                return Ok(Kept::Whole);
            }
            if found != self.committed {
                kept = Kept::Events;
            }
        }
        let is_own = kept == Kept::Whole;
        self.committer.write(db, &self.key, batch, is_own)?;
        head::put_committed(db, &name)?;
        whole.commit()?;
        self.committed = Some(name);
        self.is_certain = true;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::event::{EntityType, Event, RIG};
    use crate::provenance::recorder::{Taken, Touch, Touched};
    use crate::provenance::rows::Row;
    use crate::session::By;
    use rusqlite::OptionalExtension;
    use std::fs;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let path = std::env::temp_dir().join(format!("rigd-writer-{}", uuid::Uuid::new_v4()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn database(&self) -> PathBuf {
            self.0.join(database::FILE)
        }

        fn appender(&self) -> Appender {
            Appender {
                db: Some(database::open(&self.database()).unwrap()),
                path: self.database(),
                key: Key::open(&self.0.join(database::KEY_FILE)).unwrap(),
                committer: Committer::new("test", "first"),
                pruner: Pruner::new(Retention::default()),
                committed: None,
                is_certain: true,
                batches: 1,
                set_aside: 0,
                health: Arc::default(),
            }
        }

        /// Numbers of the changes in the log, and what the state has of them.
        fn kept(&self) -> (Vec<u64>, Option<String>) {
            let db = database::open_to_read(&self.database()).unwrap();
            let mut query = db
                .prepare("SELECT seq_first FROM daid_events ORDER BY row")
                .unwrap();
            let numbers = query
                .query_map([], |row| Ok(row.get::<_, i64>(0)? as u64))
                .unwrap();
            let state = db
                .query_row("SELECT value FROM state WHERE key = 'x'", [], |row| {
                    row.get(0)
                })
                .optional()
                .unwrap();
            (numbers.map(Result::unwrap).collect(), state)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn batch(seq: u64, is_everything: bool) -> Batch {
        let event = Event {
            operation: "rig.restore",
            entity_type: EntityType::Configuration,
            entity_id: RIG.to_owned(),
            by: Arc::new(By::rig()),
            seq_first: seq,
            seq_last: seq,
            at: jiff::Timestamp::UNIX_EPOCH,
            monotonic_us: 0,
            applied_frame: None,
            metadata: "{}".to_owned(),
        };
        let row = Row::State {
            key: "x".to_owned(),
            value: Some(seq.to_string()),
        };
        let touch = Touch {
            first: Some(0),
            last: Some(0),
            is_anew: false,
        };
        Batch {
            taken: Taken {
                ticket: seq,
                events: vec![event],
                rows: vec![Touched { row, touch }],
                is_everything,
            },
            journal: Vec::new(),
            stage: None,
            seq_mark: 100,
        }
    }

    #[test]
    fn what_was_committed_when_the_disk_said_that_it_was_not_is_not_written_twice() {
        let folder = Folder::new();
        let mut appender = folder.appender();
        assert_eq!(appender.commit(&batch(1, false)).unwrap(), Kept::Whole);
        appender.batches = 2;
        let known = appender.committed.clone();
        assert_eq!(appender.commit(&batch(2, false)).unwrap(), Kept::Whole);
        // As it is after an error of a sync that came too late.
        (appender.db, appender.committed, appender.is_certain) = (None, known, false);
        assert_eq!(appender.commit(&batch(2, false)).unwrap(), Kept::Whole);
        appender.batches = 3;
        assert_eq!(appender.commit(&batch(3, false)).unwrap(), Kept::Whole);
        assert_eq!(folder.kept(), (vec![1, 2, 3], Some("3".to_owned())));
    }

    #[test]
    fn what_was_not_committed_is_written_when_the_database_is_opened_again() {
        let folder = Folder::new();
        let mut appender = folder.appender();
        appender.commit(&batch(1, false)).unwrap();
        appender.batches = 2;
        (appender.db, appender.is_certain) = (None, false);
        assert_eq!(appender.commit(&batch(2, false)).unwrap(), Kept::Whole);
        assert_eq!(folder.kept(), (vec![1, 2], Some("2".to_owned())));
    }

    #[test]
    fn another_database_gets_the_events_and_then_the_whole_state() {
        let folder = Folder::new();
        let mut appender = folder.appender();
        appender.commit(&batch(1, false)).unwrap();
        (appender.db, appender.is_certain) = (None, false);
        fs::remove_file(folder.database()).unwrap();
        appender.batches = 2;
        assert_eq!(appender.commit(&batch(2, false)).unwrap(), Kept::Events);
        assert_eq!(folder.kept(), (vec![2], None), "a part is not a state");
        appender.batches = 3;
        assert_eq!(appender.commit(&batch(3, true)).unwrap(), Kept::Whole);
        assert_eq!(folder.kept(), (vec![2, 3], Some("3".to_owned())));
    }

    #[test]
    fn a_database_that_is_damaged_while_rigd_runs_is_set_aside_and_nothing_is_said_to_be_kept() {
        let folder = Folder::new();
        let mut appender = folder.appender();
        appender.commit(&batch(1, false)).unwrap();
        appender.db = None;
        let garbage = vec![b'?'; 50_000];
        fs::write(folder.database(), &garbage).unwrap();
        let health = Arc::clone(&appender.health);
        let (batches, waiting) = sync_channel(1);
        batches.send(Box::new(batch(2, false))).unwrap();
        drop(batches);
        appender.run(&waiting);
        assert_eq!(health.synced(), 0);
        assert!(health.wants_everything());
        assert!(!health.wants_everything(), "once");
        assert!(
            health.damages()[0].contains("set aside"),
            "{:?}",
            health.damages()
        );
        assert_eq!(folder.kept(), (vec![2], None));
        let mut files = fs::read_dir(&folder.0).unwrap().flatten();
        let aside = files.find(|file| file.file_name().to_string_lossy().contains("damaged"));
        assert_eq!(fs::read(aside.unwrap().path()).unwrap(), garbage);
    }
}
