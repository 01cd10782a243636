//! Finds the leads that an operator means: on Landing, on Traffic and in quarantine.

use std::collections::BTreeMap;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::asked::Asked;
use super::sides::{STATEMENT_LIMIT, Sides};
use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::mapping::TableMapping;
use crate::model::change::{Table, lead};
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;

/// Most leads that are explained at once.
pub const MOST: usize = 20;

/// Leads that match, the oldest first.
#[derive(Default)]
pub struct Found {
    pub ids: Vec<Uuid>,
    /// Whether more than [`MOST`] leads match.
    pub has_more: bool,
    /// Where the search was given up.
    pub given_up: Vec<Message>,
}

/// PostgreSQL's form of [`normalized_phone`](crate::mapping::values::normalized_phone), as migration 031 uses it.
const DIGITS: &str = "regexp_replace(t.phone, '[^0-9+]', '', 'g')";

/// # Errors
/// A database cannot be read. A search that takes longer than [`STATEMENT_LIMIT`] is given up instead.
pub async fn find(sides: &Sides, mapping: &TableMapping, asked: &Asked) -> Result<Found> {
    let (landing, traffic) = (sides.landing(), sides.traffic());
    let (of_landing, of_traffic, of_records) =
        (on_landing(sides, mapping, asked), on_traffic(sides, asked), in_records(sides, asked));
    let searches = tokio::join!(
        search(landing, &of_landing, asked),
        search(traffic, &of_traffic, asked),
        search(traffic, &of_records, asked),
    );
    let mut found = Found::default();
    let mut matches: BTreeMap<Uuid, Option<Timestamp>> = BTreeMap::new();
    for (side, rows) in
        [(Side::Landing, searches.0), (Side::Traffic, searches.1), (Side::Traffic, searches.2)]
    {
        match rows {
            Ok(rows) => {
                for (id, created_at) in rows {
                    let known = matches.entry(id).or_default();
                    *known = known.or(created_at);
                }
            }
            Err(error) if took_too_long(&error) => found.given_up.push(given_up(side)),
            Err(error) => return Err(error),
        }
    }
    if let (Asked::Id(id), true) = (asked, matches.is_empty()) {
        matches.extend(lead_of(sides, *id).await?.map(|lead| (lead, None)));
    }
    let mut ordered: Vec<(Option<Timestamp>, Uuid)> = matches.into_iter().map(|(id, at)| (at, id)).collect();
    // A lead that only the records know has no time, and stands last.
    ordered.sort_unstable_by_key(|(at, id)| (at.is_none(), *at, *id));
    found.has_more = ordered.len() > MOST;
    found.ids = ordered.into_iter().take(MOST).map(|(_, id)| id).collect();
    Ok(found)
}

fn given_up(side: Side) -> Message {
    message!("explain-given-up", side = side, seconds = STATEMENT_LIMIT.as_secs())
}

/// Nothing without a database.
async fn search(
    database: Option<Database<'_>>,
    sql: &str,
    asked: &Asked,
) -> Result<Vec<(Uuid, Option<Timestamp>)>> {
    let Some(database) = database else { return Ok(Vec::new()) };
    let value: &(dyn ToSql + Sync) = match asked {
        Asked::Id(id) => id,
        Asked::Email(text) | Asked::Phone(text) => text,
    };
    let step = database.during(format!("looking for the lead on {}", database.side.name()));
    let rows = step.rows(sql, &[value]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn on_landing(sides: &Sides, mapping: &TableMapping, asked: &Asked) -> String {
    let condition = match asked {
        Asked::Id(_) => "t.id = $1".to_owned(),
        Asked::Email(_) if mapping.has(lead::EMAIL) => "t.email = $1".to_owned(),
        // An older Landing knows no e-mails.
        Asked::Email(_) => "false AND t.name = $1".to_owned(),
        // Landing's own `phone_normalized` may be null or stale.
        Asked::Phone(_) => format!("{DIGITS} = $1"),
    };
    select(&sides.names().landing_table(Table::LandingLeads), &condition)
}

/// The condition of `find_or_create_unified_lead`, which two indexes serve.
fn on_traffic(sides: &Sides, asked: &Asked) -> String {
    let condition = match asked {
        Asked::Id(_) => "t.id = $1".to_owned(),
        Asked::Email(_) => "t.email = $1".to_owned(),
        Asked::Phone(_) => {
            format!("t.phone_normalized = $1 OR (t.phone_normalized IS NULL AND {DIGITS} = $1)")
        }
    };
    select(&sides.names().traffic_table(Table::LandingLeads), &condition)
}

/// The matches are found before they are ordered, because an index in the order of `created_at` would lead through the
/// whole table.
fn select(table: &str, condition: &str) -> String {
    let limit = MOST + 1;
    format!(
        "WITH found AS MATERIALIZED (SELECT t.id, t.created_at FROM {table} AS t WHERE {condition}) \
         SELECT id, created_at FROM found ORDER BY 2, 1 LIMIT {limit}"
    )
}

/// A lead may be gone from both databases, and still be named by leadbridge's records.
fn in_records(sides: &Sides, asked: &Asked) -> String {
    let own = |table| sides.names().own(table);
    let limit = MOST + 1;
    let (quarantine, leads) = (own("quarantine"), Table::LandingLeads);
    let of_leads = format!("source_table = '{}'", leads.label());
    match asked {
        Asked::Id(_) => format!(
            "SELECT DISTINCT id, NULL::timestamptz FROM ( \
             SELECT CASE WHEN {of_leads} THEN row_id ELSE lead_id END FROM {quarantine} \
               WHERE lead_id = $1 OR ({of_leads} AND (row_id = $1 OR held_under = $1)) \
             UNION ALL SELECT row_id FROM {} WHERE row_id = $1 AND traffic_table = '{traffic}' \
             UNION ALL SELECT row_id FROM {} WHERE row_id = $1 AND traffic_table = '{traffic}') AS named (id) \
             WHERE id IS NOT NULL LIMIT {limit}",
            own("reverse_quarantine"),
            own("left_on_traffic"),
            traffic = leads.traffic_name()
        ),
        Asked::Email(_) => format!(
            "SELECT row_id, NULL::timestamptz FROM {quarantine} WHERE {of_leads} AND row_data ->> 'email' = $1 \
             ORDER BY id LIMIT {limit}"
        ),
        Asked::Phone(_) => format!(
            "SELECT row_id, NULL::timestamptz FROM {quarantine} WHERE {of_leads} \
             AND regexp_replace(row_data ->> 'phone', '[^0-9+]', '', 'g') = $1 ORDER BY id LIMIT {limit}"
        ),
    }
}

/// The lead of the journey entry or notification with this id.
async fn lead_of(sides: &Sides, id: Uuid) -> Result<Option<Uuid>> {
    for database in [sides.landing(), sides.traffic()].into_iter().flatten() {
        for table in sides.config.tables().into_iter().filter(|table| table.lead_column().is_some()) {
            let sql = format!("SELECT lead_id FROM {} WHERE id = $1", database.table(table));
            let step = database.during(format!("looking for the row on {}", database.side.name()));
            if let Some(row) = step.row_if_any(&sql, &[&id]).await? {
                return Ok(row.get(0));
            }
        }
    }
    let Some(traffic) = sides.traffic() else { return Ok(None) };
    let sql = format!("SELECT lead_id FROM {} WHERE row_id = $1 LIMIT 1", traffic.names.own("quarantine"));
    let row = traffic.during("looking for the row in quarantine").row_if_any(&sql, &[&id]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

/// Whether the error only says that a statement took too long.
fn took_too_long(error: &Error) -> bool {
    error.sqlstate() == Some(&SqlState::QUERY_CANCELED)
}
