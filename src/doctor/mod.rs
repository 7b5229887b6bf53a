//! `rigd doctor`: is this box fit for realtime sound, and what would mend it; and how long sound takes
//! through it and back.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the command, and how it says what it found |
//! | `seen.rs` | what was read of the box |
//! | `usb.rs` | where a card is on USB |
//! | `system.rs` | what can only be asked of the running system |
//! | `checks.rs` | what that means: pure |
//! | `loopback.rs` | the round trip, measured through the backend |
//! | `sequence.rs` | the noise that is played, and found again: pure |

mod checks;
pub mod loopback;
mod seen;
pub mod sequence;
mod system;
mod usb;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Failure;
use crate::config::Config;

pub use checks::examine;
pub use seen::Seen;

/// `rigd doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Settings; without it, rigd.toml in the state folder, if there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
    /// Measures the round trip instead: a cable from the first output to an input, please
    #[arg(long)]
    pub loopback: bool,
    /// The backend to measure
    #[arg(long, value_parser = ["auto", "jack", "alsa"], requires = "loopback")]
    pub backend: Option<String>,
    /// The input that the cable is in, from 1
    #[arg(long, value_name = "N", default_value_t = 1, requires = "loopback",
          value_parser = clap::value_parser!(u8).range(1..=64))]
    pub input: u8,
    /// Connects rigd's own JACK ports with each other: measures JACK alone, without a cable
    #[arg(long, requires = "loopback")]
    pub direct: bool,
}

/// What a check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It could not be found out.
    Unknown,
    /// Better mended.
    Advice,
    /// Sound will break off.
    Unfit,
}

impl Verdict {
    /// Its name, on paper and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Unknown => "unknown",
            Verdict::Advice => "advice",
            Verdict::Unfit => "unfit",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// What it comes to.
    pub verdict: Verdict,
    /// For a person.
    pub says: String,
    /// What to do.
    pub mend: Option<String>,
}

/// Does what the command line asks for. `Err` with code 1: the box is unfit, or nothing was measured.
pub fn run(args: &DoctorArgs, config: &Config) -> Result<(), Failure> {
    if args.loopback {
        return loopback::run(args, config);
    }
    let findings = examine(&look(config), config);
    let is_fit = is_fit(&findings);
    let text = if args.json {
        format!("{}\n", as_json(&findings, is_fit))
    } else {
        as_text(&findings, std::io::stdout().is_terminal())
    };
    print(&text)?;
    if is_fit {
        Ok(())
    } else {
        Err(Failure::failed(
            "This box is not fit for realtime sound yet: mend what is unfit, and ask again.",
        ))
    }
}

/// What `rigd doctor --json` says.
pub fn report(config: &Config) -> Value {
    let findings = examine(&look(config), config);
    as_json(&findings, is_fit(&findings))
}

fn is_fit(findings: &[Finding]) -> bool {
    findings
        .iter()
        .all(|finding| finding.verdict != Verdict::Unfit)
}

/// Reads this box.
fn look(config: &Config) -> Seen {
    let mut seen = Seen::read(Path::new("/"));
    seen.priority_refused = system::priority_refused(config.realtime.priority);
    seen.memlock_bytes = system::memlock_bytes();
    for (name, saves_power) in &mut seen.wireless {
        *saves_power = system::saves_power(name);
    }
    seen
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::failed(format!("Cannot print: {error}.")))
}

fn as_json(findings: &[Finding], is_fit: bool) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check,
                "verdict": finding.verdict.name(),
                "says": finding.says,
                "mend": finding.mend,
            })
        })
        .collect();
    json!({ "fit": is_fit, "findings": findings })
}

fn as_text(findings: &[Finding], has_colours: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let name = format!("{:<8}", finding.verdict.name());
        let name = match finding.verdict {
            Verdict::Unfit if has_colours => format!("\x1b[1;31m{name}\x1b[0m"),
            Verdict::Advice if has_colours => format!("\x1b[33m{name}\x1b[0m"),
            _ => name,
        };
        text += &format!("{name} {:<11} {}\n", finding.check, finding.says);
        if let Some(mend) = &finding.mend {
            text += &format!("{:20} -> {mend}\n", "");
        }
    }
    text
}
