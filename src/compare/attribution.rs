//! Counts the leads of each targetologist on both sides (docs/mapping.md, "Attribution").

use std::collections::HashMap;

use serde::Serialize;
use uuid::Uuid;

use super::forward::ExpectedRow;
use crate::error::Result;
use crate::mapping::known_targets;
use crate::model::change::Table;
use crate::model::names::{Names, qualified};
use crate::postgres::Database;

/// Largest number of kinds that are counted. With random values of `utm_source` every lead would be a kind of
/// its own.
const KINDS: usize = 100_000;

/// Leads of one targetologist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attributed {
    /// `null` for the leads that are credited to nobody.
    pub targetologist_id: Option<Uuid>,
    pub team: Option<String>,
    /// Landing's leads after the mapping, attributed with Traffic's bindings.
    pub landing: u64,
    /// Leads on Traffic that came from Landing.
    pub traffic: u64,
}

/// Landing's leads, counted by the values that decide the attribution.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// By `utm_source` and `funnel_type`.
    kinds: HashMap<(Option<String>, Option<String>), u64>,
    overflowed: bool,
}

impl Tally {
    pub(super) fn count(&mut self, table: Table, row: &ExpectedRow) {
        let (Table::LandingLeads, Some(mapped)) = (table, &row.row) else { return };
        let value = |name: &str| {
            let at = known_targets(table).iter().position(|target| target.name == name)?;
            mapped.values.get(at)?.as_deref().map(str::to_owned)
        };
        self.add((value("utm_source"), value("funnel_type")), 1);
    }

    pub(super) fn merge(&mut self, other: Tally) {
        self.overflowed |= other.overflowed;
        for (kind, count) in other.kinds {
            self.add(kind, count);
        }
    }

    fn add(&mut self, kind: (Option<String>, Option<String>), leads: u64) {
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&kind) {
            self.overflowed = true;
            return;
        }
        *self.kinds.entry(kind).or_default() += leads;
    }

    /// Leads of both sides by targetologist, ordered by the number on Traffic, largest first. `None` when
    /// there were too many kinds to count.
    pub(super) async fn attribute(&self, traffic: Database<'_>) -> Result<Option<Vec<Attributed>>> {
        if self.overflowed {
            return Ok(None);
        }
        let mut columns = (Vec::new(), Vec::new(), Vec::new());
        for ((utm_source, funnel_type), leads) in &self.kinds {
            columns.0.push(utm_source.as_deref());
            columns.1.push(funnel_type.as_deref());
            columns.2.push(i64::try_from(*leads).unwrap_or(i64::MAX));
        }
        let step = traffic.during("attributing leads on Traffic");
        let rows = step.rows(&statement(traffic.names), &[&columns.0, &columns.1, &columns.2]).await?;
        let attributed = rows.iter().map(|row| Attributed {
            targetologist_id: row.get(0),
            team: row.get(1),
            landing: row.get::<_, i64>(2).unsigned_abs(),
            traffic: row.get::<_, i64>(3).unsigned_abs(),
        });
        Ok(Some(attributed.collect()))
    }
}

/// Chooses the binding in the same way as the view `v_traffic_leads_with_journey`.
fn statement(names: &Names) -> String {
    let of_traffic = |table| qualified(&names.traffic_schema, table);
    format!(
        "WITH kinds AS (
             SELECT utm_source, funnel_type, leads AS landing, 0::bigint AS traffic
             FROM unnest($1::text[], $2::text[], $3::bigint[]) AS k (utm_source, funnel_type, leads)
             UNION ALL
             SELECT utm_source, funnel_type, 0, count(*) FROM {leads}
             WHERE landing_synced_at IS NOT NULL GROUP BY utm_source, funnel_type
         )
         SELECT whose.id, whose.team_name::text, sum(kinds.landing)::bigint, sum(kinds.traffic)::bigint
         FROM kinds LEFT JOIN LATERAL (
             SELECT u.id, u.team_name FROM {bindings} AS b JOIN {users} AS u ON u.id = b.user_id
             WHERE lower(b.utm_source) = lower(kinds.utm_source) AND b.funnel_type = kinds.funnel_type
               AND b.is_active AND u.is_active
             ORDER BY b.utm_source = kinds.utm_source DESC, b.utm_source COLLATE \"C\" LIMIT 1
         ) AS whose ON true
         GROUP BY whose.id, whose.team_name ORDER BY 4 DESC, 1",
        leads = names.traffic_table(Table::LandingLeads),
        bindings = of_traffic("traffic_user_utm_sources"),
        users = of_traffic("traffic_users"),
    )
}
