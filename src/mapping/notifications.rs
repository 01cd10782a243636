//! `scheduled_notifications` → `traffic_scheduled_notifications`: verbatim, when switched on (docs/mapping.md).

use super::{Rule, Target};
use crate::model::change::notification;

const fn column(name: &'static str, sql_type: &'static str, position: usize) -> Target {
    Target::fixed(name, sql_type, Rule::Verbatim(position))
}

pub(super) static TARGETS: [Target; 11] = [
    column("lead_id", "uuid", notification::LEAD_ID),
    column("notification_type", "text", notification::NOTIFICATION_TYPE),
    column("scheduled_for", "timestamptz", notification::SCHEDULED_FOR),
    column("status", "text", notification::STATUS),
    column("sent_at", "timestamptz", notification::SENT_AT),
    column("error_message", "text", notification::ERROR_MESSAGE),
    column("retry_count", "integer", notification::RETRY_COUNT),
    column("last_retry_at", "timestamptz", notification::LAST_RETRY_AT),
    column("metadata", "jsonb", notification::METADATA),
    column("created_at", "timestamptz", notification::CREATED_AT),
    column("updated_at", "timestamptz", notification::UPDATED_AT),
];
