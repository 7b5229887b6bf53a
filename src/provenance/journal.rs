//! The journal: every group that the engine applied, with the frame at which it did, so that a run can
//! be played again to the bit. Events summarise it for people. Control thread; pure.
//!
//! A run begins with a group that builds the whole rig: its first snapshot. There is another one every
//! [`SNAPSHOT_GROUPS`] groups, and [`SNAPSHOT_EVERY`] after the last if there was a group since: what was
//! before it can be pruned, and a replay can begin there. It holds every value and switch, and nothing of
//! what sounds: tails, envelopes, notches and ramps begin anew.
//!
//! A group that could not be kept (the disk did not take it, and too many waited) leaves one without
//! commands: the run cannot be replayed past it, but from the next snapshot on.

use std::time::Duration;

use jiff::Timestamp;
use rigd_rt::{Command, GROUP_MAX};

use crate::backend::Format;

/// Groups that wait for the disk.
pub const WAITING_MAX: usize = 16_384;
/// Groups from one snapshot to the next; more while the engine has not applied all that it was told.
const SNAPSHOT_GROUPS: usize = 1024;
/// Time from one snapshot to the next, if there was a group at all.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(600);

/// One group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The first frame that was computed with it.
    pub frame: u64,
    /// Number of the newest change in it or before it.
    pub seq: u64,
    /// What the engine was told; `None`: it was lost.
    pub commands: Option<Vec<Command>>,
    /// It builds the whole rig, which was so at this time. Only the first of a run is something that the
    /// engine was told.
    pub snapshot: Option<Timestamp>,
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

/// What is on its way to the disk, and when a snapshot is due.
#[derive(Debug, Default)]
pub struct Journal {
    waiting: Vec<Group>,
    stage: Option<Stage>,
    /// The first group, which builds the rig, was there.
    has_begun: bool,
    /// The engine of the stage has gone.
    is_over: bool,
    /// Of the newest group.
    last_frame: u64,
    /// Groups since the newest snapshot.
    groups: usize,
    /// When that was.
    snapshot_at: Duration,
    /// A group was lost since.
    has_gap: bool,
}

impl Journal {
    /// An engine is there. The journal of a run ends where its first engine does, behind change `seq`.
    pub fn begin(&mut self, stage: Stage, seq: u64) {
        if self.stage.is_some() {
            self.is_over = true;
            self.waiting.push(Group {
                frame: self.last_frame,
                seq,
                commands: None,
                snapshot: None,
            });
            return;
        }
        self.stage = Some(stage);
    }

    /// What the run is played on.
    pub fn stage(&self) -> Option<&Stage> {
        self.stage.as_ref()
    }

    /// The run ends at this frame.
    pub fn end(&mut self, last_frame: u64) {
        if let Some(stage) = &mut self.stage {
            stage.last_frame = last_frame;
        }
    }

    /// A group that the engine has applied, the newest change in it being `seq`; the first group builds
    /// the rig. `at` and `now`: the time, by the calendar and since the start.
    pub fn push(
        &mut self,
        frame: u64,
        seq: u64,
        commands: Vec<Command>,
        at: Timestamp,
        now: Duration,
    ) {
        if self.is_over || self.waiting.len() > WAITING_MAX {
            return;
        }
        self.last_frame = frame;
        // What took effect at one frame is one group again.
        if let Some(Group {
            frame: newest,
            seq: newest_seq,
            commands: Some(earlier),
            snapshot: None,
        }) = self.waiting.last_mut()
            && *newest == frame
            && earlier.len() + commands.len() <= GROUP_MAX
        {
            *newest_seq = seq;
            earlier.extend(commands);
            return;
        }
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if is_first {
            self.snapshot_at = now;
        }
        let is_full = self.waiting.len() == WAITING_MAX;
        self.has_gap |= is_full;
        self.groups += usize::from(!is_first);
        self.waiting.push(Group {
            frame,
            seq,
            commands: Some(commands).filter(|_| !is_full),
            snapshot: is_first.then_some(at),
        });
    }

    /// Whether the next moment at which the engine has applied everything should be kept whole.
    pub fn wants_snapshot(&self, now: Duration) -> bool {
        let is_due = self.groups >= SNAPSHOT_GROUPS
            || self.has_gap
            || now.saturating_sub(self.snapshot_at) >= SNAPSHOT_EVERY;
        // While the disk does not take what there is, no more is added than must be.
        is_due && self.groups > 0 && !self.is_over && self.waiting.len() < WAITING_MAX / 2
    }

    /// Everything that builds the rig as it is.
    pub fn push_snapshot(
        &mut self,
        frame: u64,
        seq: u64,
        everything: Vec<Command>,
        at: Timestamp,
        now: Duration,
    ) {
        self.last_frame = frame;
        (self.groups, self.has_gap, self.snapshot_at) = (0, false, now);
        self.waiting.push(Group {
            frame,
            seq,
            commands: Some(everything),
            snapshot: Some(at),
        });
    }

    /// Whether anything waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes what waits.
    pub fn take(&mut self) -> Vec<Group> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn set(value: f32) -> Vec<Command> {
        vec![Command::Set {
            slot: 1,
            param: 2,
            value,
        }]
    }

    fn begun() -> Journal {
        let format = Format {
            backend: "null",
            sample_rate_hz: 48_000,
            block_frames: 64,
            latency_in_ms: 0.0,
            latency_out_ms: 0.0,
            device_channels: 2,
            file_channels: 2,
        };
        let mut journal = Journal::default();
        journal.begin(Stage::new("one", &format, 0), 0);
        journal.push(0, 0, set(0.0), AT, Duration::ZERO);
        journal
    }

    #[test]
    fn a_run_begins_with_a_snapshot_and_what_shares_a_frame_is_one_group() {
        let mut journal = begun();
        for (frame, seq) in [(64, 1), (64, 2), (128, 3)] {
            journal.push(frame, seq, set(seq as f32), AT, Duration::ZERO);
        }
        journal.push_snapshot(128, 3, set(9.0), AT, Duration::ZERO);
        journal.push(128, 4, set(4.0), AT, Duration::ZERO);
        let taken = journal.take();
        let told: Vec<_> = taken
            .iter()
            .map(|group| {
                let commands = group.commands.as_ref().unwrap().len();
                (group.frame, group.seq, commands, group.snapshot.is_some())
            })
            .collect();
        assert_eq!(
            told,
            [
                (0, 0, 1, true),
                (64, 2, 2, false),
                (128, 3, 1, false),
                (128, 3, 1, true),
                (128, 4, 1, false),
            ]
        );
        assert!(!journal.is_waiting());
    }

    #[test]
    fn snapshots_come_with_groups_and_with_time_but_not_while_nothing_happens() {
        let mut journal = begun();
        assert!(
            !journal.wants_snapshot(2 * SNAPSHOT_EVERY),
            "nothing was changed"
        );
        journal.push(64, 1, set(1.0), AT, Duration::ZERO);
        assert!(!journal.wants_snapshot(SNAPSHOT_EVERY / 2));
        assert!(journal.wants_snapshot(SNAPSHOT_EVERY));
        journal.push_snapshot(70, 1, set(1.0), AT, SNAPSHOT_EVERY);
        assert!(!journal.wants_snapshot(10 * SNAPSHOT_EVERY));
        for frame in 0..SNAPSHOT_GROUPS as u64 {
            assert!(!journal.wants_snapshot(SNAPSHOT_EVERY));
            journal.push(100 + frame, 2, set(2.0), AT, SNAPSHOT_EVERY);
        }
        assert!(journal.wants_snapshot(SNAPSHOT_EVERY));
    }

    #[test]
    fn behind_a_gap_there_is_a_snapshot_as_soon_as_there_is_room() {
        let mut journal = begun();
        for frame in 1..=2 * WAITING_MAX as u64 {
            journal.push(frame, frame, set(0.0), AT, Duration::ZERO);
        }
        assert!(!journal.wants_snapshot(Duration::ZERO));
        let taken = journal.take();
        assert_eq!(taken.len(), WAITING_MAX + 1);
        assert_eq!(taken.last().unwrap().commands, None);
        assert!(journal.wants_snapshot(Duration::ZERO));
    }

    #[test]
    fn the_journal_of_a_run_ends_with_its_first_engine() {
        let mut journal = begun();
        let stage = journal.stage().unwrap().clone();
        journal.begin(stage, 7);
        journal.push(5, 8, set(1.0), AT, Duration::ZERO);
        let taken = journal.take();
        assert_eq!(taken.len(), 2);
        assert_eq!((taken[1].seq, &taken[1].commands), (7, &None));
    }
}
