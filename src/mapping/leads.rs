//! `landing_leads` → `traffic_leads` (docs/mapping.md, "Mapping").
//!
//! Columns that are not listed: `status`, `amocrm_pipeline_id` and `amocrm_status_id` belong to Traffic,
//! because Landing never gives them a value. The writer fills `id` and `landing_synced_at`.

use std::borrow::Cow;

use super::json::JsonObject;
use super::words::Place;
use super::{Rule, Target};
use crate::model::change::{Datum, Row, lead};

const fn column(name: &'static str, sql_type: &'static str, rule: Rule) -> Target {
    Target::fixed(name, sql_type, rule)
}

const fn utm(snake: &'static str, camel: &'static str, own: usize) -> Target {
    column(snake, "text", Rule::Utm { own, snake, camel })
}

const fn facebook(name: &'static str) -> Target {
    column(name, "text", Rule::FacebookKey)
}

pub(super) static TARGETS: [Target; 38] = [
    column("email", "text", Rule::Verbatim(lead::EMAIL)),
    column("name", "text", Rule::Verbatim(lead::NAME)),
    column("phone", "text", Rule::Verbatim(lead::PHONE)),
    column("phone_normalized", "text", Rule::NormalizedPhone(lead::PHONE)),
    column("source", "text", Rule::SourceWord(lead::SOURCE)),
    column("landing_source", "text", Rule::Verbatim(lead::SOURCE)),
    utm("utm_source", "utmSource", lead::UTM_SOURCE),
    utm("utm_campaign", "utmCampaign", lead::UTM_CAMPAIGN),
    utm("utm_medium", "utmMedium", lead::UTM_MEDIUM),
    utm("utm_content", "utmContent", lead::UTM_CONTENT),
    utm("utm_term", "utmTerm", lead::UTM_TERM),
    column("funnel_type", "text", Rule::Funnel { source: lead::SOURCE }),
    column("amocrm_lead_id", "bigint", Rule::Number(lead::AMOCRM_LEAD_ID)),
    column("amocrm_contact_id", "bigint", Rule::Number(lead::AMOCRM_CONTACT_ID)),
    column("amocrm_synced", "boolean", Rule::Verbatim(lead::AMOCRM_SYNCED)),
    column("email_sent", "boolean", Rule::FalseWhenNull(lead::EMAIL_SENT)),
    column("sms_sent", "boolean", Rule::FalseWhenNull(lead::SMS_SENT)),
    column("email_clicked", "boolean", Rule::FalseWhenNull(lead::EMAIL_CLICKED)),
    column("sms_clicked", "boolean", Rule::FalseWhenNull(lead::SMS_CLICKED)),
    column("email_clicked_at", "timestamptz", Rule::Verbatim(lead::EMAIL_CLICKED_AT)),
    column("sms_clicked_at", "timestamptz", Rule::Verbatim(lead::SMS_CLICKED_AT)),
    column("click_count", "integer", Rule::ZeroWhenNull(lead::CLICK_COUNT)),
    facebook("fb_lead_id"),
    facebook("fb_form_id"),
    facebook("fb_ad_id"),
    facebook("fb_adset_id"),
    facebook("fb_campaign_id"),
    column("metadata", "jsonb", Rule::Verbatim(lead::METADATA)),
    column("created_at", "timestamptz", Rule::Verbatim(lead::CREATED_AT)),
    column("updated_at", "timestamptz", Rule::Verbatim(lead::UPDATED_AT)),
    column("landing_amocrm_lead_id", "text", Rule::Verbatim(lead::AMOCRM_LEAD_ID)),
    column("landing_amocrm_contact_id", "text", Rule::Verbatim(lead::AMOCRM_CONTACT_ID)),
    column("landing_phone_normalized", "text", Rule::Verbatim(lead::PHONE_NORMALIZED)),
    column("landing_utm_source", "text", Rule::Verbatim(lead::UTM_SOURCE)),
    column("landing_utm_medium", "text", Rule::Verbatim(lead::UTM_MEDIUM)),
    column("landing_utm_campaign", "text", Rule::Verbatim(lead::UTM_CAMPAIGN)),
    column("landing_utm_content", "text", Rule::Verbatim(lead::UTM_CONTENT)),
    column("landing_utm_term", "text", Rule::Verbatim(lead::UTM_TERM)),
];

/// The keys of a lead's `metadata` that rules read; empty when the metadata is not an object.
#[derive(Default)]
pub(super) struct Metadata<'m> {
    top: JsonObject<'m>,
    utm_params: JsonObject<'m>,
}

impl<'m> Metadata<'m> {
    pub(super) fn of(row: &'m Row) -> Self {
        row.values.get(lead::METADATA).and_then(Datum::as_str).map_or_else(Metadata::default, Metadata::parse)
    }

    pub(super) fn parse(text: &'m str) -> Self {
        let wanted = |key: &str| key.starts_with("utm") || key.starts_with("fb_") || key == "funnel_type";
        let top = JsonObject::parse(text, wanted);
        let utm_params = top.object("utmParams", wanted);
        Metadata { top, utm_params }
    }

    /// `metadata->>key`
    pub(super) fn text(&self, key: &str) -> Option<Cow<'m, str>> {
        self.top.text(key)
    }

    /// The first value that is neither null nor empty: the top level before `utmParams`, snake case before
    /// camel case.
    pub(super) fn utm(&self, snake: &'static str, camel: &'static str) -> Option<String> {
        self.utm_with_place(snake, camel).map(|(_, value)| value)
    }

    /// The value of [`Metadata::utm`], and where the value stands.
    pub(super) fn utm_with_place(&self, snake: &'static str, camel: &'static str) -> Option<(Place, String)> {
        [
            (&self.top, Place::Metadata(Cow::Borrowed(snake))),
            (&self.top, Place::Metadata(Cow::Borrowed(camel))),
            (&self.utm_params, Place::UtmParams(snake)),
            (&self.utm_params, Place::UtmParams(camel)),
        ]
        .into_iter()
        .filter_map(|(object, place)| Some((object.text(place.name())?, place)))
        .find(|(value, _)| !value.is_empty())
        .map(|(value, place)| (place, value.into_owned()))
    }
}
