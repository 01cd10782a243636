//! Repeated admission of one side: the facts are judged again only after a change.

use super::{AdmissionScope, Bars, Extent, Facts, Unfit, refusal};
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::postgres::Database;

/// Result of the last look at one side.
#[derive(Debug, Default)]
pub struct Watch {
    document: String,
    unfit: Vec<Unfit>,
}

impl Watch {
    /// The reason why the tables of `side` are not admissible now; `None` when the tables are admissible.
    ///
    /// # Errors
    /// The facts could not be read. The error says nothing about the tables.
    pub async fn look(
        &mut self,
        database: Database<'_>,
        tables: &[Table],
        purpose: Bars,
    ) -> Result<Option<Error>> {
        let Database { client, side, names } = database;
        let scope = AdmissionScope { side, names, tables, extent: Extent::Whole };
        let document = Facts::read(client, &scope).await?;
        if document != self.document {
            (self.document, _, self.unfit) = scope.confirm(client, document).await?;
        }
        Ok(refusal(side, &self.unfit, purpose))
    }
}
