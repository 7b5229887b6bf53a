//! WAV files: what plays in place of microphones and music, and what records the master.

mod read;
mod resample;
mod write;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub use read::{INPUT_CHANNELS_MAX, MUSIC_CHANNELS_MAX, Problem, ReadError, SAMPLES_MAX, read};
pub use resample::resample;
pub use write::{FRAMES_MAX, HEADER_BYTES, WavWriter, WriteError};

/// Refuses an `output` that is the same file as one that is `played`, by whatever name: creating it
/// would be the end of what is to be played. Control side.
pub fn keep(output: &Path, played: &Path) -> Result<(), ReadError> {
    let identity = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.dev(), meta.ino()))
    };
    match (identity(output), identity(played)) {
        (Some(one), Some(other)) if one == other => Err(ReadError {
            path: played.to_owned(),
            problem: Problem::Overwritten,
        }),
        _ => Ok(()),
    }
}
