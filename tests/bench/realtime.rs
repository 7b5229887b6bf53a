//! The audio thread beside the log: how busy it is at its worst, and the blocks that come too late, while
//! nothing else goes on, while another thread computes, and while the log writes as fast as it can: in turn,
//! so that whatever else the machine does falls on all of them. Once with all processors for everybody, and
//! once as a box is set up: the audio thread alone on the processor that fewest devices interrupt.

use std::fs;
use std::iter::zip;
use std::thread;
use std::time::{Duration, Instant};

use rigd::backend::null::Null;
use rigd::backend::realtime::pin;
use rigd::backend::{Backend, Deck};
use rigd::config::Config;
use rigd::rig::state::{MicFeed, Wiring};
use rigd::rig::{State, Track, karaoke};
use rigd::ring::{ControlEnds, rings};
use rigd_rt::{Engine, Report};
use sha2::{Digest, Sha256};

use crate::log::Bench;

const ROUNDS: usize = 8;
const ROUND: Duration = Duration::from_secs(2);
/// How often the reports are read.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const POOL_SAMPLES: usize = 1 << 21;

/// What the audio thread said of itself.
#[derive(Default)]
struct Heard {
    /// Of each tenth of a second: its worst block's share of its time.
    worst: Vec<f32>,
    mean: Vec<f32>,
    late: u32,
}

impl Heard {
    /// Takes the reports; `late`: the blocks that were late before.
    fn listen(&mut self, control: &mut ControlEnds, late: &mut u32) {
        for report in control.reports.by_ref() {
            if let Report::Load { xruns, mean, worst } = report {
                self.worst.push(worst);
                self.mean.push(mean);
                self.late += xruns - std::mem::replace(late, xruns);
            }
        }
    }

    fn quantile(values: &[f32], share: f64) -> f32 {
        let mut values = values.to_vec();
        values.sort_unstable_by(f32::total_cmp);
        let index = (values.len().saturating_sub(1)) as f64 * share;
        values
            .get(index.round() as usize)
            .copied()
            .unwrap_or(f32::NAN)
    }
}

/// Both comparisons.
pub fn run() {
    println!("\nThe audio thread at 64 frames, a karaoke rig, {ROUNDS} rounds of each in turn");
    println!("Everybody on any processor:");
    compare(&[], &[]);
    let interrupts = device_interrupts();
    let own = zip(0.., &interrupts)
        .min_by_key(|(_, count)| **count)
        .map_or(0, |(cpu, _)| cpu);
    let others: Vec<usize> = (0..interrupts.len()).filter(|cpu| *cpu != own).collect();
    if others.is_empty() {
        println!("There is one processor only: nothing to set apart.");
        return;
    }
    println!("The audio thread alone on processor {own}:");
    // What a thread starts inherits its processors.
    thread::scope(|scope| {
        scope.spawn(|| compare(&[own], &others));
    });
}

/// How often devices have interrupted each processor.
fn device_interrupts() -> Vec<u64> {
    let table = fs::read_to_string("/proc/interrupts").expect("Linux");
    let mut lines = table.lines();
    let cpus = lines
        .next()
        .map_or(0, |names| names.split_whitespace().count());
    let mut counts = vec![0; cpus];
    for line in lines {
        // Devices have numbers; what processors tell each other has names.
        let Some((number, rest)) = line.trim_start().split_once(':') else {
            continue;
        };
        if number.parse::<u32>().is_ok() {
            for (count, said) in zip(&mut counts, rest.split_whitespace()) {
                *count += said.parse::<u64>().unwrap_or(0);
            }
        }
    }
    counts
}

/// A rig and a log; `cpus`: the audio thread's processors, `others`: everybody else's; none named means any.
fn compare(cpus: &[usize], others: &[usize]) {
    pin(others);
    let mut config = Config::default();
    config.audio.block_frames = 64;
    config.realtime.cpus = cpus.to_vec();
    let backend = Box::new(Null::open(&config).expect("the null backend"));
    let format = backend.format();
    let wiring = Wiring::new(&format, MicFeed::InOrderLooped);
    let tracks = config.tracks.iter().map(Track::from_settings).collect();
    let mut state = State::new(tracks, wiring.clone(), POOL_SAMPLES);
    let left_out = karaoke::set_up(&mut state);
    assert!(left_out.is_empty(), "the karaoke preset fits");
    let (everything, _) = state.build(wiring);
    let (mut control, ends) = rings();
    assert!(control.commands.send(1, 0, &everything));
    let pool = vec![0.0; POOL_SAMPLES].leak();
    let rate = format.sample_rate_hz;
    let deck = Deck::new(Box::new(Engine::new(rate, 0, pool)), ends, rate);
    let session = backend.start(deck).expect("an audio thread");

    let mut bench = Bench::new();
    let mut heard: [Heard; 3] = Default::default();
    let mut late = 0;
    let mut events = 0;
    let block = vec![7u8; 4096];
    // What the start costs is not meant.
    thread::sleep(ROUND);
    Heard::default().listen(&mut control, &mut late);
    for _ in 0..ROUNDS {
        for (kind, heard) in heard.iter_mut().enumerate() {
            let until = Instant::now() + ROUND;
            while Instant::now() < until {
                let next = Instant::now() + LOOK_EVERY;
                match kind {
                    0 => thread::sleep(LOOK_EVERY),
                    1 => {
                        while Instant::now() < next {
                            std::hint::black_box(Sha256::digest(&block));
                        }
                    }
                    _ => {
                        while Instant::now() < next {
                            bench.burst(64);
                            events += 64;
                        }
                    }
                }
                heard.listen(&mut control, &mut late);
            }
            bench.wait(0);
            heard.listen(&mut control, &mut late);
        }
    }
    drop(session);

    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "% of a block's time", "mean", "worst", "p90", "highest", "late"
    );
    let names = ["nothing else", "another thread computes", "the log writes"];
    for (name, heard) in names.iter().zip(&heard) {
        let of = |values: &[f32], share| 100.0 * Heard::quantile(values, share);
        println!(
            "{name:<44} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8}",
            of(&heard.mean, 0.5),
            of(&heard.worst, 0.5),
            of(&heard.worst, 0.9),
            of(&heard.worst, 1.0),
            heard.late
        );
    }
    let seconds = ROUNDS as f64 * ROUND.as_secs_f64();
    println!(
        "worst: of each tenth of a second, the median; late: blocks that came a block too late. The log took {:.0} events a second.",
        events as f64 / seconds
    );
}
