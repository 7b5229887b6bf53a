//! `deesser`: an "s" goes down, a vowel stays; on synthesised sounds and on spoken words.

use std::f64::consts::{PI, TAU};
use std::path::Path;

use rigd_rt::Kind;

use super::listen::{db, magnitude_db, noise, peak, rms};
use super::session::{RATE_HZ, Session};

/// Ten milliseconds.
const WINDOW: usize = RATE_HZ as usize / 100;

/// A band of a signal: a Butterworth of second order, twice, by the bilinear transform.
fn filtered(signal: &[f32], hz: f64, high: bool) -> Vec<f32> {
    let g = (PI * hz / f64::from(RATE_HZ)).tan();
    let k = 2f64.sqrt();
    let a1 = 1.0 / (1.0 + g * (g + k));
    let mut out: Vec<f64> = signal.iter().map(|sample| f64::from(*sample)).collect();
    for _ in 0..2 {
        let (mut s1, mut s2) = (0.0, 0.0);
        for sample in &mut out {
            let v3 = *sample - s2;
            let v1 = a1 * (s1 + g * v3);
            let v2 = s2 + g * v1;
            s1 = 2.0 * v1 - s1;
            s2 = 2.0 * v2 - s2;
            *sample = if high { *sample - k * v1 - v2 } else { v2 };
        }
    }
    out.into_iter().map(|sample| sample as f32).collect()
}

fn normalised(mut signal: Vec<f32>, to: f64) -> Vec<f32> {
    let by = (to / peak(&signal)) as f32;
    signal.iter_mut().for_each(|sample| *sample *= by);
    signal
}

/// An "s": noise between 5 and 10 kHz.
fn sibilant(level: f64, frames: usize) -> Vec<f32> {
    let hiss = filtered(&noise(11, 1.0, frames), 5500.0, true);
    normalised(filtered(&hiss, 10_000.0, false), level)
}

const PITCH_HZ: f64 = 150.0;

/// An "a": a source of −12 dB an octave, radiated (+6), through four formants.
fn vowel(level: f64, frames: usize) -> Vec<f32> {
    let formants = [
        (730.0, 90.0),
        (1090.0, 110.0),
        (2440.0, 170.0),
        (3400.0, 250.0),
    ];
    let mut out = vec![0.0f64; frames];
    for harmonic in 1..100 {
        let hz = PITCH_HZ * f64::from(harmonic);
        let mut size = 1.0 / f64::from(harmonic);
        for (formant, width) in formants {
            let (ratio, damping) = (hz / formant, width / formant);
            size /= (1.0 - ratio * ratio).hypot(damping * ratio);
        }
        let step = TAU * hz / f64::from(RATE_HZ);
        for (frame, sample) in out.iter_mut().enumerate() {
            *sample += size * (step * frame as f64).sin();
        }
    }
    normalised(out.into_iter().map(|sample| sample as f32).collect(), level)
}

fn deessed(signal: &[f32], params: &[(&str, f64)]) -> Vec<f32> {
    let [left, right] = Session::music(signal)
        .add("music", Kind::Deesser, params)
        .play();
    assert!(left == right);
    left
}

#[test]
fn an_s_goes_down_and_a_vowel_stays() {
    for (threshold, range) in [(-30.0, 8.0), (-40.0, 16.0)] {
        let params = [("threshold_db", threshold), ("range_db", range)];
        let before = sibilant(0.3, RATE_HZ as usize / 2);
        let after = deessed(&before, &params);
        let down = db(rms(&before[2400..]) / rms(&after[2400..]));
        assert!(
            down > 0.7 * range && down <= range + 0.1,
            "{down} dB of {range}"
        );

        // Whole periods, so that harmonics do not leak.
        let frames = RATE_HZ as usize;
        let before = vowel(0.5, frames);
        let after = deessed(&before, &params);
        let late = frames / 2..frames;
        let worst = (1..60)
            .map(|harmonic| PITCH_HZ * f64::from(harmonic))
            .map(|hz| {
                let [was, is] = [&before, &after]
                    .map(|signal| magnitude_db(&signal[late.clone()], hz, RATE_HZ));
                (is - was).abs()
            })
            .fold(0.0, f64::max);
        println!(
            "deesser: range {range}: an s goes down by {down:.2} dB, a vowel's harmonics by {worst:.4} dB at most"
        );
        assert!(worst < 0.1, "{worst} dB");
    }
}

#[test]
fn spoken_sibilants_go_down_and_spoken_vowels_stay() {
    let words = ["Front_Center", "Rear_Center", "Side_Left", "Side_Right"];
    let mut voice = Vec::new();
    for word in words {
        let path = format!("/usr/share/sounds/alsa/{word}.wav");
        let Ok(mut channels) = rigd::wav::read(Path::new(&path), 2, RATE_HZ) else {
            println!("SKIP: {path} is not there: install alsa-utils");
            return;
        };
        voice.extend(channels.swap_remove(0));
    }
    let before = normalised(voice, 0.7);
    let after = deessed(&before, &[("threshold_db", -36.0), ("range_db", 12.0)]);
    let low = filtered(&before, 3000.0, false);
    let high = filtered(&before, 5000.0, true);
    let (mut sibilants, mut vowels) = (Vec::new(), Vec::new());
    for start in (0..before.len() - WINDOW).step_by(WINDOW) {
        let here = start..start + WINDOW;
        let change = db(rms(&after[here.clone()]) / rms(&before[here.clone()]));
        let [low, high] = [&low, &high].map(|band| db(rms(&band[here.clone()])));
        if high > -34.0 && high > low + 6.0 {
            sibilants.push(change);
        } else if low > -34.0 && low > high + 20.0 {
            vowels.push(change);
        }
    }
    sibilants.sort_by(f64::total_cmp);
    vowels.sort_by(f64::total_cmp);
    let middle = |sorted: &[f64]| sorted[sorted.len() / 2];
    println!(
        "deesser on spoken words: {} windows of sibilants {:.2} dB (median), {} of vowels {:.3} dB (median), {:.2} dB at most",
        sibilants.len(),
        middle(&sibilants),
        vowels.len(),
        middle(&vowels),
        vowels[0],
    );
    assert!(sibilants.len() >= 10 && vowels.len() >= 50);
    assert!(middle(&sibilants) < -6.0);
    assert!(middle(&vowels).abs() < 0.05 && vowels[0] > -1.0);
}
