//! Comparing the two sides row by row: what Traffic holds against what the mapping makes of Landing.
//!
//! Both tables are read in the order of their keys and merged, a page of each at a time, so memory does not grow
//! with them and no transaction stays open. Ids, column names and counts come out of it, never a value.
//! On two live databases a row in flight is found different: whoever calls decides when they are still.

mod comparison;
mod pages;

use tokio_postgres::Client;

pub use comparison::{Comparison, Difference, Example};
use comparison::{Next, meet};
use pages::{Expected, Held};

use crate::change::Table;
use crate::error::Result;
use crate::landing::catalog;
use crate::names::Names;
use crate::traffic::TargetCatalog;

/// Compares one table with the table it becomes. The sessions' settings must be pinned, as a
/// [`Session`](crate::database::Session)'s are: values are compared as the servers' own text.
///
/// # Errors
/// A database that cannot be read, or a table or column that is not there.
pub async fn compare(landing: &Client, traffic: &Client, names: &Names, table: Table) -> Result<Comparison> {
    let layout = catalog::layout(landing, names, table).await?;
    let target = TargetCatalog::read(traffic, names, &[table]).await?;
    let mut expected = Expected::new(landing, names, layout, target.limits(table));
    let mut held = Held::new(traffic, names, table);
    let mut comparison = Comparison::new(table);
    let (mut left, mut right) = tokio::try_join!(expected.next(), held.next())?;
    loop {
        match meet(&mut comparison, left.as_ref(), right.as_ref()) {
            Next::Landing => left = expected.next().await?,
            Next::Traffic => right = held.next().await?,
            Next::Both => (left, right) = tokio::try_join!(expected.next(), held.next())?,
            Next::End => return Ok(comparison),
        }
    }
}
