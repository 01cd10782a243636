//! `leadbridge import`: the files of an export of Landing become rows of Traffic, through the mapping and the writer of
//! the snapshot. Landing itself is not asked.
//!
//! Everything is checked before anything is written: the manifest, the files' hashes, the columns, each row's form.
//! The place in the files is recorded on Traffic in the transaction of the rows, so a run after a crash or a signal
//! goes on after the last committed row. An import deletes nothing; the next snapshot of a daemon removes the rows
//! that Landing no longer has, as `resync` does.

mod admission;
mod columns;
mod source;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::checkpoint::{ImportPosition, ImportRecord, ImportedExport, ImportedRows, passthrough};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::{Manifest, restore_hint};
use crate::landing::left_out::LeftOut;
use crate::language::{Message, message};
use crate::mapping::Mapping;
use crate::model::change::{Origin, Table};
use crate::model::names::JOURNEY_NAMES;
use crate::model::same_id::SameId;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::{Database, Session};
use crate::quarantine::Quarantine;
use crate::traffic::own_values;
use columns::{DecidedColumns, Deciders, file_of};
use source::FileSource;

/// Number of leads that are looked up on Traffic at once.
const LOOKED_UP: usize = 5000;

/// The operator's choices.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    pub directory: PathBuf,
    /// Begin with the first row, whatever an earlier import has recorded.
    pub restart: bool,
}

/// How far the check or the writing of rows has come, for whoever shows it.
#[derive(Debug, Default)]
pub struct ImportProgress {
    /// Rows that are done, those of earlier runs included.
    pub done: AtomicU64,
    /// Rows to do; 0 until the files are known.
    pub expected: AtomicU64,
}

/// Result of [`prepare`].
pub enum PreparedImport {
    /// This export was imported before, whole.
    Done(Box<ImportReport>),
    Ready(Box<Import>),
}

/// An import that may begin or continue: all checks have passed, and no daemon can start while this value lives.
pub struct Import {
    planned: PlannedImport,
    /// The session that holds the lease.
    traffic: Session,
}

/// What is to be imported, and from where on.
struct PlannedImport {
    config: Config,
    directory: PathBuf,
    manifest: Manifest,
    export: ImportedExport,
    mapping: Mapping,
    left_out: Vec<LeftOut>,
    tables: Vec<Table>,
    keeps_own_values: bool,
    from: ImportPosition,
    before: ImportedRows,
    /// Whether an earlier run has written rows of this export.
    continues: bool,
}

/// Result of an import, and output of `--json`: names, counts and hashes; no row.
#[derive(Clone, Debug, Serialize)]
pub struct ImportReport {
    pub directory: PathBuf,
    pub manifest_sha256: String,
    /// The time of the export, by Landing's clock.
    pub taken_at: String,
    /// Whether every row is on Traffic or in quarantine.
    pub complete: bool,
    /// Rows of all files, and how many of them are done.
    pub rows: u64,
    pub rows_done: u64,
    pub rows_written: u64,
    pub rows_unchanged: u64,
    pub rows_quarantined: u64,
    /// Rows that wait in quarantine now, and values that the mapping had to change.
    pub quarantined: u64,
    pub conversion_notes: u64,
    /// Columns of the export that are not carried.
    pub left_out: Vec<LeftOut>,
}

/// Checks everything and writes nothing.
///
/// # Errors
/// Refused for an export that is not whole, not of Landing, damaged or of other columns; while replication runs or has
/// run into this Traffic; while another export is being imported; and for leads of Traffic's own with the ids of
/// Landing's leads, unless the configuration says whose values win.
pub async fn prepare(
    config: &Config,
    options: &ImportOptions,
    progress: &ImportProgress,
) -> Result<PreparedImport> {
    let directory = &options.directory;
    let manifest = exported(directory)?;
    let mut config = config.clone();
    name_journey(&mut config, &manifest);
    let (names, tables) = (&config.names, config.tables());
    for &table in &tables {
        file_of(&manifest, table)?;
    }
    let traffic = config.traffic.connect_to_write("import").await?;
    let database = Database::traffic(&traffic, names);
    admission::admit(database, (&config, &tables), &manifest).await?;
    let recorded = &passthrough::read(database).await?;
    let deciders = Deciders { names, tables: &tables, recorded, rules: &config.columns };
    let DecidedColumns { carried, left_out } = columns::decide(&manifest, deciders)?;
    let export = ImportedExport {
        manifest_sha256: manifest.fingerprint()?,
        directory: directory.display().to_string(),
        origin: origin(&manifest)?,
        columns: carried,
    };
    let record = ImportRecord::read(database).await?.filter(|_| !options.restart);
    let from = continued(record.as_ref(), &export, &tables)?;
    manifest.verify(directory)?;
    let mapping = export.columns.mapping();
    let has_own = own_values::are_there(database).await?;
    let planned = PlannedImport {
        directory: directory.clone(),
        from: from.unwrap_or(ImportPosition { table: Table::LandingLeads, offset: 0, rows: 0 }),
        before: record.as_ref().filter(|_| from.is_some()).map(|record| record.counts).unwrap_or_default(),
        continues: from.is_some(),
        keeps_own_values: has_own && config.same_id == SameId::Landing,
        manifest,
        export,
        mapping,
        left_out,
        tables,
        config,
    };
    let database = Database::traffic(&traffic, &planned.config.names);
    if let Some(record) = record.filter(|record| planned.continues && record.finished_at.is_some()) {
        let report = planned.report(database, (record.position.rows, record.counts, true)).await?;
        return Ok(PreparedImport::Done(Box::new(report)));
    }
    let refuses_own = has_own && planned.config.same_id == SameId::Refuse;
    progress.expected.store(planned.rows(), Ordering::Relaxed);
    planned.check_rows(database, refuses_own, progress).await?;
    Ok(PreparedImport::Ready(Box::new(Import { planned, traffic })))
}

/// The manifest of a whole export of Landing.
fn exported(directory: &Path) -> Result<Manifest> {
    let Some(manifest) = Manifest::read(directory)? else {
        return Err(Error::refused(format!(
            "{} holds no whole export: manifest.json is missing",
            directory.display()
        ))
        .remedy(message!("import-remedy-no-export")));
    };
    match manifest.side {
        Side::Landing => Ok(manifest),
        Side::Traffic => Err(Error::refused(format!(
            "{} is an export of Traffic, and an import takes rows of Landing through the mapping",
            directory.display()
        ))
        .remedy(Message::joined(
            [
                message!("import-remedy-read-with-psql"),
                // Statements for psql, the same in every language.
                Message::verbatim(restore_hint(&manifest, directory)),
            ],
            "\n",
        ))),
    }
}

/// Lets messages call the journey as the exported Landing does.
fn name_journey(config: &mut Config, manifest: &Manifest) {
    let file = manifest.tables.iter().find(|file| file.holds == Table::LeadJourney);
    let name = file.and_then(|file| Path::new(&file.file).file_stem()?.to_str());
    if let Some(name) = name.filter(|name| JOURNEY_NAMES.contains(name)) {
        config.settings.names.landing_journey = name.to_owned();
    }
}

fn origin(manifest: &Manifest) -> Result<Origin> {
    let source = &manifest.source;
    let commit_time = Timestamp::from_output(&source.taken_at).ok_or_else(|| {
        Error::refused("the manifest's `taken_at` is not a time")
            .remedy(message!("error-remedy-export-again"))
    })?;
    Ok(Origin { xid: None, commit_lsn: source.wal_position, commit_time })
}

/// Where an earlier import of the same export has stopped; `None` where a new import begins.
///
/// # Errors
/// Refused while another export, or this one with other columns, is not imported to its end; and for an export that is
/// older than the last one imported.
fn continued(
    record: Option<&ImportRecord>,
    export: &ImportedExport,
    tables: &[Table],
) -> Result<Option<ImportPosition>> {
    let Some(record) = record else { return Ok(None) };
    let is_same = record.export.manifest_sha256 == export.manifest_sha256;
    let has_same_columns = record.export.columns == export.columns;
    let from = &record.export.directory;
    let refuse =
        |what: String| Err(Error::refused(what).remedy(message!("import-remedy-other-first", from = from)));
    match (is_same, record.finished_at) {
        (true, _) if has_same_columns && tables.contains(&record.position.table) => Ok(Some(record.position)),
        (true, Some(_)) => Ok(None),
        (true, None) => refuse("this export is imported in part, with other tables or columns".to_owned()),
        (false, None) => refuse(format!("another export is imported in part: that of {from}")),
        (false, Some(_)) if record.export.origin.commit_time > export.origin.commit_time => {
            Err(Error::refused(format!("a newer export was imported before: that of {from}"))
                .remedy(message!("import-remedy-older")))
        }
        (false, Some(_)) => Ok(None),
    }
}

impl Import {
    /// What is about to be written, for the operator to agree to.
    pub fn plan(&self) -> String {
        self.planned.text()
    }

    /// Writes the rows. Ends between two batches once `stop` is cancelled; the next [`prepare`] goes on from there, as
    /// after a kill at any moment.
    ///
    /// # Errors
    /// Every error but a bad row, which goes to quarantine.
    pub async fn carry_out(
        self,
        progress: &ImportProgress,
        stop: &CancellationToken,
    ) -> Result<ImportReport> {
        let Import { planned, traffic } = self;
        writing::carry_out(&planned, traffic, (progress, stop)).await
    }
}

impl PlannedImport {
    fn source(&self, table: Table, offset: u64) -> Result<FileSource> {
        let file = file_of(&self.manifest, table)?;
        let place = (&*self.directory, self.manifest.format);
        FileSource::open(place, file, self.mapping.of(table), offset)
    }

    /// Number of rows to import, those of an earlier run included.
    fn rows(&self) -> u64 {
        let files = self.manifest.tables.iter().filter(|file| self.tables.contains(&file.holds));
        files.map(|file| file.rows).sum()
    }

    /// Reads every row of every file, so that a file that cannot be read to its end is refused before the first row
    /// is written.
    async fn check_rows(
        &self,
        traffic: Database<'_>,
        refuses_own: bool,
        progress: &ImportProgress,
    ) -> Result<()> {
        let mut own = 0;
        for &table in &self.tables {
            let mut source = self.source(table, 0)?;
            let asks = refuses_own && table == Table::LandingLeads;
            loop {
                let mut ids: Vec<Uuid> = Vec::new();
                while ids.len() < LOOKED_UP
                    && let Some(row) = source.next_row()?
                {
                    ids.push(row.id);
                }
                progress.done.fetch_add(ids.len() as u64, Ordering::Relaxed);
                if ids.is_empty() {
                    break;
                }
                if asks {
                    own += own_values::count_among(traffic, &ids).await?;
                }
                // The thread is given back, because reading does not wait.
                tokio::task::yield_now().await;
            }
        }
        match own {
            0 => Ok(()),
            leads => Err(Error::refused(format!(
                "leads on Traffic that leadbridge did not bring and that have the id of a lead in the export: {leads}"
            ))
            .remedy(message!("import-remedy-same-id", notes = self.config.names.own("conversion_notes")))),
        }
    }

    fn text(&self) -> String {
        let source = &self.manifest.source;
        let mut plan = format!(
            "The export of {} at {}, taken {}, is imported into {}:\n",
            source.database, source.host, source.taken_at, self.config.traffic
        );
        for file in self.manifest.tables.iter().filter(|file| self.tables.contains(&file.holds)) {
            plan += &format!("  {} rows of {} into {}\n", file.rows, file.file, file.holds.traffic_name());
        }
        let others = self.manifest.tables.iter().filter(|file| !self.tables.contains(&file.holds));
        for file in others {
            plan += &format!("  {} is left out: the configuration does not replicate the table\n", file.file);
        }
        for left_out in &self.left_out {
            plan += &format!("  not carried: {left_out}\n");
        }
        if self.continues {
            plan += &format!(
                "  an earlier run has stopped after {} rows: this run goes on there\n",
                self.from.rows
            );
        }
        plan += "Rows on Traffic with the same ids get Landing's values in the columns that Landing owns; nothing is \
                 deleted.";
        plan
    }

    async fn report(
        &self,
        traffic: Database<'_>,
        (rows_done, counts, complete): (u64, ImportedRows, bool),
    ) -> Result<ImportReport> {
        let Database { client, names, .. } = traffic;
        let (quarantined, conversion_notes) = Quarantine::count_beside_notes(client, names).await?;
        Ok(ImportReport {
            directory: self.directory.clone(),
            manifest_sha256: self.export.manifest_sha256.clone(),
            taken_at: self.manifest.source.taken_at.clone(),
            complete,
            rows: self.rows(),
            rows_done,
            rows_written: counts.written,
            rows_unchanged: counts.unchanged,
            rows_quarantined: counts.quarantined,
            quarantined,
            conversion_notes,
            left_out: self.left_out.clone(),
        })
    }
}
