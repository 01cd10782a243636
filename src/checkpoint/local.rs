//! The local store: a single record in sled, so that a start notices a restored Traffic.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::Identity;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::language::message;
use crate::model::lsn::Lsn;

const KEY: &str = "checkpoint";
const FORMAT: u32 = 1;
/// How long a start waits for the lock of the state directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The position last made durable on this machine. The store holds the directory's lock for as long as the
/// store lives, except while the disk takes no writes.
#[derive(Clone)]
pub struct LocalStore {
    /// `None` after an error: sled answers every later call with the same error, so the next use opens the
    /// store again.
    db: Arc<Mutex<Option<OpenStore>>>,
    path: PathBuf,
}

/// The store while this process holds the lock.
struct OpenStore {
    db: sled::Db,
    /// Record that was last made durable, so that a write need not read the store. `None` until the first
    /// write, and after an error, which closes the store: then the record on the disk is read.
    flushed: Option<(Identity, Lsn)>,
}

/// The local store, and the identity under which a run writes positions.
#[derive(Clone)]
pub struct LocalPosition {
    pub store: LocalStore,
    pub identity: Identity,
}

impl LocalPosition {
    /// [`LocalStore::advance`] on a blocking thread, because an fsync may take long and must not block the
    /// runtime's threads.
    pub async fn advance(&self, applied_lsn: Lsn) -> Result<()> {
        let LocalPosition { store, identity } = self.clone();
        tokio::task::spawn_blocking(move || store.advance(&identity, applied_lsn))
            .await
            .map_err(|error| Error::internal(format!("writing the local store: {error}")))?
    }
}

#[derive(Serialize, Deserialize)]
struct LocalRecord {
    format: u32,
    #[serde(flatten)]
    identity: Identity,
    applied_lsn: Lsn,
}

impl LocalStore {
    /// Opens the store in `directory`, or creates the store.
    ///
    /// # Errors
    /// `Refused` when another daemon holds the store, or the store is not writable or damaged. A full disk is
    /// not an error yet: the next use opens the store.
    pub fn open(directory: &Path) -> Result<Self> {
        let db = match open(directory) {
            Ok(db) => Some(OpenStore { db, flushed: None }),
            Err(sled::Error::Io(cause)) if passes(&cause).is_some() => None,
            Err(error) => return Err(open_error(directory, &error)),
        };
        Ok(LocalStore { db: Arc::new(Mutex::new(db)), path: directory.to_owned() })
    }

    /// [`LocalStore::open`], after waiting for at most two seconds while another process holds the lock: the
    /// kernel releases the lock of a killed process a moment after the process is gone for its parent.
    ///
    /// # Errors
    /// Those of [`LocalStore::open`].
    pub async fn open_when_free(directory: &Path) -> Result<Self> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        while Self::is_held(directory) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self::open(directory)
    }

    /// Runs `work` on the store. Opens the store before, if an earlier error has closed the store.
    fn with<T>(&self, doing: &str, work: impl FnOnce(&mut OpenStore) -> sled::Result<T>) -> Result<T> {
        let mut open_store = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let mut store = match open_store.take() {
            Some(store) => store,
            None => {
                let db = open(&self.path).map_err(|error| self.reopen_error(doing, &error))?;
                OpenStore { db, flushed: None }
            }
        };
        let done = work(&mut store).map_err(|error| self.error(doing, &error))?;
        *open_store = Some(store);
        Ok(done)
    }

    /// Whether a process has the store in `directory` open. The lock ends with its process.
    pub fn is_held(directory: &Path) -> bool {
        let Ok(file) = OpenOptions::new().read(true).write(true).open(directory.join("db")) else {
            return false;
        };
        // The lock taken here is released at once, when the value that holds the lock is dropped.
        matches!(Flock::lock(file, FlockArg::LockExclusiveNonblock), Err((_, Errno::EWOULDBLOCK)))
    }

    /// Identity and position of the last [`LocalStore::advance`]; `None` in a new or cleared store.
    pub fn read(&self) -> Result<Option<(Identity, Lsn)>> {
        let Some(bytes) = self.with("reading", |store| store.db.get(KEY))? else {
            return Ok(None);
        };
        let record: LocalRecord =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(&error.to_string()))?;
        if record.format != FORMAT {
            return Err(self.damaged(&format!("format {}, this version knows {FORMAT}", record.format)));
        }
        Ok(Some((record.identity, record.applied_lsn)))
    }

    /// Writes the position and flushes the position to the disk. Blocks for the length of an fsync. A
    /// position that does not lie after the stored position changes nothing: only [`LocalStore::clear`] makes
    /// the store accept an earlier position.
    pub fn advance(&self, identity: &Identity, applied_lsn: Lsn) -> Result<()> {
        let flushed = match self.with("reading", |store| Ok(store.flushed.clone()))? {
            Some(flushed) => Some(flushed),
            None => self.read()?,
        };
        if flushed.is_some_and(|(known, at)| known == *identity && at >= applied_lsn) {
            return Ok(());
        }
        let record = LocalRecord { format: FORMAT, identity: identity.clone(), applied_lsn };
        let bytes = serde_json::to_vec(&record).map_err(|error| Error::internal(error.to_string()))?;
        self.with("writing", |store| {
            store.db.insert(KEY, bytes)?;
            reach(Point::StoreWritten);
            store.db.flush()?;
            store.flushed = Some((identity.clone(), applied_lsn));
            Ok(())
        })
    }

    /// Forgets the position, because a new snapshot makes every earlier position meaningless.
    pub fn clear(&self) -> Result<()> {
        self.with("clearing", |store| {
            store.flushed = None;
            store.db.remove(KEY)?;
            store.db.flush().map(drop)
        })
    }

    fn reopen_error(&self, doing: &str, error: &sled::Error) -> Error {
        match error {
            // Transient, because the closed store's lock ends within a moment.
            sled::Error::Io(cause) if is_lock(cause) => Error::new(
                Kind::Transient,
                format!("{doing} the state directory {}: another process uses it", self.path.display()),
            )
            .remedy(message!("checkpoint-remedy-state-dir-shared")),
            _ => self.error(doing, error),
        }
    }

    fn error(&self, doing: &str, error: &sled::Error) -> Error {
        if let sled::Error::Io(cause) = error
            && let Some(why) = passes(cause)
        {
            return Error::new(
                Kind::Transient,
                format!("{doing} the state directory {}: {why}", self.path.display()),
            )
            .remedy(message!("checkpoint-remedy-state-dir-full"));
        }
        Error::refused(format!("{doing} the state directory {}: {error}", self.path.display()))
            .remedy(message!("checkpoint-remedy-state-dir-failed"))
    }

    fn damaged(&self, why: &str) -> Error {
        Error::refused(format!("{} is not a state directory of leadbridge: {why}", self.path.display()))
            .remedy(message!("checkpoint-remedy-state-dir-foreign"))
    }
}

fn open(directory: &Path) -> sled::Result<sled::Db> {
    // Before sled does, who leaves the directory's mode to the umask.
    disk::create_dir(directory)?;
    // The record is a hundred bytes: sled's default cache of 1 GiB would be absurd.
    let db = sled::Config::new().path(directory).cache_capacity(1 << 20).flush_every_ms(None).open()?;
    match disk::make_private(directory, is_ours) {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!(
                "the state directory {} is open to other users of this machine",
                directory.display()
            );
        }
        Err(error) => {
            let place = directory.display();
            tracing::warn!(%error, "the state directory {place} cannot be closed to other users of this machine");
        }
    }
    Ok(db)
}

/// Whether leadbridge or sled may have created a file of this name in a state directory.
fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["db", "conf", "blobs", "lost+found"].contains(&&*name)
        || ["snap.", "last_error.", "alerts.", ".doctor."].iter().any(|beginning| name.starts_with(beginning))
}

fn is_lock(cause: &io::Error) -> bool {
    cause.to_string().contains("could not acquire lock")
}

/// Describes an error that may go away without a change of the configuration; `None` for other errors. sled
/// repeats an error as text and loses the error's number; the error's kind stays.
fn passes(cause: &io::Error) -> Option<&'static str> {
    let (kind, text) = (cause.kind(), cause.to_string());
    let number = |errno: Errno| {
        cause.raw_os_error() == Some(errno as i32) || text.contains(&format!("code: {},", errno as i32))
    };
    match kind {
        io::ErrorKind::StorageFull => Some("no space is left on its disk"),
        io::ErrorKind::QuotaExceeded => Some("the quota of the daemon's user is used up"),
        io::ErrorKind::FileTooLarge => Some("no file may grow any further (ulimit -f)"),
        io::ErrorKind::OutOfMemory => Some("no memory is left"),
        _ if number(Errno::EIO) => Some("its disk reports an error (EIO)"),
        _ if number(Errno::EMFILE) || number(Errno::ENFILE) => Some("no file descriptor is left"),
        _ => None,
    }
}

fn open_error(directory: &Path, error: &sled::Error) -> Error {
    let place = directory.display();
    match error {
        sled::Error::Io(cause) if is_lock(cause) => {
            Error::refused(format!("another leadbridge uses the state directory {place}"))
                .remedy(message!("checkpoint-remedy-state-dir-in-use"))
        }
        sled::Error::Io(cause) => {
            Error::refused(format!("the state directory {place} cannot be used: {cause}"))
                .remedy(message!("checkpoint-remedy-state-dir-closed"))
        }
        other => Error::refused(format!("the state directory {place} cannot be opened: {other}"))
            .remedy(message!("checkpoint-remedy-state-dir-foreign")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn identity(slot: &str) -> Identity {
        Identity {
            landing_system_id: "7".into(),
            landing_database: "landing".into(),
            slot: slot.into(),
            publication: "p".into(),
        }
    }

    /// Opens the store again, with patience: a child process of another test shares the lock of a file open
    /// at the fork, until the child's exec closes the file.
    fn reopened(directory: &Path) -> LocalStore {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match LocalStore::open(directory) {
                Ok(store) => return store,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_position_survives_closing_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::open(directory.path()).unwrap();
        assert_eq!(store.read().unwrap(), None);
        store.advance(&identity("a"), Lsn(1)).unwrap();
        store.advance(&identity("a"), Lsn(0x1_0000_0002)).unwrap();
        store.advance(&identity("a"), Lsn(0x1_0000_0001)).unwrap();
        drop(store);
        let store = reopened(directory.path());
        assert_eq!(store.read().unwrap(), Some((identity("a"), Lsn(0x1_0000_0002))));
        store.clear().unwrap();
        assert_eq!(store.read().unwrap(), None);
    }

    #[test]
    fn a_disk_that_takes_no_writes_for_a_while_is_told_from_one_that_never_will() {
        for (errno, transient) in [
            (Errno::ENOSPC, true),
            (Errno::EDQUOT, true),
            (Errno::EFBIG, true),
            (Errno::EIO, true),
            (Errno::EMFILE, true),
            (Errno::EACCES, false),
            (Errno::EROFS, false),
            (Errno::ENOTDIR, false),
        ] {
            let cause = io::Error::from_raw_os_error(errno as i32);
            assert_eq!(passes(&cause).is_some(), transient, "{cause}");
            // The form in which sled gives the error to every call after the first.
            let repeated = io::Error::new(cause.kind(), format!("{cause:?}"));
            assert_eq!(passes(&repeated).is_some(), transient, "{repeated}");
        }
    }

    #[test]
    fn a_second_daemon_is_told_who_holds_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let _first = LocalStore::open(directory.path()).unwrap();
        let error = LocalStore::open(directory.path()).err().expect("locked");
        assert!(error.message().contains("another leadbridge"), "{error}");
    }

    #[test]
    fn a_path_that_is_a_file_is_refused_with_a_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = LocalStore::open(file.path()).err().expect("not a directory");
        assert!(error.to_string().contains("LEADBRIDGE_STATE_DIR"), "{error}");
    }
}
