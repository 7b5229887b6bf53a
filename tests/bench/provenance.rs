//! The log: events each second, commit latency, bytes, and what a change costs the control path, against
//! a bare rusqlite that commits rows of the same size.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use rusqlite::{Connection, params_from_iter};
use tokio::runtime::{Builder, Runtime};

use crate::process::Server;

/// Events of a sustained round.
const SUSTAINED: u64 = 20_000;
/// Events that somebody waits for, one by one.
const AWAITED: u64 = 1000;
/// Entries on their way to the disk in a sustained round.
const BACKLOG: u64 = 1024;
const ROUNDS: usize = 5;
/// The writer always has news sooner.
const PATIENCE: Duration = Duration::from_secs(10);
const TRACK: &str = "mic1";
const PLUGIN: &str = "plugin_456";

/// A log in a folder of its own, and a rig with one effect.
struct Bench {
    folder: PathBuf,
    log: Log,
    by: Arc<By>,
    seq: u64,
    now: Duration,
    /// Sleeps until the writer has news.
    waiter: Runtime,
}

impl Bench {
    fn new() -> Bench {
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

    fn record(&mut self, what: What, is_awaited: bool) -> u64 {
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

    fn bypass(&mut self, is_awaited: bool) -> u64 {
        let what = What::Bypassed {
            track_id: TRACK.to_owned(),
            plugin_id: PLUGIN.to_owned(),
            bypass: self.seq.is_multiple_of(2),
        };
        self.record(what, is_awaited)
    }

    /// Lets the log believe that it is time.
    fn hand_over(&mut self) {
        self.now += Duration::from_millis(100);
        self.log.tick(self.now);
    }

    fn synced(&self) -> u64 {
        self.log.synced()
    }

    /// Until at most so many entries are on their way.
    fn wait(&mut self, backlog: u64) {
        let newest = self.log.ticket();
        while newest.saturating_sub(self.synced()) > backlog {
            self.hand_over();
            self.sleep();
        }
    }

    /// Until the writer has let go of what it had, as the control thread sleeps.
    fn sleep(&self) {
        let health = self.log.health().expect("a log");
        let news = async { tokio::time::timeout(PATIENCE, health.news.notified()).await };
        if health.is_busy() {
            let _ = self.waiter.block_on(news);
        }
    }

    fn rows(&self) -> Vec<Vec<Value>> {
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
    fn database_bytes(&self) -> u64 {
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

/// Rows as they are, and nothing else: no hashes, no state.
struct Bare {
    folder: PathBuf,
    db: Connection,
    insert: String,
}

impl Bare {
    /// `is_indexed`: in the log's own table with its indexes; else in one without any.
    fn new(is_indexed: bool) -> Bare {
        let folder = std::env::temp_dir().join(format!("rigd-bare-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).expect("a temporary folder");
        let db = database::open(&folder.join(database::FILE)).expect("a database");
        let table = if is_indexed { "daid_events" } else { "plain" };
        db.execute_batch(
            "CREATE TABLE plain AS SELECT * FROM daid_events; PRAGMA wal_autocheckpoint = 1000;",
        )
        .expect("a table");
        let marks = vec!["?"; 20].join(", ");
        let insert = format!("INSERT INTO {table} VALUES ({marks})");
        Bare { folder, db, insert }
    }

    fn commit(&self, rows: &[Vec<Value>]) {
        let group = self.db.unchecked_transaction().expect("a transaction");
        let mut insert = self.db.prepare_cached(&self.insert).expect("a statement");
        for row in rows {
            insert.execute(params_from_iter(row)).expect("a row");
        }
        drop(insert);
        group.commit().expect("a commit");
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A line of `/proc/PID/io`.
fn io(pid: &str, name: &str) -> u64 {
    let text = fs::read_to_string(Path::new("/proc").join(pid).join("io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim_start_matches(':').trim().parse().ok())
        .unwrap_or(0)
}

fn written() -> u64 {
    io("self", "write_bytes")
}

fn per_second(events: u64, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}

/// Events a second, group commit; and how large the groups were.
fn sustained(bench: &mut Bench) -> (f64, usize) {
    let began = Instant::now();
    let mut groups = 0u32;
    let mut synced = bench.synced();
    for count in 1..=SUSTAINED {
        bench.bypass(false);
        if count % 64 == 0 {
            bench.hand_over();
            bench.wait(BACKLOG);
            if bench.synced() > synced {
                synced = bench.synced();
                groups += 1;
            }
        }
    }
    bench.wait(0);
    let rate = per_second(SUSTAINED, began.elapsed());
    (rate, (SUSTAINED / u64::from(groups.max(1))) as usize)
}

fn awaited(bench: &mut Bench) -> Vec<Duration> {
    let one = |bench: &mut Bench| {
        // The next one goes out only when the writer has let go of the last one.
        bench.sleep();
        let began = Instant::now();
        let ticket = bench.bypass(true);
        bench.hand_over();
        while bench.synced() < ticket {
            bench.sleep();
        }
        began.elapsed()
    };
    (0..AWAITED).map(|_| one(bench)).collect()
}

fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() - 1) as f64 * share).round() as usize;
    times[index].as_secs_f64() * 1e6
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// All of it.
pub fn run() {
    println!("\nThe log: events each second, {ROUNDS} rounds of each in turn, median");
    let (mut ours, mut indexed, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ours_one, mut indexed_one) = (Vec::new(), Vec::new());
    let (mut group, mut bytes, mut grouped_writes) = (1, 0.0, 0.0);
    let (mut one_writes, mut latencies, mut bare_latencies) = (0.0, Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut bench = Bench::new();
        let (before, size) = (written(), bench.database_bytes());
        let (rate, groups) = sustained(&mut bench);
        ours.push(rate);
        group = groups;
        grouped_writes = (written() - before) as f64 / SUSTAINED as f64;
        bytes = (bench.database_bytes().saturating_sub(size)) as f64 / SUSTAINED as f64;
        let rows = bench.rows();
        for (is_indexed, rates) in [(true, &mut indexed), (false, &mut plain)] {
            let bare = Bare::new(is_indexed);
            let began = Instant::now();
            rows.chunks(group).for_each(|rows| bare.commit(rows));
            rates.push(per_second(rows.len() as u64, began.elapsed()));
        }

        let mut bench = Bench::new();
        let before = written();
        let mut times = awaited(&mut bench);
        one_writes = (written() - before) as f64 / AWAITED as f64;
        ours_one.push(per_second(AWAITED, times.iter().sum()));
        latencies.append(&mut times);
        let rows = bench.rows();
        let bare = Bare::new(true);
        let mut bare_times = Vec::new();
        for row in rows.chunks(1) {
            let began = Instant::now();
            bare.commit(row);
            bare_times.push(began.elapsed());
        }
        indexed_one.push(per_second(rows.len() as u64, bare_times.iter().sum()));
        bare_latencies.append(&mut bare_times);
    }
    println!(
        "{:<44} {:>10} {:>12} {:>7}",
        "", "rigd", "bare rusqlite", "ratio"
    );
    let line = |name: &str, ours: &mut Vec<f64>, bare: &mut Vec<f64>| {
        let (ours, bare) = (median(ours), median(bare));
        println!("{name:<44} {ours:>10.0} {bare:>12.0} {:>7.2}", ours / bare);
    };
    let mut again = ours.clone();
    line(
        &format!("groups of {group}, same table and indexes"),
        &mut ours,
        &mut indexed,
    );
    line(
        &format!("groups of {group}, a table without indexes"),
        &mut again,
        &mut plain,
    );
    line("each one awaited", &mut ours_one, &mut indexed_one);
    println!("\nA change that is awaited, to disk (µs)");
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (ours, bare) = (
            quantile(&mut latencies, share),
            quantile(&mut bare_latencies, share),
        );
        println!("{name:<44} {ours:>10.0} {bare:>12.0} {:>7.2}", bare / ours);
    }

    println!("\nBytes");
    println!("{:<44} {bytes:>10.0}", "of one event in the database");
    println!(
        "{:<44} {:>10.0}",
        "written for 1,000 events in groups, KiB",
        grouped_writes * 1000.0 / 1024.0
    );
    println!(
        "{:<44} {:>10.0}",
        "written for 1,000 awaited events, KiB",
        one_writes * 1000.0 / 1024.0
    );
    idle();

    println!("\nOf the control thread's time, for each change (ns)");
    let mut bench = Bench::new();
    let (mut moves, mut others) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let began = Instant::now();
        for _ in 0..2000 {
            bench.bypass(false);
        }
        others.push(began.elapsed().as_nanos() as f64 / 2000.0);
        bench.hand_over();
        bench.wait(0);
        let began = Instant::now();
        for step in 0..2000 {
            let what = What::Parameter {
                track_id: TRACK.to_owned(),
                plugin_id: PLUGIN.to_owned(),
                parameter_id: "wet_dry",
                value: f64::from(step) / 2000.0,
            };
            bench.record(what, false);
        }
        moves.push(began.elapsed().as_nanos() as f64 / 2000.0);
    }
    println!("{:<44} {:>10.0}", "a move of a fader", median(&mut moves));
    println!("{:<44} {:>10.0}", "anything else", median(&mut others));
}

/// What a rig on which nobody does anything writes.
fn idle() {
    const SECONDS: u64 = 5;
    let rigd = Server::rigd(64);
    // It is up; what its start wrote is behind it.
    std::thread::sleep(Duration::from_millis(500));
    let before = io(&rigd.pid(), "wchar");
    let disk = io(&rigd.pid(), "write_bytes");
    std::thread::sleep(Duration::from_secs(SECONDS));
    let disk = io(&rigd.pid(), "write_bytes") - disk;
    println!(
        "{:<44} {:>10}   (and {} handed to the system by any call, timers and wake-ups included)",
        format!("written to disk in {SECONDS} s of an idle rig"),
        disk,
        io(&rigd.pid(), "wchar") - before
    );
}
