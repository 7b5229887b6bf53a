//! `hpf` and `eq` against R. Bristow-Johnson's cookbook, written down anew: within 0.1 dB.

use std::f64::consts::{FRAC_1_SQRT_2, PI, TAU};

use rigd_rt::Kind;

use super::listen::{db, impulse, magnitude_db};
use super::session::{RATE_HZ, Session};

const RATES_HZ: [u32; 2] = [RATE_HZ, 44_100];
/// Quiet enough for 18 dB of each band on top, all far below the master's ceiling.
const HEIGHT: f32 = 0.01;
const TOLERANCE_DB: f64 = 0.1;

/// Numerator and denominator of the cookbook's biquads.
struct Biquad([f64; 3], [f64; 3]);

impl Biquad {
    fn high_pass(hz: f64, q: f64, rate: f64) -> Biquad {
        let (cos, alpha) = turn(hz, q, rate);
        Biquad(
            [(1.0 + cos) / 2.0, -(1.0 + cos), (1.0 + cos) / 2.0],
            [1.0 + alpha, -2.0 * cos, 1.0 - alpha],
        )
    }

    fn peak(hz: f64, gain_db: f64, q: f64, rate: f64) -> Biquad {
        let (cos, alpha) = turn(hz, q, rate);
        let a = 10f64.powf(gain_db / 40.0);
        Biquad(
            [1.0 + alpha * a, -2.0 * cos, 1.0 - alpha * a],
            [1.0 + alpha / a, -2.0 * cos, 1.0 - alpha / a],
        )
    }

    /// With shelf slope 1; `side` −1: low, 1: high.
    fn shelf(side: f64, hz: f64, gain_db: f64, rate: f64) -> Biquad {
        // At slope 1 the cookbook's alpha is that of Q = 1/√2, whatever the gain.
        let (cos, alpha) = turn(hz, FRAC_1_SQRT_2, rate);
        let a = 10f64.powf(gain_db / 40.0);
        let (plus, minus) = (a + 1.0, a - 1.0);
        let root = 2.0 * a.sqrt() * alpha;
        let s = side;
        Biquad(
            [
                a * (plus + s * minus * cos + root),
                -2.0 * s * a * (minus + s * plus * cos),
                a * (plus + s * minus * cos - root),
            ],
            [
                plus - s * minus * cos + root,
                2.0 * s * (minus - s * plus * cos),
                plus - s * minus * cos - root,
            ],
        )
    }

    fn db(&self, hz: f64, rate: f64) -> f64 {
        let w = TAU * hz / rate;
        let size = |c: &[f64; 3]| {
            let re = c[0] + c[1] * w.cos() + c[2] * (2.0 * w).cos();
            let im = c[1] * w.sin() + c[2] * (2.0 * w).sin();
            re.hypot(im)
        };
        db(size(&self.0) / size(&self.1))
    }
}

/// cos ω and alpha of the cookbook.
fn turn(hz: f64, q: f64, rate: f64) -> (f64, f64) {
    let w = TAU * hz / rate;
    (w.cos(), w.sin() / (2.0 * q))
}

/// How far the effect is from what is expected, at the worst of these points, in dB.
fn worst(
    rate_hz: u32,
    kind: Kind,
    params: &[(&str, f64)],
    expected: &[Biquad],
    points: [f64; 10],
) -> f64 {
    let signal = impulse(100, HEIGHT, rate_hz as usize);
    let session = Session::music(&signal).rate(rate_hz);
    let [left, right] = session.add("music", kind, params).play();
    assert!(left == right);
    let mut worst = 0.0f64;
    for hz in points {
        let found = magnitude_db(&left, hz, rate_hz) - db(f64::from(HEIGHT));
        let wanted: f64 = expected.iter().map(|b| b.db(hz, f64::from(rate_hz))).sum();
        worst = worst.max((found - wanted).abs());
        assert!(
            worst < TOLERANCE_DB,
            "{} {params:?} at {rate_hz} Hz: {found:.3} dB at {hz} Hz for {wanted:.3}",
            kind.name()
        );
    }
    worst
}

#[test]
fn hpf_is_a_butterworth_of_its_slope() {
    let mut most = 0.0f64;
    for rate_hz in RATES_HZ {
        let rate = f64::from(rate_hz);
        for freq in [20.0, 90.0, 250.0, 500.0] {
            // Half of the poles' angles, as 1/(2 cos).
            for (slope, qs) in [
                (12.0, vec![FRAC_1_SQRT_2]),
                (
                    24.0,
                    [1.0, 3.0].map(|n| 0.5 / (n * PI / 8.0).cos()).to_vec(),
                ),
            ] {
                let expected: Vec<Biquad> = qs
                    .iter()
                    .map(|q| Biquad::high_pass(freq, *q, rate))
                    .collect();
                let points =
                    [0.4, 0.5, 0.7, 0.9, 1.0, 1.2, 1.6, 2.5, 5.0, 12.0].map(|part| part * freq);
                let params = [("freq", freq), ("slope", slope)];
                most = most.max(worst(rate_hz, Kind::Hpf, &params, &expected, points));
            }
        }
    }
    println!("hpf: {most:.4} dB off the cookbook at most");
}

#[test]
fn eq_is_the_cookbooks_shelves_and_peaks() {
    let points = [
        30.0, 60.0, 120.0, 400.0, 800.0, 1600.0, 3000.0, 6000.0, 10_000.0, 18_000.0,
    ];
    // Low, low-mid, high-mid, high: frequency, gain, Q.
    type Bands = [(f64, f64, f64); 4];
    let settings: [Bands; 6] = [
        [
            (120.0, 12.0, 0.0),
            (400.0, 0.0, 1.0),
            (3000.0, 0.0, 1.0),
            (8000.0, 0.0, 0.0),
        ],
        [
            (20.0, 0.0, 0.0),
            (400.0, -18.0, 0.3),
            (3000.0, 0.0, 1.0),
            (8000.0, 0.0, 0.0),
        ],
        [
            (500.0, 0.0, 0.0),
            (400.0, 0.0, 1.0),
            (16_000.0, 18.0, 10.0),
            (8000.0, 0.0, 0.0),
        ],
        [
            (120.0, 0.0, 0.0),
            (400.0, 0.0, 1.0),
            (3000.0, 0.0, 1.0),
            (18_000.0, -18.0, 0.0),
        ],
        [
            (500.0, 18.0, 0.0),
            (4000.0, 18.0, 10.0),
            (500.0, -18.0, 10.0),
            (2000.0, 18.0, 0.0),
        ],
        [
            (90.0, -6.0, 0.0),
            (300.0, -4.0, 1.4),
            (3200.0, 3.0, 0.8),
            (9000.0, 4.0, 0.0),
        ],
    ];
    let mut most = 0.0f64;
    for rate_hz in RATES_HZ {
        let rate = f64::from(rate_hz);
        for [low, mid1, mid2, high] in settings {
            let params = [
                ("low_freq", low.0),
                ("low_gain_db", low.1),
                ("mid1_freq", mid1.0),
                ("mid1_gain_db", mid1.1),
                ("mid1_q", mid1.2),
                ("mid2_freq", mid2.0),
                ("mid2_gain_db", mid2.1),
                ("mid2_q", mid2.2),
                ("high_freq", high.0),
                ("high_gain_db", high.1),
            ];
            let expected = [
                Biquad::shelf(-1.0, low.0, low.1, rate),
                Biquad::peak(mid1.0, mid1.1, mid1.2, rate),
                Biquad::peak(mid2.0, mid2.1, mid2.2, rate),
                Biquad::shelf(1.0, high.0, high.1, rate),
            ];
            most = most.max(worst(rate_hz, Kind::Eq, &params, &expected, points));
        }
    }
    println!("eq: {most:.4} dB off the cookbook at most");
}
