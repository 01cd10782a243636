//! Checks that a copy has read all rows that Landing held under the exported snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_postgres::Client;

use crate::checkpoint::Published;
use crate::error::{Error, Kind, Result};
use crate::landing::catalog;
use crate::model::change::Table;
use crate::model::names::Names;

/// The copied rows, and the snapshot under which the rows were read.
pub struct Outcome {
    /// Publication and tables of Landing as of the snapshot.
    pub published: Published,
    /// Oldest transaction id that the snapshot may not see: commits of all transactions with an older id are
    /// in the snapshot.
    pub horizon: String,
    /// Number of copied rows of each table.
    pub copied: Vec<(Table, Arc<AtomicU64>)>,
}

impl Outcome {
    /// Must be called after every row is copied, and before rows that were not copied are deleted on Traffic.
    ///
    /// # Errors
    /// Transient when a table was rewritten during the copy, or was copied as empty although the snapshot has
    /// rows: the copy must restart.
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

    /// A current row with an `xmin` before the horizon was in the table under the snapshot already.
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
                format!("the copy restarts: {name} on Landing was copied as empty, and is not"),
            )),
        }
    }
}
