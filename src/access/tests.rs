use super::facts::{Command, Facts};
use super::rights::right;
use crate::model::change::Table;

/// Facts with one table and the role `anon`, with grants and policies as JSON.
fn facts(row_security: bool, grants: &str, policies: &str) -> Facts {
    let text = format!(
        r#"{{"roles": [{{"name": "anon", "bypasses": false}}], "views": [], "own": [], "functions": [],
            "known_functions": [], "tables": [{{"position": 0, "row_security": {row_security}, "columns": [],
            "owners": [], "others": [], "grants": [{grants}], "policies": [{policies}]}}]}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn policy(is_permissive: bool, using: &str, columns: &str) -> String {
    format!(
        r#"{{"name": "p", "is_permissive": {is_permissive}, "command": "r", "roles": ["anon"], "using": "{using}",
            "check": null, "columns": [{columns}], "functions": [], "others": []}}"#
    )
}

const ALL: &str = r#"{"role": "anon", "command": "SELECT", "columns": null, "through": ["anon"]}"#;
const SOME: &str =
    r#"{"role": "anon", "command": "SELECT", "columns": ["id", "phone"], "through": ["anon"]}"#;
const FEW: &str = r#"{"role": "anon", "command": "SELECT", "columns": ["id"], "through": ["anon"]}"#;
const DERIVED: &str = r#"{"role": "anon", "command": "SELECT", "columns": ["source"], "through": ["anon"]}"#;

fn is_within(traffic: &Facts, landing: &Facts) -> bool {
    let of = |facts: &Facts| right(&facts.tables[0], &facts.roles[0], Command::Select);
    match (of(traffic), of(landing)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(traffic), Some(landing)) => traffic.is_within(&landing, Table::LandingLeads),
    }
}

#[test]
fn nothing_is_within_everything_and_a_right_without_a_counterpart_is_within_nothing() {
    let (none, all) = (facts(true, ALL, ""), facts(false, ALL, ""));
    assert!(is_within(&none, &none) && is_within(&none, &all) && is_within(&all, &all));
    assert!(!is_within(&all, &none));
    assert!(!is_within(&all, &facts(false, "", "")));
    assert!(!is_within(&facts(true, ALL, &policy(true, "true", "")), &none));
    assert!(is_within(&facts(true, ALL, &policy(true, "false", "")), &none));
}

#[test]
fn columns_on_traffic_must_be_columns_with_the_same_values_on_landing() {
    let of = |grants| facts(false, grants, "");
    assert!(is_within(&of(FEW), &of(SOME)) && is_within(&of(SOME), &of(ALL)));
    assert!(!is_within(&of(SOME), &of(FEW)) && !is_within(&of(ALL), &of(SOME)));
    assert!(!is_within(&of(DERIVED), &of(DERIVED)), "Traffic's source is computed");
}

#[test]
fn policies_are_equal_by_their_text_over_columns_with_the_same_values() {
    let under = |policies: &[String]| facts(true, ALL, &policies.join(", "));
    let mail = || policy(true, "(email IS NULL)", "\"email\"");
    let phone = || policy(true, "(phone IS NULL)", "\"phone\"");
    let source = || policy(true, "(source IS NULL)", "\"source\"");
    let narrow = || policy(false, "(name IS NULL)", "\"name\"");
    assert!(is_within(&under(&[mail()]), &under(&[mail(), phone()])));
    assert!(!is_within(&under(&[mail(), phone()]), &under(&[mail()])));
    assert!(!is_within(&under(&[source()]), &under(&[source()])), "Traffic's source is computed");
    assert!(is_within(&under(&[mail(), narrow()]), &under(&[mail()])));
    assert!(!is_within(&under(&[mail()]), &under(&[mail(), narrow()])), "the restrictive policy is missing");
    let every = facts(true, ALL, &policy(true, "true", ""));
    assert!(is_within(&under(&[source()]), &every));
}
