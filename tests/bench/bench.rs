//! `cargo bench`: what rigd costs, as ratios against a reference measured in the same run.
//!
//! `cargo bench -- engine`, `-- extremes`, `-- wire`, `-- fanout`, `-- log`, `-- realtime` (the log's last
//! part), `-- jack`, `-- instructions` run one part. Absolute figures belong to the machine that they were
//! measured on; ratios can be compared.

#[path = "../../src/rt/tests/common/mod.rs"]
mod common;
mod engine;
mod extremes;
mod fanout;
mod instructions;
mod jack;
mod log;
mod process;
mod provenance;
mod realtime;
mod wire;

/// The program's own, for what is measured and for what it is measured against.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let part = arguments.first().map(String::as_str);
    let argument = arguments.get(1).map_or("", String::as_str);
    match part {
        Some("echo-server") => wire::echo_server(),
        Some("broadcast-server") => fanout::broadcast_server(argument == "held"),
        Some("jack-through") => {
            let busy_us = arguments.get(2).and_then(|busy_us| busy_us.parse().ok());
            jack::through(argument, busy_us.unwrap_or(0));
        }
        Some("blocks") => engine::only_blocks(argument),
        _ => {
            if matches!(part, None | Some("engine")) {
                engine::run();
            }
            if matches!(part, None | Some("instructions")) {
                instructions::run();
            }
            if matches!(part, None | Some("extremes")) {
                extremes::run();
            }
            if matches!(part, None | Some("log")) {
                provenance::run();
            }
            if matches!(part, None | Some("log" | "realtime")) {
                realtime::run();
            }
            if matches!(part, None | Some("jack")) {
                jack::run(argument);
            }
            if matches!(part, None | Some("wire")) {
                wire::run();
            }
            if matches!(part, None | Some("fanout")) {
                fanout::run();
            }
        }
    }
}
