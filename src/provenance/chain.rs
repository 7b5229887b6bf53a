//! What makes tampering evident: every row carries a hash over itself and the row before it, and the
//! newest row's hash and the number of rows are kept apart, under a key that is not in the database.

use std::fs;
use std::io;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::daid::hex;
use crate::keyfile;

/// What the first row is chained to.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const KEY_BYTES: usize = 32;

/// The chain hash of a row: SHA-256 over the hash before it, a line feed, and the row's columns as
/// canonical JSON.
pub fn link(before: &str, columns: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(before.as_bytes());
    hash.update(b"\n");
    hash.update(columns.as_bytes());
    hex(&hash.finalize())
}

/// The rig's own key.
#[derive(Clone)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// Reads it; makes it, for this user's eyes only, where there is none.
    pub fn open(path: &Path) -> io::Result<Key> {
        match Key::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Key::make(path),
            read => read,
        }
    }

    /// Reads it.
    pub fn read(path: &Path) -> io::Result<Key> {
        fs::read(path)?.try_into().map(Key).map_err(|_| {
            let reason = format!("{} does not hold {KEY_BYTES} bytes", path.display());
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }

    fn make(path: &Path) -> io::Result<Key> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        match keyfile::create(path, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Key::read(path),
            made => made.map(|()| Key(bytes)),
        }
    }

    /// The code that only this rig can make.
    pub fn seal(&self, text: &str) -> String {
        // A key of any length will do.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(text.as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_for_us_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("rigd-key-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("log.key");
        let first = Key::open(&path).unwrap();
        let again = Key::open(&path).unwrap();
        assert_eq!(first.seal("x"), again.seal("x"));
        assert_ne!(first.seal("x"), first.seal("y"));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, b"short").unwrap();
        assert!(Key::open(&path).is_err(), "a broken key is not replaced");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_link_depends_on_all_before_it() {
        let first = link(GENESIS, "[1,\"a\"]");
        assert_eq!(first.len(), 64);
        assert_ne!(first, link(GENESIS, "[1,\"b\"]"));
        assert_ne!(link(&first, "[2]"), link(GENESIS, "[2]"));
    }
}
