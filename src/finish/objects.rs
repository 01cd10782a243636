//! What is taken away: the slots, the publications, the functions that could open Landing's fence, and the rights of
//! leadbridge's roles. The fence itself stays.

use std::fmt;

use postgres_protocol::escape::{escape_identifier, escape_literal};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::behind::patiently;
use super::rights;
use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::postgres::role::SessionRole;
use crate::postgres::step::during;
use crate::postgres::{Database, Databases, publication, slot};

/// Functions that a role may call to close, keep or lift a fence. `refuse_write` is not in the list, because
/// the triggers that keep Landing closed call the function.
pub(super) const CALLABLE: [&str; 9] = [
    "close_fence",
    "create_fence_triggers",
    "expire_fence",
    "fenced_tables",
    "hold_fence",
    "keep_fence",
    "lift_fence",
    "remove_lifted_fence",
    "restore_fence",
];

/// Kinds of objects, in the order of dropping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    Slot,
    Publication,
    Function,
    /// A right of a role: a grant, or an attribute of the role.
    Right,
}

/// Words about the removal of an object, for errors and the log.
struct RemovalWords {
    doing: &'static str,
    did: &'static str,
}

impl ObjectKind {
    fn removal(self) -> RemovalWords {
        match self {
            ObjectKind::Right => RemovalWords { doing: "taking away", did: "took away" },
            ObjectKind::Slot | ObjectKind::Publication | ObjectKind::Function => {
                RemovalWords { doing: "dropping", did: "dropped" }
            }
        }
    }

    /// What happens to these objects where this role may remove them, and where not.
    pub(super) fn planned(self, objects: Message, is_permitted: bool) -> Message {
        match (self, is_permitted) {
            (ObjectKind::Right, true) => message!("finish-plan-taken-away", objects = objects),
            (ObjectKind::Right, false) => message!("finish-plan-left-to-others", objects = objects),
            (_, true) => message!("finish-plan-dropped", objects = objects),
            (_, false) => message!("finish-plan-left-to-owner", objects = objects),
        }
    }
}

/// An object of leadbridge in one of the databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedObject {
    pub database: Side,
    pub kind: ObjectKind,
    pub name: String,
    /// Statement that drops the object. Without the object the statement has no effect.
    pub sql: String,
    /// Owner of the object; a slot has none.
    pub owner: Option<String>,
    /// Whether leadbridge's role may drop the object.
    pub permitted: bool,
    /// What the owner has to consider before running `sql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// In English, for errors and the log.
impl fmt::Display for OwnedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.described().fmt(f)
    }
}

/// A line for each kind on each side, for example `functions a(), b() on the Traffic DB`.
pub fn summary<'o>(objects: impl Iterator<Item = &'o OwnedObject>) -> Vec<(ObjectKind, Message)> {
    let mut groups: Vec<OwnedObject> = Vec::new();
    for object in objects {
        match groups.last_mut() {
            Some(group) if (group.kind, group.database) == (object.kind, object.database) => {
                group.name = format!("{}, {}", group.name, object.name);
            }
            _ => groups.push(object.clone()),
        }
    }
    groups.iter().map(|group| (group.kind, group.described())).collect()
}

/// All objects of leadbridge that exist now, in the order of dropping. Traffic's slot comes first, so that
/// nothing can reach Landing from then on.
///
/// # Errors
/// Refused when a slot is in use, is not leadbridge's, or may not be dropped by leadbridge's role: the slot
/// would keep WAL for ever.
pub async fn find(databases: Databases<'_>) -> Result<Vec<OwnedObject>> {
    let (landing, traffic) = (databases.on(Side::Landing), databases.on(Side::Traffic));
    let names = databases.names;
    let mut found = Vec::new();
    for (database, name) in [(traffic, &names.reverse_slot()), (landing, &names.slot)] {
        // A slot may be in use by a consumer that does not need the lease. Both slots are checked before the
        // first is dropped.
        found.extend(patiently(async || find_slot(database, name).await).await?);
    }
    for (database, name) in [(landing, &names.publication), (traffic, &names.reverse_publication())] {
        found.extend(find_publication(database, name).await?);
    }
    for database in [landing, traffic] {
        found.extend(functions(database).await?);
    }
    for database in [landing, traffic] {
        found.extend(rights::find(database).await?);
    }
    Ok(found)
}

async fn find_slot(database: Database<'_>, name: &str) -> Result<Option<OwnedObject>> {
    let side = database.side;
    let Some(slot) = slot::read(database.client, name).await? else { return Ok(None) };
    if !slot.is_ours {
        return Err(Error::refused(format!(
            "the slot `{name}` on the {side} is not leadbridge's, and leadbridge never touches it"
        ))
        .remedy(message!("finish-remedy-foreign-slot")));
    }
    if !SessionRole::read(database.client).await?.may_replicate() {
        return Err(Error::refused(format!("our role may not drop the slot `{name}` on the {side}"))
            .remedy(message!("finish-remedy-may-not-drop-slot")));
    }
    if let Some(pid) = slot.active_pid {
        let message = format!("`{name}` is in use by process {pid} there");
        let step = format!("looking for the slot on the {side}");
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
        note: None,
    }))
}

async fn find_publication(database: Database<'_>, name: &str) -> Result<Option<OwnedObject>> {
    let side = database.side;
    let found = publication::read(database.client, name).await?;
    Ok(found.map(|publication| OwnedObject {
        database: side,
        kind: ObjectKind::Publication,
        name: name.to_owned(),
        sql: format!("DROP PUBLICATION IF EXISTS {}", escape_identifier(name)),
        owner: Some(publication.owner.1),
        permitted: publication.is_owned,
        note: None,
    }))
}

async fn functions(database: Database<'_>) -> Result<Vec<OwnedObject>> {
    let side = database.side;
    // The owner of the schema may drop the functions in the schema, too.
    let sql = "SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner)::text, \
               pg_has_role(p.proowner, 'USAGE') OR pg_has_role(n.nspowner, 'USAGE') \
               FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace \
               WHERE n.nspname = $1 AND p.proname = ANY ($2) ORDER BY 1";
    let step = database.during(format!("looking for the fence's functions on the {side}"));
    let rows = step.rows(sql, &[&database.names.schema, &CALLABLE.as_slice()]).await?;
    let function = |row: &tokio_postgres::Row| OwnedObject {
        database: side,
        kind: ObjectKind::Function,
        name: row.get(0),
        sql: format!("DROP FUNCTION IF EXISTS {}", row.get::<_, &str>(0)),
        owner: row.get(1),
        permitted: row.get(2),
        note: None,
    };
    Ok(rows.iter().map(function).collect())
}

impl OwnedObject {
    /// For example `slot leadbridge on the Landing DB`.
    fn described(&self) -> Message {
        let kind = match self.kind {
            ObjectKind::Slot => "slot",
            ObjectKind::Publication => "publication",
            ObjectKind::Function if self.name.contains("), ") => "functions",
            ObjectKind::Function => "function",
            ObjectKind::Right => "rights",
        };
        message!("finish-object", kind = kind, name = &self.name, side = self.database)
    }

    /// Drops the object.
    ///
    /// # Errors
    /// Errors of the statement. A slot in use is retried for 10 s, and then refused.
    pub async fn drop(&self, client: &Client) -> Result<()> {
        let RemovalWords { doing, did, .. } = self.kind.removal();
        let step = format!("{doing} the {self}");
        patiently(async || during(client, &step).batch(&self.sql).await).await?;
        tracing::info!("{did} the {self}");
        Ok(())
    }

    /// Whether the list has an object of this name in the same database.
    pub(super) fn is_among(&self, list: &[OwnedObject]) -> bool {
        list.iter().any(|other| (other.database, &other.name) == (self.database, &self.name))
    }
}
