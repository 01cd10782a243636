//! What was told, in a file of the state directory, so that a process that starts again repeats nothing.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::causes::Cause;
use crate::disk;

const FILE: &str = "alerts.json";
const FORMAT: u32 = 1;

/// The whole file. Bounded, because each cause stands in it once at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    pub standing: Vec<ToldCause>,
    /// Time of the last daily line.
    pub daily: Option<Timestamp>,
    /// The aborted cutover or rollback that was told last.
    pub aborted: Option<String>,
    /// Start of the process that runs; `None` after a process that ended in order.
    pub running: Option<Timestamp>,
}

/// A cause that was told and is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldCause {
    pub cause: Cause,
    pub since: Timestamp,
    pub told_at: Timestamp,
    pub times: u32,
    pub detail: String,
}

impl Record {
    /// The record of the last process; an empty one when there is none, or when it cannot be understood.
    pub fn read(state_dir: &Path) -> Record {
        let text = std::fs::read(file(state_dir)).unwrap_or_default();
        let read = serde_json::from_slice::<Record>(&text).ok();
        read.filter(|record| record.format == FORMAT).unwrap_or_default()
    }

    /// Replaces the file as a whole.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, state_dir: &Path) -> std::io::Result<()> {
        let record = Record { format: FORMAT, ..self.clone() };
        disk::replace(&file(state_dir), &serde_json::to_vec(&record)?)
    }
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_understood_is_no_record() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(place.path()), Record::default());
        let told = ToldCause {
            cause: Cause::Lag,
            since: Timestamp::UNIX_EPOCH,
            told_at: Timestamp::UNIX_EPOCH,
            times: 2,
            detail: "x".into(),
        };
        let record = Record { format: FORMAT, standing: vec![told], ..Record::default() };
        record.write(place.path()).unwrap();
        assert_eq!(Record::read(place.path()), record);
        std::fs::write(file(place.path()), b"{\"standing\": [{\"cau").unwrap();
        assert_eq!(Record::read(place.path()), Record::default());
        std::fs::write(file(place.path()), b"{\"format\": 2, \"standing\": []}").unwrap();
        assert_eq!(Record::read(place.path()), Record::default());
    }
}
