//! `rigd render`: the same engine, faster than real time, deterministic. Commands take effect at
//! exactly their frame; debouncing counts frames; there are no limits and nobody to tell.

use std::fs;
use std::path::Path;

use rigd_rt::{Command, Engine, Report};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backend::Deck;
use crate::backend::file::{self, FileRun};
use crate::batcher::Batcher;
use crate::cli::{Failure, RenderArgs, sentence};
use crate::config::Config;
use crate::protocol::{Body, Incoming, Limits, decode};
use crate::rig::batch::{ParamKey, as_request, check_batch, debounce_ms, last_of_each, overtake};
use crate::rig::state::{MicFeed, Wiring};
use crate::rig::{Reject, Request, State, apply};
use crate::ring::{ControlEnds, rings};
use crate::run;
use crate::wav::{self, WavWriter, WriteError};

/// The largest command file, in bytes.
const COMMANDS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One line of `--commands`.
#[derive(Deserialize)]
struct Line<'a> {
    frame: u64,
    #[serde(borrow)]
    message: &'a RawValue,
}

/// Renders, or says what is wrong with what it was given.
pub fn render(args: &RenderArgs, config: &Config) -> Result<(), Failure> {
    let text = match &args.commands {
        Some(path) => read_commands(path)?,
        None => String::new(),
    };
    let lines = parse(&text, args)?;
    let mut stage = Stage::new(args, config)?;
    let rendered = stage.play(&lines, args).and_then(|()| stage.finish());
    if rendered.is_err() {
        // Half a recording would look like a whole one. Pipes and devices stay.
        if fs::metadata(&args.output).is_ok_and(|output| output.is_file()) {
            let _ = fs::remove_file(&args.output);
        }
    }
    rendered
}

fn unwritable(error: WriteError) -> Failure {
    Failure::failed(sentence(&error))
}

fn read_commands(path: &Path) -> Result<String, Failure> {
    let unreadable = |reason: String| {
        Failure::usage(format!(
            "The command file {} cannot be read: {reason}.",
            path.display()
        ))
    };
    let size = fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if size > COMMANDS_BYTES_MAX {
        return Err(unreadable(format!(
            "it is larger than {COMMANDS_BYTES_MAX} bytes; split it"
        )));
    }
    fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// All lines with their numbers, by frame; equal frames as in the file.
fn parse<'a>(text: &'a str, args: &RenderArgs) -> Result<Vec<(usize, Line<'a>)>, Failure> {
    let mut lines = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let line: Line = serde_json::from_str(line).map_err(|error| {
            bad_line(
                args,
                index + 1,
                &format!("It must be {{\"frame\": …, \"message\": …}}: {error}."),
            )
        })?;
        lines.push((index + 1, line));
    }
    lines.sort_by_key(|(_, line)| line.frame);
    Ok(lines)
}

fn bad_line(args: &RenderArgs, number: usize, reason: &str) -> Failure {
    let file = args.commands.as_deref().unwrap_or(Path::new("commands"));
    Failure::usage(format!("{}:{number}: {reason}", file.display()))
}

/// A rig without clients.
struct Stage {
    run: FileRun,
    state: State,
    ends: ControlEnds,
    group: u64,
    batcher: Batcher<(), ParamKey, f64, ()>,
    limits: Limits,
    frames_per_ms: f64,
}

impl Stage {
    fn new(args: &RenderArgs, config: &Config) -> Result<Stage, Failure> {
        let rate = config.audio.sample_rate;
        let unreadable = |error: wav::ReadError| Failure::usage(sentence(&error));
        let mut inputs =
            wav::read(&args.input, wav::INPUT_CHANNELS_MAX, rate).map_err(unreadable)?;
        let device_channels = inputs.len() as u8;
        if let Some(music) = &args.music {
            inputs.extend(wav::read(music, wav::MUSIC_CHANNELS_MAX, rate).map_err(unreadable)?);
        }
        let file_channels = inputs.len() as u8 - device_channels;
        for played in [Some(&args.input), args.music.as_ref()]
            .into_iter()
            .flatten()
        {
            wav::keep(&args.output, played).map_err(unreadable)?;
        }
        let writer = WavWriter::create(&args.output, rate).map_err(unwritable)?;
        let pool = run::pool(config);
        let pool_samples = pool.len();
        let (ends, engine_ends) = rings();
        let deck = Deck::new(Box::new(Engine::new(rate, 0, pool)), engine_ends, rate);
        let block = config.audio.block_frames;
        let run = FileRun::new(deck, inputs, block, writer);
        let wiring = Wiring::new(
            &file::format(rate, block, device_channels, file_channels),
            MicFeed::InOrder,
        );
        let mut state = run::new_rig(config, wiring.clone(), pool_samples);
        let (commands, dropped) = state.build(wiring);
        if let Some(id) = dropped.first() {
            return Err(Failure::usage(format!(
                "The delay memory is too small for \"{id}\": raise audio.delay_pool_mb."
            )));
        }
        let mut stage = Stage {
            run,
            state,
            ends,
            group: 0,
            batcher: Batcher::default(),
            limits: Limits {
                batch_changes: config.limits.batch_changes,
            },
            frames_per_ms: f64::from(rate) / 1000.0,
        };
        stage.hand_over(&commands);
        Ok(stage)
    }

    fn play(&mut self, lines: &[(usize, Line)], args: &RenderArgs) -> Result<(), Failure> {
        for (number, line) in lines {
            self.advance_to(line.frame)?;
            self.say(line.message.get())
                .map_err(|reject| bad_line(args, *number, &reject.sentence()))?;
        }
        Ok(())
    }

    /// Computes up to a frame, letting what was debounced out at its own time.
    fn advance_to(&mut self, frame: u64) -> Result<(), Failure> {
        while let Some(due) = self.batcher.next_due().filter(|due| *due <= frame) {
            self.compute_to(due)?;
            while let Some(group) = self.batcher.take_due(due) {
                // Checked when it came, and taken out since if it ceased to be right.
                if let Ok(accepted) = apply(&mut self.state, as_request(&group.changes)) {
                    self.hand_over(&accepted.commands);
                }
            }
        }
        self.compute_to(frame)
    }

    /// A frame behind the end computes to the end.
    fn compute_to(&mut self, frame: u64) -> Result<(), Failure> {
        let frames = frame
            .min(self.run.frames())
            .saturating_sub(self.run.position());
        self.run.advance(frames).map_err(unwritable)?;
        for report in self.ends.reports.by_ref() {
            match report {
                Report::SlotFreed { slot } => self.state.slot_freed(slot),
                Report::TrackFreed { track } => self.state.track_freed(track),
                _ => {}
            }
        }
        Ok(())
    }

    fn say(&mut self, message: &str) -> Result<(), Reject> {
        let Incoming { body, .. } = decode(message, self.limits);
        match body? {
            Body::Change(request) => self.change(request),
            Body::Batch(batch) => {
                let changes = check_batch(&self.state, batch.changes)?;
                if batch.apply_immediately {
                    return self.change(as_request(&last_of_each(&changes)));
                }
                let wait =
                    (debounce_ms(batch.debounce_ms) as f64 * self.frames_per_ms).round() as u64;
                self.batcher
                    .submit((), (), changes, wait, self.run.position());
                Ok(())
            }
            _ => Err(Reject::field("type", "must be one that changes something")),
        }
    }

    fn change(&mut self, request: Request) -> Result<(), Reject> {
        let accepted = apply(&mut self.state, request)?;
        for change in &accepted.changes {
            overtake(&mut self.batcher, &self.state, &change.what);
        }
        self.hand_over(&accepted.commands);
        Ok(())
    }

    fn hand_over(&mut self, commands: &[Command]) {
        self.group += 1;
        while !self.ends.commands.send(self.group, 0, commands) {
            // More at one frame than the ring holds: the engine takes it in without moving on.
            self.run.take_commands();
        }
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.advance_to(self.run.frames())?;
        self.run.finish().map_err(unwritable)?;
        Ok(())
    }
}
