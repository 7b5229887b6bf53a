//! Both ends of the log: the head (the newest row's number and hash) and the checkpoint (the newest row
//! that was pruned), each under the rig's own key. What lies between is chained row by row; what is
//! missing at either end shows here.
//!
//! The head is looked at before every commit. One that does not fit the rows is not sealed over: what is
//! wrong is noted in the checkpoint first, and stays there. The head's seal covers the checkpoint's, so
//! neither can be taken away or put back alone. A whole folder put back as it once was cannot be told.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::chain::{GENESIS, Key};
use super::database::Unusable;
use super::verify::verify;

/// The newest row, as it was sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Its number.
    pub row: i64,
    /// Its hash.
    pub chain: String,
    seal: String,
}

/// The newest row that was pruned; row 0 when none was.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Its number.
    pub row: i64,
    /// Its hash.
    pub chain: String,
    /// A row that was once found not to be as it was written.
    pub first_bad: Option<i64>,
    seal: String,
}

impl Checkpoint {
    fn text(&self) -> String {
        let bad = self.first_bad.map_or("-".to_owned(), |row| row.to_string());
        format!("rigd checkpoint {} {} {bad}", self.row, self.chain)
    }

    /// Whether it is as it was sealed.
    pub fn is_sound(&self, key: &Key) -> bool {
        self.seal == key.seal(&self.text())
    }
}

/// The head and the checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Ends {
    /// `None` before the first commit, or when somebody took it away.
    pub head: Option<Head>,
    /// `None` while nothing was pruned and nothing was found.
    pub checkpoint: Option<Checkpoint>,
}

/// Where the next row goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Newest {
    /// The newest row's number; 0 when there never was one.
    pub row: u64,
    /// Its hash.
    pub chain: String,
    /// The head says the same, under its seal.
    pub is_sealed: bool,
    /// What the seal of the next head covers besides.
    pub checkpoint: Option<Checkpoint>,
}

impl Ends {
    /// Of a log that nothing was ever written to.
    pub const NONE: Ends = Ends {
        head: None,
        checkpoint: None,
    };

    /// Reads them.
    pub fn read(db: &Connection) -> Result<Ends, Unusable> {
        let head = prepared(
            db,
            "daid_head",
            "SELECT rows, chain, seal FROM daid_head WHERE id = 1",
        )?;
        let read_head = |row: &Row<'_>| {
            Ok(Head {
                row: row.get(0)?,
                chain: row.get(1)?,
                seal: row.get(2)?,
            })
        };
        let checkpoint = prepared(
            db,
            "daid_checkpoint",
            "SELECT row, chain, first_bad, seal FROM daid_checkpoint WHERE id = 1",
        )?;
        let read_checkpoint = |row: &Row<'_>| {
            Ok(Checkpoint {
                row: row.get(0)?,
                chain: row.get(1)?,
                first_bad: row.get(2)?,
                seal: row.get(3)?,
            })
        };
        Ok(Ends {
            head: match head {
                Some(mut query) => query.query_row([], read_head).optional()?,
                None => None,
            },
            checkpoint: match checkpoint {
                Some(mut query) => query.query_row([], read_checkpoint).optional()?,
                None => None,
            },
        })
    }

    /// What the first row that is there must be linked to: number and hash of the row before it.
    pub fn beginning(&self) -> (i64, &str) {
        self.checkpoint
            .as_ref()
            .map_or((0, GENESIS), |point| (point.row, &point.chain))
    }

    /// Whether head and checkpoint are as the key sealed them.
    pub fn is_sealed(&self, key: &Key) -> bool {
        let is_sound = self
            .checkpoint
            .as_ref()
            .is_none_or(|point| point.is_sound(key));
        is_sound
            && self.head.as_ref().is_some_and(|head| {
                head.seal == key.seal(&head_text(head.row, &head.chain, self.checkpoint.as_ref()))
            })
    }
}

/// What is said of the newest row, to be sealed.
fn head_text(row: i64, chain: &str, checkpoint: Option<&Checkpoint>) -> String {
    match checkpoint {
        Some(checkpoint) => format!("rigd head {row} {chain} {}", checkpoint.seal),
        None => format!("rigd head {row} {chain}"),
    }
}

/// A query of a table that somebody may have taken away.
fn prepared<'a>(
    db: &'a Connection,
    table: &str,
    sql: &str,
) -> Result<Option<CachedStatement<'a>>, Unusable> {
    match db.prepare_cached(sql) {
        Ok(query) => Ok(Some(query)),
        Err(_) if !has_table(db, table)? => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is such a table.
pub fn has_table(db: &Connection, name: &str) -> Result<bool, Unusable> {
    let found = db
        .prepare_cached("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1")?
        .exists([name])?;
    Ok(found)
}

/// Whether nothing was ever committed: the first commit brings the state and the head.
pub fn is_new(db: &Connection) -> Result<bool, Unusable> {
    Ok(!db.prepare_cached("SELECT 1 FROM state")?.exists([])?)
}

fn newest(db: &Connection, ends: &Ends, key: &Key) -> Result<Newest, Unusable> {
    let newest = db
        .prepare_cached("SELECT row, chain FROM daid_events ORDER BY row DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))
        .optional()?;
    let (row, chain) = newest.unwrap_or_else(|| {
        let (row, chain) = ends.beginning();
        (row, chain.to_owned())
    });
    let head = ends.head.as_ref();
    let is_sealed =
        head.is_some_and(|head| head.row == row && head.chain == chain) && ends.is_sealed(key);
    Ok(Newest {
        row: row.max(0) as u64,
        chain,
        is_sealed,
        checkpoint: ends.checkpoint.clone(),
    })
}

/// The row that was found wrong, now or once, judged by the ends alone: quick, and before anything is
/// added. A full [`verify`] follows only when they do not fit.
pub fn fault(db: &Connection, key: &Key) -> Result<Option<i64>, Unusable> {
    let ends = Ends::read(db)?;
    let newest = newest(db, &ends, key)?;
    if newest.is_sealed {
        return Ok(ends.checkpoint.and_then(|point| point.first_bad));
    }
    if newest.row == 0 && ends.head.is_none() && is_new(db)? {
        return Ok(None);
    }
    let found = verify(db, key)?.first_bad;
    Ok(Some(found.unwrap_or(newest.row as i64 + 1)))
}

/// Where the next row goes on. What does not fit is noted for ever before it is built on. In the
/// transaction that appends.
pub fn settle(db: &Connection, key: &Key) -> Result<Newest, Unusable> {
    let ends = Ends::read(db)?;
    let mut newest = newest(db, &ends, key)?;
    if newest.is_sealed {
        return Ok(newest);
    }
    if let Some(bad) = fault(db, key)? {
        log::error!("the log was changed by another hand: row {bad} is not as it was written");
        let (row, chain) = ends.beginning();
        newest.checkpoint = Some(put_checkpoint(db, key, row, chain, Some(bad))?);
    }
    Ok(newest)
}

/// Notes up to where rows were pruned. [`put`] must follow: the head's seal covers it.
pub fn put_checkpoint(
    db: &Connection,
    key: &Key,
    row: i64,
    chain: &str,
    first_bad: Option<i64>,
) -> rusqlite::Result<Checkpoint> {
    let mut point = Checkpoint {
        row,
        chain: chain.to_owned(),
        first_bad,
        seal: String::new(),
    };
    point.seal = key.seal(&point.text());
    db.prepare_cached(
        "INSERT OR REPLACE INTO daid_checkpoint (id, row, chain, first_bad, seal) VALUES (1, ?1, ?2, ?3, ?4)",
    )?
    .execute(params![row, chain, first_bad, point.seal])?;
    Ok(point)
}

/// Seals the newest row.
pub fn put(
    db: &Connection,
    key: &Key,
    row: u64,
    chain: &str,
    checkpoint: Option<&Checkpoint>,
) -> rusqlite::Result<()> {
    let seal = key.seal(&head_text(row as i64, chain, checkpoint));
    db.prepare_cached(
        "INSERT INTO daid_head (id, rows, chain, seal) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET rows = ?1, chain = ?2, seal = ?3",
    )?
    .execute(params![row as i64, chain, seal])?;
    Ok(())
}

/// The name of the newest commit: run and number. Beside the head because every commit touches that.
pub fn committed(db: &Connection) -> Result<Option<String>, Unusable> {
    // A database of the first version that cannot be written, and so not brought up to date, has none.
    let Ok(mut query) = db.prepare_cached("SELECT committed FROM daid_head WHERE id = 1") else {
        return Ok(None);
    };
    let name = query.query_row([], |row| row.get(0)).optional()?;
    Ok(name.flatten())
}

/// Names the newest commit.
pub fn put_committed(db: &Connection, name: &str) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE daid_head SET committed = ?1 WHERE id = 1")?
        .execute([name])?;
    Ok(())
}
