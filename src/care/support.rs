//! `rigd support`: what whoever shall find a fault wants to know, in a tar file. No secret is in it.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{SupportArgs, add_bytes, write_new};
use crate::cli::Failure;
use crate::config::Config;
use crate::doctor;
use crate::provenance::{copies, database};

/// Lines of the journal.
const JOURNAL_LINES: &str = "5000";

/// Writes it; also while rigd runs. A part that cannot be had says why.
pub fn support(args: &SupportArgs, config: &Config) -> Result<(), Failure> {
    let parts = [
        ("versions.txt", versions()),
        ("doctor.json", format!("{:#}\n", doctor::report(config))),
        ("settings.toml", config.to_toml_without_secrets()),
        ("state.json", format!("{:#}\n", state(&config.state_dir))),
        (
            "journal.txt",
            said(
                "journalctl",
                &[
                    "--no-pager",
                    "-o",
                    "short-iso",
                    "-n",
                    JOURNAL_LINES,
                    "-u",
                    "rigd*",
                ],
            ),
        ),
    ];
    write_new(&args.file, |tar| {
        parts
            .iter()
            .try_for_each(|(name, text)| add_bytes(tar, name, text.as_bytes()))
    })?;
    println!(
        "{} is complete: {}. Read it before you give it away; the journal has addresses in it.",
        args.file.display(),
        parts.map(|(name, _)| name).join(", ")
    );
    Ok(())
}

fn versions() -> String {
    let os = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    format!(
        "rigd {}\n{}\n{os}\n{}\n{}",
        env!("CARGO_PKG_VERSION"),
        said("uname", &["-a"]).trim_end(),
        said("systemctl", &["--version"]),
        said(
            "systemctl",
            &["status", "--no-pager", "rigd.service", "rigd-jackd.service"]
        ),
    )
}

/// How much there is, and nothing of what people do.
fn state(folder: &Path) -> serde_json::Value {
    match copies::extent(&folder.join(database::FILE)) {
        Ok((tables, rows, bytes)) => json!({"tables": tables, "log_rows": rows, "bytes": bytes}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

/// What a command prints, or why it does not.
fn said(program: &str, arguments: &[&str]) -> String {
    match Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
    {
        Ok(output) => {
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        }
        Err(error) => format!("{program}: {error}\n"),
    }
}
