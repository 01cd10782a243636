//! Changes on Traffic that have no place on Landing, listed for an operator before a cutover.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::language::{Message, message};

/// Columns of `traffic_leads`, and a case in which a change on Traffic is not carried to Landing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCarried {
    columns: Columns,
    /// The case, and why.
    pub reason: Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    Every,
    Named(&'static str),
}

impl NotCarried {
    /// Which columns.
    pub fn column(&self) -> Message {
        match self.columns {
            Columns::Every => message!("mapping-not-carried-every-column"),
            Columns::Named(names) => Message::verbatim(names),
        }
    }
}

impl Serialize for NotCarried {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("NotCarried", 2)?;
        object.serialize_field("column", &self.column())?;
        object.serialize_field("reason", &self.reason)?;
        object.end()
    }
}

const fn not(names: &'static str, reason: Message) -> NotCarried {
    NotCarried { columns: Columns::Named(names), reason }
}

static NOT_CARRIED: [NotCarried; 16] = [
    NotCarried { columns: Columns::Every, reason: message!("mapping-not-carried-own-lead") },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn every_column_is_said_in_the_language_of_the_reader_and_names_stay_as_they_are() {
        let columns = |language| NOT_CARRIED.each_ref().map(|not| not.column().in_language(language));
        assert_eq!(columns(Language::English)[..3], ["every column", "landing_lead", "status"]);
        assert_eq!(columns(Language::Russian)[..3], ["каждый столбец", "landing_lead", "status"]);
        let json = serde_json::to_value(&NOT_CARRIED[0]).unwrap();
        assert_eq!(json["column"], "every column");
        assert!(json["reason"].as_str().unwrap().starts_with("of a lead"), "{json}");
    }
}
