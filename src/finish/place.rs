//! The directory of the backup, and whether the backup is there already.

use std::path::{Path, PathBuf};

use super::FinishOptions;
use super::journal::FinishRecord;
use super::standing::SettledCutover;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::Manifest;
use crate::language::message;

/// The backup's directory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BackupPlace {
    /// Absolute, because the record and the certificate name the directory.
    pub directory: PathBuf,
    /// A complete backup of an interrupted run, if Landing's tables have not changed since.
    pub there: Option<Manifest>,
}

impl BackupPlace {
    /// Chooses the directory that the operator named, else the directory of an interrupted run, else a new
    /// directory.
    ///
    /// # Errors
    /// Refused when the slots may be gone and the recorded backup is not in its directory.
    pub fn choose(
        options: &FinishOptions,
        config: &Config,
        record: Option<&FinishRecord>,
        standing: &SettledCutover,
    ) -> Result<Self> {
        let named = options.backup.as_ref().map(|path| absolute(path)).transpose()?;
        let still = |record: &&FinishRecord| {
            record.dismantling.is_some() || record.reverse_applied == standing.reverse_applied
        };
        let Some(record) = record.filter(still) else {
            return Ok(BackupPlace { directory: named.map_or_else(|| by_default(config), Ok)?, there: None });
        };
        if let Some(directory) = named.filter(|named| *named != record.directory) {
            return Ok(BackupPlace { directory, there: None });
        }
        let directory = record.directory.clone();
        let there = Manifest::read(&directory)?.filter(|manifest| holds_all(manifest, config));
        if let Some(dismantling) = &record.dismantling
            && there.as_ref() != Some(&dismantling.manifest)
        {
            return Err(Error::refused(format!(
                "the backup that was taken before the slots were dropped is not in {} on this machine",
                directory.display()
            ))
            .remedy(message!("finish-remedy-backup-elsewhere")));
        }
        Ok(BackupPlace { directory, there })
    }
}

/// Whether the backup holds every table that is replicated now. Replication of notifications may have been
/// switched on since the backup.
fn holds_all(manifest: &Manifest, config: &Config) -> bool {
    let names = config.tables().into_iter().map(|table| config.names.landing_table(table));
    manifest.tables.iter().map(|file| file.table.clone()).eq(names)
}

/// A directory below the state directory, named by the time.
fn by_default(config: &Config) -> Result<PathBuf> {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    absolute(&config.state_dir.join("backups").join(format!("landing-{now}")))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::usage(format!("{} cannot be a directory: {error}", path.display()))
            .remedy(message!("finish-remedy-other-directory"))
    })
}
