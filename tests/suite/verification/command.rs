//! `leadbridge verify` interrupted and resumed, and the dry run of a cutover after a round.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{EAGER, LEAD, streaming, tamper};
use crate::testkit::{assert_refused, holds, landing, said_of, until_holds};

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_comparison_says_how_far_and_is_resumed_with_what_it_had_found() {
    let (world, bridge, daemon) = streaming("", 900).await;
    tamper(&world, &format!("UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = '{LEAD}'")).await;
    let traffic = world.traffic().await;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // So slow that the workers wait after the first rows.
        let mut command = bridge.command(&["verify", "--json", "--max-rows-per-second", "40"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
        // Each worker has compared rows, and waits: its sessions are idle for a second.
        until_holds(
            &traffic,
            "(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leadbridge verify' AND state = 'idle' \
             AND clock_timestamp() - state_change > '1 s' AND query LIKE 'SELECT t.id::text%') > 0",
        )
        .await;
        kill(pid, signal).unwrap();
        let said = said_of(child.wait_with_output().await.unwrap());
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.err);
        assert!(said.err.contains("rows ("), "{}", said.err);
        assert!(said.err.contains("verify --resume"), "{}", said.err);
    }
    let recorded = "EXISTS (SELECT FROM leadbridge.interrupted_verify)";
    assert!(holds(&traffic, recorded).await);
    let said = bridge.run(&["verify", "--json", "--resume"]).await;
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &found["resumed"]), (1, &json!(true)), "{found}");
    assert_eq!(found["tables"][0]["different"], json!(1), "{found}");
    assert_eq!(found["tables"][0]["landing_rows"], json!(901), "every row is compared once: {found}");
    let said = bridge.run(&["verify", "--resume"]).await;
    assert_refused(&said, &["no interrupted comparison", "without --resume"]);
    daemon.terminate().await;
}

/// The finding about the comparison of a dry run.
fn verification(out: &str) -> String {
    let document: Value = serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out}"));
    let findings = document["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["check"] == "verification").unwrap();
    finding["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_after_a_clean_round_compares_what_was_written_since_and_a_cutover_compares_every_row() {
    let (world, bridge, mut daemon) = streaming(&EAGER.replace("1ms", "1h"), 300).await;
    daemon.until("the first round ends", |status| super::ended_rounds(status) == 1).await;
    landing(&world, &format!("UPDATE landing_leads SET name = 'new' WHERE id = '{LEAD}'")).await;
    daemon.caught_up(&world).await;
    let said = bridge.run(&["cutover", "--dry-run", "--json"]).await;
    assert_eq!(said.code, 0, "{} {}", said.out, said.err);
    let message = verification(&said.out);
    assert!(message.contains("round 1 of background verification"), "{message}");
    assert!(message.contains("A cutover compares every row itself"), "{message}");

    // A row that was changed since the round is found by the short way, and named by the long one.
    tamper(&world, &format!("UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = '{LEAD}'")).await;
    let said = bridge.run(&["cutover", "--dry-run", "--json"]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(verification(&said.out).contains("1 of landing_leads"), "{}", said.out);

    landing(&world, &format!("UPDATE landing_leads SET name = 'newer' WHERE id = '{LEAD}'")).await;
    daemon.caught_up(&world).await;
    let said =
        bridge.run(&["cutover", "--yes", "--json", "--certificate", bridge.dir().to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{} {}", said.out, said.err);
    assert!(!said.out.contains("background verification"), "{}", said.out);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_clean_round_a_dry_run_compares_every_row() {
    let (_world, bridge, daemon) = streaming("", 30).await;
    let said = bridge.run(&["cutover", "--dry-run", "--json"]).await;
    assert_eq!(said.code, 0, "{} {}", said.out, said.err);
    assert!(verification(&said.out).starts_with("all "), "{}", said.out);
    daemon.terminate().await;
}
