//! Whatever is done to an effect while a tone sounds, nothing is heard but the tone, louder or softer:
//! far from it a change leaves less than −60 dB of it.

mod common;

use common::*;
use rigd_rt::{Command, Kind};

const FRAMES: usize = 48_000;
const CHANGES: u64 = 40;
/// The tone has faded in, and filters have come to rest.
const SETTLED: usize = 3_000;
/// Frames between two steps of a sweep, and from one end of it to the other and back.
const STEP: u64 = 97;
const SWEEP: u64 = 9_600;

/// The tone under which a kind is at work, and where it must leave nothing: above or below.
#[derive(Clone, Copy)]
struct Tone {
    hz: f64,
    edge_hz: f64,
}

const LOW: Tone = Tone {
    hz: 1_000.0,
    edge_hz: 4_000.0,
};
/// For what only hears sibilants.
const HIGH: Tone = Tone {
    hz: 6_000.0,
    edge_hz: 1_800.0,
};

fn tone(kind: Kind) -> Tone {
    if kind == Kind::Deesser { HIGH } else { LOW }
}

/// Settings with which a kind has much to do under its tone, so that whatever is done to it is heard.
fn busy(kind: Kind) -> Vec<(u8, f32)> {
    let settings: &[(&str, f32)] = match kind {
        Kind::Gain => &[("volume", 0.3)],
        Kind::Hpf => &[("freq", 500.0), ("slope", 24.0)],
        Kind::Gate => &[("threshold_db", -3.0)],
        Kind::Compressor => &[
            ("threshold_db", -30.0),
            ("ratio", 10.0),
            ("attack_ms", 1.0),
            ("makeup_db", 6.0),
        ],
        Kind::Eq => &[
            ("low_freq", 500.0),
            ("low_gain_db", -12.0),
            ("mid1_freq", 1_000.0),
            ("mid1_gain_db", 12.0),
            ("mid1_q", 10.0),
            ("mid2_freq", 1_200.0),
            ("mid2_gain_db", -9.0),
            ("mid2_q", 3.0),
            ("high_freq", 2_000.0),
            ("high_gain_db", 12.0),
        ],
        Kind::Deesser => &[
            ("freq", 4_000.0),
            ("threshold_db", -40.0),
            ("range_db", 24.0),
        ],
        Kind::Echo => &[("time_ms", 60.0), ("feedback", 0.7), ("wet_dry", 0.7)],
        Kind::Reverb => &[("wet_dry", 1.0)],
        Kind::Limiter => &[("ceiling_db", -12.0)],
        #[allow(
            unreachable_patterns,
            reason = "a kind that is not here yet is at its defaults"
        )]
        _ => &[],
    };
    let index = |id: &str| kind.params().iter().position(|param| param.id == id);
    let known = settings.iter().map(|(id, value)| (index(id), *value));
    known
        .map(|(index, value)| (index.expect("a parameter of its") as u8, value))
        .collect()
}

/// Commands that set an effect in a slot to [`busy`].
fn busily(slot: u8, kind: Kind) -> impl Iterator<Item = Command> {
    let settings = busy(kind).into_iter();
    settings.map(move |(param, value)| set(slot, param, value))
}

/// The loudest 10 ms behind the first frames, as an energy.
fn loudest(signal: &[f64]) -> f64 {
    let windows = signal[SETTLED..].chunks(RATE_HZ as usize / 100);
    let energies = windows.map(|part| part.iter().map(|s| s * s).sum::<f64>());
    energies.fold(1e-30, f64::max)
}

/// The loudest 10 ms beyond a tone's edge against the loudest of all, in dB, by an eighth-order
/// Butterworth.
fn beyond_db(signal: &[f32], tone: Tone) -> f64 {
    let whole: Vec<f64> = signal.iter().map(|s| f64::from(*s)).collect();
    let mut out = whole.clone();
    for k in [1.961_570_56, 1.662_939_22, 1.111_140_47, 0.390_180_64] {
        let g = (std::f64::consts::PI * tone.edge_hz / f64::from(RATE_HZ)).tan();
        let a1 = 1.0 / (1.0 + g * (g + k));
        let (mut s1, mut s2) = (0.0, 0.0);
        for sample in &mut out {
            let v3 = *sample - s2;
            let v1 = a1 * (s1 + g * v3);
            let v2 = s2 + g * v1;
            s1 = 2.0 * v1 - s1;
            s2 = 2.0 * v2 - s2;
            *sample = if tone.edge_hz > tone.hz {
                *sample - k * v1 - v2
            } else {
                v2
            };
        }
    }
    10.0 * (loudest(&out) / loudest(&whole)).log10()
}

/// A tone that fades in: its own beginning would be a click, and sound on in a reverb.
fn sound(tone: Tone) -> Vec<f32> {
    let mut sound = sine(tone.hz, 0.0, 0.5, RATE_HZ, FRAMES);
    for (at, sample) in sound.iter_mut().enumerate().take(SETTLED) {
        *sample *= 0.5 - 0.5 * (std::f32::consts::PI * at as f32 / SETTLED as f32).cos();
    }
    sound
}

/// Changes at odd moments of the tone.
fn moments() -> impl Iterator<Item = u64> {
    (0..CHANGES).map(|turn| 4_001 + 1_087 * turn)
}

fn judge(name: &str, tone: Tone, rig: &mut Rig) {
    let [left, right] = rig.run_twin(&sound(tone));
    for side in [left, right] {
        let click = beyond_db(&side, tone);
        println!("{name}: {click:.1} dB");
        assert!(click < -60.0, "{name}: {click:.1} dB");
    }
}

#[test]
fn the_judge_hears_a_click() {
    for tone in [LOW, HIGH] {
        let mut sound = sound(tone);
        assert!(beyond_db(&sound, tone) < -80.0);
        sound[20_000..].iter_mut().for_each(|sample| *sample *= 0.9);
        sound[20_003..].iter_mut().for_each(|sample| *sample *= 0.9);
        assert!(beyond_db(&sound, tone) > -60.0);
    }
}

#[test]
fn effects_that_come_and_go() {
    for kind in Kind::ALL {
        let mut rig = Rig::desk(RATE_HZ);
        let memory_len = kind.memory(RATE_HZ) as u32;
        for (slot, at) in moments().enumerate() {
            let slot = slot as u8;
            let add = Command::AddEffect {
                track: STEM,
                slot,
                kind,
                position: 0,
                memory: memory_len * u32::from(slot % 4),
                memory_len,
            };
            let mut group = vec![add];
            group.extend(busily(slot, kind));
            rig.at(at, &group);
            rig.at(at + 701, &[Command::RemoveEffect { slot }]);
        }
        judge(&format!("{kind:?} comes and goes"), tone(kind), &mut rig);
    }
}

#[test]
fn effects_that_are_moved() {
    for kind in Kind::ALL {
        let mut rig = Rig::desk(RATE_HZ);
        let (one, add_one) = rig.effect(STEM, kind, 0);
        let (_, add_two) = rig.effect(STEM, Kind::Hpf, 1);
        let (_, add_three) = rig.effect(STEM, Kind::Gain, 2);
        let mut group = vec![add_one, add_two, add_three, set(2, 0, 0.7)];
        group.extend(busily(one, kind));
        rig.now(&group);
        for (turn, at) in moments().enumerate() {
            let position = [2, 0, 1][turn % 3];
            rig.at(
                at,
                &[Command::MoveEffect {
                    slot: one,
                    position,
                }],
            );
            // And again before that is done.
            if turn % 4 == 0 {
                rig.at(at + 99, &[Command::MoveEffect { slot: 1, position }]);
            }
        }
        judge(&format!("{kind:?} is moved"), tone(kind), &mut rig);
    }
}

#[test]
fn effects_that_rest() {
    for kind in Kind::ALL {
        let mut rig = Rig::with_effect(RATE_HZ, kind, &busy(kind));
        // Long enough to fall asleep and wake up, and now and then too short.
        for (turn, at) in (0..10).map(|turn| (turn, 4_001 + 4_387 * turn)) {
            let on = turn % 2 == 0;
            rig.at(at, &[Command::Rest { slot: 0, on }]);
            if turn % 3 == 0 {
                rig.at(at + 177, &[Command::Rest { slot: 0, on: !on }]);
                rig.at(at + 1_351, &[Command::Rest { slot: 0, on }]);
            }
        }
        judge(&format!("{kind:?} rests"), tone(kind), &mut rig);
    }
}

#[test]
fn effects_that_are_bypassed() {
    for kind in Kind::ALL {
        let mut rig = Rig::with_effect(RATE_HZ, kind, &busy(kind));
        for (turn, at) in moments().enumerate() {
            let on = turn % 2 == 0;
            rig.at(at, &[Command::Bypass { slot: 0, on }]);
            if turn % 5 == 0 {
                rig.at(at + 77, &[Command::Bypass { slot: 0, on: !on }]);
                rig.at(at + 151, &[Command::Bypass { slot: 0, on }]);
            }
        }
        judge(&format!("{kind:?} is bypassed"), tone(kind), &mut rig);
    }
}

/// Each parameter of each kind, with settings that let it be heard.
fn each_parameter(mut change: impl FnMut(&mut Rig, u8, [f32; 2]), what: &str) {
    for kind in Kind::ALL {
        for (index, param) in kind.params().iter().enumerate() {
            let mut rig = Rig::with_effect(RATE_HZ, kind, &busy(kind));
            let ends = [param.min as f32, param.max as f32];
            change(&mut rig, index as u8, ends);
            judge(
                &format!("{kind:?}, {} {what}", param.id),
                tone(kind),
                &mut rig,
            );
        }
    }
}

#[test]
fn parameters_that_jump_between_their_ends() {
    let jumps = |rig: &mut Rig, param, [min, max]: [f32; 2]| {
        for (turn, at) in moments().enumerate() {
            rig.at(at, &[set(0, param, if turn % 2 == 0 { max } else { min })]);
        }
    };
    each_parameter(jumps, "jumps");
}

#[test]
fn parameters_that_are_swept_fast() {
    let sweeps = |rig: &mut Rig, param, [min, max]: [f32; 2]| {
        for at in (4_001..FRAMES as u64).step_by(STEP as usize) {
            let way = (at % SWEEP) as f32 / SWEEP as f32;
            let share = 1.0 - (2.0 * way - 1.0).abs();
            rig.at(at, &[set(0, param, min + (max - min) * share)]);
        }
    };
    each_parameter(sweeps, "is swept");
}

#[test]
fn presets_that_change_everything_at_once() {
    for kind in Kind::ALL {
        for seed in 0..4 {
            let mut random = Random(seed);
            let mut rig = Rig::with_effect(RATE_HZ, kind, &busy(kind));
            for at in moments() {
                let preset: Vec<Command> = (0..)
                    .zip(kind.params())
                    .map(|(index, param)| {
                        // An attack of a tenth of a millisecond is a click that was asked for.
                        let least = if param.id == "attack_ms" { 0.1 } else { 0.0 };
                        let share = random.pick(&[least, 0.1, 0.5, 0.9, 1.0]).unwrap_or(least);
                        let value = param.min + (param.max - param.min) * share;
                        set(0, index, value as f32)
                    })
                    .collect();
                rig.at(at, &preset);
            }
            judge(&format!("{kind:?}, presets {seed}"), tone(kind), &mut rig);
        }
    }
}

#[test]
fn a_ceiling_that_jumps_while_the_limiter_works() {
    let mut rig = Rig::with_effect(RATE_HZ, Kind::Limiter, &[(1, 10.0)]);
    rig.now(&[Command::Level {
        track: STEM,
        level: rigd_rt::command::TrackLevel::InputGain,
        value: 4.0,
    }]);
    for (turn, at) in moments().enumerate() {
        rig.at(at, &[set(0, 0, if turn % 2 == 0 { -12.0 } else { 0.0 })]);
    }
    judge("Limiter at work, ceiling_db", LOW, &mut rig);
}
