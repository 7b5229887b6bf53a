//! `compressor` and `gate`: the curve within 0.3 dB, times within 10 %, states in their order.

use rigd_rt::Kind;

use super::listen::{db, factor, gains, rms, sine, steps};
use super::session::{RATE_HZ, Session};

const PER_MS: f64 = RATE_HZ as f64 / 1000.0;

/// The curve of Giannoulis, Massberg and Reiss (2012), equation 4: out for in, in dB.
fn curve(input: f64, threshold: f64, ratio: f64, knee: f64) -> f64 {
    let over = input - threshold;
    if 2.0 * over < -knee {
        input
    } else if 2.0 * over.abs() <= knee {
        input + (1.0 / ratio - 1.0) * (over + knee / 2.0).powi(2) / (2.0 * knee)
    } else {
        threshold + over / ratio
    }
}

#[test]
fn the_compressors_curve_is_the_papers() {
    // Half a second for each level: it has settled when the last 100 ms are measured.
    let step = RATE_HZ as usize / 2;
    let levels: Vec<f64> = (0..=20).map(|n| -60.0 + 3.0 * f64::from(n)).collect();
    let parts = levels
        .iter()
        .map(|level| sine(1000.0, 0.0, factor(*level), RATE_HZ, step));
    let signal = parts.collect::<Vec<_>>().concat();
    let mut worst = 0.0f64;
    for (threshold, ratio, knee, makeup) in [
        (-18.0, 3.0, 6.0, 0.0),
        (-30.0, 4.0, 12.0, 6.0),
        (-24.0, 20.0, 0.0, -3.0),
        (-12.0, 2.0, 24.0, 0.0),
        (-60.0, 2.5, 0.0, 12.0),
    ] {
        let params = [
            ("threshold_db", threshold),
            ("ratio", ratio),
            ("knee_db", knee),
            ("makeup_db", makeup),
        ];
        let [left, _] = Session::music(&signal)
            .add("music", Kind::Compressor, &params)
            .play();
        for (level, part) in levels.iter().zip(left.chunks(step)) {
            let wanted = curve(*level, threshold, ratio, knee) + makeup;
            // Nearer to the master's ceiling it is not the compressor that is heard.
            if wanted > -1.5 {
                continue;
            }
            let found = db(rms(&part[step - RATE_HZ as usize / 10..]) * 2f64.sqrt());
            worst = worst.max((found - wanted).abs());
            assert!(worst < 0.3, "{params:?}: {found:.2} dB for {wanted:.2}");
        }
    }
    println!("compressor: curve {worst:.3} dB off the paper's at most");
}

#[test]
fn the_compressors_times_are_time_constants_of_its_reduction() {
    let reached = 1.0 - (-1.0f64).exp();
    let mut worst = 0.0f64;
    for (attack, release) in [(5.0, 100.0), (0.5, 10.0), (20.0, 50.0), (100.0, 1000.0)] {
        let signal = steps(&[(500, -40.0), (1500, -6.0), (4000, -40.0)]);
        let params = [("attack_ms", attack), ("release_ms", release)];
        let [left, _] = Session::music(&signal)
            .add("music", Kind::Compressor, &params)
            .play();
        let gains = gains(&left, &signal);
        let at = |ms: f64| (ms * PER_MS) as usize;
        let full = gains[at(2000.0) - 1];
        // 12 dB over the threshold at 3:1.
        assert!((full + 8.0).abs() < 0.05, "{full} dB");
        let loud = gains[at(500.0)..].iter();
        let rise = loud.take_while(|gain| **gain > full * reached).count();
        let quiet = gains[at(2000.0)..].iter();
        let fall = quiet
            .take_while(|gain| **gain < full * (1.0 - reached))
            .count();
        for (name, samples, stated) in [("attack", rise, attack), ("release", fall, release)] {
            let ms = samples as f64 / PER_MS;
            println!("compressor: {name} {stated} ms measured {ms:.2}");
            worst = worst.max((ms / stated - 1.0).abs());
            assert!(worst < 0.1, "{name} {stated} ms measured {ms:.2}");
        }
    }
    println!("compressor: times {:.1} % off at most", worst * 100.0);
}

#[test]
fn the_gates_states_and_times_are_as_stated() {
    let mut worst = 0.0f64;
    for (attack, hold, release, range) in [
        (1.0, 60.0, 120.0, 20.0),
        (10.0, 200.0, 300.0, 40.0),
        (50.0, 20.0, 50.0, 80.0),
    ] {
        let signal = steps(&[(100, -60.0), (200, -20.0), (700, -60.0)]);
        let params = [
            ("attack_ms", attack),
            ("hold_ms", hold),
            ("release_ms", release),
            ("range_db", range),
        ];
        let [left, _] = Session::music(&signal)
            .add("music", Kind::Gate, &params)
            .play();
        let gains = gains(&left, &signal);
        let at = |ms: usize| (ms as f64 * PER_MS) as usize;
        let (before, loud, after) = (
            &gains[at(50)..at(100)],
            &gains[at(100)..at(300)],
            &gains[at(300)..],
        );
        assert!(
            before.iter().all(|gain| (gain + range).abs() < 0.01),
            "closed"
        );
        let opening = loud.iter().take_while(|gain| **gain < 0.0).count();
        assert!(loud[opening..].iter().all(|gain| *gain == 0.0), "open");
        let held = after.iter().take_while(|gain| **gain == 0.0).count();
        let closing = after[held..]
            .iter()
            .take_while(|gain| **gain > 0.001 - range)
            .count();
        let closed = &after[held + closing..];
        assert!(
            closed.iter().all(|gain| (gain + range).abs() < 0.01),
            "closed"
        );
        for (name, samples, stated) in [
            ("attack", opening, attack),
            ("hold", held, hold),
            ("release", closing, release),
        ] {
            let ms = samples as f64 / PER_MS;
            println!("gate: {name} {stated} ms measured {ms:.2}");
            worst = worst.max((ms / stated - 1.0).abs());
            assert!(worst < 0.1, "{name} {stated} ms measured {ms:.2}");
        }
    }
    println!("gate: times {:.1} % off at most", worst * 100.0);
}

#[test]
fn the_gate_opens_at_its_threshold_and_closes_below_its_hysteresis() {
    let levels = [-51.5, -49.5, -51.5, -52.5, -53.5, -51.5];
    let open = [false, true, true, true, false, false];
    let signal = steps(&levels.map(|level| (400, level)));
    let [left, _] = Session::music(&signal).add("music", Kind::Gate, &[]).play();
    let gains = gains(&left, &signal);
    let step = 400 * RATE_HZ as usize / 1000;
    for ((part, level), open) in gains.chunks(step).zip(levels).zip(open) {
        let last = part[step - 1];
        assert!(
            if open {
                last == 0.0
            } else {
                (last + 20.0).abs() < 0.01
            },
            "{level} dB: {last} dB"
        );
    }
}
