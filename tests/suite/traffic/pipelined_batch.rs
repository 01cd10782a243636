//! Small batches are pipelined: two round trips when every answer is good, and step by step otherwise.

use uuid::Uuid;

use crate::testkit::{
    Bridge, Daemon, Direction, Fault, Proxy, Target, World, assert_equal, caught_up_and_equal, holds,
    landing, one, traffic, until_holds,
};

const APPLY: Target = Target::Named("apply");

/// A lead and its journey entry in one transaction.
const LEAD: &str = "WITH made AS (INSERT INTO landing_leads (name, phone) VALUES ('n', '1') RETURNING id)
    INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM made";

/// A streaming daemon, and a Traffic behind a proxy that logs each session's statements.
struct Scene {
    world: World,
    traffic: Proxy,
    bridge: Bridge,
    daemon: Daemon,
}

impl Scene {
    async fn new() -> Scene {
        let settings =
            [("log_statement", "all"), ("log_parameter_max_length", "0"), ("log_line_prefix", "%a %p ")];
        let world = World::with_settings(&[], &settings).await;
        let proxy = Proxy::to(world.traffic.port()).await;
        let url = proxy.url(&world.traffic_url(), world.traffic.port());
        // Only changes are recorded, so no idle position adds a statement.
        let bridge =
            Bridge::between(&world.landing_url(), &url).configured("[stream]\ncheckpoint_interval = \"1h\"");
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        Scene { world, traffic: proxy, bridge, daemon }
    }

    /// The first words of every statement sent on the applying session since `from`.
    fn sent(&self, from: usize) -> Vec<String> {
        let log = std::fs::read_to_string(self.world.traffic.log()).unwrap();
        let lines = log.lines().filter_map(|line| line.strip_prefix("leadbridge apply "));
        let statements = lines.filter_map(|line| {
            let (_, said) = line.split_once(" LOG:  ")?;
            said.strip_prefix("statement: ")
                .or_else(|| said.strip_prefix("execute ")?.split_once(": ").map(|two| two.1))
        });
        statements.skip(from).map(|sql| sql.split([' ', ';']).next().unwrap().to_owned()).collect()
    }

    async fn quarantined(&self) -> Vec<(String, String)> {
        let sql = "SELECT source_table, sqlstate FROM leadbridge.quarantine ORDER BY source_table, sqlstate";
        let rows = self.world.traffic().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_transaction_takes_two_round_trips() {
    let mut scene = Scene::new().await;
    let before = scene.sent(0).len();
    landing(&scene.world, LEAD).await;
    caught_up_and_equal(&scene.world, &mut scene.daemon).await;
    assert_eq!(scene.sent(before), ["BEGIN", "WITH", "WITH", "UPDATE", "COMMIT"]);
    // From here on no answer arrives, and everything but the COMMIT is sent all the same.
    assert_eq!(scene.traffic.inject(APPLY, Fault::OneWay(Direction::ToServer)), 1);
    landing(&scene.world, LEAD).await;
    let waits = "count(*) = 1 FROM pg_stat_activity WHERE application_name = 'leadbridge apply'
        AND state = 'idle in transaction' AND query LIKE 'UPDATE %checkpoint%'";
    until_holds(&scene.world.traffic().await, waits).await;
    assert!(holds(&scene.world.traffic().await, "count(*) = 1 FROM traffic_leads").await);
    scene.traffic.forget_half_open();
    caught_up_and_equal(&scene.world, &mut scene.daemon).await;
    scene.daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_a_small_transaction_come_and_go_with_its_rows() {
    let mut scene = Scene::new().await;
    let note = "INSERT INTO landing_leads (name, phone, amocrm_lead_id) VALUES ('n', '1', 'no number')";
    landing(&scene.world, note).await;
    landing(&scene.world, LEAD).await;
    caught_up_and_equal(&scene.world, &mut scene.daemon).await;
    let client = scene.world.traffic().await;
    let originals = "SELECT coalesce(string_agg(original, ' '), '') FROM leadbridge.conversion_notes";
    assert_eq!(one::<String>(&client, originals).await, "no number");
    let before = scene.sent(0).len();
    let change = async |to: &str| {
        let sql =
            format!("UPDATE landing_leads SET amocrm_lead_id = {to} WHERE amocrm_lead_id = 'no number'");
        landing(&scene.world, &sql).await;
    };
    change("'no number', name = 'm'").await;
    scene.daemon.caught_up(&scene.world).await;
    assert_eq!(one::<String>(&client, originals).await, "no number");
    change("'7'").await;
    caught_up_and_equal(&scene.world, &mut scene.daemon).await;
    assert_eq!(one::<String>(&client, originals).await, "");
    let noted = ["BEGIN", "WITH", "DELETE", "INSERT", "UPDATE", "COMMIT"];
    let freed = ["BEGIN", "WITH", "DELETE", "UPDATE", "COMMIT"];
    assert_eq!(scene.sent(before), [&noted[..], &freed].concat());
    scene.daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_traffic_refuses_is_quarantined_and_the_rest_of_its_small_batch_arrives() {
    let mut scene = Scene::new().await;
    traffic(&scene.world, "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name <> 'bad')").await;
    let before = scene.sent(0).len();
    let three = "WITH made AS (INSERT INTO landing_leads (name, phone)
            VALUES ('good', '1'), ('bad', '2'), ('good', '3') RETURNING id)
        INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM made";
    landing(&scene.world, three).await;
    scene.daemon.caught_up(&scene.world).await;
    let quarantined = [("landing_leads", "23514"), ("lead_journey", "23503")];
    assert_eq!(
        scene.quarantined().await,
        quarantined.map(|(table, code)| (table.to_owned(), code.to_owned()))
    );
    let arrived =
        "(SELECT count(*) = 2 FROM traffic_leads) AND (SELECT count(*) = 2 FROM traffic_lead_journey)";
    assert!(holds(&scene.world.traffic().await, arrived).await);
    // The refused statement is the last statement of the first try in the log: the server does not even begin the
    // others.
    assert_eq!(scene.sent(before)[..4], ["BEGIN", "WITH", "ROLLBACK", "BEGIN"]);
    assert!(!scene.daemon.log().contains("retry_in"), "{}", scene.daemon.log());
    landing(&scene.world, "UPDATE landing_leads SET name = 'better' WHERE name = 'bad'").await;
    caught_up_and_equal(&scene.world, &mut scene.daemon).await;
    assert_eq!(scene.quarantined().await, []);
    scene.daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_whose_lead_is_not_on_traffic_is_quarantined_and_the_rest_of_its_small_batch_arrives() {
    let mut scene = Scene::new().await;
    landing(&scene.world, LEAD).await;
    caught_up_and_equal(&scene.world, &mut scene.daemon).await;
    let gone: Uuid = one(&scene.world.landing().await, "SELECT id FROM landing_leads").await;
    traffic(&scene.world, "DELETE FROM traffic_leads").await;
    let before = scene.sent(0).len();
    let both = format!("INSERT INTO journey_stages (lead_id, stage) VALUES ('{gone}', 'late'); {LEAD}");
    landing(&scene.world, &both).await;
    scene.daemon.caught_up(&scene.world).await;
    assert_eq!(scene.quarantined().await, [("lead_journey".to_owned(), "23503".to_owned())]);
    assert!(holds(&scene.world.traffic().await, "count(*) = 1 FROM traffic_lead_journey").await);
    let tried = ["BEGIN", "WITH", "WITH", "UPDATE", "ROLLBACK", "BEGIN"];
    assert_eq!(scene.sent(before)[..6], tried);
    landing(
        &scene.world,
        "UPDATE landing_leads SET click_count = 9; DELETE FROM journey_stages WHERE stage = 's'",
    )
    .await;
    caught_up_and_equal(&scene.world, &mut scene.daemon).await;
    scene.daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_in_quarantine_costs_only_those_that_have_to_do_with_it_their_haste() {
    let mut scene = Scene::new().await;
    traffic(&scene.world, "ALTER TABLE traffic_leads ADD CONSTRAINT no CHECK (name <> 'bad')").await;
    landing(&scene.world, "INSERT INTO landing_leads (name, phone) VALUES ('bad', '1')").await;
    scene.daemon.caught_up(&scene.world).await;
    assert_eq!(scene.quarantined().await, [("landing_leads".to_owned(), "23514".to_owned())]);
    let before = scene.sent(0).len();
    landing(&scene.world, LEAD).await;
    scene.daemon.caught_up(&scene.world).await;
    assert_eq!(
        scene.sent(before),
        ["BEGIN", "SELECT", "WITH", "DELETE", "WITH", "DELETE", "UPDATE", "COMMIT"]
    );
    // An entry of the quarantined lead, then the lead itself, for which the entry has waited.
    let before = scene.sent(0).len();
    let stage =
        "INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM landing_leads WHERE name = 'bad'";
    landing(&scene.world, stage).await;
    scene.daemon.caught_up(&scene.world).await;
    let tried = ["BEGIN", "SELECT", "WITH", "DELETE", "UPDATE", "ROLLBACK", "BEGIN"];
    assert_eq!(scene.sent(before)[..7], tried);
    assert_eq!(scene.quarantined().await.len(), 2);
    let before = scene.sent(0).len();
    landing(&scene.world, "UPDATE landing_leads SET name = 'better' WHERE name = 'bad'").await;
    caught_up_and_equal(&scene.world, &mut scene.daemon).await;
    assert_eq!(scene.sent(before)[..6], ["BEGIN", "SELECT", "WITH", "DELETE", "UPDATE", "ROLLBACK"]);
    assert_eq!(scene.quarantined().await, []);
    scene.daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_daemon_has_taken_over_is_not_committed() {
    let mut scene = Scene::new().await;
    traffic(&scene.world, "UPDATE leadbridge.checkpoint SET run_id = gen_random_uuid()").await;
    let before = scene.sent(0).len();
    landing(&scene.world, LEAD).await;
    scene.daemon.logs("taken over by another daemon").await;
    caught_up_and_equal(&scene.world, &mut scene.daemon).await;
    let sent = scene.sent(before);
    assert_eq!(sent[..4], ["BEGIN", "WITH", "WITH", "UPDATE"]);
    assert_ne!(sent[4], "COMMIT");
    scene.daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_begin_fails_what_was_sent_with_it_changes_nothing() {
    let mut scene = Scene::new().await;
    let client = scene.world.traffic().await;
    let position = "SELECT applied_lsn::text FROM leadbridge.checkpoint";
    let before: String = one(&client, position).await;
    scene.traffic.inject(APPLY, Fault::SpoilBegin);
    landing(&scene.world, LEAD).await;
    let ended = scene.daemon.ended(std::time::Duration::from_secs(30)).await;
    assert!(!ended.success(), "it knows no reason for a syntax error");
    let log = scene.daemon.log();
    assert!(log.contains("opening a transaction on Traffic") && log.contains("42601"), "{log}");
    assert!(holds(&client, "count(*) = 0 FROM traffic_leads").await);
    assert_eq!(one::<String>(&client, position).await, before);
    scene.bridge.catch_up().await;
    assert_equal(&scene.world).await;
}
