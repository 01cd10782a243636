//! Comparing the two sides row by row: what Traffic holds against what the mapping makes of Landing.
//!
//! Both tables are read in the order of their keys and merged, a page of each at a time, so memory does not grow
//! with them and no transaction stays open. Ids, column names and counts come out of it, never a value.
//!
//! [`compare`] looks once, at two sides that are still. [`live`] compares two databases in use: a row in flight is
//! found different and looked at again, once the stream has passed the position at which it was read.

mod attribution;
mod comparison;
mod content;
pub mod live;
mod pace;
mod pages;
mod recheck;

use tokio_postgres::Client;
use uuid::Uuid;

pub use attribution::Attributed;
use attribution::Tally;
pub use comparison::{Comparison, Difference, DifferenceExample};
use comparison::{Next, meet};
pub use content::{Contents, Digest};
pub use pace::ReadRate;
use pages::{Expected, KeyRange, PAGE, TrafficPages};

use crate::change::Table;
use crate::error::Result;
use crate::landing::catalog;
use crate::landing::layout::Layout;
use crate::names::Names;
use crate::traffic::TargetCatalog;

/// Compares one table with the table it becomes. The sessions' settings must be pinned, as a
/// [`Session`](crate::database::Session)'s are: values are compared as the servers' own text.
///
/// # Errors
/// A database that cannot be read, or a table or column that is not there.
pub async fn compare(landing: &Client, traffic: &Client, names: &Names, table: Table) -> Result<Comparison> {
    let sides = ComparedSides::read(landing, traffic, names, table).await?;
    sides.compare(KeyRange::all(), &mut Tally::default(), &ReadRate::new(None)).await
}

/// Like [`compare`], and takes the hash of both sides' contents with it.
pub async fn compare_content(
    landing: &Client,
    traffic: &Client,
    names: &Names,
    table: Table,
) -> Result<(Comparison, Contents)> {
    let sides = ComparedSides::read(landing, traffic, names, table).await?;
    let mut comparison = sides.nothing_yet().with_contents();
    sides.merge(KeyRange::all(), &mut comparison, &mut Tally::default(), &ReadRate::new(None)).await?;
    let contents = comparison.contents.take().unwrap_or_default();
    Ok((comparison, contents))
}

/// Compares only the rows with these keys, once.
pub async fn compare_rows(
    landing: &Client,
    traffic: &Client,
    names: &Names,
    table: Table,
    ids: &[Uuid],
) -> Result<Comparison> {
    let sides = ComparedSides::read(landing, traffic, names, table).await?;
    let mut comparison = sides.nothing_yet();
    for page in ids.chunks(PAGE) {
        let keys = KeyRange::These(page.to_vec());
        sides.merge(keys, &mut comparison, &mut Tally::default(), &ReadRate::new(None)).await?;
    }
    Ok(comparison)
}

/// A table on both sides, and two sessions to read it with.
struct ComparedSides<'c> {
    landing: &'c Client,
    traffic: &'c Client,
    names: &'c Names,
    table: Table,
    layout: Layout,
    target: TargetCatalog,
}

impl<'c> ComparedSides<'c> {
    async fn read(
        landing: &'c Client,
        traffic: &'c Client,
        names: &'c Names,
        table: Table,
    ) -> Result<ComparedSides<'c>> {
        let layout = catalog::layout(landing, names, table).await?;
        let target = TargetCatalog::read(traffic, names, &[table]).await?;
        Ok(ComparedSides { landing, traffic, names, table, layout, target })
    }

    /// A comparison that has looked at no row.
    fn nothing_yet(&self) -> Comparison {
        Comparison::new(self.table, self.layout.absent())
    }

    fn expected(&self, keys: KeyRange) -> Expected<'_> {
        Expected::new(self.landing, self.names, &self.layout, self.target.limits(self.table), keys)
    }

    fn held(&self, keys: KeyRange) -> TrafficPages<'_> {
        TrafficPages::new(self.traffic, self.names, self.table, keys)
    }

    /// Merges the rows with these keys.
    async fn compare(&self, keys: KeyRange, tally: &mut Tally, pace: &ReadRate) -> Result<Comparison> {
        let mut comparison = self.nothing_yet();
        self.merge(keys, &mut comparison, tally, pace).await?;
        Ok(comparison)
    }

    /// The same, into what was found before.
    async fn merge(
        &self,
        keys: KeyRange,
        comparison: &mut Comparison,
        tally: &mut Tally,
        pace: &ReadRate,
    ) -> Result<()> {
        let (mut expected, mut held) = (self.expected(keys.clone()), self.held(keys));
        let (mut left, mut right) = tokio::try_join!(expected.next(), held.next())?;
        loop {
            let next = meet(comparison, left.as_ref(), right.as_ref());
            if let (Next::Landing | Next::Both, Some(row)) = (next, &left) {
                tally.count(self.table, row);
                pace.count();
                if comparison.landing_rows.is_multiple_of(PAGE as u64) {
                    pace.keep().await;
                }
            }
            match next {
                Next::Landing => left = expected.next().await?,
                Next::Traffic => right = held.next().await?,
                Next::Both => (left, right) = tokio::try_join!(expected.next(), held.next())?,
                Next::End => return Ok(()),
            }
        }
    }
}
