//! The caretaker: looks after the box for a rig that runs, one thing at a time. What takes long is called
//! on a thread of its own; what needs the state folder to itself is prepared here, and takes effect when
//! rigd begins anew.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Access, access, statvfs};
use tokio::sync::{Notify, oneshot};

use super::pending::{self, Plan};
use super::update::{Bundle, Progress};
use super::wifi::Joining;
use super::{Power, SECRETS, backup, restore, settings_file, support};
use crate::config::Config;
use crate::rig::Reject;
use crate::server::tls::Tls;
use crate::session::By;

/// What must stay free beside a backup that comes in.
const KEPT_FREE_BYTES: u64 = 64 << 20;

/// See the module. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Caretaker(Arc<Inner>);

struct Inner {
    /// The settings in effect.
    config: Mutex<Config>,
    /// Where they are, if that was said.
    file: Option<PathBuf>,
    is_busy: AtomicBool,
    /// How far the latest update is.
    update: Mutex<Progress>,
    /// The latest network that was to be joined.
    joining: Mutex<Joining>,
    /// Told when rigd is to begin anew.
    again: Notify,
}

/// What was accepted of a backup.
#[derive(Debug)]
pub struct Accepted {
    /// When it was made, as it says.
    pub made: String,
    /// Its parts that take effect.
    pub takes: Vec<String>,
    /// Those that do not, and why.
    pub leaves: Vec<String>,
}

/// The one thing that is being done, until it is dropped.
pub struct Turn(Arc<Inner>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl Caretaker {
    /// Of a rig with these settings, from this file if one was named.
    pub fn new(config: Config, file: Option<PathBuf>) -> Caretaker {
        Caretaker(Arc::new(Inner {
            config: Mutex::new(config),
            file,
            is_busy: AtomicBool::new(false),
            update: Mutex::default(),
            joining: Mutex::default(),
            again: Notify::new(),
        }))
    }

    /// Other settings are in effect.
    pub fn follow(&self, config: Config) {
        *self.0.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The settings in effect.
    pub fn config(&self) -> Config {
        let config = self.0.config.lock();
        config.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far the latest update is.
    pub fn update(&self) -> Progress {
        let update = self.0.update.lock();
        update.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The latest network that was to be joined.
    pub fn joining(&self) -> Joining {
        let joining = self.0.joining.lock();
        joining.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins something, if nothing else is being done.
    pub fn begin(&self) -> Result<Turn, Reject> {
        if self.0.is_busy.swap(true, Ordering::Acquire) {
            return Err(Reject::RateLimited {
                retry_after: 2.0,
                limit: "device_jobs",
            });
        }
        Ok(Turn(Arc::clone(&self.0)))
    }

    /// Lets rigd begin anew, which does what was prepared.
    pub fn begin_anew(&self) {
        self.0.again.notify_one();
    }

    /// Waits until rigd is to begin anew.
    pub async fn is_to_begin_anew(&self) {
        self.0.again.notified().await;
    }
}

impl Turn {
    /// The settings in effect.
    pub fn config(&self) -> Config {
        Caretaker(Arc::clone(&self.0)).config()
    }

    /// A backup, to be read from its beginning. Takes its time.
    pub fn backup(&self, secrets: bool) -> Result<File, String> {
        let folder = self.config().state_dir;
        let file = nameless(&folder)?;
        rewound(backup::write(
            file,
            &folder,
            self.0.file.as_deref(),
            secrets,
        )?)
    }

    /// A bundle for a bug report, to be read from its beginning. Takes its time.
    pub fn support(&self) -> Result<File, String> {
        let config = self.config();
        let file = nameless(&config.state_dir)?;
        rewound(support::write(file, &config)?.0)
    }

    /// Whether there is room for a backup of so many bytes.
    pub fn check_room(&self, bytes: u64) -> Result<(), String> {
        let folder = self.config().state_dir;
        let room = statvfs(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free < bytes.saturating_add(KEPT_FREE_BYTES) {
            return Err(format!(
                "there is no room for it: {} MiB are free in {}",
                free >> 20,
                folder.display()
            ));
        }
        Ok(())
    }

    /// Unpacks a backup and looks at all of it. When whoever brought it says `go`, it is accepted and rigd
    /// begins anew, with which it takes effect. Until then, and when it is no good, nothing is changed.
    /// Takes its time.
    pub fn restore(
        &self,
        from: impl Read,
        secrets: bool,
        by: By,
        go: oneshot::Receiver<()>,
    ) -> Result<Accepted, String> {
        let folder = self.config().state_dir;
        let unpacked = restore::unpack(from, &folder)?;
        if go.blocking_recv().is_err() {
            pending::refuse(&folder);
            return Err("whoever brought it has gone".to_owned());
        }
        let mut takes = vec!["state".to_owned(), "log".to_owned()];
        let mut leaves = Vec::new();
        let has_secrets = SECRETS.iter().any(|name| unpacked.has(name));
        match (has_secrets, secrets) {
            (true, true) => takes.push("keys".to_owned()),
            (true, false) => leaves.push("keys: they were not asked for".to_owned()),
            (false, true) => leaves.push("keys: there are none in it".to_owned()),
            (false, false) => {}
        }
        let usable = match &unpacked.settings {
            Some(settings) => self.can_take(settings, &folder).map(|()| true),
            None => Ok(false),
        };
        let settings = usable.unwrap_or_else(|reason| {
            leaves.push(format!("settings: {reason}"));
            false
        });
        if settings {
            takes.push("settings".to_owned());
        }
        let plan = Plan {
            by: by.into(),
            made: unpacked.made.clone(),
            secrets: secrets && has_secrets,
            settings,
            config: self.0.file.clone(),
        };
        pending::accept(&folder, &plan)?;
        Caretaker(Arc::clone(&self.0)).begin_anew();
        Ok(Accepted {
            made: unpacked.made,
            takes,
            leaves,
        })
    }

    /// Whether settings can take the place of the present ones, and rigd be reached with them: there is
    /// nobody at the box to mend it.
    fn can_take(&self, settings: &Config, folder: &Path) -> Result<(), String> {
        let place = settings_file(self.0.file.as_deref(), folder);
        let room = place.parent().unwrap_or(Path::new("."));
        let is_writable = access(room, Access::WRITE_OK | Access::EXEC_OK);
        is_writable.map_err(|_| {
            format!(
                "{} is not rigd's to write; `rigd restore` on the box, as root, takes them",
                place.display()
            )
        })?;
        for address in &settings.listen {
            TcpListener::bind((address.ip(), 0))
                .map_err(|_| format!("{} is no address of this box", address.ip()))?;
        }
        if settings.tls.cert.is_none() {
            return Ok(());
        }
        Tls::open(&settings.tls, folder)
            .map(drop)
            .map_err(|error| format!("there would be no TLS ({error})"))
    }

    /// How far the update is, for whoever looks.
    pub fn tell_of_update(&self, progress: Progress) {
        *self.0.update.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// What becomes of a network that is to be joined, for whoever looks.
    pub fn tell_of_joining(&self, joining: Joining) {
        *self
            .0
            .joining
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = joining;
    }

    /// Takes an update of so many bytes, which is whole when whoever brings it says `go`. Takes its time.
    pub fn take_update(
        &self,
        from: impl Read,
        bytes: u64,
        go: oneshot::Receiver<()>,
    ) -> Result<Bundle, String> {
        Bundle::take(&self.config().state_dir, from, bytes, go)
    }

    /// Has it installed in the slot that is not running. Takes minutes.
    pub fn install(&self, bundle: Bundle) -> Result<(), String> {
        bundle.install(|progress| self.tell_of_update(progress))
    }

    /// Has the state folder emptied when rigd begins anew.
    pub fn reset(&self) -> Result<(), String> {
        pending::want_reset(&self.config().state_dir).map_err(|error| error.to_string())
    }

    /// Reboots or switches off. Takes its time.
    pub fn power(&self, power: Power) -> Result<(), String> {
        power.ask()
    }
}

/// A file in a folder that is gone when nobody has it open any more, whatever happens.
fn nameless(folder: &Path) -> Result<File, String> {
    let path = folder.join(format!("{}{}.part", backup::PART, uuid::Uuid::new_v4()));
    let file = super::create(&path);
    let _ = fs::remove_file(&path);
    file.map_err(|error| format!("{}: {error}", folder.display()))
}

fn rewound(mut file: File) -> Result<File, String> {
    let rewound = file.rewind().map(|()| file);
    rewound.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_done_at_a_time() {
        let caretaker = Caretaker::new(Config::default(), None);
        let turn = caretaker.begin().map_err(|reject| reject.code()).unwrap();
        let refused = caretaker.clone().begin().map(drop).unwrap_err();
        assert_eq!(refused.code(), "RATE_LIMITED");
        drop(turn);
        assert!(caretaker.begin().is_ok());
    }

    #[test]
    fn settings_that_would_make_the_box_unreachable_are_not_taken() {
        let folder = std::env::temp_dir().join(format!("rigd-caretaker-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let caretaker = Caretaker::new(Config::default(), None);
        let turn = caretaker.begin().map_err(|reject| reject.code()).unwrap();
        let settings = |text: &str| Config::parse(text, &[], &|_| None).unwrap();
        let can = |text: &str| turn.can_take(&settings(text), &folder);
        assert_eq!(can("listen = [\"127.0.0.1:8000\"]"), Ok(()));
        let elsewhere = can("listen = [\"192.0.2.77:8000\"]").unwrap_err();
        assert!(elsewhere.contains("no address of this box"), "{elsewhere}");
        let tls = can("[tls]\ncert = \"/nowhere.pem\"\nkey = \"/nowhere.key\"").unwrap_err();
        assert!(tls.contains("TLS"), "{tls}");
        fs::remove_dir_all(folder).unwrap();
    }
}
