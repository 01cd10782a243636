//! The comparison of a dry run where the daemon has verified in the background a short time ago: the keys of all rows, and
//! the rows that either side has written since. A cutover that is carried out compares every row itself, always.

use std::time::Duration;

use jiff::Timestamp;

use super::ReadinessTerms;
use crate::compare::live::orphaned;
use crate::compare::ranges::{RangedTable, basis};
use crate::config::Config;
use crate::error::Result;
use crate::landing::catalog;
use crate::model::side::Side;
use crate::postgres::Databases;
use crate::quarantine::Quarantine;
use crate::verification::record;

/// A round that ended earlier is no reason to compare less.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// What a dry run has found with the help of a round.
pub(super) struct ByRound {
    pub number: u64,
    pub ended_at: Timestamp,
    /// Rows of Landing.
    pub rows: u64,
    /// Rows whose values the dry run has read.
    pub read: u64,
    pub conversion_notes: u64,
}

/// `None` where there is no recent clean round, and where something differs: then every row is to be compared, which
/// tells what differs in the words of `verify`.
///
/// # Errors
/// A database cannot be read.
pub(super) async fn by_round(
    config: &Config,
    terms: &ReadinessTerms,
    databases: Databases<'_>,
) -> Result<Option<ByRound>> {
    let (traffic, tables, now) = (databases.on(Side::Traffic), config.tables(), Timestamp::now());
    let record = record::read(traffic).await?;
    let Some((round, last)) = record.round.as_ref().and_then(|round| Some((round, round.last.as_ref()?)))
    else {
        return Ok(None);
    };
    let mapping = catalog::mapping(databases, &tables).await?;
    let is_recent = now.duration_since(last.ended_at).unsigned_abs() < RECENT;
    let is_same = round.basis == basis(traffic, &mapping, &tables).await?;
    if !(last.is_clean() && is_recent && is_same && record.is_complete(&tables)) {
        return Ok(None);
    }
    let mut found =
        ByRound { number: last.number, ended_at: last.ended_at, rows: 0, read: 0, conversion_notes: 0 };
    for &table in &tables {
        if orphaned(traffic, table).await? > 0 {
            return Ok(None);
        }
        let ranged = RangedTable::open(databases, table).await?;
        for range in record.ranges.iter().filter(|range| range.table == table) {
            let known = range.known(config.verify.full_every, now);
            let compared = ranged.compare(range.keys, known, terms.verify_wait).await?;
            if compared.is_open || compared.counts.all() > 0 {
                return Ok(None);
            }
            found.rows += compared.rows;
            found.read += compared.read;
        }
    }
    found.conversion_notes = Quarantine::count_beside_notes(traffic.client, traffic.names).await?.1;
    Ok(Some(found))
}
