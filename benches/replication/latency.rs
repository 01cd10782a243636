//! Time from a commit on Landing to the commit on Traffic, by the servers' recorded commit times: both servers run on
//! one machine with the same clock, so no polling is needed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use leadbridge::error::{Error, Result};
use tokio_postgres::Client;
use uuid::Uuid;

use super::daemon::{Daemon, streaming};
use super::native::Native;
use super::report::Report;
use super::world::{World, failed};
use super::{comparison, say};

const PER_SECOND: u32 = 200;
const COMMITS: u32 = 2_000;

/// A transaction replicated by PostgreSQL carries the commit time of its origin. So the contender's time is the time
/// that the trigger wrote just before the commit, in the contender's favour.
const TRIGGERED: &str = "landing_synced_at";
const COMMITTED: &str = "pg_xact_commit_timestamp(xmin)";

/// The contender comes first, alone, at the same pace; the daemon applies the contender's transactions before the
/// daemon's own turn.
pub async fn measure(world: &World, native: &Native, report: &mut Report) -> Result<()> {
    native.resume().await?;
    streaming(world, native.name()).await?;
    let found = latencies(world, native.name(), native.traffic(), TRIGGERED).await?;
    native.pause(world).await?;
    report.note(&format!("{} with triggers", what()), COMMITS.into(), "transactions", &found, None);
    let daemon = Daemon::run(world, &[])?;
    daemon.streaming(world).await?;
    let found = latencies(world, "daemon", &world.traffic().await?, COMMITTED).await?;
    let spent = daemon.stop().await?;
    comparison::equal(world).await?;
    report.note(&what(), COMMITS.into(), "transactions", &found, Some(spent));
    Ok(())
}

fn what() -> String {
    format!("latency at {PER_SECOND} commits/s")
}

/// Writes, and reports the commits' latencies until `arrival`, SQL for a time. The column `stage` marks the rows.
async fn latencies(world: &World, stage: &str, traffic: &Client, arrival: &str) -> Result<String> {
    write(world, stage).await?;
    arrived(traffic, stage).await?;
    let there = times(&world.landing().await?, "journey_stages", COMMITTED, stage).await?;
    let here = times(traffic, "traffic_lead_journey", arrival, stage).await?;
    let mut latencies: Vec<i64> =
        there.iter().filter_map(|(id, committed)| Some(here.get(id)? - committed)).collect();
    latencies.sort_unstable();
    say(&format!("latency of {} commits measured: {stage}", latencies.len()));
    let at = |part: f64| {
        let index = (latencies.len().saturating_sub(1) as f64 * part).round() as usize;
        latencies.get(index).map_or(f64::NAN, |micros| *micros as f64 / 1000.0)
    };
    Ok(format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", at(0.5), at(0.99), at(1.0)))
}

/// A journey entry and a click of the entry's lead in one transaction, at an even pace.
async fn write(world: &World, stage: &str) -> Result<()> {
    let landing = world.landing().await?;
    let ids = landing.query("SELECT id FROM public.landing_leads ORDER BY id LIMIT 500", &[]).await;
    let ids: Vec<Uuid> = ids.map_err(|error| failed(&error))?.iter().map(|row| row.get(0)).collect();
    let sql = "WITH clicked AS (UPDATE public.landing_leads SET click_count = coalesce(click_count, 0) + 1 \
               WHERE id = $1 RETURNING id) \
               INSERT INTO public.journey_stages (lead_id, stage, source) SELECT id, $2, 'bench' FROM clicked";
    let insert = landing.prepare(sql).await.map_err(|error| failed(&error))?;
    let mut pace = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
    for id in ids.iter().cycle().take(COMMITS as usize) {
        pace.tick().await;
        landing.execute(&insert, &[id, &stage]).await.map_err(|error| failed(&error))?;
    }
    Ok(())
}

async fn arrived(traffic: &Client, stage: &str) -> Result<()> {
    let sql = "SELECT count(*) FROM public.traffic_lead_journey WHERE stage = $1";
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let row = traffic.query_one(sql, &[&stage]).await.map_err(|error| failed(&error))?;
        if row.get::<_, i64>(0) == i64::from(COMMITS) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Error::internal("the commits did not arrive in a minute"))
}

/// Times in microseconds, by row.
async fn times(client: &Client, table: &str, time: &str, stage: &str) -> Result<HashMap<Uuid, i64>> {
    let sql = format!(
        "SELECT id, (extract(epoch FROM {time}) * 1000000)::bigint FROM public.{table} \
         WHERE stage = $1"
    );
    let rows = client.query(&sql, &[&stage]).await.map_err(|error| failed(&error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
