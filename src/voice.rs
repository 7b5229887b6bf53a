//! Built-in voices, for a rig without microphones: something to hear, and something that moves
//! meters, gates and compressors like a singer does.
//!
//! Source and filter, after D. H. Klatt, "Software for a cascade/parallel formant synthesizer",
//! J. Acoust. Soc. Am. 67 (1980): glottal pulses with vibrato and breath go through a cascade of
//! formant resonators; consonants are bursts of noise. The pulse is the one of D. H. Klatt and
//! L. C. Klatt, J. Acoust. Soc. Am. 87 (1990). The same numbers come out on every machine.

use std::f64::consts::PI;

/// Length of the loop, in seconds. It begins and ends in silence, so it has no seam.
pub const LOOP_S: u32 = 8;
/// Highest sample of each voice: −6 dBFS.
pub const PEAK: f32 = 0.5;

/// Formants of the vowels: frequencies in Hz, for the low voice.
type Vowel = [f64; 5];
const A: Vowel = [730.0, 1090.0, 2440.0, 3400.0, 4500.0];
const E: Vowel = [530.0, 1840.0, 2480.0, 3500.0, 4500.0];
const I: Vowel = [270.0, 2290.0, 3010.0, 3600.0, 4600.0];
const O: Vowel = [570.0, 840.0, 2410.0, 3300.0, 4400.0];
const U: Vowel = [300.0, 870.0, 2240.0, 3300.0, 4400.0];
/// Bandwidths of the formants, in Hz.
const BANDWIDTHS: [f64; 5] = [70.0, 90.0, 130.0, 200.0, 260.0];

/// How a syllable begins.
#[derive(Clone, Copy, PartialEq)]
enum Onset {
    /// Out of the one before.
    Legato,
    /// After a breath.
    Breath,
    /// With a hiss.
    Sibilant,
}

/// One syllable: when it is sung (in s), how high (in semitones above the voice's own note), what.
struct Syllable {
    from_s: f64,
    to_s: f64,
    note: f64,
    vowel: Vowel,
    onset: Onset,
}

const fn sung(from_s: f64, to_s: f64, note: f64, vowel: Vowel, onset: Onset) -> Syllable {
    Syllable {
        from_s,
        to_s,
        note,
        vowel,
        onset,
    }
}

const LOW: [Syllable; 11] = [
    sung(0.5, 0.9, 0.0, A, Onset::Breath),
    sung(0.95, 1.35, 2.0, I, Onset::Sibilant),
    sung(1.35, 2.1, 4.0, O, Onset::Legato),
    sung(2.15, 2.5, 5.0, E, Onset::Sibilant),
    sung(2.5, 3.3, 7.0, A, Onset::Legato),
    sung(4.1, 4.5, 7.0, U, Onset::Breath),
    sung(4.5, 4.85, 5.0, O, Onset::Legato),
    sung(4.9, 5.3, 4.0, I, Onset::Sibilant),
    sung(5.3, 5.65, 2.0, E, Onset::Legato),
    sung(5.7, 6.2, -1.0, A, Onset::Sibilant),
    sung(6.2, 7.4, 0.0, O, Onset::Legato),
];

const HIGH: [Syllable; 9] = [
    sung(1.0, 1.3, 4.0, E, Onset::Breath),
    sung(1.35, 1.6, 4.0, U, Onset::Sibilant),
    sung(1.6, 2.5, 7.0, A, Onset::Legato),
    sung(2.9, 3.3, 9.0, I, Onset::Breath),
    sung(3.3, 3.7, 7.0, E, Onset::Legato),
    sung(3.75, 4.9, 5.0, O, Onset::Sibilant),
    sung(5.7, 6.1, 2.0, A, Onset::Breath),
    sung(6.15, 6.5, 4.0, I, Onset::Sibilant),
    sung(6.5, 7.5, 0.0, A, Onset::Legato),
];

/// A singer.
struct Singer {
    /// Frequency of note 0, in Hz.
    pitch_hz: f64,
    /// Formants are higher by this factor in a shorter throat.
    formants: f64,
    vibrato_hz: f64,
    breathiness: f64,
    seed: u32,
    song: &'static [Syllable],
}

const SINGERS: [Singer; 2] = [
    Singer {
        pitch_hz: 130.81,
        formants: 1.0,
        vibrato_hz: 5.2,
        breathiness: 0.02,
        seed: 0x51f1_7e01,
        song: &LOW,
    },
    Singer {
        pitch_hz: 261.63,
        formants: 1.17,
        vibrato_hz: 5.9,
        breathiness: 0.04,
        seed: 0x2c9a_33d5,
        song: &HIGH,
    },
];

/// A low and a high voice at `sample_rate_hz` (8000…192000): two channels of [`LOOP_S`] seconds that
/// can be played round and round, always the same. Takes a moment; control side.
pub fn voices(sample_rate_hz: u32) -> Vec<Vec<f32>> {
    let voice = |singer| at_peak(sing(singer, f64::from(sample_rate_hz)));
    SINGERS.iter().map(voice).collect()
}

fn at_peak(samples: Vec<f64>) -> Vec<f32> {
    let peak = samples.iter().fold(0.0, |peak: f64, s| peak.max(s.abs()));
    let gain = f64::from(PEAK) / peak.max(f64::MIN_POSITIVE);
    samples.iter().map(|s| (s * gain) as f32).collect()
}

fn sing(singer: &Singer, rate: f64) -> Vec<f64> {
    // Pitch, loudness and formants change every millisecond.
    let step = ((rate / 1000.0) as usize).max(1);
    let frames = rate as usize * LOOP_S as usize;
    let mut noise = Noise(singer.seed);
    let mut throat = Throat::new(rate);
    let mut hiss = Resonator::default();
    hiss.set((6_500.0_f64).min(0.4 * rate), 2_500.0, rate);
    let mut face = Face::new(singer);
    let mut phase = 0.0;
    let mut tilt = 0.0;
    let tilt_share = 1.0 - libm::exp(-2.0 * PI * 8_000.0 / rate);
    let mut samples = Vec::with_capacity(frames);
    for frame in 0..frames {
        if frame % step == 0 {
            face.look(frame as f64 / rate, step as f64 / rate, &mut noise);
            throat.shape(&face.formants, rate);
        }
        phase += face.pitch_hz / rate;
        if phase >= 1.0 {
            phase -= 1.0;
        }
        let air = noise.next();
        let (pulse, is_open) = glottis(phase);
        // Air hisses where the glottis is open.
        let aspiration = air * singer.breathiness * if is_open { 1.0 } else { 0.3 };
        tilt += tilt_share * (pulse + aspiration - tilt);
        let source = face.voiced * tilt + 0.05 * face.breath * air;
        let spoken = throat.filter(source) + 0.25 * face.sibilance * hiss.filter(air);
        samples.push(spoken);
    }
    samples
}

/// The flow's derivative at a phase of 0…1, and whether the glottis is open: `2at − 3bt²` over the
/// open 60 %, so that the flow itself ends at 0.
fn glottis(phase: f64) -> (f64, bool) {
    const OPEN: f64 = 0.6;
    if phase >= OPEN {
        return (0.0, false);
    }
    let t = phase / OPEN;
    (2.0 * t - 3.0 * t * t, true)
}

/// What the singer's face shows now: everything that moves slowly.
struct Face<'a> {
    singer: &'a Singer,
    pitch_hz: f64,
    /// In semitones, gliding.
    note: f64,
    drift: f64,
    voiced: f64,
    breath: f64,
    sibilance: f64,
    formants: Vowel,
}

impl<'a> Face<'a> {
    fn new(singer: &'a Singer) -> Face<'a> {
        Face {
            singer,
            pitch_hz: singer.pitch_hz,
            note: singer.song[0].note,
            drift: 0.0,
            voiced: 0.0,
            breath: 0.0,
            sibilance: 0.0,
            formants: singer.song[0].vowel.map(|hz| hz * singer.formants),
        }
    }

    /// Moves on by `step_s` to the time `now_s`.
    fn look(&mut self, now_s: f64, step_s: f64, noise: &mut Noise) {
        const BREATH_S: f64 = 0.3;
        const HISS_S: f64 = 0.09;
        let song = self.singer.song;
        let current = song.iter().find(|s| (s.from_s..s.to_s).contains(&now_s));
        let next = song.iter().find(|s| s.from_s > now_s);
        // The mouth is already where the next syllable begins.
        if let Some(syllable) = current.or(next) {
            let glide = |seconds: f64| 1.0 - libm::exp(-step_s / seconds);
            self.note += glide(0.03) * (syllable.note - self.note);
            for (formant, target) in self.formants.iter_mut().zip(syllable.vowel) {
                *formant += glide(0.025) * (target * self.singer.formants - *formant);
            }
        }
        self.voiced = current.map_or(0.0, |s| swell(now_s, s.from_s, s.to_s, 0.03, 0.06));
        let before = |onset: Onset, seconds: f64| {
            next.filter(|s| s.onset == onset && now_s >= s.from_s - seconds)
                .map_or(0.0, |s| {
                    swell(now_s, s.from_s - seconds, s.from_s, 0.03, 0.03)
                })
        };
        self.breath = before(Onset::Breath, BREATH_S);
        self.sibilance = before(Onset::Sibilant, HISS_S);
        // Vibrato comes with the length of the note; pitch is never quite still.
        let held_s = current.map_or(0.0, |s| now_s - s.from_s);
        let depth = 0.35 * ((held_s - 0.15) / 0.3).clamp(0.0, 1.0);
        let vibrato = depth * libm::sin(2.0 * PI * self.singer.vibrato_hz * now_s);
        self.drift += 0.02 * (noise.next() - self.drift);
        let semitones = self.note + vibrato + self.drift;
        self.pitch_hz = self.singer.pitch_hz * libm::exp2(semitones / 12.0);
    }
}

/// From 0 up to 1 and down to 0 again between two times, with raised-cosine edges.
fn swell(now_s: f64, from_s: f64, to_s: f64, rise_s: f64, fall_s: f64) -> f64 {
    let edge = |share: f64| 0.5 - 0.5 * libm::cos(PI * share.clamp(0.0, 1.0));
    edge((now_s - from_s) / rise_s) * edge((to_s - now_s) / fall_s)
}

/// The formants that fit below half the sample rate, one after the other.
struct Throat {
    resonators: [Resonator; 5],
    used: usize,
}

impl Throat {
    fn new(rate: f64) -> Throat {
        // At 8 kHz the upper formants of a high voice would be beyond the end.
        let fits = |hz: &&f64| **hz * 1.17 < 0.45 * rate;
        Throat {
            resonators: Default::default(),
            used: I.iter().filter(fits).count(),
        }
    }

    fn shape(&mut self, formants: &Vowel, rate: f64) {
        for ((resonator, hz), bandwidth) in self.resonators.iter_mut().zip(formants).zip(BANDWIDTHS)
        {
            resonator.set(*hz, bandwidth, rate);
        }
    }

    fn filter(&mut self, source: f64) -> f64 {
        let used = self.resonators.iter_mut().take(self.used);
        used.fold(source, |sample, resonator| resonator.filter(sample))
    }
}

/// Klatt's digital resonator, with a gain of 1 at 0 Hz.
#[derive(Default)]
struct Resonator {
    a: f64,
    b: f64,
    c: f64,
    last: [f64; 2],
}

impl Resonator {
    fn set(&mut self, hz: f64, bandwidth_hz: f64, rate: f64) {
        let radius = libm::exp(-PI * bandwidth_hz / rate);
        self.c = -radius * radius;
        self.b = 2.0 * radius * libm::cos(2.0 * PI * hz / rate);
        self.a = 1.0 - self.b - self.c;
    }

    fn filter(&mut self, sample: f64) -> f64 {
        let [one, two] = self.last;
        let out = self.a * sample + self.b * one + self.c * two;
        // The tail of a pause would end in denormals, which are slow.
        self.last = [if out.abs() < 1e-30 { 0.0 } else { out }, one];
        out
    }
}

/// White noise in −1…1, the same from the same seed (G. Marsaglia, "Xorshift RNGs", 2003).
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        f64::from(self.0) / f64::from(u32::MAX) * 2.0 - 1.0
    }
}
