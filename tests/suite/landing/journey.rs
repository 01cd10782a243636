//! The journey's name on Landing: found in the catalog, or configured; and every message uses it.

use leadbridge::model::names::Names;
use serde_json::Value;

use crate::testkit::{
    Bridge, Daemon, Said, World, assert_refused, ends_refused, holds, landing, traffic, until_holds,
};

/// The school's databases, not migrated, with the journey under another name on Landing.
async fn called(name: &str) -> (World, Bridge) {
    let mut world = World::unmigrated().await;
    if name != world.names.landing_journey {
        landing(&world, &format!("ALTER TABLE journey_stages RENAME TO \"{name}\"")).await;
    }
    world.names = Names { landing_journey: name.into(), ..Names::default() };
    let bridge = Bridge::new(&world);
    (world, bridge)
}

/// A command that succeeds, and says nothing about a table of the other name. Returns what the command shows.
async fn says(bridge: &Bridge, arguments: &[&str]) -> String {
    let Said { code, out, err } = bridge.run(arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    assert_speaks_of_stages(&format!("{out}{err}"));
    out
}

fn assert_speaks_of_stages(text: &str) {
    let ours = text.replace("traffic_lead_journey", "");
    assert!(!ours.contains("lead_journey"), "{text}");
}

async fn entries_arrive(world: &World, count: u64) {
    let there = format!("count(*) = {count} FROM traffic_lead_journey WHERE landing_synced_at IS NOT NULL");
    until_holds(&world.traffic().await, &there).await;
}

async fn switched(daemon: &mut Daemon) {
    daemon.until("reverse replication begins", |status: &Value| status["state"] == "switched").await;
}

/// `doctor` and `verify` name the journey, and `verify` finds the table by either name.
async fn examined(bridge: &Bridge) {
    let doctor = says(bridge, &["doctor"]).await;
    assert!(doctor.contains("the journey's table is \"public\".\"journey_stages\""), "{doctor}");
    assert!(says(bridge, &["verify"]).await.contains("journey_stages"));
    for name in ["journey_stages", "lead_journey"] {
        let said = says(bridge, &["verify", "--json", "--table", name]).await;
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["equal"], &said["tables"][0]["table"]), (&true.into(), &"journey_stages".into()));
    }
}

/// Finishes the move, and drops Landing's tables afterwards.
async fn finished(world: &World, bridge: &Bridge) {
    let backup = bridge.dir().join("backup");
    let finish = ["finish", "--yes", "--max-behind", "1h", "--backup", backup.to_str().unwrap()];
    let said = says(bridge, &finish).await;
    assert!(said.contains("DROP TABLE \"public\".\"journey_stages\""), "{said}");
    assert!(backup.join("journey_stages.csv").is_file());

    // A finished move needs Landing's tables no more.
    landing(world, "DROP TABLE scheduled_notifications, journey_stages, landing_leads CASCADE").await;
    let again = bridge.run(&["finish", "--yes"]).await;
    assert_eq!(again.code, 0, "{}", again.err);
    for command in [&["run"][..], &["cutover", "--dry-run"]] {
        assert_refused(&bridge.run(command).await, &["was finished at"]);
    }
    let doctor = bridge.run(&["doctor"]).await;
    assert!(doctor.code == 0 && doctor.out.contains("was finished at"), "{}{}", doctor.out, doctor.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_with_journey_stages_is_moved_brought_back_and_finished_under_that_name() {
    let (world, bridge) = called("journey_stages").await;
    let plan = says(&bridge, &["migrate"]).await;
    assert!(plan.contains("publication"), "{plan}");
    let filled = world.fill(11, 40).await;
    landing(&world, "UPDATE journey_stages SET event_type = 'copied'").await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let seen = daemon.status().await;
    assert_eq!(seen["snapshot"][1]["table"], "journey_stages", "{seen}");

    // The stream: an insert, an update and a delete.
    landing(
        &world,
        "INSERT INTO journey_stages (lead_id, stage, event_type) SELECT id, 'payment_kaspi', 'streamed' FROM landing_leads;
         UPDATE journey_stages SET source = 'changed' WHERE stage <> 'payment_kaspi';
         DELETE FROM journey_stages WHERE id = (SELECT min(id::text)::uuid FROM journey_stages)",
    )
    .await;
    daemon.caught_up(&world).await;
    entries_arrive(&world, filled.journey_entries + filled.leads - 1).await;
    let passed = "count(*) FILTER (WHERE event_type = 'copied') > 0
        AND count(*) FILTER (WHERE event_type = 'streamed') > 0
        AND bool_and(event_type IS NOT NULL) FROM traffic_lead_journey";
    assert!(holds(&world.traffic().await, passed).await, "what no rule reads passes through");
    examined(&bridge).await;

    let directory = bridge.dir().to_str().unwrap().to_owned();
    let terms = ["--yes", "--json", "--certificate", &directory];
    says(&bridge, &["cutover", "--dry-run", "--certificate", &directory]).await;
    let certificate = says(&bridge, &[&["cutover"][..], &terms].concat()).await;
    assert!(certificate.contains("\"journey_stages\""), "{certificate}");
    switched(&mut daemon).await;
    let refused = "INSERT INTO journey_stages (lead_id, stage) SELECT id, 'late' FROM landing_leads LIMIT 1";
    assert!(
        world.landing().await.batch_execute(refused).await.is_err(),
        "the fence stands around the journey"
    );
    traffic(&world, "UPDATE traffic_lead_journey SET stage = 'on_traffic', event_type = 'changed' WHERE stage = 'payment_kaspi'")
        .await;
    let carried = "count(*) > 0 FROM journey_stages WHERE stage = 'on_traffic' AND event_type = 'changed'";
    until_holds(&world.landing().await, carried).await;

    says(&bridge, &[&["rollback"][..], &terms].concat()).await;
    daemon.until("the stream from Landing resumes", |status: &Value| status["state"] == "streaming").await;
    daemon.caught_up(&world).await;
    assert!(says(&bridge, &["verify"]).await.contains("Equal"));
    says(&bridge, &[&["cutover"][..], &terms].concat()).await;
    switched(&mut daemon).await;
    // The reverse stream must have passed the switch before a finish is possible.
    traffic(&world, "UPDATE traffic_lead_journey SET stage = 'last' WHERE stage = 'on_traffic'").await;
    until_holds(&world.landing().await, "count(*) > 0 FROM journey_stages WHERE stage = 'last'").await;
    assert_speaks_of_stages(&daemon.log());
    daemon.terminate().await;
    finished(&world, &bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tables_with_the_journeys_names_are_refused_until_one_is_configured() {
    let (world, bridge) = called("journey_stages").await;
    landing(&world, "CREATE TABLE lead_journey (LIKE journey_stages INCLUDING ALL)").await;
    for command in [&["migrate"][..], &["run"], &["cutover", "--dry-run"], &["verify"]] {
        let words = ["lead_journey and journey_stages", "[names] landing_journey"];
        assert_refused(&bridge.run(command).await, &words);
    }
    let doctor = bridge.run(&["doctor"]).await;
    assert_eq!(doctor.code, 1, "{}", doctor.out);
    assert!(doctor.out.contains("both lead_journey and journey_stages"), "{}", doctor.out);
    assert!(holds(&world.traffic().await, "to_regnamespace('leadbridge') IS NULL").await, "nothing was made");

    let bridge = bridge.configured("[names]\nlanding_journey = 'journey_stages'");
    says(&bridge, &["migrate"]).await;
    let filled = world.fill(12, 5).await;
    bridge.catch_up().await;
    entries_arrive(&world, filled.journey_entries).await;
    assert!(says(&bridge, &["verify"]).await.contains("Equal"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_without_a_journey_of_a_known_name_is_refused_until_its_name_is_configured() {
    let odd = "Этапы, \"путь\".x";
    let world = World::unmigrated().await;
    landing(&world, "ALTER TABLE journey_stages RENAME TO \"steps of a lead\"").await;
    let bridge = Bridge::new(&world);
    for command in [&["migrate"][..], &["run"], &["verify"]] {
        let words = ["neither lead_journey nor journey_stages", "[names] landing_journey"];
        assert_refused(&bridge.run(command).await, &words);
    }
    let doctor = bridge.run(&["doctor"]).await;
    assert!(doctor.out.contains("neither lead_journey nor journey_stages"), "{}", doctor.out);

    let bridge = bridge.configured("[names]\nlanding_journey = 'steps'");
    assert_refused(&bridge.run(&["migrate"]).await, &["`steps`", "[names] landing_schema"]);
    for wrong in [odd, "", "landing_leads"] {
        let bridge = Bridge::new(&world).configured(&format!("[names]\nlanding_journey = '{wrong}'"));
        let said = bridge.run(&["doctor"]).await;
        assert!(
            said.code == 64 && said.err.contains("landing_journey"),
            "{wrong}: {} {}",
            said.code,
            said.err
        );
    }

    let bridge = bridge.configured("[names]\nlanding_journey = 'steps of a lead'");
    says(&bridge, &["migrate"]).await;
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone) VALUES ('n', '1');
         INSERT INTO \"steps of a lead\" (lead_id, stage) SELECT id, 'payment_card' FROM landing_leads",
    )
    .await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    landing(&world, "UPDATE \"steps of a lead\" SET stage = 'payment_kaspi'").await;
    let arrived = "count(*) = 1 FROM traffic_lead_journey WHERE stage = 'payment_kaspi'";
    until_holds(&world.traffic().await, arrived).await;
    assert!(says(&bridge, &["verify"]).await.contains("steps of a lead"));
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_the_table_s_says_which_is_there() {
    let (_world, bridge) = called("journey_stages").await;
    let bridge = bridge.configured("[names]\nlanding_journey = 'lead_journey'");
    assert_refused(&bridge.run(&["migrate"]).await, &["`lead_journey`", "journey_stages is there"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_renamed_while_it_is_replicated_ends_the_stream_and_goes_on_after_a_resync() {
    let (world, bridge) = called("lead_journey").await;
    assert_eq!(bridge.run(&["migrate"]).await.code, 0);
    let filled = world.fill(13, 10).await;
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    landing(&world, "ALTER TABLE lead_journey RENAME TO journey_stages").await;
    landing(&world, "UPDATE journey_stages SET source = 'after the renaming'").await;
    ends_refused(&mut daemon, &["lead_journey", "renamed", "leadbridge resync"]).await;

    let doctor = bridge.run(&["doctor"]).await;
    let fence = "the fence would leave \"public\".\"journey_stages\" open to writers";
    assert!(doctor.out.contains(fence), "{}", doctor.out);
    let resync = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resync.code, 0, "{}", resync.err);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    landing(&world, "UPDATE journey_stages SET stage = 'after the resync'").await;
    let arrived = format!(
        "count(*) = {} FROM traffic_lead_journey WHERE (stage, source) = ('after the resync', 'after the renaming')",
        filled.journey_entries
    );
    until_holds(&world.traffic().await, &arrived).await;
    assert!(says(&bridge, &["verify"]).await.contains("Equal"));
    // Without `migrate` the fence of the old name would not close the journey.
    let cutover =
        bridge.run(&["cutover", "--dry-run", "--certificate", bridge.dir().to_str().unwrap()]).await;
    let fence = "would leave open to writers: \"public\".\"journey_stages\"";
    assert!(cutover.code == 1 && cutover.out.contains(fence), "{}{}", cutover.out, cutover.err);
    says(&bridge, &["migrate"]).await;
    says(&bridge, &["cutover", "--dry-run", "--certificate", bridge.dir().to_str().unwrap()]).await;

    // The record of what was copied has the new name by now.
    landing(&world, "ALTER TABLE journey_stages RENAME TO elsewhere").await;
    landing(&world, "UPDATE elsewhere SET source = 'gone'").await;
    ends_refused(&mut daemon, &["journey_stages"]).await;
    assert_speaks_of_stages(&daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_journey_stages_is_said_under_that_name() {
    let (world, bridge) = called("journey_stages").await;
    says(&bridge, &["migrate"]).await;
    landing(
        &world,
        "ALTER TABLE journey_stages REPLICA IDENTITY NOTHING; ALTER TABLE journey_stages ALTER stage TYPE varchar[] USING NULL",
    )
    .await;
    let doctor = bridge.run(&["doctor"]).await;
    assert_eq!(doctor.code, 1, "{}", doctor.out);
    assert!(doctor.out.contains("journey_stages.stage"), "{}", doctor.out);
    assert_speaks_of_stages(&doctor.out);
    let refused = bridge.run(&["run"]).await;
    assert_refused(&refused, &["journey_stages"]);
    assert_speaks_of_stages(&refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_sql_of_landing_says_which_name_it_takes_for_the_journeys() {
    let (_world, bridge) = called("journey_stages").await;
    let printed = bridge.run(&["migrate", "--print=landing"]).await;
    assert!(printed.out.contains("-- The journey on Landing is taken to be lead_journey"), "{}", printed.out);
    let bridge = bridge.configured("[names]\nlanding_journey = 'journey_stages'");
    let printed = says(&bridge, &["migrate", "--print=landing", "--role", "bridge"]).await;
    assert!(printed.contains("\"public\".\"journey_stages\""), "{printed}");
}
