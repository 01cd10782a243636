//! Imports and exports that are killed or asked to end, and started again.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use leadbridge::failpoint::Point;
use leadbridge::files::Manifest;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{assert_verified, directory, emptied, export, imported, leads};
use crate::testkit::{Bridge, World, assert_equal, assert_refused, holds, one, said_of, until_true};

const BATCHES: &str = "[stream]\nbatch_rows = 40";

async fn dies(bridge: &Bridge, arguments: &[&str], point: Point, pass: u32) {
    let limit = Duration::from_secs(60);
    let ended = tokio::time::timeout(limit, bridge.dying_command(arguments, point, pass).output()).await;
    let output = ended.expect("the command neither dies nor ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "{} is not passed: {said}", point.name());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_of_an_import_the_next_run_writes_each_row_exactly_once() {
    let world = World::new().await;
    leads(&world, 1, 100).await;
    let bridge = Bridge::new(&world).configured(BATCHES);
    let points: Vec<Point> =
        Point::ALL.iter().copied().filter(|point| point.name().starts_with("import.")).collect();
    assert_eq!(points.len(), 4);
    for (format, pass) in [("csv", 1), ("jsonl", 1), ("csv", 2), ("csv", 5)] {
        let path = export(&bridge, &format!("{format}-{pass}"), &["--format", format]).await;
        for &point in points.iter().filter(|point| pass == 1 || **point != Point::ImportBegun) {
            emptied(&world).await;
            let place = format!("{} of {format}, pass {pass}", point.name());
            dies(&bridge, &["import", path.to_str().unwrap(), "--yes"], point, pass).await;
            // What the record says is what Traffic holds.
            let recorded = "(SELECT rows_done FROM leadbridge.import) = (SELECT count(*) FROM traffic_leads)
                + (SELECT count(*) FROM traffic_lead_journey)";
            assert!(holds(&world.traffic().await, recorded).await, "{place}");
            let report = imported(&bridge, &path).await;
            // A row that was written twice would be counted twice, because each write tells of its export.
            assert_eq!(
                (&report["rows_done"], &report["rows_written"]),
                (&300.into(), &300.into()),
                "{place}"
            );
            assert_equal(&world).await;
        }
    }
    assert_verified(&bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_an_import_ends_between_two_batches_and_the_same_command_goes_on() {
    let world = World::new().await;
    leads(&world, 1, 100).await;
    let bridge = Bridge::new(&world).configured(BATCHES);
    let path = export(&bridge, "files", &[]).await;
    let arguments = ["import", path.to_str().unwrap(), "--yes", "--json"];
    let mut command = bridge.stopping_command(&arguments, Point::ImportCommitted);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = Pid::from_raw(child.id().unwrap().try_into().unwrap());
    let state = format!("/proc/{process}/stat");
    until_true("the import stands still", async || std::fs::read_to_string(&state).unwrap().contains(") T "))
        .await;
    kill(process, Signal::SIGINT).unwrap();
    kill(process, Signal::SIGCONT).unwrap();
    let said = said_of(child.wait_with_output().await.unwrap());
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let done = report["rows_done"].as_i64().unwrap();
    assert!(report["complete"] == false && (40..300).contains(&done), "{report}");
    let held: i64 = one(
        &world.traffic().await,
        "SELECT (SELECT count(*) FROM traffic_leads) + (SELECT count(*) FROM traffic_lead_journey)",
    )
    .await;
    assert_eq!(held, done);
    assert_refused(&bridge.run(&["verify"]).await, &["nothing to compare yet"]);

    let report = imported(&bridge, &path).await;
    assert_eq!((&report["complete"], &report["rows_written"]), (&true.into(), &300.into()), "{report}");
    assert_verified(&bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_export_has_no_manifest_and_is_made_again_in_the_same_directory() {
    let world = World::new().await;
    leads(&world, 1, 20).await;
    let bridge = Bridge::new(&world);
    let path = directory(&bridge, "files");
    let arguments = ["export", path.to_str().unwrap()];
    for point in [Point::TableBackedUp, Point::FilesBackedUp] {
        dies(&bridge, &arguments, point, 1).await;
        assert_eq!(Manifest::read(&path).unwrap(), None);
        assert_refused(&super::import(&bridge, &path, &[]).await, &["manifest.json is missing"]);
    }
    let path = export(&bridge, "files", &[]).await;
    Manifest::read(&path).unwrap().unwrap().verify(&path).unwrap();
    imported(&bridge, &path).await;
    assert_refused(&bridge.run(&arguments).await, &["is not empty", "overwrites nothing"]);
}
