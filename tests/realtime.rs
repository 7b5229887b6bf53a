//! The real audio thread of the `null` backend allocates nothing and frees nothing while 50 clients
//! storm the desk and the log writes all of it. The allocator of this test program watches that thread.

#[path = "common/watch.rs"]
mod watch;

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rigd::backend::null::Null;
use rigd::backend::{Backend, Deck};
use rigd::config::{Config, Features};
use rigd::desk::{Desk, Fixed};
use rigd::provenance;
use rigd::provenance::writer::Run;
use rigd::rig::state::{MicFeed, Wiring};
use rigd::rig::{State, Track};
use rigd::ring::rings;
use rigd::run;
use rigd::session::Role;
use rigd_rt::Engine;
use serde_json::json;
use watch::{VIOLATIONS, WATCHED};

#[global_allocator]
static ALLOCATOR: watch::Watching = watch::Watching;

fn thread_named(name: &str) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if comm.trim() == name {
                return task.file_name().to_str().unwrap().parse().unwrap();
            }
        }
        std::thread::yield_now();
    }
    panic!("no thread {name}");
}

#[test]
fn the_audio_thread_does_not_allocate_while_50_clients_storm() {
    let mut config = Config::default();
    config.realtime.lock_memory = false;
    let backend = Box::new(Null::open(&config).unwrap());
    let format = backend.format();
    let pool = run::pool(&config);
    let wiring = Wiring::new(&format, MicFeed::InOrderLooped);
    let state = State::new(
        config.tracks.iter().map(Track::from_settings).collect(),
        wiring,
        pool.len(),
    );
    let mut limits = config.limits.clone();
    (limits.messages_per_s, limits.message_burst) = (1_000_000, 1_000_000);
    (limits.operations_per_s, limits.batches_per_s) = (1000, 1000);
    let fixed = Fixed {
        epoch: "test".to_owned(),
        limits,
        anonymous: Role::Host,
        features: Vec::new(),
        switches: Features::default(),
        log_messages: false,
    };
    let (control, engine_ends) = rings();
    let engine = Box::new(Engine::new(format.sample_rate_hz, 0, pool));
    let deck = Deck::new(engine, engine_ends, format.sample_rate_hz);
    let folder = std::env::temp_dir().join(format!("rigd-storm-{}", uuid::Uuid::new_v4()));
    let opened = provenance::open(&folder).expect("a temporary folder");
    let run = Run {
        agent_id: "test".to_owned(),
        epoch: "test".to_owned(),
        retention: Default::default(),
    };
    let log = opened.begin(state.durable(), state.seq, run, true);
    let mut desk = Desk::new(fixed, state);
    desk.keep(log);
    let health = desk.log_health().expect("the log has a thread");
    desk.attach(control, format, MicFeed::InOrderLooped);
    let session = backend.start(deck).unwrap();
    let audio = thread_named("rigd-audio");
    let clients: Vec<_> = (0..50)
        .map(|_| desk.connect("test".to_owned(), "127.0.0.1"))
        .collect();

    let mut answered = 0u64;
    let mut storm = |desk: &mut Desk, rounds: u64| {
        for round in 0..rounds {
            for (index, client) in clients.iter().enumerate() {
                let plugin = format!("p{}", index % 4);
                let value = (round % 100) as f64 / 100.0;
                let at = json!({"track_id": "mic1", "plugin_id": plugin, "parameter_id": "wet_dry", "value": value});
                let mut message = match (round + index as u64) % 23 {
                    0 => {
                        json!({"type": "plugin.add", "data": {"track_id": "mic1", "name": "reverb", "plugin_id": plugin}})
                    }
                    1 => json!({"type": "plugin.remove", "data": at}),
                    2 => {
                        json!({"type": "plugin.move", "data": {"track_id": "mic1", "plugin_id": plugin, "position": 0}})
                    }
                    3 => {
                        json!({"type": "plugin.bypass", "data": {"track_id": "mic1", "plugin_id": plugin, "bypass": round % 2 == 0}})
                    }
                    4 => {
                        json!({"type": "track.update", "data": {"track_id": "music", "volume": value, "pan": value}})
                    }
                    5 => json!({"type": "rig.panic", "data": {"mode": "dry"}}),
                    6 => json!({"type": "rig.restore"}),
                    7 => {
                        json!({"type": "plugin.parameter.batch", "data": {"changes": [at], "apply_immediately": true}})
                    }
                    8 => {
                        json!({"type": "track.add", "data": {"track_id": format!("t{}", index % 3), "kind": "stem"}})
                    }
                    9 => {
                        json!({"type": "track.remove", "data": {"track_id": format!("t{}", index % 3)}})
                    }
                    _ => json!({"type": "plugin.parameter", "data": at}),
                };
                // The log is never idle: somebody always waits for the disk.
                message["requires_ack"] = json!(index == 0);
                desk.receive(*client, &message.to_string(), Instant::now());
            }
            desk.tick(Instant::now());
            for client in &clients {
                while desk.next_frame(*client).is_some() {
                    answered += 1;
                }
            }
        }
    };
    // The first blocks may still be setting up.
    storm(&mut desk, 20);
    WATCHED.store(audio, Ordering::SeqCst);
    let before = desk.telemetry().frame();
    let synced_before = health.synced();
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        storm(&mut desk, 20);
    }
    let after = desk.telemetry().frame();
    let synced = health.synced() - synced_before;
    WATCHED.store(0, Ordering::SeqCst);
    assert!(synced > 500, "the log wrote: {synced} events");
    assert!(desk.is_engine_alive(Instant::now()));
    assert!(after > before + 48_000, "sound ran: {before} to {after}");
    assert!(answered > 10_000, "the storm was one: {answered} frames");
    assert_eq!(
        VIOLATIONS.load(Ordering::SeqCst),
        0,
        "allocations or frees on the audio thread"
    );
    desk.finish_log();
    drop(session.stop().unwrap());
    fs::remove_dir_all(folder).unwrap();
}
