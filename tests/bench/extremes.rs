//! Everything extreme at once, for an hour of the engine's own time; and whether any block takes much
//! longer than the others, as it would if a number became denormal.

use std::time::{Duration, Instant};

use crate::common::karaoke::{CHANNELS, Karaoke, worst};
use crate::common::{Random, db, peak};
use crate::engine::{BLOCK, Nowhere, RATE_HZ};

const HOUR_S: usize = 3600;
const TIMED_S: usize = 20;
/// The same blocks are computed so often, and the least time of each counts: what the machine itself
/// adds falls on other blocks each time.
const RUNS: usize = 9;
/// The master's ceiling, which nobody touches, in dB.
const CEILING_DB: f64 = -1.0;

/// What is fed in and done in each second.
#[derive(Clone, Copy)]
enum Scene {
    /// All knobs turn, and the input is as bad as can be.
    Storm,
    /// Two seconds of that, and then silence with nothing touched: everything decays for good.
    Decay,
}

/// Computes a scene second by second, handing each block's time and samples over.
fn play(scene: Scene, seconds: usize, mut judge: impl FnMut(Duration, [&[f32]; 2])) {
    let mut karaoke = Karaoke::new(RATE_HZ);
    // The block in which the whole rig is built is not like the others.
    karaoke.rig.silence(BLOCK);
    let mut random = Random(3);
    let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
    for second in 0..seconds {
        let is_over = matches!(scene, Scene::Decay) && second >= 2;
        if !is_over {
            karaoke.turn_for_a_second(&mut random, second);
        }
        let feed = |channel| {
            if is_over {
                vec![0.0; RATE_HZ as usize]
            } else {
                worst(&mut random, channel, second, RATE_HZ)
            }
        };
        let inputs: Vec<Vec<f32>> = (0..CHANNELS).map(feed).collect();
        for at in (0..RATE_HZ as usize).step_by(BLOCK) {
            let block: [&[f32]; CHANNELS] =
                std::array::from_fn(|channel| &inputs[channel][at..at + BLOCK]);
            let started = Instant::now();
            karaoke.rig.engine.process(
                &block,
                [&mut left, &mut right],
                &mut karaoke.rig.queue,
                &mut Nowhere,
            );
            judge(started.elapsed(), [&left, &right]);
        }
    }
}

/// The least time of each block over the runs, in µs.
fn least_times(scene: Scene) -> Vec<f64> {
    let mut least = vec![f64::MAX; TIMED_S * RATE_HZ as usize / BLOCK];
    for _ in 0..RUNS {
        let mut times = least.iter_mut();
        play(scene, TIMED_S, |took, _| {
            let time = times.next().expect("a block for each");
            *time = time.min(took.as_secs_f64() * 1e6);
        });
    }
    least
}

/// The tables.
pub fn run() {
    println!("\nA full karaoke rig at its extremes, {BLOCK}-frame blocks");
    println!(
        "{:<24} {:>10} {:>10} {:>10} {:>14}",
        "µs a block", "median", "p99.9", "worst", "worst/median"
    );
    for (name, scene) in [("storm", Scene::Storm), ("decay", Scene::Decay)] {
        let mut times = least_times(scene);
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "{name:<24} {:>10.1} {:>10.1} {:>10.1} {:>14.2}",
            at(0.5),
            at(0.999),
            at(1.0),
            at(1.0) / at(0.5)
        );
    }

    let (mut loudest, mut odd) = (0.0f32, 0u64);
    play(Scene::Storm, HOUR_S, |_, sides| {
        for side in sides {
            loudest = loudest.max(peak(side));
            odd += side.iter().filter(|sample| !sample.is_finite()).count() as u64;
        }
    });
    let over = db(loudest.into()) - CEILING_DB;
    println!(
        "an hour of the storm: {odd} samples not finite, {over:+.4} dB against the ceiling at most"
    );
    assert!(odd == 0 && over <= 1e-4, "the rig broke");
}
