//! To which targetologist a lead belongs, and by which binding.

use serde::Serialize;
use uuid::Uuid;

use crate::error::{Kind, Result};
use crate::language::{Message, message};
use crate::model::change::Table;
use crate::model::names::qualified;
use crate::postgres::Database;

/// The targetologist of a lead, as the view `v_traffic_leads_with_journey` finds the targetologist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attribution {
    pub targetologist_id: Option<Uuid>,
    pub team: Option<String>,
    /// Whether the binding has the lead's exact `utm_source`; `false` where the two differ in case.
    pub exact_spelling: Option<bool>,
    /// How many active bindings of active users match; the first of them counts.
    pub matching_bindings: u64,
    /// Why the lead belongs to nobody.
    pub reason: Option<Message>,
    /// The targetologist's name and the binding's `utm_source`, where values were asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub values: Option<AttributionValues>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributionValues {
    pub targetologist_name: Option<String>,
    pub attributed_utm_source: Option<String>,
}

/// `None` where Traffic has no such lead, or the role may not read the bindings.
///
/// # Errors
/// Traffic cannot be read.
pub async fn of_lead(traffic: Database<'_>, lead: Uuid, with_values: bool) -> Result<Option<Attribution>> {
    let of_traffic = |table| qualified(&traffic.names.traffic_schema, table);
    // The first row is the binding that the views choose.
    let sql = format!(
        "SELECT u.id, u.team_name::text, b.utm_source = l.utm_source, b.is_active AND u.is_active, \
         l.utm_source IS NULL, CASE WHEN $2 THEN u.full_name END, CASE WHEN $2 THEN b.utm_source::text END \
         FROM {leads} AS l LEFT JOIN ({bindings} AS b JOIN {users} AS u ON u.id = b.user_id) \
         ON lower(b.utm_source) = lower(l.utm_source) AND b.funnel_type = l.funnel_type WHERE l.id = $1 \
         ORDER BY (b.is_active AND u.is_active) IS TRUE DESC, b.utm_source = l.utm_source DESC NULLS LAST, \
         b.utm_source COLLATE \"C\"",
        leads = traffic.names.traffic_table(Table::LandingLeads),
        bindings = of_traffic("traffic_user_utm_sources"),
        users = of_traffic("traffic_users"),
    );
    let step = traffic.during("attributing the lead on Traffic");
    let rows = match step.rows(&sql, &[&lead, &with_values]).await {
        Ok(rows) => rows,
        Err(error) if error.kind() == Kind::Refused => {
            tracing::debug!("{error}");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let Some(first) = rows.first() else { return Ok(None) };
    let is_active = |row: &tokio_postgres::Row| row.get::<_, Option<bool>>(3) == Some(true);
    let matching = rows.iter().filter(|row| is_active(row)).count();
    let credited = is_active(first);
    let reason = match (credited, first.get::<_, bool>(4), first.get::<_, Option<Uuid>>(0)) {
        (true, ..) => None,
        (false, true, _) => Some(message!("explain-no-source")),
        (false, false, None) => Some(message!("explain-no-binding")),
        (false, false, Some(_)) => Some(message!("explain-inactive")),
    };
    Ok(Some(Attribution {
        targetologist_id: first.get::<_, Option<Uuid>>(0).filter(|_| credited),
        team: first.get::<_, Option<String>>(1).filter(|_| credited),
        exact_spelling: first.get::<_, Option<bool>>(2).filter(|_| credited),
        matching_bindings: matching as u64,
        reason,
        values: (with_values && credited).then(|| AttributionValues {
            targetologist_name: first.get(5),
            attributed_utm_source: first.get(6),
        }),
    }))
}
