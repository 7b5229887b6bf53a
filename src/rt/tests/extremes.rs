//! Everything extreme at once: a karaoke rig whose knobs go from end to end while it is fed what no rig
//! should be. What comes out is finite and below the ceiling, always. The whole hour, and that no
//! block takes much longer than the others, is shown by `cargo bench -- extremes`.

mod common;

use common::karaoke::{CHANNELS, Karaoke, worst};
use common::*;

const SECONDS: usize = 120;
/// The master's ceiling, which nobody touches: −1 dB.
const CEILING: f32 = 0.891_251;

#[test]
fn nothing_breaks_and_nothing_is_over_the_ceiling() {
    let mut karaoke = Karaoke::new(RATE_HZ);
    let mut random = Random(3);
    let (mut loudest, mut loud, mut turns) = (0.0f32, 0, 0);
    let seconds = cases(SECONDS, 20, "seconds of a storm");
    for second in 0..seconds {
        turns += karaoke.turn_for_a_second(&mut random, second);
        let inputs: Vec<_> = (0..CHANNELS)
            .map(|channel| worst(&mut random, channel, second, RATE_HZ))
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
        "{turns} turns in {seconds} s: {:.2} dB at most",
        db(loudest.into())
    );
    assert!(loud > seconds / 2, "it hardly sounds: {loud} s");
    // Behind it all it is still a rig: silence in the end is silence out.
    for _ in 0..60 {
        karaoke.rig.silence(RATE_HZ as usize);
        karaoke.rig.take_reports();
    }
    let out = karaoke.rig.silence(RATE_HZ as usize);
    assert!(peak(&out[0]) < 1e-3, "{}", peak(&out[0]));
}
