//! Whole databases: copied while they are written to, looked at, and made ready to take the place of one another.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, params};

use super::SEQ_MARK;
use super::chain::Key;
use super::database::{self, Unusable};
use super::head;

/// How long a restore waits for whoever still reads the log.
const READERS: Duration = Duration::from_secs(5);

/// Writes what a database holds at this moment into a new file; also while rigd writes to it. Gives the
/// version of its tables.
pub fn copy(from: &Path, to: &Path) -> Result<usize, Unusable> {
    let db = database::open_to_read(from)?;
    // What was left by a copy that did not end.
    let _ = fs::remove_file(to);
    db.execute("VACUUM INTO ?1", params![to.to_string_lossy()])?;
    database::version(&db)
}

/// Whether a database is whole, and one that this rigd can use.
pub fn check(path: &Path) -> Result<(), Unusable> {
    let db = database::open_to_read(path)?;
    let found: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(rusqlite::Error::InvalidParameterName(found).into());
    }
    database::load(&db).map(drop)
}

/// Whether the log in it is sealed with this key.
pub fn is_sealed_with(path: &Path, key: &Path) -> Result<bool, Unusable> {
    let db = database::open_to_read(path)?;
    match Key::read(key) {
        Ok(key) => head::fault(&db, &key).map(|fault| fault.is_none()),
        Err(_) => Ok(false),
    }
}

/// The version of its tables, the rows of its log, its size in bytes.
pub fn extent(path: &Path) -> Result<(usize, i64, u64), Unusable> {
    let db = database::open_to_read(path)?;
    let rows = db.query_row("SELECT count(*) FROM daid_events", [], |row| row.get(0))?;
    let bytes = fs::metadata(path).map_or(0, |file| file.len());
    Ok((database::version(&db)?, rows, bytes))
}

/// Makes everything ready for `new` to take the place of `old` with one rename: both are one file then,
/// the old one, if there is one, is kept as `before`, and numbers go on behind those of both. Says whether
/// there was an old one. Nobody may be writing to either.
pub fn prepare(new: &Path, old: &Path, before: &Path) -> Result<bool, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut is_there = old.exists();
    if is_there {
        match into_one_file(old) {
            Ok(mark) => raise_mark(new, mark).map_err(|error| error.to_string())?,
            Err(Unusable::Corrupt(_)) => {
                database::set_aside(old).map_err(text)?;
                is_there = false;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    into_one_file(new).map_err(|error| error.to_string())?;
    if is_there {
        let _ = fs::remove_file(before);
        fs::hard_link(old, before).map_err(text)?;
    }
    Ok(is_there)
}

/// After an update was taken back: the database of the newer rigd is set aside, and the copy of before, which
/// that one made when it first found it, takes its place. Numbers go on behind those of both. May be cut off
/// and done again. Gives where the newer one is now; `None` where there is no such copy.
pub(super) fn go_back(path: &Path) -> Option<Result<PathBuf, String>> {
    let before = database::copy_for_this_rigd(path);
    before.exists().then(|| {
        let text = |error: std::io::Error| error.to_string();
        let sorry = |error: Unusable| error.to_string();
        check(&before).map_err(sorry)?;
        let new = path.with_extension("back");
        copy(&before, &new).map_err(sorry)?;
        let aside = database::aside(path, "newer").map_err(text)?;
        prepare(&new, path, &aside)?;
        fs::rename(&new, path).map_err(text)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(text)?;
        Ok(aside)
    })
}

/// A write-ahead log must never meet another database than its own. Gives the mark behind which numbers
/// are free.
fn into_one_file(path: &Path) -> Result<u64, Unusable> {
    let db = Connection::open(path)?;
    db.busy_timeout(READERS)?;
    let mode: String = db.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if mode != "delete" {
        return Err(rusqlite::Error::InvalidParameterName("somebody reads it".into()).into());
    }
    match database::version(&db)? {
        0 => Ok(0),
        _ => database::number(&db, SEQ_MARK).map(Option::unwrap_or_default),
    }
}

fn raise_mark(path: &Path, mark: u64) -> Result<(), Unusable> {
    let db = Connection::open(path)?;
    let here = database::number(&db, SEQ_MARK)?.unwrap_or(0);
    database::keep_number(&db, SEQ_MARK, here.max(mark))?;
    Ok(())
}
