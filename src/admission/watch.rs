//! Looking at one side again and again: judged only when its facts have changed.

use tokio_postgres::Client;

use super::{Bars, Extent, Facts, Unfit, judge, refusal};
use crate::change::Table;
use crate::database::Side;
use crate::error::{Error, Result};
use crate::names::Names;

/// What the last look at one side found.
#[derive(Debug, Default)]
pub struct Watch {
    document: String,
    unfit: Vec<Unfit>,
}

impl Watch {
    /// Why the tables of that side are not admissible now; `None` when they are.
    ///
    /// # Errors
    /// The facts could not be read, which says nothing about them.
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
