//! The trigger on Traffic's leads derives what the mapping derives, for every form of every column, and for any
//! sequence of changes by writers of Landing's names and writers of Traffic's own columns.

use std::collections::{BTreeMap, BTreeSet};

use leadbridge::mapping::{self, Limits, Mapping};
use leadbridge::model::change::{Datum, Row};
use leadbridge::model::table::Table;
use leadbridge::postgres::Database;
use leadbridge::traffic::TargetCatalog;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use serde_json::{Map, Value};
use tokio_postgres::Client;
use uuid::Uuid;

use super::cases;
use super::mapping::{COLUMNS, any_of, metadata};
use crate::testkit::{World, one, table_rows, traffic};

type Lead = Map<String, Value>;

/// The columns of Traffic's leads under which a writer of Landing's names finds Landing's columns.
const SPELLED: [&str; 9] = [
    "source",
    "phone_normalized",
    "amocrm_lead_id",
    "amocrm_contact_id",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
];

fn on_traffic(landing_column: &str) -> String {
    let is_spelled = SPELLED.contains(&landing_column);
    if is_spelled { format!("landing_{landing_column}") } else { landing_column.to_owned() }
}

fn value<'l>(lead: &'l Lead, column: &str) -> Option<&'l str> {
    lead.get(column).unwrap_or_else(|| panic!("traffic_leads has no {column}")).as_str()
}

/// What the mapping makes of the Landing row that the lead's spelling says.
fn mapped(id: Uuid, lead: &Lead, limits: &Limits) -> BTreeMap<&'static str, Option<String>> {
    let table = Table::LandingLeads;
    let datum = |column: &str| value(lead, &on_traffic(column)).map_or(Datum::Null, Datum::text);
    let values = table.columns().iter().map(|column| datum(&column.name)).collect();
    let row = Mapping::whole().of(table).map(&Row { table, id, values }, limits).unwrap();
    let names = mapping::known_targets(table).iter();
    names
        .zip(row.values)
        .map(|(target, value)| (&*target.name, value.map(|value| value.to_string())))
        .collect()
}

/// The columns in which the lead is not as the mapping makes it, except for `fb_*` that the metadata does not give.
fn unlike(id: Uuid, lead: &Lead, limits: &Limits) -> Vec<&'static str> {
    let keeps = |name: &str| {
        let target = mapping::known_targets(Table::LandingLeads).iter().find(|target| target.name == name);
        target.is_some_and(mapping::Target::keeps_target_when_null)
    };
    let mapped = mapped(id, lead, limits);
    let differ = mapped
        .iter()
        .filter(|(name, made)| made.as_deref() != value(lead, name) && !(made.is_none() && keeps(name)));
    differ.map(|(name, _)| *name).collect()
}

/// A session of a writer who may call no function of the schema.
async fn writer(world: &World) -> Client {
    traffic(
        world,
        "CREATE ROLE writer LOGIN BYPASSRLS; GRANT SELECT, INSERT, UPDATE, DELETE ON traffic_leads TO writer;
         REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC",
    )
    .await;
    let client = world.traffic().await;
    client.batch_execute("SET SESSION AUTHORIZATION writer").await.unwrap();
    client
}

async fn limits(world: &World) -> TargetCatalog {
    let traffic = world.traffic().await;
    let traffic = Database::traffic(&traffic, &world.names);
    TargetCatalog::read(traffic, &[Table::LandingLeads], &Mapping::whole()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_written_through_landings_names_is_derived_as_the_mapping_derives_it() {
    let world = World::new().await;
    crate::testkit::repeat_numbers(&world).await;
    let client = writer(&world).await;
    let own = ["NULL", "''", "'kenjifb'", "'КАНАЛ'", "repeat('ы', 101)", "repeat('z', 300)"].join(", ");
    let own = format!("ARRAY[{own}]");
    let utm = SPELLED.iter().filter(|name| name.starts_with("utm_")).map(|name| (*name, own.as_str()));
    let normalized = [("phone_normalized", "ARRAY[NULL, '', '+7701', 'stale']")];
    let columns: Vec<(&str, &str)> = COLUMNS.into_iter().chain(utm).chain(normalized).collect();
    let names: Vec<String> = columns.iter().map(|(name, _)| on_traffic(name)).collect();
    // A verbatim value that does not fit is the writer's own error.
    let fitting = |(name, array): &(&str, &str)| match *name {
        "email" | "name" => format!("left({}, 255)", any_of(array)),
        "phone" => format!("left({}, 50)", any_of(array)),
        _ => any_of(array),
    };
    let values: Vec<String> = columns.iter().map(fitting).collect();
    let insert = format!(
        "SELECT setseed(0.5);
         INSERT INTO traffic_leads (landing_lead, metadata, {}) SELECT true, {}, {} FROM generate_series(1, 1500) AS n",
        names.join(", "),
        metadata(),
        values.join(", ")
    );
    client.batch_execute(&insert).await.unwrap();
    let limits = limits(&world).await;
    let leads = table_rows(&client, "traffic_leads").await;
    assert_eq!(leads.len(), 1500);
    for (id, lead) in &leads {
        let found = unlike(*id, lead, limits.limits(Table::LandingLeads));
        assert!(found.is_empty(), "{found:?} of {lead:#?}");
    }
    // The compared rows cover cut values, numbers and Facebook's keys.
    let covered = "SELECT min(c) FROM (VALUES
        ((SELECT count(*) FROM traffic_leads WHERE length(source) = 50 AND landing_source <> source)),
        ((SELECT count(*) FROM traffic_leads WHERE length(utm_term) = 255)),
        ((SELECT count(*) FROM traffic_leads WHERE amocrm_lead_id::text <> landing_amocrm_lead_id)),
        ((SELECT count(*) FROM traffic_leads WHERE utm_source IS NOT NULL AND landing_utm_source IS NULL)),
        ((SELECT count(*) FROM traffic_leads WHERE fb_ad_id IS NOT NULL))) AS v (c)";
    assert!(one::<i64>(&client, covered).await > 10);
}

/// Values of each column that a writer of Landing's names sets. Documents are in PostgreSQL's own form.
const BY_LANDINGS_NAMES: &[(&str, &[Option<&str>])] = &[
    ("phone", PHONES),
    ("landing_phone_normalized", &[None, Some(""), Some("stale"), Some("+7701")]),
    ("landing_source", SOURCES),
    ("landing_amocrm_lead_id", NUMBERS),
    ("landing_amocrm_contact_id", NUMBERS),
    ("landing_utm_source", UTM),
    ("landing_utm_term", UTM),
    ("metadata", METADATA),
    ("email_sent", &[Some("true"), Some("false")]),
];

/// Values of each column that a writer of Traffic's own columns sets.
const BY_TRAFFICS_NAMES: &[(&str, &[Option<&str>])] = &[
    ("phone", PHONES),
    ("phone_normalized", &[None, Some(""), Some("+7701"), Some("8702")]),
    ("source", SOURCES),
    ("amocrm_lead_id", &[None, Some("7"), Some("0"), Some("-3"), Some("9223372036854775807")]),
    ("amocrm_contact_id", &[None, Some("7"), Some("12")]),
    ("utm_source", UTM),
    ("utm_term", UTM),
    ("funnel_type", &[None, Some("express"), Some("challenge3d"), Some("intensive1d")]),
    ("fb_ad_id", UTM),
    ("fb_lead_id", UTM),
    ("metadata", METADATA),
    ("click_count", &[None, Some("0"), Some("5")]),
    ("status", &[Some("new"), Some("lost")]),
];

const PHONES: &[Option<&str>] = &[None, Some("+7 701"), Some("+7701"), Some("8 (702)"), Some("нет")];
const SOURCES: &[Option<&str>] = &[
    None,
    Some(""),
    Some("twland"),
    Some("direct"),
    Some("facebook"),
    Some("my FaceBook"),
    Some("google"),
    Some("Challenge_x"),
    Some("INTENSIVE"),
];
const NUMBERS: &[Option<&str>] =
    &[None, Some(""), Some("7"), Some("007"), Some("-3"), Some("x"), Some("9223372036854775808")];
const UTM: &[Option<&str>] = &[None, Some(""), Some("a"), Some("b"), Some("1")];
const METADATA: &[Option<&str>] = &[
    None,
    Some("{}"),
    Some("[1, 2]"),
    Some("null"),
    Some(r#"{"utm_source": "a", "funnel_type": "challenge3d"}"#),
    Some(r#"{"utm_term": 1.0, "utmSource": "b", "funnel_type": "webinar"}"#),
    Some(r#"{"answers": [1], "fb_ad_id": 7, "utm_term": 1}"#),
    Some(
        r#"{"fb_ad_id": 7.0, "utmParams": {"utm_term": "b", "utm_source": "c"}, "funnel_type": "intensive1d"}"#,
    ),
];

#[derive(Clone, Copy, Debug)]
enum Names {
    Landings,
    Traffics,
}

/// A statement of one writer: the set columns and their values.
#[derive(Clone, Debug)]
struct Write {
    names: Names,
    set: BTreeMap<&'static str, Option<&'static str>>,
}

fn write() -> impl Strategy<Value = Write> {
    let of = |names: Names, columns: &'static [(&'static str, &'static [Option<&'static str>])]| {
        let pair = proptest::sample::select(columns)
            .prop_flat_map(|(name, values)| (Just(name), proptest::sample::select(values)));
        let pairs = proptest::collection::vec(pair, 1..6);
        pairs.prop_map(move |pairs| Write { names, set: pairs.into_iter().collect() })
    };
    prop_oneof![of(Names::Landings, BY_LANDINGS_NAMES), of(Names::Traffics, BY_TRAFFICS_NAMES)]
}

impl Write {
    fn list(&self, of: impl Fn(&str, Option<&str>) -> String) -> String {
        self.set.iter().map(|(name, value)| of(name, *value)).collect::<Vec<_>>().join(", ")
    }

    fn insert(&self, id: Uuid) -> String {
        let names = self.list(|name, _| name.to_owned());
        let values = self.list(|_, value| literal(value));
        format!("INSERT INTO traffic_leads (id, {names}) VALUES ('{id}', {values})")
    }

    fn update(&self, id: Uuid) -> String {
        let sets = self.list(|name, value| format!("{name} = {}", literal(value)));
        format!("UPDATE traffic_leads SET {sets} WHERE id = '{id}'")
    }

    /// The columns that the writer has set to another value than `before`: null for a new lead.
    fn explicit<'w>(
        &'w self,
        before: &'w Lead,
    ) -> impl Iterator<Item = (&'static str, Option<&'static str>)> + 'w {
        let is_other = |(name, set): &(&'static str, Option<&'static str>)| {
            before.get(*name).and_then(Value::as_str) != *set
        };
        self.set.iter().map(|(name, set)| (*name, *set)).filter(is_other)
    }
}

fn literal(value: Option<&str>) -> String {
    value.map_or("NULL".to_owned(), |text| format!("'{text}'"))
}

/// Whether no spelling of Landing's gives the value that a writer of Traffic's own columns has set. A lead that is not
/// `landings` has AmoCRM's numbers without Landing's texts.
fn has_no_spelling(column: &str, set: Option<&str>, landings: bool) -> bool {
    match column {
        "amocrm_lead_id" | "amocrm_contact_id" if !landings => set.is_some(),
        // Landing derives these columns from other columns.
        "phone_normalized" | "funnel_type" | "fb_ad_id" | "fb_lead_id" => true,
        "source" => set.is_none_or(|source| word(source) != source),
        "amocrm_lead_id" => set.is_some_and(|number| number.starts_with('-')),
        "utm_source" | "utm_term" => set.is_none_or(str::is_empty),
        "click_count" => set.is_none(),
        _ => false,
    }
}

fn word(source: &str) -> &str {
    let lower = source.to_lowercase();
    match source {
        "twland" => "direct",
        _ => ["facebook", "google"].into_iter().find(|word| lower.contains(word)).unwrap_or(source),
    }
}

struct Stage {
    world: World,
    client: Client,
    limits: TargetCatalog,
}

impl Stage {
    async fn play(&self, writes: &[Write]) -> Result<(), TestCaseError> {
        let id = Uuid::from_u128(7);
        let mut before = Lead::new();
        let mut traffics: BTreeSet<&'static str> = BTreeSet::new();
        for (at, write) in writes.iter().enumerate() {
            let sql = if at == 0 { write.insert(id) } else { write.update(id) };
            self.client
                .batch_execute(&sql)
                .await
                .map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
            let after = table_rows(&self.client, "traffic_leads").await.remove(&id).unwrap();
            self.check(write, (&before, &after), &mut traffics).map_err(|found| {
                TestCaseError::fail(format!("{found} after statement {at}, {sql}\n{before:#?}\n{after:#?}"))
            })?;
            before = after;
        }
        self.client.batch_execute("DELETE FROM traffic_leads").await.unwrap();
        Ok(())
    }

    /// `traffics` are the columns with a value of Traffic's that no spelling gives.
    fn check(
        &self,
        write: &Write,
        (before, after): (&Lead, &Lead),
        traffics: &mut BTreeSet<&'static str>,
    ) -> Result<(), String> {
        let (id, limits) = (Uuid::from_u128(7), self.limits.limits(Table::LandingLeads));
        let is_new = before.is_empty();
        for (column, set) in write.explicit(before) {
            // The column's default of a lead of Landing's is no value that the writer has set.
            let is_default = is_new && column == "source" && set == Some("facebook");
            if value(after, column) != set && !is_default {
                return Err(format!("{column} is not what was set"));
            }
        }
        if !is_new {
            let (old, new) = (mapped(id, before, limits), mapped(id, after, limits));
            traffics.retain(|column| old[column] == new[column]);
            if value(before, "landing_lead") != value(after, "landing_lead") {
                return Err("the lead's birth has changed".into());
            }
        } else {
            let spelled = write.set.iter().any(|(name, set)| name.starts_with("landing_") && set.is_some());
            if value(after, "landing_lead") != Some(if spelled { "true" } else { "false" }) {
                return Err("the lead's birth is wrong".into());
            }
        }
        if matches!(write.names, Names::Traffics) {
            let landings = value(after, "landing_lead") == Some("true");
            let set = write.explicit(before).filter(|(column, set)| has_no_spelling(column, *set, landings));
            traffics.extend(set.map(|(column, _)| column));
        }
        let mut found = unlike(id, after, limits);
        found.retain(|column| !traffics.contains(column));
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?} are not as the mapping makes them")) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_sets_stays_and_everything_else_follows_the_mapping() {
    let world = World::new().await;
    crate::testkit::repeat_numbers(&world).await;
    let client = writer(&world).await;
    let limits = limits(&world).await;
    let stage = Stage { world, client, limits };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let run = |writes: Vec<Write>| {
            let played = runtime.block_on(stage.play(&writes));
            if played.is_err() {
                runtime.block_on(stage.client.batch_execute("DELETE FROM traffic_leads")).unwrap();
            }
            played
        };
        let histories = proptest::collection::vec(write(), 1..10);
        TestRunner::new(cases(300)).run(&histories, run).unwrap_or_else(|error| panic!("{error}"));
    });
    drop(stage.world);
}
