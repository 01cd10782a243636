//! Repeated admission of one side: the facts are judged again only after a change.

use tokio_postgres::Client;

use super::{Bars, Extent, Facts, Unfit, judge, refusal};
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;

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
        client: &Client,
        side: Side,
        names: &Names,
        tables: &[Table],
        purpose: Bars,
    ) -> Result<Option<Error>> {
        let document = Facts::read(client, side, names, tables).await?;
        if document != self.document {
            self.unfit = judge(side, names, tables, &Facts::parse(&document)?, Extent::Whole);
            self.document = document;
        }
        Ok(refusal(side, &self.unfit, purpose))
    }
}
