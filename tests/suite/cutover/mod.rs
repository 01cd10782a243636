//! `leadbridge cutover`: a proven switch, or nothing is changed.

mod dependencies;
mod documented;
mod faults;
mod fence;
mod hook;
mod kills;
mod markers;
mod refusals;
mod roles;
mod visibility;
mod wraparound;
pub mod writers;

use serde_json::Value;

use crate::testkit::{
    Bridge, Daemon, Said, World, holds, landing, least_privileged, one, traffic, until_holds,
};

/// The default message for a refused writer.
pub const CLOSED: &str = "writes to this table are closed for maintenance";

const LEAD: &str = "INSERT INTO landing_leads (name, phone) VALUES ('n', '+7')";

pub use faults::{PATIENT, cut_off, go_on, standing_at};

/// A world with leads, and a streaming daemon.
pub struct CutoverSetup {
    pub world: World,
    pub bridge: Bridge,
    pub daemon: Daemon,
}

impl CutoverSetup {
    pub async fn new() -> CutoverSetup {
        let world = World::new().await;
        let bridge = Bridge::new(&world);
        Self::between(world, bridge).await
    }

    pub async fn between(world: World, bridge: Bridge) -> CutoverSetup {
        world.fill(90, 60).await;
        let mut daemon = bridge.daemon().await;
        daemon.caught_up(&world).await;
        CutoverSetup { world, bridge, daemon }
    }

    pub fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let directory = self.bridge.dir().to_str().unwrap();
        [&["cutover", "--yes", "--json", "--certificate", directory], more].concat()
    }

    pub async fn cutover(&self, more: &[&str]) -> Said {
        self.bridge.run(&self.arguments(more)).await
    }

    /// The JSON of a successful cutover.
    pub async fn switches(&self, more: &[&str]) -> Value {
        let said = self.cutover(&patiently(more)).await;
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        serde_json::from_str(&said.out).unwrap()
    }

    /// Landing takes writes, no lock and no slot is left, and no record announces a switch.
    async fn assert_as_before(&self) {
        let client = self.world.landing().await;
        client.batch_execute(&format!("SET lock_timeout = '5s'; BEGIN; {LEAD}; ROLLBACK")).await.unwrap();
        let traffic = self.world.traffic().await;
        assert!(holds(&traffic, "bool_and(state = 'streaming') FROM leadbridge.checkpoint").await);
        assert!(holds(&traffic, "NOT EXISTS (SELECT FROM pg_replication_slots)").await);
        let undecided = "count(*) = 0 FROM leadbridge.cutover WHERE state <> 'aborted' OR lifted_at IS NULL";
        assert!(holds(&traffic, undecided).await);
    }

    /// Waits until the daemon has resolved the journal entry of a killed command.
    pub async fn settled(&self) {
        let over = "count(*) = 0 FROM leadbridge.cutover WHERE state NOT IN ('aborted', 'switched', 'rolled_back') \
                    OR (state <> 'switched' AND lifted_at IS NULL)";
        until_holds(&self.world.traffic().await, over).await;
    }

    pub async fn assert_switched(&self) {
        let error = self.world.landing().await.batch_execute(LEAD).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "55000");
        assert_eq!(error.message(), CLOSED);
        let traffic = self.world.traffic().await;
        assert!(holds(&traffic, "bool_and(state = 'switched') FROM leadbridge.checkpoint").await);
        assert!(holds(&traffic, "count(*) > 0 FROM leadbridge.cutover WHERE state = 'switched'").await);
        assert!(holds(&traffic, "count(*) = 1 FROM leadbridge.reverse").await);
        assert!(
            holds(&traffic, "count(*) = 1 FROM pg_replication_slots WHERE slot_name = 'leadbridge_reverse'")
                .await
        );
    }
}

#[tokio::test]
async fn a_dry_run_looks_at_everything_predicts_the_pause_and_changes_nothing() {
    let setup = CutoverSetup::new().await;
    let said = setup.cutover(&["--dry-run"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["ready"], true, "{found}");
    assert!(found["predicted_pause_seconds"].as_f64().unwrap() > 0.0, "{found}");
    assert_eq!(found["markers"]["markers"], 25, "{found}");
    assert!(
        found["not_carried_back"].as_array().unwrap().iter().any(|one| one["column"] == "status"),
        "{found}"
    );
    let checks: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|one| one["check"].as_str().unwrap()).collect();
    for check in [
        "state",
        "slot",
        "quarantine",
        "fence",
        "old_transactions",
        "reverse_replication",
        "lag",
        "verification",
        "pause",
    ] {
        assert!(checks.contains(&check), "{check} is not in {checks:?}");
    }
    setup.assert_as_before().await;
    let traffic = setup.world.traffic().await;
    assert!(holds(&traffic, "count(*) = 0 FROM leadbridge.markers").await);
    assert!(holds(&traffic, "count(*) = 0 FROM leadbridge.cutover").await);
}

#[tokio::test]
async fn a_cutover_switches_and_certifies_that_both_sides_are_equal() {
    let setup = CutoverSetup::new().await;
    let (listener, heard) = listen(&setup.world.traffic_url()).await;
    let told = setup.bridge.dir().join("told");
    let hook = format!(
        "echo \"$LEADBRIDGE_EVENT $LEADBRIDGE_DIRECTION $LEADBRIDGE_CUTOVER_ID\" > {}",
        told.display()
    );
    let certificate = setup.switches(&["--hook", &hook]).await;
    setup.assert_switched().await;

    assert_eq!(certificate["complete"], true, "{certificate}");
    for table in certificate["tables"].as_array().unwrap() {
        assert!(table["landing_rows"].as_u64().unwrap() > 0, "{table}");
        assert_eq!(table["landing_rows"], table["traffic_rows"], "{table}");
        assert_eq!(table["landing_keys"], table["traffic_keys"], "{table}");
        assert_eq!(table["contents"]["landing"], table["contents"]["traffic"], "{table}");
        assert_eq!(table["contents"]["landing"].as_str().unwrap().len(), 32, "{table}");
    }
    assert!(certificate["write_pause_seconds"].as_f64().unwrap() > 0.0);
    assert!(!certificate["writers"]["refused"].as_array().unwrap().is_empty(), "{certificate}");
    let id = certificate["id"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(told).unwrap().trim(), format!("switch cutover {id}"));
    // The certificate is also kept on Traffic, and in two files.
    let kept: String = one(&listener, "SELECT certificate::text FROM leadbridge.cutover").await;
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), certificate);
    drop(listener);
    let heard: Value = serde_json::from_str(&heard.await.unwrap()).unwrap();
    assert_eq!(heard, serde_json::json!({ "id": id, "direction": "cutover", "state": "switched" }));
    let file = |suffix| setup.bridge.dir().join(format!("leadbridge-cutover-{id}.{suffix}"));
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(file("json")).unwrap()).unwrap();
    assert_eq!(saved, certificate);
    let page = std::fs::read_to_string(file("txt")).unwrap();
    assert!(page.contains("Every value of every row is equal on both sides."), "{page}");
    // A second cutover has nothing to do.
    let again = setup.cutover(&[]).await;
    assert_eq!(again.code, 1, "{}", again.err);
    assert!(again.out.contains("already switched"), "{}", again.out);
}

/// A session that listens for a cutover's announcement, and the first notification.
async fn listen(url: &str) -> (tokio_postgres::Client, tokio::task::JoinHandle<String>) {
    let (client, mut connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let heard = tokio::spawn(async move {
        let mut first = None;
        loop {
            let message = std::future::poll_fn(|context| connection.poll_message(context)).await;
            match message {
                Some(Ok(tokio_postgres::AsyncMessage::Notification(said))) => {
                    first.get_or_insert(said.payload().to_owned());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return first.expect("nothing was announced"),
            }
        }
    });
    client.batch_execute("LISTEN leadbridge_cutover").await.unwrap();
    (client, heard)
}

#[tokio::test]
async fn tables_too_large_to_be_read_while_writers_wait_are_proven_on_snapshots_behind_the_fence() {
    let setup = CutoverSetup::new().await;
    let certificate = setup.switches(&["--compare", "after"]).await;
    assert_eq!(certificate["complete"], true, "{certificate}");
    for table in certificate["tables"].as_array().unwrap() {
        assert_eq!(table["contents"]["landing"], table["contents"]["traffic"], "{table}");
    }
    setup.assert_switched().await;
}

#[tokio::test]
async fn a_hook_that_fails_aborts_is_told_so_and_landing_takes_writes_again() {
    let setup = CutoverSetup::new().await;
    let told = setup.bridge.dir().join("told");
    let hook = format!("echo $LEADBRIDGE_EVENT >> {}; test $LEADBRIDGE_EVENT != switch", told.display());
    let said = setup.cutover(&["--hook", &hook]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(said.err.contains("ABORTED") && said.err.contains("the hook failed"), "{}", said.err);
    assert_eq!(std::fs::read_to_string(told).unwrap(), "check\nswitch\nabort\n");
    setup.assert_as_before().await;
    // The triggers are dropped, too, and a second try works.
    let triggers = "count(*) = 0 FROM pg_trigger WHERE tgname LIKE 'leadbridge_fence%'";
    assert!(holds(&setup.world.landing().await, triggers).await);
    setup.switches(&[]).await;
    setup.assert_switched().await;
}

#[tokio::test]
async fn roles_of_least_privilege_are_enough_and_write_to_landing_only_while_it_is_fenced() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let setup = CutoverSetup::between(world, bridge).await;
    let may = "has_table_privilege('bridge', 'public.landing_leads', 'UPDATE')";
    let client = setup.world.landing().await;
    assert!(!holds(&client, may).await);
    let failing = setup.cutover(&["--hook", "test $LEADBRIDGE_EVENT != switch"]).await;
    assert_eq!(failing.code, 4, "{}", failing.err);
    assert!(!holds(&client, may).await);
    let certificate = setup.switches(&[]).await;
    setup.assert_switched().await;
    assert!(holds(&client, may).await);
    let untried = certificate["writers"]["not_tried"].as_array().unwrap();
    assert!(!untried.is_empty(), "superusers may write, and this role may not become one");
    // The fence refuses leadbridge's own role too, unless the session sets `leadbridge.passes_fence`.
    let ours = leadbridge::throwaway::connect(&setup.world.landing.url_as("bridge", "bridge", "landing"))
        .await
        .unwrap();
    assert!(ours.batch_execute("DELETE FROM public.journey_stages").await.is_err());
    ours.batch_execute("SET leadbridge.passes_fence = on; DELETE FROM public.journey_stages").await.unwrap();
}

#[tokio::test]
async fn a_fence_holds_back_every_statement_and_a_transaction_whose_snapshot_is_older() {
    let setup = CutoverSetup::new().await;
    let old = setup.world.landing().await;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM landing_leads LIMIT 1")
        .await
        .unwrap();
    setup.switches(&[]).await;
    let refused = |error: tokio_postgres::Error| assert_eq!(error.code().unwrap().code(), "55000", "{error}");
    refused(old.batch_execute(LEAD).await.unwrap_err());
    let client = setup.world.landing().await;
    for statement in [
        LEAD,
        "UPDATE landing_leads SET name = 'x'",
        "DELETE FROM journey_stages",
        "TRUNCATE landing_leads CASCADE",
        "SET session_replication_role = replica; DELETE FROM landing_leads",
    ] {
        refused(client.batch_execute(statement).await.unwrap_err());
    }
    client.batch_execute("SELECT FROM landing_leads, journey_stages; UPDATE users SET xp = 1").await.unwrap();
    landing(&setup.world, "SELECT leadbridge.lift_fence(cutover_id) FROM leadbridge.fence").await;
    traffic(&setup.world, "SELECT 1").await;
    client.batch_execute(LEAD).await.unwrap();
}

/// The parts of an error that a web API shows to a client: all but the context.
fn shown(error: &tokio_postgres::Error) -> String {
    let error = error.as_db_error().unwrap();
    let (detail, hint) = (error.detail().unwrap_or_default(), error.hint().unwrap_or_default());
    format!("{} {} {detail} {hint}", error.code().code(), error.message())
}

#[tokio::test]
async fn the_fence_tells_an_anonymous_client_the_operators_words_and_nothing_of_the_inside() {
    let world = World::new().await;
    let told = "leads are taken at https://school.example/new from now on, 100%";
    let bridge = Bridge::new(&world).configured(&format!("[cutover]\nmessage = \"{told}\""));
    let mut setup = CutoverSetup::between(world, bridge).await;
    for (client, table) in
        [(setup.world.landing().await, "landing_leads"), (setup.world.traffic().await, "traffic_leads")]
    {
        let role =
            format!("CREATE ROLE visitor LOGIN PASSWORD 'visitor'; GRANT INSERT ON {table} TO visitor");
        client.batch_execute(&role).await.unwrap();
    }
    setup.switches(&[]).await;
    setup.daemon.until("reverse replication", |status| status["state"] == "switched").await;
    let url = setup.world.landing.url_as("visitor", "visitor", "landing");
    let visitor = leadbridge::throwaway::connect(&url).await.unwrap();
    let refused = visitor.batch_execute(LEAD).await.unwrap_err();
    assert_eq!(shown(&refused), format!("55000 {told} Nothing was written. "));
    // An operator finds the fence that refused: the command's own role is told, and the server's log has the context.
    let ours = shown(&setup.world.landing().await.batch_execute(LEAD).await.unwrap_err());
    assert!(ours.contains("leadbridge fence "), "{ours}");
    // The same for Traffic's fence, after a rollback.
    until_holds(&setup.world.traffic().await, "bool_or(active) FROM pg_replication_slots").await;
    setup.rolls_back(&[]).await;
    let url = setup.world.traffic.url_as("visitor", "visitor", "traffic");
    let visitor = leadbridge::throwaway::connect(&url).await.unwrap();
    let refused = visitor.batch_execute("INSERT INTO traffic_leads (name) VALUES ('n')").await.unwrap_err();
    assert_eq!(shown(&refused), format!("55000 {told} Nothing was written. "));
}

#[tokio::test]
async fn a_transaction_with_an_older_snapshot_is_told_the_same() {
    let setup = CutoverSetup::new().await;
    let old = setup.world.landing().await;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM users LIMIT 1").await.unwrap();
    setup.switches(&[]).await;
    assert_eq!(
        shown(&old.batch_execute(LEAD).await.unwrap_err()),
        format!("55000 {CLOSED} Nothing was written. ")
    );
}

/// The arguments of a command that must succeed: a loaded machine may hold writers longer than the default allows.
pub fn patiently<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let is_patient = more.contains(&"--max-pause");
    let patience: &[&str] = if is_patient { &[] } else { &["--max-pause", "20s"] };
    [more, patience].concat()
}
