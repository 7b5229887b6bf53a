//! Sounds that a microphone hears: synthesised voices, whistles and instruments.

use std::f64::consts::TAU;

use super::{RATE_HZ, Random};

const RATE: f64 = RATE_HZ as f64;

/// Formants in Hz, with their widths.
pub type Formants = [(f64, f64); 4];

pub const AH: Formants = [
    (730.0, 90.0),
    (1090.0, 110.0),
    (2440.0, 170.0),
    (3400.0, 250.0),
];
pub const EE: Formants = [
    (270.0, 60.0),
    (2290.0, 140.0),
    (3010.0, 180.0),
    (3700.0, 250.0),
];
pub const OO: Formants = [
    (300.0, 60.0),
    (870.0, 90.0),
    (2240.0, 170.0),
    (3300.0, 250.0),
];
/// With the cluster that lets a trained voice carry.
pub const SINGER: Formants = [
    (600.0, 80.0),
    (1000.0, 100.0),
    (2600.0, 90.0),
    (2950.0, 110.0),
];

/// A slow random walk around 0 with a standard deviation of about 1: what no living thing can avoid.
pub struct Waver {
    random: Random,
    state: [f64; 2],
    weight: f64,
}

impl Waver {
    /// Faster than `hz` it hardly is.
    pub fn new(seed: u64, hz: f64) -> Waver {
        Waver {
            random: Random(seed),
            state: [0.0; 2],
            weight: 1.0 - (-TAU * hz / RATE).exp(),
        }
    }

    pub fn next(&mut self) -> f64 {
        let mut value = (self.random.unit() - 0.5) * 12f64.sqrt();
        // The variance that two such averages leave of white noise.
        value *= (4.0 / self.weight).sqrt();
        for state in &mut self.state {
            *state += (value - *state) * self.weight;
            value = *state;
        }
        value
    }
}

/// How a note moves.
#[derive(Clone, Copy)]
pub struct Manner {
    /// Of the vibrato, in Hz.
    pub vibrato_hz: f64,
    /// Peak, in semitones.
    pub vibrato: f64,
    /// Standard deviation of what the pitch wavers by, in semitones.
    pub jitter: f64,
    /// In seconds.
    pub attack_s: f64,
}

pub const STRAIGHT: Manner = Manner {
    vibrato_hz: 5.5,
    vibrato: 0.0,
    jitter: 0.05,
    attack_s: 0.06,
};

pub const VIBRATO: Manner = Manner {
    vibrato: 0.5,
    ..STRAIGHT
};

/// A raised cosine in and out.
fn envelope(at: usize, frames: usize, attack_s: f64) -> f64 {
    let edge = attack_s * RATE;
    let t = (at as f64).min((frames - at) as f64) / edge;
    if t < 1.0 {
        0.5 - 0.5 * (TAU * 0.5 * t).cos()
    } else {
        1.0
    }
}

/// A tone whose pitch goes along `hz(share of the note)`, with partials whose levels `level(number, Hz)` gives.
pub fn tone(
    seed: u64,
    seconds: f64,
    manner: Manner,
    hz: impl Fn(f64) -> f64,
    level: impl Fn(u32, f64) -> f64,
) -> Vec<f32> {
    let frames = (seconds * RATE) as usize;
    let mut waver = Waver::new(seed, 6.0);
    let mut shimmer = Waver::new(seed ^ 0xa5a5, 6.0);
    let (mut phase, mut levels) = (0.0f64, Vec::new());
    let mut out = Vec::with_capacity(frames);
    for at in 0..frames {
        let t = at as f64 / RATE;
        let vibrato = manner.vibrato * (TAU * manner.vibrato_hz * t).sin() * (t / 0.4).min(1.0);
        let semitones = vibrato + manner.jitter * waver.next();
        let pitch = hz(at as f64 / frames as f64) * (semitones / 12.0).exp2();
        phase = (phase + pitch / RATE).fract();
        if at % 64 == 0 {
            levels = (1..)
                .take_while(|n| f64::from(*n) * pitch < 10_000.0 && *n <= 100)
                .map(|n| level(n, f64::from(n) * pitch))
                .collect();
        }
        // Partials by Chebyshev's recurrence.
        let turn = 2.0 * (TAU * phase).cos();
        let (mut before, mut now) = (0.0, (TAU * phase).sin());
        let mut sum = 0.0;
        for level in &levels {
            sum += level * now;
            (before, now) = (now, turn * now - before);
        }
        let loudness = 1.0 + 0.05 * shimmer.next();
        out.push((sum * loudness * envelope(at, frames, manner.attack_s)) as f32);
    }
    out
}

/// The level of a voice's partial: a glottal source at −12 dB an octave, radiated, through formants.
pub fn glottal(formants: Formants) -> impl Fn(u32, f64) -> f64 {
    move |number, hz| {
        let mut level = 1.0 / f64::from(number);
        for (formant, width) in formants {
            let (ratio, damping) = (hz / formant, width / formant);
            let real = 1.0 - ratio * ratio;
            level /= (real * real + (damping * ratio).powi(2)).sqrt();
        }
        level
    }
}

/// A sung note.
pub fn sung(seed: u64, hz: f64, formants: Formants, seconds: f64, manner: Manner) -> Vec<f32> {
    tone(seed, seconds, manner, |_| hz, glottal(formants))
}

/// Scaled to a peak.
pub fn to_peak(mut sound: Vec<f32>, peak: f32) -> Vec<f32> {
    let loudest = super::peak(&sound);
    for sample in &mut sound {
        *sample *= peak / loudest;
    }
    sound
}

/// With a room's hiss, of a standard deviation.
pub fn with_hiss(mut sound: Vec<f32>, seed: u64, level: f64) -> Vec<f32> {
    let hiss = super::noise(seed, sound.len(), level * 3f64.sqrt());
    for (sample, hiss) in sound.iter_mut().zip(hiss) {
        *sample += hiss;
    }
    sound
}

/// Pauses are made of this.
pub fn pause(seconds: f64) -> Vec<f32> {
    vec![0.0; (seconds * RATE) as usize]
}

/// Something like speech: syllables that glide, hisses between them, pauses.
pub fn speech(seed: u64, seconds: f64) -> Vec<f32> {
    let mut random = Random(seed);
    let frames = (seconds * RATE) as usize;
    let mut out = Vec::with_capacity(frames + RATE_HZ as usize);
    let vowels = [AH, EE, OO];
    while out.len() < frames {
        for _ in 0..4 + random.below(8) {
            if random.chance(0.6) {
                let length = 0.04 + 0.06 * random.unit();
                let hiss = super::noise(random.next(), (length * RATE) as usize, 0.1);
                let mut before = 0.0;
                let count = hiss.len();
                out.extend(hiss.into_iter().enumerate().map(|(at, sample)| {
                    let high = sample - before;
                    before = sample;
                    high * envelope(at, count, 0.015) as f32
                }));
            }
            let (from, to) = (95.0 + 60.0 * random.unit(), 85.0 + 60.0 * random.unit());
            let (a, b) = (vowels[random.below(3)], vowels[random.below(3)]);
            let length = 0.1 + 0.15 * random.unit();
            let manner = Manner {
                attack_s: 0.025,
                ..STRAIGHT
            };
            let (one, other) = (glottal(a), glottal(b));
            // From one vowel to the other by fading: no partial stands still for long.
            let seed = random.next();
            let pitch = |t: f64| from + (to - from) * t;
            let first = to_peak(tone(seed, length, manner, pitch, one), 0.5);
            let second = to_peak(tone(seed, length, manner, pitch, other), 0.5);
            let count = first.len() as f32;
            out.extend(
                first
                    .into_iter()
                    .zip(second)
                    .enumerate()
                    .map(|(at, (first, second))| first + (second - first) * (at as f32 / count)),
            );
        }
        out.extend(pause(0.15 + 0.4 * random.unit()));
    }
    out.truncate(frames);
    out
}
