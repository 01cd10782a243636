use super::*;
use crate::compare::Contents;
use crate::compare::comparison::EXAMPLES;
use crate::mapping::{Mapping, known_targets};
use crate::model::change::Table;

const TABLE: Table = Table::LandingLeads;

fn at(name: &str) -> usize {
    known_targets(TABLE).iter().position(|target| target.name == name).unwrap()
}

fn values(changed: &[(&str, &str)]) -> Vec<Option<String>> {
    let mut values = vec![None; known_targets(TABLE).len()];
    values[at("updated_at")] = Some("2026-01-01 10:00:00.5+00".to_owned());
    for (name, value) in changed {
        values[at(name)] = Some((*value).to_owned());
    }
    values
}

fn expected(id: u128, changed: &[(&str, &str)]) -> ExpectedRow {
    let id = Uuid::from_u128(id);
    let values = values(changed).into_iter().map(|value| value.map(Into::into)).collect();
    ExpectedRow { id, row: Some(TrafficRow { id, values, notes: Vec::new() }), may_be_unsent: false }
}

fn held(id: u128, changed: &[(&str, &str)]) -> HeldRow {
    let values = values(changed).into_iter().map(|value| value.map(Into::into)).collect();
    let image = TrafficImage { table: TABLE, id: Uuid::from_u128(id), values };
    HeldRow { image, must_be_on_landing: true, stays_on_traffic: false }
}

fn by_mapping() -> ByMapping {
    ByMapping::new(Mapping::whole().of(TABLE), &[])
}

fn compare(landing: &[ExpectedRow], traffic: &[HeldRow]) -> Comparison {
    by_mapping().compare(landing, traffic)
}

#[test]
fn rows_missing_and_left_over_are_found_wherever_they_stand() {
    let landing = [expected(1, &[]), expected(2, &[]), expected(4, &[])];
    let traffic = [held(2, &[]), held(3, &[]), held(5, &[])];
    let found = compare(&landing, &traffic);
    assert_eq!((found.landing_rows, found.traffic_rows), (3, 3));
    assert_eq!((found.missing, found.extra, found.different), (2, 2, 0));
    let missing: Vec<_> = found.examples.iter().filter(|e| e.difference == Difference::Missing).collect();
    assert_eq!(missing.iter().map(|e| e.id.as_u128()).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn every_column_that_landing_owns_is_compared_and_named() {
    for target in known_targets(TABLE) {
        let found = compare(&[expected(1, &[(&target.name, "1")])], &[held(1, &[(&target.name, "0")])]);
        assert_eq!(found.different, 1, "{}", target.name);
        assert_eq!(found.examples[0].difference, Difference::Different(vec![target.name.clone()]));
    }
}

#[test]
fn a_facebook_id_belongs_to_traffic_as_long_as_landing_has_none() {
    assert_eq!(compare(&[expected(1, &[])], &[held(1, &[("fb_ad_id", "7")])]).differences(), 0);
    assert_eq!(compare(&[expected(1, &[("fb_ad_id", "7")])], &[held(1, &[])]).different, 1);
}

#[test]
fn a_later_updated_at_alone_is_traffics_own_stamp_and_an_earlier_one_is_a_difference() {
    let later = ("updated_at", "2026-01-01 10:00:00.51+00");
    let found = compare(&[expected(1, &[])], &[held(1, &[later])]);
    assert_eq!((found.stamped, found.differences()), (1, 0));
    let with_another = compare(&[expected(1, &[])], &[held(1, &[later, ("name", "x")])]);
    assert_eq!(with_another.different, 1);
    let earlier = ("updated_at", "2026-01-01 10:00:00+00");
    assert_eq!(compare(&[expected(1, &[])], &[held(1, &[earlier])]).different, 1);
}

#[test]
fn what_traffic_changed_of_metadata_that_need_not_be_sent_is_counted_apart() {
    let changed = |values: &[(&str, &str)], may_be_unsent| {
        let landing = [ExpectedRow { may_be_unsent, ..expected(1, &[("metadata", "{}")]) }];
        let mut values = values.to_vec();
        if values.iter().all(|(name, _)| *name != "metadata") {
            values.push(("metadata", "{}"));
        }
        let mut found = Comparison { contents: Some(Contents::default()), ..Comparison::new(TABLE) };
        found.count(&by_mapping(), &Met::Both(&landing[0], &held(1, &values)));
        (found.changed_on_traffic, found.different, found.contents.map(|both| both.landing == both.traffic))
    };
    let later = ("updated_at", "2026-01-01 10:00:00.51+00");
    let apart = (1, 0, Some(true));
    assert_eq!(changed(&[("utm_source", "x")], true), apart);
    assert_eq!(changed(&[("utm_source", "x"), later], true), apart);
    assert_eq!(changed(&[("metadata", "[]"), ("funnel_type", "challenge3d")], true), apart);
    let different = (0, 1, Some(false));
    assert_eq!(changed(&[("utm_source", "x")], false), different, "it would have been sent");
    assert_eq!(changed(&[("utm_source", "x"), ("phone", "1")], true), different);
    assert_eq!(changed(&[("funnel_type", "challenge3d")], true), different);
}

#[test]
fn a_row_that_the_mapping_refuses_is_counted_whether_traffic_has_an_older_image_or_not() {
    let refused = || [ExpectedRow { id: Uuid::from_u128(1), row: None, may_be_unsent: false }];
    assert_eq!(compare(&refused(), &[]).refused, 1);
    let found = compare(&refused(), &[held(1, &[])]);
    assert_eq!((found.refused, found.traffic_rows, found.differences()), (1, 1, 1));
}

#[test]
fn examples_are_few_and_show_no_value() {
    let landing: Vec<_> = (0..100).map(|id| expected(id, &[("name", "Somebody")])).collect();
    let found = compare(&landing, &(0..100).map(|id| held(id, &[("name", "Else")])).collect::<Vec<_>>());
    assert_eq!((found.different, found.examples.len()), (100, EXAMPLES));
    let json = serde_json::to_string(&found).unwrap();
    assert!(json.contains("\"columns\":[\"name\"]") && !json.contains("Somebody"), "{json}");
}
