//! `->` and `->>` give PostgreSQL's results on any document.

use leadbridge::mapping::json::JsonObject;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio_postgres::Client;

use super::cases;
use crate::testkit::World;

/// JSON in every human form: whitespace anywhere, duplicate members, numbers of any form and size, every escape.
fn document() -> impl Strategy<Value = String> {
    let key = || {
        prop_oneof![
            4 => Just("key".to_owned()),
            1 => Just("KEY".to_owned()),
            1 => Just(String::new()),
            1 => Just("k\\u0065y".to_owned()),
            1 => "[a-zА-я ]{0,4}",
        ]
    };
    let word = prop::sample::select(vec!["null", "true", "false", "\"null\""]).prop_map(str::to_owned);
    prop_oneof![word, number(), string()].prop_recursive(4, 32, 5, move |inner| {
        let space = || prop::sample::select(vec!["", " ", "\n\t", "\r "]);
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(","))),
            (prop::collection::vec((key(), inner), 0..5), space()).prop_map(|(members, space)| {
                let member = |(key, value): &(String, String)| format!("\"{key}\"{space}:{space}{value}");
                format!(
                    "{space}{{{}{space}}}",
                    members.iter().map(member).collect::<Vec<_>>().join(&format!(",{space}"))
                )
            }),
        ]
    })
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        "[^\\x00-\\x1f\"\\\\]{0,6}",
        prop::collection::vec(
            prop::sample::select(vec![
                "\\\"",
                "\\\\",
                "\\/",
                "\\b",
                "\\f",
                "\\n",
                "\\r",
                "\\t",
                "\\u0001",
                "\\u00e9",
                "\\ud83d\\ude00",
                "я",
                "\\u2028",
                "\u{7f}",
                "\u{feff}"
            ]),
            0..5
        )
        .prop_map(|parts| parts.concat()),
    ]
    .prop_map(|text| format!("\"{text}\""))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        prop::sample::select(vec![
            "-0",
            "0",
            "-0.0",
            "1.0e5",
            "1E400",
            "-1e-400",
            "0.10",
            "12345678901234567890.5000",
            "1e+2",
            "100000000000000000000"
        ])
        .prop_map(str::to_owned),
        (any::<i32>(), 0..30_u32).prop_map(|(n, e)| format!("{n}.{n}e-{e}").replace(".-", ".")),
    ]
}

/// The `jsonb` in PostgreSQL's output form, and the members by PostgreSQL's own operators; `None` for a refused
/// document.
async fn asked(landing: &Client, document: &str) -> Option<(String, [Option<String>; 3])> {
    let sql = "SELECT d::text, CASE jsonb_typeof(d) WHEN 'object' THEN d->>'key' END,
                      CASE jsonb_typeof(d->'key') WHEN 'object' THEN d->'key'->>'key' END,
                      CASE jsonb_typeof(d) WHEN 'object' THEN d->>'' END
               FROM (SELECT $1::text::jsonb) AS t (d)";
    let row = landing.query_one(sql, &[&document]).await.ok()?;
    Some((row.get(0), [row.get(1), row.get(2), row.get(3)]))
}

fn answered(document: &str) -> [Option<String>; 3] {
    let object = JsonObject::parse(document, |_| true);
    let inner = object.object("key", |_| true);
    [object.text("key"), inner.text("key"), object.text("")].map(|text| text.map(|text| text.into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_member_is_what_postgresql_says_it_is() {
    let world = World::unmigrated().await;
    let landing = world.landing().await;
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let run = |document: String| {
            let (text, expected) = runtime.block_on(asked(&landing, &document)).expect("valid JSON");
            prop_assert_eq!(answered(&text), expected);
            Ok(())
        };
        TestRunner::new(cases(1024)).run(&document(), run).unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_as_deep_as_postgresql_takes_it_is_read_and_what_it_refuses_never_arrives() {
    let world = World::unmigrated().await;
    let landing = world.landing().await;
    for (open, close) in [("[", "]"), ("{\"key\":", "}")] {
        let deep = format!("{}1{}", open.repeat(3000), close.repeat(3000));
        let document = format!("{{\"key\": {{\"key\": {deep}}}}}");
        let (text, expected) = asked(&landing, &document).await.expect("not too deep");
        assert!(answered(&text) == expected, "{open}");
    }
    for refused in [r#"{"key": "\u0000"}"#, r#"{"key": "\ud83d"}"#, r#"{"key": 01}"#, "{\"key\": \"\n\"}"] {
        assert_eq!(asked(&landing, refused).await, None, "{refused}");
    }
}
