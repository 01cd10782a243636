//! What is dropped: the slots, the publications, and what could open Landing's fence. Not the fence itself.

use std::fmt;

use postgres_protocol::escape::{escape_identifier, escape_literal};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::behind::patiently;
use crate::database::Side;
use crate::error::{Error, Result};
use crate::names::Names;

/// Functions that a role may call to close, keep or lift a fence. `refuse_write` is not one: the triggers that keep
/// Landing closed are made of it.
const CALLABLE: [&str; 6] =
    ["close_fence", "fenced_tables", "hold_fence", "keep_fence", "lift_fence", "remove_lifted_fence"];

/// In the order in which they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    Slot,
    Publication,
    Function,
}

/// Something of ours in one of the databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedObject {
    pub database: Side,
    pub kind: ObjectKind,
    pub name: String,
    /// Drops it; does nothing when it is not there.
    pub sql: String,
    /// Whose it is; a slot is nobody's.
    pub owner: Option<String>,
    /// Whether our role may drop it.
    pub permitted: bool,
}

/// `slot leadbridge on the Landing DB`.
impl fmt::Display for OwnedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ObjectKind::Slot => "slot",
            ObjectKind::Publication => "publication",
            ObjectKind::Function if self.name.contains("), ") => "functions",
            ObjectKind::Function => "function",
        };
        write!(f, "{kind} {} on the {}", self.name, self.database)
    }
}

/// One line for each kind on each side: `functions a(), b() on the Traffic DB`.
pub fn summary<'o>(objects: impl Iterator<Item = &'o OwnedObject>) -> Vec<String> {
    let mut groups: Vec<OwnedObject> = Vec::new();
    for object in objects {
        match groups.last_mut() {
            Some(group) if (group.kind, group.database) == (object.kind, object.database) => {
                group.name = format!("{}, {}", group.name, object.name);
            }
            _ => groups.push(object.clone()),
        }
    }
    groups.iter().map(OwnedObject::to_string).collect()
}

/// Everything of ours that is there now, in the order in which it goes: Traffic's slot first, so that nothing can
/// come back to Landing from then on.
///
/// # Errors
/// Refused when a slot that is there is in use, is not ours, or may not be dropped by our role: it would keep WAL for
/// ever.
pub async fn find(landing: &Client, traffic: &Client, names: &Names) -> Result<Vec<OwnedObject>> {
    let mut found = Vec::new();
    for (side, client, name) in
        [(Side::Traffic, traffic, names.reverse_slot()), (Side::Landing, landing, names.slot.clone())]
    {
        // In use by whoever does not hold the lease: better known before the first one is dropped.
        found.extend(patiently(async || slot(side, client, &name).await).await?);
    }
    for (side, client, name) in [
        (Side::Landing, landing, names.publication.clone()),
        (Side::Traffic, traffic, names.reverse_publication()),
    ] {
        found.extend(publication(side, client, &name).await?);
    }
    for (side, client) in [(Side::Landing, landing), (Side::Traffic, traffic)] {
        found.extend(functions(side, client, names).await?);
    }
    Ok(found)
}

async fn slot(side: Side, client: &Client, name: &str) -> Result<Option<OwnedObject>> {
    let sql = "SELECT r.rolsuper OR r.rolreplication, \
               COALESCE(s.plugin = 'pgoutput' AND s.database = current_database(), false), s.active_pid \
               FROM pg_replication_slots AS s, pg_roles AS r \
               WHERE s.slot_name = $1 AND r.rolname = current_user";
    let row = client.query_opt(sql, &[&name]).await;
    let step = format!("looking for the slot on the {side}");
    let row = row.map_err(|error| Error::database(&step, &error))?;
    let Some(row) = row else { return Ok(None) };
    if !row.get::<_, bool>(1) {
        return Err(Error::refused(format!(
            "the slot `{name}` on the {side} is not ours: it is never touched"
        ))
        .remedy("find out whose it is and drop it there, or check [names] slot in the configuration"));
    }
    if !row.get::<_, bool>(0) {
        return Err(Error::refused(format!("our role may not drop the slot `{name}` on the {side}"))
            .remedy("run there as a superuser: ALTER ROLE … REPLICATION, then run it again"));
    }
    if let Some(pid) = row.get::<_, Option<i32>>(2) {
        let message = format!("`{name}` is in use by process {pid} there");
        return Err(Error::server(step, SqlState::OBJECT_IN_USE, &message));
    }
    let sql = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {}",
        escape_literal(name)
    );
    Ok(Some(OwnedObject {
        database: side,
        kind: ObjectKind::Slot,
        name: name.to_owned(),
        sql,
        owner: None,
        permitted: true,
    }))
}

async fn publication(side: Side, client: &Client, name: &str) -> Result<Option<OwnedObject>> {
    let sql = "SELECT pg_get_userbyid(pubowner)::text, pg_has_role(pubowner, 'USAGE') FROM pg_publication \
               WHERE pubname = $1";
    let row = client.query_opt(sql, &[&name]).await;
    let row =
        row.map_err(|error| Error::database(format!("looking for the publication on the {side}"), &error))?;
    Ok(row.map(|row| OwnedObject {
        database: side,
        kind: ObjectKind::Publication,
        name: name.to_owned(),
        sql: format!("DROP PUBLICATION IF EXISTS {}", escape_identifier(name)),
        owner: row.get(0),
        permitted: row.get(1),
    }))
}

async fn functions(side: Side, client: &Client, names: &Names) -> Result<Vec<OwnedObject>> {
    // Whoever owns the schema may drop what is in it, too.
    let sql = "SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner)::text, \
               pg_has_role(p.proowner, 'USAGE') OR pg_has_role(n.nspowner, 'USAGE') \
               FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace \
               WHERE n.nspname = $1 AND p.proname = ANY ($2) ORDER BY 1";
    let rows = client.query(sql, &[&names.schema, &CALLABLE.as_slice()]).await;
    let rows = rows.map_err(|error| {
        Error::database(format!("looking for the fence's functions on the {side}"), &error)
    })?;
    let function = |row: &tokio_postgres::Row| OwnedObject {
        database: side,
        kind: ObjectKind::Function,
        name: row.get(0),
        sql: format!("DROP FUNCTION IF EXISTS {}", row.get::<_, &str>(0)),
        owner: row.get(1),
        permitted: row.get(2),
    };
    Ok(rows.iter().map(function).collect())
}

impl OwnedObject {
    /// Drops it.
    ///
    /// # Errors
    /// Those of the statement; a slot in use is tried again for a while.
    pub async fn drop(&self, client: &Client) -> Result<()> {
        let step = format!("dropping the {self}");
        patiently(async || {
            client.batch_execute(&self.sql).await.map_err(|error| Error::database(&step, &error))
        })
        .await?;
        tracing::info!("dropped the {self}");
        Ok(())
    }
}
