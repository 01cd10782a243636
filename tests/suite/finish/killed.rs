//! After a kill at every named point, a finish carries on and completes its work.

use std::os::unix::process::ExitStatusExt as _;

use leadbridge::failpoint::Point;
use leadbridge::files::Manifest;

use super::{FINISHED, assert_closed, caught_up, only, remains, switched};
use crate::testkit::{Bridge, assert_refused, landing, traffic};

fn points() -> impl Iterator<Item = Point> {
    Point::ALL.iter().filter(|point| point.name().starts_with("finish.")).copied()
}

async fn dies(bridge: &Bridge, arguments: &[&str], point: Point) {
    let limit = std::time::Duration::from_secs(60);
    let output = tokio::time::timeout(limit, bridge.dying_command(arguments, point, 1).output()).await;
    let output = output.expect("it neither dies nor ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "{} is not passed: {said}", point.name());
}

/// Whether the slots may be gone after a kill at the point.
fn is_past_return(point: Point) -> bool {
    !matches!(point, Point::FinishBegun | Point::TableBackedUp | Point::FilesBackedUp | Point::BackedUp)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_of_a_finish_the_next_one_carries_on() {
    assert_eq!(points().count(), 11);
    for point in points() {
        let (world, bridge) = switched(30).await;
        // The same command both times, with a directory of the operator's choice at every second point.
        let named = bridge.dir().join("backup");
        let explicit = ["finish", "--yes", "--backup", named.to_str().unwrap()];
        let arguments = if (point as usize).is_multiple_of(2) { &explicit[..] } else { &explicit[..2] };
        let by_default = bridge.state_dir().join("backups");
        let directory = || if by_default.exists() { only(&by_default) } else { named.clone() };
        dies(&bridge, arguments, point).await;
        let whole = Manifest::read(&directory()).unwrap();
        assert_eq!(whole.is_some(), is_past_return(point) || point == Point::BackedUp, "{}", point.name());
        if is_past_return(point) {
            let said = bridge.run(&["run", "--until-caught-up"]).await;
            assert_refused(&said, &["is being finished", "leadbridge finish"]);
        } else {
            assert!(remains(&world).await.contains("leadbridge_reverse"), "{}", point.name());
        }

        let said = bridge.run(arguments).await;
        assert_eq!(said.code, 0, "{}: {}", point.name(), said.err);
        assert_eq!(remains(&world).await, FINISHED, "{}", point.name());
        assert_closed(&world, 30).await;
        let directory = directory();
        let manifest = Manifest::read(&directory).unwrap().unwrap();
        manifest.verify(&directory).unwrap();
        assert!(
            whole.is_none_or(|whole| whole == manifest),
            "{}: a whole backup is taken once",
            point.name()
        );
        let certificate = std::fs::read(directory.join("certificate.json")).unwrap();
        let certificate: serde_json::Value = serde_json::from_slice(&certificate).unwrap();
        assert_eq!(certificate["dropped"].as_array().unwrap().len(), 22, "{}", point.name());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 4, "{}", point.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_gone_or_damaged_when_it_carries_on_stops_it_until_another_is_taken() {
    let (world, bridge) = switched(30).await;
    dies(&bridge, &["finish", "--yes"], Point::ReverseSlotDropped).await;
    let directory = only(&bridge.state_dir().join("backups"));
    let leads = directory.join("landing_leads.csv");
    let content = std::fs::read_to_string(&leads).unwrap();
    std::fs::write(&leads, content.replacen('a', "b", 1)).unwrap();
    assert_refused(&bridge.run(&["finish", "--yes"]).await, &["landing_leads.csv is not what was written"]);
    std::fs::rename(&directory, bridge.dir().join("elsewhere")).unwrap();
    assert_refused(&bridge.run(&["finish", "--yes"]).await, &["is not in", "--backup"]);
    assert!(remains(&world).await.starts_with("leadbridge "), "Landing's slot is there");

    let another = bridge.dir().join("another");
    let said = bridge.run(&["finish", "--yes", "--backup", another.to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    Manifest::read(&another).unwrap().unwrap().verify(&another).unwrap();
    assert_eq!(remains(&world).await, FINISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_landing_has_left_behind_is_taken_again_and_the_old_one_stays_as_it_is() {
    let (world, bridge) = switched(30).await;
    let named = bridge.dir().join("backup");
    let explicit = ["finish", "--yes", "--backup", named.to_str().unwrap()];
    dies(&bridge, &explicit, Point::BackedUp).await;
    let old = Manifest::read(&named).unwrap().unwrap();
    // The daemon ran once more and brought a change of Traffic to Landing.
    let change = "SET leadbridge.passes_fence = 'on'; DELETE FROM landing_leads WHERE id IN
        (SELECT id FROM landing_leads LIMIT 1)";
    landing(&world, change).await;
    traffic(&world, "DELETE FROM traffic_leads WHERE id IN (SELECT id FROM traffic_leads LIMIT 1)").await;
    caught_up(&world).await;

    assert_refused(&bridge.run(&explicit).await, &["is not empty", "overwrites nothing"]);
    assert!(remains(&world).await.contains("leadbridge_reverse"));
    let said = bridge.run(&explicit[..2]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let taken = only(&bridge.state_dir().join("backups"));
    assert_eq!(Manifest::read(&taken).unwrap().unwrap().tables[0].rows, 29);
    old.verify(&named).unwrap();
    assert_eq!(remains(&world).await, FINISHED);
}
