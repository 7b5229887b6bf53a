//! The limiter's true peak, judged by the `ebur128` crate and by an oversampler of our own; its latency,
//! release and honesty.

mod common;

use common::*;
use ebur128::{EbuR128, Mode};
use rigd_rt::effects::limiter::MARGIN;
use rigd_rt::{Command, Kind, Report};

const RATES_HZ: [u32; 5] = [44_100, 48_000, 88_200, 96_000, 192_000];
const FULL_DB: f64 = 24.0;
/// What a true peak may be above its ceiling, in dB.
const TOLERANCE_DB: f64 = 0.0;

/// 8× oversampling by a windowed sinc of 128 taps (Blackman-Harris): eight times longer than the
/// limiter's own, in double precision.
struct Oversampler {
    phases: Vec<Vec<f64>>,
}

impl Oversampler {
    const TAPS: usize = 128;

    fn new() -> Oversampler {
        let tau = std::f64::consts::TAU;
        let phase = |phase: usize| {
            let weights = (0..Self::TAPS).map(|tap| {
                let x = tap as f64 - (Self::TAPS / 2 - 1) as f64 - phase as f64 / 8.0;
                let t = x / Self::TAPS as f64 + 0.5;
                let window = 0.35875 - 0.48829 * (tau * t).cos() + 0.14128 * (2.0 * tau * t).cos()
                    - 0.01168 * (3.0 * tau * t).cos();
                let arc = std::f64::consts::PI * x;
                window * if x == 0.0 { 1.0 } else { arc.sin() / arc }
            });
            weights.collect()
        };
        Oversampler {
            phases: (0..8).map(phase).collect(),
        }
    }

    fn peak(&self, signal: &[f32]) -> f64 {
        let phases = 0..self.phases.len();
        phases
            .flat_map(|phase| self.between(phase, signal))
            .fold(0.0, |peak: f64, value| peak.max(value.abs()))
    }

    /// The signal so many eighths of a sample later than its samples.
    fn between(&self, phase: usize, signal: &[f32]) -> Vec<f64> {
        let signal: Vec<f64> = std::iter::repeat_n(0.0, Self::TAPS)
            .chain(signal.iter().map(|sample| f64::from(*sample)))
            .collect();
        let value = |window: &[f64]| {
            let pairs = window.iter().zip(&self.phases[phase]);
            pairs.map(|(s, w)| s * w).sum()
        };
        signal.windows(Self::TAPS).map(value).collect()
    }

    /// The true peak by `ebur128`, eightfold: it oversamples by four at the lower rates and less at the
    /// higher ones, so it is told a lower rate, and given the signal once more, an eighth of a sample on.
    fn peak_by_ebur128(&self, signal: &[f32]) -> f64 {
        let peak = |signal: &[f32]| {
            let mut meter = EbuR128::new(1, 44_100, Mode::TRUE_PEAK).unwrap();
            meter.add_frames_f32(signal).unwrap();
            meter.true_peak(0).unwrap()
        };
        let later: Vec<f32> = self.between(1, signal).iter().map(|s| *s as f32).collect();
        peak(signal).max(peak(&later))
    }
}

fn limited(rate_hz: u32, ceiling_db: f32, input: &[f32]) -> Vec<f32> {
    let mut rig = Rig::with_effect(rate_hz, Kind::Limiter, &[(0, ceiling_db)]);
    let [left, right] = rig.run_twin(input);
    assert!(left == right);
    left
}

/// Quiet, then loud at once for a tenth of a second, then quiet: attack, hold and release.
fn burst(signal: &[f32]) -> Vec<f32> {
    let loud = 10f64.powf(FULL_DB / 20.0) as f32;
    let quarter = signal.len() / 4;
    let gain = |at: usize| {
        if (quarter..2 * quarter).contains(&at) {
            loud
        } else {
            0.1
        }
    };
    let signal = signal.iter().enumerate();
    signal.map(|(at, sample)| sample * gain(at)).collect()
}

/// How far above the ceiling the worst true peak of these is, in dB.
fn worst(rate_hz: u32, signals: Vec<(String, Vec<f32>)>) -> (f64, String) {
    let judge = Oversampler::new();
    let mut worst = (f64::MIN, String::new());
    for ceiling_db in [-1.0, -6.0] {
        for (name, signal) in &signals {
            let limited = limited(rate_hz, ceiling_db, signal);
            let peak = judge.peak(&limited).max(judge.peak_by_ebur128(&limited));
            let over = db(peak) - f64::from(ceiling_db);
            if over > worst.0 {
                worst = (over, format!("{name} at {ceiling_db} dB"));
            }
        }
    }
    println!(
        "{rate_hz} Hz: worst true peak {:+.4} dB: {}",
        worst.0, worst.1
    );
    worst
}

#[test]
fn the_true_peak_of_sines_up_to_20_khz_stays_below_the_ceiling() {
    for rate_hz in RATES_HZ {
        let mut signals = Vec::new();
        for freq in [
            50.0, 997.0, 3_000.0, 5_512.0, 8_001.0, 11_025.0, 12_000.0, 15_000.0, 18_500.0,
            20_000.0,
        ] {
            for phase in [0.0, std::f64::consts::FRAC_PI_4, 1.3] {
                let signal = sine(freq, phase, 1.0, rate_hz, 4_800);
                signals.push((format!("{freq} Hz, phase {phase}"), burst(&signal)));
            }
        }
        let (over, name) = worst(rate_hz, signals);
        assert!(over <= TOLERANCE_DB, "{over:+.3} dB: {name}");
    }
}

#[test]
fn the_true_peak_of_squares_noise_and_steps_stays_below_the_ceiling() {
    for rate_hz in RATES_HZ {
        let mut signals = Vec::new();
        let frames = 4_800;
        for period in [4usize, 5, 7, 12, 48, 96, 441] {
            let square = (0..frames).map(|at| if at % period < period / 2 { 1.0 } else { -1.0 });
            signals.push((
                format!("square of {period} frames"),
                square.collect::<Vec<f32>>(),
            ));
        }
        for seed in 0..6 {
            signals.push((format!("noise {seed}"), noise(seed, frames, 1.0)));
        }
        // Full-scale signs at random: the most hostile there is for what lies between samples.
        for seed in 0..4 {
            let signs = noise(seed, frames, 1.0).into_iter().map(f32::signum);
            signals.push((format!("signs {seed}"), signs.collect()));
        }
        let mut impulse = vec![0.0; frames];
        impulse[1_500] = 1.0;
        impulse[1_503] = -1.0;
        signals.push(("impulses".to_owned(), impulse));
        signals.push(("step".to_owned(), vec![1.0; frames]));
        // A quarter of the rate at 45°: every sample 3 dB below the peak between them.
        let quarter = f64::from(rate_hz) / 4.0;
        let hostile = sine(quarter, std::f64::consts::FRAC_PI_4, 1.0, rate_hz, frames);
        signals.push(("a quarter of the rate at 45 degrees".to_owned(), hostile));
        let signals = signals.into_iter();
        let mut signals: Vec<(String, Vec<f32>)> = signals
            .map(|(name, signal)| (name, burst(&signal)))
            .collect();
        // Signs that all add up in one middle: samples far below the ceiling, and a peak above it.
        for percent in (20..90).step_by(10) {
            let mut quiet = vec![0.0; 2_400];
            for index in 0..24 {
                let size = percent as f32 * if index % 2 == 0 { 0.01 } else { -0.01 };
                (quiet[1_200 + index], quiet[1_199 - index]) = (size, size);
            }
            signals.push((format!("signs that add up, {percent} %"), quiet));
        }
        let (over, name) = worst(rate_hz, signals);
        assert!(over <= TOLERANCE_DB, "{over:+.3} dB: {name}");
    }
}

#[test]
fn no_sample_is_above_the_ceiling_while_the_ceiling_moves() {
    let mut rig = Rig::with_effect(RATE_HZ, Kind::Limiter, &[(0, 0.0)]);
    let input = sine(997.0, 0.0, 8.0, RATE_HZ, 9_600);
    rig.run_twin(&input);
    rig.now(&[set(0, 0, -12.0)]);
    let [left, _] = rig.run_twin(&input);
    let goal = 10f32.powf(-12.0 / 20.0);
    assert!(peak(&left) <= 1.0);
    assert!(peak(&left[1_100..]) <= goal * 1.0001);
    assert!(peak(&left[8_000..]) > goal * MARGIN * 0.98);
}

#[test]
fn the_other_side_goes_along() {
    let mut rig = Rig::with_effect(RATE_HZ, Kind::Limiter, &[]);
    let loud = sine(500.0, 0.0, 4.0, RATE_HZ, 9_600);
    let quiet: Vec<f32> = loud.iter().map(|sample| sample * 0.125).collect();
    let [left, right] = rig.run(&[&loud, &quiet]);
    // The image stays where it was.
    for (left, right) in left.iter().zip(&right) {
        assert!((left * 0.125 - right).abs() < 1e-5);
    }
}

#[test]
fn below_the_ceiling_it_is_a_delay_to_the_bit() {
    for rate_hz in [
        8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000,
    ] {
        let latency = Kind::Limiter.latency_frames(rate_hz);
        assert!(
            latency as f64 <= 0.002 * f64::from(rate_hz),
            "{rate_hz} Hz: {latency}"
        );
        let input = noise(3, 5_000, 0.4);
        let out = limited(rate_hz, -1.0, &input);
        assert!(out[..latency].iter().all(|sample| *sample == 0.0));
        assert!(
            bits(&out[latency..]) == bits(&input[..5_000 - latency]),
            "{rate_hz} Hz"
        );
    }
}

#[test]
fn the_other_kinds_delay_nothing() {
    for kind in [Kind::Gain, Kind::Hpf, Kind::Reverb] {
        let mut rig = Rig::with_effect(RATE_HZ, kind, &[]);
        let mut pulse = vec![0.0; 200];
        pulse[20] = 0.5;
        let [left, _] = rig.run_twin(&pulse);
        assert_eq!(left.iter().position(|s| *s != 0.0), Some(20));
        assert_eq!(kind.latency_frames(RATE_HZ), 0);
    }
}

#[test]
fn it_lets_go_in_its_release_time_and_then_is_a_delay_again() {
    for release_ms in [10.0, 80.0, 1000.0] {
        let mut rig = Rig::with_effect(RATE_HZ, Kind::Limiter, &[(0, -6.0), (1, release_ms)]);
        let latency = Kind::Limiter.latency_frames(RATE_HZ);
        let ceiling = 10f32.powf(-6.0 / 20.0);
        let loud = ceiling * 2.0;
        rig.run_twin(&vec![loud; 4_800]);
        // A constant of a tenth tells the gain.
        let frames = (release_ms as usize * 48) * 14 + 4_800;
        let [left, _] = rig.run_twin(&vec![0.1; frames]);
        let gains: Vec<f32> = left[latency + 1..].iter().map(|s| s / 0.1).collect();
        let start = gains[0];
        // Before the edge there is an overshoot of some per cent.
        assert!(start > 0.4 && start < 0.51, "{start}");
        // One time constant: 63 % of the way, plus the moving average's look-ahead (1.5 ms).
        let wanted = 1.0 - (1.0 - start) * (-1.0f32).exp();
        let at = gains.iter().position(|gain| *gain >= wanted).unwrap();
        let ms = at as f32 / 48.0;
        assert!(
            (ms - release_ms).abs() < 0.05 * release_ms + 2.0,
            "{ms} ms for {release_ms}"
        );
        assert!(gains.windows(2).all(|pair| pair[1] >= pair[0] - 1e-6));
        // It recovers for good: exactly what went in.
        assert_eq!(left[frames - 1].to_bits(), 0.1f32.to_bits(), "{release_ms}");
    }
}

#[test]
fn reduction_is_reported_in_db_and_only_while_it_reduces() {
    let mut rig = Rig::with_effect(RATE_HZ, Kind::Limiter, &[(0, -6.0)]);
    let reduction = |rig: &mut Rig| {
        let reports = rig.take_reports();
        let mine = reports.into_iter().filter_map(|report| match report {
            Report::Meter {
                track: STEM,
                reduction_db,
                ..
            } => Some(reduction_db),
            _ => None,
        });
        mine.collect::<Vec<f32>>()
    };
    rig.run_twin(&sine(997.0, 0.0, 0.4, RATE_HZ, 4_096));
    assert_eq!(reduction(&mut rig), [0.0; 8]);
    rig.run_twin(&sine(997.0, 0.0, 2.0, RATE_HZ, 4_096));
    let found = reduction(&mut rig);
    let expected = 6.0 + 20.0 * (2.0 / MARGIN).log10();
    assert!(
        found[2..].iter().all(|db| (db - expected).abs() < 0.2),
        "{found:?}"
    );
    rig.silence(96_000);
    assert_eq!(reduction(&mut rig).last(), Some(&0.0));
}

#[test]
fn the_masters_limiter_holds_what_the_faders_do() {
    let mut rig = Rig::desk(RATE_HZ);
    let (_, add) = rig.effect(MASTER, Kind::Limiter, 0);
    rig.now(&[add]);
    let judge = Oversampler::new();
    let mut random = Random(1);
    let mut out = Vec::new();
    for turn in 0..20 {
        rig.now(&[Command::Level {
            track: [STEM, MASTER][random.below(2)],
            level: rigd_rt::command::TrackLevel::Volume,
            value: random.unit() as f32 * 2.0,
        }]);
        let [left, _] = rig.run_twin(&noise(turn, 1_500, 4.0));
        out.extend(left);
    }
    let over = db(judge.peak(&out)) + 1.0;
    println!("faders: {over:+.4} dB");
    assert!(over <= TOLERANCE_DB, "{over:+.3} dB");
}
