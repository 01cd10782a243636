//! The cutover: Landing stops taking writes, Traffic has everything, and it is proven; or nothing has changed.
//!
//! | step | what makes it true | a crash right after it |
//! |---|---|---|
//! | `started` | a row in `leadbridge.cutover` on Traffic | aborted by the daemon, or by the next command |
//! | `fenced` | one open transaction on Landing holds every writer back | it ends, and writers go on |
//! | `drained` | a marker of that transaction came through the stream | the same |
//! | `verified` | both sides are equal | the same |
//! | closed | that transaction commits: writers are refused | aborted, and the fence lifted; at its deadline the fence opens by itself |
//! | `switched` | one transaction on Traffic | it is switched |
//!
//! The order is what keeps it safe: Landing is closed for good before Traffic says `switched`, so there are never
//! two databases that take writes; and who wants to open Landing again first writes `aborted` on Traffic, so that
//! nobody can switch any more.

mod adopt;
mod backward;
pub mod certificate;
mod content;
mod fence;
mod flowing_back;
mod forward;
mod holders;
mod hook;
pub mod journal;
mod marker;
pub mod readiness;
pub mod resolve;
mod reverse_slot;
mod scene;
mod writers;

use std::time::Duration;

use backward::Backward;
pub use certificate::CutoverCertificate;
use forward::Forward;
use journal::CutoverJournal;
pub use journal::Direction;
pub use marker::Latency;
use readiness::Readiness;
use scene::Scene;

use crate::checkpoint::{Finish, Installation};
use crate::config::Config;
use crate::database::{Session, Side};
use crate::doctor::Level;
use crate::error::{Error, Result};
use crate::traffic::TriggerControl;

/// What the operator asks for.
#[derive(Clone, Debug)]
pub struct CutoverOptions {
    pub readiness: readiness::ReadinessTerms,
    /// From the beginning to the decision. What is not decided by then is aborted.
    pub timeout: Duration,
    /// The longest that a writer may wait behind an attempt to lock the tables that fails.
    pub lock_timeout: Duration,
    pub hook: Option<String>,
    /// How long Traffic refuses writers after a rollback.
    pub refuse_for: Duration,
}

/// A cutover or rollback that may begin: both databases, the right to decide, and what was found.
pub struct PreparedCutover {
    pub readiness: Readiness,
    direction: Direction,
    landing: Session,
    traffic: Session,
}

/// Looks at every condition; changes nothing, but brings to its end what an earlier cutover did not live to end.
///
/// # Errors
/// Refused when another command is in the middle of one; those of databases that cannot be reached.
pub async fn prepare(
    config: &Config,
    options: &CutoverOptions,
    direction: Direction,
) -> Result<PreparedCutover> {
    let landing = config.landing.connect("cutover").await?;
    let traffic = config.traffic.connect("cutover").await?;
    for (session, side) in [(&traffic, Side::Traffic), (&landing, Side::Landing)] {
        Installation::refuse_another(session, config, side).await?;
    }
    Finish::refuse(&traffic, &config.names).await?;
    take_the_right(config, &traffic).await?;
    resolve::settle(&landing, &traffic, &config.names).await?;
    let terms = &options.readiness;
    let readiness = match direction {
        Direction::Cutover => readiness::forward::examine(config, terms, &landing, &traffic).await,
        Direction::Rollback => readiness::backward::examine(config, terms, &landing, &traffic).await,
    };
    Ok(PreparedCutover { direction, readiness, landing, traffic })
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
/// Why it was aborted. Everything is as it was then, or the message says what is still to be undone, and by whom.
pub async fn execute(
    config: &Config,
    options: &CutoverOptions,
    prepared: PreparedCutover,
) -> Result<CutoverCertificate> {
    let PreparedCutover { direction, readiness, landing, traffic } = prepared;
    if !readiness.is_ready() {
        let errors = readiness.findings.findings.iter().filter(|finding| finding.level == Level::Error);
        let messages: Vec<&str> = errors.map(|finding| finding.message.as_str()).collect();
        return Err(Error::refused(format!("not ready: {}", messages.join("; "))).remedy("try a --dry-run"));
    }
    let control = TriggerControl::probe(&traffic).await?;
    let scene = |landing, traffic| Scene::new(config, options, direction, landing, traffic);
    match direction {
        Direction::Cutover => Forward { scene: scene(landing, traffic), readiness }.run().await,
        Direction::Rollback => {
            // Most of it now, so that writers wait for the little that is left.
            let rewrite = adopt::all(&landing, &traffic, config, control).await?;
            let (scene, refuse_for) = (scene(landing, traffic), options.refuse_for);
            Backward { scene, readiness, control, rewrite, refuse_for }.run().await
        }
    }
}
