//! The log and the state that survives: the state follows from the changes alone, whatever is asked; a
//! gesture is one event; what the disk does not take is named; and what is found at a start, whatever
//! it is, leaves the rig playable.

mod gaps;
mod gestures;
mod requests;
mod starts;
mod state;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rigd::config::Config;
use rigd::provenance::database;
use rigd::provenance::prune::Retention;
use rigd::provenance::recorder::Circumstances;
use rigd::provenance::rows::Row;
use rigd::provenance::writer::Run;
use rigd::rig::state::{MicFeed, Wiring};
use rigd::rig::{self, Change, Durable, Request, State, Track, What};
use rigd::session::By;
use rigd_rt::Command;

const POOL_SAMPLES: usize = 1 << 21;

fn wiring() -> Wiring {
    Wiring {
        sample_rate_hz: 48_000,
        device_channels: 2,
        file_channels: 2,
        mic_feed: MicFeed::InOrderLooped,
    }
}

fn new_rig() -> State {
    let config = Config::default();
    let tracks = config.tracks.iter().map(Track::from_settings).collect();
    let mut state = State::new(tracks, wiring(), POOL_SAMPLES);
    state.build(wiring());
    state
}

/// Everything of it that is ever written.
fn rows(state: &Durable) -> Vec<Row> {
    let parts = state.parts();
    parts.iter().map(|part| Row::of(part, state)).collect()
}

fn by(user: &str) -> Arc<By> {
    Arc::new(By {
        user_id: user.to_owned(),
        ..By::rig()
    })
}

fn how(ms: u64, is_awaited: bool) -> Circumstances {
    Circumstances {
        at: Timestamp::from_millisecond(1_700_000_000_000 + ms as i64).unwrap(),
        now: Duration::from_millis(ms),
        applied_frame: None,
        is_awaited,
    }
}

fn run(epoch: &str) -> Run {
    Run {
        agent_id: "test".to_owned(),
        epoch: epoch.to_owned(),
        retention: Retention::default(),
    }
}

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("rigd-log-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn database(&self) -> PathBuf {
        self.0.join(database::FILE)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the rig makes of a request; the engine is quick with what it is asked to free.
fn ask(state: &mut State, request: Request) -> Vec<Change> {
    let Ok(accepted) = rig::apply(state, request) else {
        return Vec::new();
    };
    for command in &accepted.commands {
        match command {
            Command::RemoveEffect { slot } => state.slot_freed(*slot),
            Command::RemoveTrack { track } => state.track_freed(*track),
            _ => {}
        }
    }
    accepted.changes
}

/// Parameters whose values are 1 at first.
const QS: [&str; 2] = ["mid1_q", "mid2_q"];

fn two_equalisers() -> State {
    let mut state = new_rig();
    for id in ["p0", "p1"] {
        let added = ask(
            &mut state,
            Request::PluginAdd {
                track_id: "mic1".to_owned(),
                name: "eq".to_owned(),
                plugin_path: None,
                position: None,
                plugin_id: Some(id.to_owned()),
            },
        );
        assert_eq!(added.len(), 1);
    }
    state
}

fn moved(seq: u64, plugin: u8, parameter: u8, value: f64) -> Change {
    let what = What::Parameter {
        track_id: "mic1".to_owned(),
        plugin_id: format!("p{plugin}"),
        parameter_id: QS[usize::from(parameter)],
        value,
    };
    Change { seq, what }
}

fn bypassed(seq: u64, plugin: u8, bypass: bool) -> Change {
    let what = What::Bypassed {
        track_id: "mic1".to_owned(),
        plugin_id: format!("p{plugin}"),
        bypass,
    };
    Change { seq, what }
}
