//! Small files that nobody else may read: written whole or not at all, and on disk when they are there.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

/// Writes one in the place of the one that is there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, |made| fs::rename(made, path))
}

/// Writes one where there is none; `AlreadyExists` when there is, whoever was faster.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, |made| {
        let linked = fs::hard_link(made, path);
        fs::remove_file(made)?;
        linked
    })
}

/// Takes one away. Says whether it was this call that did.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Root may have been asked to make what the rig, as somebody else, is to read.
pub fn give_to_owner_of(folder: &Path, made: &Path) -> io::Result<()> {
    let owner = fs::metadata(folder)?;
    if rustix::process::geteuid().is_root() && owner.uid() != 0 {
        chown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

fn put(path: &Path, bytes: &[u8], place: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let made = path.with_extension(format!("new-{}", uuid::Uuid::new_v4()));
    let written = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&made)?;
        if let Some(folder) = path.parent() {
            give_to_owner_of(folder, &made)?;
        }
        file.write_all(bytes)?;
        file.sync_all()
    };
    if let Err(error) = written().and_then(|()| place(&made)) {
        // What was not put in its place is of no use to anybody.
        let _ = fs::remove_file(&made);
        return Err(error);
    }
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_made_once_for_us_alone_and_leaves_nothing_beside_it() {
        let folder = std::env::temp_dir().join(format!("rigd-keyfile-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("a.key");
        create(&path, b"one").unwrap();
        let again = create(&path, b"two").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap(), "and taken away once");
        fs::remove_dir_all(folder).unwrap();
    }
}
