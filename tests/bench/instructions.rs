//! Instructions for each block, counted by callgrind: the same from run to run on any machine.

use std::process::Command;

use super::engine;

/// Blocks that are counted, besides the first.
pub const BLOCKS: u64 = 200;

/// The table, or a line that says why there is none.
pub fn run() {
    println!("\nInstructions for each 64-frame block (callgrind)");
    let out = std::env::temp_dir().join(format!("rigd-callgrind-{}", std::process::id()));
    let myself = std::env::current_exe().expect("this program has a path");
    for name in engine::names() {
        let run = Command::new("valgrind")
            .args([
                "--tool=callgrind",
                "--collect-atstart=no",
                "--toggle-collect=*Engine*process*",
            ])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(&myself)
            .args(["blocks", &name])
            .output();
        let Ok(run) = run else {
            println!("SKIP: valgrind is not installed");
            return;
        };
        let text = String::from_utf8_lossy(&run.stderr);
        let collected = text
            .lines()
            .find_map(|line| line.split("Collected :").nth(1)?.trim().parse::<u64>().ok());
        match collected {
            Some(count) if count > 0 => println!("{name:<24} {:>12}", count / (BLOCKS + 1)),
            _ => println!(
                "{name:<24} not counted: {}",
                text.lines().last().unwrap_or_default()
            ),
        }
    }
    let _ = std::fs::remove_file(out);
}
