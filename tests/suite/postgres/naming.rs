//! Names that need quotes: every name that the configuration accepts works on every connection, in both directions.

use leadbridge::migrate::MigrateOptions;
use leadbridge::model::names::Names;
use serde_json::Value;

use crate::testkit::{Bridge, World, holds, until_holds};

/// Without quotes these names would be folded to lower case, split at commas or blanks, or cut at a dot.
const ODD: [&str; 4] = ["LeadBridge", "leads, of the school", "lead.bridge", "Школа №1"];

fn named(odd: &str, slot: &str) -> Names {
    Names {
        slot: slot.into(),
        publication: odd.into(),
        schema: odd.into(),
        landing_schema: format!("{odd} L"),
        traffic_schema: format!("{odd} T"),
        ..leadbridge::throwaway::fixture::names()
    }
}

/// The school's tables in schemas with odd names, and a bridge with the same configuration.
async fn installed(names: Names) -> (World, Bridge) {
    let mut world = World::unmigrated().await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let rename = |schema: &str| format!("ALTER SCHEMA public RENAME TO \"{schema}\"; CREATE SCHEMA public");
    landing.batch_execute(&rename(&names.landing_schema)).await.unwrap();
    traffic.batch_execute(&rename(&names.traffic_schema)).await.unwrap();
    let lines = format!(
        "[names]\nslot = '{}'\npublication = '{}'\nschema = '{}'\nlanding_schema = '{}'\ntraffic_schema = '{}'",
        names.slot, names.publication, names.schema, names.landing_schema, names.traffic_schema
    );
    world.names = names;
    world.migrate(&MigrateOptions::default()).await;
    let bridge = Bridge::new(&world).configured(&lines);
    (world, bridge)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_that_is_accepted_streams_from_landing_and_back_from_traffic() {
    // A slot's name may also begin with a digit, or be a word of the replication grammar.
    let stories = ODD.iter().zip(["2_leads", "logical", "slot", "leads"]);
    futures_util::future::join_all(stories.map(|(odd, slot)| streams_both_ways(named(odd, slot)))).await;
}

async fn streams_both_ways(names: Names) {
    let (world, bridge) = installed(names).await;
    let (landing_leads, traffic_leads) = (
        format!("\"{}\".landing_leads", world.names.landing_schema),
        format!("\"{}\".traffic_leads", world.names.traffic_schema),
    );
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let insert = format!("INSERT INTO {landing_leads} (name, phone) VALUES ('n', '1')");
    landing.batch_execute(&insert).await.unwrap();
    // The copy, then the stream.
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing.batch_execute(&insert).await.unwrap();
    until_holds(&traffic, &format!("count(*) = 2 FROM {traffic_leads}")).await;
    let directory = bridge.dir().to_str().unwrap();
    let said = bridge.run(&["cutover", "--yes", "--json", "--certificate", directory]).await;
    assert_eq!(said.code, 0, "{:?}: {}{}", world.names, said.out, said.err);
    traffic.batch_execute(&format!("UPDATE {traffic_leads} SET name = 'changed'")).await.unwrap();
    until_holds(&landing, &format!("bool_and(name = 'changed') FROM {landing_leads}")).await;
    let said = bridge.run(&["rollback", "--yes", "--json", "--certificate", directory]).await;
    assert_eq!(said.code, 0, "{:?}: {}{}", world.names, said.out, said.err);
    daemon.until("the stream from Landing resumes", |status: &Value| status["state"] == "streaming").await;
    let update = format!("UPDATE {landing_leads} SET click_count = 7");
    until_accepted(&landing, &update).await;
    until_holds(&traffic, &format!("bool_and(click_count = 7) FROM {traffic_leads}")).await;
    assert!(holds(&traffic, &format!("count(*) = 0 FROM \"{}\".quarantine", world.names.schema)).await);
    daemon.terminate().await;
}

/// Landing may open a moment after the decision of the rollback.
async fn until_accepted(client: &tokio_postgres::Client, sql: &str) {
    crate::testkit::until_true(sql, async || client.batch_execute(sql).await.is_ok()).await;
}
