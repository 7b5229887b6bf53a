//! A full karaoke rig: four mics with the whole chain, a reverb and an echo on buses that they share,
//! stereo music, and the master's limiter; and somebody who turns all of its knobs.

use rigd_rt::command::TrackLevel;
use rigd_rt::{Command, Kind, TrackKind};

use super::{MASTER, Random, Rig, add_track, mono_input, noise, set, sine, stereo_input};

pub const MICS: u8 = 4;
/// Channels of the backend: the mics, then the music.
pub const CHANNELS: usize = 6;
const MUSIC: u8 = 5;
const REVERB: u8 = 6;
const ECHO: u8 = 7;

const MIC_CHAIN: [Kind; 6] = [
    Kind::Hpf,
    Kind::Feedback,
    Kind::Gate,
    Kind::Compressor,
    Kind::Eq,
    Kind::Deesser,
];

/// What a host might have set; everything else is at its default.
const SETTINGS: [(&str, &[(&str, f32)]); 6] = [
    ("hpf", &[("freq", 100.0), ("slope", 24.0)]),
    ("compressor", &[("threshold_db", -22.0), ("makeup_db", 4.0)]),
    (
        "eq",
        &[
            ("low_gain_db", -3.0),
            ("mid1_gain_db", -2.0),
            ("mid2_gain_db", 2.0),
            ("high_gain_db", 3.0),
        ],
    ),
    ("deesser", &[("threshold_db", -32.0)]),
    ("echo", &[("wet_dry", 1.0)]),
    ("reverb", &[("wet_dry", 1.0)]),
];

/// The rig, and the slots of its effects. The master's limiter is the first.
pub struct Karaoke {
    pub rig: Rig,
    pub effects: Vec<(u8, Kind)>,
}

impl Karaoke {
    pub fn new(rate_hz: u32) -> Karaoke {
        let mut tracks = vec![add_track(MASTER, TrackKind::Master)];
        let mut chains = vec![(MASTER, Kind::Limiter)];
        for mic in 1..=MICS {
            tracks.extend([add_track(mic, TrackKind::Mic), mono_input(mic, mic - 1)]);
            chains.extend(MIC_CHAIN.map(|kind| (mic, kind)));
        }
        tracks.extend([add_track(MUSIC, TrackKind::Stem), stereo_input(MUSIC, MICS)]);
        chains.push((MUSIC, Kind::Duck));
        for (bus, kind) in [(REVERB, Kind::Reverb), (ECHO, Kind::Echo)] {
            tracks.push(add_track(bus, TrackKind::Bus));
            tracks.extend((1..=MICS).map(|track| send(track, bus, 0.3)));
            chains.push((bus, kind));
        }
        let memory = chains.iter().map(|(_, kind)| kind.memory(rate_hz)).sum();
        let mut rig = Rig::new(rate_hz, memory);
        let mut group = tracks;
        let mut effects = Vec::new();
        for (track, kind) in chains {
            let (slot, add) = rig.effect(track, kind, u8::MAX);
            group.push(add);
            group.extend(settings(kind).map(|(param, value)| set(slot, param, value)));
            if kind == Kind::Duck {
                let places = (1..=MICS).fold(0, |mics, mic| mics | 1 << mic);
                group.push(Command::Sidechain { slot, places });
            }
            effects.push((slot, kind));
        }
        rig.now(&group);
        Karaoke { rig, effects }
    }

    /// One turn of a knob, or of many at once: ends as often as not. The master keeps its ceiling and its
    /// limiter.
    pub fn turn(&self, random: &mut Random) -> Vec<Command> {
        let any = |random: &mut Random, min: f64, max: f64| {
            let share = [0.0, 1.0, random.unit()][random.below(3)];
            (min + (max - min) * share) as f32
        };
        let source = 1 + random.below(MUSIC.into()) as u8;
        let (slot, kind) = self.effects[random.below(self.effects.len())];
        let params = (0..).zip(kind.params());
        let params = params.filter(|(_, param)| param.id != "ceiling_db");
        match random.below(10) {
            // A preset.
            0 => params
                .map(|(index, param)| set(slot, index, any(random, param.min, param.max)))
                .collect(),
            1 if kind != Kind::Limiter => vec![Command::Bypass {
                slot,
                on: random.chance(0.3),
            }],
            2 => vec![send(
                source,
                [REVERB, ECHO][random.below(2)],
                any(random, 0.0, 1.0),
            )],
            3 => {
                let (level, min, max) = [
                    (TrackLevel::InputGain, 0.06, 100.0),
                    (TrackLevel::Volume, 0.0, 2.0),
                    (TrackLevel::Pan, -1.0, 1.0),
                ][random.below(3)];
                vec![Command::Level {
                    track: 1 + random.below(usize::from(ECHO)) as u8,
                    level,
                    value: any(random, min, max),
                }]
            }
            4 if kind != Kind::Limiter => vec![Command::MoveEffect {
                slot,
                position: random.below(5) as u8,
            }],
            _ => {
                let params: Vec<_> = params.collect();
                let (index, param) = params[random.below(params.len())];
                vec![set(slot, index, any(random, param.min, param.max))]
            }
        }
    }

    /// Turns for a second at odd frames, some at one frame with others; says how many.
    pub fn turn_for_a_second(&mut self, random: &mut Random, second: usize) -> usize {
        let second_frames = u64::from(self.rig.rate_hz);
        let end = (second as u64 + 1) * second_frames;
        let (mut at, mut turns) = (end - second_frames, 0);
        while at < end {
            let turn = self.turn(random);
            self.rig.at(at, &turn);
            turns += 1;
            at += random.below(2_000) as u64;
        }
        turns
    }
}

fn send(track: u8, bus: u8, level: f32) -> Command {
    Command::Send { track, bus, level }
}

fn settings(kind: Kind) -> impl Iterator<Item = (u8, f32)> {
    let mine = SETTINGS
        .iter()
        .filter(move |(name, _)| *name == kind.name());
    let index = move |id: &str| kind.params().iter().position(|param| param.id == id);
    mine.flat_map(|(_, settings)| *settings)
        .filter_map(move |(id, value)| Some((index(id)? as u8, *value)))
}

/// Singing of sorts on every mic (a tone in syllables, breath, pauses) and music, at speaking level.
pub fn night(seed: u64, rate_hz: u32, frames: usize) -> Vec<Vec<f32>> {
    let mut channels = Vec::new();
    for channel in 0..CHANNELS {
        let seed = seed * 100 + channel as u64;
        let hz = [147.0, 220.0, 311.0, 523.0, 82.0, 98.0][channel];
        let breath = noise(seed, frames, 0.05);
        let tone = sine(hz, 0.0, 0.25, rate_hz, frames);
        let over = sine(hz * 31.0, 0.0, 0.05, rate_hz, frames);
        let syllable = rate_hz as usize / (4 + channel);
        let sound = (0..frames).map(|frame| {
            let place = frame % syllable;
            // Every third syllable is a pause, every other of them dead silence.
            let level = match (frame / syllable % 6, channel < MICS.into()) {
                (2, true) => 0.0,
                (5, true) => 0.002,
                _ => 1.0 - 0.8 * place as f32 / syllable as f32,
            };
            level * (tone[frame] + over[frame] + breath[frame])
        });
        channels.push(sound.collect());
    }
    channels
}

/// A second of the worst there is for a channel, another in every second.
pub fn worst(random: &mut Random, channel: usize, second: usize, rate_hz: u32) -> Vec<f32> {
    let frames = rate_hz as usize;
    let seed = random.next();
    match (channel + second) % 8 {
        0 => vec![0.0; frames],
        1 => noise(seed, frames, 1.0),
        2 => noise(seed, frames, 1.0)
            .into_iter()
            .map(f32::signum)
            .collect(),
        // At the edge of the denormal.
        3 => noise(seed, frames, 2e-38),
        4 => vec![1.0; frames],
        5 => sine(
            20.0 * 1000f64.powf(random.unit()),
            0.0,
            1.0,
            rate_hz,
            frames,
        ),
        6 => (0..frames)
            .map(|frame| if frame % 4_800 == 0 { 30.0 } else { 0.0 })
            .collect(),
        // What no driver should hand over.
        _ => (0..frames)
            .map(|frame| [f32::NAN, 1e38, f32::INFINITY, 1e-42, 0.5][frame % 5])
            .collect(),
    }
}
