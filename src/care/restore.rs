//! `rigd restore`: what a backup holds takes the place of what is there. Everything is unpacked and looked
//! at beside the state folder's files before the first of them is touched; the database, which is the
//! state, changes with one rename. What was there before stays beside it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{FileArgs, KIND, MANIFEST, SECRETS, settings_file};
use crate::cli::Failure;
use crate::config::{CONFIG_BYTES_MAX, Config, FILE_NAME};
use crate::keyfile;
use crate::provenance::{self, copies, database};

/// The largest database that a backup may hold: twice what the log may be told to take.
const DATABASE_BYTES_MAX: u64 = 2_000_000 << 20;
/// The largest of the other entries but the settings.
const SMALL_BYTES_MAX: u64 = 4096;
/// Where it is unpacked, in the state folder.
const PART: &str = "restore.part";
/// What the database before is called then.
pub(super) const BEFORE: &str = "rigd.before-restore.db";

/// Restores. No rigd may be running on `folder`.
pub fn restore(args: &FileArgs, folder: &Path) -> Result<(), Failure> {
    let failed = |reason: String| {
        let file = args.file.display();
        Failure::failed(format!(
            "{file} was not restored, nothing is changed: {reason}."
        ))
    };
    let _lock = provenance::hold(folder, "Cannot restore")?;
    let part = folder.join(PART);
    let found = unpack(&args.file, &part).and_then(|found| check(&part, &found).map(|()| found));
    let restored = found.map_err(failed).and_then(|found| {
        take_over(args, folder, &part, &found).map_err(|reason| {
            Failure::failed(format!(
                "{} was restored in part only: {reason}; mend that and restore it once more.",
                args.file.display()
            ))
        })
    });
    let _ = fs::remove_dir_all(&part);
    println!("{}", restored?);
    Ok(())
}

/// The entries of a backup, unpacked into a folder of their own.
fn unpack(file: &Path, part: &Path) -> Result<Vec<String>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut tar = tar::Archive::new(File::open(file).map_err(text)?);
    match fs::remove_dir_all(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(text(error)),
        _ => fs::create_dir(part).map_err(text)?,
    }
    let mut found = Vec::new();
    for entry in tar.entries().map_err(text)? {
        let entry = entry.map_err(|_| "it is no backup, or not a whole one".to_owned())?;
        let name = entry.path().map_err(text)?.to_string_lossy().into_owned();
        let most = match name.as_str() {
            database::FILE => DATABASE_BYTES_MAX,
            FILE_NAME => CONFIG_BYTES_MAX,
            name if name == MANIFEST || SECRETS.contains(&name) => SMALL_BYTES_MAX,
            _ => {
                return Err(format!(
                    "it holds {name}, which is in no backup of this rigd's"
                ));
            }
        };
        let is_first = found.is_empty();
        if is_first != (name == MANIFEST)
            || found.contains(&name)
            || !entry.header().entry_type().is_file()
        {
            return Err("it is no backup of rigd's".to_owned());
        }
        let bytes = entry.size();
        if bytes > most {
            return Err(format!("its {name} is too large"));
        }
        let mut out = File::create(part.join(&name)).map_err(text)?;
        let copied = std::io::copy(&mut entry.take(most), &mut out).map_err(text)?;
        if copied != bytes {
            return Err(format!("its {name} is not whole"));
        }
        out.sync_all().map_err(text)?;
        found.push(name);
    }
    Ok(found)
}

/// Whether all of it can be used, before anything is.
fn check(part: &Path, found: &[String]) -> Result<(), String> {
    let manifest =
        fs::read_to_string(part.join(MANIFEST)).map_err(|_| "it is no backup".to_owned())?;
    let manifest: Value = serde_json::from_str(&manifest).unwrap_or_default();
    if manifest["kind"] != KIND {
        return Err("it is no backup of rigd's".to_owned());
    }
    if !found.iter().any(|name| name == database::FILE) {
        return Err("there is no state in it".to_owned());
    }
    copies::check(&part.join(database::FILE)).map_err(|error| error.to_string())?;
    if found.iter().any(|name| name == FILE_NAME) {
        let text = fs::read_to_string(part.join(FILE_NAME)).map_err(|error| error.to_string())?;
        Config::parse(&text, &[], &|_| None)
            .map_err(|faults| format!("its settings are faulty: {}", faults[0].message))?;
    }
    Ok(())
}

fn take_over(
    args: &FileArgs,
    folder: &Path,
    part: &Path,
    found: &[String],
) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let has = |name: &str| found.iter().any(|found| found == name);
    let mut said = vec![format!("{} is restored.", args.file.display())];
    for name in SECRETS.into_iter().filter(|name| has(name)) {
        if !args.secrets {
            said.push(format!("Its {name} is left out (--secrets)."));
            continue;
        }
        let secret = fs::read(part.join(name)).map_err(text)?;
        keyfile::replace(&folder.join(name), &secret).map_err(text)?;
        keyfile::give_to_owner_of(folder, &folder.join(name)).map_err(text)?;
    }
    if has(FILE_NAME) {
        said.push(take_settings(args, folder, &part.join(FILE_NAME))?);
    }
    let (new, old) = (part.join(database::FILE), folder.join(database::FILE));
    keyfile::give_to_owner_of(folder, &new).map_err(text)?;
    let before =
        copies::exchange(&new, &old, &folder.join(BEFORE)).map_err(|error| error.to_string())?;
    if !copies::is_sealed_with(&old, &folder.join(database::KEY_FILE)).unwrap_or(false) {
        said.push(
            "Its log is sealed with another rig's key, so nothing can be proved by it here."
                .to_owned(),
        );
    }
    if before {
        said.push(format!("What was there before is {BEFORE} beside it."));
    }
    Ok(said.join(" "))
}

/// The settings go where settings are. In a state folder without any they have no place to be lost in.
fn take_settings(args: &FileArgs, folder: &Path, new: &Path) -> Result<String, String> {
    let place = settings_file(args.config.as_deref(), folder);
    let bytes = fs::read(new).map_err(|error| error.to_string())?;
    let failed = |error: std::io::Error| format!("{}: {error}", place.display());
    if fs::read(&place).is_ok_and(|there| there == bytes) {
        return Ok(format!("{} says the same already.", place.display()));
    }
    let mut kept = String::new();
    if place.exists() {
        let before = PathBuf::from(format!("{}.before-restore", place.display()));
        fs::copy(&place, &before).map_err(failed)?;
        kept = format!(", what was there is {}", before.display());
    }
    let owner = fs::metadata(&place);
    keyfile::replace(&place, &bytes).map_err(failed)?;
    if let Ok(owner) = owner {
        fs::set_permissions(&place, owner.permissions()).map_err(failed)?;
        chown(&place, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
    } else if args.config.is_none() {
        keyfile::give_to_owner_of(folder, &place).map_err(failed)?;
    }
    Ok(format!("The settings are in {}{kept}.", place.display()))
}
