//! The comparison while writers wait, which must be short for large tables, too.
//!
//! `verify` has compared every row shortly before, and nothing differed. So two conditions are enough inside
//! the fence: both sides have the same keys, and every row is equal that either side has written since. Small
//! tables are instead compared once more, row by row. For large tables, every row is compared after the
//! decision, on snapshots that are taken inside the fence.

use std::collections::BTreeSet;

use serde::Serialize;
use uuid::Uuid;

use super::journal::Direction;
use crate::compare::ranges::Keys;
use crate::compare::{self, Contents, key_set, reverse};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::written_since::written_since;
use crate::postgres::{Databases, wal};

/// Largest number of rows, written since the full comparison, that can be compared while writers wait.
const RECENT: usize = 50_000;

/// A transaction of each side. The full comparison has seen every row of earlier transactions.
#[derive(Clone, Debug)]
pub struct Horizon {
    landing: String,
    traffic: String,
}

impl Horizon {
    /// The horizon of this moment, to be taken before the full comparison begins.
    pub async fn now(databases: Databases<'_>) -> Result<Self> {
        // Every later snapshot sees the rows of transactions before the oldest running transaction. All other
        // rows count as written since.
        let landing = wal::oldest_running(databases.landing).await?;
        Ok(Horizon { landing, traffic: wal::oldest_running(databases.traffic).await? })
    }

    /// Condition on a row of `side`: the row was written since the horizon.
    pub(super) fn is_recent(&self, side: Side) -> String {
        written_since("xmin", self.xid(side))
    }

    fn xid(&self, side: Side) -> &str {
        match side {
            Side::Landing => &self.landing,
            Side::Traffic => &self.traffic,
        }
    }
}

/// Comparison of one table inside the fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableProof {
    /// Name of the table on Landing.
    pub table: String,
    pub landing_rows: u64,
    /// Rows of Traffic that came from Landing.
    pub traffic_rows: u64,
    /// Hash of all keys.
    pub landing_keys: String,
    pub traffic_keys: String,
    /// Rows that were written since the full comparison, and compared again.
    pub recent: u64,
    /// Rows that differ, among the rows that were compared.
    pub differences: u64,
    /// Hashes of every value of every row. `None` before the full comparison, and in a rollback.
    pub contents: Option<Contents>,
}

impl TableProof {
    pub fn is_equal(&self) -> bool {
        self.landing_rows == self.traffic_rows
            && self.landing_keys == self.traffic_keys
            && self.differences == 0
            && self.contents.is_none_or(|contents| contents.landing == contents.traffic)
    }
}

/// Landing and Traffic, with the direction of the cutover or rollback.
#[derive(Clone, Copy)]
pub struct FencedSides<'c> {
    pub direction: Direction,
    pub databases: Databases<'c>,
}

impl FencedSides<'_> {
    /// Compares the keys, and the rows that either side has written since `horizon`, or with `whole` all
    /// rows. Also returns the keys of the rows written since `horizon`.
    ///
    /// # Errors
    /// Refused when too many rows were written since `horizon` to be compared while writers wait.
    pub async fn prove(
        self,
        table: Table,
        horizon: &Horizon,
        whole: bool,
    ) -> Result<(TableProof, Vec<Uuid>)> {
        let (mut proof, recent) = self.keys(table, horizon).await?;
        if whole {
            self.prove_whole(table, &mut proof).await?;
        } else {
            let found = match self.direction {
                Direction::Cutover => compare::compare_rows(self.databases, table, &recent).await?,
                Direction::Rollback => reverse::compare_rows(self.databases, table, &recent).await?,
            };
            proof.differences = found.differences();
        }
        Ok((proof, recent))
    }

    /// Compares every value of every row, and puts the result into the proof. A cutover also compares hashes
    /// of both sides' contents. A rollback does not, because values that do not flow back make the hashes
    /// differ after a cutover.
    pub async fn prove_whole(self, table: Table, proof: &mut TableProof) -> Result<()> {
        match self.direction {
            Direction::Cutover => {
                let (found, contents) = compare::compare_content(self.databases, table).await?;
                (proof.differences, proof.contents) = (found.differences(), Some(contents));
            }
            Direction::Rollback => {
                proof.differences = reverse::compare(self.databases, table).await?.differences();
            }
        }
        Ok(())
    }

    /// Reads the keys of both sides, and the keys of the rows that either side has written since `horizon`.
    async fn keys(self, table: Table, horizon: &Horizon) -> Result<(TableProof, Vec<Uuid>)> {
        let name = self.databases.names.landing_name(table);
        let keys = |side| key_set::read(self.databases.on(side), (table, Keys::ALL), horizon.xid(side), None);
        let (ours, theirs) = tokio::try_join!(keys(Side::Landing), keys(Side::Traffic))?;
        let recent: BTreeSet<Uuid> = ours.written.into_iter().chain(theirs.written).collect();
        if recent.len() > RECENT {
            return Err(Error::refused(format!(
                "{} rows of {} were written since they were compared: too many to look at while writers wait",
                recent.len(),
                name
            ))
            .remedy(message!("cutover-remedy-quieter-moment")));
        }
        let recent: Vec<Uuid> = recent.into_iter().collect();
        let proof = TableProof {
            table: name.to_owned(),
            landing_rows: ours.rows,
            traffic_rows: theirs.rows,
            landing_keys: ours.hash,
            traffic_keys: theirs.hash,
            recent: recent.len() as u64,
            differences: 0,
            contents: None,
        };
        Ok((proof, recent))
    }
}
