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
//! read. `settled` does the same for a few rows, and judges each of them apart.

mod attribution;
mod comparison;
mod content;
mod forward;
pub mod key_set;
mod large;
pub mod live;
mod merge;
mod pace;
mod pages;
mod place;
pub mod ranges;
mod recheck;
pub mod repair;
pub mod reverse;
mod settled;

use uuid::Uuid;

pub use attribution::Attributed;
pub use comparison::{Comparison, Difference, DifferenceExample};
pub use content::{Contents, Digest};
use forward::ByMapping;
use merge::{Expectation, HeldRow, Met, meet};
pub use pace::ReadRate;
use pages::{KeyRange, LandingPages, PAGE, PageRow, TrafficPages};
pub use place::Place;
pub use settled::{RowState, SettledRow, settled};

use crate::capture::layout::Layout;
use crate::error::Result;
use crate::landing::catalog;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::{Databases, large as large_values};
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
    may_hold_large: LargeHolders,
    /// Progress and speed limit; `None` for a comparison that nobody watches.
    pace: Option<&'c ReadRate>,
}

/// Whether the table may hold large rows, on either side.
#[derive(Clone, Copy)]
struct LargeHolders {
    landing: bool,
    traffic: bool,
}

impl LargeHolders {
    async fn find(databases: Databases<'_>, table: Table) -> Result<Self> {
        let may_hold = |side| large_values::may_hold(databases.on(side), table);
        let (landing, traffic) = tokio::try_join!(may_hold(Side::Landing), may_hold(Side::Traffic))?;
        Ok(LargeHolders { landing, traffic })
    }
}

impl<'c> ComparedSides<'c, ByMapping> {
    async fn forward(databases: Databases<'c>, table: Table) -> Result<Self> {
        let mapping = catalog::mapping(databases, &[table]).await?;
        let layout = catalog::layout(databases.landing, databases.names, mapping.of(table)).await?;
        let target = TargetCatalog::read(databases.on(Side::Traffic), &[table], &mapping).await?;
        let expectation = ByMapping::new(mapping.of(table), target.limits(table));
        let may_hold_large = LargeHolders::find(databases, table).await?;
        Ok(ComparedSides { databases, layout, expectation, may_hold_large, pace: None })
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
        self.scan(keys, found).await?;
        self.compare_large(found).await
    }

    /// As [`ComparedSides::merge`], but only adds the keys of large rows to `found`.
    async fn scan(&self, keys: KeyRange, found: &mut Comparison) -> Result<()> {
        let mut landing = LandingPages::without_large(self, keys.clone());
        let mut traffic = TrafficPages::without_large(self, keys);
        let (mut left, mut right) = tokio::try_join!(landing.next(), traffic.next())?;
        loop {
            let keys = [left.as_ref().map(Self::landing_key), right.as_ref().map(held_key)];
            let Some(key) = keys.iter().copied().flatten().min() else { return Ok(()) };
            let [on_landing, on_traffic] = keys.map(|at| at == Some(key));
            let ours = left.as_ref().filter(|_| on_landing);
            let theirs = right.as_ref().filter(|_| on_traffic);
            let is_whole = ours.is_none_or(|row| row.whole().is_some())
                && theirs.is_none_or(|row| row.whole().is_some());
            match meet::<E>(ours.and_then(PageRow::whole), theirs.and_then(PageRow::whole)) {
                Some(met) if is_whole => self.count(&met, found).await,
                _ => found.large.push(key),
            }
            match (on_landing, on_traffic) {
                (true, true) => (left, right) = tokio::try_join!(landing.next(), traffic.next())?,
                (true, false) => left = landing.next().await?,
                (false, _) => right = traffic.next().await?,
            }
        }
    }

    async fn count(&self, met: &Met<'_, E::Landing>, found: &mut Comparison) {
        found.count(&self.expectation, met);
        if let (Some(pace), (true, _)) = (self.pace, met.sides())
            && pace.count().is_multiple_of(PAGE as u64)
        {
            pace.keep().await;
        }
    }

    fn landing_key(row: &PageRow<E::Landing>) -> Uuid {
        match row {
            PageRow::Whole(row) => E::id(row),
            PageRow::Large(id) => *id,
        }
    }
}

fn held_key(row: &PageRow<HeldRow>) -> Uuid {
    match row {
        PageRow::Whole(row) => row.image.id,
        PageRow::Large(id) => *id,
    }
}
