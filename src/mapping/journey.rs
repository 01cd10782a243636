//! `lead_journey` → `traffic_lead_journey`: verbatim (docs/mapping.md).

use super::{Rule, Target};
use crate::model::change::journey;

const fn column(name: &'static str, sql_type: &'static str, position: usize) -> Target {
    Target::fixed(name, sql_type, Rule::Verbatim(position))
}

pub(super) static TARGETS: [Target; 5] = [
    column("lead_id", "uuid", journey::LEAD_ID),
    column("stage", "text", journey::STAGE),
    column("source", "text", journey::SOURCE),
    column("metadata", "jsonb", journey::METADATA),
    column("created_at", "timestamptz", journey::CREATED_AT),
];
