//! Drives an engine as a backend would: commands at absolute frames, blocks of any size.
#![allow(dead_code, reason = "each test file uses what it needs")]

pub mod karaoke;
pub mod room;
pub mod voice;

use std::collections::VecDeque;

use rigd_rt::command::NO_CHANNEL;
use rigd_rt::{Command, Engine, Inbox, Kind, Outbox, Report, TrackKind};

pub const RATE_HZ: u32 = 48_000;
/// Where [`Rig::desk`] puts its tracks.
pub const MASTER: u8 = 0;
pub const MIC: u8 = 1;
pub const STEM: u8 = 2;

/// How many of `all` cases are tried: those that an emulated processor has the time for, all elsewhere. Says so.
pub fn cases(all: usize, emulated: usize, what: &str) -> usize {
    if all <= emulated || std::env::var_os("RIGD_TEST_RUNNER").is_none() {
        return all;
    }
    eprintln!(
        "SKIP (emulated): {} of {all} {what}: they take minutes",
        all - emulated
    );
    emulated
}

/// Commands that wait for the engine.
#[derive(Default)]
pub struct Queue(pub VecDeque<Command>);

impl Inbox for Queue {
    fn peek(&mut self) -> Option<Command> {
        self.0.front().copied()
    }

    fn pop(&mut self) -> Option<Command> {
        self.0.pop_front()
    }
}

/// Reports, as many as there is room for.
pub struct Shelf {
    pub reports: Vec<Report>,
    pub places: usize,
}

impl Outbox for Shelf {
    fn room(&self) -> usize {
        self.places.saturating_sub(self.reports.len())
    }

    fn push(&mut self, report: Report) -> bool {
        let fits = self.room() > 0;
        if fits {
            self.reports.push(report);
        }
        fits
    }
}

/// An engine and both its rings.
pub struct Rig {
    pub engine: Box<Engine>,
    pub queue: Queue,
    pub shelf: Shelf,
    pub rate_hz: u32,
    pub block: usize,
    group: u64,
    slots: u8,
    memory: u32,
}

impl Rig {
    /// An engine with nothing in it.
    pub fn new(rate_hz: u32, pool: usize) -> Rig {
        Rig::with_pool(rate_hz, vec![0.0; pool].leak())
    }

    pub fn with_pool(rate_hz: u32, pool: &'static mut [f32]) -> Rig {
        Rig {
            engine: Box::new(Engine::new(rate_hz, 0, pool)),
            queue: Queue::default(),
            shelf: Shelf {
                reports: Vec::new(),
                places: 1 << 20,
            },
            rate_hz,
            block: 64,
            group: 0,
            slots: 0,
            memory: 0,
        }
    }

    /// A master without a limiter, and a stereo stem at unity from channels 0 and 1: what goes in
    /// comes out, to the bit.
    pub fn desk(rate_hz: u32) -> Rig {
        let mut rig = Rig::new(rate_hz, 4 * Kind::Reverb.memory(rate_hz));
        rig.now(&[
            add_track(MASTER, TrackKind::Master),
            add_track(STEM, TrackKind::Stem),
            stereo_input(STEM, 0),
        ]);
        rig
    }

    /// The same with one effect on the stem, in slot 0, and parameters that are set with it.
    pub fn with_effect(rate_hz: u32, kind: Kind, params: &[(u8, f32)]) -> Rig {
        let mut rig = Rig::desk(rate_hz);
        let mut group = vec![rig.effect(STEM, kind, 0).1];
        group.extend(params.iter().map(|(param, value)| set(0, *param, *value)));
        rig.now(&group);
        rig
    }

    /// A command that adds an effect in the next slot and memory.
    pub fn effect(&mut self, track: u8, kind: Kind, position: u8) -> (u8, Command) {
        let memory_len = kind.memory(self.rate_hz) as u32;
        let slot = self.slots;
        let command = Command::AddEffect {
            track,
            slot,
            kind,
            position,
            memory: self.memory,
            memory_len,
        };
        self.slots += 1;
        self.memory += memory_len;
        (slot, command)
    }

    /// A group that takes effect at once.
    pub fn now(&mut self, commands: &[Command]) -> u64 {
        self.at(0, commands)
    }

    /// A group that takes effect at a frame.
    pub fn at(&mut self, at: u64, commands: &[Command]) -> u64 {
        self.group += 1;
        self.queue.0.push_back(Command::Group {
            id: self.group,
            at,
            len: commands.len() as u32,
        });
        self.queue.0.extend(commands);
        self.group
    }

    /// Computes as many frames as the first input has.
    pub fn run(&mut self, inputs: &[&[f32]]) -> [Vec<f32>; 2] {
        let frames = inputs.first().map_or(0, |input| input.len());
        self.run_frames(frames, inputs)
    }

    pub fn run_frames(&mut self, frames: usize, inputs: &[&[f32]]) -> [Vec<f32>; 2] {
        let mut left = vec![0.0; frames];
        let mut right = vec![0.0; frames];
        let mut done = 0;
        while done < frames {
            let end = (done + self.block).min(frames);
            let block: Vec<&[f32]> = inputs
                .iter()
                .map(|input| &input[done.min(input.len())..end.min(input.len())])
                .collect();
            self.engine.process(
                &block,
                [&mut left[done..end], &mut right[done..end]],
                &mut self.queue,
                &mut self.shelf,
            );
            done = end;
        }
        [left, right]
    }

    /// The same signal on both sides.
    pub fn run_twin(&mut self, input: &[f32]) -> [Vec<f32>; 2] {
        self.run(&[input, input])
    }

    pub fn silence(&mut self, frames: usize) -> [Vec<f32>; 2] {
        self.run_frames(frames, &[])
    }

    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.shelf.reports)
    }
}

pub fn add_track(track: u8, kind: TrackKind) -> Command {
    Command::AddTrack {
        track,
        kind,
        stereo: kind != TrackKind::Mic,
    }
}

pub fn mono_input(track: u8, left: u8) -> Command {
    Command::Input {
        track,
        left,
        right: NO_CHANNEL,
        stereo: false,
    }
}

pub fn stereo_input(track: u8, left: u8) -> Command {
    Command::Input {
        track,
        left,
        right: left + 1,
        stereo: true,
    }
}

pub fn set(slot: u8, param: u8, value: f32) -> Command {
    Command::Set { slot, param, value }
}

/// A random number generator (SplitMix64): the same numbers everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0…n−1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// 0…1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }
}

/// White noise, −`peak`…`peak`.
pub fn noise(seed: u64, frames: usize, peak: f64) -> Vec<f32> {
    let mut random = Random(seed);
    (0..frames)
        .map(|_| ((random.unit() * 2.0 - 1.0) * peak) as f32)
        .collect()
}

pub fn sine(freq_hz: f64, phase: f64, peak: f64, rate_hz: u32, frames: usize) -> Vec<f32> {
    let step = std::f64::consts::TAU * freq_hz / f64::from(rate_hz);
    (0..frames)
        .map(|frame| (peak * (step * frame as f64 + phase).sin()) as f32)
        .collect()
}

/// Amplitude of one frequency (Hann-windowed, so that neighbours do not leak in).
pub fn amplitude(signal: &[f32], freq_hz: f64, rate_hz: u32) -> f64 {
    let step = std::f64::consts::TAU * freq_hz / f64::from(rate_hz);
    let turn = std::f64::consts::TAU / signal.len() as f64;
    let (mut re, mut im, mut weights) = (0.0, 0.0, 0.0);
    for (frame, sample) in signal.iter().enumerate() {
        let weight = 1.0 - (turn * frame as f64).cos();
        let (sin, cos) = (step * frame as f64).sin_cos();
        re += f64::from(*sample) * cos * weight;
        im += f64::from(*sample) * sin * weight;
        weights += weight;
    }
    2.0 * (re * re + im * im).sqrt() / weights
}

pub fn rms(signal: &[f32]) -> f64 {
    let sum: f64 = signal.iter().map(|s| f64::from(*s).powi(2)).sum();
    (sum / signal.len().max(1) as f64).sqrt()
}

pub fn peak(signal: &[f32]) -> f32 {
    signal.iter().fold(0.0, |peak, s| s.abs().max(peak))
}

pub fn db(ratio: f64) -> f64 {
    20.0 * ratio.max(1e-30).log10()
}

pub fn bits(signal: &[f32]) -> Vec<u32> {
    signal.iter().map(|sample| sample.to_bits()).collect()
}
