//! The local store: one record in sled, so that a restored Traffic is noticed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Identity;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::lsn::Lsn;

const KEY: &str = "checkpoint";
const FORMAT: u32 = 1;

/// The position last made durable here. Holds the directory's lock for as long as it lives.
#[derive(Clone)]
pub struct LocalStore {
    db: sled::Db,
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    #[serde(flatten)]
    identity: Identity,
    applied_lsn: Lsn,
}

impl LocalStore {
    /// Opens, or makes, the store in `directory`.
    ///
    /// # Errors
    /// Refused when another daemon holds it, when it cannot be written, or when it is damaged.
    pub fn open(directory: &Path) -> Result<Self> {
        // The record is a hundred bytes: sled's default cache of 1 GiB would be absurd.
        let config = sled::Config::new().path(directory).cache_capacity(1 << 20).flush_every_ms(None);
        let db = config.open().map_err(|error| open_error(directory, &error))?;
        Ok(LocalStore { db, path: directory.to_owned() })
    }

    /// The identity and position of the last [`LocalStore::advance`]; `None` in a new store.
    pub fn read(&self) -> Result<Option<(Identity, Lsn)>> {
        let Some(bytes) = self.db.get(KEY).map_err(|error| self.error("reading", &error))? else {
            return Ok(None);
        };
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(&error.to_string()))?;
        if record.format != FORMAT {
            return Err(self.damaged(&format!("format {}, this version knows {FORMAT}", record.format)));
        }
        Ok(Some((record.identity, record.applied_lsn)))
    }

    /// Writes the position and flushes it to the disk. Blocks for the length of an fsync. A position that does not
    /// lie after the one that is there changes nothing: only [`LocalStore::clear`] forgets that.
    pub fn advance(&self, identity: &Identity, applied_lsn: Lsn) -> Result<()> {
        if self.read()?.is_some_and(|(known, at)| known == *identity && at >= applied_lsn) {
            return Ok(());
        }
        let record = Record { format: FORMAT, identity: identity.clone(), applied_lsn };
        let bytes = serde_json::to_vec(&record).map_err(|error| Error::internal(error.to_string()))?;
        let written = self.db.insert(KEY, bytes).and_then(|_| {
            reach(Point::StoreWritten);
            self.db.flush()
        });
        written.map(|_| ()).map_err(|error| self.error("writing", &error))
    }

    /// Forgets the position: a new snapshot begins, which makes every earlier position meaningless.
    pub fn clear(&self) -> Result<()> {
        let cleared = self.db.remove(KEY).and_then(|_| self.db.flush());
        cleared.map(|_| ()).map_err(|error| self.error("clearing", &error))
    }

    fn error(&self, doing: &str, error: &sled::Error) -> Error {
        Error::refused(format!("{doing} the state directory {}: {error}", self.path.display())).remedy(
            "check its disk and permissions; its content may be deleted, Traffic has the position too",
        )
    }

    fn damaged(&self, why: &str) -> Error {
        Error::refused(format!("the state directory {} is not one of ours: {why}", self.path.display()))
            .remedy(
                "point LEADBRIDGE_STATE_DIR elsewhere, or empty the directory: Traffic has the position too",
            )
    }
}

fn open_error(directory: &Path, error: &sled::Error) -> Error {
    let place = directory.display();
    match error {
        sled::Error::Io(cause) if cause.to_string().contains("could not acquire lock") => {
            Error::refused(format!("another leadbridge uses the state directory {place}"))
                .remedy("stop it, or give this one its own LEADBRIDGE_STATE_DIR: it then stands by")
        }
        sled::Error::Io(cause) => Error::refused(format!(
            "the state directory {place} cannot be used: {cause}"
        ))
        .remedy("make it a directory that this user can write, or point LEADBRIDGE_STATE_DIR elsewhere"),
        other => Error::refused(format!("the state directory {place} cannot be opened: {other}")).remedy(
            "point LEADBRIDGE_STATE_DIR elsewhere, or empty the directory: Traffic has the position too",
        ),
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

    /// A child of another test shares the lock of what was open when it was forked, until its exec closes it.
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
