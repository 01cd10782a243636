//! The logs of the two servers get no refused row of leadbridge's role, and `doctor` says where they would.

use leadbridge::migrate::{MigrateOptions, MigratedSide, privileges};
use serde_json::Value;

use crate::testkit::{Bridge, World, landing, least_privileged, said, traffic};

const NAME: &str = "Айгерим-ЖОҚ";

/// Servers that log as PostgreSQL does by default.
async fn logging() -> World {
    let by_default = [("log_error_verbosity", "default")];
    let world = World::with_settings(&by_default, &by_default).await;
    traffic(&world, "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (email NOT LIKE 'bad%')").await;
    let lead = format!("INSERT INTO landing_leads (name, phone, email) VALUES ('{NAME}', '1', 'bad')");
    // The statement of the school itself must not be in the log.
    landing(&world, &lead).await;
    world
}

fn is_logged(world: &World) -> bool {
    std::fs::read_to_string(world.traffic.log()).unwrap().contains(NAME)
}

/// Level and remedy of the finding on either side.
async fn findings(bridge: &Bridge) -> Vec<(String, String)> {
    let said = said(bridge.command(&["doctor", "--json"])).await;
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let found = report["findings"].as_array().unwrap().iter().filter(|found| found["check"] == "server_log");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found.map(|found| (text(&found["level"]), text(&found["remedy"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_our_sql_makes_puts_no_refused_row_into_the_servers_log() {
    let world = logging().await;
    let bridge = least_privileged(&world).await;
    bridge.catch_up().await;
    assert!(!is_logged(&world));
    assert_eq!(findings(&bridge).await, [("ok".to_owned(), String::new()), ("ok".to_owned(), String::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_warns_of_a_role_whose_refused_rows_are_logged_and_names_what_to_run() {
    let world = logging().await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    assert!(is_logged(&world), "the server does not log what this test is about");
    let found = findings(&bridge).await;
    assert_eq!(found.len(), 2);
    for (level, remedy) in &found {
        assert_eq!(level, "warning");
        let (_, sql) = remedy.split_once("superuser: ").unwrap();
        let sql = sql.split_once(';').unwrap().0;
        landing(&world, sql).await;
        traffic(&world, sql).await;
    }
    assert!(findings(&bridge).await.iter().all(|(level, _)| level == "ok"));
}

/// An owner who is no superuser may not set the parameter, and gets the rest of the script.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_may_not_set_the_parameter_is_told_and_goes_on() {
    let world = World::new().await;
    let sql = privileges(MigratedSide::Traffic, &world.names, "bridge", &MigrateOptions::default()).unwrap();
    let (_, block) = sql.split_once("DO $log$").unwrap();
    let (block, _) = block.split_once("$log$;").unwrap();
    let client = world.traffic().await;
    let roles = "CREATE ROLE owner CREATEROLE; SET ROLE owner; CREATE ROLE bridge";
    client.batch_execute(roles).await.unwrap();
    client.batch_execute(&format!("DO $log${block}$log$")).await.unwrap();
    let unset = "SELECT count(*) FROM pg_db_role_setting WHERE setrole = 'bridge'::regrole";
    assert_eq!(client.query_one(unset, &[]).await.unwrap().get::<_, i64>(0), 0);
}
