//! Time of a daemon from start to streaming, and from SIGTERM to the end.

use std::time::{Duration, Instant};

use leadbridge::error::Result;

use super::comparison;
use super::daemon::{Daemon, streaming};
use super::native::Contenders;
use super::report::{Report, median};
use super::world::World;

const RESTARTS: usize = 5;

/// Time of the contenders' workers from ENABLE until the server reports a stream; the contenders' servers go on
/// running.
pub async fn contenders(world: &World, contenders: &Contenders, report: &mut Report) -> Result<()> {
    for (what, native) in [("restart, plain", &contenders.plain), ("restart, triggers", &contenders.triggers)]
    {
        let mut starts: Vec<Duration> = Vec::new();
        for _ in 0..RESTARTS {
            let started = Instant::now();
            native.resume().await?;
            streaming(world, native.name()).await?;
            starts.push(started.elapsed());
            native.pause(world).await?;
        }
        let found = format!("streaming after {:.0?}", median(&starts));
        report.note(what, RESTARTS as u64, "restarts", &found, None);
    }
    Ok(())
}

pub async fn measure(world: &World, report: &mut Report) -> Result<()> {
    let (mut starts, mut stops): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..RESTARTS {
        let daemon = Daemon::run(world, &[])?;
        starts.push(daemon.streaming(world).await?);
        let told = Instant::now();
        last = Some(daemon.stop().await?);
        stops.push(told.elapsed());
    }
    comparison::equal(world).await?;
    let what = format!("streaming after {:.0?}, stopped in {:.0?}", median(&starts), median(&stops));
    report.note("restart", RESTARTS as u64, "restarts", &what, last);
    Ok(())
}
