//! A reverb and an echo on buses that the mics share: nothing but wet sound there, stereo of mono mics.

use rigd_rt::Kind;
use serde_json::json;

use super::listen::{db, impulse, peak, rms};
use super::session::{RATE_HZ, Session, Stereo, id};

const FRAMES: usize = 2 * RATE_HZ as usize;
/// Where each mic has its impulse.
const AT: [usize; 2] = [4800, 7200];
const ECHO_MS: usize = 250;
const PRE_DELAY_MS: usize = 40;

/// Two mics into a bus with one effect, all wet.
fn rig(kind: Kind, params: &[(&str, f64)]) -> Session {
    let mics = AT.map(|at| impulse(at, 0.5, FRAMES));
    let bus = json!({"track_id": "fx", "name": "Effects", "kind": "bus"});
    let session = Session::mics(&[&mics[0], &mics[1]]).say(0, "track.add", bus);
    let session = ["mic1", "mic2"].iter().fold(session, |session, mic| {
        let sends = json!({"track_id": mic, "sends": {"fx": 1.0}});
        session.say(0, "track.update", sends)
    });
    session
        .add("fx", kind, params)
        .set(0, "fx", &id(kind), "wet_dry", 1.0)
}

/// What the bus alone sounds like.
fn bus(session: Session) -> Stereo {
    let solo = json!({"track_id": "fx", "solo": true});
    session.say(0, "track.update", solo).play()
}

/// The whole is the mics as they are and the bus, to the sixth place.
fn adds_up(kind: Kind, params: &[(&str, f64)], wet: &Stereo) {
    let whole = rig(kind, params).play();
    let mics = AT.map(|at| impulse(at, 0.5, FRAMES));
    let dry = Session::mics(&[&mics[0], &mics[1]]).play();
    for side in 0..2 {
        for frame in 0..FRAMES {
            let sum = dry[side][frame] + wet[side][frame];
            assert!((whole[side][frame] - sum).abs() < 1e-6, "frame {frame}");
        }
    }
}

#[test]
fn a_shared_echo_answers_every_mic_and_lets_nothing_dry_through() {
    let params = [("time_ms", ECHO_MS as f64), ("feedback", 0.5)];
    let wet = bus(rig(Kind::Echo, &params));
    let delay = ECHO_MS * RATE_HZ as usize / 1000;
    for side in &wet {
        let first = side.iter().position(|sample| *sample != 0.0);
        assert_eq!(
            first,
            Some(AT[0] + delay),
            "nothing before the first repeat"
        );
        let [one, two] = AT.map(|at| side[at + delay]);
        assert!(
            one > 0.05 && one == two,
            "both mics are answered alike: {one}, {two}"
        );
        let again = side[AT[0] + 2 * delay];
        assert!(
            again > 0.0 && again < 0.6 * one,
            "the second repeat is softer"
        );
    }
    adds_up(Kind::Echo, &params, &wet);
}

#[test]
fn a_shared_reverb_is_stereo_of_mono_mics_and_lets_nothing_dry_through() {
    let params = [("pre_delay", PRE_DELAY_MS as f64)];
    let wet = bus(rig(Kind::Reverb, &params));
    let delay = PRE_DELAY_MS * RATE_HZ as usize / 1000;
    for side in &wet {
        assert_eq!(
            peak(&side[..AT[0] + delay]),
            0.0,
            "nothing before the pre-delay"
        );
        assert!(peak(&side[AT[1] + delay..]) > 1e-3);
    }
    let tail = AT[1] + delay + RATE_HZ as usize / 20..FRAMES;
    let [left, right] = [&wet[0][tail.clone()], &wet[1][tail]];
    let both: f64 = left
        .iter()
        .zip(right)
        .map(|(l, r)| f64::from(*l) * f64::from(*r))
        .sum();
    let likeness = both / left.len() as f64 / (rms(left) * rms(right));
    let balance = db(rms(left) / rms(right));
    println!("reverb on a bus: correlation of the sides {likeness:+.3}, balance {balance:+.2} dB");
    assert!(likeness.abs() < 0.3, "the tail is wide: {likeness}");
    assert!(balance.abs() < 1.5, "and in the middle: {balance} dB");
    adds_up(Kind::Reverb, &params, &wet);
}
