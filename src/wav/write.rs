//! Recording: stereo, 32-bit float, a valid file at every moment.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes before the sound.
pub const HEADER_BYTES: u64 = 58;
/// Bytes of a frame: two channels of 32 bits.
const FRAME_BYTES: u64 = 8;
/// Longest recording: a WAV file counts its bytes in 32 bits. 3 h 6 min at 48 kHz.
pub const FRAMES_MAX: u64 = (u32::MAX as u64 - HEADER_BYTES) / FRAME_BYTES;
/// Bytes that wait in memory before they are written together: 0.17 s at 48 kHz.
const BUFFER_BYTES: usize = 1 << 16;

/// A recording that could not be written on.
#[derive(Debug)]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Frames that are kept, in a valid file.
    pub frames_kept: u64,
    /// What happened; [`io::ErrorKind::FileTooLarge`] after [`FRAMES_MAX`].
    pub source: io::Error,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => write!(
                f,
                "the disk is full: {path} ends after {} frames; free some space, or record to \
                 another disk",
                self.frames_kept
            ),
            io::ErrorKind::FileTooLarge => write!(
                f,
                "{path} is as long as a file can be and ends after {} frames; start another \
                 recording",
                self.frames_kept
            ),
            _ => write!(
                f,
                "{path} cannot be written ({}): check the folder, and that rigd may write there",
                self.source
            ),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> io::Error {
        io::Error::new(error.source.kind(), error)
    }
}

/// Writes a stereo WAV file of 32-bit floats. Its header is right after every write, so the file is
/// valid however rigd ends. Blocks on the disk; not for the realtime thread.
pub struct WavWriter {
    file: File,
    path: PathBuf,
    sample_rate_hz: u32,
    /// Sound that is not on its way to the disk yet.
    buffer: Vec<u8>,
    /// Bytes of sound in the file.
    written: u64,
    /// Why nothing more is written, once it has failed or is finished.
    closed: Option<io::ErrorKind>,
}

impl WavWriter {
    /// A new file at `sample_rate_hz`, in the place of an old one of that name.
    pub fn create(path: &Path, sample_rate_hz: u32) -> Result<WavWriter, WriteError> {
        let failed = |source| WriteError {
            path: path.to_owned(),
            frames_kept: 0,
            source,
        };
        let mut writer = WavWriter {
            file: File::create(path).map_err(failed)?,
            path: path.to_owned(),
            sample_rate_hz,
            buffer: Vec::with_capacity(BUFFER_BYTES + FRAME_BYTES as usize),
            written: 0,
            closed: None,
        };
        match writer.write_header() {
            Ok(()) => Ok(writer),
            Err(error) => {
                writer.closed = Some(error.kind());
                Err(failed(error))
            }
        }
    }

    /// Where it writes to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        (self.written + self.buffer.len() as u64) / FRAME_BYTES
    }

    /// Appends one frame. After an error, every further call fails in the same way and the file
    /// keeps what fitted.
    pub fn push(&mut self, [left, right]: [f32; 2]) -> Result<(), WriteError> {
        if let Some(kind) = self.closed {
            return Err(self.error(kind.into()));
        }
        if self.frames() >= FRAMES_MAX {
            self.flush()?;
            self.closed = Some(io::ErrorKind::FileTooLarge);
            return Err(self.error(io::ErrorKind::FileTooLarge.into()));
        }
        self.buffer.extend(left.to_le_bytes());
        self.buffer.extend(right.to_le_bytes());
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Appends as many frames as the shorter slice has.
    pub fn write(&mut self, left: &[f32], right: &[f32]) -> Result<(), WriteError> {
        for (left, right) in left.iter().zip(right) {
            self.push([*left, *right])?;
        }
        Ok(())
    }

    /// Hands everything to the system, and makes the header right.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        if let Some(kind) = self.closed {
            return Err(self.error(kind.into()));
        }
        self.write_sound().map_err(|error| {
            self.give_up(error.kind());
            self.error(error)
        })
    }

    /// Completes the file and waits until it is on the disk.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.flush()?;
        self.closed = Some(io::ErrorKind::BrokenPipe);
        match self.file.sync_all() {
            // Pipes and devices have no disk to wait for.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(self.error(error)),
            _ => Ok(()),
        }
    }

    fn write_sound(&mut self) -> io::Result<()> {
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            let at = HEADER_BYTES + self.written;
            match self.file.write_at(rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count as u64;
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        self.buffer.clear();
        self.write_header()
    }

    /// Leaves a valid file behind, as far as the disk allows: overwriting needs no room.
    fn give_up(&mut self, kind: io::ErrorKind) {
        self.closed = Some(kind);
        self.buffer = Vec::new();
        self.written -= self.written % FRAME_BYTES;
        let _ = self.file.set_len(HEADER_BYTES + self.written);
        let _ = self.write_header();
    }

    fn write_header(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.header(), 0)
    }

    /// RIFF WAVE with format 3 (IEEE float); the `fact` chunk is due for every format but PCM.
    fn header(&self) -> Vec<u8> {
        let sound_bytes = self.written as u32;
        let frames = (self.written / FRAME_BYTES) as u32;
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        header.extend(b"RIFF");
        header.extend((HEADER_BYTES as u32 - 8 + sound_bytes).to_le_bytes());
        header.extend(b"WAVEfmt ");
        header.extend(18_u32.to_le_bytes());
        header.extend(3_u16.to_le_bytes());
        header.extend(2_u16.to_le_bytes());
        header.extend(self.sample_rate_hz.to_le_bytes());
        header.extend((self.sample_rate_hz * FRAME_BYTES as u32).to_le_bytes());
        header.extend((FRAME_BYTES as u16).to_le_bytes());
        header.extend(32_u16.to_le_bytes());
        header.extend(0_u16.to_le_bytes());
        header.extend(b"fact");
        header.extend(4_u32.to_le_bytes());
        header.extend(frames.to_le_bytes());
        header.extend(b"data");
        header.extend(sound_bytes.to_le_bytes());
        header
    }

    fn error(&self, source: io::Error) -> WriteError {
        WriteError {
            path: self.path.clone(),
            frames_kept: self.written / FRAME_BYTES,
            source,
        }
    }
}

impl Drop for WavWriter {
    /// Writes what is left; who wants to know whether that went well calls
    /// [`WavWriter::finish`].
    fn drop(&mut self) {
        if self.closed.is_none() {
            let _ = self.flush();
        }
    }
}
