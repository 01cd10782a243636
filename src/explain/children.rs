//! The journey entries and notifications of a lead on both sides.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::sides::{self, Sides};
use crate::compare::{RowState, SettledRow};
use crate::error::Result;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;
use crate::quarantine::QuarantinedRow;

/// Most rows of a table that are compared and listed.
const MOST: usize = 500;

/// The rows of one table that belong to a lead.
#[derive(Debug, Serialize)]
pub struct ChildrenExplanation {
    /// The table's name on Landing.
    pub table: String,
    /// Number of rows; `null` where the side does not answer.
    pub on_landing: Option<u64>,
    pub on_traffic: Option<u64>,
    /// The oldest rows first.
    pub rows: Vec<ChildExplanation>,
    /// Rows beyond the first 500, which are neither compared nor listed.
    pub not_listed: u64,
    #[serde(skip)]
    pub of: Table,
}

#[derive(Debug, Serialize)]
pub struct ChildExplanation {
    pub id: Uuid,
    pub created_at: Option<String>,
    /// `null` where the sides could not be compared.
    #[serde(flatten)]
    pub state: Option<RowState>,
    pub on_its_way: bool,
    pub quarantined: bool,
    /// `stage` of a journey entry, `notification_type` of a notification, where values were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// The row on one side.
struct ChildOnSide {
    created_at: Option<Timestamp>,
    kind: Option<String>,
}

type ChildrenOnSide = BTreeMap<Uuid, ChildOnSide>;

/// What the rows of a lead are compared for.
#[derive(Clone, Copy)]
pub struct ChildrenQuestion {
    pub lead: Uuid,
    pub source: Side,
    pub can_compare: bool,
    pub with_values: bool,
    pub deadline: Instant,
}

/// # Errors
/// A database cannot be read.
pub async fn explain(sides: &Sides, table: Table, asked: ChildrenQuestion) -> Result<ChildrenExplanation> {
    let (landing, traffic) =
        tokio::try_join!(on_side(sides.landing(), table, asked), on_side(sides.traffic(), table, asked))?;
    let count = |rows: &Option<ChildrenOnSide>| rows.as_ref().map(|rows| rows.len() as u64);
    let (on_landing, on_traffic) = (count(&landing), count(&traffic));
    let mut all = landing.unwrap_or_default();
    for (id, row) in traffic.unwrap_or_default() {
        all.entry(id).or_insert(row);
    }
    let mut ordered: Vec<(Uuid, ChildOnSide)> = all.into_iter().collect();
    ordered.sort_by_key(|(id, row)| (row.created_at, *id));
    let not_listed = ordered.len().saturating_sub(MOST) as u64;
    ordered.truncate(MOST);
    let ids: Vec<Uuid> = ordered.iter().map(|(id, _)| *id).collect();
    let settled = match asked.can_compare && !ids.is_empty() {
        true => sides::settled(sides, asked.source, (table, &ids[..]), asked.deadline).await?,
        false => None,
    };
    let settled = settled.unwrap_or_default();
    let rows = ordered.into_iter().map(|(id, row)| explained(id, row, &settled));
    let name = sides.names().landing_name(table).to_owned();
    Ok(ChildrenExplanation {
        table: name,
        on_landing,
        on_traffic,
        rows: rows.collect(),
        not_listed,
        of: table,
    })
}

fn explained(id: Uuid, row: ChildOnSide, settled: &[SettledRow]) -> ChildExplanation {
    let found = settled.iter().find(|row| row.id == id);
    ChildExplanation {
        id,
        created_at: sides::text(row.created_at),
        state: found.map(|row| row.state.clone()),
        on_its_way: found.is_some_and(|row| row.on_its_way),
        quarantined: false,
        kind: row.kind,
    }
}

async fn on_side(
    database: Option<Database<'_>>,
    table: Table,
    asked: ChildrenQuestion,
) -> Result<Option<ChildrenOnSide>> {
    let Some(database) = database else { return Ok(None) };
    let kind = match table {
        Table::ScheduledNotifications => "notification_type",
        Table::LandingLeads | Table::LeadJourney => "stage",
    };
    let sql = format!(
        "SELECT t.id, t.created_at, CASE WHEN $2 THEN t.{kind}::text END FROM {} AS t WHERE t.lead_id = $1",
        database.table(table)
    );
    let step =
        database.during(format!("reading the lead's rows of {} on {}", table.label(), database.side.name()));
    let rows = step.rows(&sql, &[&asked.lead, &asked.with_values]).await?;
    let row =
        |row: &tokio_postgres::Row| (row.get(0), ChildOnSide { created_at: row.get(1), kind: row.get(2) });
    Ok(Some(rows.iter().map(row).collect()))
}

impl ChildrenExplanation {
    /// Marks the rows that wait in quarantine.
    pub fn mark(&mut self, quarantine: &[QuarantinedRow]) {
        for row in &mut self.rows {
            row.quarantined = quarantine.iter().any(|entry| entry.row_id == row.id && !entry.discarded);
        }
    }

    /// Number of rows that `verify` would count as differences.
    pub fn differences(&self) -> usize {
        let differs = |row: &&ChildExplanation| row.state.as_ref().is_some_and(RowState::is_difference);
        self.rows.iter().filter(differs).count()
    }

    /// Whether changes of rows are on their way, and no row differs although its changes have passed.
    pub fn is_on_its_way(&self) -> bool {
        let differs = |row: &ChildExplanation| {
            !row.on_its_way && row.state.as_ref().is_some_and(RowState::is_difference)
        };
        self.rows.iter().any(|row| row.on_its_way) && !self.rows.iter().any(differs)
    }
}
