//! Tests as code for another processor, under an emulator: what they need to know of it.

use std::ffi::OsStr;
use std::process::Command;

/// The variable with the emulator's command line; there while the tests run under one.
const RUNNER: &str = "RIGD_TEST_RUNNER";

fn runner() -> Option<String> {
    std::env::var(RUNNER)
        .ok()
        .filter(|runner| !runner.is_empty())
}

/// Runs a program that was built for the same processor as this one.
#[allow(dead_code, reason = "each test program needs a part of this")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let Some(runner) = runner() else {
        return Command::new(program);
    };
    let mut words = runner.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(program);
    command
}

/// Whether a test that emulated code cannot pass is to be left out; says so, and why.
#[allow(dead_code, reason = "each test program needs a part of this")]
pub fn skips(why: &str) -> bool {
    let is_emulated = runner().is_some();
    if is_emulated {
        eprintln!("SKIP (emulated): {why}");
    }
    is_emulated
}
