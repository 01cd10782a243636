//! Admission: what a replicated table may look like on each side, as a positive list, compared with the catalog.
//!
//! | of a table | Landing | Traffic | judged in |
//! |---|---|---|---|
//! | kind | an ordinary table of its own: logged, heap; no view, foreign or partitioned table | the same | `tables` |
//! | inheritance | none: no parent, no child, no partition | the same | `tables` |
//! | rules | none, from a cutover on | none | `tables` |
//! | other writers past the fence | no subscription, from a cutover on | the same | `tables` |
//! | triggers | any | any; those that fire for replicated rows are named | `tables` |
//! | key | `id` NOT NULL and unique by an index that is immediate, valid and without a condition | the same | `keys` |
//! | other unique and exclusion constraints | any that is not DEFERRABLE, from a cutover on | any that is not DEFERRABLE | `keys` |
//! | replica identity | one that PostgreSQL uses, with `id` in it; or FULL | the same | `keys` |
//! | columns that the mapping reads or writes | of the types that it knows, no domain, no enum; not generated | the same, and no GENERATED ALWAYS AS IDENTITY | `columns` |
//! | other columns, CHECKs, nullability, row-level security | any: a row that is refused is quarantined, and hidden rows are `doctor`'s | the same | |
//! | foreign keys to it | to `id`, alone or beside columns that replication does not write, with any action; from a cutover on | the same, at once | `references` |
//! | foreign keys of it | a journey entry or notification has one to its lead; others of other columns | any of columns that the mapping does not write | `references` |
//!
//! A shape that is not on the list is refused with the object's name and a remedy, before anything is changed.
//! The judgement is pure; the facts are read with one query a side.

mod columns;
mod facts;
mod keys;
mod references;
mod tables;
mod watch;

use tokio_postgres::Client;

use crate::change::Table;
use crate::database::Side;
use crate::error::{Error, Result};
use crate::names::Names;
pub use facts::{ColumnFacts, Facts, ForeignKey, IndexFacts, TableFacts};
pub use references::reached_by_others;
pub use watch::Watch;

/// From when on a shape is not admissible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bars {
    /// Never: an operator should know of it.
    Nothing,
    /// From a cutover on, when the writes go the other way.
    Cutover,
    Replication,
}

/// Something about a table that is not on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// One of [`CHECKS`].
    pub check: &'static str,
    pub bars: Bars,
    /// What is not on the list, with the object's name.
    pub what: String,
    pub remedy: String,
}

/// The names of the checks, and what each says of a side on which nothing is unfit.
pub const CHECKS: [(&str, &str); 6] = [
    ("tables", "the tables are ordinary ones, without inheritance"),
    ("columns", "the tables have every column that is needed"),
    ("keys", "every id is unique"),
    ("replica_identity", "updates and deletes name their row"),
    ("references", "foreign keys refer to ids"),
    ("triggers", "no trigger fires for replicated rows"),
];

/// How much of the tables must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Whatever `leadbridge migrate` makes may still be missing.
    BeforeMigrate,
    Whole,
}

/// One table and everything that its judgement may look at.
struct Subject<'f> {
    side: Side,
    table: Table,
    /// Quoted and with its schema, for SQL that an operator runs.
    name: &'f str,
    /// The tables' places in the facts are those of this list.
    tables: &'f [Table],
    facts: &'f Facts,
    shape: &'f TableFacts,
    extent: Extent,
}

impl Subject<'_> {
    /// The table's name without its schema, for people.
    fn short(&self) -> &'static str {
        match self.side {
            Side::Landing => self.table.landing_name(),
            Side::Traffic => self.table.traffic_name(),
        }
    }

    /// For what matters on Traffic at once, and on Landing when reverse replication writes there.
    fn bars_writing(&self) -> Bars {
        match self.side {
            Side::Landing => Bars::Cutover,
            Side::Traffic => Bars::Replication,
        }
    }
}

/// Compares the facts with the list.
pub fn judge(side: Side, names: &Names, tables: &[Table], facts: &Facts, extent: Extent) -> Vec<Unfit> {
    let mut unfit = Vec::new();
    for (position, (name, table)) in facts::names_on(side, names, tables).iter().zip(tables).enumerate() {
        match facts.table(position) {
            Some(shape) => {
                let subject = Subject { side, table: *table, name, tables, facts, shape, extent };
                unfit.extend(judge_table(&subject));
            }
            None => unfit.extend(tables::missing(side, *table, name, extent)),
        }
    }
    unfit
}

fn judge_table(subject: &Subject<'_>) -> Vec<Unfit> {
    let mut unfit = tables::judge(subject);
    // Of a view or a foreign table the rest says nothing.
    if subject.shape.kind == "r" {
        unfit.extend(columns::judge(subject));
        unfit.extend(keys::judge(subject));
        unfit.extend(references::judge(subject));
    }
    unfit
}

/// Reads the facts of one side and judges them.
///
/// # Errors
/// The connection broke, or the role may not look into a schema.
pub async fn examine(
    client: &Client,
    side: Side,
    names: &Names,
    tables: &[Table],
    extent: Extent,
) -> Result<(Facts, Vec<Unfit>)> {
    let facts = Facts::parse(&Facts::read(client, side, names, tables).await?)?;
    let unfit = judge(side, names, tables, &facts, extent);
    Ok((facts, unfit))
}

/// Whether the tables of one side may be replicated, or with [`Bars::Cutover`] written to in either direction.
///
/// # Errors
/// Refused, with the first object that is not admissible; those of [`examine`].
pub async fn admit(
    client: &Client,
    side: Side,
    names: &Names,
    tables: &[Table],
    extent: Extent,
    purpose: Bars,
) -> Result<()> {
    let (_, unfit) = examine(client, side, names, tables, extent).await?;
    refusal(side, &unfit, purpose).map_or(Ok(()), Err)
}

/// Both sides, for what goes on under way.
///
/// # Errors
/// Those of [`admit`].
pub async fn admit_both(
    landing: &Client,
    traffic: &Client,
    names: &Names,
    tables: &[Table],
    purpose: Bars,
) -> Result<()> {
    admit(landing, Side::Landing, names, tables, Extent::Whole, purpose).await?;
    admit(traffic, Side::Traffic, names, tables, Extent::Whole, purpose).await
}

/// What an operator is told when any of it stands in the way of the purpose.
fn refusal(side: Side, unfit: &[Unfit], purpose: Bars) -> Option<Error> {
    let mut barring = unfit.iter().filter(|unfit| unfit.bars >= purpose);
    let first = barring.next()?;
    let more = match barring.count() {
        0 => String::new(),
        count => format!(" (and {count} more: see `leadbridge doctor`)"),
    };
    Some(Error::refused(format!("{side}: {}{more}", first.what)).remedy(first.remedy.clone()))
}

#[cfg(test)]
mod tests;
