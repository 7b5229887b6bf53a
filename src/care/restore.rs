//! `rigd restore`: what a backup holds takes the place of what is there. Everything is unpacked and looked
//! at beside the state folder's files before the first of them is touched; what is then accepted takes
//! effect as [`super::pending`] says.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde_json::Value;

use super::pending::{self, PART, Plan};
use super::{FileArgs, KIND, MANIFEST, SECRETS};
use crate::cli::Failure;
use crate::config::{CONFIG_BYTES_MAX, Config, FILE_NAME};
use crate::provenance::{self, copies, database};
use crate::session::By;

/// The largest database that a backup may hold: twice what the log may be told to take.
const DATABASE_BYTES_MAX: u64 = 2_000_000 << 20;
/// The largest of the other entries but the settings.
const SMALL_BYTES_MAX: u64 = 4096;

/// A backup, unpacked into a folder of its own and found to be good.
pub(super) struct Unpacked {
    /// Its entries.
    pub names: Vec<String>,
    /// When it was made, as it says.
    pub made: String,
    /// Its settings.
    pub settings: Option<Config>,
}

impl Unpacked {
    /// Whether it holds this.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|found| found == name)
    }
}

/// Restores. No rigd may be running on `folder`.
pub fn restore(args: &FileArgs, folder: &Path) -> Result<(), Failure> {
    let failed = |reason: String| {
        let file = args.file.display();
        Failure::failed(format!(
            "{file} was not restored, nothing is changed: {reason}."
        ))
    };
    let _lock = provenance::hold(folder, "Cannot restore")?;
    let file = File::open(&args.file).map_err(|error| failed(error.to_string()))?;
    let unpacked = unpack(file, folder).map_err(failed)?;
    let mut said = vec![format!("{} is restored.", args.file.display())];
    for name in SECRETS.into_iter().filter(|name| unpacked.has(name)) {
        if !args.secrets {
            said.push(format!("Its {name} is left out (--secrets)."));
        }
    }
    let plan = Plan {
        by: By::rig().into(),
        made: unpacked.made.clone(),
        secrets: args.secrets && SECRETS.iter().any(|name| unpacked.has(name)),
        settings: unpacked.has(FILE_NAME),
        config: args.config.clone(),
    };
    pending::accept(folder, &plan).map_err(failed)?;
    let restored = pending::restore(folder, &plan).map_err(|fault| match fault {
        pending::Fault::Nothing(reason) => failed(reason),
        pending::Fault::Part(reason) => Failure::failed(format!(
            "{} was restored in part only: {reason}; mend that, and the next start or restore does the rest.",
            args.file.display()
        )),
    })?;
    said.extend(restored);
    println!("{}", said.join(" "));
    Ok(())
}

/// Unpacks a backup into the state folder's [`PART`] and looks at all of it. One that is no good is taken
/// away again.
pub(super) fn unpack(from: impl Read, folder: &Path) -> Result<Unpacked, String> {
    let part = folder.join(PART);
    let unpacked = entries(from, &part).and_then(|names| check(&part, names));
    if unpacked.is_err() {
        let _ = fs::remove_dir_all(part);
    }
    unpacked
}

/// The entries of a backup, unpacked into a folder of their own.
fn entries(from: impl Read, part: &Path) -> Result<Vec<String>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut tar = tar::Archive::new(from);
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
        let mut out = super::create(&part.join(&name)).map_err(text)?;
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
fn check(part: &Path, names: Vec<String>) -> Result<Unpacked, String> {
    let manifest =
        fs::read_to_string(part.join(MANIFEST)).map_err(|_| "it is no backup".to_owned())?;
    let manifest: Value = serde_json::from_str(&manifest).unwrap_or_default();
    if manifest["kind"] != KIND {
        return Err("it is no backup of rigd's".to_owned());
    }
    // An older one does not say it.
    let promised = manifest["entries"].as_array().into_iter().flatten();
    for name in promised.filter_map(Value::as_str) {
        if !names.iter().any(|found| found == name) {
            return Err(format!("it is not whole: its {name} is missing"));
        }
    }
    let mut unpacked = Unpacked {
        names,
        made: manifest["made"].as_str().unwrap_or_default().to_owned(),
        settings: None,
    };
    if !unpacked.has(database::FILE) {
        return Err("there is no state in it".to_owned());
    }
    copies::check(&part.join(database::FILE)).map_err(|error| error.to_string())?;
    if unpacked.has(FILE_NAME) {
        let text = fs::read_to_string(part.join(FILE_NAME)).map_err(|error| error.to_string())?;
        let settings = Config::parse(&text, &[], &|_| None)
            .map_err(|faults| format!("its settings are faulty: {}", faults[0].message))?;
        unpacked.settings = Some(settings);
    }
    Ok(unpacked)
}
