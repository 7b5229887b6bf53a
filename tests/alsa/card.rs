//! Real drivers. The loop's two ends are the devices 0 and 1 of the card `Loopback`.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alsa::Direction;
use alsa::pcm::Format;
use rigd::backend::alsa::{Alsa, cards, library, side};
use rigd::config::{BackendChoice, Config};
use rigd::doctor::DoctorArgs;
use rigd::doctor::loopback::measure;
use rigd_rt::Kind;
use serde_json::json;

use super::peer::{Clock, Peer, TAPE_FRAMES};
use super::proofs::audio_thread;
use super::rig::{BLOCK, RATE, Rig, noise, wait_for};

const NEAR: &str = "hw:CARD=Loopback,DEV=0,SUBDEV=0";
const FAR: &str = "hw:CARD=Loopback,DEV=1,SUBDEV=0";
const CLOCK: &str = "hw:CARD=Dummy,DEV=0,SUBDEV=0";
/// One that nobody else uses.
const OTHER: &str = "hw:CARD=Dummy,DEV=0,SUBDEV=1";

/// The cards, for one test at a time. `None`, and said so, where they are not.
pub fn cards_here() -> Option<(MutexGuard<'static, ()>, Clock)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if library::load().is_err() {
        eprintln!("SKIP: libasound is not installed");
        return None;
    }
    let ids: Vec<String> = cards::cards().into_iter().map(|card| card.id).collect();
    if !["Loopback", "Dummy"]
        .iter()
        .all(|id| ids.iter().any(|known| known == id))
    {
        eprintln!(
            "SKIP: there is no card Loopback or no card Dummy, only {ids:?} (see tests/kernel)"
        );
        return None;
    }
    Some((turn, Clock::start(CLOCK)))
}

pub fn settings(format: &str) -> Config {
    let mut config = Config::default();
    config.audio.delay_pool_mb = 2;
    config.audio.block_frames = BLOCK as u32;
    config.alsa.device = NEAR.to_owned();
    (config.alsa.capture_channels, config.alsa.playback_channels) = (2, 2);
    config.alsa.format = format.to_owned();
    config
}

/// What the rig makes of a sound in the middle of one microphone, as a card of that format hears it.
fn expected(sound: &[f32], format: Format) -> Vec<f32> {
    let bits = match format {
        Format::FloatLE => None,
        Format::S16LE => Some(16),
        Format::S243LE | Format::S24LE => Some(24),
        _ => Some(32),
    };
    let rounded = |sample: f32| match bits {
        None => sample,
        Some(bits) => {
            let full = f64::from(1_u32 << (bits - 1));
            ((f64::from(sample) * full).round_ties_even() / full) as f32
        }
    };
    sound
        .iter()
        .map(|sample| rounded(sample * std::f32::consts::FRAC_1_SQRT_2))
        .collect()
}

/// Plays through the rig, and says after how many frames it came back as expected.
fn delay_through(rig: &mut Rig, peer: &Peer, format: Format) -> usize {
    let mut sound = noise(RATE as usize / 4);
    sound[0] = 0.25;
    let length = sound.len() + 4096;
    peer.start(&sound);
    wait_for("the tape", || {
        rig.go_on();
        (peer.recorded() >= length).then_some(())
    });
    let heard = peer.take(length);
    peer.stop();
    let expected = expected(&sound, format);
    let delay = heard[0]
        .iter()
        .position(|sample| *sample != 0.0)
        .expect("something is heard");
    for channel in &heard {
        let came = channel[delay..].iter().zip(&expected);
        let wrong = came
            .clone()
            .position(|(came, meant)| came.to_bits() != meant.to_bits());
        assert_eq!(
            wrong,
            None,
            "{format:?}: of {} frames this is the first wrong one",
            expected.len()
        );
    }
    delay
}

#[test]
fn sound_goes_round_a_real_card_bit_by_bit_at_64_frames() {
    let Some((_turn, clock)) = cards_here() else {
        return;
    };
    let mut delays = Vec::new();
    for format in [
        Format::FloatLE,
        Format::S32LE,
        Format::S243LE,
        Format::S24LE,
        Format::S16LE,
    ] {
        let mut rig = Rig::start(&settings(side::name(format)));
        assert_eq!(rig.format.block_frames as usize, BLOCK);
        let peer = Peer::open(FAR, format);
        // The half second in which a device's sound comes up.
        rig.run_for(u64::from(RATE) / 2 + 1024);
        let delay = delay_through(&mut rig, &peer, format);
        assert_eq!(rig.xruns(), 0, "{format:?}");
        let told =
            (rig.format.latency_in_ms + rig.format.latency_out_ms) * f64::from(RATE) / 1000.0;
        delays.push((
            delay,
            told.round() as usize + Kind::Limiter.latency_frames(RATE),
        ));
        rig.end();
    }
    assert!(clock.is_running());
    eprintln!("frames from the far end and back, and as rigd tells them: {delays:?}");
    assert!(
        delays.iter().all(|(delay, told)| delay == told),
        "{delays:?}"
    );
}

/// Scheduling class and priority of a thread of this process.
fn schedule(thread: i32, policy: i32, priority: i32) {
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameter is a plain value that outlives the call.
    let result = unsafe { libc::sched_setscheduler(thread, policy, &raw const parameter) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Keeps the audio thread from running, and not the drivers, which have a thread of low priority: it gets
/// what this one leaves, which is nothing.
fn hold_up(thread: i32, time: Duration) {
    schedule(thread, libc::SCHED_IDLE, 0);
    let begun = Instant::now();
    while begun.elapsed() < time {}
    schedule(thread, libc::SCHED_FIFO, 70);
}

#[test]
fn after_an_xrun_it_goes_on_and_nothing_old_is_heard() {
    let Some((_turn, _clock)) = cards_here() else {
        return;
    };
    let mut rig = Rig::start(&settings("float"));
    let peer = Peer::open(FAR, Format::FloatLE);
    rig.run_for(u64::from(RATE) / 2 + 1024);
    // Every sample says where it belongs.
    let sound: Vec<f32> = (0..TAPE_FRAMES / 2)
        .map(|n| (n + 1) as f32 / (1 << 20) as f32)
        .collect();
    peer.start(&sound);
    rig.run_for(4096);
    assert_eq!(rig.xruns(), 0);
    hold_up(audio_thread(), Duration::from_millis(30));
    rig.run_until("an xrun", |rig| rig.xruns() > 0);
    let length = sound.len() + 8192;
    wait_for("the tape", || {
        rig.go_on();
        (peer.recorded() >= length).then_some(())
    });
    let [heard, _] = peer.take(length);
    let places: Vec<usize> = heard
        .iter()
        .filter(|sample| **sample != 0.0)
        .map(|sample| {
            (sample / std::f32::consts::FRAC_1_SQRT_2 * (1 << 20) as f32).round() as usize
        })
        .collect();
    assert!(
        places.windows(2).all(|pair| pair[0] < pair[1]),
        "nothing is heard twice"
    );
    assert_eq!(
        places.last(),
        Some(&sound.len()),
        "and it goes on to the end"
    );
    let lost = sound.len() - places.len();
    assert!(
        (RATE as usize / 50..RATE as usize / 20).contains(&lost),
        "{lost} frames are lost"
    );
    assert!(rig.trouble.is_none() && rig.gone == 0);
    rig.end();
}

/// Takes a driver's card away, or brings it back.
fn plug(driver: &str, card: &str, is_in: bool) {
    let what = if is_in { "bind" } else { "unbind" };
    fs::write(format!("/sys/bus/platform/drivers/{driver}/{what}"), card).unwrap();
}

fn number_of(id: &str) -> Option<i32> {
    let mut all = cards::cards().into_iter();
    all.find(|card| card.id == id).map(|card| card.number)
}

#[test]
fn a_card_that_is_unplugged_is_found_again_by_its_name_and_the_rig_is_as_it_was() {
    let Some((_turn, clock)) = cards_here() else {
        return;
    };
    let mut config = settings("float");
    let before = number_of("Loopback").unwrap();
    config.alsa.device = format!("hw:{before},0,0");
    let mut rig = Rig::start(&config);
    rig.run_for(u64::from(RATE) / 2);
    rig.say(json!({"type": "track.update", "data": {"track_id": "mic1", "volume": 0.5}}));
    // The driver waits until nobody has the card any more.
    let unplug = std::thread::spawn(|| plug("snd_aloop", "snd_aloop.0", false));
    rig.run_until("the news", |rig| rig.gone == 1);
    unplug.join().unwrap();
    let trouble = rig.trouble.clone().unwrap_or_default();
    rig.run_until("the trouble", |rig| rig.trouble.is_some());
    assert!(
        rig.trouble
            .as_ref()
            .is_some_and(|trouble| trouble.contains("Loopback")),
        "{trouble}"
    );
    let at = rig.desk.telemetry().frame();
    // What is said meanwhile is kept.
    rig.say(json!({"type": "track.update", "data": {"track_id": "mic2", "mute": true}}));
    // Another card takes its number.
    plug("snd_dummy", "snd_dummy.1", false);
    plug("snd_aloop", "snd_aloop.0", true);
    plug("snd_dummy", "snd_dummy.1", true);
    assert_ne!(number_of("Loopback"), Some(before));
    rig.run_until("the sound", |rig| {
        rig.desk.telemetry().frame() > at + u64::from(RATE)
    });
    assert_eq!(rig.trouble, None);
    let peer = Peer::open(FAR, Format::FloatLE);
    let sound = vec![0.25; RATE as usize / 8];
    peer.start(&sound);
    rig.run_for(u64::from(RATE) / 8);
    let [heard, _] = peer.take(sound.len());
    let level = heard[heard.len() - 1];
    assert!(
        (level - 0.25 * 0.5 * std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-6,
        "{level}"
    );
    assert!(clock.is_running());
    rig.end();
}

#[test]
fn without_a_card_it_takes_one_that_is_plugged_in_and_a_spare_one_when_that_is_gone() {
    let Some((_turn, clock)) = cards_here() else {
        return;
    };
    drop(clock);
    // In the order in which the guest has loaded them: they get their numbers back.
    let others = [("snd_dummy", "snd_dummy.1"), ("snd_aloop", "snd_aloop.0")];
    let plug_others = |is_in| {
        others
            .iter()
            .for_each(|(driver, card)| plug(driver, card, is_in))
    };
    plug_others(false);
    plug("snd_dummy", "snd_dummy.0", false);
    let mut config = Config::default();
    config.audio.delay_pool_mb = 2;
    let backend = rigd::backend::open(&config).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(backend.format().backend, "null");
    let mut rig = Rig::of(backend, &config);
    rig.run_for(u64::from(RATE) / 4);
    rig.say(json!({"type": "track.update", "data": {"track_id": "mic1", "volume": 0.5}}));
    plug("snd_dummy", "snd_dummy.0", true);
    rig.run_until("the card", |rig| rig.format.backend == "alsa");
    let at = rig.desk.telemetry().frame();
    rig.run_until("its sound", |rig| {
        rig.desk.telemetry().frame() > at + u64::from(RATE) / 4
    });
    assert_eq!((rig.gone, &rig.trouble), (1, &None));
    // It records too: nothing outdoes it.
    plug_others(true);
    rig.run_for(2 * u64::from(RATE));
    assert_eq!(rig.gone, 1);
    // The driver waits until nobody has the card any more.
    let unplug = std::thread::spawn(|| plug("snd_dummy", "snd_dummy.0", false));
    rig.run_until("the news", |rig| rig.gone == 2);
    unplug.join().unwrap();
    rig.run_until("the trouble", |rig| rig.trouble.is_some());
    let at = rig.desk.telemetry().frame();
    rig.run_until("a spare card's sound", |rig| {
        rig.desk.telemetry().frame() > at + u64::from(RATE) / 4
    });
    assert_eq!(rig.trouble, None);
    plug("snd_dummy", "snd_dummy.0", true);
    rig.run_for(2 * u64::from(RATE));
    assert_eq!(rig.gone, 2);
    rig.end();
}

#[test]
fn it_sleeps_and_wakes_with_the_box() {
    let Some((_turn, _clock)) = cards_here() else {
        return;
    };
    // The kernel puts its drivers to sleep and wakes them again.
    let modes = [
        ("/sys/power/pm_test", "devices"),
        ("/sys/module/suspend/parameters/pm_test_delay", "0"),
    ];
    if modes
        .iter()
        .any(|(file, mode)| fs::write(file, mode).is_err())
    {
        eprintln!("SKIP: this kernel has no test of sleep");
        return;
    }
    let mut config = settings("s16");
    config.alsa.device = OTHER.to_owned();
    let mut rig = Rig::start(&config);
    rig.run_for(4096);
    fs::write("/sys/power/state", "mem").unwrap();
    let at = rig.desk.telemetry().frame();
    rig.run_until("the sound", |rig| rig.desk.telemetry().frame() > at + 4096);
    assert!(rig.trouble.is_none() && rig.gone == 0);
    rig.run_until("the count", |rig| rig.xruns() > 0);
    rig.end();
}

#[test]
fn two_cards_of_two_clocks_are_refused_with_what_to_buy() {
    let Some((_turn, _clock)) = cards_here() else {
        return;
    };
    let mut config = settings("s16");
    config.alsa.capture = OTHER.to_owned();
    let failure = Alsa::open(&config).err().expect("two clocks are refused");
    for words in ["Dummy", "Loopback", "USB interface", "alsa.one_clock"] {
        assert!(
            failure.message.contains(words),
            "{words} is missing: {failure}"
        );
    }
    config.alsa.one_clock = true;
    assert!(Alsa::open(&config).is_ok());
}

#[test]
fn a_card_that_stands_still_is_given_up_and_taken_again_when_it_moves() {
    let Some((_turn, clock)) = cards_here() else {
        return;
    };
    let mut rig = Rig::start(&settings("float"));
    rig.run_for(4096);
    drop(clock);
    rig.run_until("the news", |rig| rig.gone == 1);
    assert!(
        rig.trouble
            .as_ref()
            .is_none_or(|trouble| trouble.contains("stands still"))
    );
    let at = rig.desk.telemetry().frame();
    let _clock = Clock::start(CLOCK);
    rig.run_until("the sound", |rig| rig.desk.telemetry().frame() > at + 4096);
    rig.end();
}

#[test]
fn left_to_itself_it_takes_the_first_card_that_plays_and_records() {
    let Some((_turn, _clock)) = cards_here() else {
        return;
    };
    let cards = cards::cards();
    let (card, device) = cards::best_first(&cards)[0];
    let alsa = Alsa::open(&Config::default()).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(alsa.name(), card.pcm(device));
    // Once that one is in use as often as it may be, the next.
    let mut opened = vec![alsa];
    while opened.last().map(Alsa::name) == Some(card.pcm(device).as_str()) {
        let next = Alsa::open(&Config::default()).unwrap_or_else(|failure| panic!("{failure}"));
        opened.push(next);
    }
    let (card, device) = cards::best_first(&cards)[1];
    assert_eq!(opened.last().unwrap().name(), card.pcm(device));
    drop(opened);
    // Of the driver snd-dummy it is known what it offers.
    let offer = cards::offer("hw:CARD=Dummy,DEV=0", Direction::Playback).unwrap();
    assert_eq!(offer.formats, [Format::S16LE]);
    assert_eq!(
        (offer.channels, offer.rates_hz),
        ((1, 2), vec![44_100, 48_000])
    );
}

#[test]
fn a_card_that_is_in_use_is_refused_with_what_to_do() {
    let Some((_turn, _clock)) = cards_here() else {
        return;
    };
    let rig = Rig::start(&settings("float"));
    let failure = Alsa::open(&settings("float")).err().expect("it is in use");
    assert!(
        failure.message.contains("another program has it"),
        "{failure}"
    );
    assert!(failure.message.contains("Loopback"), "{failure}");
    rig.end();
}

#[test]
fn the_round_trip_through_a_cable_is_measured_to_the_frame() {
    let Some((_turn, _clock)) = cards_here() else {
        return;
    };
    let mut config = settings("s24");
    config.audio.backend = BackendChoice::Alsa;
    config.alsa.capture = FAR.to_owned();
    let args = DoctorArgs {
        config: None,
        json: false,
        loopback: true,
        backend: None,
        input: 1,
        direct: false,
    };
    let trip = measure(&args, &config).unwrap_or_else(|failure| panic!("{failure}"));
    // What fills the loudspeakers' buffer goes before what is played, and a block is recorded whole.
    let blocks = trip.frames as f64 / f64::from(trip.format.block_frames);
    let most = f64::from(config.alsa.periods) + 2.0;
    assert!((1.0..=most).contains(&blocks), "{} frames", trip.frames);
    assert!((trip.gain - 1.0).abs() < 1e-3, "{}", trip.gain);
    assert_eq!(trip.format.backend, "alsa");

    // The cable is pulled: what is recorded is the end that nobody plays to.
    config.alsa.capture.clear();
    let failure = measure(&args, &config).err().expect("there is no cable");
    assert!(failure.message.contains("Nothing came back"), "{failure}");
}
