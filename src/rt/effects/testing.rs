//! What the effects' own tests share: one effect driven alone, signals, and a look at one frequency.
extern crate std;

use super::{Context, Effect};
use crate::effects::feedback::Twiddles;
use crate::effects::limiter::TruePeak;
use crate::{Frame, GRID, Kind, Tables};
use std::vec;
use std::vec::Vec;

/// One effect, its memory, and the number of its next frame.
pub struct Rig {
    pub effect: Effect,
    memory: Vec<f32>,
    tables: Tables,
    frame: usize,
    /// What a side chain hears: peaks, linear.
    pub key: f32,
}

impl Rig {
    pub fn new(kind: Kind, rate_hz: u32) -> Rig {
        Rig {
            effect: Effect::new(kind, rate_hz),
            memory: vec![0.0; kind.memory(rate_hz)],
            tables: Tables {
                true_peak: TruePeak::new(rate_hz),
                twiddles: Twiddles::new(),
            },
            frame: 0,
            key: 0.0,
        }
    }

    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        self.effect.set(param, value, samples);
    }

    /// In spans that end on the grid.
    pub fn run(&mut self, frames: &mut [Frame]) {
        self.run_in(frames, GRID);
    }

    /// In blocks of so many frames, each in spans that end on the grid.
    pub fn run_in(&mut self, frames: &mut [Frame], block: usize) {
        for block in frames.chunks_mut(block) {
            let mut rest = block;
            while !rest.is_empty() {
                let span = (GRID - self.frame % GRID).min(rest.len());
                let (now, later) = rest.split_at_mut(span);
                let context = Context {
                    memory: &mut self.memory,
                    tables: &self.tables,
                    on_grid: self.frame.is_multiple_of(GRID),
                    key: self.key,
                };
                self.effect.process(now, context);
                self.frame += span;
                rest = later;
            }
        }
    }
}

/// A sine on both sides.
pub fn sine(hz: f64, amplitude: f32, rate_hz: u32, frames: usize) -> Vec<Frame> {
    (0..frames)
        .map(|n| {
            let phase = 2.0 * core::f64::consts::PI * hz * n as f64 / f64::from(rate_hz);
            [phase.sin() as f32 * amplitude; 2]
        })
        .collect()
}

/// White noise between −1 and 1, the two sides unlike.
pub fn noise(frames: usize) -> Vec<Frame> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut sample = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..frames).map(|_| [sample(), sample()]).collect()
}

/// Amplitude of the left side at one frequency (Hann window).
pub fn amplitude(frames: &[Frame], hz: f64, rate_hz: u32) -> f32 {
    let (mut re, mut im, mut sum) = (0.0, 0.0, 0.0);
    for (n, frame) in frames.iter().enumerate() {
        let place = n as f64 / frames.len() as f64;
        let window = 0.5 - 0.5 * (2.0 * core::f64::consts::PI * place).cos();
        let phase = 2.0 * core::f64::consts::PI * hz * n as f64 / f64::from(rate_hz);
        re += window * f64::from(frame[0]) * phase.cos();
        im += window * f64::from(frame[0]) * phase.sin();
        sum += window;
    }
    (2.0 * (re * re + im * im).sqrt() / sum) as f32
}

/// Magnitude in dB of the left side's impulse response at some frequencies.
pub fn response_db(rig: &mut Rig, at_hz: &[f64], rate_hz: u32) -> Vec<f64> {
    let mut frames = vec![[0.0; 2]; rate_hz as usize];
    rig.run(&mut frames);
    frames.fill([0.0; 2]);
    frames[0] = [1.0; 2];
    rig.run(&mut frames);
    let db = |hz: &f64| {
        let turn = 2.0 * core::f64::consts::PI * hz / f64::from(rate_hz);
        let (re, im) = frames
            .iter()
            .enumerate()
            .fold((0.0, 0.0), |sum, (n, frame)| {
                let (sin, cos) = (turn * n as f64).sin_cos();
                let sample = f64::from(frame[0]);
                (sum.0 + sample * cos, sum.1 + sample * sin)
            });
        10.0 * (re * re + im * im).log10()
    };
    at_hz.iter().map(db).collect()
}

/// Energy above 4 kHz against that of a 300 Hz sine: see [`clicks_beside_db`].
pub fn clicks_db(kind: Kind, settings: &[(u8, f32)], param: usize) -> f64 {
    clicks_beside_db(kind, settings, param, 300.0, 4000.0)
}

/// Energy beyond `edge_hz` (seen from the sine) against that of a sine, in dB, while one parameter
/// jumps between its ends and then wanders fast, all at 20 ms a ramp; the worst of 10 ms windows
/// against the loudest one.
pub fn clicks_beside_db(
    kind: Kind,
    settings: &[(u8, f32)],
    param: usize,
    hz: f64,
    edge_hz: f64,
) -> f64 {
    const RATE: u32 = 48_000;
    let mut rig = Rig::new(kind, RATE);
    for (param, value) in settings {
        rig.set(*param, *value, 0);
    }
    let mut frames = sine(hz, 0.5, RATE, 5 * RATE as usize);
    let what = &kind.params()[param];
    let mut random = noise(5 * 200).into_iter();
    for (turn, part) in frames.chunks_mut(RATE as usize / 200).enumerate() {
        let share = match turn {
            0..400 => None,
            400..700 if turn % 20 == 0 => Some(((turn / 20) % 2) as f64),
            700.. => random.next().map(|r| 0.5 + 0.5 * f64::from(r[0])),
            _ => None,
        };
        if let Some(share) = share {
            let value = what.min + share * (what.max - what.min);
            rig.set(param as u8, value as f32, RATE / 50);
        }
        rig.key = ((turn / 25) % 2) as f32;
        rig.run(part);
    }
    // A Butterworth high-pass or low-pass of order 8, in f64.
    let mut beyond: Vec<f64> = frames.iter().map(|frame| f64::from(frame[0])).collect();
    for pole in [1.0, 3.0, 5.0, 7.0] {
        let k = 2.0 * (pole * core::f64::consts::PI / 16.0).cos();
        let g = (core::f64::consts::PI * edge_hz / f64::from(RATE)).tan();
        let a1 = 1.0 / (1.0 + g * (g + k));
        let (mut s1, mut s2) = (0.0, 0.0);
        for sample in &mut beyond {
            let v3 = *sample - s2;
            let v1 = a1 * s1 + g * a1 * v3;
            let v2 = s2 + g * a1 * s1 + g * g * a1 * v3;
            s1 = 2.0 * v1 - s1;
            s2 = 2.0 * v2 - s2;
            *sample = if edge_hz > hz {
                *sample - k * v1 - v2
            } else {
                v2
            };
        }
    }
    let window = RATE as usize / 100;
    let after = 390 * RATE as usize / 200;
    let loudest = |samples: &[f64]| {
        samples[after..]
            .chunks(window)
            .map(|part| part.iter().map(|s| s * s).sum::<f64>())
            .fold(0.0, f64::max)
    };
    let all: Vec<f64> = frames.iter().map(|frame| f64::from(frame[0])).collect();
    10.0 * (loudest(&beyond) / loudest(&all)).log10()
}

/// Every parameter jumps from end to end while noise goes through, in blocks of many sizes: the same
/// bits come out, all finite.
pub fn same_in_any_spans(kind: Kind, rate_hz: u32) {
    let ramp = rate_hz / 50;
    let count = kind.params().len();
    let run = |block: usize| {
        let mut rig = Rig::new(kind, rate_hz);
        let mut frames = noise(40_000);
        for (n, frame) in frames.iter_mut().enumerate() {
            // Loud, quiet and silent passages.
            let level = [0.9, 0.01, 0.2, 0.0][n / 2500 % 4];
            *frame = frame.map(|sample| sample * level);
        }
        for (turn, part) in frames.chunks_mut(1009).enumerate() {
            let param = &kind.params()[turn % count];
            let value = [param.max, param.min, param.default][turn / count % 3];
            rig.set((turn % count) as u8, value as f32, ramp);
            rig.key = [0.0, 0.01, 1.0][turn % 3];
            rig.run_in(part, block);
        }
        frames
    };
    let whole = run(1 << 20);
    assert!(whole.iter().flatten().all(|sample| sample.is_finite()));
    assert!(whole.iter().flatten().any(|sample| *sample != 0.0));
    for block in [1, 7, 16, 33, 64, 480] {
        let bits =
            |frames: &[Frame]| -> Vec<_> { frames.iter().flatten().map(|s| s.to_bits()).collect() };
        assert!(bits(&run(block)) == bits(&whole), "blocks of {block}");
    }
}
