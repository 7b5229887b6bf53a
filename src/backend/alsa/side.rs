//! One side of a card: a PCM that is opened and set up, and moves whole blocks.
//!
//! Sound goes straight to and from the card's memory (mmap) where the card offers that with its channels
//! beside each other; else the kernel copies it.

use alsa::pcm::{Access, ChmapPosition, Format, HwParams, IO, PCM, State};
use alsa::poll::{Descriptors, Flags, pollfd};
use alsa::{Direction, Error, ValueOr};

use super::sample::{FORMATS, Layout};

/// More channels than this no card has: it is a plugin that takes any number,
const CHANNELS_MAX: u32 = 256;
/// and gets this one if none is asked for.
const ANY_CHANNELS: u32 = 2;

/// What a side is asked to be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// As ALSA names it.
    pub pcm: String,
    /// Frames per second.
    pub rate_hz: u32,
    /// Rate and blocks are those of the other side: another rate is of no use, rather than taken.
    pub follows: bool,
    /// Frames of a block.
    pub block_frames: usize,
    /// Blocks that the buffer holds.
    pub periods: u32,
    /// The first that fits is taken.
    pub formats: Vec<Format>,
    /// 0: as many as there are.
    pub channels: u32,
}

/// Why there is no side: what was asked, and what the card said to it.
#[derive(Debug)]
pub enum Refusal {
    /// It cannot be opened at all.
    Closed(Error),
    /// It has its channels behind each other, not beside each other.
    Access,
    /// It speaks no format that was asked for.
    Formats,
    /// It has no such number of channels, but these at least and at most.
    Channels(u32, u32),
    /// It does not run at that rate, but at this one.
    Rate(u32),
    /// Its buffer has so many frames, which is less than two blocks of so many.
    Buffer(usize, usize),
    /// It does not take what it has offered.
    Setup(Error),
}

/// See the module.
pub struct Side {
    pcm: PCM,
    access: Access,
    /// How its frames lie.
    pub layout: Layout,
    /// For a person.
    pub format: Format,
    /// Frames per second.
    pub rate_hz: u32,
    /// Frames between two interrupts.
    pub period_frames: usize,
    /// Frames that its buffer holds.
    pub buffer_frames: usize,
    /// Its card's number, where there is a card behind it.
    pub card: Option<i32>,
    /// What the kernel copies from or to: one block.
    copied: Vec<u8>,
}

impl Side {
    /// Opens it and sets it up. Control side; a card that is in use is refused at once.
    pub fn open(wish: &Wish, direction: Direction) -> Result<Side, Refusal> {
        let pcm = PCM::new(&wish.pcm, direction, true).map_err(Refusal::Closed)?;
        let (access, format) = set_up(&pcm, wish)?;
        let side = settle(pcm, wish, access, format).map_err(Refusal::Setup)?;
        if side.rate_hz != wish.rate_hz && wish.follows {
            return Err(Refusal::Rate(side.rate_hz));
        }
        let block = match wish.follows {
            true => side.period_frames.max(wish.block_frames),
            false => side.period_frames,
        };
        if block == 0 || side.buffer_frames < 2 * block {
            return Err(Refusal::Buffer(side.buffer_frames, block));
        }
        Ok(side)
    }

    fn is_mapped(&self) -> bool {
        self.access == Access::MMapInterleaved
    }

    /// The channels that are left and right, from 0: those that the card says, else the first two. Of a
    /// card with one channel it is twice that one.
    pub fn front(&self) -> [usize; 2] {
        let last = self.layout.channels - 1;
        let map: Vec<ChmapPosition> = match self.pcm.get_chmap() {
            Ok(map) => (&map).into(),
            Err(_) => Vec::new(),
        };
        let place = |position| map.iter().position(|known| *known == position);
        let (left, right) = (place(ChmapPosition::FL), place(ChmapPosition::FR));
        match (left, right) {
            (Some(left), Some(right)) if left <= last && right <= last => [left, right],
            _ => [0, 1.min(last)],
        }
    }

    /// What was got, for the log.
    pub fn describe(&self) -> String {
        format!(
            "{}, {} channels, {} Hz, periods of {} in a buffer of {} frames, {}",
            name(self.format),
            self.layout.channels,
            self.rate_hz,
            self.period_frames,
            self.buffer_frames,
            if self.is_mapped() { "mapped" } else { "copied" }
        )
    }

    /// Starts and stops together with another side, if the cards can; says whether they do.
    pub fn link(&self, other: &Side) -> bool {
        self.pcm.link(&other.pcm).is_ok()
    }

    /// What is waited for with `poll`. Control side.
    pub fn descriptors(&self) -> Result<Vec<pollfd>, Error> {
        self.pcm.get()
    }

    /// Wakes a waiting thread only when there are so many frames to be had, or room for so many.
    pub fn wake_at(&self, frames: usize) -> Result<(), Error> {
        let params = self.pcm.sw_params_current()?;
        // Begun in so many words, never by filling up.
        params.set_start_threshold(params.get_boundary()?)?;
        params.set_stop_threshold(self.buffer_frames as i64)?;
        params.set_avail_min(frames as i64)?;
        self.pcm.sw_params(&params)
    }

    /// What has come of waiting: `Err` when it is of no use to wait on. Audio thread.
    pub fn woken(&self, descriptors: &[pollfd]) -> Result<(), Error> {
        let flags = self.pcm.revents(descriptors)?;
        if !flags.intersects(Flags::ERR | Flags::HUP | Flags::NVAL) {
            return Ok(());
        }
        let errno = match self.pcm.state() {
            State::XRun => libc::EPIPE,
            State::Suspended => libc::ESTRPIPE,
            State::Running | State::Prepared | State::Draining => libc::EIO,
            _ => libc::ENODEV,
        };
        Err(Error::new("poll", errno))
    }

    /// Frames that can be read, or written, now. Audio thread.
    pub fn available(&self) -> Result<usize, Error> {
        self.pcm.avail_update().map(|frames| frames.max(0) as usize)
    }

    /// Whether it makes or plays sound. Audio thread.
    pub fn is_running(&self) -> bool {
        self.pcm.state() == State::Running
    }

    /// Silent, and ready to start anew: whatever was in the buffer is gone. Audio thread.
    pub fn prepare(&self) -> Result<(), Error> {
        // It may not have been running.
        let _ = self.pcm.drop();
        self.pcm.prepare()
    }

    /// Audio thread.
    pub fn start(&self) -> Result<(), Error> {
        if self.is_running() {
            return Ok(());
        }
        self.pcm.start()
    }

    /// Stops at once; what is still in the buffer is not heard. Audio thread.
    pub fn stop(&self) {
        // It may be gone.
        let _ = self.pcm.drop();
    }

    /// Out of sleep. `EAGAIN`: not yet. Audio thread.
    pub fn resume(&self) -> Result<(), Error> {
        self.pcm.resume()
    }

    /// Reads as many frames as each channel of `into` is long. Audio thread.
    pub fn read(&mut self, into: &mut [Vec<f32>]) -> Result<(), Error> {
        let frames = into.first().map_or(0, Vec::len);
        let (layout, mut at) = (self.layout, 0);
        let mut take = |bytes: &[u8]| {
            let count = (bytes.len() / layout.frame_bytes()).min(frames - at);
            for (channel, samples) in into.iter_mut().enumerate() {
                layout.read(bytes, channel, &mut samples[at..at + count]);
            }
            at += count;
            count
        };
        let io = self.pcm.io_bytes();
        if self.is_mapped() {
            return mapped(&io, frames, |bytes| take(bytes));
        }
        let bytes = &mut self.copied[..frames * layout.frame_bytes()];
        let mut done = 0;
        while done < frames {
            done += some(io.readi(&mut bytes[done * layout.frame_bytes()..])?)?;
        }
        take(bytes);
        Ok(())
    }

    /// Writes a block: `sound` to the channels `front`, silence to all others. Audio thread.
    pub fn write(&mut self, sound: [&[f32]; 2], front: [usize; 2]) -> Result<(), Error> {
        let frames = sound[0].len();
        let (layout, mut at) = (self.layout, 0);
        let mut put = |bytes: &mut [u8]| {
            let count = (bytes.len() / layout.frame_bytes()).min(frames - at);
            // In all of these formats, zeros are silence.
            bytes.fill(0);
            for (samples, channel) in sound.iter().zip(front) {
                layout.write(&samples[at..at + count], channel, bytes);
            }
            at += count;
            count
        };
        let io = self.pcm.io_bytes();
        if self.is_mapped() {
            return mapped(&io, frames, put);
        }
        let bytes = &mut self.copied[..frames * layout.frame_bytes()];
        put(bytes);
        let mut done = 0;
        while done < frames {
            done += some(io.writei(&bytes[done * layout.frame_bytes()..])?)?;
        }
        Ok(())
    }
}

/// Moves so many frames, which must be there, through the card's own memory.
fn mapped(
    io: &IO<u8>,
    frames: usize,
    mut work: impl FnMut(&mut [u8]) -> usize,
) -> Result<(), Error> {
    let mut done = 0;
    // The buffer is a ring: the second round begins where it does.
    while done < frames {
        done += some(io.mmap(frames - done, &mut work)?)?;
    }
    Ok(())
}

/// Nothing moved though it should have: an end to what would otherwise go on for ever.
fn some(frames: usize) -> Result<usize, Error> {
    if frames == 0 {
        return Err(Error::new("snd_pcm", libc::EIO));
    }
    Ok(frames)
}

fn set_up(pcm: &PCM, wish: &Wish) -> Result<(Access, Format), Refusal> {
    let params = HwParams::any(pcm).map_err(Refusal::Setup)?;
    // What a plugin would resample, the settings can say in so many words.
    params.set_rate_resample(false).map_err(Refusal::Setup)?;
    let accesses = [Access::MMapInterleaved, Access::RWInterleaved];
    let access = accesses
        .into_iter()
        .find(|access| params.set_access(*access).is_ok())
        .ok_or(Refusal::Access)?;
    let mut formats = wish.formats.iter().copied();
    let format = formats
        .find(|format| params.set_format(*format).is_ok())
        .ok_or(Refusal::Formats)?;
    let least = params.get_channels_min().map_err(Refusal::Setup)?;
    let most = params.get_channels_max().map_err(Refusal::Setup)?;
    let channels = match wish.channels {
        0 if most > CHANNELS_MAX => ANY_CHANNELS.max(least),
        0 => most,
        channels => channels,
    };
    if params.set_channels(channels).is_err() {
        return Err(Refusal::Channels(least, most));
    }
    params
        .set_rate_near(wish.rate_hz, ValueOr::Nearest)
        .map_err(Refusal::Setup)?;
    let period = wish.block_frames as i64;
    params
        .set_period_size_near(period, ValueOr::Nearest)
        .map_err(Refusal::Setup)?;
    params
        .set_buffer_size_near(period * i64::from(wish.periods))
        .map_err(Refusal::Setup)?;
    pcm.hw_params(&params).map_err(Refusal::Setup)?;
    Ok((access, format))
}

fn settle(pcm: PCM, wish: &Wish, access: Access, format: Format) -> Result<Side, Error> {
    let params = pcm.hw_params_current()?;
    let channels = params.get_channels()? as usize;
    let layout = Layout::new(format, channels).ok_or(Error::unsupported("format"))?;
    let rate_hz = params.get_rate()?;
    let period_frames = params.get_period_size()? as usize;
    let buffer_frames = params.get_buffer_size()? as usize;
    drop(params);
    let card = pcm.info().ok().map(|info| info.get_card());
    let block = wish.block_frames.max(period_frames);
    Ok(Side {
        access,
        layout,
        format,
        rate_hz,
        period_frames,
        buffer_frames,
        card: card.filter(|card| *card >= 0),
        copied: vec![0; block * layout.frame_bytes()],
        pcm,
    })
}

/// By the names that settings use; all of them in order for "".
pub fn formats(name: &str) -> Vec<Format> {
    let named: Vec<Format> = FORMATS
        .into_iter()
        .filter(|format| self::name(*format) == name)
        .collect();
    if named.is_empty() {
        FORMATS.to_vec()
    } else {
        named
    }
}

/// As settings and people call it.
pub fn name(format: Format) -> &'static str {
    match format {
        Format::FloatLE => "float",
        Format::S32LE => "s32",
        Format::S243LE => "s24_3",
        Format::S24LE => "s24",
        Format::S16LE => "s16",
        _ => "unknown",
    }
}
