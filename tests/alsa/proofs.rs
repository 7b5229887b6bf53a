//! That the audio thread of a real card is fit for a stage.

use std::fs;
use std::process::Command;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::card::{cards_here, settings};
use super::rig::{BLOCK, Rig, wait_for};
use super::watch::{VIOLATIONS, WATCHED};

pub fn audio_thread() -> i32 {
    wait_for("the thread", || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter(|task| {
                let comm = fs::read_to_string(task.path().join("comm"));
                comm.is_ok_and(|comm| comm.trim() == "rigd-audio")
            })
            .find_map(|task| task.file_name().to_str()?.parse().ok())
    })
}

/// Fields of /proc/…/stat by their number in proc(5).
fn stat(thread: i32, field: usize) -> i64 {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    // The second one is the name in parentheses.
    let behind = text.rsplit_once(')').unwrap().1;
    behind
        .split_whitespace()
        .nth(field - 3)
        .unwrap()
        .parse()
        .unwrap()
}

/// Tracks and effects come and go, and everything moves.
fn storm(rig: &mut Rig, rounds: usize) {
    for round in 0..rounds {
        let id = format!("extra{}", round % 2);
        let value = (round % 10) as f64 / 10.0;
        for message in [
            json!({"type": "track.add", "data": {"track_id": id, "kind": "stem", "input": "device:1-2"}}),
            json!({"type": "plugin.add", "data": {"track_id": id, "name": "reverb", "plugin_id": "r"}}),
            json!({"type": "plugin.parameter", "data": {"track_id": id, "plugin_id": "r", "parameter_id": "wet_dry", "value": value}}),
            json!({"type": "track.update", "data": {"track_id": "mic1", "volume": value}}),
            json!({"type": "track.remove", "data": {"track_id": id}}),
        ] {
            rig.say(message);
        }
        rig.run_for(10 * BLOCK as u64);
    }
}

#[test]
fn it_has_the_priority_that_was_asked_for_and_neither_allocates_nor_faults() {
    let Some((_turn, _clock)) = cards_here() else {
        return;
    };
    let mut config = settings("float");
    config.realtime.priority = 61;
    rigd::backend::realtime::lock_memory();
    let mut rig = Rig::start(&config);
    storm(&mut rig, 3);
    let thread = audio_thread();
    assert_eq!(
        (stat(thread, 41), stat(thread, 40)),
        (i64::from(libc::SCHED_FIFO), 61)
    );
    let faults = || stat(thread, 10) + stat(thread, 12);
    let (before, frame) = (faults(), rig.desk.telemetry().frame());
    WATCHED.store(thread, Ordering::SeqCst);
    storm(&mut rig, 10);
    WATCHED.store(0, Ordering::SeqCst);
    assert!(rig.desk.telemetry().frame() > frame + 100 * BLOCK as u64);
    assert_eq!(VIOLATIONS.load(Ordering::SeqCst), 0, "allocations or frees");
    assert_eq!(faults() - before, 0, "page faults");
    assert_eq!(rig.xruns(), 0);
    rig.end();
}

#[test]
fn it_calls_the_system_only_to_wait_and_to_tell_the_card() {
    let Some((_turn, _clock)) = cards_here() else {
        return;
    };
    let mut rig = Rig::start(&settings("float"));
    storm(&mut rig, 3);
    let thread = audio_thread().to_string();
    let log = std::env::temp_dir().join(format!("rigd-strace-{thread}"));
    let tracer = Command::new("strace")
        .args(["-qq", "-y", "-o"])
        .arg(&log)
        .args(["-p", &thread])
        .spawn();
    let Ok(mut tracer) = tracer else {
        eprintln!("SKIP: strace is not installed");
        return;
    };
    let lines = || fs::read_to_string(&log).unwrap_or_default();
    wait_for("the trace", || {
        storm(&mut rig, 1);
        (lines().lines().count() > 300).then_some(())
    });
    let pid = rustix::process::Pid::from_child(&tracer);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    tracer.wait().unwrap();
    let traced = lines();
    let others: Vec<&str> = traced
        .lines()
        .filter(|line| {
            let is_wait = ["poll(", "ppoll(", "restart_syscall("]
                .iter()
                .any(|call| line.starts_with(call));
            let is_card = line.starts_with("ioctl(") && line.contains("/dev/snd/pcm");
            !is_wait && !is_card
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
    let ioctls = traced
        .lines()
        .filter(|line| line.starts_with("ioctl("))
        .count();
    eprintln!(
        "{} system calls, {ioctls} of them to the card",
        traced.lines().count()
    );
    fs::remove_file(log).unwrap();
    rig.end();
}
