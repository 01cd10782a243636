//! Checks for conditions that would stop replication: one small function for each check, and a remedy for
//! each finding.
//!
//! No check changes a database. A check that must try a write does so in a transaction and rolls the
//! transaction back.

mod access;
mod columns;
mod connections;
pub mod imports;
mod landing;
mod legacy_names;
mod local;
mod locks;
mod notifications;
mod own_schema;
mod preflight;
mod publication;
mod server;
mod server_log;
mod slot;
pub(crate) mod tables;
mod traffic;
mod writable;

use crate::checkpoint::recorded_state;
use crate::config::Config;
use crate::error::Result;
use crate::landing::left_out::left_out;
use crate::model::side::Side;
use crate::postgres::{Database, Databases, Endpoint, Session};
use crate::report::{Finding, Findings, Level, Verdict};
pub use columns::judge_left_out;
pub use legacy_names::judge_legacy_names;
pub use notifications::pending_notifications;
pub use preflight::preflight;
pub use publication::exists as publication_fits;
pub use server::privileges_remedy;
pub use writable::writable;

/// Who asks for the checks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    Operator,
    /// A run is not stopped by columns that are left out, and asks for the API's rights and for earlier imports
    /// itself, right before a copy. The state directory and the HTTP address of its machine are its own.
    Run,
}

/// Examines this machine and both databases at the same time. A database that cannot be reached gives one
/// finding, and its other checks are left out.
pub async fn examine(config: &Config) -> Findings {
    examine_for(Asking::Operator, config).await
}

async fn examine_for(asking: Asking, config: &Config) -> Findings {
    let (mut findings, landing, mut traffic) =
        tokio::join!(here(asking, config), Box::pin(landing_side(config)), Box::pin(traffic_side(config)));
    let LandingSide { session: landing, config, findings: found } = landing;
    if !traffic.is_finished {
        findings.extend(found);
    }
    findings.extend(std::mem::take(&mut traffic.findings));
    let TrafficSide { session: traffic, state_tables_are_readable, is_finished, .. } = traffic;
    if let (Some(landing), Some(traffic), true) = (&landing, &traffic, state_tables_are_readable) {
        findings.add("positions", None, slot::agreement(landing, traffic, &config).await);
    }
    // A run judges the schema itself, before it asks for these checks.
    for (session, side) in [(&landing, Side::Landing), (&traffic, Side::Traffic)] {
        if let (Some(client), Asking::Operator, false) = (session, asking, is_finished) {
            own_schema::examine(&mut findings, Database { client, side, names: &config.names }).await;
        }
    }
    if let (Some(landing), Some(traffic), Asking::Operator) = (&landing, &traffic, asking) {
        let databases = Databases { landing, traffic, names: &config.names };
        of_landings_catalog(&mut findings, databases, &config).await;
        if !is_finished {
            for side in [Side::Landing, Side::Traffic] {
                let foreign = locks::foreign_holders(databases.on(side)).await;
                findings.add("advisory_locks", Some(side), foreign);
            }
            access::examine(&mut findings, databases, &config).await;
            if copy_is_ahead(traffic, &config).await {
                imports::examine(&mut findings, databases, &config).await;
            }
        }
    }
    for session in [landing, traffic].into_iter().flatten() {
        session.close().await;
    }
    findings
}

/// What follows Landing's catalog. Before the migration no column has a place.
async fn of_landings_catalog(findings: &mut Findings, databases: Databases<'_>, config: &Config) {
    let is_migrated = |finding: &Finding| finding.check == "schema" && finding.level == Level::Ok;
    if findings.findings.iter().any(is_migrated) {
        let left_out = left_out(databases, &config.tables(), &config.columns).await;
        let verdict = left_out.map(|left_out| judge_left_out(&left_out));
        findings.add("left_out_columns", Some(Side::Landing), verdict);
        findings.add(
            "legacy_names",
            Some(Side::Traffic),
            Box::pin(judge_legacy_names(databases, config)).await,
        );
    }
}

/// Whether no copy is complete. Another check reports a checkpoint that cannot be read.
async fn copy_is_ahead(traffic: &Session, config: &Config) -> bool {
    let state = recorded_state(traffic, &config.names).await;
    state.is_ok_and(|state| state.is_none_or(|state| state == "snapshot"))
}

async fn here(asking: Asking, config: &Config) -> Findings {
    let mut findings = Findings::default();
    if asking == Asking::Operator {
        local::examine(&mut findings, config).await;
    }
    findings
}

/// Findings on Landing, and the configuration with the names that Landing has.
struct LandingSide {
    session: Option<Session>,
    config: Config,
    findings: Findings,
}

async fn landing_side(config: &Config) -> LandingSide {
    let mut findings = Findings::default();
    let session = reach(&mut findings, &config.landing).await;
    let mut config = config.clone();
    if let Some(session) = &session {
        server::examine(&mut findings, session, &config.landing).await;
        findings.add("connection_limit", Some(Side::Landing), connections::limit(session, &config).await);
        findings.add("journey", Some(Side::Landing), landing::journey(session, &mut config).await);
        landing::examine(&mut findings, session, &config).await;
    }
    LandingSide { session, config, findings }
}

/// Findings on Traffic, and the facts that decide whether the remaining checks are made.
struct TrafficSide {
    session: Option<Session>,
    /// Whether leadbridge's tables on Traffic could be examined.
    state_tables_are_readable: bool,
    /// Whether the move is finished. Objects that are then missing, on Landing too, were dropped on purpose.
    is_finished: bool,
    findings: Findings,
}

async fn traffic_side(config: &Config) -> TrafficSide {
    let mut findings = Findings::default();
    let session = reach(&mut findings, &config.traffic).await;
    let (mut state_tables_are_readable, mut is_finished) = (false, false);
    if let Some(session) = &session {
        if let Some(end) = traffic::end(session, config).await {
            findings.add("finish", Some(Side::Traffic), Ok(end));
            is_finished = true;
        } else {
            server::examine(&mut findings, session, &config.traffic).await;
            findings.add("connection_limit", Some(Side::Traffic), connections::limit(session, config).await);
            state_tables_are_readable = traffic::examine(&mut findings, session, config).await;
        }
    }
    TrafficSide { session, state_tables_are_readable, is_finished, findings }
}

async fn reach(findings: &mut Findings, endpoint: &Endpoint) -> Option<Session> {
    let session = endpoint.connect("doctor").await;
    let side = Some(endpoint.side());
    match session {
        Ok(session) => {
            findings.add("connection", side, server::connection(&session, endpoint).await);
            Some(session)
        }
        Err(error) => {
            findings.add("connection", side, Err(error));
            None
        }
    }
}

/// A verdict, or the error that prevented the check.
type Outcome = Result<Verdict>;
