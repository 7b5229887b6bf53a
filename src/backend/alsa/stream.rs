//! The audio thread: waits for the card, and moves a block from its microphones through the engine to its
//! loudspeakers.
//!
//! The loudspeakers' buffer is filled with silence before they start, so nothing old is ever heard. While
//! all is well the only system calls are `poll` and what the card's driver needs to be told. A block that
//! came too late (an xrun), and a sleep of the whole box, end in a fresh start with a silent buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use alsa::Error;
use alsa::poll::pollfd;

use super::side::Side;
use crate::backend::Deck;

/// How long a wait may last before the thread looks around, in ms.
const LOOK_EVERY_MS: i32 = 100;
/// A card that has not moved for so many of those is started anew.
const STILL_MAX: u32 = 10;
/// Times that the thread may be woken for nothing before the card is started anew: without a bound, a
/// driver that never sleeps would take the processor from everybody.
const WAKES_MAX: u32 = 10_000;
/// Fresh starts without a block in between; after that the card is taken to be gone,
const STARTS_MAX: u32 = 5;
/// and one that stands still after so many.
const STILL_STARTS_MAX: u32 = 2;
/// Attempts to wake a card that sleeps, one each [`LOOK_EVERY_MS`]; after that it is started anew.
const RESUMES_MAX: u32 = 50;

/// What the audio thread and the control side tell each other.
#[derive(Default)]
pub struct Shared {
    /// The thread is to end.
    pub stop: AtomicBool,
    /// The number of the error that it has ended with; 0: none.
    pub errno: AtomicI32,
}

/// What the audio thread works with. All its memory is there from the start.
pub struct Stream {
    /// `None`: all inputs are silent.
    pub capture: Option<Side>,
    /// The clock of everything.
    pub playback: Side,
    /// Which of its channels are left and right, from 0.
    pub front: [usize; 2],
    /// Frames that wait in front of the loudspeakers once a block has been written.
    pub queue_frames: usize,
    /// A block of each channel of the microphones.
    pub inputs: Vec<Vec<f32>>,
    /// A block of the master.
    pub master: [Vec<f32>; 2],
    /// The engine.
    pub deck: Deck,
    /// With the control side.
    pub shared: Arc<Shared>,
}

/// What is waited for.
pub struct Waiting {
    /// Of the microphones, then of the loudspeakers.
    all: Vec<pollfd>,
    of_capture: usize,
    /// What the system is given: those of a side that is ready are left out.
    asked: Vec<pollfd>,
}

impl Waiting {
    /// Control side, before the thread runs.
    pub fn new(capture: Option<&Side>, playback: &Side) -> Result<Waiting, Error> {
        let mut all = match capture {
            Some(capture) => capture.descriptors()?,
            None => Vec::new(),
        };
        let of_capture = all.len();
        all.extend(playback.descriptors()?);
        Ok(Waiting {
            asked: all.clone(),
            all,
            of_capture,
        })
    }

    /// Waits for the sides that are not ready. `false`: in vain.
    fn wait(&mut self, capture: bool, playback: bool) -> Result<bool, Error> {
        self.asked.copy_from_slice(&self.all);
        let (first, second) = self.asked.split_at_mut(self.of_capture);
        for (side, is_asked) in [(first, capture), (second, playback)] {
            if !is_asked {
                // The system takes no notice of a negative one.
                side.iter_mut().for_each(|one| one.fd = -1);
            }
        }
        let count = self.asked.len() as libc::nfds_t;
        // SAFETY: the pointer and the count are those of one vector.
        match unsafe { libc::poll(self.asked.as_mut_ptr(), count, LOOK_EVERY_MS) } {
            0 => Ok(false),
            1.. => Ok(true),
            _ => match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => Ok(true),
                errno => Err(Error::new("poll", errno.unwrap_or(libc::EIO))),
            },
        }
    }

    fn capture(&self) -> &[pollfd] {
        &self.asked[..self.of_capture]
    }

    fn playback(&self) -> &[pollfd] {
        &self.asked[self.of_capture..]
    }
}

impl Stream {
    /// Until it is told to end, or the card is gone.
    pub fn run(&mut self, waiting: &mut Waiting) {
        let mut starts = 0;
        let mut result = self.begin();
        while !self.is_stopped() {
            match result.and_then(|()| self.turn(waiting)) {
                Ok(()) => {
                    starts = 0;
                    result = Ok(());
                }
                Err(error) if starts < starts_max(error) => {
                    starts += 1;
                    self.deck.xrun();
                    result = self.recover(error);
                }
                Err(error) => {
                    self.shared
                        .errno
                        .store(error.errno().abs(), Ordering::Release);
                    break;
                }
            }
        }
        self.sides().for_each(Side::stop);
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        self.capture.iter().chain([&self.playback])
    }

    /// From silence.
    fn begin(&mut self) -> Result<(), Error> {
        self.sides().try_for_each(Side::prepare)?;
        self.master.iter_mut().for_each(|side| side.fill(0.0));
        let mut filled = 0;
        while filled < self.queue_frames {
            let count = self.master[0].len().min(self.queue_frames - filled);
            let [left, right] = self.master.each_ref().map(|side| &side[..count]);
            self.playback.write([left, right], self.front)?;
            filled += count;
        }
        // The microphones first: where the sides start one after the other, they are the ones to wait.
        self.sides().try_for_each(Side::start)
    }

    fn recover(&mut self, error: Error) -> Result<(), Error> {
        if error.errno() == libc::ESTRPIPE {
            for _ in 0..RESUMES_MAX {
                let is_asleep = |result: Result<(), Error>| {
                    result.is_err_and(|error| error.errno() == libc::EAGAIN)
                };
                if self.is_stopped() || !self.sides().any(|side| is_asleep(side.resume())) {
                    break;
                }
                // SAFETY: there is nothing to wait for but the time.
                unsafe { libc::poll(std::ptr::null_mut(), 0, LOOK_EVERY_MS) };
            }
        }
        self.begin()
    }

    /// Waits for a block and does it, or for nothing if the thread is to end.
    fn turn(&mut self, waiting: &mut Waiting) -> Result<(), Error> {
        let block = self.master[0].len();
        // Of the buffer, what is beyond the queue stays empty.
        let beyond = self.playback.buffer_frames - self.queue_frames;
        let mut still = 0;
        for _ in 0..WAKES_MAX {
            let heard = match &self.capture {
                Some(capture) => capture.available()? >= block,
                None => true,
            };
            let has_room = self.playback.available()? >= beyond + block;
            if heard && has_room {
                return self.block();
            }
            if self.is_stopped() {
                return Ok(());
            }
            if waiting.wait(!heard, !has_room)? {
                still = 0;
                if let Some(capture) = self.capture.as_ref().filter(|_| !heard) {
                    capture.woken(waiting.capture())?;
                }
                if !has_room {
                    self.playback.woken(waiting.playback())?;
                }
                continue;
            }
            still += 1;
            if still >= STILL_MAX {
                break;
            }
        }
        Err(Error::new("poll", libc::ETIMEDOUT))
    }

    /// All of a block but the wait for it. Wait-free, as far as the card's driver is.
    #[cfg_attr(feature = "rtsan", rtsan_standalone::nonblocking)]
    fn block(&mut self) -> Result<(), Error> {
        if let Some(capture) = &mut self.capture {
            capture.read(&mut self.inputs)?;
        }
        let mut channels: [&[f32]; rigd_rt::CHANNELS_MAX] = [&[]; rigd_rt::CHANNELS_MAX];
        for (channel, samples) in channels.iter_mut().zip(&self.inputs) {
            *channel = samples;
        }
        let used = self.inputs.len().min(rigd_rt::CHANNELS_MAX);
        let [left, right] = &mut self.master;
        self.deck.process(&channels[..used], [left, right]);
        if self.front[0] == self.front[1] {
            for (left, right) in left.iter_mut().zip(right.iter_mut()) {
                *left = 0.5 * (*left + *right);
                *right = *left;
            }
        }
        self.playback.write([left, right], self.front)
    }
}

/// How often a fresh start is tried.
fn starts_max(error: Error) -> u32 {
    // Of some functions the crate tells the number with its sign.
    match error.errno().abs() {
        libc::ENODEV | libc::ENXIO | libc::EBADF => 0,
        libc::ETIMEDOUT => STILL_STARTS_MAX,
        _ => STARTS_MAX,
    }
}
