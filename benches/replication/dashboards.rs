//! What dashboards ask, over the five views on Traffic, and the old way: the same questions over `postgres_fdw` between
//! two servers. Both give the same answers, or the benchmark ends. `leadbridge explain` is asked of the same leads.

mod questions;

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use leadbridge::error::{Error, Result};
use leadbridge::throwaway::{Shutdown, connect, fixture};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::daemon::Daemon;
use super::explain::{self, ExplainReport};
use super::report::{median, write_table};
use super::world::{Metadata, World, execute, failed};
use super::{comparison, say};
use questions::{QUESTIONS, Question};

const LANDING: &str = include_str!("dashboards/landing.sql");
const TARGETOLOGISTS: &str = include_str!("dashboards/targetologists.sql");
const FOREIGN_TABLES: &str = include_str!("dashboards/foreign_tables.sql");
const LITERAL_VIEWS: &str = include_str!("dashboards/literal_views.sql");

const LEADS: usize = 100_000;

/// Runs of each question in turn, without the runs that warm the caches.
const RUNS: usize = 11;
const WARMING: usize = 2;

/// As on a small instance.
const SHARED_BUFFERS: &str = "ALTER SYSTEM SET shared_buffers = '256MB'";

/// Plans of the last run, by question.
const PLANS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/dashboards.txt");

/// Times of one question, in one way to ask it.
#[derive(Default)]
struct Way {
    sql: String,
    times: Vec<Duration>,
}

/// The ways to ask a question. A server without `postgres_fdw` has the first only.
struct Asked {
    question: &'static Question,
    views: Way,
    old: Option<Way>,
    by_hand: Option<Way>,
}

/// The tables at the end.
pub struct DashboardReport {
    asked: Vec<Asked>,
    explained: ExplainReport,
}

pub async fn measure() -> Result<DashboardReport> {
    let mut world = World::filled(0, Metadata::Usual).await?;
    for cluster in [&mut world.landing, &mut world.traffic] {
        execute(&cluster.connect("postgres").await?, SHARED_BUFFERS).await?;
        cluster.restart(Shutdown::Fast).await?;
    }
    let landing = LANDING.replace("{{leads}}", &LEADS.to_string());
    run_each(&world.landing().await?, &landing).await?;
    Daemon::catch_up(&world).await?;
    comparison::equal(&world).await?;
    let explained = explain::measure(&world).await?;
    let traffic = world.traffic().await?;
    run_each(&traffic, TARGETOLOGISTS).await?;
    execute(&traffic, "VACUUM ANALYZE").await?;
    let old = the_old_way(&world).await?;
    let mut asked: Vec<Asked> = QUESTIONS.iter().map(|question| Asked::of(question, old.is_some())).collect();
    for asked in &mut asked {
        asked.agree(&traffic, old.as_ref()).await?;
        for run in 0..RUNS + WARMING {
            asked.ask(&traffic, old.as_ref(), run >= WARMING).await?;
        }
        say(&format!("dashboards: {}: {}", asked.question.name, asked.found()));
    }
    write_plans(&asked, &traffic, old.as_ref()).await?;
    say(&format!("dashboards: plans in {PLANS}"));
    Ok(DashboardReport { asked, explained })
}

/// A database on Traffic's server that reads Landing's leads; `None` where the server has no `postgres_fdw`.
async fn the_old_way(world: &World) -> Result<Option<Client>> {
    let available = "SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'postgres_fdw'";
    let traffic = world.traffic().await?;
    let row = traffic.query_one(available, &[]).await.map_err(|error| failed(&error))?;
    if !row.get::<_, bool>(0) {
        say(
            "dashboards: this server has no postgres_fdw (Debian: in the server's package; Fedora: postgresql-contrib): \
             the old way is not measured",
        );
        return Ok(None);
    }
    world.traffic.create_database("old", fixture::TRAFFIC).await?;
    let old = connect(&world.traffic.url("old")).await?;
    run_each(&old, TARGETOLOGISTS).await?;
    let tables = FOREIGN_TABLES
        .replace("{{port}}", &world.landing.port().to_string())
        .replace("{{password}}", world.landing.password());
    execute(&old, &tables).await?;
    let views = LITERAL_VIEWS
        .replace("{{schema}}", "public")
        .replace("{{leads}}", "leads_of_landing")
        .replace("{{journey}}", "journey_stages");
    execute(&old, &views).await?;
    execute(&old, "ANALYZE landing_leads, journey_stages").await?;
    Ok(Some(old))
}

/// Runs the statements of a script one by one, because VACUUM refuses to run among others.
async fn run_each(client: &Client, script: &str) -> Result<()> {
    for statement in script.split(";\n") {
        execute(client, statement).await?;
    }
    Ok(())
}

impl Asked {
    fn of(question: &'static Question, compared: bool) -> Self {
        let over = |leads: &str| Way { sql: question.sql.replace("{{leads}}", leads), ..Way::default() };
        let by_hand = question.by_hand.map(|sql| Way { sql: sql.to_owned(), ..Way::default() });
        Asked {
            question,
            views: over("traffic_leads"),
            old: compared.then(|| over("landing_leads")),
            by_hand: by_hand.filter(|_| compared),
        }
    }

    /// The ways, each with its database.
    fn ways<'w>(
        &'w mut self,
        traffic: &'w Client,
        old: Option<&'w Client>,
    ) -> impl Iterator<Item = (&'w mut Way, &'w Client)> {
        let compared =
            [self.old.as_mut(), self.by_hand.as_mut()].into_iter().flatten().zip(old.into_iter().cycle());
        std::iter::once((&mut self.views, traffic)).chain(compared)
    }

    /// # Errors
    /// Two ways have different answers, or no row.
    async fn agree(&mut self, traffic: &Client, old: Option<&Client>) -> Result<()> {
        let name = self.question.name;
        let mut first = None;
        for (way, client) in self.ways(traffic, old) {
            let answer = answer(client, &way.sql).await?;
            if answer.is_empty() || *first.get_or_insert_with(|| answer.clone()) != answer {
                return Err(Error::internal(format!("{name}: the answers differ, or there is none")));
            }
        }
        Ok(())
    }

    /// Asks in each way, one after the other, so that noise meets all of them.
    async fn ask(&mut self, traffic: &Client, old: Option<&Client>, counts: bool) -> Result<()> {
        for (way, client) in self.ways(traffic, old) {
            let started = Instant::now();
            client.simple_query(&way.sql).await.map_err(|error| failed(&error))?;
            if counts {
                way.times.push(started.elapsed());
            }
        }
        Ok(())
    }

    fn found(&self) -> String {
        let ways = [("old way", &self.old), ("by hand", &self.by_hand)];
        ways.iter().fold(milliseconds(median(&self.views.times)), |text, (name, way)| {
            format!(
                "{text}{}",
                way.as_ref()
                    .map(|way| format!(", {name} {}", milliseconds(median(&way.times))))
                    .unwrap_or_default()
            )
        })
    }

    fn cells(&self) -> [String; HEADERS.len()] {
        let ours = median(&self.views.times);
        let fastest = self.views.times.iter().min().copied().unwrap_or_default();
        let against = |way: &Option<Way>| match way {
            None => ["-".to_owned(), "-".to_owned()],
            Some(way) => {
                let other = median(&way.times);
                [milliseconds(other), format!("{:.1}", other.as_secs_f64() / ours.as_secs_f64())]
            }
        };
        let ([old, to_old], [by_hand, to_by_hand]) = (against(&self.old), against(&self.by_hand));
        let goal = self.question.goal.map_or_else(|| "-".to_owned(), |goal| format!("{goal} ms"));
        let name = self.question.name.to_owned();
        [name, goal, milliseconds(ours), milliseconds(fastest), old, to_old, by_hand, to_by_hand]
    }
}

/// Rows of an answer as texts.
async fn answer(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    let messages = client.simple_query(sql).await.map_err(|error| failed(&error))?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

async fn write_plans(asked: &[Asked], traffic: &Client, old: Option<&Client>) -> Result<()> {
    let mut text = String::new();
    for asked in asked {
        let ways = [
            ("views on Traffic", Some(&asked.views), Some(traffic), "BUFFERS"),
            ("old way", asked.old.as_ref(), old, "VERBOSE"),
            ("old way, by hand", asked.by_hand.as_ref(), old, "VERBOSE"),
        ];
        for (name, way, client, option) in ways {
            let (Some(way), Some(client)) = (way, client) else { continue };
            let explain = format!("EXPLAIN (ANALYZE, {option}) {}", way.sql);
            let lines = answer(client, &explain).await?.into_iter().flatten().flatten();
            let plan: Vec<String> = lines.collect();
            // Writing to a String never fails.
            let _ =
                writeln!(text, "== {}: {name}\n{}\n\n{}\n", asked.question.name, way.sql, plan.join("\n"));
        }
    }
    std::fs::write(Path::new(PLANS), text)
        .map_err(|error| Error::internal(format!("writing the plans to {PLANS}: {error}")))
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

const HEADERS: [&str; 8] =
    ["a dashboard asks", "goal", "views", "fastest", "old way", "times", "by hand", "times"];

impl fmt::Display for DashboardReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> =
            std::iter::once(HEADERS.map(str::to_owned)).chain(self.asked.iter().map(Asked::cells)).collect();
        write_table(f, &rows)?;
        write!(f, "\n{}", self.explained)
    }
}
