//! The round trip, measured: the backend that the settings name plays a noise and records an input, and
//! where the noise is in the recording is how long sound takes, to the sample.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jack::{Client, ClientOptions};
use serde_json::json;

use super::sequence::{Doubt, Peak, find, sequence};
use super::{DoctorArgs, print};
use crate::backend::probe::Probe;
use crate::backend::{self, Backend, Deck, Format, Session, Wanted, Work};
use crate::cli::Failure;
use crate::config::{BackendChoice, Config};
use crate::rig::state::{Input, MicFeed, port_channels};

/// How loud the noise is, linear: −20 dB of full scale.
const LEVEL: f32 = 0.1;
/// The longest round trip that is looked for, in seconds.
const TRIP_S: f64 = 1.0;
/// It is played so often; all must agree.
const ROUNDS: usize = 2;
/// What is below this is not even hiss: −90 dB.
const SILENCE: f32 = 3e-5;
/// And this is the end of a converter's range.
const FULL: f32 = 0.999;
/// How long ports and connections, or a card, may take to settle.
const SETTLING: Duration = Duration::from_secs(1);
/// How often the backend is tended.
const TEND_EVERY: Duration = Duration::from_millis(20);
/// The name of the port, where there are ports.
const PORT: &str = "loopback";

/// What a measurement came to.
pub struct RoundTrip {
    /// Of the backend that was measured.
    pub format: Format,
    /// From the output to the input.
    pub frames: usize,
    /// What came back by what was played, linear; negative when it is upside down.
    pub gain: f32,
}

/// Measures, and prints what came out.
pub fn run(args: &DoctorArgs, config: &Config) -> Result<(), Failure> {
    let RoundTrip {
        format,
        frames,
        gain,
    } = measure(args, config)?;
    let ms = frames as f64 * 1000.0 / f64::from(format.sample_rate_hz);
    let stated = format.latency_in_ms + format.latency_out_ms;
    let gain_db = 20.0 * gain.abs().log10();
    if args.json {
        let data = json!({
            "backend": format.backend,
            "sample_rate": format.sample_rate_hz,
            "block_frames": format.block_frames,
            "round_trip_frames": frames,
            "round_trip_ms": ms,
            "stated_ms": stated,
            "gain_db": gain_db,
            "inverted": gain < 0.0,
        });
        return print(&format!("{data}\n"));
    }
    let inverted = if gain < 0.0 { ", upside down" } else { "" };
    print(&format!(
        "round trip: {frames} frames, {ms:.2} ms at {} Hz in blocks of {} ({})\n\
         the backend states {stated:.2} ms; what came back is at {gain_db:.1} dB{inverted}\n",
        format.sample_rate_hz, format.block_frames, format.backend
    ))
}

/// Plays the noise and finds it again. Takes some seconds; `Err` when there is no backend to measure, or
/// what came back is in doubt.
pub fn measure(args: &DoctorArgs, config: &Config) -> Result<RoundTrip, Failure> {
    let mut config = config.clone();
    (config.audio.input, config.audio.music, config.audio.output) = (None, None, None);
    config.jack.client_name = format!("rigd-doctor-{}", std::process::id());
    if args.direct {
        config.audio.backend = BackendChoice::Jack;
        config.jack.connect = false;
    }
    let backend = backend::open(&config)?;
    let format = backend.format();
    if format.backend == "null" {
        return Err(Failure::failed(
            "There is nothing to measure: no JACK server runs and no sound card is there. Start a server, or \
             plug a card in.",
        ));
    }
    let (heard, breaks) = play(backend, args, &config)?;
    let trip = judge(&heard, &format).map_err(|doubt| match breaks {
        0 => doubt,
        // Where all rounds agree all the same, the break was harmless.
        _ => Failure::failed(format!(
            "The sound broke off while it was measured ({breaks} times), so there is no result: measure \
             again, or with larger blocks."
        )),
    })?;
    Ok(RoundTrip {
        format,
        frames: trip.lag,
        gain: trip.gain,
    })
}

/// The noise and the silence behind it, as often as there are rounds.
fn sound(rate_hz: u32) -> Vec<f32> {
    let mut sound = Vec::new();
    for _ in 0..ROUNDS {
        sound.extend(sequence().iter().map(|sample| sample * LEVEL));
        let pause = (f64::from(rate_hz) * TRIP_S) as usize;
        sound.extend(std::iter::repeat_n(0.0, pause));
    }
    sound
}

/// What was recorded while the noise was played, and how often it broke off.
fn play(
    backend: Box<dyn Backend>,
    args: &DoctorArgs,
    config: &Config,
) -> Result<(Vec<f32>, u32), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("The sound failed: {error}."));
    let rate_hz = backend.format().sample_rate_hz;
    let channel = match backend.mic_feed() {
        MicFeed::Ports => port_channels(0)[0],
        _ => args.input - 1,
    };
    let wanted = Wanted {
        inputs: vec![Input {
            place: 0,
            track_id: PORT.to_owned(),
            first: args.input,
            last: args.input,
        }],
        latency_frames: 0,
    };
    let sound = sound(rate_hz);
    let patience =
        3 * SETTLING + Duration::from_secs_f64(5.0 * sound.len() as f64 / f64::from(rate_hz));
    let (probe, signs) = Probe::new(sound, usize::from(channel));
    let work = Work::Probe(Box::new(probe));
    let mut session = backend.start(Deck::of(work, rate_hz)).map_err(failed)?;
    let begun = Instant::now();
    let tend = |session: &mut Box<dyn Session>| {
        session.tend(&wanted);
        sleep(TEND_EVERY);
        session.is_running() && begun.elapsed() < patience
    };
    while begun.elapsed() < SETTLING && tend(&mut session) {}
    let _loop = args
        .direct
        .then(|| connect(&config.jack.client_name))
        .transpose()?;
    let connected = Instant::now();
    while connected.elapsed() < SETTLING && tend(&mut session) {}
    signs.go.store(true, Ordering::Release);
    while !signs.done.load(Ordering::Acquire) {
        if !tend(&mut session) {
            return Err(Failure::failed(format!(
                "The measurement did not come to its end: {}.",
                session.ended()
            )));
        }
    }
    let deck = session.stop().map_err(failed)?;
    let Work::Probe(probe) = deck.into_work() else {
        unreachable!("a probe went in")
    };
    let (recording, breaks) = probe.into_recording();
    Ok((recording, breaks))
}

/// Connects rigd's own ports with each other.
fn connect(client_name: &str) -> Result<Client, Failure> {
    let failed = |error: jack::Error| {
        Failure::failed(format!(
            "rigd's ports could not be connected with each other: {error}."
        ))
    };
    let name = format!("{client_name}-p");
    let (client, _) = Client::new(&name, ClientOptions::NO_START_SERVER).map_err(failed)?;
    client
        .connect_ports_by_name(
            &format!("{client_name}:master_L"),
            &format!("{client_name}:{PORT}"),
        )
        .map_err(failed)?;
    Ok(client)
}

/// The round trip, or why it is doubtful.
fn judge(heard: &[f32], format: &Format) -> Result<Peak, Failure> {
    let loudest = heard
        .iter()
        .fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
    let refuse = |reason: &str| Err(Failure::failed(reason));
    if loudest < SILENCE {
        return refuse(
            "Nothing came back: connect the first output with the first input by a cable (or name the \
             input with --input), turn both up, and unmute them; on a JACK server without a device, \
             measure with --direct.",
        );
    }
    if loudest >= FULL {
        return refuse(
            "What came back is too loud, so the result would be doubtful: turn the input's gain down.",
        );
    }
    let sequence = sequence();
    let round = heard.len() / ROUNDS;
    let mut peaks = Vec::new();
    for part in heard.chunks_exact(round) {
        match find(&sequence, part) {
            Ok(peak) => peaks.push(Peak {
                gain: peak.gain / LEVEL,
                ..peak
            }),
            Err(Doubt::NotThere) => {
                return refuse(
                    "What came back is not what was played, so there is no result: is the cable in that \
                     input, and is anything else playing or in between?",
                );
            }
            Err(Doubt::Twice) => {
                return refuse(
                    "What was played came back more than once, so the result would be doubtful: turn direct \
                     monitoring off, and use a cable rather than a loudspeaker and a microphone.",
                );
            }
        }
    }
    let [first, rest @ ..] = peaks.as_slice() else {
        return refuse("Nothing was recorded: measure again.");
    };
    if let Some(other) = rest.iter().find(|peak| peak.lag != first.lag) {
        return Err(Failure::failed(format!(
            "Two rounds disagree ({} and {} frames), so the result would be doubtful: sound broke off, or \
             input and output have clocks of their own. {} Hz was stated.",
            first.lag, other.lag, format.sample_rate_hz
        )));
    }
    Ok(*first)
}
