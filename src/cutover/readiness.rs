//! What must hold before a cutover: a list of conditions, each a finding with its remedy.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Client;

use super::content::Horizon;
use super::holders;
use super::marker::{self, Latency};
use super::writers::Writers;
use crate::config::Config;
use crate::database::Side;
use crate::doctor::{Findings, Verdict};
use crate::error::{Error, Kind, Result};
use crate::landing::catalog;
use crate::names::Names;
use crate::traffic::{Quarantine, TriggerControl};
use crate::verify::Pace;
use crate::verify::live::{self, Verification};

/// Markers that are sent to predict the drain.
const MARKERS: usize = 25;

/// Of the longest pause that is allowed, the share that a comparison of every row may take inside the fence.
const COMPARING_SHARE: f64 = 0.25;

/// A single reader inside the fence, and its hashes, against the rows per second of a comparison with all workers.
const SINGLE_READER: f64 = 0.25;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Terms {
    pub max_lag: Duration,
    pub max_pause: Duration,
    /// How long the comparison beforehand waits for rows in flight.
    pub verify_wait: Duration,
    pub compare: Compare,
}

/// When every value of every row is compared once more, as both sides are behind the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Compare {
    /// While writers wait where that is short, otherwise after the decision.
    Auto,
    /// While writers wait: before the decision.
    Waiting,
    /// After the decision, on snapshots from before it. Keys and recent rows are compared before it all the same.
    After,
}

/// What was found, and what the cutover goes on from.
pub struct Readiness {
    pub findings: Findings,
    pub latency: Option<Latency>,
    pub verification: Option<Verification>,
    /// The write pause to expect, in seconds.
    pub predicted_pause: Option<f64>,
    pub(super) horizon: Option<Horizon>,
    pub(super) writers: Writers,
    /// Every row is compared inside the fence.
    pub(super) whole: bool,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.findings.count(crate::doctor::Level::Error) == 0
    }
}

/// Looks at every condition; what cannot be looked at counts as one that does not hold.
pub async fn examine(config: &Config, terms: &Terms, landing: &Client, traffic: &Client) -> Readiness {
    let mut ready = Readiness {
        findings: Findings::default(),
        latency: None,
        verification: None,
        predicted_pause: None,
        horizon: None,
        writers: Writers::default(),
        whole: false,
    };
    let names = &config.names;
    let findings = &mut ready.findings;
    findings.add("state", Some(Side::Traffic), state(traffic, names).await);
    findings.add("slot", Some(Side::Landing), slot(landing, names).await);
    findings.add("quarantine", Some(Side::Traffic), quarantine(traffic, names).await);
    findings.add("fence", Some(Side::Landing), fence(landing, names).await);
    if findings.worst() == crate::doctor::Level::Error {
        // The rest asks what these stand for.
        return ready;
    }
    findings.add("old_transactions", Some(Side::Landing), held(landing, config).await);
    findings.add("way_back", Some(Side::Traffic), way_back(traffic, config).await);
    findings.add("landing_triggers", Some(Side::Landing), landing_triggers(landing).await);
    let lag = marker::latency(landing, traffic, names, &names.slot, MARKERS, terms.max_lag).await;
    findings.add("lag", None, judge_lag(lag.as_ref(), terms.max_lag));
    ready.latency = lag.ok();
    if ready.latency.is_none() {
        return ready;
    }
    ready.horizon = Horizon::now(landing, traffic).await.ok();
    match Writers::read(landing, names, config.scheduled_notifications).await {
        Ok(writers) => ready.writers = writers,
        Err(error) => ready.findings.add("writers", Some(Side::Landing), Err(error)),
    }
    let verified = verify(config, terms).await;
    ready.findings.add("verification", None, judge_verification(verified.as_ref()));
    ready.verification = verified.ok();
    predict(config, terms, &mut ready, landing, traffic).await;
    ready
}

async fn state(traffic: &Client, names: &Names) -> Result<Verdict> {
    let sql = format!("SELECT state FROM {} WHERE slot = $1", names.own("checkpoint"));
    let row = traffic.query_opt(&sql, &[&names.slot]).await;
    let row = row.map_err(|error| Error::database("reading the checkpoint on Traffic", &error))?;
    let state: Option<String> = row.map(|row| row.get(0));
    Ok(match state.as_deref() {
        Some("streaming") => Verdict::ok("the snapshot is complete, and changes are streamed"),
        Some("switched") => {
            Verdict::error("it is already switched: Traffic is the one database", "nothing is to be done")
        }
        Some(other) => {
            Verdict::error(format!("it is in state `{other}`"), "let `leadbridge run` get to `streaming`")
        }
        None => Verdict::error(
            format!("nothing was copied yet through slot `{}`", names.slot),
            "let `leadbridge run` copy the tables first",
        ),
    })
}

async fn slot(landing: &Client, names: &Names) -> Result<Verdict> {
    let name = &names.slot;
    Ok(match catalog::slot(landing, name).await? {
        None => Verdict::error(format!("the slot `{name}` is not there"), "see `leadbridge doctor`"),
        Some(slot) if !slot.active => {
            Verdict::error(format!("nobody streams from the slot `{name}`"), "start the daemon")
        }
        Some(slot) if matches!(slot.position.wal_status.as_deref(), Some("lost" | "unreserved")) => {
            Verdict::error(
                format!("the slot `{name}` is losing the WAL that it needs"),
                "raise max_slot_wal_keep_size on Landing, and see `leadbridge doctor`",
            )
        }
        Some(_) => Verdict::ok(format!("the daemon streams from the slot `{name}`")),
    })
}

async fn quarantine(traffic: &Client, names: &Names) -> Result<Verdict> {
    let (waiting, notes) = Quarantine::count_beside_notes(traffic, names).await?;
    Ok(match waiting {
        0 => Verdict::ok(format!("quarantine is empty; {notes} values were changed on the way")),
        _ => Verdict::error(
            format!("{waiting} rows wait in quarantine: Traffic does not have them"),
            "`leadbridge quarantine list`, then mend, retry or discard them",
        ),
    })
}

async fn fence(landing: &Client, names: &Names) -> Result<Verdict> {
    let functions = ["close_fence", "keep_fence", "lift_fence"];
    let sql = "SELECT count(*), bool_and(has_function_privilege(p.oid, 'EXECUTE')) FROM pg_proc AS p \
               JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = ANY ($2)";
    let row = landing.query_one(sql, &[&names.schema, &&functions[..]]).await;
    let row = row.map_err(|error| Error::database("looking for the fence on Landing", &error))?;
    Ok(match (row.get::<_, i64>(0), row.get::<_, Option<bool>>(1)) {
        (3, Some(true)) => Verdict::ok("the fence is installed"),
        (3, _) => Verdict::error(
            "this role may not close the fence on Landing",
            "run what `leadbridge migrate --print=landing --role ROLE` shows",
        ),
        _ => Verdict::error("the fence is not installed on Landing", "run `leadbridge migrate`"),
    })
}

async fn held(landing: &Client, config: &Config) -> Result<Verdict> {
    let holders = holders::old(landing, &config.names, config.scheduled_notifications).await?;
    Ok(Verdict::none_of(
        &holders,
        "no long transaction holds the tables",
        "the tables are held, and a fence would have to wait",
        "let these transactions end, or end them (pg_terminate_backend; COMMIT PREPARED or ROLLBACK PREPARED)",
    ))
}

/// What changes on Traffic after the switch must be able to flow back.
async fn way_back(traffic: &Client, config: &Config) -> Result<Verdict> {
    let names = &config.names;
    let tables: Vec<&str> = config.tables().iter().map(|table| table.traffic_name()).collect();
    let sql = "SELECT current_setting('wal_level') = 'logical',
                      (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user),
                      (SELECT count(*) FROM pg_replication_slots WHERE slot_name <> $1)
                          < current_setting('max_replication_slots')::int,
                      ARRAY(SELECT t FROM unnest($2::text[]) AS t WHERE NOT EXISTS (
                          SELECT FROM pg_publication_tables WHERE pubname = $3 AND schemaname = $4 AND tablename = t))";
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&names.reverse_slot(), &tables, &names.reverse_publication(), &names.traffic_schema];
    let row = traffic.query_one(sql, &parameters).await;
    let row = row.map_err(|error| Error::database("looking for the way back from Traffic", &error))?;
    let unpublished: Vec<String> = row.get(3);
    Ok(if !row.get::<_, bool>(0) {
        Verdict::error(
            "Traffic cannot decode its WAL: nothing could flow back",
            "set wal_level = logical on Traffic and restart it",
        )
    } else if !row.get::<_, Option<bool>>(1).unwrap_or(false) {
        Verdict::error(
            format!(
                "the role {} may not replicate from Traffic: nothing could flow back",
                config.traffic.user()
            ),
            format!("run as a superuser: ALTER ROLE \"{}\" REPLICATION", config.traffic.user()),
        )
    } else if !row.get::<_, bool>(2) {
        Verdict::error(
            "Traffic has no replication slot left",
            "raise max_replication_slots on Traffic, or drop a slot that nobody uses",
        )
    } else {
        Verdict::none_of(
            &unpublished,
            "what changes on Traffic afterwards can flow back",
            &format!("the publication `{}` on Traffic lacks", names.reverse_publication()),
            "run `leadbridge migrate`",
        )
    })
}

async fn landing_triggers(landing: &Client) -> Result<Verdict> {
    Ok(match TriggerControl::probe(landing).await? {
        TriggerControl::ReplicaRole => {
            Verdict::ok("what flows back will not fire Landing's ordinary triggers")
        }
        TriggerControl::GuardTriggers => Verdict::warning(
            "the role may not set session_replication_role on Landing: its triggers will fire for what flows back, \
             and stamp updated_at",
            "run as a superuser on Landing: GRANT SET ON PARAMETER session_replication_role TO the role",
        ),
    })
}

fn judge_lag(latency: std::result::Result<&Latency, &Error>, max_lag: Duration) -> Result<Verdict> {
    let most = max_lag.as_secs_f64();
    match latency {
        Ok(latency) => Ok(Verdict::ok(format!(
            "{} markers came through: p50 {:.0} ms, p99 {:.0} ms",
            latency.markers,
            latency.p50 * 1e3,
            latency.p99 * 1e3
        ))),
        Err(error) if error.kind() == Kind::Transient => Ok(Verdict::error(
            format!("a marker did not come through within {most} s (--max-lag-seconds)"),
            "wait until `leadbridge status` shows no lag",
        )),
        Err(error) => Ok(Verdict::error(error.message(), "see `leadbridge doctor`")),
    }
}

async fn verify(config: &Config, terms: &Terms) -> Result<Verification> {
    let options = live::Options {
        tables: config.tables(),
        patience: terms.verify_wait,
        pace: Arc::new(Pace::new(None)),
    };
    live::verify(config, &options).await
}

fn judge_verification(verified: std::result::Result<&Verification, &Error>) -> Result<Verdict> {
    match verified {
        Ok(found) if found.equal => {
            let rows: u64 = found.tables.iter().map(|table| table.found.landing_rows).sum();
            Ok(Verdict::ok(format!("all {rows} rows are equal ({:.1} s)", found.seconds)))
        }
        Ok(found) => {
            let of = |table: &live::TableVerification| {
                format!(
                    "{} of {}",
                    table.found.differences() + table.moving + table.orphaned,
                    table.found.table
                )
            };
            let tables: Vec<String> = found.tables.iter().map(of).collect();
            Ok(Verdict::error(
                format!("rows differ, or could not be compared: {}", tables.join(", ")),
                "see `leadbridge verify`",
            ))
        }
        Err(error) => {
            Ok(Verdict::error(error.message(), error.remedy_text().unwrap_or("see `leadbridge verify`")))
        }
    }
}

/// How long writers would wait: for the drain, and for the comparison inside the fence.
async fn predict(config: &Config, terms: &Terms, ready: &mut Readiness, landing: &Client, traffic: &Client) {
    let (Some(latency), Some(found), Some(horizon)) = (&ready.latency, &ready.verification, &ready.horizon)
    else {
        return;
    };
    let rows: u64 = found.tables.iter().map(|table| table.found.landing_rows).sum();
    let comparing = rows as f64 / (found.rows_per_second * SINGLE_READER).max(1.0);
    let budget = terms.max_pause.as_secs_f64();
    ready.whole = match terms.compare {
        Compare::Auto => comparing <= budget * COMPARING_SHARE,
        Compare::Waiting => true,
        Compare::After => false,
    };
    let seconds = if ready.whole { Ok(comparing) } else { keys(config, landing, traffic, horizon).await };
    let verdict = seconds.map(|seconds| {
        let pause = latency.p99 + seconds;
        ready.predicted_pause = Some(pause);
        let what = if ready.whole { "every row is compared" } else { "keys and recent rows are compared" };
        let says = format!("writers would wait for about {:.0} ms: the drain, and while {what}", pause * 1e3);
        if pause <= budget {
            Verdict::ok(says)
        } else {
            Verdict::error(
                format!("{says}; that is longer than {budget} s (--max-pause)"),
                "try at a quieter moment, or allow a longer --max-pause",
            )
        }
    });
    ready.findings.add("pause", None, verdict);
}

/// How long the short comparison takes: it is made, without a fence. What it finds of rows in flight says nothing.
async fn keys(config: &Config, landing: &Client, traffic: &Client, horizon: &Horizon) -> Result<f64> {
    let started = std::time::Instant::now();
    for table in config.tables() {
        super::content::prove(landing, traffic, &config.names, table, horizon).await?;
    }
    Ok(started.elapsed().as_secs_f64())
}
