//! A measurement in the engine's place: plays a sound, and records one input meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module. All its memory is there from the start.
pub struct Probe {
    sound: Vec<f32>,
    recording: Vec<f32>,
    at: usize,
    channel: usize,
    breaks: u32,
    signs: Arc<Signs>,
}

/// What both sides may look at.
#[derive(Default)]
pub struct Signs {
    /// It may begin.
    pub go: AtomicBool,
    /// It is over.
    pub done: AtomicBool,
}

impl Probe {
    /// Plays `sound` on both outputs and records `channel` as long. Control side.
    pub fn new(sound: Vec<f32>, channel: usize) -> (Probe, Arc<Signs>) {
        let signs = Arc::new(Signs::default());
        let probe = Probe {
            // Written to, so that the memory is there.
            recording: sound.iter().map(|_| f32::MIN_POSITIVE).collect(),
            sound,
            at: 0,
            channel,
            breaks: 0,
            signs: Arc::clone(&signs),
        };
        (probe, signs)
    }

    /// One block. Realtime thread; wait-free.
    pub fn process(&mut self, inputs: &[&[f32]], output: [&mut [f32]; 2]) {
        let [left, right] = output;
        let frames = left.len().min(right.len());
        let is_going = self.signs.go.load(Ordering::Acquire);
        let count = if is_going {
            frames.min(self.sound.len() - self.at)
        } else {
            0
        };
        // Read first: where ports are connected with one another, both may be the same memory.
        let input = inputs.get(self.channel).copied().unwrap_or(&[]);
        let place = &mut self.recording[self.at..self.at + count];
        for (index, to) in place.iter_mut().enumerate() {
            *to = input.get(index).copied().unwrap_or(0.0);
        }
        left.fill(0.0);
        right.fill(0.0);
        let sound = &self.sound[self.at..self.at + count];
        left[..count].copy_from_slice(sound);
        right[..count].copy_from_slice(sound);
        self.at += count;
        if self.at == self.sound.len() {
            self.signs.done.store(true, Ordering::Release);
        }
    }

    /// A block came too late. Realtime thread; wait-free.
    pub fn xrun(&mut self) {
        if (1..self.sound.len()).contains(&self.at) {
            self.breaks += 1;
        }
    }

    /// What was recorded, and how often it broke off. Control side.
    pub fn into_recording(self) -> (Vec<f32>, u32) {
        (self.recording, self.breaks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_plays_and_records_from_the_same_frame_on_and_only_when_it_may() {
        let (mut probe, signs) = Probe::new(vec![0.5, 0.25, 0.125], 1);
        let input = [[9.0, 9.0], [1.0, 2.0]];
        let mut block = |is_going: bool| {
            signs.go.store(is_going, Ordering::Release);
            let (mut left, mut right) = ([7.0; 2], [7.0; 2]);
            let inputs: Vec<&[f32]> = input.iter().map(|input| &input[..]).collect();
            probe.process(&inputs, [&mut left, &mut right]);
            assert_eq!(left, right);
            left
        };
        assert_eq!(block(false), [0.0; 2]);
        assert_eq!(block(true), [0.5, 0.25]);
        assert!(!signs.done.load(Ordering::Acquire));
        assert_eq!(block(true), [0.125, 0.0]);
        assert_eq!(block(true), [0.0; 2]);
        assert!(signs.done.load(Ordering::Acquire));
        assert_eq!(probe.into_recording(), (vec![1.0, 2.0, 1.0], 0));
    }
}
