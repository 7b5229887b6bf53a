//! An update that a host has brought: a file beside the state while RAUC writes it to the slot that is not
//! running. Who has signed it, RAUC checks; whether the new version stays, the image sees to. As `rigd
//! update` does it, but told about while it goes on.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::oneshot;

use crate::update;

/// What it is called while it comes, and is being installed.
pub(super) const FILE: &str = "update.raucb";
/// What is said of a file whose end is missing.
pub const NOT_WHOLE: &str = "it did not come whole";
/// How long RAUC may take for a slow card.
const INSTALLED_WITHIN: Duration = Duration::from_secs(3600);
/// What is told of what RAUC says, at most.
const LINE_CHARS: usize = 300;
/// Lines of RAUC's that wait to be read.
const LINES_WAITING: usize = 16;
/// What is copied at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// How far an update is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Progress {
    /// There was none since rigd was started.
    #[default]
    None,
    /// It comes.
    Receiving,
    /// RAUC checks it and writes it.
    Installing {
        /// Of a hundred.
        percent: u8,
        /// What RAUC says of it.
        doing: String,
    },
    /// It is in the other slot, which the box starts from next.
    Installed,
    /// It is not installed; the version that runs stays.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Progress {
    /// It came to nothing.
    pub fn failed(reason: &str) -> Progress {
        let reason = reason.to_owned();
        Progress::Failed { reason }
    }
}

/// A file that is taken away when this is dropped.
#[derive(Debug)]
pub struct Bundle(PathBuf);

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::error!("{} cannot be taken away: {error}", self.0.display());
        }
    }
}

impl Bundle {
    /// Writes what comes to the disk, to the end; then whoever brings it says `go`. What is not whole leaves
    /// nothing.
    pub(super) fn take(
        folder: &Path,
        mut from: impl Read,
        bytes: u64,
        go: oneshot::Receiver<()>,
    ) -> Result<Bundle, String> {
        tidy(folder);
        let path = folder.join(FILE);
        let mut file = super::create(&path).map_err(|error| in_folder(folder, &error))?;
        let bundle = Bundle(path);
        let written = copy(&mut from, &mut file).and_then(|written| {
            // RAUC takes no file that somebody may still write.
            file.sync_all().map(|()| written)
        });
        drop(file);
        let written = written.map_err(|error| in_folder(folder, &error))?;
        if go.blocking_recv().is_err() || written != bytes {
            return Err(NOT_WHOLE.to_owned());
        }
        Ok(bundle)
    }

    /// Has it installed. `tell` hears how far it is. Takes minutes.
    pub fn install(self, mut tell: impl FnMut(Progress)) -> Result<(), String> {
        let mut rauc = update::rauc(&self.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| update::not_started(&error))?;
        let ended = follow(&mut rauc, &mut tell);
        if ended.is_err() {
            let _ = rauc.kill();
        }
        let status = rauc.wait().map_err(|error| error.to_string())?;
        let said = ended?;
        if status.success() {
            return Ok(());
        }
        Err(if said.is_empty() {
            "RAUC does not install it and says no reason".to_owned()
        } else {
            format!("RAUC does not install it: {said}")
        })
    }
}

fn in_folder(folder: &Path, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!("there is no room for it in {}", folder.display())
        }
        _ => format!("{}: {error}", folder.display()),
    }
}

fn copy(from: &mut impl Read, to: &mut File) -> io::Result<u64> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut written = 0;
    loop {
        let bytes = from.read(&mut piece)?;
        if bytes == 0 {
            return Ok(written);
        }
        to.write_all(&piece[..bytes])?;
        written += bytes as u64;
    }
}

/// Takes away what a rigd has left that was ended while it was installing. Nobody may be at it.
pub fn tidy(folder: &Path) {
    let path = folder.join(FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            log::warn!("{} cannot be taken away: {error}", path.display());
        }
        _ => {}
    }
}

/// Reads what RAUC says until it says no more. Its last word, or the error that it names.
fn follow(rauc: &mut Child, tell: &mut impl FnMut(Progress)) -> Result<String, String> {
    let (say, said) = mpsc::sync_channel(LINES_WAITING);
    let out = rauc
        .stdout
        .take()
        .map(|out| Box::new(out) as Box<dyn Read + Send>);
    let err = rauc
        .stderr
        .take()
        .map(|err| Box::new(err) as Box<dyn Read + Send>);
    for pipe in [out, err].into_iter().flatten() {
        let say = say.clone();
        std::thread::Builder::new()
            .name("rigd-care-lines".to_owned())
            .spawn(move || {
                for line in lines(pipe) {
                    if say.send(line).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| error.to_string())?;
    }
    drop(say);
    let until = Instant::now() + INSTALLED_WITHIN;
    let (mut last, mut fault) = (String::new(), None);
    loop {
        match said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                log::info!("rauc: {line}");
                if let Some((percent, doing)) = progress(&line) {
                    let doing = doing.to_owned();
                    tell(Progress::Installing { percent, doing });
                } else if let Some(reason) = line.strip_prefix("LastError:") {
                    fault = Some(reason.trim().to_owned());
                } else {
                    last = line;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(fault.unwrap_or(last)),
            Err(RecvTimeoutError::Timeout) => {
                let minutes = INSTALLED_WITHIN.as_secs() / 60;
                return Err(format!("RAUC was not done after {minutes} minutes"));
            }
        }
    }
}

/// What is said, line by line, none of them long.
fn lines(pipe: impl Read) -> impl Iterator<Item = String> {
    let split = BufReader::new(pipe).split(b'\n');
    split.map_while(Result::ok).filter_map(|line| {
        let line = String::from_utf8_lossy(&line);
        let line: String = line.trim().chars().take(LINE_CHARS).collect();
        (!line.is_empty()).then_some(line)
    })
}

/// ` 40% Checking slot rootfs.1 done.`
fn progress(line: &str) -> Option<(u8, &str)> {
    let (percent, doing) = line.split_once('%')?;
    let percent = percent
        .trim()
        .parse()
        .ok()
        .filter(|percent| *percent <= 100)?;
    Some((percent, doing.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rigd-update-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn what_does_not_come_whole_leaves_nothing() {
        let folder = folder();
        let (go, may_go) = oneshot::channel();
        drop(go);
        assert!(Bundle::take(&folder, &b"a bun"[..], 5, may_go).is_err());
        let (go, may_go) = oneshot::channel();
        go.send(()).unwrap();
        let short = Bundle::take(&folder, &b"a bun"[..], 8, may_go);
        assert_eq!(short.unwrap_err(), NOT_WHOLE);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn a_bundle_is_there_until_it_is_dropped_and_replaces_what_was_left() {
        let folder = folder();
        fs::write(folder.join(FILE), "of a rigd that was killed").unwrap();
        let (go, may_go) = oneshot::channel();
        go.send(()).unwrap();
        let bundle = Bundle::take(&folder, &b"a bundle"[..], 8, may_go).unwrap();
        assert_eq!(fs::read(folder.join(FILE)).unwrap(), b"a bundle");
        drop(bundle);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn what_rauc_says_of_how_far_it_is_is_understood() {
        let wanted = Some((40, "Checking slot rootfs.1 done."));
        assert_eq!(progress(" 40% Checking slot rootfs.1 done."), wanted);
        for other in ["installing", "x% y", "101% much", "% none"] {
            assert_eq!(progress(other), None, "{other}");
        }
    }
}
