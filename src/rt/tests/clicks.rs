//! Whatever is done to an effect while a tone sounds, nothing is heard but the tone, louder or softer:
//! above 4 kHz a change leaves less than −60 dB of it.

mod common;

use common::*;
use rigd_rt::{Command, Kind};

const FREQ_HZ: f64 = 1_000.0;
const FRAMES: usize = 48_000;
const CHANGES: u64 = 40;

/// Highest amplitude above 4 kHz behind the first frames, by an eighth-order high-pass.
fn above_4_khz(signal: &[f32]) -> f64 {
    let mut out: Vec<f64> = signal.iter().map(|s| f64::from(*s)).collect();
    for k in [1.961_570_56, 1.662_939_22, 1.111_140_47, 0.390_180_64] {
        let g = (std::f64::consts::PI * 4_000.0 / f64::from(RATE_HZ)).tan();
        let a1 = 1.0 / (1.0 + g * (g + k));
        let (mut s1, mut s2) = (0.0, 0.0);
        for sample in &mut out {
            let v3 = *sample - s2;
            let v1 = a1 * s1 + g * a1 * v3;
            let v2 = s2 + g * a1 * s1 + g * g * a1 * v3;
            s1 = 2.0 * v1 - s1;
            s2 = 2.0 * v2 - s2;
            *sample -= k * v1 + v2;
        }
    }
    let after = out.iter().skip(3_000);
    after.fold(0.0, |peak, sample| sample.abs().max(peak))
}

/// Changes at odd moments of the tone.
fn moments() -> impl Iterator<Item = u64> {
    (0..CHANGES).map(|turn| 4_001 + 1_087 * turn)
}

fn judge(name: &str, rig: &mut Rig) {
    let mut input = sine(FREQ_HZ, 0.0, 0.5, RATE_HZ, FRAMES);
    // The tone's own beginning must not sound on in a reverb.
    for (at, sample) in input.iter_mut().enumerate().take(3_000) {
        *sample *= 0.5 - 0.5 * (std::f32::consts::PI * at as f32 / 3_000.0).cos();
    }
    let [left, right] = rig.run_twin(&input);
    for side in [left, right] {
        let click = db(above_4_khz(&side) / f64::from(peak(&side).max(0.5)));
        println!("{name}: {click:.1} dB");
        assert!(click < -60.0, "{name}: {click:.1} dB");
    }
}

#[test]
fn the_judge_hears_a_click() {
    let mut tone = sine(FREQ_HZ, 0.0, 0.5, RATE_HZ, FRAMES);
    assert!(db(above_4_khz(&tone) / 0.5) < -90.0);
    tone[20_000..].iter_mut().for_each(|sample| *sample *= 0.9);
    tone[20_012..].iter_mut().for_each(|sample| *sample *= 0.9);
    assert!(db(above_4_khz(&tone) / 0.5) > -60.0);
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
            if kind == Kind::Limiter {
                group.push(set(slot, 0, -12.0));
            }
            rig.at(at, &group);
            rig.at(at + 701, &[Command::RemoveEffect { slot }]);
        }
        judge(&format!("{kind:?} comes and goes"), &mut rig);
    }
}

#[test]
fn effects_that_are_moved() {
    for kind in Kind::ALL {
        let mut rig = Rig::desk(RATE_HZ);
        let (one, add_one) = rig.effect(STEM, kind, 0);
        let (_, add_two) = rig.effect(STEM, Kind::Hpf, 1);
        let (_, add_three) = rig.effect(STEM, Kind::Gain, 2);
        rig.now(&[add_one, add_two, add_three, set(2, 0, 0.3)]);
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
        judge(&format!("{kind:?} is moved"), &mut rig);
    }
}

#[test]
fn effects_that_are_bypassed() {
    for kind in Kind::ALL {
        let params = [(0, 0.3)];
        let params = if kind == Kind::Gain { &params[..] } else { &[] };
        let mut rig = Rig::with_effect(RATE_HZ, kind, params);
        for (turn, at) in moments().enumerate() {
            let on = turn % 2 == 0;
            rig.at(at, &[Command::Bypass { slot: 0, on }]);
            if turn % 5 == 0 {
                rig.at(at + 77, &[Command::Bypass { slot: 0, on: !on }]);
                rig.at(at + 151, &[Command::Bypass { slot: 0, on }]);
            }
        }
        judge(&format!("{kind:?} is bypassed"), &mut rig);
    }
}

#[test]
fn parameters_that_jump_between_their_ends() {
    for kind in Kind::ALL {
        for (index, param) in kind.params().iter().enumerate() {
            let mut rig = Rig::with_effect(RATE_HZ, kind, &[]);
            if kind == Kind::Reverb && index != 0 {
                rig.now(&[set(0, 0, 1.0)]);
            }
            for (turn, at) in moments().enumerate() {
                let value = if turn % 2 == 0 { param.max } else { param.min };
                rig.at(at, &[set(0, index as u8, value as f32)]);
            }
            judge(&format!("{kind:?}, {}", param.id), &mut rig);
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
    judge("Limiter at work, ceiling_db", &mut rig);
}
