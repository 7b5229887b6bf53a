//! `feedback` on its own: what it must leave alone, and what its notches are.

mod common;

use common::voice::*;
use common::*;
use rigd_rt::svf::{Coefficients, Svf};
use rigd_rt::{Command, Kind, Report};

const SENSITIVITY: u8 = 0;
const DEPTH_DB: u8 = 1;
const WIDTH: u8 = 2;
const LIFE_S: u8 = 3;
const HOWL_MUTE: u8 = 4;
const SLOT: u8 = 0;

/// A sine whose level rises from −70 dB by so many dB a second up to a peak, and stays there.
fn howl(freq_hz: f64, db_per_s: f64, peak: f64, seconds: f64) -> Vec<f32> {
    let frames = (seconds * 48e3) as usize;
    let tone = sine(freq_hz, 0.0, 1.0, RATE_HZ, frames);
    let level = |at: usize| {
        10f64
            .powf((-70.0 + db_per_s * at as f64 / 48e3) / 20.0)
            .min(peak)
    };
    tone.into_iter()
        .enumerate()
        .map(|(at, sample)| (f64::from(sample) * level(at)) as f32)
        .collect()
}

fn rig(params: &[(u8, f32)]) -> Rig {
    Rig::with_effect(RATE_HZ, Kind::Feedback, params)
}

/// Of each notch that came or went: frequency and depth.
fn notches(reports: &[Report]) -> Vec<(f64, f64)> {
    let notch = |report: &Report| match report {
        Report::Notch {
            freq_hz, depth_db, ..
        } => Some((f64::from(*freq_hz), f64::from(*depth_db))),
        _ => None,
    };
    reports.iter().filter_map(notch).collect()
}

fn is_muted(reports: &[Report]) -> bool {
    let is_mute = |report: &Report| matches!(report, Report::Howl { muted: true, .. });
    reports.iter().any(is_mute)
}

/// What is taken for a howl in a sound, in a room that hisses at −90 dB.
fn mistakes(what: &str, sound: Vec<f32>) -> usize {
    let seconds = sound.len() as f64 / 48e3;
    let sound = with_hiss(sound, 9, 3e-5);
    let mut rig = rig(&[]);
    rig.run_twin(&sound);
    let reports = rig.take_reports();
    let found = notches(&reports);
    println!(
        "{what}: {} notches in {seconds:.0} s {found:?}",
        found.len()
    );
    found.len() + usize::from(is_muted(&reports))
}

fn row(sounds: impl IntoIterator<Item = Vec<f32>>) -> Vec<f32> {
    let mut row = Vec::new();
    for sound in sounds {
        row.extend(to_peak(sound, 0.5));
        row.extend(pause(0.2));
    }
    row
}

#[test]
fn sung_notes_are_left_alone() {
    let slow = Manner {
        attack_s: 0.5,
        ..STRAIGHT
    };
    // No singer can do that.
    let machine = Manner {
        jitter: 0.0,
        ..STRAIGHT
    };
    let notes = [
        82.4, 110.0, 146.8, 196.0, 261.6, 330.0, 440.0, 587.0, 784.0, 988.0,
    ];
    let vowels = [("ah", AH), ("ee", EE), ("oo", OO), ("singer", SINGER)];
    let vowels = &vowels[..cases(vowels.len(), 1, "sung vowels")];
    for &(vowel, formants) in vowels {
        for (how, manner) in [
            ("straight", STRAIGHT),
            ("vibrato", VIBRATO),
            ("slow", slow),
            ("machine", machine),
        ] {
            let sung = notes.map(|hz| sung(hz as u64, hz, formants, 4.0, manner));
            assert_eq!(mistakes(&format!("{vowel}, {how}"), row(sung)), 0);
        }
    }
}

/// A second partial 50 dB below.
fn whistled(number: u32, _: f64) -> f64 {
    [1.0, 0.003]
        .get(number as usize - 1)
        .copied()
        .unwrap_or(0.0)
}

const WHISTLE: Manner = Manner {
    vibrato_hz: 5.0,
    vibrato: 0.0,
    jitter: 0.06,
    attack_s: 0.05,
};

#[test]
fn whistling_is_left_alone() {
    let melody = [
        1047.0, 1175.0, 1319.0, 1568.0, 1760.0, 2093.0, 1568.0, 1319.0,
    ];
    let mut seed = 0;
    let mut whistle = |seconds, manner, hz: &dyn Fn(f64) -> f64| {
        seed += 1;
        tone(seed, seconds, manner, hz, whistled)
    };
    let mut sounds = Vec::new();
    for hz in melody {
        // Each note is approached from below.
        sounds.push(whistle(0.4, WHISTLE, &|t| {
            hz * (1.0 - 0.1 * (-30.0 * t).exp())
        }));
    }
    for hz in [1047.0, 1319.0, 2093.0] {
        let vibrato = Manner {
            vibrato: 0.3,
            ..WHISTLE
        };
        let slow = Manner {
            attack_s: 1.0,
            ..WHISTLE
        };
        for manner in [WHISTLE, vibrato, slow] {
            sounds.push(whistle(3.0, manner, &|_| hz));
        }
        sounds.push(whistle(2.0, WHISTLE, &|t| hz * t.exp2()));
    }
    assert_eq!(mistakes("whistle", row(sounds)), 0);
}

/// Partials that decay, each by 60 dB in its own time.
fn struck(hz: f64, partials: &[(f64, f64, f64)], seconds: f64) -> Vec<f32> {
    let frames = (seconds * 48e3) as usize;
    let mut out = vec![0.0; frames];
    for (ratio, level, t60_s) in partials {
        for (at, (to, sample)) in out
            .iter_mut()
            .zip(sine(hz * ratio, 0.0, *level, RATE_HZ, frames))
            .enumerate()
        {
            let attack = (at as f64 / 96.0).min(1.0);
            *to += sample * ((-6.9 * at as f64 / 48e3 / t60_s).exp() * attack) as f32;
        }
    }
    out
}

#[test]
fn instruments_are_left_alone() {
    let mut flute = Vec::new();
    for hz in [262.0, 330.0, 440.0, 523.0, 784.0, 1047.0, 1568.0] {
        for attack_s in [0.05, 0.3, 1.0] {
            let manner = Manner {
                attack_s,
                jitter: 0.03,
                ..WHISTLE
            };
            let level = |n: u32, _| {
                let levels = [1.0, 0.2, 0.08, 0.02];
                levels.get(n as usize - 1).copied().unwrap_or(0.0)
            };
            flute.push(tone(hz as u64, 3.0, manner, |_| hz, level));
        }
    }
    assert_eq!(mistakes("flute", row(flute)), 0);
    let mut synth = Vec::new();
    for hz in [220.0, 440.0, 880.0, 1760.0, 3000.0] {
        for attack_s in [0.005, 0.02, 0.05, 0.1, 0.3, 1.0] {
            let manner = Manner {
                attack_s,
                jitter: 0.0,
                ..WHISTLE
            };
            let pure = |n: u32, _| if n == 1 { 1.0 } else { 0.0 };
            synth.push(tone(1, 2.5, manner, |_| hz, pure));
            synth.push(tone(1, 2.5, manner, |_| hz, |n, _| 1.0 / f64::from(n)));
        }
    }
    assert_eq!(mistakes("synth", row(synth)), 0);
    let bell = [
        (0.5, 0.4, 6.0),
        (1.0, 1.0, 4.0),
        (1.19, 0.6, 3.0),
        (1.56, 0.3, 2.0),
        (2.0, 0.8, 2.5),
        (2.51, 0.4, 1.5),
        (3.01, 0.3, 1.0),
    ];
    let piano: Vec<_> = (1..20)
        .map(|n| {
            let n = f64::from(n);
            (n * (1.0 + 4e-4 * n * n).sqrt(), 1.0 / n, 6.0 / n)
        })
        .collect();
    let notes = [131.0, 262.0, 392.0, 523.0, 1047.0, 2093.0];
    assert_eq!(
        mistakes("bell", row(notes.map(|hz| struck(hz, &bell, 4.0)))),
        0
    );
    assert_eq!(
        mistakes("piano", row(notes.map(|hz| struck(hz, &piano, 4.0)))),
        0
    );
    // Chords with drums.
    let beat = 12_000;
    let mut band = Vec::new();
    for chord in [
        [220.0, 277.2, 329.6],
        [146.8, 220.0, 293.7],
        [164.8, 207.7, 246.9],
    ]
    .repeat(3)
    {
        let mut bar = vec![0.0; 4 * beat];
        for hz in chord {
            let saw = tone(7, 1.0, STRAIGHT, |_| hz, |n, _| 0.3 / f64::from(n));
            bar.iter_mut().zip(saw).for_each(|(to, from)| *to += from);
        }
        for at in 0..4 {
            let hit = noise(at as u64, beat, 1.0).into_iter().enumerate();
            for (to, (n, sample)) in bar[at * beat..].iter_mut().zip(hit) {
                *to += sample * (-(n as f32) / 1500.0).exp();
            }
        }
        band.push(bar);
    }
    assert_eq!(mistakes("band", row(band)), 0);
}

#[test]
fn speech_and_applause_are_left_alone() {
    assert_eq!(mistakes("speech", to_peak(speech(5, 40.0), 0.5)), 0);
    // Some fifty claps a second, each a burst of a few ms.
    let mut random = Random(3);
    let mut applause = vec![0.0f32; 10 * 48_000];
    for _ in 0..500 {
        let at = random.below(applause.len() - 2000);
        let size = random.unit() as f32;
        for (n, sample) in noise(random.next(), 2000, 1.0).into_iter().enumerate() {
            applause[at + n] += size * sample * (-(n as f32) / 200.0).exp();
        }
    }
    assert_eq!(mistakes("applause", to_peak(applause, 0.5)), 0);
    let mut high = Svf::new(1.0);
    high.snap(Coefficients::new(6000.0, 1.0, 48e3));
    let hiss = noise(8, 5 * 48_000, 0.5).into_iter();
    let sibilant = hiss.map(|sample| high.tick([sample; 2]).high[0]).collect();
    assert_eq!(mistakes("sibilant", sibilant), 0);
    let mut found = 0;
    for entry in std::fs::read_dir("/usr/share/sounds/alsa")
        .into_iter()
        .flatten()
    {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if path.extension().is_none_or(|extension| extension != "wav") {
            continue;
        }
        // They are 16 bits, mono, 48 kHz, behind a header of 44 bytes.
        let samples = bytes[44..].chunks_exact(2);
        let spoken: Vec<f32> = samples
            .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0)
            .collect();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(mistakes(&name, to_peak(spoken, 0.5)), 0);
        found += 1;
    }
    if found == 0 {
        println!("SKIP: no recordings: alsa-utils is not installed");
    }
}

/// Lets a sine grow and stay, until its notch is as deep as it gets.
fn with_notch(freq_hz: f64, params: &[(u8, f32)]) -> (Rig, Vec<Report>) {
    let mut all = vec![(HOWL_MUTE, 0.0)];
    all.extend(params);
    let mut rig = rig(&all);
    rig.run_twin(&howl(freq_hz, 200.0, 0.1, 1.5));
    let reports = rig.take_reports();
    (rig, reports)
}

#[test]
fn a_growing_sine_gets_a_notch_where_it_is() {
    for rate in [40.0, 100.0, 300.0, 800.0] {
        for freq_hz in [200.0, 441.3, 1000.0, 2345.6, 5000.0, 9000.0] {
            let mut rig = rig(&[(HOWL_MUTE, 0.0)]);
            rig.run_twin(&with_hiss(
                howl(freq_hz, rate, 0.3, 0.2 + 60.0 / rate),
                4,
                1e-5,
            ));
            let found = notches(&rig.take_reports());
            assert!(!found.is_empty(), "{freq_hz} Hz, {rate} dB/s");
            for (at, _) in found {
                assert!((at - freq_hz).abs() < 3.0, "{freq_hz} Hz: notch at {at}");
            }
        }
    }
}

#[test]
fn sensitivity_says_how_much_must_be_seen() {
    // Which rises are taken for howls: from −70 dB by so many dB, then steady.
    let caught = |sensitivity: f32, rise: f64| {
        let mut rig = rig(&[(SENSITIVITY, sensitivity), (HOWL_MUTE, 0.0)]);
        let peak = 10f64.powf((-70.0 + rise) / 20.0) * 30.0;
        let loud = howl(1234.5, 100.0, peak / 30.0, 1.5);
        rig.run_twin(&loud.iter().map(|sample| sample * 30.0).collect::<Vec<_>>());
        !notches(&rig.take_reports()).is_empty()
    };
    for sensitivity in [0.0, 0.5, 1.0] {
        let least = (1..40).find(|rise| caught(sensitivity, f64::from(*rise)));
        println!("sensitivity {sensitivity}: from a rise of {least:?} dB on");
    }
    assert!(caught(1.0, 13.0) && !caught(0.5, 13.0));
    assert!(caught(0.5, 18.0) && !caught(0.0, 18.0));
}

#[test]
fn notches_are_as_deep_and_wide_as_stated() {
    for (freq_hz, depth, width) in [
        (1000.0, 18.0, 0.1),
        (1000.0, 6.0, 0.1),
        (3000.0, 40.0, 0.3),
        (400.0, 24.0, 1.0),
        (9000.0, 18.0, 0.2),
    ] {
        let (mut rig, reports) = with_notch(freq_hz, &[(DEPTH_DB, depth), (WIDTH, width)]);
        let (at, deepest) = *notches(&reports).last().unwrap();
        assert!((deepest - f64::from(depth)).abs() < 1e-4);
        let mut gain_db = |hz: f64| {
            let test = sine(hz, 0.0, 0.01, RATE_HZ, 24_000);
            let [left, _] = rig.run_twin(&test);
            db(amplitude(&left[12_000..], hz, RATE_HZ) / 0.01)
        };
        let half = f64::from(width) / 2.0;
        let middle = gain_db(at);
        let (low, high) = (gain_db(at * (-half).exp2()), gain_db(at * half.exp2()));
        let (far, farther) = (gain_db(at / 4.0), gain_db(at * 2.2));
        println!(
            "{freq_hz} Hz, {depth} dB, {width} oct: {middle:.2} dB; {low:.2} and {high:.2} dB at the edges; {far:.2} and {farther:.2} dB far off"
        );
        assert!((middle + f64::from(depth)).abs() < 0.1);
        assert!((low + f64::from(depth) / 2.0).abs() < 0.6);
        assert!((high + f64::from(depth) / 2.0).abs() < 0.6);
        assert_eq!(notches(&rig.take_reports()), [], "it howls no more");
    }
}

/// What a microphone takes in of a signal: what is 300 dB down is silence.
fn audible(mut signal: Vec<f32>) -> Vec<f32> {
    for sample in signal.iter_mut().filter(|sample| sample.abs() <= 1e-15) {
        *sample = 0.0;
    }
    signal
}

#[test]
fn a_notch_goes_deeper_in_steps_and_leaves_after_its_life() {
    let (mut rig, reports) = with_notch(1500.0, &[(LIFE_S, 1.0), (DEPTH_DB, 30.0)]);
    let depths: Vec<f64> = notches(&reports).iter().map(|(_, depth)| *depth).collect();
    assert_eq!(depths, [12.0, 18.0, 24.0, 30.0]);
    let mut gone = 0;
    while notches(&rig.take_reports()).is_empty() {
        rig.silence(512);
        gone += 512;
        assert!(gone < 3 * 48_000, "it stays");
    }
    let seconds = f64::from(gone) / 48e3;
    println!("life 1 s: gone {seconds:.2} s after its last howl");
    assert!((1.3..1.6).contains(&seconds));
    let test = audible(sine(1500.0, 0.0, 0.01, RATE_HZ, 4800));
    let [left, _] = rig.run_twin(&test);
    assert!(
        bits(&left[1..]) == bits(&test[1..]),
        "nothing is left of it"
    );
}

#[test]
fn bypassing_it_clears_it() {
    let (mut rig, _) = with_notch(800.0, &[]);
    rig.now(&[Command::Bypass {
        slot: SLOT,
        on: true,
    }]);
    rig.silence(4800);
    let [(_, depth)] = *notches(&rig.take_reports()) else {
        panic!("one notch goes");
    };
    assert_eq!(depth, 0.0);
    // And it hears nothing while it is bypassed.
    rig.run_twin(&howl(900.0, 200.0, 0.1, 1.0));
    assert_eq!(notches(&rig.take_reports()), []);
    rig.now(&[Command::Bypass {
        slot: SLOT,
        on: false,
    }]);
    rig.run_twin(&pause(0.5));
    let test = audible(sine(800.0, 0.0, 0.01, RATE_HZ, 4800));
    let [left, _] = rig.run_twin(&test);
    assert!(bits(&left[1..]) == bits(&test[1..]));
}

#[test]
fn the_last_resort_mutes_and_gives_back() {
    // Open loop: no notch can help, so all that is left is the gain.
    let mut rig = rig(&[(LIFE_S, 1.0)]);
    rig.run_twin(&howl(1000.0, 200.0, 0.3, 1.0));
    let reports = rig.take_reports();
    assert!(is_muted(&reports));
    let gain = |rig: &mut Rig| {
        let test = audible(sine(300.0, 0.0, 0.01, RATE_HZ, 4800));
        let [left, _] = rig.run_twin(&test);
        db(amplitude(&left[2400..], 300.0, RATE_HZ) / 0.01)
    };
    rig.silence(14_400);
    let lower = gain(&mut rig);
    rig.silence(10 * 48_000);
    let back = gain(&mut rig);
    println!("after the mute {lower:.2} dB, 10 s later {back:.2} dB");
    assert!((lower + 6.0).abs() < 0.2 && back.abs() < 0.01);
    let last = rig
        .take_reports()
        .into_iter()
        .rev()
        .find_map(|report| match report {
            Report::Howl { muted, gain_db, .. } => Some((muted, gain_db)),
            _ => None,
        });
    assert_eq!(last, Some((false, 0.0)));
}

/// The loudest 5 ms of what is over 5 kHz, in dB of full scale.
fn over_5_khz_db(signal: &[f32]) -> f64 {
    let mut filters = [Svf::new(0.5), Svf::new(1.4), Svf::new(1.9)];
    for filter in &mut filters {
        filter.snap(Coefficients::new(5000.0, filter.k(), 48e3));
    }
    let high: Vec<f32> = signal
        .iter()
        .map(|sample| {
            let mut frame = [*sample; 2];
            for filter in &mut filters {
                frame = filter.tick(frame).high;
            }
            frame[0]
        })
        .collect();
    high[240..]
        .chunks(240)
        .map(|part| db(rms(part)))
        .fold(-200.0, f64::max)
}

#[test]
fn nothing_clicks() {
    let peak_db = db(0.3 / 2f64.sqrt());
    // Notches that come and deepen; the cut and the way back.
    for (what, params) in [("notch", &[(HOWL_MUTE, 0.0)][..]), ("mute", &[])] {
        let mut rig = rig(params);
        let [left, _] = rig.run_twin(&howl(500.0, 200.0, 0.3, 2.0));
        assert!(!notches(&rig.take_reports()).is_empty());
        let over = over_5_khz_db(&left) - peak_db;
        println!("{what}: {over:.1} dB");
        assert!(over < -60.0);
    }
    // Every parameter jumps while there is a notch.
    for (index, param) in Kind::Feedback.params().iter().enumerate() {
        let (mut rig, _) = with_notch(500.0, &[]);
        let held = sine(500.0, 0.0, 0.3, RATE_HZ, 48_000);
        let mut out = Vec::new();
        for (turn, part) in held.chunks(4800).enumerate() {
            let value = [param.min, param.max][turn % 2];
            rig.now(&[set(SLOT, index as u8, value as f32)]);
            let [left, _] = rig.run_twin(part);
            out.extend(left);
        }
        let over = over_5_khz_db(&out[480..]) - peak_db;
        println!("{}: {over:.1} dB", param.id);
        assert!(over < -60.0, "{}", param.id);
    }
}

#[test]
fn news_that_finds_no_room_is_kept() {
    let mut rig = rig(&[(HOWL_MUTE, 0.0)]);
    rig.silence(4800);
    rig.shelf.places = rig.shelf.reports.len();
    rig.run_twin(&howl(1000.0, 200.0, 0.1, 1.5));
    assert_eq!(notches(&rig.take_reports()), []);
    rig.shelf.places = 1 << 20;
    rig.silence(1024);
    let [(_, depth)] = *notches(&rig.take_reports()) else {
        panic!("one notch, as it is now");
    };
    assert_eq!(depth, 18.0);
}

#[test]
fn extremes_and_rubbish_do_no_harm() {
    let loud: Vec<f32> = (0..48_000)
        .map(|n| match n % 977 {
            3 => f32::NAN,
            500 => f32::INFINITY,
            700 => 1e-40,
            _ if n % 12_000 < 6000 => 900.0 * (n as f32 * 0.1).sin(),
            _ => 0.0,
        })
        .collect();
    for ends in 0..1 << Kind::Feedback.params().len() {
        let params: Vec<(u8, f32)> = Kind::Feedback
            .params()
            .iter()
            .enumerate()
            .map(|(index, param)| {
                let value = if ends >> index & 1 == 1 {
                    param.max
                } else {
                    param.min
                };
                (index as u8, value as f32)
            })
            .collect();
        let mut rig = rig(&params);
        let [left, _] = rig.run_twin(&loud);
        assert!(left.iter().all(|sample| sample.is_finite()));
        let [left, _] = rig.run_twin(&howl(3000.0, 300.0, 1.0, 0.6));
        assert!(left.iter().all(|sample| sample.is_finite()));
        // It still works, and what goes in comes out.
        rig.silence(96_000);
        rig.now(&[Command::Bypass {
            slot: SLOT,
            on: true,
        }]);
        rig.silence(4800);
        rig.now(&[Command::Bypass {
            slot: SLOT,
            on: false,
        }]);
        rig.silence(4800);
        let test = audible(sine(440.0, 0.0, 0.1, RATE_HZ, 4800));
        let [left, _] = rig.run_twin(&test);
        assert!(bits(&left[1..]) == bits(&test[1..]));
    }
}

#[test]
fn it_works_at_every_rate() {
    for rate_hz in [8_000, 16_000, 44_100, 96_000, 192_000] {
        let mut rig = Rig::with_effect(rate_hz, Kind::Feedback, &[(HOWL_MUTE, 0.0)]);
        let frames = (1.2 * f64::from(rate_hz)) as usize;
        let tone = sine(1000.0, 0.0, 1.0, rate_hz, frames);
        let grown = tone.iter().enumerate().map(|(at, sample)| {
            let level = 10f64.powf((-70.0 + 150.0 * at as f64 / f64::from(rate_hz)) / 20.0);
            (f64::from(*sample) * level.min(0.1)) as f32
        });
        let sound: Vec<f32> = grown.collect();
        rig.run_twin(&sound);
        let found = notches(&rig.take_reports());
        println!("{rate_hz} Hz: {found:?}");
        assert!(!found.is_empty());
        assert!(found.iter().all(|(at, _)| (at - 1000.0).abs() < 5.0));
    }
}
