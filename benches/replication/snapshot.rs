//! The snapshot into the whole Traffic schema with its indexes, against a pipe of two COPYs into plain tables and
//! against PostgreSQL's own replication.

use super::daemon::Daemon;
use super::native::{Contenders, Kind, Native};
use super::report::{Report, Runs, median, seconds};
use super::world::World;
use super::{Size, comparison, floor, say};
use leadbridge::error::Result;

/// Leaves a Traffic with the last snapshot, and the contenders with their copies.
pub async fn measure(world: &mut World, size: Size, report: &mut Report) -> Result<Contenders> {
    let (mut runs, mut copied) = (Runs::default(), Vec::new());
    let mut contenders = None;
    for run in 0..size.repeat {
        if run > 0 {
            // Dropping a contender drops the contender's slot before the next repetition.
            drop(contenders.take());
            world.renew_traffic().await?;
        }
        runs.floor.push(floor::copy(world).await?);
        let (plain, took) = synchronise(world, Kind::Plain).await?;
        runs.plain.push(took.ready);
        let (triggers, took) = synchronise(world, Kind::Triggers).await?;
        runs.triggers.push(took.ready);
        copied.push(took.copied);
        let spent = Daemon::catch_up(world).await?;
        comparison::equal(world).await?;
        runs.daemon.push(spent);
        say(&format!(
            "snapshot {}: {:.1?}, floor {:.1?}, plain {:.1?}, triggers {:.1?} (rows there after {:.1?}), all equal",
            run + 1,
            spent.wall,
            runs.floor[run],
            runs.plain[run],
            took.ready,
            took.copied
        ));
        contenders = Some(Contenders { plain, triggers });
    }
    report.throughput("snapshot", world.rows, "rows", &runs);
    let there = format!("rows there after {}, the rest is its protocol", seconds(median(&copied)));
    report.note("snapshot with triggers", world.rows, "rows", &there, None);
    contenders.ok_or_else(|| leadbridge::error::Error::internal("no snapshot was repeated"))
}

async fn synchronise(world: &World, kind: Kind) -> Result<(Native, super::native::Synchronised)> {
    let (native, took) = Native::synchronise(world, kind).await?;
    native.compare(world).await?;
    native.settle().await?;
    Ok((native, took))
}
