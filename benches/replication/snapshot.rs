//! The snapshot into the whole Traffic schema with its indexes, against a pipe of two COPYs into plain tables.

use super::daemon::Daemon;
use super::report::{Report, median};
use super::world::World;
use super::{Size, comparison, floor, say};
use leadbridge::error::Result;

/// Leaves a Traffic that holds the last snapshot.
pub async fn measure(world: &mut World, size: Size, report: &mut Report) -> Result<()> {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for run in 0..size.repeat {
        if run > 0 {
            world.renew_traffic().await?;
        }
        floors.push(floor::copy(world).await?);
        let spent = Daemon::catch_up(world).await?;
        comparison::equal(world).await?;
        say(&format!(
            "snapshot {}: {:.1?}, floor {:.1?}, both sides equal",
            run + 1,
            spent.wall,
            floors[run]
        ));
        ours.push(spent);
    }
    report.throughput("snapshot", world.rows, "rows", &ours, median(&floors));
    Ok(())
}
