//! The directory of one export: private, and without a manifest until the export is complete.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::format::Format;
use crate::disk::{self, partial};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::names::JOURNEY_NAMES;
use crate::model::side::Side;
use crate::postgres::Database;

pub(super) const MANIFEST: &str = "manifest.json";

/// A claimed directory. Until the export is complete, an empty `manifest.json.partial` marks the directory as
/// an export's.
pub struct Directory {
    path: PathBuf,
    /// Format of the tables' files.
    format: Format,
}

impl Directory {
    /// Makes the directory, or takes an empty directory, or removes the files of an interrupted export.
    ///
    /// # Errors
    /// Refused when the directory holds anything else, or cannot be written to.
    pub fn claim(path: &Path, format: Format) -> Result<Self> {
        let directory = Directory { path: path.to_owned(), format };
        disk::create_dir(path).map_err(|error| failed("making", path, &error))?;
        let found = directory.entries()?;
        let marker = partial(MANIFEST);
        if !found.is_empty() {
            let interrupted =
                found.iter().any(|name| *name == *marker) && found.iter().all(|name| is_ours(name));
            if !interrupted {
                return Err(Error::refused(format!("{} is not empty", path.display()))
                    .remedy(message!("files-remedy-not-empty")));
            }
            tracing::info!("{} holds an interrupted export: it is restarted", path.display());
            for name in found.iter().filter(|name| **name != *marker) {
                let path = path.join(name);
                fs::remove_file(&path).map_err(|error| failed("removing", &path, &error))?;
            }
        }
        disk::close(path).map_err(|error| failed("making private", path, &error))?;
        let marker = path.join(marker);
        disk::replace(&marker, b"").map_err(|error| failed("writing", &marker, &error))?;
        directory.sync()?;
        // The directory itself may be new, so the entry in the parent is flushed, too.
        sync(path.parent().unwrap_or(Path::new("")))?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Creates a file, under a temporary name until [`Directory::keep`].
    pub(super) fn create(&self, name: &str) -> Result<File> {
        let path = self.path.join(partial(name));
        disk::create_new(&path).map_err(|error| failed("writing", &path, &error))
    }

    /// Gives a file its final name. The file must be flushed to disk before.
    pub(super) fn keep(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        let renamed = fs::rename(self.path.join(partial(name)), &path);
        renamed.map_err(|error| failed("naming", &path, &error))?;
        self.sync()
    }

    /// Writes the manifest: from here on the export is complete.
    pub(super) fn complete(self, manifest: &[u8]) -> Result<()> {
        let path = self.path.join(MANIFEST);
        disk::replace(&path, manifest).map_err(|error| failed("writing", &path, &error))
    }

    fn sync(&self) -> Result<()> {
        sync(&self.path)
    }

    fn entries(&self) -> Result<Vec<std::ffi::OsString>> {
        let names = fs::read_dir(&self.path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        names.map_err(|error| failed("listing", &self.path, &error))
    }
}

fn sync(directory: &Path) -> Result<()> {
    disk::sync(directory).map_err(|error| failed("flushing", directory, &error))
}

/// Whether an interrupted export may have left a file with this name. No other file is ever removed.
fn is_ours(name: &OsStr) -> bool {
    let formats = [Format::Csv, Format::Jsonl];
    let landing = Table::ALL.map(Table::label).into_iter().chain(JOURNEY_NAMES);
    let tables = landing.chain(Table::ALL.map(Table::traffic_name));
    let files = tables.flat_map(|table| formats.map(|format| format!("{table}.{format}")));
    files.chain([MANIFEST.to_owned()]).any(|file| {
        // A manifest under its final name belongs to a complete export.
        name == OsStr::new(&partial(&file)) || (file != MANIFEST && name == OsStr::new(&file))
    })
}

/// Name of a table's file. A configured name is not used, because the name may hold any character: the manifest
/// has the name.
pub(super) fn file_name(database: Database<'_>, table: Table, format: Format) -> String {
    let name = match database.side {
        Side::Traffic => table.traffic_name(),
        Side::Landing => match database.names.landing_name(table) {
            name if JOURNEY_NAMES.contains(&name) => name,
            _ => table.label(),
        },
    };
    format!("{name}.{format}")
}

pub(crate) fn failed(doing: &str, path: &Path, error: &io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull => message!("files-remedy-disk-full"),
        io::ErrorKind::PermissionDenied => message!("files-remedy-not-permitted"),
        io::ErrorKind::NotFound => message!("files-remedy-not-found"),
        _ => message!("files-remedy-failed"),
    };
    Error::refused(format!("{doing} {}: {error}", path.display())).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_export_is_private_and_whole_only_with_its_manifest() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let directory = Directory::claim(&path, Format::Csv).unwrap();
        directory.create("landing_leads.csv").unwrap().sync_all().unwrap();
        directory.keep("landing_leads.csv").unwrap();
        assert!(!path.join(MANIFEST).exists());
        directory.complete(b"{}").unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("landing_leads.csv")), 0o600);
        assert_eq!(mode(&path.join(MANIFEST)), 0o600);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
        assert!(Directory::claim(&path, Format::Csv).is_err(), "a whole export is never restarted");
    }

    #[test]
    fn what_an_interrupted_export_left_is_cleared_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path();
        let directory = Directory::claim(path, Format::Csv).unwrap();
        directory.create("landing_leads.csv").unwrap();
        fs::write(path.join("lead_journey.csv"), "x").unwrap();
        fs::write(path.join("journey_stages.csv"), "x").unwrap();
        Directory::claim(path, Format::Csv).unwrap();
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);

        let theirs = path.join("notes.txt");
        fs::write(&theirs, "x").unwrap();
        let error = Directory::claim(path, Format::Csv).err().unwrap();
        assert!(error.to_string().contains("not empty") && error.remedy_text().is_some());
        assert!(theirs.exists());
    }

    #[test]
    fn a_place_that_is_no_directory_is_refused_with_its_name() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below"), PathBuf::from("/proc/self/export")] {
            let error = Directory::claim(&path, Format::Csv).err().unwrap();
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
            assert!(error.remedy_text().is_some());
        }
    }
}
