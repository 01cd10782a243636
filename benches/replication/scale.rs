//! `make bench-scale`: whether time grows in proportion to the size, and memory stays bounded.

use leadbridge::error::Result;

use super::daemon::{Daemon, Spent};
use super::report::{Report, Runs, peak, seconds};
use super::stream::Commits;
use super::world::World;
use super::{Size, comparison, floor, print, say, stream};

const SCALES: [usize; 3] = [1, 4, 16];

/// Snapshot and backlog once at each scale, with new servers for each scale.
pub async fn measure() -> Result<()> {
    let size = Size::from_environment(5_000)?;
    let mut report = Report::default();
    let mut smallest = None;
    for scale in SCALES {
        let size = Size {
            leads: size.leads * scale,
            // The backlog has the snapshot's size, so that both grow alike.
            transactions: size.leads * scale,
            repeat: 1,
            ..size
        };
        say(&format!("{} leads, {} small transactions", size.leads, size.transactions));
        let world = World::filled(size.leads, size.metadata).await?;
        say(&world.metadata_bytes().await?);
        let snapshot = snapshot(&world, scale, &mut report).await?;
        let backlog = stream::small_transactions(&world, None, size, Commits::Together, &mut report).await?;
        let (first_snapshot, first_backlog) = *smallest.get_or_insert((snapshot, backlog));
        let grown = |what: &str, now: Spent, first: Spent| {
            let times = now.wall.as_secs_f64() / first.wall.as_secs_f64();
            format!("{what} {} ({times:.1} times), peak {}", seconds(now.wall), peak(&[now]))
        };
        let found = [grown("snapshot", snapshot, first_snapshot), grown("backlog", backlog, first_backlog)];
        report.note(&format!("{scale} times"), size.leads as u64, "leads", &found.join("; "), None);
    }
    print(&report)
}

async fn snapshot(world: &World, scale: usize, report: &mut Report) -> Result<Spent> {
    let floor = floor::copy(world).await?;
    let spent = Daemon::catch_up(world).await?;
    comparison::equal(world).await?;
    say(&format!("snapshot: {:.1?}, floor {floor:.1?}, both sides equal", spent.wall));
    let runs = Runs { daemon: vec![spent], floor: vec![floor], ..Runs::default() };
    report.throughput(&format!("snapshot, {scale} times"), world.rows, "rows", &runs);
    Ok(spent)
}
