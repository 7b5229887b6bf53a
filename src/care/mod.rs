//! Looking after a box: what it knows into a file and out of it again, a bundle for a bug report, and back
//! to how it was when it was new.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the files that are written, and what is in them |
//! | `backup.rs` | `rigd backup`: also while rigd runs |
//! | `restore.rs` | `rigd restore`: a backup is unpacked and looked at |
//! | `pending.rs` | what takes effect when nobody uses the state folder: a restore that was accepted, a reset |
//! | `support.rs` | `rigd support`: for whoever shall find a fault |
//! | `reset.rs` | `rigd reset --factory` |
//! | `power.rs` | reboot and power-off |
//! | `wifi.rs` | the networks in reach, and joining one |
//! | `update.rs` | an update that a host has brought |
//! | `caretaker.rs` | all of it for a rig that runs, one thing at a time |

mod backup;
pub mod caretaker;
pub mod pending;
mod power;
mod reset;
mod restore;
mod support;
pub mod update;
pub mod wifi;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

pub use backup::backup;
pub use caretaker::Caretaker;
pub use power::Power;
pub use reset::{ResetArgs, reset};
pub use restore::restore;
pub use support::support;

use crate::cli::Failure;
use crate::config::FILE_NAME;
use crate::provenance::database;
use crate::session::secret;

/// What nobody else may know: with the one the log is sealed, with the other tokens are made.
const SECRETS: [&str; 2] = [database::KEY_FILE, secret::FILE];
/// The first entry of a backup, which says what it is.
const MANIFEST: &str = "backup.json";
/// What a backup is called there.
const KIND: &str = "rigd backup";

/// `rigd backup` and `rigd restore`.
#[derive(Args, Clone, Debug)]
pub struct FileArgs {
    /// The backup (a tar file)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The settings file that belongs to it; without it, rigd.toml in the state folder
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder that rigd keeps its state in
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// With the keys that seal the log and make tokens: for another box that shall take this one's place
    #[arg(long)]
    pub secrets: bool,
}

/// `rigd support`.
#[derive(Args, Clone, Debug)]
pub struct SupportArgs {
    /// The bundle (a tar file)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Settings; without it, rigd.toml in the state folder, if there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder that rigd keeps its state in
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
}

/// The settings file that belongs to a state folder, unless another one is named.
fn settings_file(named: Option<&Path>, folder: &Path) -> PathBuf {
    named.map_or_else(|| folder.join(FILE_NAME), Path::to_owned)
}

/// A new file for this user's eyes only. What is there already is not overwritten, and a file that did
/// not get whole is taken away.
fn write_new(path: &Path, write: impl FnOnce(File) -> Result<File, String>) -> Result<(), Failure> {
    let failed =
        |reason: String| Failure::failed(format!("Cannot write {}: {reason}.", path.display()));
    let file = create(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            failed("it is there already; choose another name".to_owned())
        }
        _ => failed(error.to_string()),
    })?;
    write(file).map(drop).map_err(|reason| {
        let _ = fs::remove_file(path);
        failed(reason)
    })
}

fn create(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Fills a file with a tar archive. When it comes back it is whole and on disk.
fn write_tar(
    file: File,
    write: impl FnOnce(&mut tar::Builder<File>) -> Result<(), String>,
) -> Result<File, String> {
    let mut tar = tar::Builder::new(file);
    write(&mut tar)?;
    let whole = tar
        .into_inner()
        .and_then(|file| file.sync_all().map(|()| file));
    whole.map_err(|error| error.to_string())
}

fn add_bytes(tar: &mut tar::Builder<File>, name: &str, bytes: &[u8]) -> Result<(), String> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    header.set_mtime(jiff::Timestamp::now().as_second().max(0) as u64);
    tar.append_data(&mut header, name, bytes)
        .map_err(|error| format!("{name}: {error}"))
}
