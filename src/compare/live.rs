//! Comparing two databases that are in use.
//!
//! Workers read ranges of keys, each worker with a session on both sides. The module `recheck` compares
//! differing rows a second time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::attribution::{Attributed, Tally};
use super::comparison::Comparison;
use super::forward::ByMapping;
use super::{ComparedSides, Place, ReadRate, recheck};
use crate::checkpoint::{ImportRecord, Installation, ReplicatedSettings, refuse_switched};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::landing::catalog;
use crate::language::message;
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::{Database, Databases, Session, wal};
use crate::quarantine::Quarantine;

/// Result of comparing two live databases.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// No row differs, no row is unknown, and no row of the compared tables lacks its lead.
    pub equal: bool,
    /// A part was compared by an earlier run, which was interrupted.
    pub resumed: bool,
    /// Everything that Landing committed before this position has been compared.
    pub landing_lsn: Lsn,
    /// The stream has passed every position that was read, so a difference is not a change on its way. False
    /// when the stream stood still, or when more rows differ than are compared again.
    pub stream_passed: bool,
    pub tables: Vec<TableVerification>,
    /// `None` when leads were not compared, or not by this run alone, or when there are too many kinds of leads.
    pub attribution: Option<Vec<Attributed>>,
    /// Rows in quarantine.
    pub quarantined: u64,
    pub conversion_notes: u64,
    pub seconds: f64,
    pub rows_per_second: f64,
}

/// Result of comparing one table.
#[derive(Debug, Serialize)]
pub struct TableVerification {
    #[serde(flatten)]
    pub found: Comparison,
    /// Rows that Landing had changed again at every comparison, so that nothing is known of them.
    pub moving: u64,
    /// Rows that differ and are in quarantine, which holds the reason.
    pub quarantined: u64,
    /// Rows on Traffic whose lead is not on Traffic.
    pub orphaned: u64,
}

impl TableVerification {
    fn is_equal(&self) -> bool {
        self.found.differences() + self.moving + self.orphaned == 0
    }
}

/// Tables to compare, with the limits of time and speed.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    pub tables: Vec<Table>,
    /// Longest wait, for the stream to pass a position that was read, and for a row to be compared without a
    /// change in between.
    pub patience: Duration,
    pub pace: Arc<ReadRate>,
    /// Begins where an earlier comparison has stopped, and says at each moment how far this one has come.
    pub place: Arc<Place>,
}

/// Compares the tables through the mapping, while writers and the daemon continue.
///
/// # Errors
/// Refused when nothing has been copied yet, and after a cutover. Otherwise a database that cannot be read.
pub async fn verify(config: &Config, options: &VerifyOptions) -> Result<Verification> {
    let landing = config.landing.connect("verify").await?;
    let traffic = config.traffic.connect("verify").await?;
    Installation::refuse_another(Database::traffic(&traffic, &config.names), &config.landing).await?;
    let instead = message!("compare-remedy-verify-switched");
    refuse_switched(&traffic, &config.names, instead).await?;
    ReplicatedSettings::new(&config.names, &config.tables(), &config.columns)
        .refuse_other(Database::traffic(&traffic, &config.names))
        .await?;
    let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
    check_copied(databases.on(Side::Traffic)).await?;
    let started = Instant::now();
    let landing_lsn = options.place.begin_at(wal::committed_so_far(&landing).await?);
    let (mut tables, mut tally, mut stream_passed) = (Vec::new(), Tally::default(), true);
    for &table in &options.tables {
        let mut found = scan(config, table, options).await?;
        // The sessions of the scan have ended by now, and with them the buffers of their largest rows.
        let sides =
            ComparedSides { pace: Some(&options.pace), ..ComparedSides::forward(databases, table).await? };
        sides.compare_large(&mut found).await?;
        tally.merge(std::mem::take(&mut found.tally));
        // After the stream failed to pass the rows of one table, no later table waits for the stream.
        let patience = if stream_passed { options.patience } else { Duration::ZERO };
        let (table, passed) = settle(&sides, found, patience).await?;
        stream_passed &= passed;
        tables.push(table);
    }
    let attribution = match options.tables.contains(&Table::LandingLeads) && !options.place.is_resumed() {
        true => tally.attribute(databases.on(Side::Traffic)).await?,
        false => None,
    };
    let (quarantined, conversion_notes) = Quarantine::count_beside_notes(&traffic, &config.names).await?;
    let seconds = started.elapsed().as_secs_f64();
    let rows: u64 = tables.iter().map(|table| table.found.landing_rows).sum();
    Ok(Verification {
        equal: tables.iter().all(TableVerification::is_equal),
        resumed: options.place.is_resumed(),
        landing_lsn,
        stream_passed,
        tables,
        attribution,
        quarantined,
        conversion_notes,
        seconds,
        rows_per_second: rows as f64 / seconds.max(0.001),
    })
}

/// Rows of the tables on Landing, counted or estimated: the end of a progress bar.
pub async fn expected_rows(config: &Config, tables: &[Table]) -> Result<u64> {
    let landing = config.landing.connect("verify").await?;
    let mut rows = 0;
    for &table in tables {
        rows += catalog::measure(&landing, &config.names, table).await?.rows;
    }
    Ok(rows)
}

async fn check_copied(traffic: Database<'_>) -> Result<()> {
    if recheck::applied(traffic).await?.is_some() {
        return Ok(());
    }
    // After an import Traffic holds Landing's rows as of the export, though no stream has begun.
    if ImportRecord::read(traffic).await?.is_some_and(|imported| imported.finished_at.is_some()) {
        return Ok(());
    }
    Err(Error::refused(format!("no snapshot of slot `{}` is complete on Traffic", traffic.names.slot))
        .remedy(message!("compare-remedy-nothing-yet")))
}

/// Compares every range of a table once.
async fn scan(config: &Config, table: Table, options: &VerifyOptions) -> Result<Comparison> {
    options.place.begin(table);
    let mut running = JoinSet::new();
    for _ in 0..config.snapshot_workers {
        let landing = config.landing.connect("verify").await?;
        let traffic = config.traffic.connect("verify").await?;
        let worker = VerifyWorker {
            landing,
            traffic,
            place: Arc::clone(&options.place),
            pace: Arc::clone(&options.pace),
        };
        running.spawn(worker.scan(config.names.clone(), table));
    }
    let name = config.names.landing_name(table).to_owned();
    // On an error the set is dropped, and dropping the set ends the other workers.
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| Error::internal(format!("a worker of the comparison: {error}")))??;
    }
    Ok(Comparison { table: name.into(), ..options.place.found(table) })
}

struct VerifyWorker {
    landing: Session,
    traffic: Session,
    place: Arc<Place>,
    pace: Arc<ReadRate>,
}

impl VerifyWorker {
    async fn scan(self, names: Names, table: Table) -> Result<()> {
        let databases = Databases { landing: &self.landing, traffic: &self.traffic, names: &names };
        let sides =
            ComparedSides { pace: Some(&self.pace), ..ComparedSides::forward(databases, table).await? };
        while let Some(keys) = self.place.take(table) {
            let mut part = sides.nothing_yet();
            sides.scan(keys.into(), &mut part).await?;
            self.place.done(table, keys, part);
        }
        Ok(())
    }
}

/// Compares the differing rows a second time, and returns the remaining differences.
async fn settle(
    sides: &ComparedSides<'_, ByMapping>,
    found: Comparison,
    patience: Duration,
) -> Result<(TableVerification, bool)> {
    let (found, moving, passed) = if found.knows_its_suspects() {
        let settled = sides.recheck(found.unlike(), patience).await?;
        let mut all = found.without_suspects();
        all.add(settled.comparison);
        (all, settled.moving, settled.passed)
    } else {
        // More rows differ than can be in flight, so the first counts stand.
        (found, 0, false)
    };
    let (traffic, table) = (sides.databases.on(Side::Traffic), sides.layout.table());
    let quarantined = Quarantine::count_among(traffic, table, &found.suspects).await?;
    let orphaned = orphaned(traffic, table).await?;
    Ok((TableVerification { found, moving, quarantined, orphaned }, passed))
}

/// Rows on Traffic whose lead is not on Traffic. PostgreSQL checks no foreign key for the daemon's writes.
///
/// # Errors
/// Traffic cannot be read.
pub async fn orphaned(traffic: Database<'_>, table: Table) -> Result<u64> {
    if table.lead_column().is_none() {
        return Ok(0);
    }
    let sql = format!(
        "SELECT count(*) FROM {} AS t WHERE NOT EXISTS (SELECT FROM {} AS l WHERE l.id = t.lead_id)",
        traffic.table(table),
        traffic.table(Table::LandingLeads)
    );
    let step = traffic.during(format!("looking for rows of {} without a lead", table.traffic_name()));
    Ok(step.row(&sql, &[]).await?.get::<_, i64>(0).unsigned_abs())
}
