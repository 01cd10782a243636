//! Every rule has words, and the place that is named is the place that gave the value.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::mapping::{Mapping, PassthroughColumn, json::JsonObject, metadata};
use crate::model::change::lead;

fn row(values: Vec<Datum>) -> Row {
    Row { table: Table::LandingLeads, id: Uuid::nil(), values: values.into() }
}

fn null_row() -> Row {
    row(vec![Datum::Null; Table::LandingLeads.columns().len()])
}

const TEXTS: [&str; 10] =
    ["", "twland", "Challenge3D", "intensive", "FaceBook", "google tiktok", "kenjifb", "007", "12a", "f"];
const KEYS: [&str; 7] =
    ["utm_source", "utmSource", "utm_term", "utmTerm", "funnel_type", "fb_ad_id", "answers"];

fn texts() -> impl Strategy<Value = Option<String>> {
    prop_oneof![Just(None), proptest::sample::select(&TEXTS[..]).prop_map(|word| Some(word.to_owned()))]
}

/// Metadata with any of the keys that the rules read.
fn documents() -> impl Strategy<Value = Option<String>> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("42".to_owned()),
        Just(r#"{"a": 1}"#.to_owned()),
        proptest::sample::select(&["", "x", "challenge3d", "intensive1d", "other"][..])
            .prop_map(|v| format!("\"{v}\"")),
    ];
    let object = move || {
        proptest::collection::btree_map(proptest::sample::select(&KEYS[..]), value.clone(), 0..6).prop_map(
            |members| {
                let members = members.iter().map(|(key, value)| format!("\"{key}\": {value}"));
                members.collect::<Vec<_>>().join(", ")
            },
        )
    };
    let nested = (object(), proptest::option::of(object())).prop_map(|(top, nested)| match nested {
        Some(nested) if top.is_empty() => format!(r#"{{"utmParams": {{{nested}}}}}"#),
        Some(nested) => format!(r#"{{{top}, "utmParams": {{{nested}}}}}"#),
        None => format!("{{{top}}}"),
    });
    prop_oneof![1 => Just(None), 1 => Just(Some("[1]".to_owned())), 8 => nested.prop_map(Some)]
}

fn rows() -> impl Strategy<Value = Row> {
    let count = Table::LandingLeads.columns().len();
    (proptest::collection::vec(texts(), count), documents()).prop_map(|(mut texts, document)| {
        if let Some(metadata) = texts.get_mut(lead::METADATA) {
            *metadata = document;
        }
        row(texts.into_iter().map(|text| text.map_or(Datum::Null, Datum::text)).collect())
    })
}

fn position(name: &str) -> usize {
    Table::LandingLeads.columns().iter().position(|column| column.name == name).expect("a column")
}

/// The row with nothing in it but the named place.
fn only(row: &Row, place: &Place) -> Row {
    let mut alone = null_row();
    let document = || row.values[lead::METADATA].as_str().expect("a place in metadata");
    let member = |json: &str, key: &str| {
        let object = JsonObject::parse(json, |name| name == key);
        object.members().map(|(_, value)| value.to_owned()).last().expect("the member")
    };
    match place {
        Place::Column(name) => alone.values[position(name)] = row.values[position(name)].clone(),
        Place::Metadata(key) => {
            let text = format!("{{\"{key}\": {}}}", member(document(), key));
            alone.values[lead::METADATA] = Datum::text(text);
        }
        Place::UtmParams(key) => {
            let nested = member(&member(document(), "utmParams"), key);
            alone.values[lead::METADATA] = Datum::text(format!(r#"{{"utmParams": {{"{key}": {nested}}}}}"#));
        }
    }
    alone
}

/// The row without the named place.
fn without(row: &Row, place: &Place) -> Row {
    let mut rest = row.clone();
    let drop_key = |json: &str, key: &str| {
        let object = JsonObject::parse(json, |name| name != key);
        let kept: Vec<String> = object
            .members()
            .map(|(name, value)| format!("{}: {value}", serde_json::Value::from(name)))
            .collect();
        format!("{{{}}}", kept.join(", "))
    };
    let document = row.values[lead::METADATA].as_str().unwrap_or("{}").to_owned();
    match place {
        Place::Column(name) => rest.values[position(name)] = Datum::Null,
        Place::Metadata(key) => rest.values[lead::METADATA] = Datum::text(drop_key(&document, key)),
        Place::UtmParams(key) => {
            let outer = JsonObject::parse(&document, |name| name == "utmParams");
            let nested = outer.members().next().map(|(_, value)| drop_key(value, key)).expect("utmParams");
            let kept = drop_key(&document, "utmParams");
            let kept = kept.trim_end_matches('}');
            let comma = if kept == "{" { "" } else { ", " };
            rest.values[lead::METADATA] = Datum::text(format!("{kept}{comma}\"utmParams\": {nested}}}"));
        }
    }
    rest
}

proptest! {
    #[test]
    fn the_named_place_alone_gives_the_value_and_without_it_another_place_decides(row in rows()) {
        let mapping = Mapping::whole();
        let mapping = mapping.of(Table::LandingLeads);
        let limits = vec![None; mapping.targets().len()];
        let values = mapping.map(&row, &limits).unwrap().values;
        let nothing = mapping.map(&null_row(), &limits).unwrap().values;
        let origins = mapping.origins(&row);
        prop_assert_eq!(origins.len(), values.len());
        for (at, (target, origin)) in mapping.targets().iter().zip(&origins).enumerate() {
            match &origin.place {
                Some(place) => {
                    let alone = mapping.map(&only(&row, place), &limits).unwrap().values;
                    prop_assert_eq!(&alone[at], &values[at], "{} from {}", target.name, place);
                    let rest = without(&row, place);
                    let next = mapping.origins(&rest)[at].place.clone();
                    prop_assert_ne!(next.as_ref(), Some(place), "{}", target.name);
                }
                None => prop_assert_eq!(&values[at], &nothing[at], "{}: {}", target.name, origin.how),
            }
        }
    }
}

#[test]
fn every_rule_has_words_and_names_the_places_that_it_reads() {
    let carried =
        [PassthroughColumn { landing: "tag".into(), traffic: "landing_tag".into(), sql_type: "text".into() }];
    let mapping = TableMapping::new(Table::LandingLeads, |_| true, &carried);
    let words = |name: &str| {
        let target = mapping.targets().iter().find(|target| target.name == name).expect("a target");
        mapping.rule_in_words(target)
    };
    assert_eq!(words("email"), "email, verbatim");
    assert_eq!(words("landing_tag"), "tag, verbatim");
    assert_eq!(words("phone_normalized"), "normalize_phone(phone): ASCII digits and +");
    assert_eq!(
        words("utm_term"),
        "the first value that is neither null nor empty of utm_term, metadata->>'utm_term', metadata->>'utmTerm', \
         metadata->'utmParams'->>'utm_term', metadata->'utmParams'->>'utmTerm'"
    );
    assert_eq!(words("click_count"), "click_count; null becomes 0");
    assert!(words("source").contains("direct for twland"));
    assert!(words("funnel_type").contains("metadata->>'funnel_type'"));
    assert!(words("amocrm_lead_id").starts_with("the number in amocrm_lead_id"));
    assert!(words("fb_ad_id").starts_with("metadata->>'fb_ad_id'"));
    for table in Table::ALL {
        let mapping = Mapping::whole();
        let mapping = mapping.of(table);
        for target in mapping.targets() {
            let words = mapping.rule_in_words(target);
            assert!(!words.is_empty() && !words.contains('?'), "{}: {words}", target.name);
        }
    }
}

#[test]
fn a_column_that_landing_lacks_is_said_to_be_traffics_own() {
    let mapping =
        TableMapping::new(Table::LandingLeads, |name| name != "click_count" && name != "utm_term", &[]);
    let at = |name: &str| mapping.targets().iter().position(|target| target.name == name).expect("a target");
    let words = |name: &str| mapping.rule_in_words(&mapping.targets()[at(name)]);
    assert!(words("click_count").contains("Traffic's own"));
    assert!(words("utm_term").contains("of metadata->>'utm_term'"), "{}", words("utm_term"));
    assert_eq!(mapping.origins(&null_row())[at("click_count")], Origin::without_place("Traffic's own"));
}

#[test]
fn no_words_hold_a_text_of_the_row() {
    let secret = "Айгерим-secret";
    let mut row = null_row();
    for value in &mut row.values {
        *value = Datum::text(secret);
    }
    let document = metadata::with_members(None, &[("utm_source", secret), ("funnel_type", secret)]);
    row.values[lead::METADATA] = Datum::text(document);
    for origin in Mapping::whole().of(Table::LandingLeads).origins(&row) {
        let place = origin.place.map_or_else(String::new, |place| place.to_string());
        assert!(!format!("{place} {}", origin.how).contains("secret"));
    }
}
