//! What takes effect when nobody uses the state folder: a restore that was accepted, and a factory reset.
//! Both begin with one step on disk (a folder is renamed, a mark is made) and are taken to their end by
//! whoever holds the folder next; so a box whose plug is pulled in between has done it all or nothing
//! when it is back.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{SECRETS, reset, settings_file};
use crate::config::FILE_NAME;
use crate::keyfile;
use crate::provenance::{self, copies, database};
use crate::session::{By, Role};

/// Where a backup is unpacked and looked at, in the state folder.
pub(super) const PART: &str = "restore.part";
/// What that folder is called from the moment on when it is accepted.
const READY: &str = "restore.ready";
/// What is to be done with it, and who wants it.
const PLAN: &str = "plan.json";
/// What the database before is called then.
pub(super) const BEFORE: &str = "rigd.before-restore.db";
/// That the state folder is to be emptied.
pub(super) const RESET: &str = "rigd.reset";

/// Who asked, as it is kept over a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Author {
    user_id: String,
    session_id: String,
    role: String,
    verified: bool,
    address: String,
}

impl From<By> for Author {
    fn from(by: By) -> Author {
        Author {
            role: by.role.name().to_owned(),
            address: by.address.to_string(),
            user_id: by.user_id,
            session_id: by.session_id,
            verified: by.verified,
        }
    }
}

impl From<Author> for By {
    fn from(author: Author) -> By {
        By {
            role: Role::from_name(&author.role).unwrap_or(Role::Nobody),
            address: author.address.into(),
            user_id: author.user_id,
            session_id: author.session_id,
            verified: author.verified,
        }
    }
}

/// A restore that was accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Whose wish it is.
    pub by: Author,
    /// When the backup was made, as it says.
    pub made: String,
    /// Its keys take the place of this rig's.
    pub secrets: bool,
    /// Its settings take the place of this rig's.
    pub settings: bool,
    /// Where those are, if not in the state folder.
    pub config: Option<PathBuf>,
}

/// What was taken to its end at a start.
#[derive(Clone, Debug)]
pub enum Done {
    /// A backup is in effect.
    Restored(Plan),
    /// The folder is as new.
    Reset,
    /// What was accepted could not be done, and why.
    Failed(Plan, String),
}

/// How a restore failed.
#[derive(Debug)]
pub enum Fault {
    /// Nothing was touched.
    Nothing(String),
    /// Some of it is in effect; the rest can be done again.
    Part(String),
}

/// Accepts what is unpacked: from here on it is restored, whatever happens.
pub(super) fn accept(folder: &Path, plan: &Plan) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let (part, ready) = (folder.join(PART), folder.join(READY));
    let accepted = serde_json::to_vec(plan)
        .map_err(|error| error.to_string())
        .and_then(|plan| keyfile::replace(&part.join(PLAN), &plan).map_err(text))
        .and_then(|()| match fs::remove_dir_all(&ready) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(text(error)),
            _ => fs::rename(&part, &ready).map_err(text),
        });
    if let Err(reason) = accepted {
        let _ = fs::remove_dir_all(&part);
        return Err(reason);
    }
    sync(folder).map_err(text)
}

/// Takes away what is unpacked and was not accepted.
pub(super) fn refuse(folder: &Path) {
    let _ = fs::remove_dir_all(folder.join(PART));
}

/// Wants the state folder emptied.
pub(super) fn want_reset(folder: &Path) -> io::Result<()> {
    keyfile::replace(&folder.join(RESET), b"")
}

/// Takes to its end what was accepted before, if anything was. Nothing of rigd may be open in the folder;
/// while another rigd has it, it is left alone.
pub fn finish(folder: &Path) -> Option<Done> {
    let (ready, mark) = (folder.join(READY), folder.join(RESET));
    if !ready.exists() && !mark.exists() {
        return None;
    }
    let _lock = provenance::hold(folder, "What was asked for cannot be done").ok()?;
    if mark.exists() {
        return match reset::empty(folder) {
            Ok(()) => {
                log::warn!("the state folder is as new: a host wanted that");
                Some(Done::Reset)
            }
            Err(failure) => {
                log::error!("the factory reset is not complete: {failure}");
                None
            }
        };
    }
    let plan = fs::read(ready.join(PLAN)).ok();
    let plan: Option<Plan> = plan.and_then(|plan| serde_json::from_slice(&plan).ok());
    let done = plan.and_then(|plan| match restore(folder, &plan) {
        Ok(said) => {
            log::warn!(
                "the backup of {} is restored. {}",
                plan.made,
                said.join(" ")
            );
            Some(Done::Restored(plan))
        }
        Err(Fault::Nothing(reason)) => {
            log::error!("the backup was not restored, nothing is changed: {reason}");
            Some(Done::Failed(plan, reason))
        }
        Err(Fault::Part(reason)) => {
            log::error!("the backup is restored in part only, the next start goes on: {reason}");
            None
        }
    });
    if done.is_some() {
        let _ = fs::remove_dir_all(&ready);
    }
    done
}

/// Restores what was accepted, and leaves the plan, for the next start to put on record. Says what became
/// of what. After a [`Fault::Nothing`] it is not accepted any more.
pub(super) fn restore(folder: &Path, plan: &Plan) -> Result<Vec<String>, Fault> {
    let ready = folder.join(READY);
    let (new, old) = (ready.join(database::FILE), folder.join(database::FILE));
    // All that is likely to fail comes before the first step that cannot be taken back.
    let prepared = match new.exists() {
        true => keyfile::give_to_owner_of(folder, &new)
            .map_err(|error| error.to_string())
            .and_then(|()| copies::prepare(&new, &old, &folder.join(BEFORE))),
        false => Ok(false),
    };
    let mut said = Vec::new();
    let began = prepared.and_then(|before| {
        let settings = ready.join(FILE_NAME);
        if plan.settings && settings.exists() {
            said.push(take_settings(plan, folder, &settings)?);
            let _ = fs::remove_file(settings);
        }
        Ok(before)
    });
    let before = began.map_err(|reason| {
        let _ = fs::remove_dir_all(&ready);
        Fault::Nothing(reason)
    })?;
    let put = |name: &str| match fs::rename(ready.join(name), folder.join(name)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Fault::Part(format!("{name}: {error}")))
        }
        _ => Ok(()),
    };
    for name in SECRETS.into_iter().filter(|_| plan.secrets) {
        let _ = keyfile::give_to_owner_of(folder, &ready.join(name));
        put(name)?;
    }
    put(database::FILE)?;
    sync(folder).map_err(|error| Fault::Part(error.to_string()))?;
    if !copies::is_sealed_with(&old, &folder.join(database::KEY_FILE)).unwrap_or(false) {
        said.push(
            "Its log is sealed with another rig's key, so nothing can be proved by it here."
                .to_owned(),
        );
    }
    if before {
        said.push(format!("What was there before is {BEFORE} beside it."));
    }
    // What is left is of no use, but for who wanted it.
    for entry in fs::read_dir(&ready).into_iter().flatten().flatten() {
        if entry.file_name() != PLAN {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(said)
}

/// The settings go where settings are. In a state folder without any they have no place to be lost in.
fn take_settings(plan: &Plan, folder: &Path, new: &Path) -> Result<String, String> {
    let place = settings_file(plan.config.as_deref(), folder);
    let bytes = fs::read(new).map_err(|error| error.to_string())?;
    let failed = |error: io::Error| format!("{}: {error}", place.display());
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
    } else if plan.config.is_none() {
        keyfile::give_to_owner_of(folder, &place).map_err(failed)?;
    }
    Ok(format!("The settings are in {}{kept}.", place.display()))
}

fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}
