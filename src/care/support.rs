//! `rigd support`: what whoever shall find a fault wants to know, in a tar file. No secret is in it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{SupportArgs, add_bytes, write_new, write_tar};
use crate::cli::Failure;
use crate::config::Config;
use crate::doctor;
use crate::provenance::{copies, database};

/// Lines of the journal.
const JOURNAL_LINES: &str = "5000";

/// `rigd support`; also while rigd runs.
pub fn support(args: &SupportArgs, config: &Config) -> Result<(), Failure> {
    let mut names = Vec::new();
    write_new(&args.file, |file| {
        let (file, parts) = write(file, config)?;
        names = parts;
        Ok(file)
    })?;
    println!(
        "{} is complete: {}. Read it before you give it away; the journal has addresses in it.",
        args.file.display(),
        names.join(", ")
    );
    Ok(())
}

/// Writes it, and says what is in it. A part that cannot be had says why.
pub(super) fn write(file: File, config: &Config) -> Result<(File, Vec<&'static str>), String> {
    let journal = [
        "--no-pager",
        "-o",
        "short-iso",
        "-n",
        JOURNAL_LINES,
        "-u",
        "rigd*",
    ];
    let parts = [
        ("versions.txt", versions()),
        ("doctor.json", format!("{:#}\n", doctor::report(config))),
        ("settings.toml", config.to_toml_without_secrets()),
        ("state.json", format!("{:#}\n", state(&config.state_dir))),
        ("journal.txt", said("journalctl", &journal)),
    ];
    let file = write_tar(file, |tar| {
        parts
            .iter()
            .try_for_each(|(name, text)| add_bytes(tar, name, text.as_bytes()))
    })?;
    Ok((file, parts.map(|(name, _)| name).to_vec()))
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
