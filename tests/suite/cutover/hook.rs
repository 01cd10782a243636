//! The hook: what it began is in the journal, nothing of it goes on, and what applications wrote because of it is kept.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use leadbridge::failpoint::Point;
use leadbridge::throwaway::signal;
use nix::sys::signal::Signal;

use super::CutoverSetup;
use crate::testkit::{assert_refused, holds, one, traffic, until_true};

/// A hook that begins to switch, waits for the test's word, and then ends with `code`.
pub struct WaitingHook {
    begun: PathBuf,
    go: PathBuf,
    pub command: String,
}

impl WaitingHook {
    pub fn new(setup: &CutoverSetup, code: u8) -> Self {
        let (begun, go) = (setup.bridge.dir().join("begun"), setup.bridge.dir().join("go"));
        let command = format!(
            "test $LEADBRIDGE_EVENT != switch || {{ touch {}; while ! test -e {}; do sleep 0.05; done; exit {code}; }}",
            begun.display(),
            go.display()
        );
        WaitingHook { begun, go, command }
    }

    pub async fn begins(&self) {
        until_true("the hook begins", async || self.begun.exists()).await;
    }

    pub fn go_on(&self) {
        std::fs::write(&self.go, "").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_applications_wrote_on_traffic_before_an_abort_are_kept_and_named() {
    let mut setup = CutoverSetup::new().await;
    let hook = WaitingHook::new(&setup, 1);
    let arguments = ["--hook", hook.command.as_str()];
    let writing = async {
        hook.begins().await;
        // An application that the hook has pointed to Traffic, and a form of Traffic's own.
        let sql = "UPDATE traffic_leads SET name = 'Changed' WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads);
            DELETE FROM traffic_leads WHERE id = (SELECT max(id::text)::uuid FROM traffic_leads);
            INSERT INTO traffic_leads (name, phone, landing_lead) VALUES ('Born', '1', true), ('Form', '2', false)";
        traffic(&setup.world, sql).await;
        hook.go_on();
    };
    let (said, ()) = tokio::join!(setup.cutover(&arguments), writing);
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(
        said.err.contains("ABORTED") && said.err.contains("rows that applications wrote on Traffic"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("everything is as it was"), "{}", said.err);
    let client = setup.world.traffic().await;
    let changed = "EXISTS (SELECT FROM leadbridge.left_on_traffic WHERE traffic_table = 'traffic_leads' AND \
                   image ->> 'landing_synced_at' IS NOT NULL AND image ->> 'name' = 'Changed')";
    assert!(holds(&client, changed).await);
    assert!(
        holds(&client, "EXISTS (SELECT FROM leadbridge.left_on_traffic WHERE image ->> 'name' = 'Born')")
            .await
    );
    assert!(
        holds(&client, "NOT EXISTS (SELECT FROM leadbridge.left_on_traffic WHERE image ->> 'name' = 'Form')")
            .await
    );
    let deleted = "count(*) = 1 FROM leadbridge.left_on_traffic WHERE image IS NULL AND traffic_table = 'traffic_leads'";
    assert!(holds(&client, deleted).await);
    let status = setup.bridge.run(&["status", "--json"]).await;
    assert_eq!(status.code, 2, "{}", status.out);
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert!(status["attention"].to_string().contains("left_on_traffic"), "{status}");
    // No name and no phone in what the operator is told.
    assert!(!said.err.contains("Changed") && !status.to_string().contains("Changed"));
    // Landing has all that was acknowledged there, and the next change of a row wins, as always.
    setup.daemon.caught_up(&setup.world).await;
    assert_eq!(
        one::<i64>(&client, "SELECT count(*) FROM leadbridge.cutover WHERE hook_undone_at IS NOT NULL").await,
        1
    );
    setup.assert_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_cannot_be_undone_is_named_until_an_operator_has_settled_it() {
    let setup = CutoverSetup::new().await;
    let said = setup.cutover(&["--hook", "test $LEADBRIDGE_EVENT = check"]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(said.err.contains("the hook was not undone"), "{}", said.err);
    let status = setup.bridge.run(&["status"]).await;
    assert!(status.code == 2 && status.out.contains("LEADBRIDGE_EVENT=abort"), "{}", status.out);
    // An application that is still pointed to Traffic writes there: the daemon keeps the row.
    let write =
        "UPDATE traffic_leads SET name = 'Late' WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads)";
    traffic(&setup.world, write).await;
    let kept = "EXISTS (SELECT FROM leadbridge.left_on_traffic WHERE image ->> 'name' = 'Late')";
    crate::testkit::until_holds(&setup.world.traffic().await, kept).await;
    assert_refused(&setup.cutover(&[]).await, &["its hook had begun", "--hook-settled"]);
    assert_eq!(setup.cutover(&["--hook-settled"]).await.code, 0);
    assert_refused(&setup.cutover(&["--hook-settled"]).await, &["no hook"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_hook_goes_on_after_its_time() {
    let setup = CutoverSetup::new().await;
    let child = setup.bridge.dir().join("child");
    // A child in the background that ignores SIGTERM.
    let hook = format!(
        "test $LEADBRIDGE_EVENT != switch || {{ trap '' TERM; sh -c 'echo $$ > {}; exec sleep 600' & wait; }}",
        child.display()
    );
    let said = setup.cutover(&["--timeout", "4s", "--hook", &hook]).await;
    assert!(said.err.contains("did not end within") && said.err.contains("ABORTED"), "{}", said.err);
    let pid = std::fs::read_to_string(child).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    assert!(stat.as_ref().is_err() || stat.as_ref().is_ok_and(|stat| stat.contains(") Z ")), "{stat:?}");
    setup.assert_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_aborts_in_order_and_a_check_precedes_everything() {
    for sent in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let setup = CutoverSetup::new().await;
        let told = setup.bridge.dir().join("told");
        let hook = format!(
            "echo $LEADBRIDGE_EVENT >> {}; test $LEADBRIDGE_EVENT != switch || sleep 60",
            told.display()
        );
        let arguments = setup.arguments(&["--hook", &hook]);
        let child = setup.bridge.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        until_true("the hook runs", async || {
            std::fs::read_to_string(&told).is_ok_and(|told| told.contains("switch"))
        })
        .await;
        signal(&child, sent).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
        let output = ended.expect("it does not end").unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.signal(), None, "{said}");
        assert!(said.contains("ABORTED") && said.contains("interrupted"), "{said}");
        assert_eq!(std::fs::read_to_string(&told).unwrap(), "check\nswitch\nabort\n");
        setup.assert_as_before().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_asks_the_hook_whether_it_could() {
    let setup = CutoverSetup::new().await;
    let said = setup.cutover(&["--dry-run", "--hook", "exit 3"]).await;
    assert!(said.code == 1 && said.out.contains("the hook failed"), "{}", said.out);
    setup.assert_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_killed_after_its_hook_has_switched_leaves_word_of_it() {
    let setup = CutoverSetup::new().await;
    let arguments = setup.arguments(&["--hook", "true"]);
    setup.bridge.dying_command(&arguments, Point::CutoverHooked, 1).output().await.unwrap();
    setup.settled().await;
    let status = setup.bridge.run(&["status"]).await;
    assert!(status.out.contains("aborted after its hook had begun"), "{}", status.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_command_at_once_and_the_rest_is_undone_by_others() {
    let mut setup = CutoverSetup::new().await;
    let told = setup.bridge.dir().join("told");
    // A hook that does its work, and hangs when it is to be undone.
    let hook = format!(
        "echo $LEADBRIDGE_EVENT >> {}; test $LEADBRIDGE_EVENT = check || exec sleep 20",
        told.display()
    );
    let said = |event: &'static str| {
        let told = told.clone();
        async move {
            until_true(event, async || std::fs::read_to_string(&told).is_ok_and(|told| told.contains(event)))
                .await;
        }
    };
    let arguments = setup.arguments(&["--hook", &hook]);
    let child = setup.bridge.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    said("switch").await;
    signal(&child, Signal::SIGINT).unwrap();
    said("abort").await;
    signal(&child, Signal::SIGINT).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
    let output = ended.expect("it does not end").unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.signal(), Some(Signal::SIGINT as i32), "{text}");
    assert!(text.contains("a second signal ends the command at once"), "{text}");
    setup.settled().await;
    let status = setup.bridge.run(&["status"]).await;
    assert!(status.out.contains("aborted after its hook had begun"), "{}", status.out);
    assert_eq!(setup.cutover(&["--hook-settled"]).await.code, 0);
    setup.daemon.caught_up(&setup.world).await;
    setup.assert_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_gets_neither_url_and_what_is_asked_for_and_its_certificate_is_private() {
    let world = crate::testkit::World::new().await;
    let bridge =
        crate::testkit::Bridge::new(&world).configured("[cutover]\nhook_environment = [\"SCHOOL_TOKEN\"]\n");
    let setup = CutoverSetup::between(world, bridge).await;
    let told = setup.bridge.dir().join("told");
    let hook = format!("env >> {}", told.display());
    let mut command = setup.bridge.command(&setup.arguments(&["--hook", &hook]));
    command
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("SCHOOL_TOKEN", "asked for")
        .env("OTHER_TOKEN", "kept");
    let said = crate::testkit::said(command).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let told = std::fs::read_to_string(told).unwrap();
    let names: std::collections::BTreeSet<_> =
        told.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let expected = [
        "LC_ALL",
        "LEADBRIDGE_CUTOVER_ID",
        "LEADBRIDGE_DIRECTION",
        "LEADBRIDGE_EVENT",
        "PATH",
        "SCHOOL_TOKEN",
    ];
    // What a shell sets by itself.
    let names: Vec<_> =
        names.into_iter().filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name)).collect();
    assert_eq!(names, expected);
    assert!(!told.contains("postgresql://"));

    let mode = |path: &std::path::Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
    };
    let files = std::fs::read_dir(setup.bridge.dir()).unwrap().map(|entry| entry.unwrap().path());
    let certificates: Vec<_> = files
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("leadbridge-cutover"))
        .collect();
    assert_eq!(certificates.len(), 2);
    for path in certificates {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(mode(&setup.bridge.state_dir()), 0o700);
    for entry in std::fs::read_dir(setup.bridge.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}
