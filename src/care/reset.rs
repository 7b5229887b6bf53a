//! `rigd reset --factory`: back to a box that nobody has used.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{backup, pending, update};
use crate::cli::Failure;
use crate::provenance;

/// What goes, by how its name begins: whoever has the folder may have put other things there.
const OURS: [&str; 10] = [
    "rigd.",
    "tokens.key",
    "codes",
    // Whoever has the box next becomes its host, by another code.
    "claim_code",
    "claimed",
    "tls-",
    "listening",
    "restore.",
    backup::PART,
    update::FILE,
];
/// It is held.
const STAYS: &str = "rigd.lock";

/// `rigd reset`.
#[derive(Args, Clone, Debug)]
pub struct ResetArgs {
    /// All of it: the state, the log, people, keys, and settings in the state folder
    #[arg(long, required = true)]
    pub factory: bool,
    /// The folder that rigd keeps its state in
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Deletes what rigd has put into the state folder. No rigd may be running there.
pub fn reset(folder: &Path) -> Result<(), Failure> {
    let _lock = provenance::hold(folder, "Cannot reset")?;
    empty(folder)?;
    println!(
        "{} is as new. Settings elsewhere, such as /etc/rigd/rigd.toml, are as they were.",
        folder.display()
    );
    Ok(())
}

/// The same for who holds the folder already.
pub(super) fn empty(folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::failed(format!(
            "Cannot delete {}: {error}; do it again as root.",
            path.display()
        ))
    };
    let mut ours: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(|error| failed(folder, error))?;
    ours.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name != STAYS && OURS.iter().any(|ours| name.starts_with(ours))
    });
    // The database last: half a reset is a rig as it was. And behind it the mark that one is wanted: what
    // is interrupted is done again.
    ours.sort_by_key(|path| match path.file_name() {
        Some(name) if name == provenance::database::FILE => 1,
        Some(name) if name == pending::RESET => 2,
        _ => 0,
    });
    for path in &ours {
        let deleted = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        deleted.map_err(|error| failed(path, error))?;
    }
    Ok(())
}
