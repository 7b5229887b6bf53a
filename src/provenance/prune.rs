//! Bounded growth: the oldest rows of the log go when it is too large or they are too old. What is left
//! still proves itself: the checkpoint holds the number and the hash of the newest row that went. Pages
//! that become free are used again; the file itself does not shrink.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::chain::Key;
use super::daid::timestamp;
use super::database::Unusable;
use super::head::{self, Ends};
use super::record::{COLUMNS, Record};
use super::runs;
use super::verify::Walk;

/// Rows that go in one transaction: short enough that nothing waits long behind it.
const CHUNK: usize = 1024;
/// How often it is looked whether anything has to go, when the last look found nothing...
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// ...or behind so many events, if that is sooner.
const LOOK_EVERY_EVENTS: usize = CHUNK / 2;
/// What a row takes besides its text: numbers, and its entries in five indexes.
const ROW_OVERHEAD_BYTES: u64 = 160;

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The database may take so much, in bytes; `None`: as much as there is.
    pub bytes_max: Option<u64>,
    /// Rows may be so many days old; `None`: as old as they get.
    pub days_max: Option<u32>,
}

impl Retention {
    /// From the settings, where 0 is no bound.
    pub fn new(log_max_mb: u32, log_max_days: u32) -> Retention {
        Retention {
            bytes_max: (log_max_mb > 0).then_some(u64::from(log_max_mb) << 20),
            days_max: (log_max_days > 0).then_some(log_max_days),
        }
    }
}

/// When to look.
#[derive(Debug)]
pub struct Pruner {
    retention: Retention,
    looked: Option<Instant>,
    /// Events since then.
    events: usize,
}

impl Pruner {
    /// One that looks at its first chance.
    pub fn new(retention: Retention) -> Pruner {
        Pruner {
            retention,
            looked: None,
            events: 0,
        }
    }

    /// Looks, if it is time, and lets one chunk go, or as many as the events since then would fill.
    /// After a commit of so many events, on the append thread.
    pub fn after_commit(
        &mut self,
        events: usize,
        db: &Connection,
        key: &Key,
        epoch: &str,
    ) -> Result<(), Unusable> {
        let now = Instant::now();
        self.events += events;
        let is_early = self.looked.is_some_and(|looked| now < looked + LOOK_EVERY);
        if is_early && self.events < LOOK_EVERY_EVENTS {
            return Ok(());
        }
        let chunks = 1 + self.events / CHUNK;
        self.events = 0;
        // While there is more to go, the next commit brings the next chunk.
        self.looked = None;
        for _ in 0..chunks {
            if prune(db, key, self.retention, epoch, Timestamp::now())? == 0 {
                self.looked = Some(now);
                break;
            }
        }
        Ok(())
    }
}

/// Lets at most one chunk go; says how many rows went. The newest row always stays, and so does the
/// journal of the run `epoch` from its newest snapshot on.
pub fn prune(
    db: &Connection,
    key: &Key,
    retention: Retention,
    epoch: &str,
    now: Timestamp,
) -> Result<usize, Unusable> {
    let excess = match retention.bytes_max {
        Some(bytes_max) => used_bytes(db)?.saturating_sub(bytes_max),
        None => 0,
    };
    let is_too_large = excess > 0;
    let oldest = retention.days_max.and_then(|days| {
        let age = jiff::SignedDuration::from_hours(24 * i64::from(days));
        now.checked_sub(age).ok().map(timestamp)
    });
    if !is_too_large && oldest.is_none() {
        return Ok(0);
    }
    let whole = db.unchecked_transaction()?;
    let mut gone = 0;
    // Half of what there is belongs to the events, the other half to all else.
    let kept = retention.bytes_max.unwrap_or(0) / 2;
    if let Some(oldest) = &oldest {
        gone += runs::cut_older(&whole, epoch, oldest)?;
    }
    // The journal of older runs goes before any event does.
    if gone == 0 && is_too_large && (runs::has_older(&whole, epoch)? || runs::bytes(&whole)? > kept)
    {
        gone += runs::cut(&whole, epoch)?;
    }
    if gone == 0 {
        gone += prune_events(&whole, key, excess, kept, oldest.as_deref())?;
    }
    whole.commit()?;
    Ok(gone)
}

/// What the database takes, without the pages that are free.
fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| -> rusqlite::Result<i64> {
        db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
    };
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages * pragma("page_size")?).max(0) as u64)
}

/// So many bytes of events go, if so many are kept, and those from before `oldest`.
fn prune_events(
    db: &Connection,
    key: &Key,
    excess_bytes: u64,
    kept_bytes: u64,
    oldest: Option<&str>,
) -> Result<usize, Unusable> {
    let ends = Ends::read(db)?;
    // Nothing is taken away from a log whose ends do not fit: that has to be noted first.
    let Some(head) = ends.head.as_ref().filter(|_| ends.is_sealed(key)) else {
        return Ok(0);
    };
    let newest: Option<i64> =
        db.query_row("SELECT max(row) FROM daid_events", [], |row| row.get(0))?;
    let Some(newest) = newest else { return Ok(0) };
    let (before, chain) = ends.beginning();
    let mut walk = Walk {
        row: before,
        chain: chain.to_owned(),
        first_bad: None,
    };
    let mut text_bytes = 0;
    let mut chunk = Vec::new();
    let mut query = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM daid_events WHERE row < ?1 ORDER BY row LIMIT ?2"
    ))?;
    let mut rows = query.query(params![newest, CHUNK as i64])?;
    while let Some(row) = rows.next()? {
        let record = Record::read(row).ok();
        text_bytes += record.as_ref().map_or(0, bytes_of);
        chunk.push((row.get::<_, i64>(0)?, record));
    }
    // Half of what there is belongs to the events, however much else there is in the database.
    let mean = text_bytes / chunk.len().max(1) as u64 + ROW_OVERHEAD_BYTES;
    let estimate = mean * (newest - before).max(0) as u64;
    let too_many = excess_bytes
        .min(estimate.saturating_sub(kept_bytes))
        .div_ceil(mean) as usize;
    let is_too_old = |record: &Option<Record>| match (record, oldest) {
        (Some(record), Some(oldest)) => record.timestamp.as_str() < oldest,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    let going = chunk
        .iter()
        .enumerate()
        .take_while(|(index, (_, record))| *index < too_many || is_too_old(record));
    let mut gone = 0;
    for (_, (row, record)) in going {
        walk.step(*row, record.as_ref());
        gone += 1;
    }
    if gone == 0 {
        return Ok(0);
    }
    db.prepare_cached("DELETE FROM daid_events WHERE row <= ?1")?
        .execute([walk.row])?;
    // What was found wrong, now or once, does not go with the rows.
    let known = ends.checkpoint.as_ref().and_then(|point| point.first_bad);
    let first_bad = known.into_iter().chain(walk.first_bad).min();
    let point = head::put_checkpoint(db, key, walk.row, &walk.chain, first_bad)?;
    head::put(db, key, head.row as u64, &head.chain, Some(&point))?;
    Ok(gone)
}

fn bytes_of(record: &Record) -> u64 {
    let texts = [
        // These two are in an index, too.
        &record.id,
        &record.id,
        &record.user_id,
        &record.action,
        &record.details,
        &record.timestamp,
        &record.epoch,
        &record.entity_type,
        &record.entity_id,
        &record.session_id,
        &record.role,
        &record.address,
        &record.parents,
        &record.preimage,
        &record.chain,
    ];
    texts.iter().map(|text| text.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::chain::GENESIS;
    use crate::provenance::daid::Parts;
    use crate::provenance::database;
    use crate::provenance::journal::Group;
    use crate::provenance::verify::verify;
    use rigd_rt::Command;
    use serde_json::json;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A log with a row for each of the first days of 2025.
    fn log(rows: i64) -> (Folder, Connection, Key) {
        let folder = std::env::temp_dir().join(format!("rigd-prune-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let db = database::open(&folder.join(database::FILE)).unwrap();
        let key = Key::open(&folder.join(database::KEY_FILE)).unwrap();
        append(&db, &key, 0, GENESIS, rows);
        (Folder(folder), db, key)
    }

    fn day(row: i64) -> Timestamp {
        let first: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        first + jiff::SignedDuration::from_hours(24 * row)
    }

    fn append(db: &Connection, key: &Key, before: i64, chain: &str, rows: i64) {
        let whole = db.unchecked_transaction().unwrap();
        db.execute("INSERT OR REPLACE INTO state VALUES ('tracks', '[]')", [])
            .unwrap();
        let mut chain = chain.to_owned();
        let mut inserter = Record::inserter(db).unwrap();
        for row in before + 1..=before + rows {
            let metadata = json!({"changes": {"pan": {"from": row, "to": 0.1}}}).to_string();
            let parts = Parts {
                at: day(row),
                agent_id: "rigd",
                entity_type: "track",
                entity_id: "mic1",
                operation: "track.update",
                metadata: &metadata,
                parents: &[],
            };
            let preimage = parts.preimage();
            let mut record = Record {
                row,
                id: parts.identifier(&preimage),
                user_id: "ana".to_owned(),
                action: "track.update".to_owned(),
                details: metadata.clone(),
                timestamp: timestamp(day(row)),
                seq_first: row,
                seq_last: row,
                epoch: "one".to_owned(),
                monotonic_us: row,
                applied_frame: None,
                entity_type: "track".to_owned(),
                entity_id: "mic1".to_owned(),
                session_id: "stage".to_owned(),
                role: "host".to_owned(),
                verified: false,
                address: String::new(),
                parents: "[]".to_owned(),
                preimage,
                chain: String::new(),
            };
            record.chain = record.link_to(&chain);
            record.insert(&mut inserter).unwrap();
            chain = record.chain;
        }
        let ends = Ends::read(db).unwrap();
        let newest = (before + rows) as u64;
        head::put(db, key, newest, &chain, ends.checkpoint.as_ref()).unwrap();
        whole.commit().unwrap();
    }

    fn days(days: u32) -> Retention {
        Retention::new(0, days)
    }

    #[test]
    fn rows_that_are_too_old_go_and_the_newest_stays() {
        let (_folder, db, key) = log(30);
        let prune = |retention, now| prune(&db, &key, retention, "one", now).unwrap();
        assert_eq!(prune(days(0), day(1000)), 0, "0 is for ever");
        assert_eq!(prune(days(30), day(31)), 0);
        assert_eq!(prune(days(10), day(31)), 20, "a row of just 10 days stays");
        let verdict = verify(&db, &key).unwrap();
        assert!(verdict.is_valid() && verdict.rows == 10, "{verdict:?}");
        assert_eq!(prune(days(10), day(31)), 0);
        assert_eq!(prune(days(1), day(1000)), 9);
        let verdict = verify(&db, &key).unwrap();
        assert!(verdict.is_valid() && verdict.rows == 1, "{verdict:?}");
        // The log goes on behind it.
        let newest = head::settle(&db, &key).unwrap();
        assert_eq!((newest.row, newest.is_sealed), (30, true));
        append(&db, &key, 30, &newest.chain, 5);
        let verdict = verify(&db, &key).unwrap();
        assert!(verdict.is_valid() && verdict.rows == 6, "{verdict:?}");
    }

    #[test]
    fn what_was_wrong_with_pruned_rows_stays_on_record() {
        let (_folder, db, key) = log(30);
        db.execute("UPDATE daid_events SET user_id = 'ben' WHERE row = 7", [])
            .unwrap();
        assert_eq!(prune(&db, &key, days(10), "one", day(31)).unwrap(), 20);
        assert_eq!(verify(&db, &key).unwrap().first_bad, Some(7));
        assert_eq!(prune(&db, &key, days(5), "one", day(31)).unwrap(), 5);
        assert_eq!(verify(&db, &key).unwrap().first_bad, Some(7));
        assert_eq!(head::fault(&db, &key).unwrap(), Some(7));
    }

    #[test]
    fn nothing_goes_while_an_end_is_missing() {
        let (_folder, db, key) = log(30);
        db.execute("UPDATE daid_head SET rows = 29", []).unwrap();
        assert_eq!(prune(&db, &key, days(10), "one", day(31)).unwrap(), 0);
        assert_eq!(verify(&db, &key).unwrap().first_bad, Some(31));
    }

    #[test]
    fn rows_over_the_size_go_in_chunks_and_their_pages_are_used_again() {
        let (_folder, db, key) = log(4000);
        let retention = Retention::new(1, 0);
        let full = used_bytes(&db).unwrap();
        assert!(full > 2 << 20, "{full}");
        let mut chunks = 0;
        while prune(&db, &key, retention, "one", day(1)).unwrap() > 0 {
            chunks += 1;
        }
        let used = used_bytes(&db).unwrap();
        assert!(
            used <= 1 << 20 && used > 1 << 18,
            "{used} bytes behind {chunks} chunks"
        );
        let verdict = verify(&db, &key).unwrap();
        assert!(verdict.is_valid() && verdict.rows > 200, "{verdict:?}");
        let pages: i64 = db
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        let newest = head::settle(&db, &key).unwrap();
        append(&db, &key, newest.row as i64, &newest.chain, 2000);
        let later: i64 = db
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        assert_eq!(later, pages, "the file has not grown");
        assert!(verify(&db, &key).unwrap().is_valid());
    }

    /// Groups of a journal, of so many bytes each, with a snapshot at the first and behind every 1000.
    fn journal(db: &Connection, epoch: &str, groups: u64, bytes: usize, now: Timestamp) {
        db.execute(
            "INSERT INTO runs VALUES (?1, '1', 'null', 48000, 2, 2, 0, 0)",
            [epoch],
        )
        .unwrap();
        let whole = db.unchecked_transaction().unwrap();
        let groups: Vec<Group> = (0..groups)
            .map(|frame| Group {
                frame,
                seq: frame,
                commands: Some(vec![Command::Panic { mode: None }; bytes / 2]),
                snapshot: (frame % 1000 == 0).then_some(now),
            })
            .collect();
        runs::append(db, epoch, &groups).unwrap();
        whole.commit().unwrap();
    }

    fn count(db: &Connection, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        db.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn the_journal_of_older_runs_goes_before_any_event() {
        let (_folder, db, key) = log(4000);
        journal(&db, "old", 2500, 8, day(1));
        journal(&db, "one", 2000, 8, day(1));
        let retention = Retention::new(1, 0);
        for left in [3500, 2500, 2000] {
            assert!(prune(&db, &key, retention, "one", day(1)).unwrap() > 0);
            assert_eq!(count(&db, "journal"), left);
            assert_eq!(count(&db, "daid_events"), 4000);
        }
        assert_eq!((count(&db, "runs"), count(&db, "snapshots")), (1, 2));
        assert_eq!(prune(&db, &key, retention, "one", day(1)).unwrap(), CHUNK);
        assert_eq!(count(&db, "journal"), 2000, "this run's stays");
    }

    #[test]
    fn the_journal_of_this_run_is_cut_at_snapshots_and_leaves_the_events_their_half() {
        let (_folder, db, key) = log(600);
        journal(&db, "one", 9500, 400, day(1));
        let retention = Retention::new(1, 0);
        while prune(&db, &key, retention, "one", day(1)).unwrap() > 0 {}
        let used = used_bytes(&db).unwrap();
        assert!(used <= 1 << 20, "{used}");
        assert_eq!(count(&db, "daid_events"), 600);
        let from = runs::snapshot(&db, "one", None).unwrap().unwrap();
        assert!(!from.is_start);
        let mut left = Vec::new();
        runs::groups::<Unusable>(&db, "one", from, |group| {
            left.push(group.frame);
            Ok(true)
        })
        .unwrap();
        let first = left[0];
        assert!(first >= 7000 && first.is_multiple_of(1000), "{first}");
        let expected = (first..9500).filter(|frame| *frame == first || frame % 1000 > 0);
        assert!(expected.eq(left), "and goes on without a gap");
        // More of both: both are cut.
        let newest = head::settle(&db, &key).unwrap();
        append(&db, &key, newest.row as i64, &newest.chain, 2000);
        while prune(&db, &key, retention, "one", day(1)).unwrap() > 0 {}
        let used = used_bytes(&db).unwrap();
        assert!(used <= 1 << 20, "{used}");
        assert!(verify(&db, &key).unwrap().is_valid());
        assert_eq!(count(&db, "runs"), 1);
    }

    #[test]
    fn a_journal_of_which_all_is_too_old_goes_up_to_a_snapshot() {
        let (_folder, db, key) = log(3);
        journal(&db, "old", 1500, 8, day(1));
        journal(&db, "one", 1500, 8, day(20));
        while prune(&db, &key, days(10), "one", day(29)).unwrap() > 0 {}
        // The newest of the old ones may hold what is young enough.
        assert_eq!(count(&db, "journal"), 2000);
        while prune(&db, &key, days(10), "one", day(31)).unwrap() > 0 {}
        assert_eq!((count(&db, "journal"), count(&db, "runs")), (500, 1));
    }
}
