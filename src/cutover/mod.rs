//! The cutover: Landing stops taking writes, Traffic has everything, and both are proven. On any failure
//! nothing is changed.
//!
//! | step | condition | effect of a crash right after the step |
//! |---|---|---|
//! | `started` | a row in `leadbridge.cutover` on Traffic | the daemon or the next command aborts the cutover |
//! | `fenced` | one open transaction on Landing blocks every writer | the transaction ends, and writers continue |
//! | `drained` | a marker of the transaction came through the stream | the same |
//! | `verified` | both sides are equal | the same |
//! | closed | the transaction commits: writers are refused | the cutover is aborted and the fence lifted; at the deadline the fence opens by itself |
//! | `switched` | one transaction on Traffic | the cutover stays switched |
//!
//! The order makes the cutover safe. Landing is closed for good before Traffic says `switched`, so there are
//! never two databases that take writes. A process that opens Landing again first writes `aborted` on
//! Traffic, so that no other process can switch any more.

pub mod adopt;
mod backward;
pub mod certificate;
mod content;
mod forward;
mod hook;
pub mod journal;
mod marker;
pub mod readiness;
pub mod resolve;
mod scene;

use std::time::Duration;

use adopt::Adoption;
pub use certificate::CutoverCertificate;
use journal::CutoverJournal;
pub use journal::Direction;
pub use marker::Latency;
use readiness::Readiness;
use scene::Scene;

use crate::checkpoint::{Finish, Installation, ReplicatedSettings};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::postgres::triggers::TriggerControl;
use crate::postgres::{Database, Databases, Session};
use crate::report::Level;

/// Options of a cutover or rollback.
#[derive(Clone, Debug)]
pub struct CutoverOptions {
    pub readiness: readiness::ReadinessTerms,
    /// Time from the beginning to the decision. A cutover that is undecided after this time is aborted.
    pub timeout: Duration,
    /// Longest time for which an unsuccessful attempt to lock the tables may hold up a writer.
    pub lock_timeout: Duration,
    pub hook: Option<String>,
    /// How long Traffic refuses writers after a rollback.
    pub refuse_for: Duration,
}

/// An examined cutover or rollback: sessions on both databases, the right to decide, and the findings.
pub struct PreparedCutover {
    pub readiness: Readiness,
    /// With the names as Landing has them.
    config: Config,
    direction: Direction,
    landing: Session,
    traffic: Session,
}

/// Examines every condition, and changes nothing, except that an interrupted earlier cutover or rollback is
/// resolved.
///
/// # Errors
/// Refused when another installation owns the schema, after `leadbridge finish`, or while another command
/// runs a cutover or rollback; the errors of databases that cannot be reached.
pub async fn prepare(
    config: &Config,
    options: &CutoverOptions,
    direction: Direction,
) -> Result<PreparedCutover> {
    let landing = config.landing.connect("cutover").await?;
    let traffic = config.traffic.connect("cutover").await?;
    for database in [Database::traffic(&traffic, &config.names), Database::landing(&landing, &config.names)] {
        Installation::refuse_another(database, &config.landing).await?;
    }
    Finish::refuse(&traffic, &config.names).await?;
    // After a finish Landing's tables may be gone.
    let config = config.resolved(&landing).await?;
    ReplicatedSettings::new(&config.names, &config.tables(), &config.columns)
        .refuse_other(Database::traffic(&traffic, &config.names))
        .await?;
    take_the_right(&config, &traffic).await?;
    let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
    resolve::settle(databases).await?;
    let terms = &options.readiness;
    let readiness = match direction {
        Direction::Cutover => readiness::forward::examine(&config, terms, databases).await,
        Direction::Rollback => readiness::backward::examine(&config, terms, databases).await,
    };
    Ok(PreparedCutover { config, direction, readiness, landing, traffic })
}

async fn take_the_right(config: &Config, traffic: &Session) -> Result<()> {
    if CutoverJournal::new(&config.names).take_soon(traffic).await? {
        return Ok(());
    }
    Err(Error::refused("another command is in the middle of a cutover or rollback")
        .remedy("wait for it to end; if it is hung, end it: what it has begun is aborted then"))
}

/// Fences, drains, verifies and switches.
///
/// # Errors
/// The reason of the abort. Afterwards everything is as before, or the message says how much was decided, or
/// which changes are still to be undone, and by whom.
pub async fn execute(options: &CutoverOptions, prepared: PreparedCutover) -> Result<CutoverCertificate> {
    if !prepared.readiness.is_ready() {
        let findings = &prepared.readiness.findings.findings;
        let errors = findings.iter().filter(|finding| finding.level == Level::Error);
        let messages: Vec<&str> = errors.map(|finding| finding.message.as_str()).collect();
        return Err(Error::refused(format!("not ready: {}", messages.join("; "))).remedy("try a --dry-run"));
    }
    let config = prepared.config.clone();
    let triggers = TriggerControl::probe(&prepared.traffic).await?;
    let rewrite = match prepared.direction {
        Direction::Cutover => adopt::Rows::new(),
        Direction::Rollback => {
            // Most rows are adopted before the fence, so that writers wait only for the few that are left.
            let PreparedCutover { landing, traffic, .. } = &prepared;
            let databases = Databases { landing, traffic, names: &config.names };
            Adoption { databases, tables: config.tables(), triggers }.all().await?
        }
    };
    let mut scene = Scene::new(&config, options, prepared);
    let done = match scene.run.direction {
        Direction::Cutover => scene.cut_over().await,
        Direction::Rollback => scene.roll_back(triggers, &rewrite).await,
    };
    match done {
        Ok(certificate) => Ok(certificate),
        Err(error) => Err(scene.abort(error).await),
    }
}
