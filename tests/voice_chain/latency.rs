//! Each effect delays by what it states, and no more.

use rigd_rt::Kind;

use super::listen::{noise, shift};
use super::session::{RATE_HZ, Session};

/// Looked for up to here.
const FRAMES_MAX: usize = 512;

#[test]
fn every_effect_is_as_late_as_it_states() {
    for rate_hz in [RATE_HZ, 44_100, 96_000] {
        let signal = noise(5, 0.25, 12_000);
        for kind in Kind::ALL {
            // Behind its end there must be room for what is late.
            let mut sent = signal.clone();
            sent.resize(signal.len() + FRAMES_MAX, 0.0);
            // A ducker belongs on music, everything else on a voice.
            let session = if kind.name() == "duck" {
                Session::music(&sent).rate(rate_hz).add("music", kind, &[])
            } else {
                Session::mics(&[&sent]).rate(rate_hz).add("mic1", kind, &[])
            };
            let [left, _] = session.play();
            let found = shift(&left, &signal, FRAMES_MAX);
            let stated = kind.latency_frames(rate_hz);
            println!("{} at {rate_hz} Hz: {found} frames late", kind.name());
            assert_eq!(found, stated, "{} at {rate_hz} Hz", kind.name());
        }
    }
}
