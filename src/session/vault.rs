//! The thread that looks after the files of the gate, so that a slow disk holds nothing up: it notices
//! another secret, and takes codes that `rigd pair` has left in the state folder.
//!
//! | in the state folder | |
//! |---|---|
//! | `tokens.key` | the secret |
//! | `codes/NAME` | a code that is open, by its name: what it gives |
//! | `claim_code` | a code that makes a host, put there with the box |
//! | `claimed` | the box has a host: the claim code is void for ever |
//! | `listening` | where the rig listens, for `rigd pair` |

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::sync::mpsc::{channel, sync_channel};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::clock::{Life, Moment};
use super::code::{self, CLAIM_MIN, CODES_MAX, Offer};
use super::role::Role;
use super::secret::{self, Secret};
use crate::keyfile;

const CODES: &str = "codes";
const CLAIM_CODE: &str = "claim_code";
const CLAIMED: &str = "claimed";
const LISTENING: &str = "listening";
/// How often the secret is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Questions that wait for the disk. Past that they are not taken.
const ASKS_MAX: usize = 64;
/// What a file of a code or of the addresses may hold.
const BYTES_MAX: u64 = 4096;

enum Ask {
    /// Takes the code, whatever its file is.
    Take {
        code: String,
        answer: oneshot::Sender<Option<Offer>>,
    },
    /// Whether the code is the claim code, and good.
    IsClaim {
        code: String,
        answer: oneshot::Sender<bool>,
    },
    /// The box has a host.
    Claimed { answer: oneshot::Sender<()> },
}

/// What the thread has to tell.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// There is another secret.
    Secret(Secret),
    /// The secret could not be kept, and now is.
    Kept,
}

/// The control side's end. Control thread; never waits.
pub struct Vault {
    asks: SyncSender<Ask>,
    news: Receiver<News>,
}

impl Vault {
    /// Starts the thread on a state folder, with the secret as it is now. `is_kept`: it is in the folder;
    /// otherwise the thread puts it there as soon as the disk takes it.
    pub fn start(folder: PathBuf, secret: Secret, is_kept: bool) -> io::Result<Vault> {
        let (asks, asked) = sync_channel(ASKS_MAX);
        let (news, told) = channel();
        let keeper = Keeper {
            seen: stamp(&folder),
            folder,
            secret,
            is_kept,
            news,
        };
        std::thread::Builder::new()
            .name("rigd-vault".to_owned())
            .spawn(move || keeper.run(&asked))?;
        Ok(Vault { asks, news: told })
    }

    /// What it has to tell, if anything.
    pub fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Takes a code that is in the folder: it is good once, also if the power fails now. `None` when too
    /// many wait.
    pub fn take(&self, code: &str) -> Option<oneshot::Receiver<Option<Offer>>> {
        let (answer, answered) = oneshot::channel();
        let code = code.to_owned();
        self.ask(Ask::Take { code, answer })?;
        Some(answered)
    }

    /// Whether a code would make the first host. `None` when too many wait.
    pub fn is_claim(&self, code: &str) -> Option<oneshot::Receiver<bool>> {
        let (answer, answered) = oneshot::channel();
        let code = code.to_owned();
        self.ask(Ask::IsClaim { code, answer })?;
        Some(answered)
    }

    /// Notes that the box has a host.
    pub fn claim(&self) -> Option<oneshot::Receiver<()>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Claimed { answer })?;
        Some(answered)
    }

    fn ask(&self, ask: Ask) -> Option<()> {
        match self.asks.try_send(ask) {
            Ok(()) => Some(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

struct Keeper {
    folder: PathBuf,
    secret: Secret,
    is_kept: bool,
    /// What the secret's file looked like.
    seen: Stamp,
    news: Sender<News>,
}

/// What tells one file from another under the same name: inode, length, time of change in ns.
type Stamp = Option<(u64, u64, u128)>;

fn stamp(folder: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    let file = fs::metadata(folder.join(secret::FILE)).ok()?;
    let changed = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((file.ino(), file.len(), changed.as_nanos()))
}

impl Keeper {
    fn run(mut self, asked: &Receiver<Ask>) {
        loop {
            match asked.recv_timeout(LOOK_EVERY) {
                // Whoever asked may have gone meanwhile.
                Ok(Ask::Take { code, answer }) => {
                    self.look();
                    let _ = answer.send(self.take(&code));
                }
                Ok(Ask::IsClaim { code, answer }) => {
                    let _ = answer.send(self.is_claim(&code));
                }
                Ok(Ask::Claimed { answer }) => {
                    self.claim();
                    let _ = answer.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Notices another secret. One that was taken away is made anew.
    fn look(&mut self) {
        if !self.is_kept {
            self.keep();
            return;
        }
        let seen = stamp(&self.folder);
        if seen == self.seen {
            return;
        }
        match Secret::open(&self.folder) {
            Ok(secret) if secret != self.secret => {
                self.secret = secret.clone();
                let _ = self.news.send(News::Secret(secret));
            }
            Ok(_) => {}
            Err(error) => {
                log::error!("the secret cannot be read, and the old one is kept: {error}")
            }
        }
        self.seen = stamp(&self.folder).filter(|_| seen.is_some());
    }

    /// Tries to put the secret into the folder. One that is there already counts.
    fn keep(&mut self) {
        match self.secret.keep(&self.folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let Ok(secret) = Secret::read(&self.folder) else {
                    return;
                };
                self.secret = secret.clone();
                let _ = self.news.send(News::Secret(secret));
            }
            Err(_) => return,
        }
        self.is_kept = true;
        self.seen = stamp(&self.folder);
        let _ = self.news.send(News::Kept);
    }

    fn take(&self, code: &str) -> Option<Offer> {
        let path = self.folder.join(CODES).join(code::name(code, &self.secret));
        match read(&path) {
            Ok(text) => {
                let offer = Offer::from_json(&serde_json::from_str(&text).ok()?)?;
                // Who takes the file away has the code.
                let is_ours = keyfile::remove(&path).inspect_err(|error| {
                    log::error!("a code cannot be taken, so it is not good: {error}");
                });
                (is_ours.ok()? && offer.is_open(&Moment::now())).then_some(offer)
            }
            Err(_) => self.take_claim_code(code),
        }
    }

    /// Whether it is the claim code, and the box has no host.
    fn is_claim(&self, code: &str) -> bool {
        let Ok(claim) = read(&self.folder.join(CLAIM_CODE)) else {
            return false;
        };
        if code::plain(&claim).len() < CLAIM_MIN {
            log::warn!(
                "the claim code is shorter than {CLAIM_MIN} letters and digits, and not used"
            );
            return false;
        }
        code::name(&claim, &self.secret) == code::name(code, &self.secret)
            && !self.folder.join(CLAIMED).exists()
    }

    fn take_claim_code(&self, code: &str) -> Option<Offer> {
        if !self.is_claim(code) || !self.claim() {
            return None;
        }
        Some(Offer {
            role: Role::Host,
            tracks: Vec::new(),
            life: Life {
                iat: None,
                exp: f64::MAX,
                made: None,
            },
            from: CLAIM_CODE.to_owned(),
        })
    }

    /// Notes that the box has a host. Whether it had none.
    fn claim(&self) -> bool {
        let noted = keyfile::create(&self.folder.join(CLAIMED), b"");
        match &noted {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                log::error!("that the box has a host cannot be noted: {error}");
            }
            _ => {}
        }
        if let Err(error) = keyfile::remove(&self.folder.join(CLAIM_CODE)) {
            log::warn!("the claim code is void, but its file cannot be taken away: {error}");
        }
        noted.is_ok()
    }
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    fs::read_to_string(path)
}

/// The code that makes the first host of a box, a new one if there is none; `None` once it has a host.
pub fn claim_code(folder: &Path) -> io::Result<Option<String>> {
    if folder.join(CLAIMED).exists() {
        return Ok(None);
    }
    let path = folder.join(CLAIM_CODE);
    if !path.exists() {
        let made = keyfile::create(&path, format!("{}\n", code::make()?).as_bytes());
        // Whoever was faster has made one as good.
        made.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
    }
    let claim = read(&path)?.trim().to_owned();
    if code::plain(&claim).len() < CLAIM_MIN {
        let reason =
            format!("the one that is there is shorter than {CLAIM_MIN} letters and digits");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(Some(claim))
}

/// Leaves a code in a state folder, for the rig that runs there now or later.
pub fn leave(folder: &Path, name: &str, offer: &Offer) -> io::Result<()> {
    let codes = folder.join(CODES);
    let made = fs::DirBuilder::new().mode(0o700).create(&codes);
    match made {
        Ok(()) => keyfile::give_to_owner_of(folder, &codes)?,
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    let now = Moment::now();
    let mut open = 0;
    for entry in fs::read_dir(&codes)? {
        let path = entry?.path();
        let text = read(&path).unwrap_or_default();
        let offer = Offer::from_json(&serde_json::from_str(&text).unwrap_or_default());
        if offer.is_some_and(|offer| offer.is_open(&now)) {
            open += 1;
        } else {
            keyfile::remove(&path)?;
        }
    }
    if open >= CODES_MAX {
        let reason = format!("{CODES_MAX} codes are open already; wait until one is used or over");
        return Err(io::Error::other(reason));
    }
    keyfile::create(&codes.join(name), offer.to_json().to_string().as_bytes())
}

/// Notes where the rig listens.
pub fn note_listening(folder: &Path, scheme: &str, addresses: &[SocketAddr]) -> io::Result<()> {
    let lines: Vec<String> = addresses
        .iter()
        .map(|address| format!("{scheme}://{address}\n"))
        .collect();
    keyfile::replace(&folder.join(LISTENING), lines.concat().as_bytes())
}

/// Where the rig listens, or did when it ran last: scheme and addresses.
pub fn listening(folder: &Path) -> Option<(String, Vec<SocketAddr>)> {
    let text = read(&folder.join(LISTENING)).ok()?;
    let mut scheme = None;
    let mut addresses = Vec::new();
    for line in text.lines() {
        let (of, address) = line.split_once("://")?;
        scheme = Some(of.to_owned());
        addresses.push(address.parse().ok()?);
    }
    Some((scheme?, addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let path = std::env::temp_dir().join(format!("rigd-vault-{}", uuid::Uuid::new_v4()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn guest() -> Offer {
        Offer {
            role: Role::Guest,
            tracks: Vec::new(),
            life: Life::new(code::LASTS, &Moment::now()),
            from: "test".to_owned(),
        }
    }

    fn take(vault: &Vault, code: &str) -> Option<Offer> {
        vault.take(code).unwrap().blocking_recv().unwrap()
    }

    #[test]
    fn a_code_in_the_folder_is_good_once_for_all_rigs_together() {
        let folder = Folder::new();
        let secret = Secret::open(&folder.0).unwrap();
        let rigs: Vec<Vault> = (0..2)
            .map(|_| Vault::start(folder.0.clone(), secret.clone(), true).unwrap())
            .collect();
        for round in 0..20 {
            let code = code::make().unwrap();
            let offer = guest();
            leave(&folder.0, &code::name(&code, &secret), &offer).unwrap();
            assert_eq!(take(&rigs[0], "AAAA-AAAA-AAAA"), None);
            let asked: Vec<_> = rigs.iter().map(|rig| rig.take(&code).unwrap()).collect();
            let taken: Vec<_> = asked
                .into_iter()
                .filter_map(|answer| answer.blocking_recv().unwrap())
                .collect();
            assert_eq!(taken, [offer], "round {round}");
        }
    }

    #[test]
    fn the_claim_code_makes_one_host() {
        let folder = Folder::new();
        let secret = Secret::open(&folder.0).unwrap();
        let vault = Vault::start(folder.0.clone(), secret.clone(), true).unwrap();
        let claim = folder.0.join(CLAIM_CODE);
        fs::write(&claim, "short\n").unwrap();
        assert_eq!(take(&vault, "short"), None);
        fs::write(&claim, "KARA-OKE2-6XYZ\n").unwrap();
        assert_eq!(take(&vault, "KARA-OKE2-6XY"), None);
        assert_eq!(take(&vault, "kara oke2 6xyz").unwrap().role, Role::Host);
        assert!(!claim.exists());
        fs::write(&claim, "KARA-OKE2-6XYZ\n").unwrap();
        assert_eq!(
            take(&vault, "KARA-OKE2-6XYZ"),
            None,
            "put there again or not"
        );
        let again = Vault::start(folder.0.clone(), secret, true).unwrap();
        assert_eq!(take(&again, "KARA-OKE2-6XYZ"), None);
    }

    #[test]
    fn another_secret_is_noticed_and_voids_codes() {
        let folder = Folder::new();
        let secret = Secret::open(&folder.0).unwrap();
        let vault = Vault::start(folder.0.clone(), secret.clone(), true).unwrap();
        leave(&folder.0, &code::name("AAAA", &secret), &guest()).unwrap();
        assert_eq!(vault.news(), None);
        let other = Secret::rotate(&folder.0).unwrap();
        assert_eq!(take(&vault, "AAAA"), None);
        assert_eq!(vault.news(), Some(News::Secret(other)));
        assert_eq!(vault.news(), None, "told once");
    }

    #[test]
    fn a_secret_that_could_not_be_kept_is_kept_when_the_disk_takes_it() {
        let folder = Folder::new();
        let later = folder.0.join("later");
        let secret = Secret::random().unwrap();
        let vault = Vault::start(later.clone(), secret.clone(), false).unwrap();
        assert_eq!(take(&vault, "AAAA"), None);
        assert_eq!(vault.news(), None);
        fs::create_dir(&later).unwrap();
        assert_eq!(take(&vault, "AAAA"), None);
        assert_eq!(vault.news(), Some(News::Kept));
        assert_eq!(Secret::read(&later).unwrap(), secret);
    }

    #[test]
    fn codes_in_the_folder_are_bounded_and_old_ones_make_room() {
        let folder = Folder::new();
        let old = Offer {
            life: Life::new(Duration::ZERO, &Moment::now()),
            ..guest()
        };
        for number in 0..10 {
            leave(&folder.0, &format!("old{number}"), &old).unwrap();
        }
        for number in 0..CODES_MAX {
            leave(&folder.0, &number.to_string(), &guest()).unwrap();
        }
        assert!(leave(&folder.0, "more", &guest()).is_err());
        assert_eq!(
            fs::read_dir(folder.0.join(CODES)).unwrap().count(),
            CODES_MAX
        );
    }

    #[test]
    fn where_the_rig_listens_can_be_read_again() {
        let folder = Folder::new();
        assert_eq!(listening(&folder.0), None);
        let addresses = vec!["0.0.0.0:8000".parse().unwrap(), "[::1]:9".parse().unwrap()];
        note_listening(&folder.0, "http", &addresses).unwrap();
        assert_eq!(listening(&folder.0), Some(("http".to_owned(), addresses)));
    }
}
