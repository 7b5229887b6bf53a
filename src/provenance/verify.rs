//! Is the log as rigd wrote it? Every row's number, hash, identifier and preimage, from the checkpoint to
//! the head.

use rusqlite::Connection;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::chain::Key;
use super::database::Unusable;
use super::head::{self, Ends};
use super::record::{COLUMNS, Record};

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Rows that are there.
    pub rows: u64,
    /// Number of the first row that is not as it was written: changed, put in, or missing. The number
    /// behind the newest row when the end is missing or its seal is not the key's.
    pub first_bad: Option<i64>,
}

impl Verdict {
    /// Whether all is as it was written.
    pub fn is_valid(&self) -> bool {
        self.first_bad.is_none()
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("valid", &self.is_valid())?;
        map.serialize_entry("rows", &self.rows)?;
        if let Some(row) = self.first_bad {
            map.serialize_entry("first_bad", &row)?;
        }
        map.end()
    }
}

/// Checks the whole log. One consistent view of it, also while it grows: call it in a transaction.
pub fn verify(db: &Connection, key: &Key) -> Result<Verdict, Unusable> {
    let ends = Ends::read(db)?;
    let (before, chain) = ends.beginning();
    let mut walk = Walk {
        row: before,
        chain: chain.to_owned(),
        first_bad: None,
    };
    let mut rows = 0;
    if head::has_table(db, "daid_events")? {
        let mut query = db.prepare(&format!("SELECT {COLUMNS} FROM daid_events ORDER BY row"))?;
        let mut found = query.query([])?;
        while let Some(row) = found.next()? {
            rows += 1;
            walk.step(row.get(0)?, Record::read(row).ok().as_ref());
        }
    }
    let found = walk
        .first_bad
        .or_else(|| fault_of_ends(&ends, key, &walk, is_owed_no_head(db, &ends, rows)));
    let known = ends.checkpoint.and_then(|point| point.first_bad);
    Ok(Verdict {
        rows,
        first_bad: found.into_iter().chain(known).min(),
    })
}

fn is_owed_no_head(db: &Connection, ends: &Ends, rows: u64) -> bool {
    rows == 0 && *ends == Ends::NONE && head::is_new(db).unwrap_or(false)
}

/// Every row is linked to the one before it: is the first one linked to the beginning, and is the last
/// one the end?
fn fault_of_ends(ends: &Ends, key: &Key, walk: &Walk, is_new: bool) -> Option<i64> {
    if is_new {
        return None;
    }
    if let Some(point) = ends
        .checkpoint
        .as_ref()
        .filter(|point| !point.is_sound(key))
    {
        return Some(point.row + 1);
    }
    let behind = walk.row + 1;
    match &ends.head {
        Some(head) if ends.is_sealed(key) => match head.row {
            // Rows that the head does not know.
            row if row < walk.row => Some(row + 1),
            row if row > walk.row || head.chain != walk.chain => Some(behind),
            _ => None,
        },
        _ => Some(behind),
    }
}

/// From row to row.
pub struct Walk {
    /// The row before.
    pub row: i64,
    /// Its hash.
    pub chain: String,
    /// The first row that is not as it was written.
    pub first_bad: Option<i64>,
}

impl Walk {
    /// Looks at the next row; `None`: it cannot even be read.
    pub fn step(&mut self, row: i64, record: Option<&Record>) {
        if self.first_bad.is_none() {
            let is_linked = |record: &Record| {
                record.link_to(&self.chain) == record.chain && record.is_what_it_is_called()
            };
            if row != self.row + 1 {
                self.first_bad = Some(row.min(self.row + 1));
            } else if !record.is_some_and(is_linked) {
                self.first_bad = Some(row);
            }
        }
        self.row = row;
        self.chain = record.map_or_else(String::new, |record| record.chain.clone());
    }
}
