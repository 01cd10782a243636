//! The only session that writes to Landing after the switch. The session passes the fence and suppresses
//! Landing's triggers, except for deletes.

mod keys;
mod statements;
mod together;

use std::collections::HashMap;
use std::sync::Arc;

pub use keys::{CarriedTransaction, may_record};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::batch::bisect::{Bisection, middle};
use crate::capture::layout::Layout;
use crate::error::{Error, Kind, Result, row_refusal};
use crate::fence::pass as fence;
use crate::landing::catalog::{self, CatalogColumn};
use crate::landing::reading;
use crate::mapping::inverse::ColumnPlace;
use crate::mapping::{Mapping, TableMapping};
use crate::model::change::{ColumnType, Datum, Row, Table};
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::paging::PageStart;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::write::{CHECK_AND_DEFER, CHECK_DEFERRED, OWN_SEARCH_PATH, Savepoint, WriteSession};
use crate::postgres::{Database, Session, wal};
use crate::quarantine::RefusalCause;

/// Undoes a load as a whole.
const LOAD: Savepoint = Savepoint(Side::Landing, "load");

/// Undoes a range of acts.
const RANGE: Savepoint = Savepoint(Side::Landing, "range");

/// A Landing table to which rows are written.
#[derive(Clone, Debug)]
pub struct LandingTarget {
    pub layout: Layout,
    /// A place for each of [`TableMapping::columns`].
    pub places: Vec<ColumnPlace>,
    /// Landing's column for each of [`TableMapping::columns`]; `None` for a column that the mapping does not
    /// carry.
    columns: Vec<Option<CatalogColumn>>,
}

impl LandingTarget {
    /// # Errors
    /// A table or a column that the mapping needs is missing on Landing.
    pub async fn read(landing: Database<'_>, mapping: &Arc<TableMapping>) -> Result<Self> {
        let Database { client, names, .. } = landing;
        let layout = catalog::layout(client, names, mapping).await?;
        let on_landing = catalog::columns(client, names, mapping.table).await?;
        let carried = mapping.columns().iter().enumerate().map(|(at, column)| {
            let is_named = |found: &&CatalogColumn| mapping.has(at) && found.name == column.name;
            on_landing.iter().find(is_named).cloned()
        });
        let columns: Vec<_> = carried.collect();
        let place = |column: &Option<CatalogColumn>| ColumnPlace {
            is_written: column.as_ref().is_some_and(|column| !column.is_generated),
            is_not_null: column.as_ref().is_some_and(|column| column.is_not_null),
            has_default: column.as_ref().is_some_and(|column| column.default.is_some()),
        };
        Ok(LandingTarget { layout, places: columns.iter().map(place).collect(), columns })
    }

    /// The column at a position of [`TableMapping::columns`].
    fn column(&self, at: usize) -> Option<&CatalogColumn> {
        self.columns.get(at)?.as_ref()
    }
}

/// One change of one row.
#[derive(Debug)]
pub enum Act {
    Insert(Row),
    /// `keeps_json`: Landing's JSON values are equal already, and are not written.
    Update {
        row: Row,
        keeps_json: bool,
    },
    Delete(Uuid),
}

impl Act {
    pub fn id(&self) -> Uuid {
        match self {
            Act::Insert(row) | Act::Update { row, .. } => row.id,
            Act::Delete(id) => *id,
        }
    }
}

/// Landing's WAL position and clock after a commit of the writer.
#[derive(Clone, Copy, Debug)]
pub struct LandingPosition {
    /// A flushed position, after everything committed by the writer.
    pub flushed: Lsn,
    pub now: Timestamp,
}

/// Writes to Landing, in one transaction at a time. After any error but a refused row the writer must be
/// dropped.
pub struct LandingWriter {
    session: WriteSession,
    names: Names,
    cutover: Uuid,
    targets: HashMap<Table, LandingTarget>,
    /// As [`LandingWriter::carried`].
    carried: Option<CarriedTransaction>,
}

impl LandingWriter {
    /// Takes the right to write, which lasts as long as the session. So rows read by an earlier daemon are
    /// never written after rows read by this daemon.
    ///
    /// # Errors
    /// Refused when the fence of the cutover does not stand, or lets another role pass. Transient while
    /// another session of leadbridge still writes.
    pub async fn new(
        session: Session,
        (names, mapping): (&Names, &Mapping),
        tables: &[Table],
        cutover: Uuid,
    ) -> Result<Self> {
        fence::take_right(Database::landing(&session, names)).await?;
        fence::check(Database::landing(&session, names), cutover).await?;
        // The earlier session has ended, so every commit of the session is visible.
        let carried = keys::carried(Database::landing(&session, names), cutover).await?;
        during(&session, "preparing to write to Landing").batch("SET leadbridge.passes_fence = 'on'").await?;
        let session = WriteSession::new(session, Side::Landing).await?;
        if session.triggers() == TriggerControl::GuardTriggers {
            tracing::warn!(
                "the role may not set session_replication_role on Landing: Landing's own triggers fire for \
                 replicated rows, and updated_at becomes the time of replication; GRANT SET ON PARAMETER \
                 session_replication_role prevents both"
            );
        }
        let mut targets = HashMap::new();
        for &table in tables {
            targets.insert(
                table,
                LandingTarget::read(Database::landing(&session, names), mapping.of(table)).await?,
            );
        }
        Ok(LandingWriter { session, names: names.clone(), cutover, targets, carried })
    }

    pub fn target(&self, table: Table) -> Result<&LandingTarget> {
        let unknown = || Error::internal(format!("{} has no reverse replication", table.traffic_name()));
        self.targets.get(&table).ok_or_else(unknown)
    }

    fn database(&self) -> Database<'_> {
        Database::landing(&self.session, &self.names)
    }

    /// Opens a transaction if none is open. Where checks can be deferred, a savepoint makes the load undoable
    /// as a whole.
    pub async fn begin(&mut self) -> Result<()> {
        if !self.session.in_transaction() {
            self.session.open(&self.session.opening("BEGIN")).await?;
            fence::hold(self.database(), self.cutover).await?;
        }
        if self.session.may_defer() {
            LOAD.set(&self.session).await?;
        }
        Ok(())
    }

    /// Runs the deferred checks on the load as a whole, because rows may be valid only together. If a check
    /// refuses the load, the load is undone and all checks become immediate, so that the next attempt shows
    /// the refused row. Returns whether the load must be written again.
    pub async fn check_deferred(&mut self) -> Result<bool> {
        if !self.session.may_defer() {
            return Ok(false);
        }
        let sql = format!("{CHECK_AND_DEFER}; RELEASE load");
        if row_refusal(self.session.check_deferred(&sql).await)?.is_ok() {
            return Ok(false);
        }
        let sql = format!("ROLLBACK TO load; {}; {CHECK_DEFERRED}", self.session.triggers().suppress());
        self.session.execute("undoing a load", &sql).await?;
        Ok(true)
    }

    /// Commits the open transaction, if there is one.
    ///
    /// # Errors
    /// The errors of [`WriteSession::commit`].
    pub async fn commit(&mut self) -> Result<()> {
        self.session.commit().await
    }

    /// Landing's WAL position and clock, provided that the fence still keeps others from writing there.
    ///
    /// # Errors
    /// Transient when the fence was lifted: a rollback is under way, or somebody has lifted the fence by
    /// hand.
    pub async fn standing(&self) -> Result<LandingPosition> {
        let sample = wal::sample(&self.session).await?;
        // The fence is read after the sample, in a new snapshot. If the fence stands now, the fence stood at
        // the time of the sample.
        if !fence::stands(self.database(), self.cutover).await? {
            return Err(Error::new(Kind::Transient, "the fence around Landing's tables was lifted"));
        }
        Ok(LandingPosition { flushed: sample.flushed, now: sample.now })
    }

    /// Passes the Landing rows with these ids to `take`, one row at a time.
    pub async fn each_row(&self, table: Table, ids: &[Uuid], take: impl FnMut(Row)) -> Result<()> {
        reading::each_by_id(&self.session, &self.names, &self.target(table)?.layout, ids, take).await
    }

    /// The ids of the rows that belong to these leads, each with the id of the lead.
    pub async fn of_leads(&self, table: Table, leads: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>> {
        let sql =
            format!("SELECT id, lead_id FROM {} WHERE lead_id = ANY ($1)", self.names.landing_table(table));
        let found = during(&self.session, "looking for what belongs to leads on Landing")
            .rows(&sql, &[&leads])
            .await?;
        Ok(found.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Whether Landing has at least one of these rows.
    async fn has_any(&self, table: Table, ids: &[Uuid]) -> Result<bool> {
        let sql =
            format!("SELECT EXISTS (SELECT FROM {} WHERE id = ANY ($1))", self.names.landing_table(table));
        let found = during(&self.session, "looking for rows on Landing").row(&sql, &[&ids]).await?;
        Ok(found.get(0))
    }

    /// The ids among `ids` of rows that Landing has.
    pub async fn ids_among(&self, table: Table, ids: &[Uuid]) -> Result<Vec<Uuid>> {
        let sql = format!("SELECT id FROM {} WHERE id = ANY ($1)", self.names.landing_table(table));
        let found = during(&self.session, "looking for rows on Landing").rows(&sql, &[&ids]).await?;
        Ok(found.iter().map(|row| row.get(0)).collect())
    }

    /// A page of a table's keys, sorted.
    pub async fn keys(&self, table: Table, start: PageStart, count: i64) -> Result<Vec<Uuid>> {
        let table = self.names.landing_table(table);
        let sql = format!("SELECT id FROM {table} WHERE {} ORDER BY id LIMIT $2", start.condition("id"));
        let step = during(&self.session, "reading keys on Landing");
        let found = step.rows(&sql, &[start.key(), &count]).await?;
        Ok(found.iter().map(|row| row.get(0)).collect())
    }

    /// Switches Landing's triggers: on for deletes, so that Landing's cascades act, and off for writes.
    pub async fn fire_triggers(&self, on: bool) -> Result<()> {
        self.session.fire_triggers(on).await
    }

    /// Applies the acts, and returns each row refused by Landing, with the reason. A refused range of acts is
    /// bisected until the failing act is alone.
    async fn bisect(&self, table: Table, acts: &[&Act]) -> Result<Vec<(Uuid, RefusalCause)>> {
        let (mut refused, mut bisection) = (Vec::new(), Bisection::new(acts, middle));
        while let Some(range) = bisection.next_range() {
            RANGE.set(&self.session).await?;
            let applied = self.apply_range(table, range).await;
            let Err(error) = RANGE.close(&self.session, applied).await? else { continue };
            let Some(act) = bisection.refuse(range) else { continue };
            if error.may_be_of_search_path() && self.passes_elsewhere(table, range).await? {
                return Err(error.into_refused());
            }
            refused.push((act.id(), RefusalCause::of(&error)));
        }
        Ok(refused)
    }

    /// Whether acts that failed because a function did not find a name succeed under the role's own
    /// `search_path`. Then the row is not to blame. The attempt is undone.
    async fn passes_elsewhere(&self, table: Table, range: &[&Act]) -> Result<bool> {
        let sql = format!("SAVEPOINT range; {OWN_SEARCH_PATH}");
        self.session.execute("setting the search_path", &sql).await?;
        let tried = self.apply_range(table, range).await;
        RANGE.discard(&self.session).await?;
        Ok(row_refusal(tried)?.is_ok())
    }

    async fn apply_range(&self, table: Table, range: &[&Act]) -> Result<()> {
        let target = self.target(table)?;
        let (mut new, mut changed, mut kept, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for act in range {
            match act {
                Act::Insert(row) => new.push((row, false)),
                Act::Update { row, keeps_json } => {
                    changed.push((row, *keeps_json));
                    kept.push(*keeps_json);
                }
                Act::Delete(id) => gone.push(*id),
            }
        }
        let step = |doing: &str| format!("{doing} {} on Landing", self.names.landing_name(table));
        if !new.is_empty() {
            let (columns, sql) = (columns(target, &new), statements::insert(&self.names, target));
            let step = step("inserting into");
            let written = during(&self.session, &*step).write(&sql, &parameters(&columns)).await?;
            all(written, new.len(), step)?;
        }
        if !changed.is_empty() {
            let (columns, sql) = (columns(target, &changed), statements::update(&self.names, target));
            let mut parameters = parameters(&columns);
            parameters.push(&kept);
            let step = step("updating");
            let written = during(&self.session, &*step).write(&sql, &parameters).await?;
            all(written, changed.len(), step)?;
        }
        if !gone.is_empty() {
            let (sql, step) = (statements::delete(&self.names, target), step("deleting from"));
            let deleted = during(&self.session, &*step).write(&sql, &[&gone]).await?;
            // Usually fewer rows are deleted because Landing never had a row, or a cascade deleted the row
            // first. A row that is still on Landing was left out by a trigger.
            if deleted < gone.len() as u64 && self.has_any(table, &gone).await? {
                return Err(Error::skipped(step));
            }
        }
        Ok(())
    }
}

fn parameters<'c>(columns: &'c [Vec<Option<&str>>]) -> Vec<&'c (dyn ToSql + Sync)> {
    columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect()
}

/// Fails unless all rows were written. Nobody else writes to Landing, so a trigger has left the missing rows
/// out.
fn all(written: u64, sent: usize, step: String) -> Result<()> {
    if written == sent as u64 { Ok(()) } else { Err(Error::skipped(step)) }
}

/// An array of texts for each written column. JSON values are not sent if Landing keeps its own.
fn columns<'r>(target: &LandingTarget, rows: &[(&'r Row, bool)]) -> Vec<Vec<Option<&'r str>>> {
    let column = |(at, kind): (usize, ColumnType)| {
        let text = |(row, keeps_json): &(&'r Row, bool)| match kind {
            ColumnType::Jsonb if *keeps_json => None,
            _ => row.values.get(at).and_then(Datum::as_str),
        };
        rows.iter().map(text).collect()
    };
    statements::written(target).map(|(at, known)| column((at, known.kind))).collect()
}
