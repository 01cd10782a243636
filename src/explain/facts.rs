//! What each side says of a lead beside its mapped columns: when the row was made, changed and committed, and which
//! columns are Traffic's own.

use serde::Serialize;
use uuid::Uuid;

use super::sides::text;
use crate::error::Result;
use crate::mapping::TableMapping;
use crate::model::change::Table;
use crate::model::names::column_ident;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;
use crate::traffic::flowing;

/// A lead's row on Landing.
#[derive(Clone, Debug, Serialize)]
pub struct LandingFacts {
    #[serde(skip)]
    pub updated: Option<Timestamp>,
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
    /// When the row's last change was committed, by Landing's clock; `null` unless the server keeps commit times
    /// (`track_commit_timestamp`).
    pub committed_at: Option<String>,
}

/// A lead's row on Traffic.
#[derive(Clone, Debug, Serialize)]
pub struct TrafficFacts {
    #[serde(skip)]
    pub updated: Option<Timestamp>,
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
    /// As [`LandingFacts::committed_at`], by Traffic's clock.
    pub committed_at: Option<String>,
    /// Commit time of the change of Landing that was applied last, by Landing's clock; `null` for a lead that never
    /// came from Landing.
    pub landing_synced_at: Option<String>,
    pub born: Born,
    /// Whether the lead never goes to Landing: Traffic's own code made it.
    pub stays_on_traffic: bool,
    pub own_columns: Vec<OwnColumn>,
}

/// Where a lead was born.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Born {
    Landing,
    /// On Traffic through Landing's names or `find_or_create_unified_lead`: the lead flows to Landing after a cutover.
    ThroughLandingsNames,
    /// On Traffic, by Traffic's own code.
    Traffic,
}

/// A column of `traffic_leads` that no rule fills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnColumn {
    pub column: String,
    /// The value, where values were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Option<String>>,
}

/// Only a server that keeps commit times can be asked for one.
const COMMITTED: &str = "CASE WHEN current_setting('track_commit_timestamp') = 'on' \
     THEN pg_xact_commit_timestamp(t.xmin) END";

/// `None` without a row.
pub async fn on_landing(landing: Database<'_>, lead: Uuid) -> Result<Option<LandingFacts>> {
    let sql = format!(
        "SELECT t.created_at, t.updated_at, {COMMITTED} FROM {} AS t WHERE t.id = $1",
        landing.table(Table::LandingLeads)
    );
    let row = landing.during("reading the lead on Landing").row_if_any(&sql, &[&lead]).await?;
    Ok(row.map(|row| LandingFacts {
        updated: row.get(1),
        created_at: text(row.get(0)),
        updated_at: text(row.get(1)),
        committed_at: text(row.get(2)),
    }))
}

/// `None` without a row.
pub async fn on_traffic(
    traffic: Database<'_>,
    mapping: &TableMapping,
    lead: Uuid,
    with_values: bool,
) -> Result<Option<TrafficFacts>> {
    let table = traffic.table(Table::LandingLeads);
    let step = traffic.during("reading the lead on Traffic");
    let names = own_columns(traffic, mapping).await?;
    let values = names.iter().map(|name| format!(", t.{}::text", column_ident(name.clone().into())));
    let values: String = if with_values { values.collect() } else { String::new() };
    let sql = format!(
        "SELECT t.created_at, t.updated_at, {COMMITTED}, t.landing_synced_at, t.landing_lead, {}{values} \
         FROM {table} AS t WHERE t.id = $1",
        flowing::stays(traffic.names, Table::LandingLeads)
    );
    let Some(row) = step.row_if_any(&sql, &[&lead]).await? else { return Ok(None) };
    let landing_synced_at = text(row.get(3));
    let born = match (row.get::<_, Option<bool>>(4), &landing_synced_at) {
        (Some(true), _) => Born::ThroughLandingsNames,
        (_, Some(_)) => Born::Landing,
        (_, None) => Born::Traffic,
    };
    let own = names.into_iter().enumerate().map(|(at, column)| OwnColumn {
        column,
        value: with_values.then(|| row.get::<_, Option<String>>(6 + at)),
    });
    Ok(Some(TrafficFacts {
        updated: row.get(1),
        created_at: text(row.get(0)),
        updated_at: text(row.get(1)),
        committed_at: text(row.get(2)),
        landing_synced_at,
        born,
        stays_on_traffic: row.get::<_, Option<bool>>(5).unwrap_or(false),
        own_columns: own.collect(),
    }))
}

/// The columns of `traffic_leads` that no rule fills, in the table's order, without leadbridge's own.
async fn own_columns(traffic: Database<'_>, mapping: &TableMapping) -> Result<Vec<String>> {
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 \
               AND NOT attisdropped ORDER BY attnum";
    let step = traffic.during("reading the columns of traffic_leads");
    let rows = step.rows(sql, &[&traffic.table(Table::LandingLeads)]).await?;
    let names = rows.iter().map(|row| row.get::<_, String>(0));
    let is_own = |name: &String| {
        !["id", "landing_synced_at", "landing_lead"].contains(&&**name)
            && mapping.targets().iter().all(|target| target.name != name.as_str())
    };
    Ok(names.filter(is_own).collect())
}
