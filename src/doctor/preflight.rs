//! The checks before a run.

use std::time::Duration;

use super::{Asking, examine_for};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::report::{Finding, Level};

/// Time limit of the checks, after which a connection of the checks counts as dead.
const LIMIT: Duration = Duration::from_secs(60);

/// Finds everything that would stop the replication, before anything is changed.
///
/// # Errors
/// The first finding that stops a run: refused, or of the kind of the error that prevented a check.
pub async fn preflight(config: &Config) -> Result<()> {
    let examined = tokio::time::timeout(LIMIT, examine_for(Asking::Run, config)).await;
    let late = |_| Error::unreachable("the examination of both databases got no answer");
    let findings = examined.map_err(late)?.findings;
    // Slot and positions are judged by the attempt, because a resync repairs states that a stream must
    // refuse. The limit on sessions is judged by the connections, because a limit that is high enough for a
    // stream may be too low for a copy, and a refused connection is retried.
    let ours = |check: &str| matches!(check, "slot" | "positions" | "connection_limit");
    let stops = |finding: &&Finding| finding.level == Level::Error && !ours(finding.check);
    let errors: Vec<_> = findings.iter().filter(stops).collect();
    // A connection that broke during the checks says nothing about the databases: the attempt is retried.
    let passes = |finding: &&Finding| matches!(finding.hindrance, Some(Kind::Unreachable | Kind::Transient));
    let lasting = errors.iter().find(|finding| !passes(finding));
    let Some(first) = lasting.or(errors.first()) else { return Ok(()) };
    let side = first.side.map(|side| format!("{side}: ")).unwrap_or_default();
    let more = match errors.len() {
        1 => String::new(),
        count => format!(" (and {} more: see `leadbridge doctor`)", count - 1),
    };
    let kind = first.hindrance.filter(|_| passes(first)).unwrap_or(Kind::Refused);
    let error = Error::new(kind, format!("{side}{}{more}", first.message));
    Err(match &first.remedy {
        Some(remedy) => error.remedy(remedy.clone()),
        None => error,
    })
}
