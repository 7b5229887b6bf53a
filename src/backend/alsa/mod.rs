//! An ALSA card, without a server in between.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the card: opened, run, opened again |
//! | `library.rs` | ALSA's library, loaded at run time |
//! | `cards.rs` | which cards there are, and what they offer |
//! | `mixer.rs` | a card's hardware mixer |
//! | `audible.rs` | of that, what a card that comes up mute needs |
//! | `names.rs` | which of them the settings mean |
//! | `side.rs` | one side of a card: opened, set up, blocks moved |
//! | `sample.rs` | a card's samples and the engine's |
//! | `stream.rs` | the audio thread |
//!
//! A card is known by its id, never by its number: whatever is plugged in meanwhile, it is the same one
//! that is opened again.

pub mod audible;
pub mod cards;
pub mod library;
pub mod mixer;
pub mod names;
pub mod sample;
pub mod side;
pub mod stream;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use alsa::Direction;

use super::lookout::Lookout;
use super::{Backend, Deck, Format, Reopen, Session, realtime};
use crate::cli::Failure;
use crate::config::{Config, DEVICE_CHANNELS_MAX};
use crate::rig::state::MicFeed;
use names::{Names, Rank};
use side::{Refusal, Side, Wish};
use stream::{Shared, Stream, Waiting};

/// How long a card that is gone is waited for before a spare one is taken.
const SPARE_AFTER: Duration = Duration::from_secs(5);

/// An opened card, silent: it does not run yet.
pub struct Alsa {
    capture: Option<Side>,
    playback: Side,
    front: [usize; 2],
    are_linked: bool,
    queue_frames: usize,
    waiting: Waiting,
    format: Format,
    names: Names,
    config: Config,
}

impl Alsa {
    /// Opens the card that the settings mean. Control side.
    pub fn open(config: &Config) -> Result<Alsa, Failure> {
        library::load().map_err(|missing| {
            Failure::failed(format!(
                "ALSA's library cannot be loaded ({missing}): install it (Debian's package libasound2), \
                 or start rigd with --backend null."
            ))
        })?;
        let mut none = Failure::failed(
            "There is no sound card that plays: plug one in (`aplay -l` lists them), or start rigd with \
             --backend null.",
        );
        // Where it is left to rigd, one that cannot be opened does not keep the next from being tried: a
        // screen's sound, say, that takes a format of its own. What the best one's fault is, is told.
        for (tried, names) in names::meant(&config.alsa, &cards::cards())
            .into_iter()
            .enumerate()
        {
            match Alsa::open_named(config, names) {
                Ok(alsa) => return Ok(alsa),
                Err(failure) if tried == 0 => none = failure,
                Err(failure) => log::debug!("{failure}"),
            }
        }
        Err(none)
    }

    /// Of what it plays to.
    pub fn name(&self) -> &str {
        &self.names.playback
    }

    /// How good a choice it is.
    pub fn rank(&self) -> Rank {
        self.names.rank()
    }

    fn open_named(config: &Config, mut names: Names) -> Result<Alsa, Failure> {
        let playback = open_side(config, &names.playback, None)?;
        audible::wake(&config.mixer, &names.playback);
        let rate = playback.rate_hz;
        let capture = match &names.capture {
            None => None,
            Some(pcm) => match open_side(config, pcm, Some(&playback)) {
                Ok(side) => Some(side),
                Err(failure) if names.needs_capture => return Err(failure),
                Err(failure) => {
                    log::info!("no microphones: {failure}");
                    None
                }
            },
        };
        // What was there once is to be there again.
        (names.needs_capture, names.capture) = match &capture {
            Some(_) => (true, names.capture),
            None => (false, None),
        };
        if let Some(capture) = &capture {
            check_clocks(config, capture, &playback)?;
        }
        let front = front(config, &names.playback, &playback)?;
        let busy = |error: alsa::Error| {
            Failure::failed(format!(
                "The sound card {} cannot be set up ({error}): try another audio.block_frames or \
                 alsa.periods.",
                names.playback
            ))
        };
        let block = playback.period_frames;
        let asked = block.saturating_mul(config.alsa.periods as usize);
        let queue_frames = playback.buffer_frames.min(asked);
        playback
            .wake_at(playback.buffer_frames - queue_frames + block)
            .map_err(busy)?;
        if let Some(capture) = &capture {
            capture.wake_at(block).map_err(busy)?;
        }
        let waiting = Waiting::new(capture.as_ref(), &playback).map_err(busy)?;
        let are_linked = capture
            .as_ref()
            .is_some_and(|capture| capture.link(&playback));
        let inputs = capture.as_ref().map_or(0, |side| side.layout.channels);
        let ms = |frames: usize| frames as f64 * 1000.0 / f64::from(rate);
        let format = Format {
            backend: "alsa",
            sample_rate_hz: rate,
            block_frames: block as u32,
            device_channels: inputs.min(usize::from(DEVICE_CHANNELS_MAX)) as u8,
            file_channels: 0,
            latency_in_ms: if inputs == 0 { 0.0 } else { ms(block) },
            // When a block has been written, its first frame waits behind those.
            latency_out_ms: ms(queue_frames - block),
        };
        Ok(Alsa {
            capture,
            playback,
            front,
            are_linked,
            queue_frames,
            waiting,
            format,
            names,
            config: config.clone(),
        })
    }
}

impl Backend for Alsa {
    fn format(&self) -> Format {
        self.format.clone()
    }

    fn mic_feed(&self) -> MicFeed {
        MicFeed::Device
    }

    fn lookout(&mut self) -> Option<Lookout> {
        Lookout::where_it_is_due(&self.config, Some(self.rank()))
    }

    fn start(self: Box<Self>, mut deck: Deck) -> io::Result<Box<dyn Session>> {
        let Alsa {
            capture,
            playback,
            front,
            are_linked,
            queue_frames,
            mut waiting,
            format,
            names,
            config,
        } = *self;
        deck.fade_in();
        log::info!(
            "ALSA plays to {} ({}; left and right are its channels {} and {})",
            names.playback,
            playback.describe(),
            front[0] + 1,
            front[1] + 1
        );
        match (&capture, &names.capture) {
            (Some(side), Some(name)) => log::info!(
                "ALSA records from {name} ({}; {})",
                side.describe(),
                if are_linked {
                    "started together"
                } else {
                    "started one after the other"
                }
            ),
            _ => log::info!("ALSA records from nothing: inputs are silent"),
        }
        let block = format.block_frames as usize;
        let shared = Arc::new(Shared::default());
        let mut stream = Stream {
            inputs: vec![vec![0.0; block]; usize::from(format.device_channels)],
            master: [vec![0.0; block], vec![0.0; block]],
            capture,
            playback,
            front,
            queue_frames,
            deck,
            shared: Arc::clone(&shared),
        };
        let settings = config.realtime.clone();
        let audio = Builder::new()
            .name(realtime::THREAD.into())
            .spawn(move || {
                realtime::become_realtime(&settings);
                stream.run(&mut waiting);
                stream.deck
            })?;
        Ok(Box::new(Running {
            shared,
            audio,
            names,
            config,
        }))
    }
}

struct Running {
    shared: Arc<Shared>,
    audio: JoinHandle<Deck>,
    names: Names,
    config: Config,
}

impl Session for Running {
    fn is_running(&self) -> bool {
        !self.audio.is_finished()
    }

    fn ended(&self) -> String {
        let card = &self.names.playback;
        match self.shared.errno.load(Ordering::Acquire) {
            libc::ENODEV | libc::ENXIO | libc::EBADF | libc::EBADFD => {
                format!("the sound card {card} is gone: plug it in again")
            }
            libc::ETIMEDOUT => {
                format!("the sound card {card} stands still: unplug it and plug it in again")
            }
            0 => "the audio thread has ended".to_owned(),
            errno => format!(
                "the sound card {card} does not go on ({}): look at `dmesg`",
                io::Error::from_raw_os_error(errno)
            ),
        }
    }

    fn reopen(&self) -> Option<Reopen> {
        let (config, names) = (self.config.clone(), self.names.clone());
        let missed_since = Cell::new(None);
        Some(Box::new(move || {
            // One that was unplugged comes back as it was made; a control that is missing now costs no sound.
            if let Err(failure) = mixer::apply(&config.mixer, &config.alsa) {
                log::warn!("{failure}");
            }
            let missing = match Alsa::open_named(&config, names.clone()) {
                Ok(alsa) => return Ok(Box::new(alsa)),
                Err(missing) => missing,
            };
            let since = missed_since.get().unwrap_or_else(Instant::now);
            missed_since.set(Some(since));
            if since.elapsed() < SPARE_AFTER || !names::are_left_to_rigd(&config.alsa) {
                return Err(missing);
            }
            match Alsa::open(&config) {
                Ok(spare) if spare.rank().records || names.capture.is_none() => {
                    log::info!("{} is taken instead of {}", spare.name(), names.playback);
                    Ok(Box::new(spare))
                }
                _ => Err(missing),
            }
        }))
    }

    fn stop(self: Box<Self>) -> io::Result<Deck> {
        self.shared.stop.store(true, Ordering::Release);
        self.audio
            .join()
            .map_err(|_| io::Error::other("the audio thread panicked"))
    }
}

/// `playback`: the side that this one is to keep up with; without it, it is that side.
fn open_side(config: &Config, pcm: &str, playback: Option<&Side>) -> Result<Side, Failure> {
    let is_playback = playback.is_none();
    let direction = if is_playback {
        Direction::Playback
    } else {
        Direction::Capture
    };
    let wish = Wish {
        pcm: pcm.to_owned(),
        rate_hz: playback.map_or(config.audio.sample_rate, |side| side.rate_hz),
        follows: !is_playback,
        block_frames: playback.map_or(config.audio.block_frames as usize, |side| {
            side.period_frames
        }),
        // What comes late from microphones is not heard later; a long buffer costs nothing.
        periods: config.alsa.periods.max(if is_playback { 2 } else { 4 }),
        formats: side::formats(&config.alsa.format),
        channels: if is_playback {
            config.alsa.playback_channels
        } else {
            config.alsa.capture_channels
        },
    };
    Side::open(&wish, direction).map_err(|refusal| {
        let side = if is_playback { "playback" } else { "capture" };
        Failure::failed(sentence(&refusal, &wish, side))
    })
}

fn sentence(refusal: &Refusal, wish: &Wish, side: &str) -> String {
    let pcm = &wish.pcm;
    match refusal {
        Refusal::Closed(error) => {
            let there = cards::list(&cards::cards());
            let advice = match error.errno() {
                libc::EBUSY => {
                    "another program has it, such as a sound server or a second rigd: end that (`fuser -v \
                     /dev/snd/*` names it), or play through it with --backend jack"
                }
                libc::EACCES | libc::EPERM => {
                    "rigd may not use it: add its user to the group audio, or start it as another"
                }
                _ => "name one that is there in alsa.device, or start rigd with --backend null",
            };
            format!(
                "The sound card {pcm} cannot be opened for {side} ({error}). There is {there}: {advice}."
            )
        }
        Refusal::Access => format!(
            "The sound card {pcm} keeps the channels of {side} one behind the other, which rigd does not \
             speak: let ALSA convert, with plug{pcm} in alsa.device."
        ),
        Refusal::Formats => {
            let names: Vec<&str> = wish
                .formats
                .iter()
                .map(|format| side::name(*format))
                .collect();
            format!(
                "The sound card {pcm} has for {side} none of the formats that were asked for ({}): leave \
                 alsa.format out, or let ALSA convert, with plug{pcm} in alsa.device.",
                names.join(", ")
            )
        }
        Refusal::Channels(least, most) => format!(
            "The sound card {pcm} has {least} to {most} channels for {side}, not {}: set \
             alsa.{side}_channels to what it has, or to 0.",
            wish.channels
        ),
        Refusal::Rate(rate_hz) => format!(
            "The sound card {pcm} runs at {rate_hz} Hz for {side}, and the other side at {} Hz: set \
             audio.sample_rate to one that both have.",
            wish.rate_hz
        ),
        Refusal::Buffer(buffer, period) => format!(
            "The sound card {pcm} has a buffer of {buffer} frames for {side}, and a block has {period}, which \
             leaves no time to compute anything: try another audio.block_frames or alsa.periods."
        ),
        Refusal::Setup(error) => format!(
            "The sound card {pcm} cannot be set up for {side} ({error}): try another audio.sample_rate, \
             audio.block_frames or alsa.periods."
        ),
    }
}

/// The channels of left and right, from 0.
fn front(config: &Config, name: &str, playback: &Side) -> Result<[usize; 2], Failure> {
    let [left, right] = config.alsa.master[..] else {
        return Ok(playback.front());
    };
    let channels = playback.layout.channels;
    if left.max(right) > channels {
        return Err(Failure::usage(format!(
            "alsa.master names the channels {left} and {right}, and the sound card {name} has {channels} to \
             play: name two of those."
        )));
    }
    Ok([left - 1, right - 1])
}

/// Two cards have two clocks. They differ by some frames a minute, and sooner or later one side has too
/// many or too few.
fn check_clocks(config: &Config, capture: &Side, playback: &Side) -> Result<(), Failure> {
    let (Some(from), Some(to)) = (capture.card, playback.card) else {
        return Ok(());
    };
    if from == to || config.alsa.one_clock {
        return Ok(());
    }
    let name = |number: i32| {
        alsa::Card::new(number)
            .get_name()
            .unwrap_or_else(|_| format!("card {number}"))
    };
    Err(Failure::failed(format!(
        "{} records and {} plays, each by a clock of its own, so they drift apart: use one card for both (a \
         USB interface with microphone inputs and line outputs). If a cable keeps their clocks together, set \
         alsa.one_clock = true; to play only, set alsa.capture = \"none\".",
        name(from),
        name(to)
    )))
}
