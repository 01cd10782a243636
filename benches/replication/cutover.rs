//! Write pauses of cutovers and rollbacks, from the certificates: at the size of a school, with writers running all
//! the time.

use std::time::Duration;

use leadbridge::error::{Error, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::daemon::{Daemon, streaming};
use super::report::{Report, median};
use super::say;
use super::world::{Metadata, World, failed};

/// Leads of a school's present database.
const LEADS: usize = 1_000;
const CUTOVERS: usize = 10;
/// All writers together commit 500 transactions a second, as far as the machine allows.
const WRITERS: usize = 10;
const PAUSE: Duration = Duration::from_millis(18);
/// Interval of the checks for the daemon's change of direction.
const LOOK: Duration = Duration::from_millis(20);

pub async fn measure(report: &mut Report) -> Result<()> {
    let world = World::filled(LEADS, Metadata::Usual).await?;
    let daemon = Daemon::run(&world, &[])?;
    daemon.streaming(&world).await?;
    let stop = CancellationToken::new();
    let writers = TaskTracker::new();
    for _ in 0..WRITERS {
        writers.spawn(write(world.landing_url(), stop.clone()));
    }
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for run in 0..CUTOVERS {
        there.push(change(&world, &["cutover"]).await?);
        until_streamed(&world, &world.names.reverse_slot()).await?;
        back.push(change(&world, &["rollback", "--refuse-for", "0s"]).await?);
        streaming(&world, &world.names.slot).await?;
        say(&format!("cutover and rollback {}: {:.0?}, {:.0?}", run + 1, there[run], back[run]));
    }
    stop.cancel();
    writers.close();
    writers.wait().await;
    let spent = daemon.stop().await?;
    for (what, pauses) in [("write pause of a cutover", &there), ("write pause of a rollback", &back)] {
        let longest = pauses.iter().max().copied().unwrap_or_default();
        let found = format!("median {:.0?}, longest {longest:.0?}", median(pauses));
        report.note(what, CUTOVERS as u64, "under 500 commits/s", &found, Some(spent));
    }
    Ok(())
}

/// Runs a cutover or rollback, and returns the certificate's write pause. The command compares both sides itself, and
/// fails on a difference.
async fn change(world: &World, command: &[&str]) -> Result<Duration> {
    let directory = world.state_dir().display().to_string();
    let arguments = [command, &["--yes", "--certificate", &directory]].concat();
    Daemon::command(world, &arguments)?.ended().await?;
    let sql = "SELECT (certificate ->> 'write_pause_seconds')::float8 FROM leadbridge.cutover \
               ORDER BY started_at DESC LIMIT 1";
    let row = world.traffic().await?.query_one(sql, &[]).await.map_err(|error| failed(&error))?;
    let seconds: Option<f64> = row.get(0);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| Error::internal("a certificate without its pause"))
}

async fn until_streamed(world: &World, slot: &str) -> Result<()> {
    let traffic = world.traffic().await?;
    let sql = "SELECT coalesce(bool_or(active), false) FROM pg_replication_slots WHERE slot_name = $1";
    while !traffic.query_one(sql, &[&slot]).await.map_err(|error| failed(&error))?.get::<_, bool>(0) {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Writes leads to Landing, and tries again while Landing refuses the writes.
async fn write(url: String, stop: CancellationToken) {
    let Ok(client) = leadbridge::throwaway::connect(&url).await else { return };
    let insert = "INSERT INTO public.landing_leads (id, name, phone) VALUES ($1, 'n', '+7 701')";
    while !stop.is_cancelled() {
        // The fence refuses writes, as intended.
        let _ = client.execute(insert, &[&Uuid::new_v4()]).await;
        tokio::time::sleep(PAUSE).await;
    }
}
