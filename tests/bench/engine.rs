//! The engine's cost for each 64-frame block, by effect, against a reference loop.

use std::hint::black_box;
use std::time::Instant;

use rigd_rt::command::TrackLevel;
use rigd_rt::{Command, Engine, Inbox, Kind, Outbox, Report, TrackKind};

use crate::common::karaoke::{Karaoke, night};

pub const RATE_HZ: u32 = 48_000;
pub const BLOCK: usize = 64;
const BLOCKS: usize = 4000;
const ROUNDS: usize = 9;

/// Commands from a list.
struct List(std::vec::IntoIter<Command>);

impl Inbox for List {
    fn peek(&mut self) -> Option<Command> {
        self.0.as_slice().first().copied()
    }

    fn pop(&mut self) -> Option<Command> {
        self.0.next()
    }
}

/// Reports that nobody reads.
pub struct Nowhere;

impl Outbox for Nowhere {
    fn room(&self) -> usize {
        1024
    }

    fn push(&mut self, _: Report) -> bool {
        true
    }
}

/// A rig of so many mics, each with these effects.
struct Rig {
    engine: Box<Engine>,
    input: Vec<f32>,
    left: Vec<f32>,
    right: Vec<f32>,
    at: usize,
}

impl Rig {
    fn new(mics: u8, effects: &[Kind], input_gain: f32) -> Rig {
        let mut commands = vec![Command::AddTrack {
            track: 0,
            kind: TrackKind::Master,
            stereo: true,
        }];
        let mut memory = 0u32;
        let mut slot = 0;
        let mut add = |commands: &mut Vec<Command>, track: u8, kind: Kind| {
            let memory_len = kind.memory(RATE_HZ) as u32;
            commands.push(Command::AddEffect {
                track,
                slot,
                kind,
                position: 0,
                memory,
                memory_len,
            });
            memory += memory_len;
            slot += 1;
        };
        add(&mut commands, 0, Kind::Limiter);
        for track in 1..=mics {
            commands.push(Command::AddTrack {
                track,
                kind: TrackKind::Mic,
                stereo: false,
            });
            commands.push(Command::Input {
                track,
                left: 0,
                right: u8::MAX,
                stereo: false,
            });
            commands.push(Command::Level {
                track,
                level: TrackLevel::InputGain,
                value: input_gain,
            });
            for kind in effects {
                add(&mut commands, track, *kind);
            }
        }
        let header = Command::Group {
            id: 1,
            at: 0,
            len: commands.len() as u32,
        };
        commands.insert(0, header);
        let pool = vec![0.0; memory as usize + 1].leak();
        let mut rig = Rig {
            engine: Box::new(Engine::new(RATE_HZ, 0, pool)),
            input: noise(BLOCK * 997),
            left: vec![0.0; BLOCK],
            right: vec![0.0; BLOCK],
            at: 0,
        };
        rig.block_with(List(commands.into_iter()));
        rig
    }

    fn block(&mut self) {
        self.block_with(List(Vec::new().into_iter()));
    }

    fn block_with(&mut self, mut inbox: List) {
        self.at = (self.at + BLOCK) % self.input.len();
        let input = &self.input[self.at..self.at + BLOCK];
        self.engine.process(
            &[input],
            [&mut self.left, &mut self.right],
            &mut inbox,
            &mut Nowhere,
        );
        black_box(&self.left);
    }
}

/// Speech-loud noise, the same every time.
fn noise(frames: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..frames).map(|_| next() * 0.4).collect()
}

/// The reference: eight biquads in series over one channel, written as plainly as can be.
fn reference(input: &[f32], state: &mut [[f32; 2]; 8]) -> f32 {
    let mut sum = 0.0;
    for sample in input {
        let mut x = *sample;
        for [s1, s2] in state.iter_mut() {
            let y = 0.9 * x + *s1;
            *s1 = -1.7 * x + 1.6 * y + *s2;
            *s2 = 0.8 * x - 0.7 * y;
            x = y;
        }
        sum += x;
    }
    sum
}

/// The median over rounds of nanoseconds a block.
fn nanoseconds(mut block: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            (0..BLOCKS).for_each(|_| block());
            started.elapsed().as_nanos() as f64 / BLOCKS as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Something whose blocks are computed one by one.
type Blocks = Box<dyn FnMut()>;

/// Brings the limiters to work.
const SHOUTED: f32 = 8.0;

/// So many mics with these effects and this input gain.
fn mics(count: u8, effects: &[Kind], gain: f32) -> Blocks {
    let mut rig = Rig::new(count, effects, gain);
    Box::new(move || rig.block())
}

/// Four mics with the whole chain, shared reverb and echo, stereo music, limiter; four seconds of a
/// night again and again.
fn karaoke() -> Blocks {
    let Karaoke { mut rig, .. } = Karaoke::new(RATE_HZ);
    let frames = 4 * RATE_HZ as usize;
    let inputs = night(1, RATE_HZ, frames);
    let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
    let mut at = 0;
    Box::new(move || {
        let block: [&[f32]; crate::common::karaoke::CHANNELS] =
            std::array::from_fn(|channel| &inputs[channel][at..at + BLOCK]);
        rig.engine.process(
            &block,
            [&mut left, &mut right],
            &mut rig.queue,
            &mut Nowhere,
        );
        black_box(&left);
        at = (at + BLOCK) % frames;
    })
}

/// The cases, by name.
fn cases() -> Vec<(String, Box<dyn Fn() -> Blocks>)> {
    let mut cases: Vec<(String, Box<dyn Fn() -> Blocks>)> = vec![
        (
            "master and limiter".to_owned(),
            Box::new(|| mics(0, &[], 1.0)),
        ),
        ("one mic".to_owned(), Box::new(|| mics(1, &[], 1.0))),
        ("15 mics".to_owned(), Box::new(|| mics(15, &[], 1.0))),
        (
            "one loud mic".to_owned(),
            Box::new(|| mics(1, &[], SHOUTED)),
        ),
    ];
    for kind in Kind::ALL {
        let name = format!("one mic, {}", kind.name());
        cases.push((name, Box::new(move || mics(1, &[kind], 1.0))));
    }
    cases.push(("full karaoke rig".to_owned(), Box::new(karaoke)));
    cases
}

/// Only computes, for a tool that counts.
pub fn only_blocks(case: &str) {
    if let Some((_, rig)) = cases().into_iter().find(|(name, _)| name == case) {
        let mut block = rig();
        (0..super::instructions::BLOCKS).for_each(|_| block());
    }
}

/// Names of the cases.
pub fn names() -> Vec<String> {
    cases().into_iter().map(|(name, _)| name).collect()
}

/// The table.
pub fn run() {
    let input = noise(BLOCK);
    let mut state = [[0.0; 2]; 8];
    let unit = nanoseconds(|| {
        black_box(reference(black_box(&input), &mut state));
    });
    let budget = BLOCK as f64 / f64::from(RATE_HZ) * 1e9;
    println!(
        "\nEngine, {BLOCK}-frame blocks at {RATE_HZ} Hz (the reference is 8 plain biquads, one channel)"
    );
    println!(
        "{:<24} {:>12} {:>14} {:>12}",
        "case", "ns a block", "of reference", "% of budget"
    );
    println!(
        "{:<24} {unit:>12.0} {:>14.2} {:>12.3}",
        "reference",
        1.0,
        unit / budget * 100.0
    );
    for (name, rig) in cases() {
        let cost = nanoseconds(rig());
        println!(
            "{name:<24} {cost:>12.0} {:>14.2} {:>12.3}",
            cost / unit,
            cost / budget * 100.0
        );
    }
}
