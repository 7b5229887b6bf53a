//! Everything extreme at once: a karaoke rig whose knobs go from end to end while it is fed what no rig
//! should be. What comes out is finite and below the ceiling, always. The whole hour, and that no
//! block takes much longer than the others, is shown by `cargo bench -- extremes`.

mod common;

use common::karaoke::{CHANNELS, Karaoke};
use common::*;

const SECONDS: usize = 120;
/// The master's ceiling, which nobody touches: −1 dB.
const CEILING: f32 = 0.891_251;

/// A second of the worst there is, another on every channel and in every second.
fn feed(random: &mut Random, channel: usize, second: usize) -> Vec<f32> {
    let frames = RATE_HZ as usize;
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
            RATE_HZ,
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

#[test]
fn nothing_breaks_and_nothing_is_over_the_ceiling() {
    let mut karaoke = Karaoke::new(RATE_HZ);
    let mut random = Random(3);
    let (mut loudest, mut loud, mut turns) = (0.0f32, 0, 0);
    for second in 0..SECONDS {
        let begin = (second * RATE_HZ as usize) as u64;
        let mut at = begin;
        while at < begin + u64::from(RATE_HZ) {
            let turn = karaoke.turn(&mut random);
            karaoke.rig.at(at, &turn);
            turns += 1;
            at += 1 + random.below(1_999) as u64;
        }
        let inputs: Vec<_> = (0..CHANNELS)
            .map(|channel| feed(&mut random, channel, second))
            .collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let out = karaoke.rig.run(&inputs);
        for side in &out {
            let finite = side.iter().all(|sample| sample.is_finite());
            assert!(finite, "second {second}: not finite");
            assert!(
                peak(side) <= CEILING,
                "second {second}: {} over the ceiling",
                peak(side)
            );
            loudest = loudest.max(peak(side));
        }
        loud += usize::from(rms(&out[0]) > 0.01);
        karaoke.rig.take_reports();
    }
    println!(
        "{turns} turns in {SECONDS} s: {:.2} dB at most",
        db(loudest.into())
    );
    assert!(loud > SECONDS / 2, "it hardly sounds: {loud} s");
    // Behind it all it is still a rig: silence in the end is silence out.
    for _ in 0..60 {
        karaoke.rig.silence(RATE_HZ as usize);
        karaoke.rig.take_reports();
    }
    let out = karaoke.rig.silence(RATE_HZ as usize);
    assert!(peak(&out[0]) < 1e-3, "{}", peak(&out[0]));
}
