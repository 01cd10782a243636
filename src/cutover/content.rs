//! The comparison while writers wait: short, whatever the size of the tables.
//!
//! `verify` has compared every row a moment before, and nothing differed. So inside the fence it is enough that both
//! sides have the same keys, and that every row is equal which either side has written since. Where the tables are
//! small enough, every row is compared once more instead; otherwise that is done on snapshots that are taken inside
//! the fence and read after it.

use std::collections::BTreeSet;

use serde::Serialize;
use tokio_postgres::Client;
use uuid::Uuid;

use super::journal::Direction;
use crate::change::Table;
use crate::error::{Error, Result};
use crate::landing::catalog;
use crate::names::Names;
use crate::reverse;
use crate::verify::{self, Contents};

/// Rows written since the full comparison, beyond which they are too many to compare while writers wait.
const RECENT: usize = 50_000;

/// Before which transaction everything has been compared, on each side.
#[derive(Clone, Debug)]
pub struct Horizon {
    landing: String,
    traffic: String,
}

impl Horizon {
    /// As of now: to be taken before the full comparison begins.
    pub async fn now(landing: &Client, traffic: &Client) -> Result<Self> {
        // What a snapshot sees was written before the oldest transaction that runs, or is still to be written.
        let (landing, traffic) =
            (catalog::oldest_running(landing).await?, catalog::oldest_running(traffic).await?);
        Ok(Horizon { landing, traffic })
    }

    /// A condition on a row of a Traffic table: it was written since.
    pub(super) fn is_recent_on_traffic(&self) -> String {
        is_recent(&self.traffic)
    }
}

/// As a condition on a row of that side: it was written since.
fn is_recent(horizon: &str) -> String {
    // A transaction's age counts back from the newest, so it compares across a wrap-around of ids. The number is the
    // server's own text.
    format!("age(xmin) <= age('{horizon}'::xid8::xid)")
}

/// One table, as both sides have it behind the fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableProof {
    /// Its name on Landing.
    pub table: &'static str,
    pub landing_rows: u64,
    /// Those that came from Landing.
    pub traffic_rows: u64,
    /// A hash of all keys.
    pub landing_keys: String,
    pub traffic_keys: String,
    /// Rows that were written since the full comparison, and compared again.
    pub recent: u64,
    /// Rows that differ, of those that were compared here.
    pub differences: u64,
    /// Of every value of every row; `None` until it is known.
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

/// Landing and Traffic, and which way the leads move between them.
#[derive(Clone, Copy)]
pub struct FencedSides<'c> {
    pub direction: Direction,
    pub landing: &'c Client,
    pub traffic: &'c Client,
    pub names: &'c Names,
}

impl FencedSides<'_> {
    /// Compares keys, and of the rows those that either side has written since `horizon`, or with `whole` all. Answers
    /// which were written since, too.
    ///
    /// # Errors
    /// Refused when too much was written since to be compared while writers wait.
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
            let FencedSides { direction, landing, traffic, names } = self;
            proof.differences = match direction {
                Direction::Cutover => {
                    verify::compare_rows(landing, traffic, names, table, &recent).await?.differences()
                }
                Direction::Rollback => {
                    reverse::compare_rows(landing, traffic, names, table, &recent).await?.differences()
                }
            };
        }
        Ok((proof, recent))
    }

    /// Compares every value of every row, and puts what is found into the proof: in a cutover also the hashes of both
    /// sides, which what does not flow back would make differ after it.
    pub async fn prove_whole(self, table: Table, proof: &mut TableProof) -> Result<()> {
        let FencedSides { direction, landing, traffic, names } = self;
        match direction {
            Direction::Cutover => {
                let (found, contents) = verify::compare_content(landing, traffic, names, table).await?;
                (proof.differences, proof.contents) = (found.differences(), Some(contents));
            }
            Direction::Rollback => {
                let found = reverse::compare(landing, traffic, names, &[table], 0).await?;
                proof.differences = found.iter().map(reverse::Compared::differences).sum();
            }
        }
        Ok(())
    }

    /// The keys of both sides, and which rows either side has written since.
    async fn keys(self, table: Table, horizon: &Horizon) -> Result<(TableProof, Vec<Uuid>)> {
        let (on_landing, on_traffic) = (self.names.landing_table(table), self.names.traffic_table(table));
        let from_landing = "landing_synced_at IS NOT NULL";
        let (ours, theirs) = tokio::try_join!(
            keys(self.landing, &on_landing, "true", &horizon.landing),
            keys(self.traffic, &on_traffic, from_landing, &horizon.traffic),
        )?;
        let recent: BTreeSet<Uuid> = ours.recent.into_iter().chain(theirs.recent).collect();
        if recent.len() > RECENT {
            return Err(Error::refused(format!(
                "{} rows of {} were written since they were compared: too many to look at while writers wait",
                recent.len(),
                table.landing_name()
            ))
            .remedy("begin again at a quieter moment"));
        }
        let recent: Vec<Uuid> = recent.into_iter().collect();
        let proof = TableProof {
            table: table.landing_name(),
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

struct KeySet {
    rows: u64,
    hash: String,
    recent: Vec<Uuid>,
}

async fn keys(client: &Client, table: &str, which: &str, horizon: &str) -> Result<KeySet> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(uuid_hash_extended(id, 0)), 0)::text,
                coalesce(array_agg(id) FILTER (WHERE {}), '{{}}')
         FROM {table} WHERE {which}",
        is_recent(horizon)
    );
    let row = client.query_one(&sql, &[]).await;
    let row = row.map_err(|error| Error::database(format!("reading the keys of {table}"), &error))?;
    Ok(KeySet { rows: row.get::<_, i64>(0).unsigned_abs(), hash: row.get(1), recent: row.get(2) })
}
