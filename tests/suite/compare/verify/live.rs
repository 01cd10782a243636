//! `leadbridge verify`, the real binary, between databases in use.

use leadbridge::throwaway::writers::WriteRate;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::testkit::{
    Bridge, Said, World, assert_equal, assert_refused, landing, least_privileged, one, traffic, writers_go_on,
};

fn document(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {} {}", said.out, said.err))
}

/// A world whose leads are on Traffic, without a running daemon.
async fn copied(leads: usize) -> (World, Bridge) {
    let world = World::new().await;
    world.fill(11, leads).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    (world, bridge)
}

/// Changes Traffic behind the back of all triggers.
async fn tamper(world: &World, sql: &str) {
    traffic(world, &format!("SET session_replication_role = replica; {sql}")).await;
}

fn leads(document: &Value) -> &Value {
    &document["tables"][0]
}

#[tokio::test(flavor = "multi_thread")]
async fn while_writers_write_and_the_daemon_streams_both_sides_are_equal_again_and_again() {
    let world = World::new().await;
    world.fill(12, 400).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    // A daemon of a debug build on a busy machine must be able to follow the writers.
    let writers =
        world.write(&WriteRate { pause: std::time::Duration::from_millis(5), ..WriteRate::default() });
    for _ in 0..4 {
        writers_go_on(&world, 50).await;
        let said = bridge.run(&["verify", "--json"]).await;
        let found = document(&said);
        assert_eq!((said.code, &found["equal"]), (0, &json!(true)), "{found}");
        assert!(leads(&found)["landing_rows"].as_u64().unwrap() > 300, "{found}");
    }
    writers.stop().await.unwrap();
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_boolean_is_found_and_named_under_live_writers_and_no_value_is_shown() {
    let world = World::new().await;
    world.fill(13, 700).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let id = "00000000-0000-4000-8000-000000000001";
    let lead = format!(
        "INSERT INTO landing_leads (id, name, phone, email) VALUES ('{id}', 'Айгерим-ЖОҚ', '+7701', 'a@b.kz')"
    );
    landing(&world, &lead).await;
    daemon.caught_up(&world).await;
    tamper(&world, &format!("UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = '{id}'")).await;
    let writers = world.write(&WriteRate::default());
    writers_go_on(&world, 50).await;

    let said = bridge.run(&["verify", "--json", "--table", "landing_leads"]).await;
    let found = document(&said);
    assert_eq!((said.code, &found["equal"]), (1, &json!(false)), "{found}");
    assert_eq!(found["stream_passed"], json!(true), "{found}");
    let different = json!([{"id": id, "kind": "different", "columns": ["sms_sent"]}]);
    assert_eq!(leads(&found)["examples"], different, "{found}");
    assert_eq!(found["tables"].as_array().unwrap().len(), 1);

    let said = bridge.run(&["verify"]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains(&format!("landing_leads {id} differs in sms_sent")), "{}", said.out);
    assert!(said.out.contains("NOT EQUAL"), "{}", said.out);
    for secret in ["Айгерим", "+7701", "a@b.kz"] {
        assert!(!format!("{}{}{found}", said.out, said.err).contains(secret));
    }
    writers.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_difference_is_counted_with_what_explains_it() {
    let (world, bridge) = copied(300).await;
    let long = "x".repeat(300);
    landing(&world, &format!("INSERT INTO landing_leads (name, phone) VALUES ('{long}', '1')")).await;
    bridge.catch_up().await;
    tamper(
        &world,
        "DELETE FROM traffic_leads WHERE id IN (SELECT lead_id FROM traffic_lead_journey ORDER BY lead_id LIMIT 1);
         INSERT INTO traffic_leads (name, landing_synced_at) VALUES ('left over', now());
         INSERT INTO traffic_leads (name) VALUES ('born on Traffic')",
    )
    .await;
    let orphans = "SELECT count(*)::text FROM traffic_lead_journey j
                   WHERE NOT EXISTS (SELECT FROM traffic_leads l WHERE l.id = j.lead_id)";
    let orphans: u64 = one::<String>(&world.traffic().await, orphans).await.parse().unwrap();
    assert!(orphans > 0);

    let said = bridge.run(&["verify", "--json", "--wait", "100ms"]).await;
    let found = document(&said);
    assert_eq!(said.code, 1);
    let of = |key: &str| leads(&found)[key].as_u64().unwrap();
    assert_eq!((of("missing"), of("extra"), of("different"), of("refused")), (1, 1, 0, 1), "{found}");
    assert_eq!((of("quarantined"), of("landing_rows"), of("traffic_rows")), (1, 301, 300), "{found}");
    assert_eq!(found["tables"][1]["orphaned"].as_u64(), Some(orphans), "{found}");
    assert_eq!((&found["quarantined"], &found["repaired"]), (&json!(1), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_privileged_role_attributes_leads_on_both_sides_as_the_view_does() {
    let world = World::new().await;
    world.fill(14, 300).await;
    let bridge = least_privileged(&world).await;
    bridge.catch_up().await;
    traffic(
        &world,
        "ALTER TABLE traffic_users DROP CONSTRAINT traffic_users_team_name_check;
         WITH t AS (INSERT INTO traffic_teams (name) VALUES ('Kenji') RETURNING name),
              u AS (INSERT INTO traffic_users (full_name, team_name) SELECT 'Targetologist', name FROM t RETURNING id)
         INSERT INTO traffic_user_utm_sources (user_id, utm_source, funnel_type)
         SELECT u.id, upper(utm_source), funnel_type FROM u, (SELECT utm_source, funnel_type FROM traffic_leads
             WHERE utm_source IS NOT NULL GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2 LIMIT 1) AS l",
    )
    .await;
    let view = "SELECT count(*)::text FROM v_traffic_leads_with_journey WHERE targetologist_team = 'Kenji'";
    let credited: u64 = one::<String>(&world.traffic().await, view).await.parse().unwrap();
    assert!(credited > 0);
    let found = document(&bridge.run(&["verify", "--json"]).await);
    let whose = found["attribution"].as_array().unwrap();
    let theirs = whose.iter().find(|whose| whose["team"] == "Kenji").unwrap();
    assert_eq!((&theirs["landing"], &theirs["traffic"]), (&json!(credited), &json!(credited)), "{found}");
    let sum = |side: &str| whose.iter().map(|whose| whose[side].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("landing"), sum("traffic")), (300, 300), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_only_because_no_daemon_runs_is_said_to_be_on_its_way() {
    let (world, bridge) = copied(50).await;
    landing(&world, "UPDATE landing_leads SET click_count = 77").await;
    let said = bridge.run(&["verify", "--wait", "100ms"]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("does the daemon run"), "{}", said.out);
    bridge.catch_up().await;
    let said = bridge.run(&["verify"]).await;
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(said.out.contains("Equal: Traffic has everything that Landing committed before"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_makes_rows_what_landing_has_and_waits_for_no_daemon() {
    let (world, bridge) = copied(300).await;
    tamper(
        &world,
        "DELETE FROM traffic_leads WHERE id IN
             (SELECT DISTINCT lead_id FROM traffic_lead_journey ORDER BY lead_id LIMIT 3);
         UPDATE traffic_leads SET email_sent = NOT email_sent, name = 'somebody else'
             WHERE id IN (SELECT id FROM traffic_leads ORDER BY id DESC LIMIT 5);
         UPDATE traffic_leads SET status = 'qualified';
         INSERT INTO traffic_leads (name, landing_synced_at) VALUES ('left over', now());
         INSERT INTO traffic_leads (name) VALUES ('born on Traffic')",
    )
    .await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let said = bridge.run(&["verify", "--repair"]).await;
    assert_refused(&said, &["a daemon applies for this slot", "stop it"]);
    daemon.terminate().await;

    // Rows written meanwhile are newer than the stream's position; the stream repeats the changes.
    landing(&world, "UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1").await;
    let last = "SELECT id FROM landing_leads ORDER BY id DESC LIMIT 1";
    landing(&world, &format!("DELETE FROM landing_leads WHERE id = ({last})")).await;
    let said = bridge.run(&["verify", "--repair", "--json"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let found = document(&said);
    assert!(found["repaired"].as_u64().unwrap() >= 300, "{found}");
    assert_eq!(bridge.run(&["verify", "--wait", "0s"]).await.code, 0);
    bridge.catch_up().await;
    assert_equal(&world).await;
    let kept = "SELECT count(*) FILTER (WHERE status = 'qualified')::text || ' ' ||
                count(*) FILTER (WHERE name = 'born on Traffic') FROM traffic_leads";
    assert_eq!(one::<String>(&world.traffic().await, kept).await, "296 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_snapshot_is_complete_and_of_a_table_that_is_not_replicated_it_says_so() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let said = bridge.run(&["verify"]).await;
    assert_refused(&said, &["no snapshot of slot `leadbridge` is complete", "leadbridge run"]);
    let said = bridge.run(&["verify", "--table", "scheduled_notifications"]).await;
    assert_eq!(said.code, 64, "{}", said.err);
    assert!(said.err.contains("scheduled_notifications = true"), "{}", said.err);
    let said = bridge.run(&["verify", "--table", "users"]).await;
    assert_eq!(said.code, 64, "{}", said.err);
    assert!(said.err.contains("landing_leads, lead_journey"), "{}", said.err);
}

/// A silent wait of a minute would look like a hanging command.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_it_is_said_at_once_for_what_is_waited_and_until_when() {
    let (world, bridge) = copied(20).await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('n', '+7')").await;
    let mut child = bridge
        .command(&["verify", "--wait", "50s"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("may be on their way") {
                return line;
            }
        }
        panic!("nothing was said");
    };
    // Well before the wait is over.
    let said = tokio::time::timeout(std::time::Duration::from_secs(30), said).await.unwrap();
    let checkpoint: String =
        one(&world.traffic().await, "SELECT applied_lsn::text FROM leadbridge.checkpoint").await;
    for words in ["landing_leads", &checkpoint, "UTC", "--wait", "no session streams", "leadbridge run"] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    // A running daemon ends the wait.
    bridge.catch_up().await;
    let reading = async { while lines.next_line().await.unwrap().is_some() {} };
    let (ended, ()) = tokio::join!(child.wait(), reading);
    assert_eq!(ended.unwrap().code(), Some(0));
}
