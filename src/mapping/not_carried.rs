//! Changes on Traffic that have no place on Landing, listed for an operator before a cutover.

use serde::Serialize;

/// A column of `traffic_leads`, and a case in which a change on Traffic is not carried to Landing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NotCarried {
    pub column: &'static str,
    /// The case, and why.
    pub reason: &'static str,
}

const fn not(column: &'static str, reason: &'static str) -> NotCarried {
    NotCarried { column, reason }
}

static NOT_CARRIED: [NotCarried; 16] = [
    not(
        "every column",
        "of a lead that Traffic's own code made (a Facebook form): the lead stays on Traffic, and its journey too",
    ),
    not("landing_lead", "always: it says that the lead was born on Traffic through Landing's names"),
    not("status", "always: Landing has no such column"),
    not("amocrm_pipeline_id", "always: Landing has no such column"),
    not("amocrm_status_id", "always: Landing has no such column"),
    not("landing_synced_at", "always: it says when a row last came from Landing"),
    not("phone_normalized", "when it is not what its phone gives: it is computed from the phone"),
    not(
        "source",
        "when no value of Landing's maps to it: null, twland, a longer text with facebook, tiktok or google in it",
    ),
    not("landing_source", "when it does not map to the source: Landing has one column for both"),
    not(
        "utm_*",
        "when it was set to null or to the empty text and metadata still says it; when metadata is no object",
    ),
    not(
        "funnel_type",
        "when the lead's source forces another one; when it is null; when metadata is no object",
    ),
    not("fb_*", "when it was set to null and metadata still says it; when metadata is no object"),
    not(
        "amocrm_lead_id, amocrm_contact_id",
        "when it is negative: it comes as text, and a text with a sign is no number",
    ),
    not(
        "email_sent, sms_sent, email_clicked, sms_clicked, click_count",
        "when it is null: that is false, or 0",
    ),
    not("name, phone", "when it is null: Landing has NOT NULL there, and gets the empty text"),
    not(
        "metadata",
        "gains utm_*, funnel_type and fb_* where it does not imply what Traffic has in these columns",
    ),
];

/// Every column that is not carried to Landing unchanged, with the reason. Columns that an older Landing
/// lacks are not carried either, and are not listed.
pub fn not_carried() -> &'static [NotCarried] {
    &NOT_CARRIED
}
