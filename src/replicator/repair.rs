//! Writing rows anew that were found to differ, through the mapping and the writer that the stream uses.
//!
//! Only while nobody else applies for the slot: between our reading of a row on Landing and our writing it on
//! Traffic, a daemon could apply the row's delete, and we would bring it back. What the stream sends of these rows
//! later may for a moment be older than what is written here; its last change of a row is the row that Landing has.

use uuid::Uuid;

use super::lease;
use crate::batch::Batch;
use crate::change::{Change, Operation, Origin, SourcedChange, Table};
use crate::checkpoint::refuse_switched;
use crate::config::Config;
use crate::database::Session;
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
        let traffic = config.traffic.connect("repair").await?;
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
        let tables = config.tables();
        let writer =
            Writer::new(self.traffic, &config.names, &tables, Touch::OnlyChanges, config.on_truncate);
        let mut writer = writer.await?;
        for (table, ids) in differing {
            for ids in ids.chunks(config.batch_rows) {
                let batch = batch(&landing, config, *table, ids).await?;
                // In the transaction of the rows: no cutover switches in between.
                writer.begin().await?;
                refuse_switched(writer.session(), &config.names, AFTER_THE_SWITCH).await?;
                // The rows are whole: nothing can be missing.
                writer.apply(&batch, &Supplied::new()).await?;
                writer.commit().await?;
            }
        }
        Ok(writer.counts())
    }
}

/// Rows as Landing has them now; a row that is not there is to be deleted.
async fn batch(landing: &Session, config: &Config, table: Table, ids: &[Uuid]) -> Result<Batch> {
    let sample = catalog::sample(landing).await?;
    let layout = catalog::layout(landing, &config.names, table).await?;
    let mut found = reading::by_id(landing, &config.names, &layout, ids).await?;
    let origin = Origin { xid: None, commit_lsn: sample.inserted, commit_time: sample.now };
    let change = |id: &Uuid| match found.remove(id) {
        Some(row) => Change::Write { operation: Operation::Update, row, old_id: None },
        None => Change::Delete { table, id: *id },
    };
    let changes = ids.iter().map(change).map(|change| SourcedChange { origin, change }).collect();
    Ok(Batch { changes, ..Batch::default() })
}
