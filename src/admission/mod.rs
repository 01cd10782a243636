//! Admission: compares the replicated tables of each side, as the catalog describes the tables, with a
//! positive list of admissible shapes.
//!
//! | property of a table | Landing | Traffic | judged in |
//! |---|---|---|---|
//! | kind | an ordinary table: logged, heap; no view, foreign or partitioned table | the same | `tables` |
//! | inheritance | none: no parent, no child, no partition | the same | `tables` |
//! | rules | none, from a cutover on | none | `tables` |
//! | writers past the fence | no subscription, from a cutover on | the same | `tables` |
//! | triggers | any | any; triggers that fire for replicated rows are reported | `tables` |
//! | key | `id` NOT NULL and unique by an index that is immediate, valid and without a condition | the same | `keys` |
//! | other unique and exclusion constraints | not DEFERRABLE, from a cutover on | not DEFERRABLE | `keys` |
//! | replica identity | an index that PostgreSQL uses, with `id` in the key; or FULL | the same | `keys` |
//! | columns that the mapping reads or writes | of the mapping's types, no domain, no enum; not generated; from a cutover on no GENERATED ALWAYS AS IDENTITY and no timestamptz of fewer than six digits | the same, at once | `columns` |
//! | other columns, CHECKs, nullability, row-level security | any: a refused row is quarantined, and `doctor` reports hidden rows | the same | |
//! | foreign keys to the table | to `id`, alone or with columns that replication does not write, with any action; from a cutover on | the same, at once | `references` |
//! | foreign keys of the table | a journey entry or notification has a foreign key to the lead; others from other columns | any from columns that the mapping does not write | `references` |
//!
//! A shape that is not on the list is refused with the object's name and a remedy, before anything is
//! changed.
//! The judgement is pure; the facts are read with one query for each side.

mod columns;
mod facts;
mod keys;
mod references;
mod tables;
mod watch;

use tokio_postgres::Client;

use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::{Database, Databases};
pub use facts::{ColumnFacts, Facts, ForeignKey, IndexFacts, TableFacts};
pub use references::reached_by_others;
pub use watch::Watch;

/// Operation that a finding prevents. A finding that prevents replication also prevents a cutover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bars {
    /// The finding is only reported to the operator.
    Nothing,
    /// A cutover, because replication writes in the other direction after a cutover.
    Cutover,
    Replication,
}

/// A property of a table that is not on the list of admissible shapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// One of [`checks`].
    pub check: &'static str,
    pub bars: Bars,
    /// The property, with the object's name.
    pub what: Message,
    pub remedy: Message,
}

/// Names of the checks, each with the message for a side without a finding.
pub fn checks() -> [(&'static str, Message); 6] {
    [
        ("tables", message!("admission-tables-fine")),
        ("columns", message!("admission-columns-fine")),
        ("keys", message!("admission-keys-fine")),
        ("replica_identity", message!("admission-identity-fine")),
        ("references", message!("admission-references-fine")),
        ("triggers", message!("admission-triggers-fine")),
    ]
}

/// How much of the tables must exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Objects that `leadbridge migrate` creates may still be missing.
    BeforeMigrate,
    Whole,
}

/// One table, with everything that the judgement of the table may read.
struct Subject<'f> {
    side: Side,
    table: Table,
    /// Quoted and with its schema, for SQL that an operator runs.
    name: &'f str,
    /// Without its schema, for people.
    short: &'f str,
    /// The requested tables. Positions in the facts are indexes into this list.
    tables: &'f [Table],
    facts: &'f Facts,
    shape: &'f TableFacts,
    extent: Extent,
}

impl Subject<'_> {
    /// For a condition on written tables: replication writes to Traffic now, and to Landing after a cutover.
    fn bars_writing(&self) -> Bars {
        match self.side {
            Side::Landing => Bars::Cutover,
            Side::Traffic => Bars::Replication,
        }
    }
}

/// Tables of one side, and how much of the tables must exist.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionScope<'s> {
    pub side: Side,
    pub names: &'s Names,
    pub tables: &'s [Table],
    pub extent: Extent,
}

impl AdmissionScope<'_> {
    /// Names of the tables, quoted and with the schema.
    fn quoted(&self) -> Vec<String> {
        let name = |table: &Table| match self.side {
            Side::Landing => self.names.landing_table(*table),
            Side::Traffic => self.names.traffic_table(*table),
        };
        self.tables.iter().map(name).collect()
    }

    fn short(&self, table: Table) -> &str {
        match self.side {
            Side::Landing => self.names.landing_name(table),
            Side::Traffic => table.traffic_name(),
        }
    }

    /// Compares the facts with the list of admissible shapes.
    pub fn judge(&self, facts: &Facts) -> Vec<Unfit> {
        let AdmissionScope { side, tables, extent, .. } = *self;
        let mut unfit = Vec::new();
        for (position, (name, table)) in self.quoted().iter().zip(tables).enumerate() {
            match facts.table(position) {
                Some(shape) => {
                    let short = self.short(*table);
                    let subject = Subject { side, table: *table, name, short, tables, facts, shape, extent };
                    unfit.extend(judge_table(&subject));
                }
                None => unfit.extend(tables::missing(*self, *table, name)),
            }
        }
        unfit
    }

    /// Reads the facts of the side and judges the tables.
    ///
    /// # Errors
    /// The connection broke, or the role lacks the privilege to look into a schema.
    pub async fn examine(&self, client: &Client) -> Result<(Facts, Vec<Unfit>)> {
        let (_, facts, unfit) = self.confirm(client, Facts::read(client, self).await?).await?;
        Ok((facts, unfit))
    }

    /// Judges the facts of `document`, which was just read. Facts that bar something are read again until two
    /// documents agree, because a query finds names as of now, but catalog rows as of its snapshot: a table that
    /// was replaced during the query seems to be missing. Returns the document that counts.
    async fn confirm(&self, client: &Client, mut document: String) -> Result<(String, Facts, Vec<Unfit>)> {
        loop {
            let facts = Facts::parse(&document)?;
            let unfit = self.judge(&facts);
            if unfit.iter().all(|unfit| unfit.bars == Bars::Nothing) {
                return Ok((document, facts, unfit));
            }
            let again = Facts::read(client, self).await?;
            if again == document {
                return Ok((document, facts, unfit));
            }
            document = again;
        }
    }

    /// Checks that the tables may be replicated, or with [`Bars::Cutover`] also written to in either
    /// direction.
    ///
    /// # Errors
    /// Refused, with the first object that is not admissible; the errors of [`AdmissionScope::examine`].
    pub async fn admit(&self, client: &Client, purpose: Bars) -> Result<()> {
        let (_, unfit) = self.examine(client).await?;
        refusal(self.side, &unfit, purpose).map_or(Ok(()), Err)
    }
}

fn judge_table(subject: &Subject<'_>) -> Vec<Unfit> {
    let mut unfit = tables::judge(subject);
    // The other judgements hold for ordinary tables only, not for a view or a foreign table.
    if subject.shape.kind == "r" {
        unfit.extend(columns::judge(subject));
        unfit.extend(keys::judge(subject));
        unfit.extend(references::judge(subject));
    }
    unfit
}

/// Admits the tables of both sides, with all tables and columns that `leadbridge migrate` creates.
///
/// # Errors
/// The errors of [`AdmissionScope::admit`].
pub async fn admit_both(databases: Databases<'_>, tables: &[Table], purpose: Bars) -> Result<()> {
    for side in [Side::Landing, Side::Traffic] {
        let Database { client, names, .. } = databases.on(side);
        AdmissionScope { side, names, tables, extent: Extent::Whole }.admit(client, purpose).await?;
    }
    Ok(())
}

/// The error for findings that prevent `purpose`: names the first such finding and counts the others.
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
