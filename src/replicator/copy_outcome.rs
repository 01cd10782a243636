//! Whether what a copy has read is what Landing held under its snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_postgres::Client;

use crate::change::Table;
use crate::checkpoint::Published;
use crate::error::{Error, Kind, Result};
use crate::landing::catalog;
use crate::names::Names;

/// What was copied, and under which snapshot.
pub struct Outcome {
    /// As the snapshot has it.
    pub published: Published,
    /// What transactions before this one have committed is in the snapshot.
    pub horizon: String,
    /// Rows of each table.
    pub copied: Vec<(Table, Arc<AtomicU64>)>,
}

impl Outcome {
    /// To be asked when every row is copied, and before a row that was not copied is deleted on Traffic.
    ///
    /// # Errors
    /// Transient when a table was rewritten meanwhile, or was copied as empty and is not: the copy must begin again.
    pub async fn check(&self, names: &Names, tables: &[Table], landing: &Client) -> Result<()> {
        let now = catalog::published(landing, names, tables).await?;
        self.published.check_copied(&now)?;
        for (table, rows) in &self.copied {
            if rows.load(Ordering::Relaxed) == 0 {
                self.check_empty(names, *table, landing).await?;
            }
        }
        Ok(())
    }

    /// A row that is there now, and was written before the snapshot, was there under the snapshot.
    async fn check_empty(&self, names: &Names, table: Table, landing: &Client) -> Result<()> {
        let name = names.landing_table(table);
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {name} WHERE age(xmin) > age('{}'::xid8::xid))",
            self.horizon
        );
        let row = landing.query_one(&sql, &[]).await;
        let row = row.map_err(|error| {
            Error::database(format!("looking whether {name} on Landing is empty"), &error)
        })?;
        match row.get(0) {
            false => Ok(()),
            true => Err(Error::new(
                Kind::Transient,
                format!("the copy begins again: {name} on Landing was copied as empty, and is not"),
            )),
        }
    }
}
