//! What would stop a replication: one small function for each check, each finding with its remedy.
//!
//! Nothing is changed on either database. What needs trying is tried in a transaction that is rolled back.

mod finding;
mod landing;
mod local;
mod publication;
mod server;
mod slot;
mod tables;
mod traffic;

use crate::config::Config;
use crate::database::{Endpoint, Session, Side};
use crate::error::Result;
pub use finding::{Finding, Findings, Level, Verdict};

/// Examines this machine and both databases. A database that cannot be reached is one finding, and its other checks
/// are left out.
pub async fn examine(config: &Config) -> Findings {
    let mut findings = Findings::default();
    local::examine(&mut findings, config).await;
    let landing = reach(&mut findings, &config.landing).await;
    let traffic = reach(&mut findings, &config.traffic).await;
    if let Some(session) = &traffic
        && let Some(end) = traffic::end(session, config).await
    {
        // What else is missing was dropped on purpose.
        findings.add("finish", Some(Side::Traffic), Ok(end));
        return findings;
    }
    if let Some(session) = &landing {
        server::examine(&mut findings, session, &config.landing).await;
        landing::examine(&mut findings, session, config).await;
    }
    let mut books_are_open = false;
    if let Some(session) = &traffic {
        server::examine(&mut findings, session, &config.traffic).await;
        books_are_open = traffic::examine(&mut findings, session, config).await;
    }
    if let (Some(landing), Some(traffic), true) = (&landing, &traffic, books_are_open) {
        findings.add("positions", None, slot::agreement(landing, traffic, config).await);
    }
    for session in [landing, traffic].into_iter().flatten() {
        session.close().await;
    }
    findings
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

/// One verdict, or what came in its way.
type Outcome = Result<Verdict>;
