//! Changes on Traffic that have no place on Landing, listed for an operator before a cutover.

use serde::Serialize;

use crate::language::{Message, message};

/// A column of `traffic_leads`, and a case in which a change on Traffic is not carried to Landing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCarried {
    pub column: &'static str,
    /// The case, and why.
    pub reason: Message,
}

/// Stands for all columns in the list.
pub const EVERY_COLUMN: &str = "every column";

const fn not(column: &'static str, reason: Message) -> NotCarried {
    NotCarried { column, reason }
}

static NOT_CARRIED: [NotCarried; 16] = [
    not(EVERY_COLUMN, message!("mapping-not-carried-own-lead")),
    not("landing_lead", message!("mapping-not-carried-landing-lead")),
    not("status", message!("mapping-not-carried-no-such-column")),
    not("amocrm_pipeline_id", message!("mapping-not-carried-no-such-column")),
    not("amocrm_status_id", message!("mapping-not-carried-no-such-column")),
    not("landing_synced_at", message!("mapping-not-carried-synced-at")),
    not("phone_normalized", message!("mapping-not-carried-phone-normalized")),
    not("source", message!("mapping-not-carried-source")),
    not("landing_source", message!("mapping-not-carried-landing-source")),
    not("utm_*", message!("mapping-not-carried-utm")),
    not("funnel_type", message!("mapping-not-carried-funnel-type")),
    not("fb_*", message!("mapping-not-carried-facebook")),
    not("amocrm_lead_id, amocrm_contact_id", message!("mapping-not-carried-amocrm")),
    not(
        "email_sent, sms_sent, email_clicked, sms_clicked, click_count",
        message!("mapping-not-carried-null-flags"),
    ),
    not("name, phone", message!("mapping-not-carried-null-texts")),
    not("metadata", message!("mapping-not-carried-metadata")),
];

/// Every column that is not carried to Landing unchanged, with the reason. Columns that an older Landing
/// lacks are not carried either, and are not listed.
pub fn not_carried() -> &'static [NotCarried] {
    &NOT_CARRIED
}
