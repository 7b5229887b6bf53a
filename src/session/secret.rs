//! The rig's secret: what tokens are signed with, in a file of the state folder. It is text, and the
//! text is the key, so that other tools can sign with it too.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::keyfile;
use crate::provenance::daid::hex;

/// The secret's name in the state folder.
pub const FILE: &str = "tokens.key";
/// Shorter ones could be guessed.
const BYTES_MIN: usize = 32;
const BYTES_MAX: u64 = 4096;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// One that nobody knows.
    pub fn random() -> io::Result<Secret> {
        let mut bytes = [0; BYTES_MIN];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Secret(hex(&bytes).into_bytes()))
    }

    /// Reads it; makes it, for this user's eyes only, where there is none.
    pub fn open(folder: &Path) -> io::Result<Secret> {
        match Secret::read(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match Secret::random()?.keep(folder) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => Secret::read(folder),
                }
            }
            read => read,
        }
    }

    /// Puts it into a folder where there is none.
    pub fn keep(&self, folder: &Path) -> io::Result<()> {
        keyfile::create(&folder.join(FILE), &self.0)
    }

    /// Reads it.
    pub fn read(folder: &Path) -> io::Result<Secret> {
        let path = folder.join(FILE);
        let fault = |what: &str| {
            let reason = format!("{} {what}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, reason)
        };
        if fs::metadata(&path)?.len() > BYTES_MAX {
            return Err(fault("is too long for a secret"));
        }
        let bytes = fs::read(&path)?.trim_ascii().to_vec();
        if bytes.len() < BYTES_MIN {
            return Err(fault("is too short for a secret"));
        }
        Ok(Secret(bytes))
    }

    /// Puts another one in its place: whatever was signed with the old one is worth nothing.
    pub fn rotate(folder: &Path) -> io::Result<Secret> {
        let secret = Secret::random()?;
        keyfile::replace(&folder.join(FILE), &secret.0)?;
        Ok(secret)
    }

    /// The key itself.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A name for something that must not be guessed: only who has the secret can make it, and it tells
    /// nothing of what it is made of.
    pub fn name(&self, what: &str, of: &str) -> String {
        let mut mac = self.mac();
        mac.update(what.as_bytes());
        mac.update(b"\n");
        mac.update(of.as_bytes());
        hex(&mac.finalize().into_bytes())
    }

    /// HMAC-SHA256 with the secret.
    pub fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("an HMAC takes a key of any length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_changed_when_asked_and_never_shown() {
        let folder = std::env::temp_dir().join(format!("rigd-secret-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let first = Secret::open(&folder).unwrap();
        assert_eq!(Secret::open(&folder).unwrap(), first);
        let second = Secret::rotate(&folder).unwrap();
        assert_ne!(second, first);
        assert_eq!(Secret::open(&folder).unwrap(), second);
        assert_eq!(format!("{second:?}"), "Secret");
        fs::write(folder.join(FILE), "short\n").unwrap();
        assert!(Secret::open(&folder).is_err(), "a bad one is not replaced");
        fs::remove_dir_all(folder).unwrap();
    }
}
