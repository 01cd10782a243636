//! The manifest of an export's directory, and the proof that the files match the manifest.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::directory::{self, MANIFEST};
use super::format::{Format, RowCounter};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::sha256;
use crate::model::side::Side;

/// Version of the files' and the manifest's format. A reader refuses other versions.
const FORMAT_VERSION: u32 = 2;

/// Content of `manifest.json`: names, counts and hashes; never a row's value, never a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    pub leadbridge_version: String,
    pub format: Format,
    /// The side that was read.
    pub side: Side,
    pub source: ExportSource,
    pub tables: Vec<TableFile>,
    /// Who may see what on Landing, for an import to compare with Traffic; null for an export of Traffic.
    #[serde(default)]
    pub access: serde_json::Value,
}

/// The database that was read, and the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportSource {
    /// Host and port as in the URL: `host:port`.
    pub host: String,
    pub database: String,
    pub server_version: String,
    /// Of the cluster; null where the role may not ask for it.
    pub system_identifier: Option<String>,
    /// Time by the server's clock. Everything visible at the time is in the files.
    pub taken_at: String,
    pub wal_position: Lsn,
}

/// The file of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    /// The table's name, qualified and quoted for SQL.
    pub table: String,
    /// Which of the replicated tables the table is, whatever its name.
    pub holds: Table,
    /// Name of the file in the manifest's directory.
    pub file: String,
    pub rows: u64,
    pub bytes: u64,
    /// Hash of the file, in hexadecimal.
    pub sha256: String,
    /// Whether a line of a CSV file begins with `\.`, which some versions take for the end of the data.
    #[serde(default)]
    pub has_end_marker: bool,
    /// The columns in the file, in the order of the file.
    pub columns: Vec<FileColumn>,
    /// The columns that PostgreSQL computes from the columns in the file. They are not in the file, because
    /// generated columns cannot be written back.
    pub generated: Vec<GeneratedColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileColumn {
    pub name: String,
    /// The type as in SQL, for example `character varying(255)`.
    #[serde(rename = "type")]
    pub sql_type: String,
    /// The sequence that numbers the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<ColumnSequence>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSequence {
    /// The sequence's name, qualified and quoted for SQL.
    pub name: String,
    pub increment: i64,
    pub least: i64,
    pub most: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedColumn {
    #[serde(flatten)]
    pub column: FileColumn,
    pub expression: String,
}

impl Manifest {
    pub(super) fn of(side: Side, source: ExportSource, format: Format) -> Self {
        Manifest {
            format_version: FORMAT_VERSION,
            leadbridge_version: env!("CARGO_PKG_VERSION").to_owned(),
            format,
            side,
            source,
            tables: Vec::new(),
            access: serde_json::Value::Null,
        }
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|error| Error::internal(error.to_string()))
    }

    /// Tells this export from every other.
    ///
    /// # Errors
    /// Internal when the manifest cannot be written as JSON.
    pub fn fingerprint(&self) -> Result<String> {
        Ok(sha256::hexadecimal(&Sha256::digest(self.to_json()?)))
    }

    /// Reads the manifest in `directory`; `None` without a complete export.
    ///
    /// # Errors
    /// Refused for a manifest that cannot be read, or that another version wrote in another format.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(MANIFEST);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(directory::failed("reading", &path, &error)),
        };
        let refuse = |why: String| {
            Error::refused(format!("{} is not a manifest of this version: {why}", path.display()))
                .remedy(message!("files-remedy-other-directory"))
        };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
        if manifest.format_version != FORMAT_VERSION {
            return Err(refuse(format!("format {}", manifest.format_version)));
        }
        let is_elsewhere = |file: &&TableFile| Path::new(&file.file).file_name() != Some(file.file.as_ref());
        if let Some(file) = manifest.tables.iter().find(is_elsewhere) {
            return Err(refuse(format!("{} is not a file of the directory", file.file)));
        }
        Ok(Some(manifest))
    }

    /// Reads every file back, and compares size, rows and hash with the manifest.
    ///
    /// # Errors
    /// Refused for a file that is missing, cannot be read, or differs.
    pub fn verify(&self, directory: &Path) -> Result<()> {
        self.tables.iter().try_for_each(|file| file.verify(self.format, directory))
    }
}

impl TableFile {
    fn verify(&self, format: Format, directory: &Path) -> Result<()> {
        let path = directory.join(&self.file);
        let failed = |error: std::io::Error| directory::failed("reading back", &path, &error);
        let mut file = File::open(&path).map_err(failed)?;
        let (mut hash, mut rows, mut bytes) = (Sha256::new(), RowCounter::new(format), 0u64);
        let mut piece = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut piece).map_err(failed)?;
            let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { break };
            hash.update(piece);
            rows.read(piece);
            bytes += read as u64;
        }
        let found = (bytes, rows.rows(), sha256::hexadecimal(&hash.finalize()));
        if found == (self.bytes, self.rows, self.sha256.clone()) {
            return Ok(());
        }
        Err(Error::refused(format!(
            "{} is not what was written: {} bytes, {} rows and SHA-256 {} instead of {}, {} and {}",
            path.display(),
            found.0,
            found.1,
            found.2,
            self.bytes,
            self.rows,
            self.sha256
        ))
        .remedy(message!("files-remedy-check-disk")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(sha256: &str) -> Manifest {
        let wal_position = Lsn(1);
        let text = |text: &str| text.to_owned();
        let source = ExportSource {
            host: text("h:5432"),
            database: text("d"),
            server_version: text("17"),
            system_identifier: None,
            taken_at: text("t"),
            wal_position,
        };
        let mut manifest = Manifest::of(Side::Landing, source, Format::Csv);
        manifest.tables.push(TableFile {
            table: text("t"),
            holds: Table::LandingLeads,
            file: text("t.csv"),
            rows: 1,
            bytes: 5,
            sha256: text(sha256),
            has_end_marker: false,
            columns: vec![FileColumn { name: text("a"), sql_type: text("text"), sequence: None }],
            generated: Vec::new(),
        });
        manifest
    }

    #[test]
    fn one_byte_more_less_or_other_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.csv");
        let manifest = manifest(&sha256::of("a\nxy\n"));
        assert!(manifest.verify(directory.path()).unwrap_err().to_string().contains("t.csv"));
        std::fs::write(&path, b"a\nxy\n").unwrap();
        manifest.verify(directory.path()).unwrap();
        for other in [&b"a\nxz\n"[..], b"a\nxy", b"a\nxy\n\n", b""] {
            std::fs::write(&path, other).unwrap();
            assert!(manifest.verify(directory.path()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_manifest_of_another_form_is_refused_and_none_is_no_export() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(directory.path()).unwrap(), None);
        let mut written = manifest("00");
        let write = |manifest: &Manifest| {
            std::fs::write(directory.path().join(MANIFEST), manifest.to_json().unwrap()).unwrap();
        };
        write(&written);
        assert_eq!(Manifest::read(directory.path()).unwrap().as_ref(), Some(&written));
        written.tables[0].file = "../t.csv".into();
        write(&written);
        assert!(Manifest::read(directory.path()).unwrap_err().to_string().contains("../t.csv"));
        written.format_version += 1;
        write(&written);
        assert!(Manifest::read(directory.path()).unwrap_err().to_string().contains("format 3"));
    }
}
