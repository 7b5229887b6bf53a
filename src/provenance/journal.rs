//! The journal: every group that the engine applied, with the frame at which it did, so that a run can
//! be played again to the bit. Events summarise it for people.
//!
//! A run begins with a group that builds the whole rig. A group that could not be kept (the disk did
//! not take it, and too many waited) leaves a row without commands: the run cannot be replayed past it.

use rigd_rt::Command;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::Unusable;
use crate::backend::Format;

/// Groups that wait for the disk.
pub const WAITING_MAX: usize = 16_384;

/// One group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The first frame that was computed with it.
    pub frame: u64,
    /// Number of the newest change in it or before it.
    pub seq: u64,
    /// What the engine was told; `None`: it was lost.
    pub commands: Option<Vec<Command>>,
}

/// What a run was played on.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Names the run.
    pub epoch: String,
    /// Which rigd it was.
    pub version: String,
    /// `null`, `jack`, …
    pub backend: String,
    /// Frames per second.
    pub sample_rate_hz: u32,
    /// Channels of `device:N`; they come first.
    pub device_channels: u8,
    /// Channels of `file`; they come behind.
    pub file_channels: u8,
    /// The engine's delay memory, in samples.
    pub pool_samples: u64,
    /// The last frame that is known of it.
    pub last_frame: u64,
}

impl Stage {
    /// A run that begins.
    pub fn new(epoch: &str, format: &Format, pool_samples: u64) -> Stage {
        Stage {
            epoch: epoch.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            backend: format.backend.to_owned(),
            sample_rate_hz: format.sample_rate_hz,
            device_channels: format.device_channels,
            file_channels: format.file_channels,
            pool_samples,
            last_frame: 0,
        }
    }
}

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

/// Appends a group to the newest run.
pub fn append(db: &Connection, epoch: &str, group: &Group) -> rusqlite::Result<()> {
    let commands = group
        .commands
        .as_ref()
        .and_then(|commands| postcard::to_stdvec(commands).ok());
    db.prepare_cached("INSERT INTO journal (epoch, frame, seq, commands) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            epoch,
            group.frame as i64,
            group.seq as i64,
            commands
        ])?;
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

/// Calls `each` with every group of a run, in order, until it says that it has enough.
pub fn groups<E: From<Unusable>>(
    db: &Connection,
    epoch: &str,
    mut each: impl FnMut(Group) -> Result<bool, E>,
) -> Result<(), E> {
    let unusable = |error: rusqlite::Error| E::from(Unusable::from(error));
    let mut query = db
        .prepare("SELECT frame, seq, commands FROM journal WHERE epoch = ?1 ORDER BY row")
        .map_err(unusable)?;
    let mut rows = query.query([epoch]).map_err(unusable)?;
    while let Some(row) = rows.next().map_err(unusable)? {
        let number = |column| row.get::<_, i64>(column).map_err(unusable);
        let commands: Option<Vec<u8>> = row.get(2).map_err(unusable)?;
        let group = Group {
            frame: number(0)? as u64,
            seq: number(1)? as u64,
            commands: commands.and_then(|bytes| postcard::from_bytes(&bytes).ok()),
        };
        if !each(group)? {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rigd_rt::{Kind, PanicMode, TrackKind};

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
