//! `rigd import-legacy`: the plugin configurations of an older system, as its migration script would have
//! left them, copied beside rigd's own. The old database is only read.

use std::path::{Path, PathBuf};

use clap::Args;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::database::{self, Unusable};
use super::{head, hold};
use crate::cli::Failure;

/// What the migration script puts where nobody is known.
const SESSION: &str = "legacy_session";
const CREATED_BY: &str = "migration_script";
/// What it puts in front of an id to make up an identifier.
const DAID: &str = "daid_";
const TABLE: &str = "plugin_configurations";
/// The columns that both sides may have, besides the id.
const KNOWN: [&str; 11] = [
    "track_id",
    "name",
    "plugin_path",
    "bypassed",
    "parameters",
    "session_id",
    "created_by",
    "created_at",
    "updated_at",
    "daid_id",
    "substituted_for",
];

/// `rigd import-legacy`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// The old database (SQLite)
    #[arg(value_name = "FILE.db")]
    pub file: PathBuf,
    /// The folder that rigd keeps its state in
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// What became of the old rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    found: u64,
    backfilled: u64,
    imported: u64,
    present: u64,
    nameless: u64,
}

/// Imports. `folder` is the state folder, which no rigd may be using.
pub fn import(file: &Path, folder: &Path) -> Result<(), Failure> {
    let old = open(file)?;
    let _lock = hold(folder, "Cannot import")?;
    let failed = |error: Unusable| Failure::failed(format!("Cannot import: {error}."));
    let db = database::open(&folder.join(database::FILE)).map_err(failed)?;
    let counts = copy(&old, &db).map_err(|error| failed(error.into()))?;
    let mut sentence = format!(
        "Of {} plugin configurations in {}, {} were imported ({} of them got {SESSION} and {CREATED_BY}) and {} were here already.",
        counts.found,
        file.display(),
        counts.imported,
        counts.backfilled,
        counts.present,
    );
    if counts.nameless > 0 {
        sentence += &format!(" {} without an id were left out.", counts.nameless);
    }
    println!("{sentence}");
    Ok(())
}

fn open(file: &Path) -> Result<Connection, Failure> {
    let refused =
        |reason: String| Failure::failed(format!("Cannot import {}: {reason}.", file.display()));
    if !file.is_file() {
        return Err(refused("there is no such file".to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let old = Connection::open_with_flags(file, flags)
        .map_err(|error| refused(format!("it cannot be opened ({error})")))?;
    match head::has_table(&old, TABLE) {
        Ok(true) => {}
        Ok(false) => return Err(refused(format!("it has no table {TABLE}"))),
        Err(Unusable::Corrupt(_)) => return Err(refused("it is no SQLite database".to_owned())),
        Err(error) => return Err(refused(error.to_string())),
    }
    match columns(&old) {
        Ok(columns) if columns.iter().any(|name| name == "id") => Ok(old),
        Ok(_) => Err(refused(format!("its table {TABLE} has no column id"))),
        Err(error) => Err(refused(error.to_string())),
    }
}

fn columns(old: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query = old.prepare("SELECT lower(name) FROM pragma_table_info(?1)")?;
    query.query_map([TABLE], |row| row.get(0))?.collect()
}

/// Any value as text: older systems were not strict.
fn text(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(index)? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    })
}

fn copy(old: &Connection, db: &Connection) -> rusqlite::Result<Counts> {
    let there = columns(old)?;
    let wanted: Vec<String> = KNOWN
        .iter()
        .map(|name| match there.iter().any(|column| column == name) {
            true => format!("\"{name}\""),
            false => "NULL".to_owned(),
        })
        .collect();
    let sql = format!(
        "SELECT id, {} FROM {TABLE} ORDER BY rowid",
        wanted.join(", ")
    );
    let whole = db.unchecked_transaction()?;
    let mut counts = Counts::default();
    let mut query = old.prepare(&sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        counts.found += 1;
        let Some(id) = text(row, 0)? else {
            counts.nameless += 1;
            continue;
        };
        let column = |index: usize| text(row, index + 1);
        let is_old = column(5)?.is_none();
        let fill = |index: usize, value: &str| -> rusqlite::Result<Option<String>> {
            if is_old {
                Ok(Some(value.to_owned()))
            } else {
                column(index)
            }
        };
        let is_bypassed =
            column(3)?.is_some_and(|text| !matches!(text.as_str(), "0" | "false" | ""));
        let added = db
            .prepare_cached(
                "INSERT INTO plugin_configurations (id, track_id, name, plugin_path, bypassed, parameters,
                 session_id, created_by, created_at, updated_at, daid_id, substituted_for, is_legacy)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, coalesce(?9, CURRENT_TIMESTAMP),
                 coalesce(?10, CURRENT_TIMESTAMP), ?11, ?12, 1)
                 ON CONFLICT (id) DO NOTHING",
            )?
            .execute(params![
                id,
                column(0)?,
                column(1)?,
                column(2)?,
                is_bypassed,
                column(4)?,
                fill(5, SESSION)?,
                fill(6, CREATED_BY)?,
                column(7)?,
                column(8)?,
                fill(9, &format!("{DAID}{id}"))?,
                column(10)?,
            ])?;
        if added == 0 {
            counts.present += 1;
        } else {
            counts.imported += 1;
            counts.backfilled += u64::from(is_old);
        }
    }
    whole.commit()?;
    Ok(counts)
}
