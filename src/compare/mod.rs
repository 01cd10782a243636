//! Compares the two sides row by row: the rows of Traffic with the rows that the mapping makes from Landing's
//! rows.
//!
//! Both tables are read in the order of their keys and merged, a page of each at a time, so memory does not
//! grow with the tables and no transaction stays open. A result contains ids, column names and counts, never
//! a value.
//!
//! [`compare`] compares once, while neither side changes. [`live`] compares two databases in use: a row in
//! flight is found different, and compared again once the stream has passed the position at which the row was
//! read.

mod attribution;
mod comparison;
mod content;
pub mod live;
mod pace;
mod pages;
mod recheck;
pub mod repair;
pub mod reverse;

use tokio_postgres::Client;
use uuid::Uuid;

pub use attribution::Attributed;
use attribution::Tally;
pub use comparison::{Comparison, Difference, DifferenceExample};
use comparison::{Next, meet};
pub use content::{Contents, Digest};
pub use pace::ReadRate;
use pages::{Expected, KeyRange, PAGE, TrafficPages};

use crate::capture::layout::Layout;
use crate::error::Result;
use crate::landing::catalog;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::traffic::TargetCatalog;

/// Compares a Landing table with its Traffic table. The sessions' settings must be pinned like those of a
/// [`Session`](crate::postgres::Session), because values are compared as the servers' own text.
///
/// # Errors
/// A database that cannot be read, or a table or column that does not exist.
pub async fn compare(landing: &Client, traffic: &Client, names: &Names, table: Table) -> Result<Comparison> {
    let sides = ComparedSides::read(landing, traffic, names, table).await?;
    sides.compare(KeyRange::all(), &mut Tally::default(), &ReadRate::new(None)).await
}

/// Like [`compare`], with the hashes of both sides' contents.
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

/// Compares only the rows with the given keys, once.
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

/// A table on both sides, with a session on each side.
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

    /// A comparison of no rows.
    fn nothing_yet(&self) -> Comparison {
        Comparison::new(self.table, self.layout.absent())
    }

    fn expected(&self, keys: KeyRange) -> Expected<'_> {
        Expected::new(self.landing, self.names, &self.layout, self.target.limits(self.table), keys)
    }

    fn held(&self, keys: KeyRange) -> TrafficPages<'_> {
        TrafficPages::new(self.traffic, self.names, self.table, keys)
    }

    /// Compares the rows with the given keys.
    async fn compare(&self, keys: KeyRange, tally: &mut Tally, pace: &ReadRate) -> Result<Comparison> {
        let mut comparison = self.nothing_yet();
        self.merge(keys, &mut comparison, tally, pace).await?;
        Ok(comparison)
    }

    /// Compares the rows with the given keys, and adds the result to `comparison`.
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
