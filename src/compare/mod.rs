//! Compares the two sides row by row, in either direction: the rows of Traffic with the rows that the mapping
//! makes from Landing's rows, or after a cutover the rows of Landing with the rows that the inverse mapping
//! makes from Traffic's rows.
//!
//! Both tables are read in the order of their keys (`pages`) and merged (`merge`), a page of each at a time,
//! so memory does not grow with the tables and no transaction stays open. `forward` and `reverse` say which
//! values a direction expects. A result (`comparison`) contains ids, column names and counts, never a value.
//!
//! [`compare`] compares once, while neither side changes. [`live`] compares two databases in use: a row in
//! flight is found different, and compared again once the stream has passed the position at which the row was
//! read.

mod attribution;
mod comparison;
mod content;
mod forward;
pub mod live;
mod merge;
mod pace;
mod pages;
mod recheck;
pub mod repair;
pub mod reverse;

use uuid::Uuid;

pub use attribution::Attributed;
pub use comparison::{Comparison, Difference, DifferenceExample};
pub use content::{Contents, Digest};
use forward::ByMapping;
use merge::{Expectation, Met, meet};
pub use pace::ReadRate;
use pages::{KeyRange, LandingPages, PAGE, TrafficPages};

use crate::capture::layout::Layout;
use crate::error::Result;
use crate::landing::catalog;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::Databases;
use crate::traffic::TargetCatalog;

/// Compares a Landing table with its Traffic table. The sessions' settings must be pinned like those of a
/// [`Session`](crate::postgres::Session), because values are compared as the servers' own text.
///
/// # Errors
/// A database that cannot be read, or a table or column that does not exist.
pub async fn compare(databases: Databases<'_>, table: Table) -> Result<Comparison> {
    ComparedSides::forward(databases, table).await?.compare(KeyRange::all()).await
}

/// Like [`compare`], with the hashes of both sides' contents.
pub async fn compare_content(databases: Databases<'_>, table: Table) -> Result<(Comparison, Contents)> {
    let sides = ComparedSides::forward(databases, table).await?;
    let mut found = Comparison { contents: Some(Contents::default()), ..sides.nothing_yet() };
    sides.merge(KeyRange::all(), &mut found).await?;
    let contents = found.contents.take().unwrap_or_default();
    Ok((found, contents))
}

/// Keys of all rows that Traffic does not have as the mapping makes them, however many, with 16 bytes of memory
/// for each. Otherwise like [`compare`].
///
/// # Errors
/// As [`compare`].
pub async fn unlike(databases: Databases<'_>, table: Table) -> Result<Vec<Uuid>> {
    let sides = ComparedSides::forward(databases, table).await?;
    let mut found = Comparison { keeps_every_key: true, ..sides.nothing_yet() };
    sides.merge(KeyRange::all(), &mut found).await?;
    Ok(found.into_unlike())
}

/// Compares only the rows with the given keys, once.
pub async fn compare_rows(databases: Databases<'_>, table: Table, ids: &[Uuid]) -> Result<Comparison> {
    ComparedSides::forward(databases, table).await?.compare_rows(ids).await
}

/// A table on both sides, and the expectation of the direction in which the rows are carried.
struct ComparedSides<'c, E> {
    databases: Databases<'c>,
    layout: Layout,
    expectation: E,
    /// Progress and speed limit; `None` for a comparison that nobody watches.
    pace: Option<&'c ReadRate>,
}

impl<'c> ComparedSides<'c, ByMapping> {
    async fn forward(databases: Databases<'c>, table: Table) -> Result<Self> {
        let mapping = catalog::mapping(databases, &[table]).await?;
        let layout = catalog::layout(databases.landing, databases.names, mapping.of(table)).await?;
        let target = TargetCatalog::read(databases.on(Side::Traffic), &[table], &mapping).await?;
        let expectation = ByMapping::new(mapping.of(table), target.limits(table));
        Ok(ComparedSides { databases, layout, expectation, pace: None })
    }
}

impl<E: Expectation> ComparedSides<'_, E> {
    /// A comparison of no rows.
    fn nothing_yet(&self) -> Comparison {
        Comparison { table: self.layout.name.clone().into(), ..Comparison::new(self.layout.table()) }
    }

    /// Compares the rows with the given keys.
    async fn compare(&self, keys: KeyRange) -> Result<Comparison> {
        let mut found = self.nothing_yet();
        self.merge(keys, &mut found).await?;
        Ok(found)
    }

    async fn compare_rows(&self, ids: &[Uuid]) -> Result<Comparison> {
        let mut found = self.nothing_yet();
        for page in ids.chunks(PAGE) {
            self.merge(KeyRange::These(page.to_vec()), &mut found).await?;
        }
        Ok(found)
    }

    /// Compares the rows with the given keys, and adds the result to `found`.
    async fn merge(&self, keys: KeyRange, found: &mut Comparison) -> Result<()> {
        let mut landing = LandingPages::new(self, keys.clone());
        let mut traffic = TrafficPages::new(self, keys);
        let (mut left, mut right) = tokio::try_join!(landing.next(), traffic.next())?;
        while let Some(met) = meet::<E>(left.as_ref(), right.as_ref()) {
            found.count(&self.expectation, &met);
            if let (Some(pace), Met::Landing(_) | Met::Both(..)) = (self.pace, &met) {
                pace.count();
                if found.landing_rows.is_multiple_of(PAGE as u64) {
                    pace.keep().await;
                }
            }
            match met {
                Met::Landing(_) => left = landing.next().await?,
                Met::Traffic(_) => right = traffic.next().await?,
                Met::Both(..) => (left, right) = tokio::try_join!(landing.next(), traffic.next())?,
            }
        }
        Ok(())
    }
}
