//! Rooms: loops that howl, and what `feedback` makes of them.

mod common;

use common::room::{Room, Run, impulse_response, rig};
use common::voice::{pause, speech, to_peak, with_hiss};
use common::*;
use rigd_rt::Report;

/// Seed, distance between loudspeaker and microphone in m, reverberation time in s.
const ROOMS: [(u64, f64, f64); 5] = [
    (1, 1.5, 0.4),
    (2, 2.5, 0.6),
    (3, 4.0, 1.0),
    (4, 1.0, 0.5),
    (5, 3.0, 0.8),
];
/// Nobody's speech is this loud for so long: root mean square of 50 ms, in dB of full scale.
const LOUD_DB: f64 = -12.0;
const WINDOW: usize = 2400;

fn room((seed, distance_m, t60_s): (u64, f64, f64)) -> Room {
    Room::new(impulse_response(seed, distance_m, t60_s))
}

/// A room where nobody speaks.
fn quiet(seconds: f64) -> Vec<f32> {
    with_hiss(pause(seconds), 3, 1e-5)
}

/// Speech that the loudspeaker gives with peaks of some −9 dB.
fn spoken(seed: u64, seconds: f64) -> Vec<f32> {
    with_hiss(to_peak(speech(seed, seconds), 0.05), 3, 1e-5)
}

fn levels_db(out: &[f32]) -> Vec<f64> {
    out.chunks(WINDOW).map(|part| db(rms(part))).collect()
}

/// From the first to the last loud window, in ms.
fn loud_ms(run: &Run) -> f64 {
    let levels = levels_db(&run.out);
    let is_loud = |level: &f64| *level > LOUD_DB;
    match (
        levels.iter().position(is_loud),
        levels.iter().rposition(is_loud),
    ) {
        (Some(first), Some(last)) => ((last - first + 1) * WINDOW) as f64 * 1e3 / 48e3,
        _ => 0.0,
    }
}

fn mutes(run: &Run) -> usize {
    let is_mute = |report: &Report| matches!(report, Report::Howl { muted: true, .. });
    run.reports
        .iter()
        .filter(|(_, report)| is_mute(report))
        .count()
}

/// Distinct notches that were ever there.
fn notches(run: &Run) -> usize {
    let mut seen = [false; 256];
    for (_, report) in &run.reports {
        if let Report::Notch {
            index, depth_db, ..
        } = report
        {
            seen[usize::from(*index)] |= *depth_db > 0.0;
        }
    }
    seen.iter().filter(|seen| **seen).count()
}

/// How long a run howls at all, how loud it ends, and what was done.
fn describe(what: &str, run: &Run) -> f64 {
    let loud = loud_ms(run);
    let loudest = levels_db(&run.out).into_iter().fold(-200.0, f64::max);
    println!(
        "  {what}: loud for {loud:.0} ms, at most {loudest:.1} dB; {} notches, {} mutes",
        notches(run),
        mutes(run)
    );
    loud
}

#[test]
fn the_howling_point_is_where_it_should_be() {
    for about in ROOMS {
        let room = room(about);
        let end = |over_db: f64| {
            let run = room.close(&mut rig(false, &[]), over_db, &quiet(4.0));
            let levels = levels_db(&run.out);
            levels[levels.len() - 1] - levels[19]
        };
        let (below, above) = (end(-1.0), end(1.0));
        println!(
            "room {about:?}: howls first at {:.0} Hz; in 3 s by {below:.1} dB 1 dB below, by {above:.1} dB 1 dB above",
            room.freq_hz
        );
        assert!(below < 2.0, "it howls below its howling point");
        assert!(above > 6.0, "it does not howl above its howling point");
    }
}

#[test]
fn six_decibels_over_the_howling_point_are_caught() {
    for about in ROOMS.into_iter().take(cases(ROOMS.len(), 1, "rooms")) {
        let room = room(about);
        println!("room {about:?}, 6 dB over");
        let bare = room.close(&mut rig(false, &[]), 6.0, &quiet(4.0));
        let levels = levels_db(&bare.out);
        assert!(
            levels[60..].iter().all(|level| *level > LOUD_DB),
            "without the effect it must howl"
        );
        for (what, source) in [("quiet", quiet(12.0)), ("speech", spoken(about.0, 12.0))] {
            let run = room.close(&mut rig(true, &[]), 6.0, &source);
            assert!(describe(what, &run) < 500.0);
            assert!(notches(&run) > 0);
        }
    }
}

#[test]
fn three_decibels_over_it_need_only_notches() {
    for about in ROOMS.into_iter().take(cases(ROOMS.len(), 1, "rooms")) {
        let room = room(about);
        println!("room {about:?}, 3 dB over");
        for (what, source) in [("quiet", quiet(12.0)), ("speech", spoken(about.0, 12.0))] {
            let run = room.close(&mut rig(true, &[]), 3.0, &source);
            assert!(describe(what, &run) < 500.0);
            assert_eq!(mutes(&run), 0);
        }
    }
}

#[test]
fn without_the_last_resort_nothing_is_muted() {
    let room = room(ROOMS[2]);
    let run = room.close(&mut rig(true, &[(4, 0.0)]), 6.0, &spoken(3, 6.0));
    describe("howl_mute 0", &run);
    assert_eq!(mutes(&run), 0);
    assert!(notches(&run) > 0);
}

#[test]
fn a_howl_sounds_the_same_at_every_block_size() {
    let (about, mut reference) = (ROOMS[0], None);
    let room = room(about);
    let run = room.close(&mut rig(true, &[]), 6.0, &spoken(1, 2.0));
    assert!(mutes(&run) > 0 && notches(&run) > 0);
    // What the microphone heard while it howled, played again.
    for block in [16, 64, 441, 1024] {
        let mut rig = rig(true, &[]);
        rig.block = block;
        let [left, _] = rig.run(&[&run.mic]);
        let reports: Vec<Report> = rig
            .take_reports()
            .into_iter()
            .filter(|report| matches!(report, Report::Notch { .. } | Report::Howl { .. }))
            .collect();
        assert!(!reports.is_empty());
        let this = (bits(&left), reports);
        match &reference {
            None => {
                assert!(
                    this.0 == bits(&run.out),
                    "played again, it sounds otherwise"
                );
                reference = Some(this);
            }
            Some(reference) => assert!(this == *reference, "blocks of {block}"),
        }
    }
}

/// Not part of the tests: how many of many rooms are caught. `--ignored --nocapture` prints it.
#[test]
#[ignore = "a survey, for the numbers in the README"]
fn survey() {
    for over_db in [3.0, 6.0] {
        let (mut caught, mut muted, mut all) = (0, 0, 0);
        for seed in 201..=220u64 {
            let (distance_m, t60_s) =
                (1.0 + (seed % 7) as f64 * 0.5, 0.4 + (seed % 4) as f64 * 0.2);
            let room = room((seed, distance_m, t60_s));
            for (what, source) in [("quiet", quiet(12.0)), ("speech", spoken(seed, 12.0))] {
                let run = room.close(&mut rig(true, &[]), over_db, &source);
                print!("{over_db} dB, room {seed}");
                all += 1;
                caught += usize::from(describe(what, &run) < 500.0);
                muted += usize::from(mutes(&run) > 0);
            }
        }
        println!("{over_db} dB over: {caught} of {all} caught within 500 ms, {muted} muted");
    }
}
