//! Changed keys on Landing: a row whose key changes on Traffic stays the row, with everything on Landing that
//! refers to the row.
//!
//! A load may be carried twice, and changing keys twice would take a key from another row. So the position of a
//! load with changed keys is recorded on Landing, in the transaction of the rows (`changed_keys`). Landing also
//! records the rows that it refuses under their new key and holds under the earlier key (`held_keys`).

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{PgLsn, ToSql};
use uuid::Uuid;

use super::LandingWriter;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::language::message;
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::Database;
use crate::postgres::references::{self, Reference};
use crate::postgres::step::{Step, during};
use crate::postgres::write::Savepoint;
use crate::quarantine::RefusalCause;
use crate::quarantine::held::KeysOnTarget;

/// Undoes a changed key that Landing refuses.
const KEY: Savepoint = Savepoint(Side::Landing, "key");

const TABLES: [&str; 2] = ["changed_keys", "held_keys"];

/// Whether this role may record changed keys: `migrate` has made the tables, and the role may write there.
pub async fn may_record(landing: Database<'_>) -> Result<bool> {
    let sql = "SELECT bool_and(COALESCE(has_table_privilege(to_regclass(name), kind), false)) \
               FROM unnest($1::text[]) AS name, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS kind";
    let tables = TABLES.map(|table| landing.names.own(table));
    Ok(landing.during("looking for changed keys on Landing").row(sql, &[&&tables[..]]).await?.get(0))
}

/// A transaction of Traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedTransaction {
    /// Position of the commit record.
    pub commit: Lsn,
    /// Timeline of Traffic that has the commit record.
    pub timeline: u32,
}

/// As [`LandingWriter::carried`].
///
/// # Errors
/// Refused where this role may not record changed keys.
pub(super) async fn carried(landing: Database<'_>, cutover: Uuid) -> Result<Option<CarriedTransaction>> {
    if !may_record(landing).await? {
        return Err(Error::refused(format!(
            "the tables {} are not in the schema {} on Landing, or this role may not write to them",
            TABLES.join(" and "),
            landing.names.schema
        ))
        .remedy(message!("landing-remedy-changed-keys")));
    }
    let sql = format!(
        "SELECT carried_lsn, traffic_timeline FROM {} WHERE cutover_id = $1",
        landing.names.own("changed_keys")
    );
    let row = landing.during("looking for changed keys on Landing").row_if_any(&sql, &[&cutover]).await?;
    Ok(row.map(|row| CarriedTransaction {
        commit: row.get::<_, PgLsn>(0).into(),
        timeline: row.get::<_, i32>(1).unsigned_abs(),
    }))
}

impl LandingWriter {
    /// The last transaction that must not be carried again, because its load or a later load has changed keys on
    /// Landing; as of the start of the session.
    pub fn carried(&self) -> Option<CarriedTransaction> {
        self.carried
    }

    /// Records that every transaction up to `last` is on Landing once the open transaction commits.
    pub async fn record_carried(&self, last: CarriedTransaction) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} (cutover_id, carried_lsn, traffic_timeline) VALUES ($1, $2, $3) ON CONFLICT (cutover_id) \
             DO UPDATE SET carried_lsn = EXCLUDED.carried_lsn, traffic_timeline = EXCLUDED.traffic_timeline",
            self.names.own("changed_keys")
        );
        let CarriedTransaction { commit, timeline } = last;
        let values: [&(dyn ToSql + Sync); 3] = [&self.cutover, &PgLsn::from(commit), &timeline.cast_signed()];
        self.recording().run(&sql, &values).await?;
        Ok(())
    }

    /// Whether Landing holds a row under an earlier key.
    pub async fn holds_any(&self) -> Result<bool> {
        let sql =
            format!("SELECT EXISTS (SELECT FROM {} WHERE cutover_id = $1)", self.names.own("held_keys"));
        Ok(self.recording().row(&sql, &[&self.cutover]).await?.get(0))
    }

    /// The rows that Landing holds under an earlier key, where either key is among `ids`.
    pub async fn held(&self, table: Table, ids: &[Uuid]) -> Result<KeysOnTarget> {
        let sql = format!(
            "SELECT row_id, held_under FROM {} WHERE cutover_id = $1 AND traffic_table = $2 \
             AND (row_id = ANY ($3) OR held_under = ANY ($3))",
            self.names.own("held_keys")
        );
        let rows = self.recording().rows(&sql, &[&self.cutover, &table.traffic_name(), &ids]).await?;
        Ok(KeysOnTarget(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
    }

    /// Records that Landing holds the row `id` under the key `under`.
    pub async fn hold(&self, table: Table, id: Uuid, under: Uuid) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} (cutover_id, traffic_table, row_id, held_under) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (cutover_id, traffic_table, row_id) DO UPDATE SET held_under = EXCLUDED.held_under",
            self.names.own("held_keys")
        );
        self.recording().run(&sql, &[&self.cutover, &table.traffic_name(), &id, &under]).await?;
        Ok(())
    }

    /// Forgets the record of rows that Landing has under their own key, or no longer has.
    pub async fn let_go(&self, table: Table, ids: &[Uuid]) -> Result<()> {
        let sql = format!(
            "DELETE FROM {} WHERE cutover_id = $1 AND traffic_table = $2 AND row_id = ANY ($3)",
            self.names.own("held_keys")
        );
        self.recording().run(&sql, &[&self.cutover, &table.traffic_name(), &ids]).await?;
        Ok(())
    }

    fn recording(&self) -> Step<'_> {
        during(&self.session, "recording changed keys on Landing")
    }

    /// Gives the row `old` the key `new`, together with everything that refers to the row. Nothing happens where
    /// Landing does not have the row. Another row under `new` is a row that Traffic no longer has: the row is
    /// deleted, without its journey entries and notifications, which the stream deletes.
    ///
    /// # Errors
    /// Every error except a refusal.
    pub async fn change_key(
        &self,
        table: Table,
        (old, new): (Uuid, Uuid),
    ) -> Result<std::result::Result<(), RefusalCause>> {
        let found = self.ids_among(table, &[old, new]).await?;
        if !found.contains(&old) {
            return Ok(Ok(()));
        }
        KEY.set(&self.session).await?;
        let changed = self.replace(table, (old, new), found.contains(&new)).await;
        // A table that this role may not write to concerns only the rows that the table refers to.
        let changed = changed.map_err(|error| match error.sqlstate() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => error.of_kind(Kind::Row),
            _ => error,
        });
        let closed = KEY.close(&self.session, changed).await?;
        reach(Point::ReverseKeyMoved);
        Ok(closed.map_err(|error| RefusalCause::of(&error)))
    }

    async fn replace(&self, table: Table, (old, new): (Uuid, Uuid), is_taken: bool) -> Result<()> {
        if !is_taken {
            return self.rename(table, (old, new)).await;
        }
        let aside = Uuid::new_v4();
        self.rename(table, (new, aside)).await?;
        self.rename(table, (old, new)).await?;
        let step = format!("replacing a row of {} on Landing", self.names.landing_name(table));
        if table == Table::LandingLeads {
            for child in self.targets.keys().filter(|child| child.lead_column().is_some()) {
                let child = self.names.landing_table(*child);
                let sql = format!("UPDATE {child} SET lead_id = $1 WHERE lead_id = $2");
                during(&self.session, &*step).write(&sql, &[&new, &aside]).await?;
            }
        }
        let sql = format!("DELETE FROM {} WHERE id = $1", self.names.landing_table(table));
        self.fire_triggers(true).await?;
        if during(&self.session, &*step).write(&sql, &[&aside]).await? == 0 {
            return Err(Error::skipped(step));
        }
        self.fire_triggers(false).await
    }

    /// Referring columns that this role may not update are left to the foreign keys' own actions.
    async fn rename(&self, table: Table, keys: (Uuid, Uuid)) -> Result<()> {
        let name = self.names.landing_table(table);
        let mut step = format!("changing a key of {} on Landing", self.names.landing_name(table));
        let found = references::referring(&self.session, &step, &name).await?;
        let (own, others): (Vec<Reference>, Vec<Reference>) =
            found.into_iter().partition(|reference| reference.may_update);
        if let Some(first) = others.iter().find(|other| other.loses).or(others.first()) {
            let Reference { table, column, .. } = first;
            step += &format!(
                ", where this role lacks the right that GRANT SELECT ({column}), UPDATE ({column}) ON {table} gives"
            );
        }
        if others.iter().any(|other| other.loses) {
            let lost = "the foreign key's own ON UPDATE action would lose the reference";
            return Err(Error::server(step, SqlState::INSUFFICIENT_PRIVILEGE, lost));
        }
        if !others.is_empty() {
            self.fire_triggers(true).await?;
        }
        let found = references::change_key(&self.session, &step, (&name, &own), keys).await?;
        if !others.is_empty() {
            self.fire_triggers(false).await?;
        }
        if found { Ok(()) } else { Err(Error::internal(format!("{step}: the row is gone"))) }
    }
}
