//! A test tone: as loud and as high as it was asked for, soft at both ends, and never past the limiter.

mod common;

use common::*;
use rigd_rt::{Command, Kind, TrackKind};

const FADE: usize = RATE_HZ as usize / 20;

fn tone(track: u8, freq_hz: f32, level: f32, frames: u32) -> Command {
    Command::Tone {
        track,
        freq_hz,
        level,
        frames,
    }
}

/// The stem's side of a desk in silence.
fn heard(rig: &mut Rig, frames: usize) -> Vec<f32> {
    let [left, right] = rig.run_twin(&vec![0.0; frames]);
    assert_eq!(bits(&left), bits(&right));
    left
}

#[test]
fn it_is_a_sine_of_that_level_and_length() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.now(&[tone(MASTER, 997.0, 0.25, 48_000)]);
    let sound = heard(&mut rig, 60_000);
    let middle = &sound[FADE..48_000 - FADE];
    let expected = sine(997.0, 0.0, 0.25, RATE_HZ, 48_000);
    for (at, (heard, expected)) in middle.iter().zip(&expected[FADE..]).enumerate() {
        assert!((heard - expected).abs() < 1e-4, "{at}: {heard} {expected}");
    }
    assert!(sound[48_000..].iter().all(|s| *s == 0.0), "over in time");
    let early = sound[..FADE / 10]
        .iter()
        .chain(&sound[48_000 - FADE / 10..]);
    assert!(
        early.into_iter().all(|s| s.abs() < 0.01),
        "soft at both ends"
    );
}

#[test]
fn a_minute_of_it_is_no_louder() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.now(&[tone(MASTER, 50.0, 0.5, 60 * RATE_HZ)]);
    let sound = heard(&mut rig, 59 * RATE_HZ as usize);
    let peak = |part: &[f32]| part.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
    let (first, last) = (
        peak(&sound[FADE..10_000]),
        peak(&sound[58 * RATE_HZ as usize..]),
    );
    assert!((first - last).abs() < 1e-6, "{first} {last}");
}

#[test]
fn another_one_and_its_end_are_soft() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.now(&[tone(MASTER, 100.0, 0.5, 96_000)]);
    rig.at(10_000, &[tone(MASTER, 150.0, 0.1, 96_000)]);
    rig.at(20_000, &[tone(MASTER, 100.0, 0.5, 0)]);
    let sound = heard(&mut rig, 30_000);
    let steps = sound.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    // The steepest that a sine of 150 Hz at 0.5 is.
    let steepest = 0.5 * std::f32::consts::TAU * 150.0 / RATE_HZ as f32;
    assert!(steps.fold(0.0, f32::max) < 1.05 * steepest);
    assert!(sound[20_000 + FADE..].iter().all(|s| *s == 0.0));
}

#[test]
fn a_track_s_tone_goes_through_its_fader_and_the_limiter_has_the_last_word() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.now(&[tone(STEM, 1000.0, 0.5, 96_000)]);
    rig.at(
        24_000,
        &[Command::Mute {
            track: STEM,
            on: true,
        }],
    );
    let sound = heard(&mut rig, 48_000);
    assert!(sound[12_000..24_000].iter().any(|s| s.abs() > 0.4));
    assert!(
        sound[26_000..].iter().all(|s| *s == 0.0),
        "muted with its track"
    );

    let mut rig = Rig::new(RATE_HZ, Kind::Limiter.memory(RATE_HZ));
    let limiter = rig.effect(MASTER, Kind::Limiter, 0).1;
    rig.now(&[add_track(MASTER, TrackKind::Master), limiter]);
    rig.now(&[tone(MASTER, 1000.0, 1.0, 96_000)]);
    let [left, _] = rig.run(&[&vec![0.0; 48_000]]);
    let peak = left.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
    assert!((0.85..=0.892).contains(&peak), "{peak}: at most -1 dB");
}

#[test]
fn what_cannot_be_played_is_silent() {
    let mut rig = Rig::desk(RATE_HZ);
    for (freq_hz, level) in [
        (f32::NAN, 0.5),
        (0.0, 0.5),
        (30_000.0, 0.5),
        (f32::INFINITY, 0.5),
        (1000.0, f32::NAN),
        (1000.0, 7.0),
        (1000.0, -1.0),
    ] {
        rig.now(&[
            tone(MASTER, freq_hz, level, 48_000),
            tone(200, 1000.0, 0.5, 48_000),
        ]);
        assert!(heard(&mut rig, 4_800).iter().all(|s| *s == 0.0));
    }
}
