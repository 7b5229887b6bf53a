//! On a device, sound comes up from silence within half a second; without one, it is just there.

mod common;

use common::*;
use rigd_rt::{Command, PanicMode, TrackKind};

const HALF_S: usize = RATE_HZ as usize / 2;

/// A mic with a constant at its input.
fn heard(block: usize, fades_in: bool, commands: &[Command]) -> Vec<f32> {
    let mut rig = Rig::new(RATE_HZ, 0);
    rig.block = block;
    if fades_in {
        rig.engine.fade_in();
    }
    rig.now(&[
        add_track(MASTER, TrackKind::Master),
        add_track(MIC, TrackKind::Mic),
        mono_input(MIC, 0),
    ]);
    rig.now(commands);
    let [left, right] = rig.run(&[&vec![0.5; RATE_HZ as usize]]);
    assert_eq!(bits(&left), bits(&right));
    left
}

#[test]
fn it_comes_up_from_silence_in_half_a_second_and_is_then_untouched() {
    let plain = heard(64, false, &[]);
    assert!(plain.iter().all(|s| *s == plain[0]) && plain[0] > 0.0);
    let faded = heard(64, true, &[]);
    assert!(faded[0] < 1e-6 * plain[0]);
    assert!(faded.windows(2).all(|pair| pair[1] >= pair[0]));
    assert!(faded[HALF_S - 100] < plain[0]);
    assert_eq!(bits(&faded[HALF_S..]), bits(&plain[HALF_S..]));
    for block in [1, 31, 441, 4096] {
        assert_eq!(bits(&heard(block, true, &[])), bits(&faded), "{block}");
    }
}

#[test]
fn a_rig_that_was_muted_stays_so() {
    let mode = Some(PanicMode::Mute);
    let heard = heard(64, true, &[Command::Panic { mode }]);
    assert!(heard.iter().all(|s| *s == 0.0));
}
