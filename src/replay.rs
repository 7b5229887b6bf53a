//! `rigd replay`: a run once more, from its journal: the same input gives the same bits. Begun at a
//! snapshot within the run, it has every value from there on, but begins with silence where the run had
//! tails, envelopes and notches, and a reverb's modulation begins anew: what comes is alike, and the same
//! to the bit only where no effect remembers that far back.

use std::path::{Path, PathBuf};

use rigd_rt::{CHANNELS_MAX, Engine};
use rusqlite::Connection;

use crate::backend::Deck;
use crate::cli::{Failure, ReplayArgs, sentence};
use crate::provenance::database::{self, Unusable};
use crate::provenance::journal::{Group, Stage};
use crate::provenance::runs::{self, Snapshot};
use crate::ring::{ControlEnds, rings};
use crate::wav::{self, WavWriter};

/// Frames at a time; changes nothing in the result.
const BLOCK: usize = 1024;
/// How much is played of a run whose end is not known, behind its last change.
const TAIL_S: u32 = 1;

/// Replays a run of the log in a state folder.
pub fn replay(args: &ReplayArgs, state_dir: &Path) -> Result<(), Failure> {
    let path = state_dir.join(database::FILE);
    if !path.is_file() {
        return Err(Failure::failed(format!(
            "There is no log in {}; name the folder with --state-dir.",
            state_dir.display()
        )));
    }
    let db = database::open_to_read(&path).map_err(unusable)?;
    if database::is_older(&db).map_err(unusable)? {
        return Err(Failure::failed(
            "The log was written by an older rigd: start this one on it once, then replay.",
        ));
    }
    let stage = runs::stage(&db, args.epoch.as_deref())
        .map_err(unusable)?
        .ok_or_else(|| match &args.epoch {
            Some(epoch) => Failure::failed(format!("The log has no run \"{epoch}\".")),
            None => Failure::failed("The log has no run that could be replayed."),
        })?;
    if stage.version != env!("CARGO_PKG_VERSION") {
        eprintln!(
            "The run was played by rigd {}; this is {}, which may not sound the same.",
            stage.version,
            env!("CARGO_PKG_VERSION")
        );
    }
    let from = runs::snapshot(&db, &stage.epoch, args.from)
        .map_err(unusable)?
        .ok_or_else(|| Failure::failed(nowhere(&db, &stage.epoch)))?;
    if !from.is_start {
        eprintln!(
            "The replay begins at frame {} (change {}): what sounded on from before is not in it.",
            from.frame, from.seq
        );
    }
    let mut player = Player::new(args, &stage, from)?;
    let mut until = None;
    runs::groups(&db, &stage.epoch, from, |group| {
        if args.until.is_some_and(|until| group.seq > until) {
            until = Some(group.frame);
            return Ok(false);
        }
        player.play_to(group.frame)?;
        player.apply(&group).map(|()| true)
    })?;
    let behind = player.position + u64::from(stage.sample_rate_hz * TAIL_S);
    player.play_to(until.unwrap_or(match stage.last_frame {
        0 => behind,
        last => last.max(player.position),
    }))?;
    player
        .writer
        .finish()
        .map_err(|error| Failure::failed(sentence(&error)))
}

fn unusable(error: Unusable) -> Failure {
    Failure::failed(sentence(&error))
}

impl From<Unusable> for Failure {
    fn from(error: Unusable) -> Failure {
        unusable(error)
    }
}

/// Why a replay can begin nowhere.
fn nowhere(db: &Connection, epoch: &str) -> String {
    match runs::snapshot(db, epoch, None) {
        Ok(Some(first)) => format!(
            "The journal of the run begins with change {}: name that or a later one with --from.",
            first.seq
        ),
        _ => "The journal of the run was pruned.".to_owned(),
    }
}

struct Player {
    deck: Deck,
    ends: ControlEnds,
    group: u64,
    /// Channels that go round and round, as on the null backend.
    inputs: Vec<Vec<f32>>,
    block: Vec<[f32; BLOCK]>,
    position: u64,
    writer: WavWriter,
}

impl Player {
    fn new(args: &ReplayArgs, stage: &Stage, from: Snapshot) -> Result<Player, Failure> {
        let rate = stage.sample_rate_hz;
        let unreadable = |error: wav::ReadError| Failure::usage(sentence(&error));
        let read = |path: &PathBuf, most| wav::read(path, most, rate).map_err(unreadable);
        let mut inputs = read(&args.input, wav::INPUT_CHANNELS_MAX)?;
        expect("--input", inputs.len(), stage.device_channels)?;
        let music = match &args.music {
            Some(path) => read(path, wav::MUSIC_CHANNELS_MAX)?,
            None => Vec::new(),
        };
        expect("--music", music.len(), stage.file_channels)?;
        inputs.extend(music);
        for played in [Some(&args.input), args.music.as_ref()]
            .into_iter()
            .flatten()
        {
            wav::keep(&args.output, played).map_err(unreadable)?;
        }
        let writer = WavWriter::create(&args.output, rate)
            .map_err(|error| Failure::failed(sentence(&error)))?;
        let pool = vec![0.0; stage.pool_samples as usize].leak();
        let (ends, engine_ends) = rings();
        let position = if from.is_start { 0 } else { from.frame };
        let engine = Box::new(Engine::new(rate, position, pool));
        Ok(Player {
            deck: Deck::new(engine, engine_ends, rate),
            ends,
            group: 0,
            block: vec![[0.0; BLOCK]; inputs.len()],
            inputs,
            position,
            writer,
        })
    }

    fn apply(&mut self, group: &Group) -> Result<(), Failure> {
        let Some(commands) = &group.commands else {
            return Err(Failure::failed(format!(
                "The journal has a gap at frame {} (change {}): the disk did not take it. Replay up to there with --until {}, or from a later change on with --from.",
                group.frame,
                group.seq,
                group.seq.saturating_sub(1)
            )));
        };
        self.group += 1;
        while !self.ends.commands.send(self.group, 0, commands) {
            // More at one frame than the ring holds: the engine takes it in without moving on.
            self.deck.process(&[], [&mut [], &mut []]);
            self.ends.reports.by_ref().for_each(drop);
        }
        Ok(())
    }

    fn play_to(&mut self, frame: u64) -> Result<(), Failure> {
        while self.position < frame {
            let count = (frame - self.position).min(BLOCK as u64) as usize;
            for (block, input) in self.block.iter_mut().zip(&self.inputs) {
                let from = (self.position % input.len() as u64) as usize;
                let round = input.iter().cycle().skip(from);
                block
                    .iter_mut()
                    .zip(round)
                    .take(count)
                    .for_each(|(to, from)| *to = *from);
            }
            let mut channels: [&[f32]; CHANNELS_MAX] = [&[]; CHANNELS_MAX];
            for (channel, block) in channels.iter_mut().zip(&self.block) {
                *channel = &block[..count];
            }
            let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
            let (left, right) = (&mut left[..count], &mut right[..count]);
            let used = self.block.len().min(CHANNELS_MAX);
            self.deck.process(&channels[..used], [left, right]);
            self.ends.reports.by_ref().for_each(drop);
            self.writer
                .write(left, right)
                .map_err(|error| Failure::failed(sentence(&error)))?;
            self.position += count as u64;
        }
        Ok(())
    }
}

fn expect(option: &str, channels: usize, wanted: u8) -> Result<(), Failure> {
    if channels == usize::from(wanted) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "The run had {wanted} channels where {option} gives {channels}: replay it with the file that it was played with."
    )))
}
