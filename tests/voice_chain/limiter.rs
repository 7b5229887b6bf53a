//! The master's true peak, judged by `ebur128` (ITU-R BS.1770) and after eightfold oversampling.

use ebur128::{EbuR128, Mode};
use rigd_rt::Kind;

use super::listen::{db, factor, noise, sine};
use super::session::{RATE_HZ, Session, Stereo};

/// How much louder than full scale the loud parts are, in dB.
const HOT_DB: f64 = 24.0;
/// Quiet, loud, quiet: a quarter, a quarter, a half. Then silence.
const BURST: usize = 4800;
const PART: usize = 2 * BURST;
/// What either judge may read over the ceiling, in dB: nothing by `ebur128`; the eightfold one's filter
/// ends just below half the rate, and what it leaves of full-scale random signs, up to there, is more
/// peaked than the signs.
const TOLERANCE_DB: [f64; 2] = [0.0, 0.2];

/// Attack, hold and release in one.
fn burst(signal: Vec<f32>) -> Vec<f32> {
    let hot = factor(HOT_DB) as f32;
    let mut burst: Vec<f32> = signal.iter().map(|sample| sample * 0.1).collect();
    for (to, from) in burst
        .iter_mut()
        .zip(&signal)
        .skip(BURST / 4)
        .take(BURST / 4)
    {
        *to = from * hot;
    }
    burst.resize(PART, 0.0);
    burst
}

fn signals(rate_hz: u32) -> Vec<(String, Vec<f32>)> {
    let mut signals = Vec::new();
    for hz in [
        50.0, 997.0, 3000.0, 5512.0, 8001.0, 11_025.0, 12_000.0, 15_000.0, 18_500.0, 20_000.0,
    ] {
        for phase in [0.0, std::f64::consts::FRAC_PI_4, 1.3] {
            let name = format!("{hz} Hz, phase {phase:.2}");
            signals.push((name, sine(hz, phase, 1.0, rate_hz, BURST)));
        }
    }
    for period in [4, 5, 7, 12, 48, 96, 441] {
        let square = (0..BURST).map(|n| if n % period < period / 2 { 1.0 } else { -1.0 });
        signals.push((format!("square of {period} frames"), square.collect()));
    }
    for seed in 0..6 {
        signals.push((format!("noise {seed}"), noise(seed, 1.0, BURST)));
        // Full-scale signs at random: the most hostile there is for what lies between samples.
        let signs = noise(seed, 1.0, BURST).into_iter().map(f32::signum);
        signals.push((format!("signs {seed}"), signs.collect()));
    }
    // The highest peak between samples that ±1 can make: signs of a sinc half-way between two.
    let middle = 3 * BURST / 8;
    let hostile = (0..BURST).map(|n| {
        let away = if n <= middle {
            middle - n
        } else {
            n - middle - 1
        };
        if away.is_multiple_of(2) { 1.0 } else { -1.0 }
    });
    signals.push(("signs of a sinc".to_owned(), hostile.collect()));
    signals.push(("step".to_owned(), vec![1.0; BURST]));
    let mut pair = vec![0.0; BURST];
    (pair[BURST / 3], pair[BURST / 3 + 3]) = (1.0, -1.0);
    signals.push(("impulses".to_owned(), pair));
    let named = signals.into_iter();
    named.map(|(name, signal)| (name, burst(signal))).collect()
}

/// The highest true peak that `ebur128` finds, linear. It oversamples four times below 96 kHz, twice
/// below 192 kHz, and not above.
fn true_peak([left, right]: [&[f32]; 2], rate_hz: u32) -> f64 {
    let mut judge = EbuR128::new(2, rate_hz, Mode::TRUE_PEAK).expect("a rate that it knows");
    judge
        .add_frames_planar_f32(&[left, right])
        .expect("two channels");
    let peaks = [0, 1].map(|channel| judge.true_peak(channel).expect("that mode is on"));
    peaks[0].max(peaks[1])
}

/// Measures how far the worst part is over the ceiling: as `ebur128` hears it, and after eightfold
/// oversampling by rubato.
fn keeps(heard: &Stereo, rate_hz: u32, ceiling_db: f64, names: &[String]) {
    let mut worst = [(f64::MIN, ""); 2];
    let parts = heard[0].chunks(PART).zip(heard[1].chunks(PART));
    for ((left, right), name) in parts.zip(names) {
        let eightfold =
            [left, right].map(|side| rigd::wav::resample(side.to_vec(), rate_hz, 8 * rate_hz));
        let found = [
            true_peak([left, right], rate_hz),
            true_peak([&eightfold[0], &eightfold[1]], 8 * rate_hz),
        ];
        for (worst, found) in worst.iter_mut().zip(found) {
            let over = db(found) - ceiling_db;
            if over > worst.0 {
                *worst = (over, name);
            }
        }
    }
    let [judge, eightfold] = worst;
    println!(
        "limiter: ceiling {ceiling_db} dB at {rate_hz} Hz: ebur128 {:+.4} dB ({}), eightfold {:+.4} dB ({})",
        judge.0, judge.1, eightfold.0, eightfold.1
    );
    for ((over, name), tolerance) in worst.into_iter().zip(TOLERANCE_DB) {
        assert!(
            over <= tolerance,
            "{name}: {over:+.4} dB over {ceiling_db} dB"
        );
    }
}

#[test]
fn nothing_is_ever_over_the_ceiling() {
    for (rate_hz, ceilings_db) in [(RATE_HZ, &[0.0, -1.0][..]), (44_100, &[-6.0])] {
        let signals = signals(rate_hz);
        let names: Vec<String> = signals.iter().map(|(name, _)| name.clone()).collect();
        let all = signals.into_iter().map(|(_, signal)| signal);
        let all = all.collect::<Vec<_>>().concat();
        for ceiling_db in ceilings_db.iter().copied() {
            let heard = Session::music(&all)
                .rate(rate_hz)
                .set(0, "master", "limiter", "ceiling_db", ceiling_db)
                .play();
            // It is loud: the ceiling is reached, not merely kept.
            let loudest = heard[0].iter().fold(0.0f32, |most, s| most.max(s.abs()));
            assert!(db(f64::from(loudest)) > ceiling_db - 0.5);
            keeps(&heard, rate_hz, ceiling_db, &names);
        }
    }
}

#[test]
fn a_limiter_on_a_track_keeps_its_own_ceiling() {
    let signals = signals(RATE_HZ);
    let names: Vec<String> = signals.iter().map(|(name, _)| name.clone()).collect();
    let all = signals.into_iter().map(|(_, signal)| signal);
    let all = all.collect::<Vec<_>>().concat();
    let heard = Session::music(&all)
        .add(
            "music",
            Kind::Limiter,
            &[("ceiling_db", -9.0), ("release_ms", 10.0)],
        )
        .play();
    keeps(&heard, RATE_HZ, -9.0, &names);
}
