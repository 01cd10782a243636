//! Compares both sides, which the earlier measurements have left equal.

use leadbridge::error::Result;
use leadbridge::model::change::Table;

use super::daemon::Daemon;
use super::report::{Report, median};
use super::world::{World, failed};
use super::{Size, say};

pub async fn measure(world: &World, size: Size, report: &mut Report) -> Result<()> {
    let rows = rows(world).await?;
    let mut runs = Vec::new();
    for run in 0..size.repeat {
        // A difference gives exit code 1, and ends the benchmark.
        let spent = Daemon::command(world, &["verify", "--json"])?.ended().await?;
        say(&format!("verify {}: {:.1?}", run + 1, spent.wall));
        runs.push(spent);
    }
    let wall = median(&runs.iter().map(|run| run.wall).collect::<Vec<_>>());
    let what = format!("{:.0} rows per second", rows as f64 / wall.as_secs_f64());
    let largest = runs.into_iter().max_by_key(|run| run.peak);
    report.note("verify", rows, "rows", &what, largest);
    Ok(())
}

/// Number of Landing's rows in both tables.
async fn rows(world: &World) -> Result<u64> {
    let [leads, stages] =
        [Table::LandingLeads, Table::LeadJourney].map(|table| world.names.landing_table(table));
    let sql = format!("SELECT (SELECT count(*) FROM {leads}) + (SELECT count(*) FROM {stages})");
    let row = world.landing().await?.query_one(&sql, &[]).await;
    Ok(row.map_err(|error| failed(&error))?.get::<_, i64>(0).unsigned_abs())
}
