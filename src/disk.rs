//! Files and directories that only this user may read. leadbridge creates every file and directory of an
//! installation here, so that no umask decides who may read them.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

const FILE: u32 = 0o600;
const DIRECTORY: u32 = 0o700;

/// Suffix of a file's name while the file is being written.
const PARTIAL: &str = "partial";

/// Makes the directory, and the directories above it that do not exist. A directory that exists stays as it is.
pub fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(DIRECTORY).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(DIRECTORY))
}

/// Creates a file that does not exist yet. A symbolic link is not followed.
pub fn create_new(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE))?;
    Ok(file)
}

/// Name of a file while the file is being written.
pub fn partial(name: &str) -> String {
    format!("{name}.{PARTIAL}")
}

/// Writes a file as a whole. The file is durable when this function returns; a crash never leaves a part of the
/// file under its name.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(partial(&name));
    // A crash may have left the temporary file.
    fs::remove_file(&temporary).or_else(absent_is_fine)?;
    let mut file = create_new(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync(path.parent().unwrap_or(Path::new("")))
}

/// Flushes a directory: the names of its files are durable afterwards. An empty path is the current directory.
pub fn sync(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

/// Takes every right of other users from the directory itself.
pub fn close(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(DIRECTORY))
}

/// Whether another user than the owner has a right on the path.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Takes the rights of other users from the directory and from its files, where `is_ours` knows the names of all
/// of its files. A directory that holds anything else, such as `/tmp`, serves others as well: only our files in it
/// are changed. Returns whether the directory is closed to other users.
pub fn make_private(directory: &Path, is_ours: fn(&OsStr) -> bool) -> io::Result<bool> {
    let mut only_ours = true;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !is_ours(&entry.file_name()) {
            only_ours = false;
            continue;
        }
        let metadata = entry.metadata()?;
        let mode = if metadata.is_dir() { DIRECTORY } else { FILE };
        if !metadata.is_symlink() && metadata.mode() & 0o077 != 0 {
            fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
        }
    }
    if only_ours && is_open_to_others(directory)? {
        close(directory)?;
    }
    Ok(!is_open_to_others(directory)?)
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_created_belongs_to_one_user() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("a/b");
        create_dir(&directory).unwrap();
        assert_eq!((mode(&directory), mode(&place.path().join("a"))), (0o700, 0o700));
        let file = directory.join("file");
        replace(&file, b"one").unwrap();
        // What a crash has left, and a file that others may read.
        fs::write(directory.join("file.partial"), "half").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!((fs::read(&file).unwrap().as_slice(), mode(&file)), (&b"two"[..], 0o600));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        assert!(create_new(&file).is_err(), "it exists");
    }

    #[test]
    fn a_link_in_a_shared_directory_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let theirs = place.path().join("theirs");
        fs::write(&theirs, "precious").unwrap();
        std::os::unix::fs::symlink(&theirs, place.path().join("file.partial")).unwrap();
        replace(&place.path().join("file"), b"ours").unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"precious");
    }

    #[test]
    fn a_directory_of_ours_is_closed_and_a_shared_one_is_left_open() {
        let place = tempfile::tempdir().unwrap();
        let ours: fn(&OsStr) -> bool = |name| name == "db";
        let db = place.path().join("db");
        fs::write(&db, "x").unwrap();
        for path in [place.path(), &db] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(place.path().join("theirs"), "x").unwrap();
        assert!(!make_private(place.path(), ours).unwrap());
        assert_eq!((mode(place.path()), mode(&db)), (0o755, 0o600));
        fs::remove_file(place.path().join("theirs")).unwrap();
        assert!(make_private(place.path(), ours).unwrap());
        assert_eq!(mode(place.path()), 0o700);
    }
}
