//! Repair: writes rows that differ as Landing has them, through the mapping and the writer of the stream.
//!
//! A repair by the command needs the lease, because a daemon could apply a row's delete between the repair's read on Landing
//! and its write on Traffic, and the repair would bring the row back. After a repair the stream may for a
//! moment apply an older version of a repaired row; the stream's last change of a row is always Landing's
//! current row. The daemon repairs by itself too, through its applier (`replication::repair`).

use std::sync::Arc;

use uuid::Uuid;

use crate::batch::Batch;
use crate::capture::layout::Layout;
use crate::checkpoint::own_schema::{self, Extent};
use crate::checkpoint::{ReplicatedSettings, lease, refuse_switched};
use crate::config::{Config, Settings};
use crate::error::{Error, Result};
use crate::landing::{catalog, reading};
use crate::language::{Message, message};
use crate::mapping::TableMapping;
use crate::model::budget::Budget;
use crate::model::change::{Change, Operation, Origin, SourcedChange, Table};
use crate::model::names::Names;
use crate::postgres::{Database, Databases, Session, wal};
use crate::traffic::{RowCounts, Supplied, Touch, Writer, WriterSettings};

fn after_the_switch() -> Message {
    message!("compare-remedy-repair-switched")
}

/// Holds the lease for as long as the value lives.
pub struct Repair {
    config: Config,
    traffic: Session,
}

impl Repair {
    /// Refused while a daemon holds the lease, and after a cutover.
    pub async fn begin(config: &Config) -> Result<Self> {
        let traffic = config.traffic.connect_to_write("repair").await?;
        let database = Database::traffic(&traffic, &config.names);
        own_schema::enter(database, &config.landing, Extent::Present).await?;
        refuse_switched(&traffic, &config.names, after_the_switch()).await?;
        ReplicatedSettings::new(&config.names, &config.tables(), &config.columns)
            .refuse_other(Database::traffic(&traffic, &config.names))
            .await?;
        let lease = lease::take_soon(Database::traffic(&traffic, &config.names)).await?;
        if !lease.is_taken() {
            return Err(Error::refused(format!("a daemon applies for this slot: {}", lease.holder()))
                .remedy(message!("compare-remedy-daemon-runs")));
        }
        Ok(Repair { config: config.clone(), traffic })
    }

    /// Writes the current Landing version of the given rows to Traffic. Tables must be in the order of
    /// [`Table::ALL`]. Returns the counts of written and quarantined rows.
    pub async fn rows(self, differing: &[(Table, &[Uuid])]) -> Result<RowCounts> {
        let config = &self.config;
        let landing = config.landing.connect("repair").await?;
        let (names, tables) = (&config.names, config.tables());
        let databases = Databases { landing: &landing, traffic: &self.traffic, names };
        let mapping = catalog::mapping(databases, &tables).await?;
        let settings = WriterSettings {
            mapping: &mapping,
            tables: &tables,
            touch: Touch::OnlyChanges,
            on_truncate: config.on_truncate,
        };
        let mut writer = Writer::new(self.traffic, names, settings).await?;
        let mut gone: Vec<Vec<SourcedChange>> = Vec::new();
        for (table, ids) in differing {
            let mut deletes = Vec::new();
            let source = RepairSource::open(&landing, names, mapping.of(*table)).await?;
            for ids in source.portions(config, ids).await? {
                let (writes, missing) = source.changes(&ids).await?;
                deletes.extend(missing);
                write(&mut writer, config, writes).await?;
            }
            gone.push(deletes);
        }
        // Journey entries and notifications before leads: a journey entry that remains when its lead is
        // deleted would be treated as an entry that Landing has kept.
        for deletes in gone.into_iter().rev() {
            for portion in deletes.chunks(config.batch_rows) {
                write(&mut writer, config, portion.to_vec()).await?;
            }
        }
        Ok(writer.counts())
    }
}

async fn write(writer: &mut Writer, config: &Config, changes: Vec<SourcedChange>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    // Checked in the transaction of the rows, so that no cutover can switch between the check and the commit.
    writer.begin().await?;
    refuse_switched(writer.session(), &config.names, after_the_switch()).await?;
    // Rows that were read from Landing have no unchanged TOAST values, so no values need to be supplied.
    writer.apply(&Batch { changes, ..Batch::default() }, &Supplied::new()).await?;
    writer.commit().await
}

/// A table of Landing from which rows are repaired.
pub struct RepairSource<'r> {
    landing: &'r Session,
    names: &'r Names,
    layout: Layout,
}

impl<'r> RepairSource<'r> {
    /// # Errors
    /// Landing cannot be read.
    pub async fn open(landing: &'r Session, names: &'r Names, mapping: &Arc<TableMapping>) -> Result<Self> {
        Ok(RepairSource { landing, names, layout: catalog::layout(landing, names, mapping).await? })
    }

    /// Splits the ids into portions of at most a batch's rows and bytes.
    ///
    /// # Errors
    /// Landing cannot be read.
    pub async fn portions(&self, config: &Settings, ids: &[Uuid]) -> Result<Vec<Vec<Uuid>>> {
        let weights = reading::weights(self.landing, self.names, &self.layout, ids).await?;
        let weighed = ids.iter().map(|id| (*id, weights.get(id).copied().unwrap_or(0)));
        Ok(Budget::of(config.batch_bytes).portions(weighed, config.batch_rows))
    }

    /// Current Landing rows as writes; ids without a Landing row as deletes.
    ///
    /// # Errors
    /// Landing cannot be read.
    pub async fn changes(&self, ids: &[Uuid]) -> Result<(Vec<SourcedChange>, Vec<SourcedChange>)> {
        let sample = wal::sample(self.landing).await?;
        let mut found = reading::by_id(self.landing, self.names, &self.layout, ids).await?;
        let origin = Origin { xid: None, commit_lsn: sample.inserted, commit_time: sample.now };
        let change = |id: &Uuid| match found.remove(id) {
            Some(row) => Change::Write { operation: Operation::Update, row, old_id: None },
            None => Change::Delete { table: self.layout.table(), id: *id },
        };
        let all = ids.iter().map(change).map(|change| SourcedChange { origin, change });
        Ok(all.partition(|sourced| matches!(sourced.change, Change::Write { .. })))
    }
}
