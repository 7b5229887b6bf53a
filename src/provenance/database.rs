//! The one SQLite file in the state folder: its tables, how it is opened, what is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::rows::{self, Columns};
use crate::rig::Durable;

/// Its name in the state folder.
pub const FILE: &str = "rigd.db";
/// The key's name beside it.
pub const KEY_FILE: &str = "rigd.key";

/// What each version of the tables adds to the one before. Never edited, only added to.
const MIGRATIONS: [&str; 2] = [
    "
CREATE TABLE daid_events (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    action TEXT NOT NULL,
    details TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    seq_first INTEGER NOT NULL,
    seq_last INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    monotonic_us INTEGER NOT NULL,
    applied_frame INTEGER,
    entity_type TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    role TEXT NOT NULL,
    verified INTEGER NOT NULL,
    address TEXT NOT NULL,
    parents TEXT NOT NULL,
    preimage TEXT NOT NULL,
    chain TEXT NOT NULL
);
CREATE INDEX idx_user_id ON daid_events (user_id);
CREATE INDEX idx_action ON daid_events (action);
CREATE INDEX idx_timestamp ON daid_events (timestamp);
CREATE INDEX idx_entity ON daid_events (entity_id, entity_type);
CREATE TABLE daid_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    rows INTEGER NOT NULL,
    chain TEXT NOT NULL,
    seal TEXT NOT NULL
);
CREATE TABLE daid_checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    row INTEGER NOT NULL,
    chain TEXT NOT NULL,
    first_bad INTEGER,
    seal TEXT NOT NULL
);
CREATE TABLE plugin_configurations (
    id TEXT PRIMARY KEY,
    track_id TEXT,
    name TEXT,
    plugin_path TEXT,
    bypassed INTEGER NOT NULL DEFAULT 0,
    parameters TEXT,
    substituted_for TEXT,
    session_id TEXT,
    created_by TEXT,
    created_at TEXT DEFAULT CURRENT_TIMESTAMP,
    updated_at TEXT DEFAULT CURRENT_TIMESTAMP,
    daid_id TEXT,
    is_legacy INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE runs (
    epoch TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    backend TEXT NOT NULL,
    sample_rate INTEGER NOT NULL,
    device_channels INTEGER NOT NULL,
    file_channels INTEGER NOT NULL,
    pool_samples INTEGER NOT NULL,
    last_frame INTEGER NOT NULL
);
CREATE TABLE journal (
    row INTEGER PRIMARY KEY,
    epoch TEXT NOT NULL,
    frame INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    commands BLOB
);
CREATE INDEX idx_journal_epoch ON journal (epoch);
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
",
    "
ALTER TABLE daid_head ADD COLUMN committed TEXT;
DELETE FROM meta WHERE key = 'committed';
CREATE TABLE snapshots (
    row INTEGER PRIMARY KEY,
    epoch TEXT NOT NULL,
    at TEXT NOT NULL,
    is_start INTEGER NOT NULL
);
INSERT INTO snapshots
    SELECT min(row), epoch, strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now'), 1 FROM journal GROUP BY epoch;
CREATE TABLE groups (
    row INTEGER PRIMARY KEY,
    frame INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    commands BLOB
);
INSERT INTO groups SELECT row, frame, seq, commands FROM journal;
DROP TABLE journal;
ALTER TABLE groups RENAME TO journal;
",
];

/// What a write-ahead log is cut back to once its pages are in the database.
const WAL_BYTES: i64 = 4 << 20;
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_millis(500);

/// Why a database cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// A newer rigd made it.
    Newer {
        /// Where.
        path: PathBuf,
    },
    /// What is in it is not what SQLite wrote.
    Corrupt(rusqlite::Error),
    /// It cannot be reached, or not written.
    Failed(rusqlite::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Newer { path } => write!(
                f,
                "{} was written by a newer rigd: install that one again, or start with another --state-dir",
                path.display()
            ),
            Unusable::Corrupt(error) => write!(f, "the database is damaged: {error}"),
            Unusable::Failed(error) => write!(f, "the database cannot be used: {error}"),
        }
    }
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Unusable {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Unusable::Corrupt(error),
            _ => Unusable::Failed(error),
        }
    }
}

/// Opens it for writing, and brings its tables up to date. Every commit is synced.
pub fn open(path: &Path) -> Result<Connection, Unusable> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    let version = version(&db)?;
    if version > MIGRATIONS.len() {
        let path = path.to_owned();
        return Err(Unusable::Newer { path });
    }
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    // Pages that a query once held are not kept: the box has little memory.
    db.pragma_update(None, "cache_size", -512)?;
    if (1..MIGRATIONS.len()).contains(&version) {
        let copy = copy_of_before(path, version);
        let _ = std::fs::remove_file(&copy);
        db.execute("VACUUM INTO ?1", params![copy.to_string_lossy()])?;
    }
    migrate(&db, version)?;
    Ok(db)
}

/// What a newer rigd keeps of a database before it brings its tables up to date.
fn copy_of_before(path: &Path, version: usize) -> PathBuf {
    path.with_extension(format!("v{version}.backup"))
}

/// The copy that a newer rigd kept of a database that this one can use.
pub(super) fn copy_for_this_rigd(path: &Path) -> PathBuf {
    copy_of_before(path, MIGRATIONS.len())
}

/// Of its tables.
pub(super) fn version(db: &Connection) -> Result<usize, Unusable> {
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    // A negative one is nobody's that we know.
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

fn migrate(db: &Connection, version: usize) -> Result<(), Unusable> {
    let missing = &MIGRATIONS[version.min(MIGRATIONS.len())..];
    if missing.is_empty() {
        return Ok(());
    }
    let all = db.unchecked_transaction()?;
    for migration in missing {
        all.execute_batch(migration)?;
    }
    all.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    all.commit()?;
    Ok(())
}

/// Whether an older rigd made it, and none has brought it up to date since.
pub fn is_older(db: &Connection) -> Result<bool, Unusable> {
    Ok(version(db)? < MIGRATIONS.len())
}

/// Opens one that cannot be written, for what it holds: the disk may be full or read-only.
pub fn open_unwritable(path: &Path) -> Result<Connection, Unusable> {
    let readable = |db: Connection| version(&db).map(|version| (db, version));
    let (db, version) = open_to_read(path).and_then(readable).or_else(|error| {
        // With no room for the index of a write-ahead log it can be read only if it has none.
        let has_wal = std::fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0);
        if has_wal {
            return Err(error);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        readable(Connection::open_with_flags(uri(path), flags)?)
    })?;
    if version == 0 {
        return Err(rusqlite::Error::QueryReturnedNoRows.into());
    }
    Ok(db)
}

/// A file that SQLite keeps beside a database.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri + "?immutable=1"
}

/// What a person is told of a database that was set aside.
pub fn damaged(reason: &str, aside: &Path) -> String {
    format!(
        "the log was damaged ({reason}) and is set aside as {}; a new one is begun",
        aside.display()
    )
}

/// A name that no file has, for a database that is to be out of the way because it is so.
pub(super) fn aside(path: &Path, because: &str) -> std::io::Result<PathBuf> {
    let stamp = jiff::Timestamp::now().as_second();
    (0..1000)
        .map(|count| match count {
            0 => path.with_extension(format!("{because}-{stamp}.db")),
            _ => path.with_extension(format!("{because}-{stamp}-{count}.db")),
        })
        .find(|aside| !aside.exists())
        .ok_or(std::io::ErrorKind::AlreadyExists.into())
}

/// Moves a damaged database, and what belongs to it, out of the way. Nothing is deleted.
pub fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = aside(path, "damaged")?;
    std::fs::rename(path, &aside)?;
    for end in ["-wal", "-shm"] {
        match std::fs::rename(beside(path, end), beside(&aside, end)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Opens it for reading only, also while rigd is running.
pub fn open_to_read(path: &Path) -> Result<Connection, Unusable> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    let version = version(&db)?;
    if version > MIGRATIONS.len() {
        let path = path.to_owned();
        return Err(Unusable::Newer { path });
    }
    Ok(db)
}

/// The state that it holds; `None` when no rig was ever kept there. With what had to be left out.
pub fn load(db: &Connection) -> Result<Option<(Durable, Vec<String>)>, Unusable> {
    let (mut state, mut plugins) = (BTreeMap::new(), BTreeMap::new());
    load_states(db, &mut state)?;
    load_plugins(db, &mut plugins)?;
    Ok((!state.is_empty()).then(|| rows::load(state, plugins)))
}

/// As much of it as a damaged database gives.
pub fn salvage(db: &Connection) -> Option<(Durable, Vec<String>)> {
    let (mut state, mut plugins) = (BTreeMap::new(), BTreeMap::new());
    // What was read before the damage counts.
    let _ = load_states(db, &mut state);
    let _ = load_plugins(db, &mut plugins);
    (!state.is_empty()).then(|| rows::load(state, plugins))
}

fn load_states(db: &Connection, state: &mut BTreeMap<String, String>) -> Result<(), Unusable> {
    let mut query = db.prepare("SELECT key, value FROM state")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        state.insert(row.get(0)?, row.get(1)?);
    }
    Ok(())
}

fn load_plugins(db: &Connection, plugins: &mut BTreeMap<String, Columns>) -> Result<(), Unusable> {
    let mut query = db.prepare(
        "SELECT id, track_id, name, plugin_path, bypassed, parameters, substituted_for
         FROM plugin_configurations
         WHERE is_legacy = 0 AND track_id IS NOT NULL AND plugin_path IS NOT NULL",
    )?;
    let mut found = query.query([])?;
    while let Some(row) = found.next()? {
        let columns = Columns {
            track_id: row.get(1)?,
            name: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
            plugin_path: row.get(3)?,
            bypassed: row.get(4)?,
            parameters: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
            substituted_for: row.get(6)?,
        };
        plugins.insert(row.get(0)?, columns);
    }
    Ok(())
}

/// A number kept under a name.
pub fn number(db: &Connection, key: &str) -> Result<Option<u64>, Unusable> {
    let value: Option<i64> = db
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(value.and_then(|value| u64::try_from(value).ok()))
}

/// Keeps a number under a name.
pub fn keep_number(db: &Connection, key: &str, value: u64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, value as i64])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_the_first_version_is_brought_up_to_date_and_kept_as_it_was() {
        let folder = std::env::temp_dir().join(format!("rigd-migrate-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join(FILE);
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch(
            "PRAGMA user_version = 1;
             INSERT INTO meta VALUES ('seq_mark', 17), ('committed', 'two 9');
             INSERT INTO daid_head VALUES (1, 5, 'chain', 'seal');
             INSERT INTO runs VALUES ('one', '1', 'null', 48000, 2, 2, 0, 0), ('two', '1', 'null', 48000, 2, 2, 0, 0);
             INSERT INTO journal (epoch, frame, seq, commands) VALUES
             ('one', 0, 0, x'01'), ('one', 64, 1, NULL), ('two', 0, 1, x'02'), ('two', 128, 2, x'03');",
        )
        .unwrap();
        assert!(is_older(&old).unwrap());
        drop(old);
        let db = open(&path).unwrap();
        assert!(!is_older(&db).unwrap());
        let text = |db: &Connection, sql: &str| -> String {
            db.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        let all = "SELECT group_concat(row || ' ' || frame || ' ' || seq || ' ' || iif(commands IS NULL, '-', hex(commands)), ', ')
                   FROM journal";
        assert_eq!(text(&db, all), "1 0 0 01, 2 64 1 -, 3 0 1 02, 4 128 2 03");
        let starts =
            "SELECT group_concat(row || ' ' || epoch || ' ' || is_start, ', ') FROM snapshots";
        assert_eq!(text(&db, starts), "1 one 1, 3 two 1");
        assert_eq!(number(&db, "seq_mark").unwrap(), Some(17));
        let backup = Connection::open(path.with_extension("v1.backup")).unwrap();
        assert_eq!(
            text(&backup, all),
            "1 0 0 01, 2 64 1 -, 3 0 1 02, 4 128 2 03"
        );
        assert_eq!(version(&backup).unwrap(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
