//! The journal in the database: runs, the groups of each in order, and where among them a rig is whole.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::daid::timestamp;
use super::database::Unusable;
use super::journal::{Group, Stage};

/// Groups that are cut off in one transaction: short enough that nothing waits long behind it.
pub const CUT_MAX: i64 = 8192;
/// What a group takes besides its commands.
const GROUP_OVERHEAD_BYTES: i64 = 20;
/// Groups by which the size of the journal is estimated.
const SAMPLE: i64 = 1024;

/// Writes the stage of a run, or what has changed of it.
pub fn put_stage(db: &Connection, stage: &Stage) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO runs (epoch, version, backend, sample_rate, device_channels, file_channels,
         pool_samples, last_frame) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (epoch) DO UPDATE SET last_frame = ?8",
    )?
    .execute(params![
        stage.epoch,
        stage.version,
        stage.backend,
        stage.sample_rate_hz,
        stage.device_channels,
        stage.file_channels,
        stage.pool_samples as i64,
        stage.last_frame as i64,
    ])?;
    Ok(())
}

/// Appends groups to the newest run.
pub fn append(db: &Connection, epoch: &str, groups: &[Group]) -> rusqlite::Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    let mut insert =
        db.prepare_cached("INSERT INTO journal (frame, seq, commands) VALUES (?1, ?2, ?3)")?;
    for group in groups {
        let commands = group
            .commands
            .as_ref()
            .and_then(|commands| postcard::to_stdvec(commands).ok());
        let row = insert.insert(params![group.frame as i64, group.seq as i64, commands])?;
        if let Some(at) = group.snapshot {
            put_snapshot(db, epoch, row, at)?;
        }
    }
    Ok(())
}

fn put_snapshot(db: &Connection, epoch: &str, row: i64, at: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO snapshots (row, epoch, at, is_start) VALUES (?1, ?2, ?3,
         NOT EXISTS (SELECT 1 FROM snapshots WHERE epoch = ?2))",
    )?
    .execute(params![row, epoch, timestamp(at)])?;
    Ok(())
}

/// A run by its name, or the newest one.
pub fn stage(db: &Connection, epoch: Option<&str>) -> Result<Option<Stage>, Unusable> {
    let stage = db
        .query_row(
            "SELECT epoch, version, backend, sample_rate, device_channels, file_channels, pool_samples,
             last_frame FROM runs WHERE ?1 IS NULL OR epoch = ?1 ORDER BY rowid DESC LIMIT 1",
            [epoch],
            |row| {
                Ok(Stage {
                    epoch: row.get(0)?,
                    version: row.get(1)?,
                    backend: row.get(2)?,
                    sample_rate_hz: row.get(3)?,
                    device_channels: row.get(4)?,
                    file_channels: row.get(5)?,
                    pool_samples: row.get::<_, i64>(6)? as u64,
                    last_frame: row.get::<_, i64>(7)? as u64,
                })
            },
        )
        .optional()?;
    Ok(stage)
}

/// Where a replay can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its group's number in the journal.
    row: i64,
    /// The run begins here.
    pub is_start: bool,
    /// The frame from which on the rig was so.
    pub frame: u64,
    /// Number of the newest change in it.
    pub seq: u64,
}

/// The first snapshot of a run that is still there; or with `from` the newest that holds no change behind
/// that one.
pub fn snapshot(
    db: &Connection,
    epoch: &str,
    from: Option<u64>,
) -> Result<Option<Snapshot>, Unusable> {
    let order = if from.is_some() { "DESC" } else { "ASC" };
    let found = db
        .query_row(
            &format!(
                "SELECT row, is_start, frame, seq FROM snapshots JOIN journal USING (row)
                 WHERE epoch = ?1 AND (?2 IS NULL OR seq <= ?2) ORDER BY row {order} LIMIT 1"
            ),
            params![
                epoch,
                from.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX))
            ],
            |row| {
                Ok(Snapshot {
                    row: row.get(0)?,
                    is_start: row.get(1)?,
                    frame: row.get::<_, i64>(2)? as u64,
                    seq: row.get::<_, i64>(3)? as u64,
                })
            },
        )
        .optional()?;
    Ok(found)
}

/// Calls `each` with a snapshot of a run and every group behind it, in order, until it says that it has
/// enough. Later snapshots are left out: the engine was not told them.
pub fn groups<E: From<Unusable>>(
    db: &Connection,
    epoch: &str,
    from: Snapshot,
    mut each: impl FnMut(Group) -> Result<bool, E>,
) -> Result<(), E> {
    let unusable = |error: rusqlite::Error| E::from(Unusable::from(error));
    let mut query = db
        .prepare(
            "SELECT frame, seq, commands FROM journal WHERE row >= ?1
             AND row < coalesce((SELECT min(row) FROM snapshots WHERE row > ?1 AND epoch <> ?2), row + 1)
             AND (row = ?1 OR row NOT IN (SELECT row FROM snapshots)) ORDER BY row",
        )
        .map_err(unusable)?;
    let mut rows = query.query(params![from.row, epoch]).map_err(unusable)?;
    while let Some(row) = rows.next().map_err(unusable)? {
        let number = |column| row.get::<_, i64>(column).map_err(unusable);
        let commands: Option<Vec<u8>> = row.get(2).map_err(unusable)?;
        let group = Group {
            frame: number(0)? as u64,
            seq: number(1)? as u64,
            commands: commands.and_then(|bytes| postcard::from_bytes(&bytes).ok()),
            snapshot: None,
        };
        if !each(group)? {
            break;
        }
    }
    Ok(())
}

/// What the journal of all runs takes, about.
pub fn bytes(db: &Connection) -> Result<u64, Unusable> {
    let (oldest, newest): (Option<i64>, Option<i64>) = db.query_row(
        "SELECT (SELECT min(row) FROM journal), (SELECT max(row) FROM journal)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (Some(oldest), Some(newest)) = (oldest, newest) else {
        return Ok(0);
    };
    let mean: f64 = db.query_row(
        "SELECT avg(coalesce(length(commands), 0)) FROM
         (SELECT commands FROM journal ORDER BY row LIMIT ?1)",
        [SAMPLE],
        |row| row.get(0),
    )?;
    let groups = newest.saturating_sub(oldest).saturating_add(1);
    Ok((groups as f64 * (mean + GROUP_OVERHEAD_BYTES as f64)) as u64)
}

/// Whether there is a journal of another run than this one.
pub fn has_older(db: &Connection, epoch: &str) -> Result<bool, Unusable> {
    let first: Option<String> = db
        .query_row(
            "SELECT epoch FROM snapshots ORDER BY row LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(first.is_some_and(|first| first != epoch))
}

/// Cuts off the oldest groups, up to the next snapshot. Says how many went: none while there is no
/// snapshot to go on from.
pub fn cut(db: &Connection, epoch: &str) -> Result<usize, Unusable> {
    let next: Option<i64> = db.query_row(
        "SELECT min(row) FROM snapshots WHERE row > (SELECT min(row) FROM journal)",
        [],
        |row| row.get(0),
    )?;
    cut_before(db, epoch, next)
}

/// Cuts off groups that are all from before a time (as the log spells times).
pub fn cut_older(db: &Connection, epoch: &str, oldest: &str) -> Result<usize, Unusable> {
    let newest: Option<i64> = db.query_row(
        "SELECT max(row) FROM snapshots WHERE at < ?1",
        [oldest],
        |row| row.get(0),
    )?;
    cut_before(db, epoch, newest)
}

fn cut_before(db: &Connection, epoch: &str, row: Option<i64>) -> Result<usize, Unusable> {
    let gone = db
        .prepare_cached(
            "DELETE FROM journal WHERE row IN
             (SELECT row FROM journal WHERE row < ?1 ORDER BY row LIMIT ?2)",
        )?
        .execute(params![row, CUT_MAX])?;
    if gone > 0 {
        db.execute(
            "DELETE FROM snapshots WHERE row < (SELECT min(row) FROM journal)",
            [],
        )?;
        db.execute(
            "DELETE FROM runs WHERE epoch <> ?1 AND epoch NOT IN (SELECT epoch FROM snapshots)",
            [epoch],
        )?;
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use rigd_rt::{Command, Kind, PanicMode, TrackKind};

    #[test]
    fn commands_come_back_to_the_bit() {
        let commands = vec![
            Command::AddTrack {
                track: 3,
                kind: TrackKind::Bus,
                stereo: true,
            },
            Command::AddEffect {
                track: 3,
                slot: 159,
                kind: Kind::Reverb,
                position: 7,
                memory: 123_456,
                memory_len: 65_536,
            },
            Command::Set {
                slot: 159,
                param: 0,
                value: 0.1,
            },
            Command::Sidechain {
                slot: 1,
                places: 0xf_ffff,
            },
            Command::Panic {
                mode: Some(PanicMode::Dry),
            },
        ];
        let bytes = postcard::to_stdvec(&commands).unwrap();
        assert!(bytes.len() < 50, "{} bytes", bytes.len());
        assert_eq!(
            postcard::from_bytes::<Vec<Command>>(&bytes).unwrap(),
            commands
        );
    }
}
