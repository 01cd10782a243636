//! `leadbridge explain`, by each thing that an operator may know of a lead.

use std::fmt;
use std::time::Duration;

use leadbridge::error::Result;

use super::daemon::Daemon;
use super::report::{median, write_table};
use super::say;
use super::world::{World, failed};

const RUNS: usize = 5;

/// What is known of the lead, with the median time of the whole command.
pub struct ExplainReport(Vec<(&'static str, Duration)>);

/// Asks for one lead in the middle of the table. Each kind is asked in turn, so that noise meets all of them.
pub async fn measure(world: &World) -> Result<ExplainReport> {
    let sql = "SELECT id::text, phone, email FROM landing_leads ORDER BY created_at \
               OFFSET (SELECT count(*) / 2 FROM landing_leads) LIMIT 1";
    let lead = world.landing().await?.query_one(sql, &[]).await.map_err(|error| failed(&error))?;
    let mut kinds = ["id", "phone", "e-mail"].map(|kind| (kind, Vec::new()));
    for _ in 0..RUNS {
        for (column, (_, times)) in kinds.iter_mut().enumerate() {
            // A lead that is not found, or not equal on both sides, gives another exit code and ends the benchmark.
            times.push(Daemon::command(world, &["explain", lead.get(column)])?.ended().await?.wall);
        }
    }
    let report = ExplainReport(kinds.into_iter().map(|(kind, times)| (kind, median(&times))).collect());
    say(&format!("explain: {} runs of each", RUNS));
    Ok(report)
}

impl fmt::Display for ExplainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_id = self.0.first().map_or(Duration::ZERO, |(_, time)| *time).as_secs_f64();
        let header = ["explain a lead by its", "time", "times by id"].map(str::to_owned);
        let of_kind = |(kind, time): &(&str, Duration)| {
            let seconds = time.as_secs_f64();
            [(*kind).to_owned(), format!("{:.0} ms", seconds * 1e3), format!("{:.1}", seconds / by_id)]
        };
        write_table(f, &std::iter::once(header).chain(self.0.iter().map(of_kind)).collect::<Vec<_>>())
    }
}
