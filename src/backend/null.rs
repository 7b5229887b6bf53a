//! No device: a clocked thread that calls the engine. Files or built-in voices stand in for the
//! microphones, and the master can be recorded.
//!
//! The audio thread wakes at absolute times and makes no other system call. A recording leaves it
//! through a ring; when the writer falls behind, the clock waits for it rather than lose a frame.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::thread::{ClockId, Timespec, clock_nanosleep_absolute};

use super::lookout::Lookout;
use super::{Backend, Deck, Format, Session, realtime};
use crate::cli::{Failure, sentence};
use crate::config::{Config, Realtime};
use crate::ring::{AudioReader, AudioSender, audio_ring};
use crate::voice;
use crate::wav::{self, ReadError, WavWriter, WriteError};

/// The writer may fall behind so far before the clock waits, in seconds of sound.
const RECORD_RING_S: f64 = 2.0;
/// How often the writer empties its ring.
const RECORD_EVERY: Duration = Duration::from_millis(20);
/// How long the clock waits for room in the ring before it looks again, in ns.
const ROOM_EVERY_NS: u64 = 1_000_000;
/// A clock that is later than so many blocks starts anew instead of catching up.
const LATE_BLOCKS_MAX: u64 = 10;

/// An opened null backend.
pub struct Null {
    format: Format,
    inputs: Vec<Vec<f32>>,
    recording: Option<WavWriter>,
    realtime: Realtime,
    lookout: Option<Lookout>,
}

impl Null {
    /// Reads `audio.input` (else the built-in voices) and `audio.music`, and creates
    /// `audio.output`. Without music there are no file channels, which is silence. Blocks on the
    /// disk; control side.
    pub fn open(config: &Config) -> Result<Null, Failure> {
        let audio = &config.audio;
        let rate = audio.sample_rate;
        let unreadable = |error: ReadError| Failure::usage(sentence(&error));
        if let Some(output) = &audio.output {
            for played in [&audio.input, &audio.music].into_iter().flatten() {
                wav::keep(output, played).map_err(unreadable)?;
            }
        }
        let mut inputs = match &audio.input {
            Some(path) => wav::read(path, wav::INPUT_CHANNELS_MAX, rate).map_err(unreadable)?,
            None => voice::voices(rate),
        };
        let device_channels = inputs.len() as u8;
        if let Some(path) = &audio.music {
            inputs.extend(wav::read(path, wav::MUSIC_CHANNELS_MAX, rate).map_err(unreadable)?);
        }
        let recording = match &audio.output {
            Some(path) => Some(
                WavWriter::create(path, rate).map_err(|error| Failure::failed(sentence(&error)))?,
            ),
            None => None,
        };
        let format = Format {
            backend: "null",
            sample_rate_hz: rate,
            block_frames: audio.block_frames,
            device_channels,
            file_channels: inputs.len() as u8 - device_channels,
            latency_in_ms: 0.0,
            latency_out_ms: 0.0,
        };
        Ok(Null {
            format,
            inputs,
            recording,
            realtime: config.realtime.clone(),
            lookout: None,
        })
    }

    /// It is only for as long as there is nothing better.
    pub fn outdone_by(mut self, lookout: Option<Lookout>) -> Null {
        self.lookout = lookout;
        self
    }
}

impl Backend for Null {
    fn format(&self) -> Format {
        self.format.clone()
    }

    fn lookout(&mut self) -> Option<Lookout> {
        self.lookout.take()
    }

    fn start(self: Box<Self>, deck: Deck) -> io::Result<Box<dyn Session>> {
        let Null {
            format,
            inputs,
            recording,
            realtime,
            lookout: _,
        } = *self;
        let rate = format.sample_rate_hz;
        let block = format.block_frames as usize;
        let trouble = Arc::new(OnceLock::new());
        let (sender, writer) = match recording {
            Some(writer) => {
                let (sender, reader) =
                    audio_ring(block + (f64::from(rate) * RECORD_RING_S) as usize);
                let trouble = Arc::clone(&trouble);
                let thread = Builder::new()
                    .name("rigd-record".into())
                    .spawn(move || record(reader, writer, &trouble))?;
                (Some(sender), Some(thread))
            }
            None => (None, None),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let mut stage = Stage {
            deck,
            loops: inputs
                .into_iter()
                .map(|samples| Loop::new(samples, block))
                .collect(),
            output: [vec![0.0; block], vec![0.0; block]],
            clock: Clock::new(rate, block),
            recording: sender,
            stop: Arc::clone(&stop),
        };
        let audio = Builder::new()
            .name(realtime::THREAD.into())
            .spawn(move || {
                realtime::become_realtime(&realtime);
                stage.run();
                stage.deck
            })?;
        Ok(Box::new(Running {
            stop,
            audio,
            writer,
            trouble,
        }))
    }
}

struct Running {
    stop: Arc<AtomicBool>,
    audio: JoinHandle<Deck>,
    writer: Option<JoinHandle<Result<(), WriteError>>>,
    trouble: Arc<OnceLock<String>>,
}

impl Session for Running {
    fn is_running(&self) -> bool {
        !self.audio.is_finished()
    }

    fn stop(self: Box<Self>) -> io::Result<Deck> {
        self.stop.store(true, Ordering::Release);
        let deck = self.audio.join();
        // Its ring has ended with the audio thread, so the file is finished in any case.
        if let Some(writer) = self.writer {
            writer
                .join()
                .map_err(|_| io::Error::other("the recording's thread panicked"))??;
        }
        deck.map_err(|_| io::Error::other("the audio thread panicked"))
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.get().cloned()
    }
}

/// One channel, round and round.
struct Loop {
    /// At least one.
    samples: Vec<f32>,
    at: usize,
    block: Vec<f32>,
}

impl Loop {
    fn new(samples: Vec<f32>, block: usize) -> Loop {
        Loop {
            samples,
            at: 0,
            block: vec![0.0; block],
        }
    }

    /// The next block. Realtime thread.
    fn fill(&mut self) {
        let mut rest = &mut self.block[..];
        while !rest.is_empty() {
            let count = rest.len().min(self.samples.len() - self.at);
            if count == 0 {
                self.at = 0;
                continue;
            }
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&self.samples[self.at..self.at + count]);
            self.at += count;
            rest = later;
        }
    }
}

/// What the audio thread works with. All its memory is there from the start.
struct Stage {
    deck: Deck,
    loops: Vec<Loop>,
    output: [Vec<f32>; 2],
    clock: Clock,
    recording: Option<AudioSender>,
    stop: Arc<AtomicBool>,
}

impl Stage {
    fn run(&mut self) {
        self.clock.start();
        while !self.stop.load(Ordering::Acquire) {
            self.process();
            if self.record() {
                // The writer has held the clock up; what it took is not to be caught up with.
                self.clock.start();
            } else if self.clock.wait() {
                self.deck.xrun();
            }
        }
    }

    fn process(&mut self) {
        let used = self.loops.len().min(rigd_rt::CHANNELS_MAX);
        let mut channels: [&[f32]; rigd_rt::CHANNELS_MAX] = [&[]; rigd_rt::CHANNELS_MAX];
        for (channel, from) in channels.iter_mut().zip(&mut self.loops) {
            from.fill();
            *channel = &from.block;
        }
        let [left, right] = &mut self.output;
        self.deck.process(&channels[..used], [left, right]);
    }

    /// Hands the block to the writer, and says whether the clock has had to wait for it.
    fn record(&mut self) -> bool {
        let Some(recording) = &mut self.recording else {
            return false;
        };
        let [left, right] = &self.output;
        let mut has_waited = false;
        while !recording.send(left, right) {
            if recording.is_abandoned() {
                return has_waited;
            }
            has_waited = true;
            sleep_until(now() + ROOM_EVERY_NS);
        }
        has_waited
    }
}

/// When blocks are due.
struct Clock {
    rate: u32,
    block: u64,
    started: u64,
    frames: u64,
}

impl Clock {
    fn new(rate: u32, block: usize) -> Clock {
        Clock {
            rate,
            block: block as u64,
            started: 0,
            frames: 0,
        }
    }

    /// Frame 0 is now.
    fn start(&mut self) {
        (self.started, self.frames) = (now(), 0);
    }

    /// Sleeps until the sound of the block that has been computed would be over. `true`: that was
    /// more than a block ago; if it was many, the clock starts anew.
    fn wait(&mut self) -> bool {
        self.frames += self.block;
        let due = self.started + nanoseconds(self.frames, self.rate);
        let period = nanoseconds(self.block, self.rate);
        let late = now().saturating_sub(due);
        if late == 0 {
            sleep_until(due);
        } else if late > LATE_BLOCKS_MAX * period {
            self.start();
        }
        late > period
    }
}

/// The monotonic clock, in ns. No system call: the kernel maps its clock into the process.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn nanoseconds(frames: u64, rate: u32) -> u64 {
    (u128::from(frames) * 1_000_000_000 / u128::from(rate)) as u64
}

fn sleep_until(time: u64) {
    let request = Timespec {
        tv_sec: (time / 1_000_000_000) as _,
        tv_nsec: (time % 1_000_000_000) as _,
    };
    // The only error is a signal, after which the time is still the same.
    while clock_nanosleep_absolute(ClockId::Monotonic, &request).is_err() {}
}

/// The writer's thread: writes what comes until the audio thread has gone. When it cannot, it ends,
/// and the sound goes on.
fn record(
    mut reader: AudioReader,
    mut writer: WavWriter,
    trouble: &OnceLock<String>,
) -> Result<(), WriteError> {
    let path = writer.path().to_owned();
    let result = loop {
        // Asked before the ring is emptied, so that what came last is written.
        let is_last = reader.is_abandoned();
        if let Err(error) = reader.by_ref().try_for_each(|frame| writer.push(frame)) {
            break Err(error);
        }
        if is_last {
            break writer.finish();
        }
        std::thread::sleep(RECORD_EVERY);
    };
    match &result {
        Ok(()) => log::info!("the recording {} is complete", path.display()),
        Err(error) => {
            let sentence = format!("The recording has stopped: {error}.");
            log::error!("{sentence} Sound goes on");
            let _ = trouble.set(sentence);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rigd_rt::Engine;

    use super::*;
    use crate::ring::{ControlEnds, rings};

    const BLOCK: usize = 64;

    fn stage(recording: Option<AudioSender>) -> (Stage, ControlEnds, Arc<AtomicBool>) {
        let (control, ends) = rings();
        let pool = Box::leak(vec![0.0; 1024].into_boxed_slice());
        let stop = Arc::new(AtomicBool::new(false));
        let stage = Stage {
            deck: Deck::new(Box::new(Engine::new(48_000, 0, pool)), ends, 48_000),
            loops: vec![Loop::new(vec![0.1; 100], BLOCK)],
            output: [vec![0.0; BLOCK], vec![0.0; BLOCK]],
            clock: Clock::new(48_000, BLOCK),
            recording,
            stop: Arc::clone(&stop),
        };
        (stage, control, stop)
    }

    #[test]
    fn the_clock_slows_rather_than_lose_a_frame() {
        let (sender, mut reader) = audio_ring(3 * BLOCK);
        let (mut stage, _control, stop) = stage(Some(sender));
        let begun = Instant::now();
        let audio = std::thread::spawn(move || {
            stage.run();
            stage.deck.frame()
        });
        // A writer that takes ten times as long as the sound.
        let mut written = 0;
        for _ in 0..30 {
            written += reader.by_ref().take(BLOCK).count() as u64;
            std::thread::sleep(Duration::from_millis(13));
        }
        stop.store(true, Ordering::Release);
        let elapsed = begun.elapsed().as_secs_f64();
        // It ends whole, even where it stands in front of a full ring.
        while !audio.is_finished() {
            written += reader.by_ref().count() as u64;
        }
        written += reader.by_ref().count() as u64;
        let computed = audio.join().unwrap();
        assert_eq!(written, computed);
        assert!((computed as f64) < 0.5 * elapsed * 48_000.0);
    }

    #[test]
    fn a_writer_that_is_gone_holds_nothing_up() {
        let (sender, reader) = audio_ring(3 * BLOCK);
        let (mut stage, _control, stop) = stage(Some(sender));
        drop(reader);
        let audio = std::thread::spawn(move || {
            stage.run();
            stage.deck.frame()
        });
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Release);
        assert!(audio.join().unwrap() > 20 * BLOCK as u64);
    }

    #[test]
    fn a_clock_that_was_late_for_long_does_not_race() {
        // Long blocks, so that a busy machine does not matter.
        let block = 4_800;
        let mut clock = Clock::new(48_000, block);
        clock.start();
        assert!(!clock.wait(), "on time");
        clock.started -= 5 * nanoseconds(block as u64, 48_000);
        assert!(clock.wait(), "late, and caught up with");
        assert_ne!(clock.frames, 0);
        clock.started -= 20 * nanoseconds(block as u64, 48_000);
        assert!(clock.wait(), "far too late");
        assert_eq!(clock.frames, 0, "so it starts anew");
        assert!(!clock.wait());
    }

    #[test]
    fn loops_of_any_length_go_round_without_a_gap() {
        for length in [1, 7, 63, 64, 65, 200] {
            let samples: Vec<f32> = (0..length).map(|n| n as f32).collect();
            let mut source = Loop::new(samples.clone(), BLOCK);
            let mut expected = samples.iter().cycle();
            for _ in 0..10 {
                source.fill();
                assert!(source.block.iter().all(|s| Some(s) == expected.next()));
            }
        }
    }
}
