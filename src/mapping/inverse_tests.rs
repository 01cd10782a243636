//! Tests of each column's rule, and of the promise for all columns: the forward mapping gives back the
//! carried values.

use proptest::prelude::*;

use super::*;
use crate::mapping::{Mapping, Target};

const ID: Uuid = Uuid::from_u128(7);
const LEADS: Table = Table::LandingLeads;
const WRITTEN: ColumnPlace = ColumnPlace { is_written: true, is_not_null: false, has_default: false };

fn targets() -> &'static [Target] {
    known_targets(LEADS)
}

/// Carries a row by the mapping of a Landing with every column.
fn inverse(held: &TrafficImage, now: Option<&Row>, places: &Places, limits: &Limits) -> Row {
    let mapping = Mapping::whole();
    super::inverse(held, now, Inverse { mapping: mapping.of(held.table), places, limits })
}

/// The limits of the school's Traffic.
fn limits() -> Vec<Option<usize>> {
    let limit = |target: &Target| match &*target.name {
        "phone" | "source" => Some(50),
        "email" | "name" | "utm_campaign" | "utm_content" | "utm_term" => Some(255),
        name if name.starts_with("utm_") || name.starts_with("fb_") => Some(100),
        _ => None,
    };
    targets().iter().map(limit).collect()
}

/// Landing's columns with the NOT NULL constraints.
fn places() -> Vec<ColumnPlace> {
    let mut places = vec![WRITTEN; LEADS.columns().len()];
    for column in [lead::ID, lead::NAME, lead::PHONE, lead::CREATED_AT, lead::UPDATED_AT] {
        places[column].is_not_null = true;
    }
    places
}

fn landing(set: &[(usize, &str)]) -> Row {
    let mut values = vec![Datum::Null; LEADS.columns().len()];
    values[lead::ID] = Datum::text(ID.to_string());
    for (column, text) in
        [(lead::NAME, "n"), (lead::PHONE, "1"), (lead::CREATED_AT, "c"), (lead::UPDATED_AT, "u")]
    {
        values[column] = Datum::text(text);
    }
    for &(column, text) in set {
        values[column] = Datum::text(text);
    }
    Row { table: LEADS, id: ID, values: values.into() }
}

/// The Traffic row that the forward mapping makes of a Landing row.
fn forward(row: &Row) -> TrafficImage {
    let values = Mapping::whole().of(LEADS).map(row, &limits()).expect("the row fits").values;
    TrafficImage { table: LEADS, id: ID, values }
}

fn change(mut held: TrafficImage, set: &[(&str, Option<&str>)]) -> TrafficImage {
    for (name, value) in set {
        let at = targets().iter().position(|target| target.name == *name).expect("a column");
        held.values[at] = value.map(ByteString::from);
    }
    held
}

/// Carries a lead: Landing has `own`, and `set` has changed on Traffic since. Returns Landing's new row and
/// the lost columns.
fn carried(own: &[(usize, &str)], set: &[(&str, Option<&str>)]) -> (Row, Vec<&'static str>) {
    let own = landing(own);
    let held = change(forward(&own), set);
    let row = inverse(&held, Some(&own), &places(), &limits());
    let lost = lost(&held, &row, &limits());
    // Carrying the row again changes nothing.
    assert!(inverse(&held, Some(&row), &places(), &limits()) == row);
    (row, lost)
}

fn text(row: &Row, column: usize) -> Option<&str> {
    row.values[column].as_str()
}

#[test]
fn what_nobody_changed_stays_as_landing_spells_it() {
    let own = [
        (lead::SOURCE, "my FaceBook"),
        (lead::METADATA, r#"{"utmParams": {"utmSource": "x"}, "funnel_type": "webinar"}"#),
        (lead::AMOCRM_LEAD_ID, "007"),
        (lead::AMOCRM_CONTACT_ID, "n/a"),
        (lead::PHONE_NORMALIZED, "stale"),
    ];
    let (row, lost) = carried(&own, &[]);
    assert!(row == landing(&own), "a value was written");
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn values_that_are_the_same_on_both_sides_are_carried_as_they_are() {
    let set = [
        ("email", Some("a@b.kz")),
        ("name", Some("Әсем")),
        ("amocrm_synced", Some("t")),
        ("email_clicked_at", Some("2026-01-01 00:00:00+00")),
        ("sms_clicked_at", None),
        ("created_at", Some("x")),
        ("updated_at", Some("y")),
        ("metadata", Some(r#"{"a": 1.50}"#)),
    ];
    let (row, lost) = carried(&[(lead::SMS_CLICKED_AT, "z")], &set);
    for (column, expected) in [
        (lead::EMAIL, Some("a@b.kz")),
        (lead::NAME, Some("Әсем")),
        (lead::AMOCRM_SYNCED, Some("t")),
        (lead::SMS_CLICKED_AT, None),
        (lead::UPDATED_AT, Some("y")),
        (lead::METADATA, Some(r#"{"a": 1.50}"#)),
    ] {
        assert_eq!(text(&row, column), expected);
    }
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn numbers_become_text_and_null_flags_stay_null_as_long_as_they_are_false() {
    let own = [(lead::AMOCRM_LEAD_ID, "abc"), (lead::CLICK_COUNT, "3")];
    let set = [
        ("amocrm_lead_id", Some("42")),
        ("landing_amocrm_lead_id", Some("42")),
        ("click_count", Some("4")),
        ("sms_sent", Some("t")),
    ];
    let (row, lost) = carried(&own, &set);
    assert_eq!(text(&row, lead::AMOCRM_LEAD_ID), Some("42"));
    assert_eq!(text(&row, lead::CLICK_COUNT), Some("4"));
    assert_eq!((text(&row, lead::SMS_SENT), text(&row, lead::EMAIL_SENT)), (Some("t"), None));
    assert!(lost.is_empty(), "{lost:?}");
    // A number that was removed on Traffic becomes null. (A text that is no number maps to null, and stays.)
    let (row, _) = carried(&[(lead::AMOCRM_LEAD_ID, "7")], &[("amocrm_lead_id", None)]);
    assert_eq!(text(&row, lead::AMOCRM_LEAD_ID), None);
    let spelled =
        |text| [("amocrm_lead_id", Some("-5")), ("landing_amocrm_lead_id", text), ("email_sent", None)];
    let (row, lost) = carried(&[], &spelled(Some("-5")));
    assert_eq!(text(&row, lead::AMOCRM_LEAD_ID), Some("-5"));
    assert_eq!(lost, ["amocrm_lead_id", "email_sent"]);
    // Traffic's spelling is taken before Landing's own, as long as it maps to the number.
    let set = [("amocrm_lead_id", Some("7")), ("landing_amocrm_lead_id", Some("0007"))];
    let (row, lost) = carried(&[(lead::AMOCRM_LEAD_ID, "07")], &set);
    assert_eq!((text(&row, lead::AMOCRM_LEAD_ID), lost.len()), (Some("0007"), 0));
}

#[test]
fn a_source_is_what_landing_had_or_whatever_maps_to_traffics() {
    let source = |own: Option<&str>, landing_source: Option<&str>, source: Option<&str>| {
        let own: Vec<_> = own.map(|own| (lead::SOURCE, own)).into_iter().collect();
        let (row, lost) = carried(&own, &[("landing_source", landing_source), ("source", source)]);
        (text(&row, lead::SOURCE).map(str::to_owned), lost)
    };
    let found = |text: Option<&str>, lost: &[&'static str]| (text.map(str::to_owned), lost.to_vec());
    let tw = Some("twland");
    assert_eq!(source(tw, tw, Some("direct")), found(tw, &[]));
    assert_eq!(source(tw, tw, Some("google")), found(Some("google"), &["landing_source"]));
    assert_eq!(source(tw, None, Some("direct")), found(None, &[]));
    assert_eq!(source(Some("my tiktok"), tw, Some("tiktok")), found(Some("my tiktok"), &["landing_source"]));
    // No source of Landing maps to these values: Landing's own stays.
    assert_eq!(source(tw, tw, Some("my facebook")), found(tw, &["source"]));
    assert_eq!(source(tw, tw, None), found(tw, &["source"]));
    let long = "ж".repeat(60);
    let cut = "ж".repeat(50);
    assert_eq!(source(Some(&long), Some(&long), Some(&cut)), found(Some(&long), &[]));
}

#[test]
fn a_lead_that_was_born_on_traffic_has_the_source_that_it_has_there() {
    let born = |source: &str| {
        let held = TrafficImage { table: LEADS, id: ID, values: vec![None; targets().len()] };
        let held = change(held, &[("source", Some(source)), ("funnel_type", Some("express"))]);
        let row = inverse(&held, None, &places(), &limits());
        text(&row, lead::SOURCE).map(str::to_owned)
    };
    assert_eq!(born("facebook").as_deref(), Some("facebook"));
    assert_eq!(born("direct"), None, "null is direct");
    assert_eq!(born("twland").as_deref(), Some("twland"));
}

#[test]
fn utm_values_are_put_into_metadata_only_where_it_does_not_say_them() {
    let own = [(lead::METADATA, r#"{"utmParams": {"utm_source": "old"}, "a_much_longer_key": 1}"#)];
    let (row, lost) = carried(&own, &[("utm_source", Some("new"))]);
    let expected = r#"{"utmParams": {"utm_source": "old"}, "utm_source": "new", "a_much_longer_key": 1}"#;
    assert_eq!(text(&row, lead::METADATA), Some(expected));
    assert_eq!(lost, ["metadata"], "it gained a key");
    for gone in [None, Some("")] {
        let (row, lost) = carried(&own, &[("utm_source", gone)]);
        assert_eq!(text(&row, lead::METADATA), text(&landing(&own), lead::METADATA));
        assert_eq!(lost, ["utm_source"]);
    }
    let (row, _) = carried(&[], &[("utm_term", Some("t"))]);
    assert_eq!(text(&row, lead::METADATA), Some(r#"{"utm_term": "t"}"#));
    let (row, lost) = carried(&[(lead::METADATA, "[1]")], &[("utm_term", Some("t"))]);
    assert_eq!((text(&row, lead::METADATA), &lost[..]), (Some("[1]"), &["utm_term"][..]));
}

#[test]
fn a_funnel_is_declared_where_the_source_does_not_force_another() {
    let funnel = |source: &str, funnel: Option<&str>| {
        let (row, lost) =
            carried(&[(lead::SOURCE, source), (lead::METADATA, "{}")], &[("funnel_type", funnel)]);
        (text(&row, lead::METADATA).unwrap_or_default().to_owned(), lost)
    };
    let put = |funnel: &str| (format!(r#"{{"funnel_type": "{funnel}"}}"#), vec!["metadata"]);
    assert_eq!(funnel("x", Some("challenge3d")), put("challenge3d"));
    assert_eq!(funnel("intensive", Some("challenge3d")), put("challenge3d"));
    assert_eq!(funnel("challenge", Some("express")), ("{}".into(), vec!["funnel_type"]));
    assert_eq!(funnel("x", None), ("{}".into(), vec!["funnel_type"]));
    assert_eq!(funnel("x", Some("express")), ("{}".into(), vec![]));
    // A funnel that metadata declares is replaced.
    let own = [(lead::METADATA, r#"{"funnel_type": "intensive1d"}"#)];
    let (row, _) = carried(&own, &[("funnel_type", Some("express"))]);
    assert_eq!(text(&row, lead::METADATA), Some(r#"{"funnel_type": "express"}"#));
}

#[test]
fn facebook_keys_are_put_in_when_they_changed() {
    let own = [(lead::METADATA, r#"{"fb_ad_id": 12345678901234567890.50}"#)];
    let (row, lost) = carried(&own, &[]);
    assert!(row == landing(&own) && lost.is_empty());
    let (row, _) = carried(&own, &[("fb_ad_id", Some("7")), ("fb_form_id", Some(""))]);
    assert_eq!(text(&row, lead::METADATA), Some(r#"{"fb_ad_id": "7", "fb_form_id": ""}"#));
    let (_, lost) = carried(&own, &[("fb_ad_id", None)]);
    assert_eq!(lost, ["fb_ad_id"]);
}

#[test]
fn landings_own_normalized_phone_changes_with_the_phone_only() {
    let own = [(lead::PHONE, "8 701"), (lead::PHONE_NORMALIZED, "+7701")];
    let (row, _) = carried(&own, &[("name", Some("other"))]);
    assert_eq!(text(&row, lead::PHONE_NORMALIZED), Some("+7701"));
    let spelled = [
        ("phone", Some("8 702")),
        ("phone_normalized", Some("8702")),
        ("landing_phone_normalized", Some("8702")),
    ];
    for set in [&spelled[..], &[spelled[0], spelled[1], ("landing_phone_normalized", None)]] {
        let (row, _) = carried(&own, set);
        assert_eq!(text(&row, lead::PHONE_NORMALIZED), Some("8702"));
    }
}

#[test]
fn utm_values_go_into_landings_own_columns_where_landing_has_values_there() {
    let own = [(lead::UTM_SOURCE, "kenjifb"), (lead::METADATA, r#"{"utm_source": "x"}"#)];
    let (row, lost) = carried(&own, &[]);
    assert!(row == landing(&own) && lost.is_empty(), "{lost:?}");
    // Traffic's trigger changes the spelling with the value.
    let set = [("utm_source", Some("alex")), ("landing_utm_source", Some("alex"))];
    let (row, lost) = carried(&own, &set);
    assert_eq!(text(&row, lead::UTM_SOURCE), Some("alex"));
    assert_eq!(text(&row, lead::METADATA), text(&landing(&own), lead::METADATA));
    assert!(lost.is_empty(), "{lost:?}");
    // Without the trigger, too, the value is carried.
    let (row, lost) = carried(&own, &[("utm_source", Some("alex"))]);
    assert_eq!((text(&row, lead::UTM_SOURCE), &lost[..]), (Some("alex"), &["landing_utm_source"][..]));
    // An older Landing has no such column.
    let mut older = places();
    older[lead::UTM_SOURCE].is_written = false;
    let held = change(forward(&landing(&[])), &set);
    let row = inverse(&held, Some(&landing(&[])), &older, &limits());
    assert_eq!(text(&row, lead::METADATA), Some(r#"{"utm_source": "alex"}"#));
}

#[test]
fn null_becomes_what_a_column_that_is_not_null_can_hold() {
    let (row, lost) = carried(&[], &[("name", None), ("phone", None), ("phone_normalized", None)]);
    assert_eq!((text(&row, lead::NAME), text(&row, lead::PHONE)), (Some(""), Some("")));
    assert_eq!(lost, ["name", "phone", "phone_normalized"]);
    let strict = vec![ColumnPlace { is_not_null: true, ..WRITTEN }; LEADS.columns().len()];
    let held = TrafficImage { table: LEADS, id: ID, values: vec![None; targets().len()] };
    let row = inverse(&held, None, &strict, &limits());
    let all = [lead::EMAIL, lead::METADATA, lead::EMAIL_SENT, lead::CLICK_COUNT].map(|at| text(&row, at));
    assert_eq!(all, [Some(""), Some("{}"), Some("f"), Some("0")]);
    assert_eq!(text(&row, lead::CREATED_AT), None);
}

#[test]
fn columns_that_an_older_landing_lacks_are_left_alone() {
    let mut older = places();
    for column in [lead::CLICK_COUNT, lead::PHONE_NORMALIZED, lead::EMAIL] {
        older[column] = ColumnPlace { is_written: false, ..WRITTEN };
    }
    let own = landing(&[]);
    let held = change(forward(&own), &[("click_count", Some("5")), ("email", Some("e"))]);
    let row = inverse(&held, Some(&own), &older, &limits());
    assert!(row == own);
    assert_eq!(lost(&held, &row, &limits()), ["email", "click_count"]);
}

#[test]
fn a_stage_is_carried_verbatim_and_knows_its_lead() {
    let table = Table::LeadJourney;
    let values = [Some("00000000-0000-0000-0000-000000000009"), Some("s"), None, Some("{}"), Some("c")];
    let held =
        TrafficImage { table, id: ID, values: values.iter().map(|v| v.map(ByteString::from)).collect() };
    assert_eq!(held.lead_id(), Some(Uuid::from_u128(9)));
    let places = vec![WRITTEN; table.columns().len()];
    let limits = vec![None; known_targets(table).len()];
    let row = inverse(&held, None, &places, &limits);
    assert_eq!(row.values[1..], values.map(|v| v.map_or(Datum::Null, Datum::text)));
    assert!(lost(&held, &row, &limits).is_empty());
}

/// Whether [`not_carried`](crate::mapping::not_carried::not_carried) lists the column's value as lost.
fn admitted(column: &str, held: &TrafficImage, row: &Row) -> bool {
    let value = held.value(column);
    let json = held.value("metadata");
    let no_object = json.is_some_and(|json| !metadata::is_object(json));
    match column {
        "metadata" => json != row.values[lead::METADATA].as_str() && !no_object,
        "source" => {
            value.is_none_or(|source| values::source_word(Some(source)) != source)
                || value.is_some_and(|source| source.chars().count() > 50)
        }
        "phone_normalized" => true,
        // A spelling that does not give Traffic's value gives way to the value.
        name if name.starts_with("landing_") => true,
        "funnel_type" => no_object || Some(values::funnel(row.values[lead::SOURCE].as_str(), value)) != value,
        "amocrm_lead_id" | "amocrm_contact_id" => value.is_some_and(|number| number.starts_with('-')),
        "click_count" | "name" | "phone" => value.is_none(),
        name if name.starts_with("utm_") => no_object || value.is_none_or(str::is_empty),
        name if name.starts_with("fb_") => no_object || value.is_none(),
        name if name.ends_with("_sent") || name.ends_with("_clicked") => value.is_none(),
        _ => false,
    }
}

fn any_of(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    proptest::option::weighted(0.8, proptest::sample::select(values).prop_map(str::to_owned))
}

fn any_value(target: &'static Target) -> BoxedStrategy<Option<String>> {
    match &*target.name {
        "source" | "landing_source" => {
            any_of(&["twland", "direct", "my FaceBook", "google", "challenge x", "INTENSIVE", ""]).boxed()
        }
        "funnel_type" => any_of(&["express", "challenge3d", "intensive1d"]).boxed(),
        "metadata" => any_of(&[
            "{}",
            "null",
            "[1]",
            r#"{"utm_source": "a"}"#,
            r#"{"utmTerm": 7, "utmParams": {"utm_medium": "m", "utm_source": ""}}"#,
            r#"{"fb_ad_id": "", "funnel_type": "challenge3d"}"#,
            r#"{"": 1, "ж": {"a": [1, "b"]}, "funnel_type": {"a": 1}}"#,
        ])
        .boxed(),
        _ if target.sql_type == "bigint" => any_of(&["0", "7", "-3", "9223372036854775807"]).boxed(),
        _ if target.sql_type == "boolean" => any_of(&["t", "f"]).boxed(),
        _ if target.sql_type == "integer" => any_of(&["0", "2", "-1"]).boxed(),
        _ => any_of(&["", "a", "ы\"\\\n", "null", "2026-01-01 00:00:00+00"]).boxed(),
    }
}

fn any_values() -> impl Strategy<Value = Vec<Option<String>>> {
    targets().iter().map(any_value).collect::<Vec<_>>()
}

fn held(values: Vec<Option<String>>) -> TrafficImage {
    let values = values.into_iter().map(|value| value.map(ByteString::from)).collect();
    TrafficImage { table: LEADS, id: ID, values }
}

proptest! {
    #[test]
    fn what_can_be_carried_is_and_carrying_it_again_changes_nothing(before in any_values(), after in any_values()) {
        let (before, after) = (held(before), held(after));
        // Landing's row is the result of carrying the first image to a Landing without the row.
        let own = inverse(&before, None, &places(), &limits());
        let row = inverse(&after, Some(&own), &places(), &limits());
        for column in lost(&after, &row, &limits()) {
            prop_assert!(admitted(column, &after, &row), "{}", column);
        }
        prop_assert!(inverse(&after, Some(&row), &places(), &limits()) == row, "not at rest");
    }
}

/// Columns of Traffic's row with values that the forward mapping does not make of this Landing row.
fn lost(held: &TrafficImage, row: &Row, limits: &Limits) -> Vec<&'static str> {
    let targets = known_targets(held.table);
    let Ok(mapped) = Mapping::whole().of(held.table).map(row, limits) else {
        return targets.iter().map(|target| &*target.name).collect();
    };
    let pairs = targets.iter().zip(mapped.values.iter().zip(&held.values));
    let differs = |(target, (ours, theirs)): &(&Target, (&Option<ByteString>, &Option<ByteString>))| {
        ours != theirs && !(ours.is_none() && target.keeps_target_when_null())
    };
    pairs.filter(differs).map(|(target, _)| &*target.name).collect()
}
