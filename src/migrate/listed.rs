//! What a migration lists while it plans or applies its changes (`sql/traffic/planning.sql`).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Transaction;

use crate::error::{Error, Result};
use crate::language::Message;

/// The lists of one migration.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Changes outside of leadbridge's own schema, in the order of execution.
    pub changes: Vec<String>,
    /// Facts that the operator must know, beside the changes.
    pub notes: Vec<String>,
    pub refusals: Vec<Refusal>,
    /// Statements that make indexes after the transaction, without letting writers wait.
    pub indexes: Vec<String>,
}

/// An object that a migration cannot change. The texts stand in the migrations' SQL, which has one language.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    what: String,
    remedy: String,
}

/// The lists of the transaction as text; null where nothing was listed.
const LISTS: &str = "SELECT pg_catalog.current_setting('leadbridge.changes', true), \
     pg_catalog.current_setting('leadbridge.notes', true), \
     pg_catalog.current_setting('leadbridge.refusals', true), \
     pg_catalog.current_setting('leadbridge.indexes', true)";

/// The statement that empties the lists.
pub(super) const EMPTY: &str = "SELECT pg_catalog.set_config(setting, '', true) \
     FROM unnest(ARRAY['leadbridge.changes', 'leadbridge.notes', 'leadbridge.refusals']) AS setting;";

impl Listed {
    /// Reads what `transaction` has listed.
    ///
    /// # Errors
    /// The connection broke; `Internal` when a list is not of this form.
    pub(super) async fn read(transaction: &Transaction<'_>, step: &str) -> Result<Self> {
        let row = transaction.query_one(LISTS, &[]).await.map_err(|error| Error::database(step, &error))?;
        Ok(Listed {
            changes: entries(row.get(0))?,
            notes: entries(row.get(1))?,
            refusals: entries(row.get(2))?,
            indexes: entries(row.get(3))?,
        })
    }
}

fn entries<T: DeserializeOwned>(list: Option<&str>) -> Result<Vec<T>> {
    match list {
        None | Some("") => Ok(Vec::new()),
        Some(list) => serde_json::from_str(list)
            .map_err(|error| Error::internal("a migration's list cannot be read").source_error(error)),
    }
}

/// The error for all objects that cannot be changed; `None` without a refusal.
pub(super) fn refusal<'l>(listed: impl Iterator<Item = &'l Listed>) -> Option<Error> {
    let refusals: Vec<&Refusal> = listed.flat_map(|listed| &listed.refusals).collect();
    let join = |texts: Vec<&str>| texts.join("; ");
    let mut remedies: Vec<&str> = refusals.iter().map(|refusal| refusal.remedy.as_str()).collect();
    remedies.dedup();
    let what = join(refusals.iter().map(|refusal| refusal.what.as_str()).collect());
    (!refusals.is_empty())
        .then(|| Error::refused(format!("Traffic: {what}")).remedy(Message::verbatim(join(remedies))))
}
