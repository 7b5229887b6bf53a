//! An effect that rests is not there, and comes back without what it heard before.

mod common;

use common::*;
use rigd_rt::{Command, Kind, Report};

/// An effect has fallen asleep, or woken and settled, within so many frames; the largest memory is
/// cleared by then.
const SETTLED: usize = 24_000;

fn rest(on: bool) -> Command {
    Command::Rest { slot: 0, on }
}

#[test]
fn while_it_rests_what_goes_in_comes_out() {
    for kind in Kind::ALL {
        let mut rig = Rig::with_effect(RATE_HZ, kind, &[]);
        let sound = noise(1, 2 * SETTLED, 0.3);
        rig.run_twin(&sound);
        rig.now(&[rest(true)]);
        let [left, right] = rig.run_twin(&sound);
        for side in [left, right] {
            assert_eq!(bits(&side[SETTLED..]), bits(&sound[SETTLED..]), "{kind:?}");
        }
    }
}

#[test]
fn it_comes_back_as_a_new_one_does() {
    for kind in [Kind::Echo, Kind::Reverb] {
        let mut rig = Rig::with_effect(RATE_HZ, kind, &[]);
        rig.run_twin(&noise(1, SETTLED, 0.3));
        rig.now(&[rest(true)]);
        rig.run_twin(&vec![0.0; SETTLED]);
        rig.now(&[rest(false)]);
        let [left, _] = rig.run_twin(&vec![0.0; 2 * SETTLED]);
        assert!(
            left.iter().all(|s| *s == 0.0),
            "{kind:?}: nothing of before"
        );
        let [left, _] = rig.run_twin(&noise(2, SETTLED, 0.3));
        let [tail, _] = rig.run_twin(&vec![0.0; SETTLED]);
        let is_heard = |sound: &[f32]| sound.iter().any(|s| s.abs() > 1e-3);
        assert!(
            is_heard(&left) && is_heard(&tail),
            "{kind:?}: at work again"
        );
    }
}

#[test]
fn one_that_rests_is_moved_and_removed_like_any_other() {
    let mut rig = Rig::with_effect(RATE_HZ, Kind::Reverb, &[]);
    let (gain, add) = rig.effect(STEM, Kind::Gain, 1);
    rig.now(&[add, set(gain, 0, 0.5)]);
    let sound = noise(1, SETTLED, 0.3);
    rig.now(&[rest(true)]);
    rig.run_twin(&sound);
    rig.now(&[Command::MoveEffect {
        slot: 0,
        position: 1,
    }]);
    rig.run_twin(&sound);
    rig.now(&[rest(false)]);
    rig.run_twin(&sound);
    let [tail, _] = rig.run_twin(&vec![0.0; SETTLED]);
    assert!(tail.iter().any(|s| s.abs() > 1e-3), "moved, and at work");
    rig.now(&[rest(true)]);
    rig.run_twin(&sound);
    rig.now(&[Command::RemoveEffect { slot: 0 }]);
    rig.shelf.reports.clear();
    rig.run_twin(&sound);
    let freed = Report::SlotFreed { slot: 0 };
    assert!(rig.shelf.reports.contains(&freed));
}
