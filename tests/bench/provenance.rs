//! The log: events each second, commit latency, bytes, and what a change costs the control path, against
//! a bare rusqlite that commits the same rows, in a table with the same columns and indexes, in groups of
//! the same size, as durably. It writes nothing else: no hashes, no state, no seal.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rigd::provenance::database;
use rigd::rig::What;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::log::{Bench, PLUGIN, TRACK};
use crate::process::Server;

/// Events of a sustained round.
const SUSTAINED: u64 = 20_032;
/// Events that somebody waits for, one by one.
const AWAITED: u64 = 1000;
const ROUNDS: usize = 7;
/// The append thread; its counterpart.
const WRITER: &str = "rigd-log";
const BARE: &str = "bare";

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

/// What so many events took: by the clock, and of the processor's time.
#[derive(Clone, Copy, Default)]
struct Took {
    events: u64,
    time: Duration,
    cpu: Duration,
}

impl Took {
    fn per_second(self) -> f64 {
        self.events as f64 / self.time.as_secs_f64()
    }

    fn cpu_us(self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.events as f64
    }
}

/// The processor's time that a thread of this process has had; of those with that name, the newest's.
fn cpu(thread: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let tasks = tasks.flatten().map(|task| task.path());
    let is_meant = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread)
    };
    let newest = tasks.filter(is_meant).max();
    let times = newest.and_then(|task| fs::read_to_string(task.join("schedstat")).ok());
    let ns = times.and_then(|times| times.split(' ').next()?.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

/// Group commit, sustained; and how large the groups were.
fn sustained(bench: &mut Bench) -> (Took, usize) {
    let before = cpu(WRITER);
    let began = Instant::now();
    let mut groups = 0u32;
    let mut synced = bench.synced();
    for _ in 0..SUSTAINED / 64 {
        bench.burst(64);
        if bench.synced() > synced {
            synced = bench.synced();
            groups += 1;
        }
    }
    bench.wait(0);
    let took = Took {
        events: SUSTAINED,
        time: began.elapsed(),
        cpu: cpu(WRITER) - before,
    };
    (took, (SUSTAINED / u64::from(groups.max(1))) as usize)
}

/// The same rows in groups of that size.
fn bare(rows: &[Vec<Value>], group: usize, is_indexed: bool) -> Took {
    let bare = Bare::new(is_indexed);
    let rows = rows.to_vec();
    let count = rows.len() as u64;
    let thread = std::thread::Builder::new().name(BARE.to_owned());
    let commit = move || {
        let began = Instant::now();
        rows.chunks(group).for_each(|rows| bare.commit(rows));
        Took {
            events: count,
            time: began.elapsed(),
            cpu: cpu(BARE),
        }
    };
    thread
        .spawn(commit)
        .expect("a thread")
        .join()
        .expect("done")
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
    println!("\nThe log: events each second, {ROUNDS} rounds of each in turn, medians");
    let (mut ours, mut indexed, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ours_one, mut indexed_one) = (Vec::new(), Vec::new());
    let (mut groups, mut bytes, mut grouped_writes) = (Vec::new(), 0.0, 0.0);
    let (mut one_writes, mut bare_writes) = (0.0, 0.0);
    let (mut latencies, mut bare_latencies) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut bench = Bench::new();
        let (before, size) = (written(), bench.database_bytes());
        let (took, group) = sustained(&mut bench);
        ours.push(took);
        groups.push(group as f64);
        grouped_writes = (written() - before) as f64 / SUSTAINED as f64;
        bytes = (bench.database_bytes().saturating_sub(size)) as f64 / SUSTAINED as f64;
        let rows = bench.rows();
        drop(bench);
        indexed.push(bare(&rows, group, true));
        plain.push(bare(&rows, group, false));

        let mut bench = Bench::new();
        let before = written();
        let mut times = awaited(&mut bench);
        one_writes = (written() - before) as f64 / AWAITED as f64;
        ours_one.push(times.iter().sum::<Duration>());
        latencies.append(&mut times);
        let rows = bench.rows();
        drop(bench);
        let bare = Bare::new(true);
        let before = written();
        let mut bare_times = Vec::new();
        for row in rows.chunks(1) {
            let began = Instant::now();
            bare.commit(row);
            bare_times.push(began.elapsed());
        }
        bare_writes = (written() - before) as f64 / AWAITED as f64;
        indexed_one.push(bare_times.iter().sum::<Duration>());
        bare_latencies.append(&mut bare_times);
    }
    println!(
        "{:<44} {:>10} {:>12} {:>7} {:>16}",
        "", "rigd", "bare rusqlite", "ratio", "(each round's)"
    );
    let line = |name: &str, ours: &[f64], bare: &[f64]| {
        let mut ratios: Vec<f64> = ours.iter().zip(bare).map(|(a, b)| a / b).collect();
        let (ours, bare) = (median(&mut ours.to_vec()), median(&mut bare.to_vec()));
        let middle = median(&mut ratios);
        let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        println!(
            "{name:<44} {ours:>10.1} {bare:>12.1} {middle:>7.2}   ({})",
            each.join(" ")
        );
    };
    let per_second = |took: &[Took]| took.iter().map(|t| t.per_second()).collect::<Vec<_>>();
    let cpu = |took: &[Took]| took.iter().map(|t| t.cpu_us()).collect::<Vec<_>>();
    let group = median(&mut groups);
    let name = format!("groups of {group}, same table and indexes");
    line(&name, &per_second(&ours), &per_second(&indexed));
    let name = format!("groups of {group}, a table without indexes");
    line(&name, &per_second(&ours), &per_second(&plain));
    let rate = |times: &[Duration]| {
        times
            .iter()
            .map(|t| AWAITED as f64 / t.as_secs_f64())
            .collect::<Vec<_>>()
    };
    line("each one awaited", &rate(&ours_one), &rate(&indexed_one));
    // How far apart they are whatever else the machine does.
    let name = "µs of the processor for each, in groups";
    line(name, &cpu(&ours), &cpu(&indexed));
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
        "{:<44} {:>10.0} {:>12.0}",
        "written for 1,000 awaited events, KiB",
        one_writes * 1000.0 / 1024.0,
        bare_writes * 1000.0 / 1024.0
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
