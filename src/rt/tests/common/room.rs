//! A room with a loudspeaker and a microphone, and the loop that they close with an engine.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::sync::Arc;

use rigd_rt::{Command, Kind, Report, TrackKind, command::TrackLevel};
use rustfft::{Fft, FftPlanner, num_complex::Complex64};

use super::{MASTER, MIC, RATE_HZ, Random, Rig, add_track, mono_input, set};

const RATE: f64 = RATE_HZ as f64;
const BLOCK: usize = 64;
/// What the preamplifier gives: speech at 0.05 comes to full scale with 26 dB.
const INPUT_GAIN: f32 = 8.0;

/// A second-order filter of R. Bristow-Johnson's cookbook, in place.
fn biquad(signal: &mut [f64], b: [f64; 3], a: [f64; 3]) {
    let (mut s1, mut s2) = (0.0, 0.0);
    for sample in signal {
        let x = *sample;
        let y = (b[0] * x + s1) / a[0];
        s1 = b[1] * x - a[1] * y + s2;
        s2 = b[2] * x - a[2] * y;
        *sample = y;
    }
}

fn high_pass(signal: &mut [f64], hz: f64, q: f64) {
    let (sin, cos) = (TAU * hz / RATE).sin_cos();
    let alpha = sin / (2.0 * q);
    let b = (1.0 + cos) / 2.0;
    biquad(
        signal,
        [b, -2.0 * b, b],
        [1.0 + alpha, -2.0 * cos, 1.0 - alpha],
    );
}

fn low_pass(signal: &mut [f64], hz: f64, q: f64) {
    let (sin, cos) = (TAU * hz / RATE).sin_cos();
    let alpha = sin / (2.0 * q);
    let b = (1.0 - cos) / 2.0;
    biquad(
        signal,
        [b, 2.0 * b, b],
        [1.0 + alpha, -2.0 * cos, 1.0 - alpha],
    );
}

fn bell(signal: &mut [f64], hz: f64, q: f64, db: f64) {
    let (sin, cos) = (TAU * hz / RATE).sin_cos();
    let (alpha, a) = (sin / (2.0 * q), 10f64.powf(db / 40.0));
    biquad(
        signal,
        [1.0 + alpha * a, -2.0 * cos, 1.0 - alpha * a],
        [1.0 + alpha / a, -2.0 * cos, 1.0 - alpha / a],
    );
}

/// From the loudspeaker's input to the microphone's output: direct sound after the way between them, and a
/// diffuse tail that decays by 60 dB in `t60_s`; a loudspeaker and a vocal microphone of some quality.
pub fn impulse_response(seed: u64, distance_m: f64, t60_s: f64) -> Vec<f64> {
    let mut random = Random(seed);
    let direct = (distance_m / 343.0 * RATE) as usize;
    let mut response = vec![0.0; direct + (t60_s * RATE) as usize];
    response[direct] = 1.0;
    // Of the tail against the direct sound: 3 dB more at a distance of 1.5 m.
    let share = 2f64.sqrt() * distance_m / 1.5;
    let decay = (-6.9 / (t60_s * RATE)).exp();
    let scale = share * (1.0 - decay * decay).sqrt();
    let mut level = scale;
    for sample in response.iter_mut().skip(direct + 100) {
        // Uniform noise of variance 1.
        *sample += (random.unit() - 0.5) * 12f64.sqrt() * level;
        level *= decay;
    }
    // Loudspeaker.
    high_pass(&mut response, 70.0, 0.7);
    low_pass(&mut response, 14_000.0, 0.7);
    bell(&mut response, 300.0 + 300.0 * random.unit(), 1.0, 3.0);
    bell(&mut response, 1500.0 + 1500.0 * random.unit(), 2.0, 4.0);
    // Microphone: little bass from afar, presence, nothing on top.
    high_pass(&mut response, 130.0, 0.6);
    bell(&mut response, 4000.0 + 2000.0 * random.unit(), 1.5, 5.0);
    low_pass(&mut response, 12_000.0, 0.7);
    // Walls and air take the treble.
    low_pass(&mut response, 5000.0, 0.5);
    response
}

/// Convolves a stream in blocks, with no latency of its own: uniformly partitioned overlap-save.
struct Convolver {
    parts: Vec<Vec<Complex64>>,
    past: VecDeque<Vec<Complex64>>,
    before: [f64; BLOCK],
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
}

impl Convolver {
    fn new(response: &[f64]) -> Convolver {
        let mut planner = FftPlanner::new();
        let forward = planner.plan_fft_forward(2 * BLOCK);
        let inverse = planner.plan_fft_inverse(2 * BLOCK);
        let parts: Vec<_> = response
            .chunks(BLOCK)
            .map(|part| {
                let mut spectrum = vec![Complex64::default(); 2 * BLOCK];
                for (to, from) in spectrum.iter_mut().zip(part) {
                    to.re = *from / (2 * BLOCK) as f64;
                }
                forward.process(&mut spectrum);
                spectrum
            })
            .collect();
        let past = parts
            .iter()
            .map(|_| vec![Complex64::default(); 2 * BLOCK])
            .collect();
        Convolver {
            parts,
            past,
            before: [0.0; BLOCK],
            forward,
            inverse,
        }
    }

    fn block(&mut self, input: &[f32]) -> Vec<f32> {
        let mut spectrum = self.past.pop_back().unwrap();
        for (at, value) in spectrum.iter_mut().enumerate() {
            let sample = if at < BLOCK {
                self.before[at]
            } else {
                f64::from(input[at - BLOCK])
            };
            *value = Complex64::new(sample, 0.0);
        }
        for (to, from) in self.before.iter_mut().zip(input) {
            *to = f64::from(*from);
        }
        self.forward.process(&mut spectrum);
        self.past.push_front(spectrum);
        // The samples are real: half of the bins say it all.
        let mut sum = vec![Complex64::default(); 2 * BLOCK];
        for (part, past) in self.parts.iter().zip(&self.past) {
            for ((sum, part), past) in sum.iter_mut().zip(part).zip(past).take(BLOCK + 1) {
                *sum += part * past;
            }
        }
        for bin in 1..BLOCK {
            sum[2 * BLOCK - bin] = sum[bin].conj();
        }
        self.inverse.process(&mut sum);
        sum[BLOCK..].iter().map(|value| value.re as f32).collect()
    }
}

/// A mic with a high-pass and, unless it is left out, `feedback`; a master with its limiter.
pub fn rig(with_feedback: bool, params: &[(u8, f32)]) -> Rig {
    let memory = Kind::Limiter.memory(RATE_HZ) + Kind::Feedback.memory(RATE_HZ);
    let mut rig = Rig::new(RATE_HZ, memory);
    let (_, limiter) = rig.effect(MASTER, Kind::Limiter, 0);
    let (_, hpf) = rig.effect(MIC, Kind::Hpf, 0);
    let mut group = vec![
        add_track(MASTER, TrackKind::Master),
        add_track(MIC, TrackKind::Mic),
        mono_input(MIC, 0),
        Command::Level {
            track: MIC,
            level: TrackLevel::InputGain,
            value: INPUT_GAIN,
        },
        limiter,
        hpf,
    ];
    if with_feedback {
        let (slot, feedback) = rig.effect(MIC, Kind::Feedback, 1);
        group.push(feedback);
        group.extend(
            params
                .iter()
                .map(|(param, value)| set(slot, *param, *value)),
        );
    }
    rig.now(&group);
    rig
}

/// A room whose howling point is known.
pub struct Room {
    /// At which the loop just howls.
    response: Vec<f64>,
    /// Where it howls first.
    pub freq_hz: f64,
}

impl Room {
    /// Scales a response so that the loop through [`rig`], one block of latency included, is at its howling
    /// point: H. Nyquist's criterion, on the loop's measured response.
    pub fn new(response: Vec<f64>) -> Room {
        let mut engine = rig(false, &[]);
        let mut impulse = vec![0.0; 8192];
        impulse[0] = 1e-3;
        let [through, _] = engine.run(&[&impulse]);
        let points = (2 * response.len()).next_power_of_two().max(1 << 17);
        let mut planner = FftPlanner::new();
        let fft = planner.plan_fft_forward(points);
        let spectrum = |samples: &mut dyn Iterator<Item = f64>| {
            let mut spectrum = vec![Complex64::default(); points];
            for (to, from) in spectrum.iter_mut().zip(samples) {
                to.re = from;
            }
            fft.process(&mut spectrum);
            spectrum
        };
        let mut engine_response = (0..BLOCK)
            .map(|_| 0.0)
            .chain(through.iter().map(|sample| f64::from(*sample) * 1e3));
        let engine = spectrum(&mut engine_response);
        let room = spectrum(&mut response.iter().copied());
        let open: Vec<Complex64> = engine.iter().zip(&room).map(|(a, b)| a * b).collect();
        let (mut most, mut freq_hz) = (0.0, 0.0);
        for (bin, pair) in open[..points / 2].windows(2).enumerate() {
            let [a, b] = [pair[0], pair[1]];
            if a.im * b.im <= 0.0 && a.im != b.im {
                let share = a.im / (a.im - b.im);
                let re = a.re + (b.re - a.re) * share;
                if re > most {
                    (most, freq_hz) = (re, (bin as f64 + share) * RATE / points as f64);
                }
            }
        }
        Room {
            response: response.into_iter().map(|sample| sample / most).collect(),
            freq_hz,
        }
    }

    /// Closes the loop `over_db` over the howling point, and lets it run while `source` is said into the
    /// microphone.
    pub fn close(&self, rig: &mut Rig, over_db: f64, source: &[f32]) -> Run {
        let gain = 10f64.powf(over_db / 20.0);
        let response: Vec<f64> = self.response.iter().map(|sample| sample * gain).collect();
        let mut room = Convolver::new(&response);
        let mut heard = vec![0.0; BLOCK];
        let mut out = Vec::with_capacity(source.len());
        let mut heard_by_mic = Vec::with_capacity(source.len());
        let mut reports = Vec::new();
        rig.block = BLOCK;
        for source in source.chunks_exact(BLOCK) {
            let mic: Vec<f32> = source
                .iter()
                .zip(&heard)
                // A converter has an end.
                .map(|(source, heard)| (source + heard).clamp(-1.0, 1.0))
                .collect();
            let [left, _] = rig.run(&[&mic]);
            heard = room.block(&left);
            out.extend(left);
            heard_by_mic.extend(mic);
            let news = rig.take_reports().into_iter();
            reports.extend(
                news.filter(|report| matches!(report, Report::Notch { .. } | Report::Howl { .. }))
                    .map(|report| (out.len(), report)),
            );
        }
        Run {
            mic: heard_by_mic,
            out,
            reports,
        }
    }
}

/// What came of it.
pub struct Run {
    /// What the microphone gave.
    pub mic: Vec<f32>,
    /// The master.
    pub out: Vec<f32>,
    /// What feedback said, each with the frame at which it was read.
    pub reports: Vec<(usize, Report)>,
}
