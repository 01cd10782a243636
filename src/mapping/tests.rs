//! The examples of docs/mapping.md, and the edge cases between them.

use super::*;
use crate::model::change::{journey, lead};

const ID: Uuid = Uuid::from_u128(7);

fn lead_row(set: &[(usize, &str)]) -> Row {
    let mut values = vec![Datum::Null; Table::LandingLeads.columns().len()];
    values[lead::ID] = Datum::text(ID.to_string());
    for &(column, text) in set {
        values[column] = Datum::text(text);
    }
    Row { table: Table::LandingLeads, id: ID, values: values.into() }
}

fn limits(table: Table, limited: &[(&str, usize)]) -> Vec<Option<usize>> {
    let limit = |target: &Target| limited.iter().find(|(name, _)| *name == target.name).map(|(_, n)| *n);
    known_targets(table).iter().map(limit).collect()
}

fn map(row: &Row, limits: &Limits) -> Result<TrafficRow, Rejection> {
    Mapping::whole().of(row.table).map(row, limits)
}

fn map_lead(set: &[(usize, &str)]) -> TrafficRow {
    map(&lead_row(set), &limits(Table::LandingLeads, &[])).expect("the row fits")
}

fn value<'r>(row: &'r TrafficRow, table: Table, column: &str) -> Option<&'r str> {
    let position =
        known_targets(table).iter().position(|target| target.name == column).expect("a target column");
    row.values[position].as_deref()
}

fn lead_value(set: &[(usize, &str)], column: &str) -> Option<String> {
    value(&map_lead(set), Table::LandingLeads, column).map(str::to_owned)
}

#[test]
fn a_phone_keeps_digits_and_plus_whatever_landing_normalised() {
    let set = [(lead::PHONE, "8 (701) 123-45-67 доб. 4"), (lead::PHONE_NORMALIZED, "stale")];
    assert_eq!(lead_value(&set, "phone_normalized").as_deref(), Some("870112345674"));
    assert_eq!(lead_value(&[(lead::PHONE, "+7 ٣٤")], "phone_normalized").as_deref(), Some("+7"));
}

#[test]
fn twland_with_utm_params_is_a_direct_express_lead() {
    let set = [(lead::SOURCE, "twland"), (lead::METADATA, r#"{"utmParams": {"utm_source": "kenjifb"}}"#)];
    assert_eq!(lead_value(&set, "source").as_deref(), Some("direct"));
    assert_eq!(lead_value(&set, "landing_source").as_deref(), Some("twland"));
    assert_eq!(lead_value(&set, "utm_source").as_deref(), Some("kenjifb"));
    assert_eq!(lead_value(&set, "funnel_type").as_deref(), Some("express"));
}

#[test]
fn an_empty_utm_value_gives_way_to_the_next_place() {
    let metadata = r#"{"utm_source": "", "utmSource": "alex_FB"}"#;
    let set = [(lead::SOURCE, "Challenge3D_FB"), (lead::METADATA, metadata)];
    assert_eq!(lead_value(&set, "source").as_deref(), Some("Challenge3D_FB"));
    assert_eq!(lead_value(&set, "utm_source").as_deref(), Some("alex_FB"));
    assert_eq!(lead_value(&set, "funnel_type").as_deref(), Some("challenge3d"));
}

#[test]
fn utm_places_are_tried_in_order() {
    let all = r#"{"utmParams": {"utmTerm": "4", "utm_term": "3"}, "utmTerm": "2", "utm_term": "1"}"#;
    for (removed, expected) in [("", "1"), (r#", "utm_term": "1""#, "2")] {
        let metadata = all.replace(removed, "");
        let metadata = if removed.is_empty() { all } else { metadata.as_str() };
        assert_eq!(lead_value(&[(lead::METADATA, metadata)], "utm_term").as_deref(), Some(expected));
    }
    let nested = r#"{"utmParams": {"utmTerm": "4", "utm_term": null}}"#;
    assert_eq!(lead_value(&[(lead::METADATA, nested)], "utm_term").as_deref(), Some("4"));
}

#[test]
fn landings_own_utm_column_comes_before_the_metadata() {
    let own = [(lead::UTM_SOURCE, "kenjifb"), (lead::METADATA, r#"{"utm_source": "x"}"#)];
    assert_eq!(lead_value(&own, "utm_source").as_deref(), Some("kenjifb"));
    assert_eq!(lead_value(&own, "landing_utm_source").as_deref(), Some("kenjifb"));
    let empty = [(lead::UTM_SOURCE, ""), own[1]];
    assert_eq!(lead_value(&empty, "utm_source").as_deref(), Some("x"));
    assert_eq!(lead_value(&empty, "landing_utm_source").as_deref(), Some(""));
}

#[test]
fn landings_spelling_is_kept_beside_the_number() {
    let set = [(lead::AMOCRM_LEAD_ID, "007"), (lead::PHONE, "8 701"), (lead::PHONE_NORMALIZED, "stale")];
    assert_eq!(lead_value(&set, "amocrm_lead_id").as_deref(), Some("7"));
    assert_eq!(lead_value(&set, "landing_amocrm_lead_id").as_deref(), Some("007"));
    assert_eq!(lead_value(&set, "landing_phone_normalized").as_deref(), Some("stale"));
}

#[test]
fn a_number_too_large_for_a_bigint_becomes_null_with_a_note() {
    let mapped = map_lead(&[(lead::AMOCRM_LEAD_ID, "99999999999999999999")]);
    assert_eq!(value(&mapped, Table::LandingLeads, "amocrm_lead_id"), None);
    let note = &mapped.notes[0];
    assert_eq!((&*note.column, &*note.original), ("amocrm_lead_id", "99999999999999999999"));
}

#[test]
fn only_digits_make_a_number_and_empty_text_needs_no_note() {
    let number = |text: &str| {
        let mapped = map_lead(&[(lead::AMOCRM_CONTACT_ID, text)]);
        (value(&mapped, Table::LandingLeads, "amocrm_contact_id").map(str::to_owned), mapped.notes.len())
    };
    assert_eq!(number("0042"), (Some("42".into()), 0));
    assert_eq!(number("9223372036854775807"), (Some("9223372036854775807".into()), 0));
    assert_eq!(number(""), (None, 0));
    for text in ["+5", "-5", " 5", "5.0", "９", "abc"] {
        assert_eq!(number(text), (None, 1), "{text}");
    }
}

#[test]
fn a_utm_value_that_is_a_number_gives_its_digits() {
    assert_eq!(lead_value(&[(lead::METADATA, r#"{"utm_source": 42}"#)], "utm_source").as_deref(), Some("42"));
}

#[test]
fn metadata_that_is_no_object_leaves_derived_values_null_and_the_funnel_to_the_source() {
    for metadata in ["[1, 2]", r#""x""#, "null"] {
        let set = [(lead::SOURCE, "my_Intensive_x"), (lead::METADATA, metadata)];
        assert_eq!(lead_value(&set, "utm_source"), None);
        assert_eq!(lead_value(&set, "fb_ad_id"), None);
        assert_eq!(lead_value(&set, "funnel_type").as_deref(), Some("intensive1d"));
        assert_eq!(lead_value(&set, "metadata").as_deref(), Some(metadata));
    }
}

#[test]
fn a_source_is_tested_for_platforms_in_order_and_without_case() {
    let source = |text: &str| lead_value(&[(lead::SOURCE, text)], "source").unwrap();
    assert_eq!(source("my FaceBook ad"), "facebook");
    assert_eq!(source("google_tiktok"), "tiktok");
    assert_eq!(source("GOOGLE"), "google");
    assert_eq!(source("Twland"), "Twland");
    assert_eq!(source(""), "");
    assert_eq!(lead_value(&[], "source").as_deref(), Some("direct"));
}

#[test]
fn the_declared_funnel_counts_where_the_source_says_nothing() {
    let funnel = |source: &str, declared: &str| {
        let metadata = format!(r#"{{"funnel_type": "{declared}"}}"#);
        let mapped = map_lead(&[(lead::SOURCE, source), (lead::METADATA, &metadata)]);
        (value(&mapped, Table::LandingLeads, "funnel_type").unwrap().to_owned(), mapped.notes.len())
    };
    assert_eq!(funnel("x", "challenge3d"), ("challenge3d".into(), 0));
    assert_eq!(funnel("x", "intensive1d"), ("intensive1d".into(), 0));
    assert_eq!(funnel("intensive", "challenge3d"), ("challenge3d".into(), 0));
    assert_eq!(funnel("x", "webinar"), ("express".into(), 1));
    assert_eq!(funnel("x", ""), ("express".into(), 0));
}

#[test]
fn null_flags_are_false_and_null_clicks_zero() {
    assert_eq!(lead_value(&[], "email_sent").as_deref(), Some("f"));
    assert_eq!(lead_value(&[], "click_count").as_deref(), Some("0"));
    assert_eq!(lead_value(&[], "amocrm_synced"), None);
    assert_eq!(lead_value(&[(lead::SMS_SENT, "t")], "sms_sent").as_deref(), Some("t"));
}

#[test]
fn a_derived_value_is_cut_by_characters_with_a_note() {
    let row = lead_row(&[(lead::METADATA, r#"{"utm_source": "жұлдыз"}"#)]);
    let mapped = map(&row, &limits(Table::LandingLeads, &[("utm_source", 3)])).unwrap();
    assert_eq!(value(&mapped, Table::LandingLeads, "utm_source"), Some("жұл"));
    assert_eq!(mapped.notes[0].reason, "cut at 3 characters");
    assert_eq!(&*mapped.notes[0].original, "жұлдыз");
    let fits = map(&row, &limits(Table::LandingLeads, &[("utm_source", 6)])).unwrap();
    assert!(fits.notes.is_empty());
}

#[test]
fn a_verbatim_value_is_never_cut_not_even_its_trailing_spaces() {
    let row = lead_row(&[(lead::NAME, "Әсем  ")]);
    let rejection = map(&row, &limits(Table::LandingLeads, &[("name", 4)])).unwrap_err();
    assert_eq!(rejection.sqlstate, "22001");
    assert!(!rejection.message.contains("Әсем"));
}

#[test]
fn a_journey_stage_is_copied_verbatim() {
    let mut values = vec![Datum::Null; Table::LeadJourney.columns().len()];
    values[journey::LEAD_ID] = Datum::text(ID.to_string());
    values[journey::STAGE] = Datum::text("payment_kaspi");
    let row = Row { table: Table::LeadJourney, id: ID, values: values.into() };
    assert_eq!(row.lead_id(), Some(ID));
    let mapped = map(&row, &limits(Table::LeadJourney, &[])).unwrap();
    assert_eq!(value(&mapped, Table::LeadJourney, "stage"), Some("payment_kaspi"));
    assert_eq!(value(&mapped, Table::LeadJourney, "source"), None);
}
