//! `rigd reset --factory`: back to a box that nobody has used.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::Failure;
use crate::provenance;

/// What stays: the lock is held, and whoever has the folder may have put other things there.
const OURS: [&str; 4] = ["rigd.", "tokens.key", "codes", "listening"];
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
    // The database last: half a reset is a rig as it was.
    ours.sort_by_key(|path| {
        path.file_name()
            .is_some_and(|name| name == provenance::database::FILE)
    });
    for path in &ours {
        let deleted = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        deleted.map_err(|error| failed(path, error))?;
    }
    println!(
        "{} is as new. Settings elsewhere, such as /etc/rigd/rigd.toml, are as they were.",
        folder.display()
    );
    Ok(())
}
