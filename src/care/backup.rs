//! A backup: state, log and settings as they are at one moment, in a tar file.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use serde_json::json;

use super::{FileArgs, KIND, MANIFEST, SECRETS, add_bytes, settings_file, write_new, write_tar};
use crate::cli::Failure;
use crate::config::FILE_NAME;
use crate::provenance::{copies, database};

/// What a copy of the database is called until it is in the tar file; a number stands between.
pub(super) const PART: &str = "backup-";

/// `rigd backup`. rigd may be running on `folder`: the database is copied in one transaction.
pub fn backup(args: &FileArgs, folder: &Path) -> Result<(), Failure> {
    write_new(&args.file, |file| {
        write(file, folder, args.config.as_deref(), args.secrets)
    })?;
    let advice = if args.secrets {
        "Keep it where nobody else can read it: it holds this rig's keys."
    } else {
        "The keys are not in it (--secrets)."
    };
    println!("{} is complete. {advice}", args.file.display());
    Ok(())
}

/// Writes a backup of a state folder. `config`: the settings file, where it is another one than the
/// folder's.
pub(super) fn write(
    file: File,
    folder: &Path,
    config: Option<&Path>,
    secrets: bool,
) -> Result<File, String> {
    let copy = folder.join(format!("{PART}{}.part", std::process::id()));
    let written = copies::copy(&folder.join(database::FILE), &copy)
        .map_err(|error| format!("{error} (in {})", folder.display()))
        .and_then(|version| {
            let mut database =
                File::open(&copy).map_err(|error| format!("{}: {error}", database::FILE))?;
            // Gone with this process, whatever becomes of it.
            let _ = fs::remove_file(&copy);
            let small = small_entries(folder, config, secrets)?;
            write_tar(file, |tar| {
                let mut entries = vec![MANIFEST, database::FILE];
                entries.extend(small.iter().map(|(name, _)| *name));
                let manifest = json!({
                    "kind": KIND,
                    "rigd": env!("CARGO_PKG_VERSION"),
                    "tables": version,
                    "made": jiff::Timestamp::now().to_string(),
                    "secrets": secrets,
                    "entries": entries,
                });
                add_bytes(tar, MANIFEST, format!("{manifest:#}\n").as_bytes())?;
                tar.append_file(database::FILE, &mut database)
                    .map_err(|error| format!("{}: {error}", database::FILE))?;
                small
                    .iter()
                    .try_for_each(|(name, bytes)| add_bytes(tar, name, bytes))
            })
        });
    let _ = fs::remove_file(&copy);
    written
}

/// The settings, and the keys if they are wanted, as far as they are there.
fn small_entries(
    folder: &Path,
    config: Option<&Path>,
    secrets: bool,
) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let settings = settings_file(config, folder);
    let mut wanted = vec![(FILE_NAME, settings, config.is_some())];
    for name in SECRETS.iter().filter(|_| secrets) {
        wanted.push((name, folder.join(name), false));
    }
    let mut found = Vec::new();
    for (name, path, must_be_there) in wanted {
        match fs::read(&path) {
            Ok(bytes) => found.push((name, bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound && !must_be_there => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Ok(found)
}
