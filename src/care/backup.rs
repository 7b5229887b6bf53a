//! `rigd backup`: state, log and settings as they are at one moment, in a tar file.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::json;

use super::{FileArgs, KIND, MANIFEST, SECRETS, add_bytes, settings_file, write_new};
use crate::cli::Failure;
use crate::config::FILE_NAME;
use crate::provenance::{copies, database};

/// Writes it. rigd may be running on `folder`: the database is copied in one transaction.
pub fn backup(args: &FileArgs, folder: &Path) -> Result<(), Failure> {
    let settings = settings_file(args.config.as_deref(), folder);
    let copy = folder.join(format!("backup-{}.part", std::process::id()));
    let written = write_new(&args.file, |tar| {
        let version = copies::copy(&folder.join(database::FILE), &copy)
            .map_err(|error| format!("{error} (in {})", folder.display()))?;
        let manifest = json!({
            "kind": KIND,
            "rigd": env!("CARGO_PKG_VERSION"),
            "tables": version,
            "made": jiff::Timestamp::now().to_string(),
            "secrets": args.secrets,
        });
        add_bytes(tar, MANIFEST, format!("{manifest:#}\n").as_bytes())?;
        tar.append_path_with_name(&copy, database::FILE)
            .map_err(|error| format!("{}: {error}", database::FILE))?;
        match fs::read(&settings) {
            Ok(text) => add_bytes(tar, FILE_NAME, &text)?,
            Err(error) if error.kind() == ErrorKind::NotFound && args.config.is_none() => {}
            Err(error) => return Err(format!("{}: {error}", settings.display())),
        }
        for name in SECRETS.iter().filter(|_| args.secrets) {
            match fs::read(folder.join(name)) {
                Ok(secret) => add_bytes(tar, name, &secret)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(format!("{name}: {error}")),
            }
        }
        Ok(())
    });
    let _ = fs::remove_file(&copy);
    written?;
    let advice = if args.secrets {
        "Keep it where nobody else can read it: it holds this rig's keys."
    } else {
        "The keys are not in it (--secrets)."
    };
    println!("{} is complete. {advice}", args.file.display());
    Ok(())
}
