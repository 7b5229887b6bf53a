//! Backends: where sound comes from and goes to. Each owns the thread (or the callback) that
//! calls [`Deck::process`], and nothing else does.
//!
//! `null` is a clocked thread with no device; `file` runs as fast as it can, for `rigd render`;
//! `jack` is a client of a JACK server, `alsa` has a card to itself. All fit the same two traits: open the device and say its
//! [`Format`], then take the [`Deck`] onto its thread, then give it back. [`keeper`] looks after the
//! one that runs, and opens it again when its device or server has gone away; [`lookout`] knows of what
//! would be better than it.

pub mod alsa;
pub mod file;
pub mod jack;
pub mod keeper;
pub mod lookout;
pub mod null;
pub mod probe;
pub mod realtime;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rigd_rt::{Engine, Outbox, Report};

use self::lookout::Lookout;
use self::probe::Probe;
use crate::cli::Failure;
use crate::config::{BackendChoice, Config};
use crate::rig::state::{Input, MicFeed};
use crate::ring::EngineEnds;

/// What an opened backend offers. Channels are numbered device first, then file.
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    /// `"null"`, `"file"`, `"jack"`, `"alsa"`.
    pub backend: &'static str,
    /// Frames per second.
    pub sample_rate_hz: u32,
    /// Frames per callback.
    pub block_frames: u32,
    /// Channels of `device:N` inputs.
    pub device_channels: u8,
    /// Channels of the `file` input: 0, 1 or 2.
    pub file_channels: u8,
    /// From the microphone to the engine.
    pub latency_in_ms: f64,
    /// From the engine to the loudspeaker.
    pub latency_out_ms: f64,
}

/// An opened backend that does not run yet. Control side.
pub trait Backend: Send {
    /// What it offers; the rate is fixed from opening to stopping.
    fn format(&self) -> Format;
    /// How microphones find their channels here.
    fn mic_feed(&self) -> MicFeed {
        MicFeed::InOrderLooped
    }
    /// Who looks for a better one, where the settings leave the choice to rigd and there may be one later.
    fn lookout(&mut self) -> Option<Lookout> {
        None
    }
    /// Starts calling [`Deck::process`].
    fn start(self: Box<Self>, deck: Deck) -> io::Result<Box<dyn Session>>;
}

/// What the tracks want of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those whose sound comes from a device.
    pub inputs: Vec<Input>,
    /// Frames that the slowest way through the engine takes.
    pub latency_frames: u32,
}

/// Opens a backend again: the same device or server, with what was known about it.
pub type Reopen = Box<dyn Fn() -> Result<Box<dyn Backend>, Failure> + Send>;

/// A running backend. Control side.
pub trait Session: Send {
    /// Whether it still calls the engine; `false` once its device, its server or its file is gone.
    fn is_running(&self) -> bool;
    /// Stops it and gives the engine back for the next one; `Err` when a file could not be
    /// written to its end (which [`Session::trouble`] may have told before) or its thread panicked.
    fn stop(self: Box<Self>) -> io::Result<Deck>;
    /// What has gone wrong beside the sound, which goes on: a sentence that says what to do.
    fn trouble(&self) -> Option<String> {
        None
    }
    /// Why it does not run any more.
    fn ended(&self) -> String {
        "the audio thread has ended".to_owned()
    }
    /// Whether another program's clock calls the engine: then it may pause without a fault of rigd's.
    fn is_paced_elsewhere(&self) -> bool {
        false
    }
    /// Does what the tracks want, and whatever else is due. Called every few ms while it runs.
    fn tend(&mut self, _wanted: &Wanted) {}
    /// What it offers now, where that may change while it runs.
    fn format(&self) -> Option<Format> {
        None
    }
    /// What opens it again when it has ended; `None` where nothing can come back.
    fn reopen(&self) -> Option<Reopen> {
        None
    }
}

/// Opens the backend that the settings name.
pub fn open(config: &Config) -> Result<Box<dyn Backend>, Failure> {
    let audio = &config.audio;
    if let Err(failure) = alsa::mixer::apply(&config.mixer, &config.alsa) {
        // One that is plugged in later is set then.
        if audio.backend != BackendChoice::Auto
            || alsa::mixer::is_there(&config.mixer, &config.alsa)
        {
            return Err(failure);
        }
        log::warn!("{failure}");
    }
    let file = [&audio.input, &audio.music, &audio.output]
        .into_iter()
        .flatten()
        .next();
    match audio.backend {
        BackendChoice::Null => log::info!("backend null: as the settings say"),
        BackendChoice::Jack => {
            if let Some(file) = file {
                return Err(Failure::usage(format!(
                    "The JACK backend plays and records no files ({}): leave audio.input, audio.music \
                     and audio.output out, or start rigd with --backend null.",
                    file.display()
                )));
            }
            let jack = jack::Jack::open(config)?;
            log::info!("backend jack: as the settings say");
            return Ok(Box::new(jack));
        }
        BackendChoice::Alsa => {
            if let Some(file) = file {
                return Err(Failure::usage(format!(
                    "The ALSA backend plays and records no files ({}): leave audio.input, audio.music \
                     and audio.output out, or start rigd with --backend null.",
                    file.display()
                )));
            }
            let alsa = alsa::Alsa::open(config)?;
            log::info!("backend alsa: as the settings say");
            return Ok(Box::new(alsa));
        }
        BackendChoice::Auto => {
            if let Some(file) = file {
                let file = file.display();
                log::info!("backend null: no other plays or records files ({file})");
            } else {
                return open_first(config);
            }
        }
    }
    Ok(Box::new(null::Null::open(config)?))
}

/// A JACK server, else a card, else null until there is a card.
fn open_first(config: &Config) -> Result<Box<dyn Backend>, Failure> {
    let no_jack = match jack::Jack::open(config) {
        Ok(jack) => {
            log::info!("backend jack: a JACK server runs");
            return Ok(Box::new(jack));
        }
        Err(failure) => failure,
    };
    match alsa::Alsa::open(config) {
        Ok(alsa) => {
            log::info!("backend alsa: {} is there. {no_jack}", alsa.name());
            Ok(Box::new(alsa))
        }
        Err(no_card) => {
            log::info!("backend null, which is silent. {no_jack} {no_card}");
            let lookout = Lookout::where_it_is_due(config, None);
            Ok(Box::new(null::Null::open(config)?.outdone_by(lookout)))
        }
    }
}

/// Blocks between two [`Report::Load`] reports, in seconds of sound.
const LOAD_WINDOW_S: f64 = 0.1;

/// What runs in the callback: the engine with its ends of the rings, or a measurement.
pub struct Deck {
    work: Work,
    sample_rate_hz: f64,
    xruns: u32,
    window: LoadWindow,
    blocks: Arc<AtomicU64>,
}

/// What a deck does with a block.
pub enum Work {
    /// The rig.
    Rig(Box<Engine>, EngineEnds),
    /// `rigd doctor --loopback`.
    Probe(Box<Probe>),
}

#[derive(Default)]
struct LoadWindow {
    frames: u64,
    busy: Duration,
    worst: f32,
}

impl Deck {
    /// Puts an engine and its rings together. Control side.
    pub fn new(engine: Box<Engine>, ends: EngineEnds, sample_rate_hz: u32) -> Deck {
        Deck::of(Work::Rig(engine, ends), sample_rate_hz)
    }

    /// Measures instead of making music. Control side.
    pub fn of(work: Work, sample_rate_hz: u32) -> Deck {
        Deck {
            work,
            sample_rate_hz: f64::from(sample_rate_hz),
            xruns: 0,
            window: LoadWindow::default(),
            blocks: Arc::default(),
        }
    }

    /// Counts blocks here, for a watchdog to see that they go on. Control side, before the first block.
    pub fn count_blocks_on(&mut self, blocks: Arc<AtomicU64>) {
        self.blocks = blocks;
    }

    /// Lets the sound come up from silence. Control side, before the first block.
    pub fn fade_in(&mut self) {
        if let Work::Rig(engine, _) = &mut self.work {
            engine.fade_in();
        }
    }

    /// The number of the next frame. The thread that has the deck.
    pub fn frame(&self) -> u64 {
        match &self.work {
            Work::Rig(engine, _) => engine.frame(),
            Work::Probe(_) => 0,
        }
    }

    /// Computes one block of `output[0].len()` frames. Realtime thread; wait-free.
    #[cfg_attr(feature = "rtsan", rtsan_standalone::nonblocking)]
    pub fn process(&mut self, inputs: &[&[f32]], output: [&mut [f32]; 2]) {
        let frames = output[0].len();
        let started = Instant::now();
        // Nobody else writes it: no read-modify-write is needed.
        let blocks = self.blocks.load(Ordering::Relaxed);
        self.blocks.store(blocks.wrapping_add(1), Ordering::Relaxed);
        match &mut self.work {
            Work::Rig(engine, ends) => {
                engine.process(inputs, output, &mut ends.commands, &mut ends.reports);
            }
            Work::Probe(probe) => probe.process(inputs, output),
        }
        self.account(frames, started.elapsed());
    }

    /// Counts a block that came too late. Realtime thread; wait-free.
    pub fn xrun(&mut self) {
        self.xruns = self.xruns.saturating_add(1);
        if let Work::Probe(probe) = &mut self.work {
            probe.xrun();
        }
    }

    /// Takes the deck apart; the next engine wants the pool. Control side.
    pub fn into_work(self) -> Work {
        self.work
    }

    fn account(&mut self, frames: usize, busy: Duration) {
        if frames == 0 {
            return;
        }
        let share = (busy.as_secs_f64() * self.sample_rate_hz / frames as f64) as f32;
        let window = &mut self.window;
        window.frames += frames as u64;
        window.busy += busy;
        if share > window.worst {
            window.worst = share;
        }
        let budget_s = window.frames as f64 / self.sample_rate_hz;
        if budget_s >= LOAD_WINDOW_S {
            let report = Report::Load {
                xruns: self.xruns,
                mean: (window.busy.as_secs_f64() / budget_s) as f32,
                worst: window.worst,
            };
            // A full ring loses this report only; the next one carries the same counts.
            if let Work::Rig(_, ends) = &mut self.work {
                let _ = ends.reports.push(report);
            }
            self.window = LoadWindow::default();
        }
    }
}
