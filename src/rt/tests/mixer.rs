//! Faders, pans, mutes, solos, sends, panic and meters.

mod common;

use std::f32::consts::FRAC_1_SQRT_2;

use common::*;
use rigd_rt::command::{NO_CHANNEL, TrackLevel};
use rigd_rt::report::METER_FRAMES;
use rigd_rt::{Command, Kind, PanicMode, Report, TrackKind};

const BUS: u8 = 5;

fn level(track: u8, level: TrackLevel, value: f32) -> Command {
    Command::Level {
        track,
        level,
        value,
    }
}

fn volume(track: u8, value: f32) -> Command {
    level(track, TrackLevel::Volume, value)
}

fn pan(track: u8, value: f32) -> Command {
    level(track, TrackLevel::Pan, value)
}

fn mute(track: u8, on: bool) -> Command {
    Command::Mute { track, on }
}

fn solo(track: u8, on: bool) -> Command {
    Command::Solo { track, on }
}

fn send(track: u8, bus: u8, level: f32) -> Command {
    Command::Send { track, bus, level }
}

/// A master and a mono mic on channel 0.
fn one_mic() -> Rig {
    let mut rig = Rig::new(RATE_HZ, 300_000);
    rig.now(&[
        add_track(MASTER, TrackKind::Master),
        add_track(MIC, TrackKind::Mic),
        mono_input(MIC, 0),
    ]);
    rig
}

/// What a constant 0.5 comes out as, left and right, once all has settled.
fn settled(rig: &mut Rig, input: &[f32]) -> [f32; 2] {
    let inputs: Vec<Vec<f32>> = input.iter().map(|value| vec![*value; 4800]).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    rig.run(&inputs).map(|side| side[4799])
}

fn close(found: [f32; 2], expected: [f32; 2]) -> bool {
    found
        .iter()
        .zip(expected)
        .all(|(found, expected)| (found - expected).abs() < 1e-6)
}

#[test]
fn a_mono_track_is_panned_with_constant_power() {
    let mut rig = one_mic();
    assert_eq!(settled(&mut rig, &[0.5]), [0.5 * FRAC_1_SQRT_2; 2]);
    for step in -10..=10 {
        let position = step as f32 / 10.0;
        rig.now(&[pan(MIC, position)]);
        let [left, right] = settled(&mut rig, &[0.5]);
        let power = left * left + right * right;
        assert!((power - 0.25).abs() < 1e-6, "pan {position}: {power}");
        let angle = f64::from(position + 1.0) * std::f64::consts::FRAC_PI_4;
        let expected = [0.5 * angle.cos() as f32, 0.5 * angle.sin() as f32];
        assert!(close([left, right], expected), "pan {position}");
    }
}

#[test]
fn a_stereo_track_is_balanced() {
    for (position, expected) in [
        (0.0, [0.5, 0.25]),
        (0.5, [0.25, 0.25]),
        (1.0, [0.0, 0.25]),
        (-0.5, [0.5, 0.125]),
        (-1.0, [0.5, 0.0]),
    ] {
        let mut rig = Rig::desk(RATE_HZ);
        rig.now(&[pan(STEM, position)]);
        assert!(close(settled(&mut rig, &[0.5, 0.25]), expected));
        // And the same when it is moved while it sounds.
        rig.now(&[pan(STEM, 0.3)]);
        settled(&mut rig, &[0.5, 0.25]);
        rig.now(&[pan(STEM, position)]);
        assert!(close(settled(&mut rig, &[0.5, 0.25]), expected));
    }
}

#[test]
fn the_pan_law_is_the_inputs_whatever_the_effects_make_of_it() {
    let mut rig = one_mic();
    let (_, add) = rig.effect(MIC, Kind::Reverb, 0);
    rig.now(&[add, set(0, 0, 0.0)]);
    assert!(close(settled(&mut rig, &[0.5]), [0.5 * FRAC_1_SQRT_2; 2]));
}

#[test]
fn faders_and_input_gains_are_linear_factors() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.now(&[
        volume(STEM, 0.5),
        level(STEM, TrackLevel::InputGain, 3.0),
        volume(MASTER, 0.25),
    ]);
    assert!(close(settled(&mut rig, &[0.5, 0.4]), [0.1875, 0.15]));
    rig.now(&[volume(STEM, 2.0)]);
    assert!(close(settled(&mut rig, &[0.5, 0.4]), [0.75, 0.6]));
    rig.now(&[volume(STEM, 0.0)]);
    assert_eq!(settled(&mut rig, &[0.5, 0.4]), [0.0; 2]);
}

/// Two mics, a stem and two buses; what is heard of each of them, against a model of the wire's rules.
#[test]
fn mute_solo_and_sends_follow_their_truth_table() {
    const SOURCES: [(u8, TrackKind); 3] = [
        (1, TrackKind::Mic),
        (2, TrackKind::Stem),
        (3, TrackKind::Stem),
    ];
    const BUSES: [u8; 2] = [5, 6];
    let mut random = Random(1);
    let mut rig = Rig::new(RATE_HZ, 1);
    let mut begin = vec![add_track(MASTER, TrackKind::Master)];
    for (index, (track, kind)) in SOURCES.into_iter().enumerate() {
        begin.push(add_track(track, kind));
        begin.push(Command::Input {
            track,
            left: index as u8,
            right: index as u8,
            stereo: true,
        });
    }
    begin.extend(BUSES.map(|bus| add_track(bus, TrackKind::Bus)));
    rig.now(&begin);
    // Powers of two, so that every sum tells its parts.
    let input = [0.5, 0.25, 0.125];
    let (mut muted, mut soloed) = ([false; 8], [false; 8]);
    let mut sends = [[0.0f32; 8]; 8];
    for _ in 0..300 {
        let mut group = Vec::new();
        for _ in 0..1 + random.below(4) {
            let track = [1, 2, 3, 5, 6][random.below(5)];
            let on = random.chance(0.4);
            match random.below(3) {
                0 => {
                    muted[track] = on;
                    group.push(mute(track as u8, on));
                }
                1 => {
                    soloed[track] = on;
                    group.push(solo(track as u8, on));
                }
                _ => {
                    let (from, bus) = (1 + random.below(3), 5 + random.below(2));
                    let level = [0.0, 0.5, 1.0][random.below(3)];
                    sends[from][bus] = level;
                    group.push(send(from as u8, bus as u8, level));
                }
            }
        }
        rig.now(&group);
        let found = settled(&mut rig, &input);
        let any_solo = soloed.iter().any(|solo| *solo);
        let source_soloed = SOURCES.iter().any(|(track, _)| soloed[usize::from(*track)]);
        let mut expected = 0.0;
        let mut fed = [0.0; 8];
        for (index, (track, _)) in SOURCES.into_iter().enumerate() {
            let track = usize::from(track);
            let post = if muted[track] { 0.0 } else { input[index] };
            if !any_solo || soloed[track] {
                expected += post;
            }
            for bus in BUSES.map(usize::from) {
                // Into a soloed bus everybody's sends go; elsewhere only those of the soloed.
                if !any_solo || soloed[track] || soloed[bus] {
                    fed[bus] += post * sends[track][bus];
                }
            }
        }
        for bus in BUSES.map(usize::from) {
            let is_heard = !any_solo || soloed[bus] || source_soloed;
            if is_heard && !muted[bus] {
                expected += fed[bus];
            }
        }
        assert!(
            close(found, [expected; 2]),
            "{found:?}, not {expected}: muted {muted:?}, soloed {soloed:?}, sends {sends:?}"
        );
    }
}

#[test]
fn sends_are_behind_the_fader_and_buses_have_their_own() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.now(&[
        add_track(BUS, TrackKind::Bus),
        send(STEM, BUS, 0.5),
        volume(STEM, 0.5),
        volume(BUS, 0.25),
    ]);
    let expected = 0.5 * 0.5 + 0.5 * 0.5 * 0.5 * 0.25;
    assert!(close(settled(&mut rig, &[0.5, 0.5]), [expected; 2]));
    // A bus that goes takes its sends along, and one that comes in its place is not fed by them.
    rig.now(&[Command::RemoveTrack { track: BUS }]);
    assert!(close(settled(&mut rig, &[0.5, 0.5]), [0.25; 2]));
    rig.now(&[add_track(BUS, TrackKind::Bus)]);
    assert!(close(settled(&mut rig, &[0.5, 0.5]), [0.25; 2]));
}

#[test]
fn a_bus_in_a_lower_place_than_its_senders_is_heard_in_the_same_frame() {
    let mut rig = Rig::new(RATE_HZ, 1);
    rig.now(&[
        add_track(9, TrackKind::Master),
        add_track(0, TrackKind::Bus),
        add_track(7, TrackKind::Stem),
        stereo_input(7, 0),
        send(7, 0, 1.0),
    ]);
    let mut pulse = vec![0.0; 100];
    pulse[50] = 0.25;
    let [left, _] = rig.run_twin(&pulse);
    assert_eq!(left[50], 0.5);
    assert!(left.iter().enumerate().all(|(at, s)| at == 50 || *s == 0.0));
}

#[test]
fn the_masters_fader_is_before_its_limiter() {
    let mut rig = Rig::desk(RATE_HZ);
    let (_, add) = rig.effect(MASTER, Kind::Limiter, 0);
    rig.now(&[
        add,
        volume(MASTER, 2.0),
        level(STEM, TrackLevel::InputGain, 4.0),
    ]);
    let input = sine(997.0, 0.0, 0.9, RATE_HZ, 24_000);
    let [left, right] = rig.run_twin(&input);
    let ceiling = 10f32.powf(-1.0 / 20.0);
    assert!(peak(&left) <= ceiling && peak(&right) <= ceiling);
    assert!(peak(&left[12_000..]) > 0.95 * ceiling);
    // Turned down, the limiter has nothing to do.
    rig.now(&[volume(MASTER, 0.1)]);
    rig.run_twin(&input);
    let [left, _] = rig.run_twin(&input);
    assert!((peak(&left[2_000..]) - 0.36).abs() < 1e-3);
}

#[test]
fn panic_mute_is_silent_within_64_frames_and_goes_back() {
    let mut rig = Rig::desk(RATE_HZ);
    let (_, add) = rig.effect(MASTER, Kind::Limiter, 0);
    rig.now(&[add]);
    rig.run_twin(&[0.5; 4801]);
    rig.now(&[Command::Panic {
        mode: Some(PanicMode::Mute),
    }]);
    let [left, right] = rig.run_twin(&[0.5; 4800]);
    assert!(left[64..].iter().chain(&right[64..]).all(|s| *s == 0.0));
    assert!(left.windows(2).all(|pair| pair[1] <= pair[0]));
    rig.now(&[Command::Panic { mode: None }]);
    let [left, _] = rig.run_twin(&[0.5; 4800]);
    assert!(
        left.windows(2)
            .all(|pair| (pair[1] - pair[0]).abs() < 1.5 * 0.5 / 900.0)
    );
    assert_eq!(left[4799], 0.5);
}

#[test]
fn panic_dry_bypasses_the_effects_of_mics_and_closes_their_sends() {
    let mut rig = one_mic();
    let (_, on_mic) = rig.effect(MIC, Kind::Gain, 0);
    let (_, on_stem) = rig.effect(STEM, Kind::Gain, 0);
    rig.now(&[
        add_track(STEM, TrackKind::Stem),
        stereo_input(STEM, 1),
        add_track(BUS, TrackKind::Bus),
        send(MIC, BUS, 1.0),
        send(STEM, BUS, 1.0),
        on_mic,
        on_stem,
        set(0, 0, 2.0),
        set(1, 0, 2.0),
        pan(MIC, -1.0),
    ]);
    let input = [0.25, 0.0, 0.125];
    assert!(close(settled(&mut rig, &input), [1.0, 0.5]));
    rig.now(&[Command::Panic {
        mode: Some(PanicMode::Dry),
    }]);
    assert!(close(settled(&mut rig, &input), [0.25, 0.5]));
    // What is added in the meantime is not heard either.
    let (_, another) = rig.effect(MIC, Kind::Gain, 0);
    rig.now(&[another, set(2, 0, 4.0)]);
    assert!(close(settled(&mut rig, &input), [0.25, 0.5]));
    rig.now(&[Command::Panic { mode: None }]);
    assert!(close(settled(&mut rig, &input), [4.0, 0.5]));
}

#[test]
fn every_number_that_is_heard_moves_in_20_ms_without_a_step() {
    let bypass = |on| Command::Bypass { slot: 0, on };
    let cases: [(&str, Command, Command); 8] = [
        ("volume", volume(STEM, 2.0), volume(STEM, 0.0)),
        ("pan", pan(STEM, -1.0), pan(STEM, 1.0)),
        ("mute", mute(STEM, true), mute(STEM, false)),
        ("solo of another", solo(MIC, true), solo(MIC, false)),
        ("send", send(STEM, BUS, 1.0), send(STEM, BUS, 0.0)),
        (
            "input gain",
            level(STEM, TrackLevel::InputGain, 2.0),
            level(STEM, TrackLevel::InputGain, 0.1),
        ),
        ("gain", set(0, 0, 2.0), set(0, 0, 0.0)),
        ("bypass", bypass(true), bypass(false)),
    ];
    for (name, there, back) in cases {
        let mut rig = Rig::desk(RATE_HZ);
        let (_, add) = rig.effect(STEM, Kind::Gain, 0);
        rig.now(&[
            add_track(MIC, TrackKind::Mic),
            add_track(BUS, TrackKind::Bus),
            add,
            set(0, 0, 1.5),
        ]);
        rig.run_twin(&[0.5; 777]);
        let mut out = [Vec::new(), Vec::new()];
        for (command, frames) in [(there, 2000), (back, 2000), (there, 300), (back, 2000)] {
            rig.now(&[command]);
            for (all, side) in out.iter_mut().zip(rig.run_twin(&vec![0.5; frames])) {
                all.extend(side);
            }
        }
        // 20 ms are 960 frames; of crossfades of effects, 10 ms. A smooth step is 1.5 times as steep as a line.
        let ramp = if name == "bypass" { 480.0 } else { 960.0 };
        for side in &out {
            let (low, high) = side
                .iter()
                .fold((f32::MAX, f32::MIN), |(l, h), s| (l.min(*s), h.max(*s)));
            let step = side
                .windows(2)
                .fold(0.0f32, |step, pair| step.max((pair[1] - pair[0]).abs()));
            assert!(
                step <= 1.5 * (high - low) / ramp * 1.02 + 1e-6,
                "{name}: {step}"
            );
        }
        assert!(out[1][2000..].iter().any(|s| *s != out[1][1990]), "{name}");
        // And it is there after 20 ms.
        let arrived = |from: usize, to: usize| {
            assert!(
                out[1][from + 961..to]
                    .windows(2)
                    .all(|pair| pair[0] == pair[1]),
                "{name} has not arrived in 20 ms"
            );
        };
        arrived(0, 2000);
        arrived(2000, 4000);
    }
}

#[test]
fn what_is_set_before_the_first_frame_is_not_ramped() {
    let mut rig = Rig::desk(RATE_HZ);
    let (_, add) = rig.effect(STEM, Kind::Gain, 0);
    rig.now(&[
        add,
        set(0, 0, 0.5),
        volume(STEM, 0.5),
        pan(STEM, 1.0),
        level(STEM, TrackLevel::InputGain, 2.0),
        volume(MASTER, 0.5),
    ]);
    let [left, right] = rig.run_twin(&[0.5; 100]);
    assert!(left.iter().all(|sample| *sample == 0.0));
    assert!(right.iter().all(|sample| *sample == 0.125));
}

#[test]
fn an_effect_that_comes_while_it_sounds_fades_in_with_its_values_already_set() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.run_twin(&[0.5; 777]);
    let (_, add) = rig.effect(STEM, Kind::Gain, 0);
    rig.now(&[add, set(0, 0, 0.0)]);
    let [left, _] = rig.run_twin(&[0.5; 2000]);
    assert!(left.windows(2).all(|pair| pair[1] <= pair[0]));
    assert!(
        left.windows(2)
            .all(|pair| pair[0] - pair[1] < 1.5 * 0.5 / 470.0)
    );
    assert_eq!(left[481], 0.0);
}

#[test]
fn tracks_come_and_go_without_a_step() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.run_twin(&[0.5; 777]);
    rig.now(&[add_track(MIC, TrackKind::Mic), mono_input(MIC, 0)]);
    let [come, _] = rig.run_twin(&[0.5; 2000]);
    rig.now(&[Command::RemoveTrack { track: MIC }]);
    let [go, _] = rig.run_twin(&[0.5; 2000]);
    let all: Vec<f32> = come.into_iter().chain(go).collect();
    let step = all
        .windows(2)
        .fold(0.0f32, |step, pair| step.max((pair[1] - pair[0]).abs()));
    assert!(step < 1.5 * 0.5 / 470.0, "{step}");
    assert!((all[1999] - 0.5 - 0.5 * FRAC_1_SQRT_2).abs() < 1e-6);
    assert_eq!(all[3999], 0.5);
}

#[test]
fn inputs_are_switched_by_fading_out_and_in() {
    let mut rig = Rig::desk(RATE_HZ);
    let (a, b) = (vec![0.5; 3000], vec![-0.5; 3000]);
    rig.run(&[&a, &a, &b, &b]);
    rig.now(&[stereo_input(STEM, 2)]);
    let [left, _] = rig.run(&[&a, &a, &b, &b]);
    assert!(
        left.windows(2)
            .all(|pair| (pair[1] - pair[0]).abs() < 1.5 * 0.5 / 235.0)
    );
    assert_eq!(left[2999], -0.5);
    // The last of several counts, even one that comes while the first is under way.
    rig.now(&[stereo_input(STEM, 0), stereo_input(STEM, 2)]);
    rig.run_frames(100, &[&a[..100], &a[..100], &b[..100], &b[..100]]);
    rig.now(&[Command::Input {
        track: STEM,
        left: NO_CHANNEL,
        right: NO_CHANNEL,
        stereo: true,
    }]);
    let [left, _] = rig.run(&[&a, &a, &b, &b]);
    assert_eq!(left[2999], 0.0);
    // To stereo: the pan law changes with the input.
    let mut rig = one_mic();
    rig.run(&[&a]);
    rig.now(&[stereo_input(MIC, 0)]);
    let [left, right] = rig.run(&[&a, &b]);
    assert_eq!([left[2999], right[2999]], [0.5, -0.5]);
}

#[test]
fn missing_and_short_channels_are_silence() {
    let mut rig = Rig::desk(RATE_HZ);
    let [left, right] = rig.run_frames(100, &[&[0.5; 100]]);
    assert!(left.iter().all(|s| *s == 0.5) && right.iter().all(|s| *s == 0.0));
    rig.block = 100;
    let [left, _] = rig.run_frames(100, &[&[0.5; 40], &[0.5; 40]]);
    assert!(left[..40].iter().all(|s| *s == 0.5) && left[40..].iter().all(|s| *s == 0.0));
}

fn mended(rig: &mut Rig) -> u32 {
    let reports = rig.take_reports().into_iter().rev();
    let mut pulses = reports.filter_map(|report| match report {
        Report::Pulse { mended, .. } => Some(mended),
        _ => None,
    });
    pulses.next().unwrap_or(0)
}

#[test]
fn samples_that_nobody_can_compute_with_are_mended_and_counted() {
    let evil = [
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e-40,
        -1e-45,
        1e30,
        -1e30,
        f32::MAX,
    ];
    let mut input = sine(440.0, 0.3, 0.25, RATE_HZ, 9_600);
    for (index, sample) in evil.into_iter().enumerate() {
        input[100 + 7 * index] = sample;
    }
    // A mono input counts each sample once, a stereo one both channels'.
    for stereo in [false, true] {
        for kinds in [&[][..], &Kind::ALL[..]] {
            let mut rig = one_mic();
            let mut group = vec![if stereo {
                stereo_input(MIC, 0)
            } else {
                mono_input(MIC, 0)
            }];
            // A sine that swells in echo and reverb and then stands still is a howl, for what hears those.
            for kind in kinds.iter().filter(|kind| **kind != Kind::Feedback) {
                group.push(rig.effect(MIC, *kind, 8).1);
            }
            group.push(rig.effect(MASTER, Kind::Limiter, 0).1);
            rig.now(&group);
            let [left, right] = rig.run_twin(&input);
            assert!(left.iter().chain(&right).all(|s| s.is_finite()));
            assert!(left.iter().all(|s| *s == 0.0 || s.is_normal()));
            let times = if stereo { 2 } else { 1 };
            assert_eq!(mended(&mut rig), times * evil.len() as u32);
            // It is over as soon as the input is well again and the limiter lets go.
            let calm = sine(440.0, 0.3, 0.25, RATE_HZ, 48_000 * 20);
            let [left, _] = rig.run_twin(&calm);
            let now = amplitude(&left[left.len() - 4800..], 440.0, RATE_HZ);
            assert!(now > 0.05 && now < 0.5, "{now}");
        }
    }
}

#[test]
fn what_is_300_db_down_is_silence_and_no_fault() {
    let mut rig = Rig::desk(RATE_HZ);
    let [left, _] = rig.run_twin(&[2e-38, -1e-20, 9e-16, 2e-15, -0.5]);
    assert_eq!(left, [0.0, 0.0, 0.0, 2e-15, -0.5]);
    rig.silence(512);
    assert_eq!(mended(&mut rig), 0);
    // Nothing becomes denormal on its way through all effects, which would cost several times as much.
    for kind in Kind::ALL {
        let mut rig = Rig::with_effect(RATE_HZ, kind, &[]);
        let [left, right] = rig.run_twin(&noise(1, 24_000, 2e-38));
        let silent = left.iter().chain(&right).all(|s| *s == 0.0);
        assert!(silent, "{kind:?}");
    }
}

#[test]
fn a_mono_input_that_names_its_channel_twice_counts_it_once() {
    let mut rig = one_mic();
    rig.now(&[Command::Input {
        track: MIC,
        left: 0,
        right: 0,
        stereo: false,
    }]);
    let mut input = [0.5; 512];
    input[5] = f32::NAN;
    rig.run(&[&input]);
    assert_eq!(mended(&mut rig), 1);
}

#[test]
fn silence_in_is_silence_out_and_no_denormal_on_the_way() {
    for kind in Kind::ALL {
        let mut rig = Rig::with_effect(RATE_HZ, kind, &[]);
        rig.run_twin(&noise(1, 4800, 0.5));
        for _ in 0..40 {
            let [left, right] = rig.silence(12_000);
            let normal = |s: &f32| *s == 0.0 || s.is_normal();
            assert!(left.iter().chain(&right).all(normal), "{kind:?}");
        }
        let [left, right] = rig.silence(4800);
        assert!(left.iter().chain(&right).all(|s| *s == 0.0), "{kind:?}");
    }
}

fn meter(rig: &mut Rig, of: u8) -> Vec<(bool, [f32; 2], [f32; 2], f32)> {
    let reports = rig.take_reports();
    let mine = reports.into_iter().filter_map(|report| match report {
        Report::Meter {
            track,
            clipped,
            peak,
            mean_square,
            reduction_db,
        } if track == of => Some((clipped, peak, mean_square, reduction_db)),
        _ => None,
    });
    mine.collect()
}

#[test]
fn meters_tell_peak_mean_square_and_clipping_after_fader_and_pan() {
    let window = METER_FRAMES as usize;
    let mut rig = Rig::desk(RATE_HZ);
    rig.now(&[volume(STEM, 0.5), volume(MASTER, 0.5)]);
    let left = noise(1, 4 * window, 0.8);
    let right = noise(2, 4 * window, 0.4);
    rig.block = 100;
    rig.run(&[&left, &right]);
    let reports = rig.shelf.reports.clone();
    let stem = meter(&mut rig, STEM);
    rig.shelf.reports = reports;
    let master = meter(&mut rig, MASTER);
    assert_eq!((stem.len(), master.len()), (4, 4));
    for (index, (stem, master)) in stem.iter().zip(&master).enumerate() {
        for (side, signal) in [&left, &right].into_iter().enumerate() {
            let part = &signal[index * window..(index + 1) * window];
            assert_eq!(stem.1[side], peak(part) * 0.5);
            assert_eq!(master.1[side], peak(part) * 0.25);
            let square = (rms(part) * 0.5).powi(2);
            assert!((f64::from(stem.2[side]) / square - 1.0).abs() < 1e-4);
        }
        assert!(!stem.0 && !master.0 && stem.3 == 0.0);
    }
    // One sample at full scale at the input, in the second window.
    let mut hot = vec![0.5; 3 * window];
    hot[window + 10] = -1.0;
    rig.run_twin(&hot);
    let clipped: Vec<bool> = meter(&mut rig, STEM).iter().map(|meter| meter.0).collect();
    assert_eq!(clipped, [false, true, false]);
    // Within full scale at the input, above it behind the fader.
    rig.now(&[volume(STEM, 2.0)]);
    rig.run_twin(&vec![0.6; 4 * window]);
    let last = meter(&mut rig, STEM);
    assert!(last[3].0 && (last[3].1[0] - 1.2).abs() < 1e-6);
}

#[test]
fn meters_are_dropped_when_nobody_reads_and_nothing_else_changes() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.run_twin(&[0.5; 64]);
    rig.shelf.places = rig.shelf.reports.len() + 100;
    let [left, _] = rig.run_twin(&[0.5; 48_000]);
    assert!(left.iter().all(|s| *s == 0.5));
    assert!(meter(&mut rig, STEM).is_empty());
    rig.shelf.places = 1 << 20;
    rig.run_twin(&[0.5; 512]);
    assert_eq!(meter(&mut rig, STEM).len(), 1);
}
