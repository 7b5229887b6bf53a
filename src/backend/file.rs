//! Files in, a file out, as fast as it goes: the offline driver of `rigd render`.

use rigd_rt::CHANNELS_MAX;

use crate::backend::{Deck, Format};
use crate::wav::{WavWriter, WriteError};

/// What the offline driver offers, for the rig that is built on it.
pub fn format(
    sample_rate_hz: u32,
    block_frames: u32,
    device_channels: u8,
    file_channels: u8,
) -> Format {
    Format {
        backend: "file",
        sample_rate_hz,
        block_frames,
        device_channels,
        file_channels,
        latency_in_ms: 0.0,
        latency_out_ms: 0.0,
    }
}

/// A run of the engine over whole files. It moves only when told to, so that whoever drives it can
/// put commands in at exact frames. Any one thread; blocks on the disk.
pub struct FileRun {
    deck: Deck,
    inputs: Vec<Vec<f32>>,
    block_frames: u64,
    position: u64,
    length: u64,
    output: [Vec<f32>; 2],
    writer: WavWriter,
}

impl FileRun {
    /// `inputs` are the engine's channels (device first, then file) at its rate; the longest one
    /// is the length of the run, and the others are silent after their end.
    pub fn new(deck: Deck, inputs: Vec<Vec<f32>>, block_frames: u32, writer: WavWriter) -> FileRun {
        let length = inputs.iter().map(Vec::len).max().unwrap_or(0) as u64;
        let block = block_frames.max(1) as usize;
        FileRun {
            deck,
            inputs,
            block_frames: block as u64,
            position: 0,
            length,
            output: [vec![0.0; block], vec![0.0; block]],
            writer,
        }
    }

    /// Frames in all: the length of the longest input.
    pub fn frames(&self) -> u64 {
        self.length
    }

    /// Frames computed so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Computes and writes the next `frames` frames, or all that are left if those are fewer, and
    /// says how many. Blocks end at multiples of the block size, and where this call does.
    pub fn advance(&mut self, frames: u64) -> Result<u64, WriteError> {
        let start = self.position;
        let end = start.saturating_add(frames).min(self.length);
        while self.position < end {
            let block = self.block_frames - self.position % self.block_frames;
            let count = block.min(end - self.position) as usize;
            let from = self.position as usize;
            let mut channels: [&[f32]; CHANNELS_MAX] = [&[]; CHANNELS_MAX];
            for (channel, input) in channels.iter_mut().zip(&self.inputs) {
                let to = input.len().min(from + count);
                *channel = input.get(from..to).unwrap_or(&[]);
            }
            let used = self.inputs.len().min(CHANNELS_MAX);
            let [left, right] = &mut self.output;
            let (left, right) = (&mut left[..count], &mut right[..count]);
            self.deck.process(&channels[..used], [left, right]);
            self.writer.write(left, right)?;
            self.position += count as u64;
        }
        Ok(end - start)
    }

    /// Lets the engine take in what waits for it, without moving on.
    pub fn take_commands(&mut self) {
        self.deck.process(&[], [&mut [], &mut []]);
    }

    /// Completes the file, however far the run has come, and gives the engine back.
    pub fn finish(self) -> Result<Deck, WriteError> {
        self.writer.finish()?;
        Ok(self.deck)
    }
}
