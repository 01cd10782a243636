//! Rights of others in leadbridge's own schema, on either side: of every grantee but the owners and the roles
//! that leadbridge serves. `leadbridge migrate` takes such rights away; what is granted later is found here.

use postgres_protocol::escape::escape_literal;

use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::{Database, Databases};

const RIGHTS: &str = include_str!("../../sql/own/rights.sql");

/// Rights of one grantee on one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRight {
    pub side: Side,
    /// `anon has SELECT on table leadbridge.quarantine`.
    pub what: String,
    /// Takes the rights away.
    pub statement: String,
}

/// The query for the rights of others in the schema of `names`: rows of `what` and `statement`. `served` is an
/// expression, the array of the served roles' names.
pub fn foreign_rights_sql(names: &Names, served: &str) -> String {
    RIGHTS.replace("{{schema_name}}", &escape_literal(&names.schema)).replace("{{served}}", served)
}

/// Reads the rights of others. A role that this session has taken or logged in as is no other.
///
/// # Errors
/// A connection broke.
pub async fn foreign_rights(database: Database<'_>) -> Result<Vec<ForeignRight>> {
    let Database { names, side, .. } = database;
    let step = database.during(format!("reading who has rights in leadbridge's schema on {}", side.name()));
    let served = format!("SELECT ARRAY(SELECT s.role::text FROM {} AS s)", names.own("served"));
    let served: Vec<String> = match step.row_if_any(&served, &[]).await {
        Ok(row) => row.map(|row| row.get(0)).unwrap_or_default(),
        // The table is missing, or not open to this role: other checks say so.
        Err(error) if error.kind() == Kind::Refused => Vec::new(),
        Err(error) => return Err(error),
    };
    let sql = foreign_rights_sql(names, "$1::text[] || ARRAY[session_user::text, current_user::text]");
    let rows = step.rows(&sql, &[&served]).await?;
    let right = |row: &tokio_postgres::Row| ForeignRight { side, what: row.get(0), statement: row.get(1) };
    Ok(rows.iter().map(right).collect())
}

/// Reads the rights of others on both sides.
///
/// # Errors
/// A connection broke.
pub async fn foreign_rights_on_both(databases: Databases<'_>) -> Result<Vec<ForeignRight>> {
    let (traffic, landing) = tokio::try_join!(
        foreign_rights(databases.on(Side::Traffic)),
        foreign_rights(databases.on(Side::Landing))
    )?;
    Ok(traffic.into_iter().chain(landing).collect())
}

/// Refuses the first of the rights.
pub(super) fn refuse(rights: &[ForeignRight]) -> Result<()> {
    let Some(ForeignRight { side, what, .. }) = rights.first() else { return Ok(()) };
    let statements = rights.iter().filter(|right| right.side == *side).map(|right| right.statement.as_str());
    let more = match rights.len() {
        1 => String::new(),
        count => format!(" (and {} more: see `leadbridge doctor`)", count - 1),
    };
    Err(Error::refused(format!("{side}: {what}, in leadbridge's own schema{more}")).remedy(message!(
        "access-remedy-foreign-rights",
        side = *side,
        statement = statements.collect::<Vec<_>>().join("; ")
    )))
}
