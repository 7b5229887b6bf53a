//! A log that is written as fast as it goes.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rigd::config::Config;
use rigd::provenance::prune::Retention;
use rigd::provenance::recorder::Circumstances;
use rigd::provenance::writer::Run;
use rigd::provenance::{self, Log, database};
use rigd::rig::state::{MicFeed, Wiring};
use rigd::rig::{self, Change, Request, State, Track, What};
use rigd::session::By;
use rusqlite::types::Value;
use tokio::runtime::{Builder, Runtime};

/// Entries on their way to the disk at once.
pub const BACKLOG: u64 = 1024;
pub const TRACK: &str = "mic1";
pub const PLUGIN: &str = "plugin_456";
/// The writer always has news sooner.
const PATIENCE: Duration = Duration::from_secs(10);

/// A log in a folder of its own, and a rig with one effect.
pub struct Bench {
    pub folder: PathBuf,
    pub log: Log,
    by: Arc<By>,
    seq: u64,
    now: Duration,
    /// Sleeps until the writer has news.
    waiter: Runtime,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = std::env::temp_dir().join(format!("rigd-bench-{}", uuid::Uuid::new_v4()));
        let wiring = Wiring {
            sample_rate_hz: 48_000,
            device_channels: 2,
            file_channels: 2,
            mic_feed: MicFeed::InOrder,
        };
        let tracks = Config::default();
        let tracks = tracks.tracks.iter().map(Track::from_settings).collect();
        let mut state = State::new(tracks, wiring.clone(), 1 << 20);
        state.build(wiring);
        let add = Request::PluginAdd {
            track_id: TRACK.to_owned(),
            name: "Reverb".to_owned(),
            plugin_path: None,
            position: None,
            plugin_id: Some(PLUGIN.to_owned()),
        };
        rig::apply(&mut state, add).expect("there is room");
        let run = Run {
            agent_id: "pi-rig-01".to_owned(),
            epoch: uuid::Uuid::new_v4().to_string(),
            retention: Retention::default(),
        };
        let opened = provenance::open(&folder).expect("a temporary folder");
        let mut bench = Bench {
            folder,
            log: opened.begin(state.durable(), state.seq, run, true),
            by: Arc::new(By {
                user_id: "user_789".to_owned(),
                session_id: "session_abc".to_owned(),
                address: "192.168.1.23".into(),
                ..By::rig()
            }),
            seq: 1,
            now: Duration::ZERO,
            waiter: Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime"),
        };
        bench.bypass(true);
        bench.hand_over();
        bench.wait(0);
        bench
    }

    pub fn record(&mut self, what: What, is_awaited: bool) -> u64 {
        self.seq += 1;
        let how = Circumstances {
            at: Timestamp::now(),
            now: self.now,
            applied_frame: Some(self.seq * 64),
            is_awaited,
        };
        let change = Change {
            seq: self.seq,
            what,
        };
        self.log
            .record(&change, &self.by, how)
            .expect("there is room in the queue")
    }

    pub fn bypass(&mut self, is_awaited: bool) -> u64 {
        let what = What::Bypassed {
            track_id: TRACK.to_owned(),
            plugin_id: PLUGIN.to_owned(),
            bypass: self.seq.is_multiple_of(2),
        };
        self.record(what, is_awaited)
    }

    /// So many changes, handed over 64 at a time, with no more than [`BACKLOG`] on their way.
    pub fn burst(&mut self, events: u64) {
        for count in 1..=events {
            self.bypass(false);
            if count % 64 == 0 {
                self.hand_over();
                self.wait(BACKLOG);
            }
        }
    }

    /// Lets the log believe that it is time.
    pub fn hand_over(&mut self) {
        self.now += Duration::from_millis(100);
        self.log.tick(self.now);
    }

    pub fn synced(&self) -> u64 {
        self.log.synced()
    }

    /// Until at most so many entries are on their way.
    pub fn wait(&mut self, backlog: u64) {
        let newest = self.log.ticket();
        while newest.saturating_sub(self.synced()) > backlog {
            self.hand_over();
            self.sleep();
        }
    }

    /// Until the writer has let go of what it had, as the control thread sleeps.
    pub fn sleep(&self) {
        let health = self.log.health().expect("a log");
        let news = async { tokio::time::timeout(PATIENCE, health.news.notified()).await };
        if health.is_busy() {
            let _ = self.waiter.block_on(news);
        }
    }

    pub fn rows(&self) -> Vec<Vec<Value>> {
        let db = database::open_to_read(&self.folder.join(database::FILE)).expect("readable");
        let mut query = db
            .prepare("SELECT * FROM daid_events ORDER BY row")
            .expect("its table");
        let columns = query.column_count();
        let mut rows = query.query([]).expect("its rows");
        let mut all = Vec::new();
        while let Some(row) = rows.next().expect("its rows") {
            all.push((0..columns).map(|i| row.get_unwrap(i)).collect());
        }
        all
    }

    /// Pages of the database that are in use.
    pub fn database_bytes(&self) -> u64 {
        let db = database::open_to_read(&self.folder.join(database::FILE)).expect("readable");
        let pragma = |name: &str| -> i64 {
            let query = format!("PRAGMA {name}");
            db.query_row(&query, [], |row| row.get(0))
                .expect("a number")
        };
        (pragma("page_count") * pragma("page_size")) as u64
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
