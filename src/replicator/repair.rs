//! Writing rows again that were found to differ, through the mapping and the writer that the stream uses.
//!
//! Only while nobody else applies for the slot: between our reading of a row on Landing and our writing it on
//! Traffic, a daemon could apply the row's delete, and we would bring it back. What the stream sends of these rows
//! later may for a moment be older than what is written here; its last change of a row is the row that Landing has.

use uuid::Uuid;

use super::lease;
use crate::batch::Batch;
use crate::budget::Budget;
use crate::change::{Change, Operation, Origin, SourcedChange, Table};
use crate::checkpoint::{Installation, refuse_switched};
use crate::config::Config;
use crate::database::{Session, Side};
use crate::error::{Error, Result};
use crate::landing::{catalog, reading};
use crate::traffic::{RowCounts, Supplied, Touch, Writer};

const AFTER_THE_SWITCH: &str = "a repair would bring back Landing's older rows: nothing was done; what flows back is seen in `leadbridge status`";

/// The right to apply for the slot, as long as it lives.
pub struct Repair {
    config: Config,
    traffic: Session,
}

impl Repair {
    /// # Errors
    /// Refused while a daemon applies for the slot, and after a cutover.
    pub async fn begin(config: &Config) -> Result<Self> {
        let traffic = config.traffic.connect_to_write("repair").await?;
        Installation::refuse_another(&traffic, config, Side::Traffic).await?;
        refuse_switched(&traffic, &config.names, AFTER_THE_SWITCH).await?;
        if !lease::take_soon(&traffic, &config.names).await? {
            return Err(Error::refused("a daemon applies for this slot")
                .remedy("stop it, run `leadbridge verify --repair`, then start it again"));
        }
        Ok(Repair { config: config.clone(), traffic })
    }

    /// Makes these rows on Traffic what Landing has now. Tables come in the order of [`Table::ALL`].
    /// Returns what became of them.
    pub async fn rows(self, differing: &[(Table, &[Uuid])]) -> Result<RowCounts> {
        let config = &self.config;
        let landing = config.landing.connect("repair").await?;
        let (names, tables, touch) = (&config.names, config.tables(), Touch::OnlyChanges);
        let published = catalog::published(&landing, names, &tables).await?;
        let mut writer =
            Writer::new(self.traffic, names, &published, &tables, touch, config.on_truncate).await?;
        let mut gone: Vec<Vec<SourcedChange>> = Vec::new();
        for (table, ids) in differing {
            let mut deletes = Vec::new();
            for ids in portions(&landing, config, *table, ids).await? {
                let (writes, missing) = changes(&landing, config, *table, &ids).await?;
                deletes.extend(missing);
                write(&mut writer, config, writes).await?;
            }
            gone.push(deletes);
        }
        // Children first: what is still there when its lead goes is taken for an entry that Landing has kept.
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
    // In the transaction of the rows: no cutover switches in between.
    writer.begin().await?;
    refuse_switched(writer.session(), &config.names, AFTER_THE_SWITCH).await?;
    // The rows are whole: nothing can be missing.
    writer.apply(&Batch { changes, ..Batch::default() }, &Supplied::new()).await?;
    writer.commit().await
}

/// As many rows at a time as a batch of the stream may hold.
async fn portions(landing: &Session, config: &Config, table: Table, ids: &[Uuid]) -> Result<Vec<Vec<Uuid>>> {
    let layout = catalog::layout(landing, &config.names, table).await?;
    let weights = reading::weights(landing, &config.names, &layout, ids).await?;
    let weighed = ids.iter().map(|id| (*id, weights.get(id).copied().unwrap_or(0)));
    Ok(Budget::of(config.batch_bytes).portions(weighed, config.batch_rows))
}

/// Rows as Landing has them now, to be written; and those that are not there, to be deleted.
async fn changes(
    landing: &Session,
    config: &Config,
    table: Table,
    ids: &[Uuid],
) -> Result<(Vec<SourcedChange>, Vec<SourcedChange>)> {
    let sample = catalog::sample(landing).await?;
    let layout = catalog::layout(landing, &config.names, table).await?;
    let mut found = reading::by_id(landing, &config.names, &layout, ids).await?;
    let origin = Origin { xid: None, commit_lsn: sample.inserted, commit_time: sample.now };
    let change = |id: &Uuid| match found.remove(id) {
        Some(row) => Change::Write { operation: Operation::Update, row, old_id: None },
        None => Change::Delete { table, id: *id },
    };
    let all = ids.iter().map(change).map(|change| SourcedChange { origin, change });
    Ok(all.partition(|sourced| matches!(sourced.change, Change::Write { .. })))
}
