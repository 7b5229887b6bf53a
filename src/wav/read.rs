//! Reading a whole WAV file, at the engine's rate.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader, WavSpec};

use super::resample::resample;

/// Channels that stand in for microphones.
pub const INPUT_CHANNELS_MAX: u16 = 16;
/// Channels of music.
pub const MUSIC_CHANNELS_MAX: u16 = 2;
/// Samples of all channels together that are held in memory: 30 minutes of stereo at 48 kHz,
/// which is 660 MiB. A longer file is refused.
pub const SAMPLES_MAX: u64 = 30 * 60 * 48_000 * 2;
/// Sample rates of files, in Hz.
const RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=768_000;
/// Chunks before the sound; more are not a WAV file.
const CHUNKS_MAX: usize = 4096;
/// The `data` length of a recorder that did not know it yet.
const UNKNOWN_LENGTH: u32 = u32::MAX;

/// What is wrong with a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// It cannot be opened or read.
    Io(io::Error),
    /// It is a folder or a device.
    NotAFile,
    /// The recording would take its place.
    Overwritten,
    /// It is something else than a WAV file, or a broken one.
    NotWav(&'static str),
    /// Its samples have a format that is not read.
    Format(String),
    /// It has no sample.
    Empty,
    /// It ends before the sound that it promises, in bytes.
    CutShort {
        /// Of sound, by its header.
        promised: u64,
        /// Of sound that is there.
        present: u64,
    },
    /// It has more channels than there are uses for.
    Channels {
        /// Its channels.
        channels: u16,
        /// As many could be used.
        most: u16,
    },
    /// Its sample rate, in Hz, is none for sound.
    Rate(u32),
    /// It would not fit into memory ([`SAMPLES_MAX`]).
    TooLong {
        /// Its length.
        minutes: f64,
        /// The longest with so many channels.
        minutes_max: f64,
    },
}

/// A file that cannot be played, and why.
#[derive(Debug)]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                write!(f, "there is no file {path}: check the name and the folder")
            }
            Problem::Io(error) => write!(
                f,
                "{path} cannot be read ({error}): check that rigd may read it"
            ),
            Problem::NotAFile => write!(f, "{path} is not a file: name a WAV file"),
            Problem::Overwritten => write!(
                f,
                "{path} would be overwritten by the recording: name another file for the output"
            ),
            Problem::NotWav(why) => write!(
                f,
                "{path} is not a WAV file that rigd understands ({why}): convert it to WAV, 16, 24 \
                 or 32 bits"
            ),
            Problem::Format(what) => write!(
                f,
                "{path} has samples of a kind that rigd does not read ({what}): save it as WAV with \
                 16, 24 or 32 bits, or 32-bit float"
            ),
            Problem::Empty => write!(f, "{path} holds no sound: record or export it again"),
            Problem::CutShort { promised, present } => write!(
                f,
                "{path} is cut short: {present} of {promised} bytes of sound are there; copy it \
                 again"
            ),
            Problem::Channels { channels, most } => write!(
                f,
                "{path} has {channels} channels, and at most {most} can be used: export it with \
                 fewer"
            ),
            Problem::Rate(rate) => write!(
                f,
                "{path} says that it has {rate} frames per second, and rigd reads {} to {}: export \
                 it at 44100 or 48000",
                RATES_HZ.start(),
                RATES_HZ.end()
            ),
            Problem::TooLong {
                minutes,
                minutes_max,
            } => write!(
                f,
                "{path} is {minutes:.1} minutes long, and rigd holds at most {minutes_max:.1} \
                 minutes of so many channels in memory: cut it into parts"
            ),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> io::Error {
        io::Error::other(error)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Problem {
        Problem::Io(error)
    }
}

impl From<hound::Error> for Problem {
    fn from(error: hound::Error) -> Problem {
        match error {
            hound::Error::IoError(error) => Problem::Io(error),
            hound::Error::FormatError(why) => Problem::NotWav(why),
            other => Problem::Format(other.to_string()),
        }
    }
}

/// Reads a file of 1 to `channels_max` channels, resampled to `sample_rate_hz` (8000…192000) where
/// it has another rate: `round(frames · rate / its rate)` frames. One `Vec` per channel, all of one
/// length, full scale at ±1; what is not finite in a float file stays so unless it is resampled
/// (then it is silence). Blocks on the disk; control side.
pub fn read(
    path: &Path,
    channels_max: u16,
    sample_rate_hz: u32,
) -> Result<Vec<Vec<f32>>, ReadError> {
    read_all(path, channels_max, sample_rate_hz).map_err(|problem| ReadError {
        path: path.to_owned(),
        problem,
    })
}

fn read_all(path: &Path, channels_max: u16, sample_rate_hz: u32) -> Result<Vec<Vec<f32>>, Problem> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Problem::NotAFile);
    }
    let layout = Layout::find(&mut BufReader::new(&file), meta.len())?;
    let present = meta.len().saturating_sub(layout.sound_start);
    if layout.sound_bytes > present {
        return Err(Problem::CutShort {
            promised: layout.sound_bytes,
            present,
        });
    }
    file.seek(SeekFrom::Start(layout.sound_start))?;
    let sound = BufReader::with_capacity(1 << 16, file);
    let reader = WavReader::new(Cursor::new(layout.header()).chain(sound))?;
    let spec = reader.spec();
    let frames = u64::from(reader.duration());
    check(spec, frames, channels_max, sample_rate_hz)?;
    let channels = samples(reader, frames as usize)?;
    let rate = spec.sample_rate;
    Ok(channels
        .into_iter()
        .map(|channel| resample(channel, rate, sample_rate_hz))
        .collect())
}

fn check(
    spec: WavSpec,
    frames: u64,
    channels_max: u16,
    sample_rate_hz: u32,
) -> Result<(), Problem> {
    if spec.channels > channels_max {
        return Err(Problem::Channels {
            channels: spec.channels,
            most: channels_max,
        });
    }
    if frames == 0 {
        return Err(Problem::Empty);
    }
    if !RATES_HZ.contains(&spec.sample_rate) {
        return Err(Problem::Rate(spec.sample_rate));
    }
    let rate = f64::from(spec.sample_rate);
    let held = frames.max((frames as f64 * f64::from(sample_rate_hz) / rate) as u64);
    let held_max = SAMPLES_MAX / u64::from(spec.channels);
    if held > held_max {
        let minutes = frames as f64 / rate / 60.0;
        return Err(Problem::TooLong {
            minutes,
            minutes_max: minutes * held_max as f64 / held as f64,
        });
    }
    Ok(())
}

fn samples<R: Read>(reader: WavReader<R>, frames: usize) -> Result<Vec<Vec<f32>>, Problem> {
    let spec = reader.spec();
    let count = usize::from(spec.channels);
    let mut channels = vec![Vec::with_capacity(frames); count];
    let targets = (0..count).cycle();
    match spec.sample_format {
        SampleFormat::Float => {
            for (sample, channel) in reader.into_samples::<f32>().zip(targets) {
                channels[channel].push(sample?);
            }
        }
        SampleFormat::Int => {
            let bits = i32::from(spec.bits_per_sample).clamp(1, 32);
            let scale = libm::exp2(f64::from(1 - bits));
            for (sample, channel) in reader.into_samples::<i32>().zip(targets) {
                channels[channel].push((f64::from(sample?) * scale) as f32);
            }
        }
    }
    Ok(channels)
}

/// Where things are in a file. Chunks that are padded to even lengths, unknown chunks in between
/// and lengths that were never filled in are met here, so that the decoder sees the plainest of
/// headers.
struct Layout {
    format: Vec<u8>,
    sound_start: u64,
    sound_bytes: u64,
}

impl Layout {
    fn find(file: &mut (impl Read + Seek), length: u64) -> Result<Layout, Problem> {
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Problem::NotWav("it ends before its sound"),
            _ => Problem::Io(error),
        };
        if length == 0 {
            return Err(Problem::Empty);
        }
        let mut riff = [0; 12];
        file.read_exact(&mut riff)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Problem::NotWav("it is too short"),
                _ => Problem::Io(error),
            })?;
        if &riff[..4] != b"RIFF" || &riff[8..] != b"WAVE" {
            return Err(Problem::NotWav("it does not start with RIFF and WAVE"));
        }
        let mut format = None;
        let mut position = riff.len() as u64;
        for _ in 0..CHUNKS_MAX {
            let mut header = [0; 8];
            file.read_exact(&mut header).map_err(cut)?;
            position += header.len() as u64;
            let bytes = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
            match &header[..4] {
                b"fmt " if (16..=4096).contains(&bytes) => {
                    let mut body = vec![0; bytes as usize];
                    file.read_exact(&mut body).map_err(cut)?;
                    format = Some(body);
                }
                b"fmt " => return Err(Problem::NotWav("its format chunk has a wrong length")),
                b"data" => {
                    let format =
                        format.ok_or(Problem::NotWav("its sound comes before its format"))?;
                    return Ok(Layout::new(format, position, bytes, length));
                }
                _ => (),
            }
            // Chunks start at even offsets.
            position += u64::from(bytes) + u64::from(bytes % 2);
            file.seek(SeekFrom::Start(position))?;
        }
        Err(Problem::NotWav("it has too many chunks"))
    }

    fn new(mut format: Vec<u8>, sound_start: u64, bytes: u32, length: u64) -> Layout {
        const EXTENSIBLE: [u8; 2] = [0xfe, 0xff];
        // What other formats append to their first 16 bytes says nothing about plain samples.
        format.truncate(if format[..2] == EXTENSIBLE { 40 } else { 16 });
        let frame_bytes = u64::from(u16::from_le_bytes([format[12], format[13]])).max(1);
        let sound_bytes = if bytes == UNKNOWN_LENGTH {
            (length - sound_start).min(u64::from(u32::MAX))
        } else {
            u64::from(bytes)
        };
        Layout {
            format,
            sound_start,
            // A last frame that is not whole is no frame.
            sound_bytes: sound_bytes - sound_bytes % frame_bytes,
        }
    }

    fn header(&self) -> Vec<u8> {
        let sound_bytes = self.sound_bytes as u32;
        let mut header = Vec::with_capacity(80);
        header.extend(b"RIFF");
        header.extend(sound_bytes.saturating_add(72).to_le_bytes());
        header.extend(b"WAVEfmt ");
        header.extend((self.format.len() as u32).to_le_bytes());
        header.extend(&self.format);
        header.extend(b"data");
        header.extend(sound_bytes.to_le_bytes());
        header
    }
}
