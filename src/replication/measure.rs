//! The monitor's figures of the running stream, in either direction, and the states of the source that must end
//! the stream.

use std::time::Duration;

use tokio_postgres::Client;

use super::monitor::Sessions;
use super::progress::StreamPosition;
use super::reverse::LandingPublished;
use super::{Context, Watched, WatchedReverse};
use crate::checkpoint::{Reverse, check_published_since};
use crate::error::{Error, Kind, Result};
use crate::landing::catalog;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;
use crate::postgres::slot::SlotState;
use crate::postgres::{slot, synchronous, wal};
use crate::quarantine::ReverseQuarantine;
use crate::telemetry::{ReverseReport, SlotReport, State};

/// Time for the stream to reach a position that was just sampled. Less than the interval between two rounds.
const SETTLE: Duration = Duration::from_millis(300);

/// The server that is streamed from.
#[derive(Clone, Copy)]
struct Source<'s> {
    client: &'s Client,
    side: Side,
    slot: &'s str,
}

/// Measures the lag of the stream from `side`, and reports the slots. During reverse replication Landing's
/// slot is still reported.
pub async fn stream(context: &Context, sessions: &mut Sessions, side: Side) -> Result<()> {
    let names = context.names();
    let slot_name = names.slot_on(side);
    let running = match side {
        Side::Landing => State::Streaming,
        Side::Traffic => State::Switched,
    };
    let client = sessions.on(context, side).await?;
    let source = Source { client, side, slot: &slot_name };
    let sample = wal::sample(client).await?;
    let slot = slot::read(client, &slot_name).await?;
    let reverse = match side {
        Side::Landing => None,
        Side::Traffic => {
            Some((ReverseQuarantine::new(names).count(client).await?, Reverse::read(client, names).await?))
        }
    };
    check_published(context, source).await?;
    check_synchronous(context, source, sample.flushed).await?;
    let unused = context.telemetry.live().state == running && slot.as_ref().is_some_and(|slot| !slot.active);
    sessions.saw_slot(context, side, unused);
    let standing = settled(context, sample.flushed).await;
    let applied = Some(standing.applied()).filter(|lsn| *lsn > Lsn::ZERO);
    let lag = applied.map(|_| standing.lag(&sample));
    let (lag_bytes, lag_seconds) = (lag.map(|lag| lag.bytes), lag.map(|lag| lag.seconds));
    let Some((quarantined, recorded)) = reverse else {
        report_landing(context, sample.flushed, slot);
        context.telemetry.update(|live| {
            (live.lag_bytes, live.lag_seconds) = (lag_bytes, lag_seconds);
            (live.applied_lsn, live.reverse) = (applied, None);
        });
        return Ok(());
    };
    let reverse = ReverseReport {
        active: slot.as_ref().is_some_and(|slot| slot.active),
        retained_bytes: slot.as_ref().map(|slot| slot.retained_bytes),
        safe_bytes: slot.as_ref().and_then(|slot| slot.safe_bytes),
        limit_bytes: slot.as_ref().and_then(|slot| slot.limit_bytes),
        wal_status: slot.and_then(|slot| slot.position.wal_status),
        slot: slot_name,
        applied_lsn: applied,
        lag_bytes,
        lag_seconds,
        quarantined: Some(quarantined),
        new_slot_since: recorded.as_ref().and_then(|reverse| text(reverse.new_slot_since)),
        new_slot_made_at: recorded.as_ref().and_then(|reverse| text(reverse.new_slot_made_at)),
        landing_publication: context.telemetry.live().reverse.and_then(|before| before.landing_publication),
    };
    context.telemetry.update(|live| {
        (live.lag_bytes, live.lag_seconds) = (lag_bytes, lag_seconds);
        live.reverse = Some(reverse);
    });
    let landing = sessions.on(context, Side::Landing).await?;
    let flushed = wal::sample(landing).await?.flushed;
    report_landing(context, flushed, slot::read(landing, &names.slot).await?);
    look_at_landings_publication(context, landing).await
}

fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// Reports during reverse replication what a rollback would be refused for. A state that is right again ends
/// the attempt, and the next attempt records the state.
async fn look_at_landings_publication(context: &Context, landing: &Client) -> Result<()> {
    let watched = context.watched();
    let Some(Watched::Traffic(WatchedReverse { landing: Some(recorded), .. })) = &watched else {
        return Ok(());
    };
    let found =
        LandingPublished::read(context, Database::landing(landing, context.names()), recorded).await?;
    let altered = match found {
        LandingPublished::AsRecorded => None,
        LandingPublished::RightAgain(_) => {
            if context.watched() == watched {
                let what = "what Landing publishes has changed, and is right: it is recorded";
                context.progress.abandon(Error::new(Kind::Transient, what));
            }
            None
        }
        LandingPublished::Altered(what) => {
            Some(format!("{what}: a rollback is refused until it is right again"))
        }
    };
    context.telemetry.update(|live| {
        let Some(reverse) = &mut live.reverse else { return };
        if let Some(what) = altered.as_ref().filter(|_| reverse.landing_publication != altered) {
            tracing::warn!("{what}; `leadbridge doctor` and `leadbridge migrate` put Landing right");
        }
        reverse.landing_publication = altered;
    });
    Ok(())
}

fn report_landing(context: &Context, flushed: Lsn, slot: Option<SlotState>) {
    let slot = slot.map(|slot| SlotReport {
        name: context.names().slot.clone(),
        active: slot.active,
        wal_status: slot.position.wal_status,
        retained_bytes: Some(slot.retained_bytes),
        safe_bytes: slot.safe_bytes,
        limit_bytes: slot.limit_bytes,
    });
    context.telemetry.update(|live| {
        live.landing_lsn = Some(flushed);
        live.slot = slot;
    });
}

/// Position of the stream, after a moment to reach the sampled position. On an idle server the stream reaches
/// the position at once, so the lag is 0 whatever other tables write.
async fn settled(context: &Context, sampled: Lsn) -> StreamPosition {
    let mut standing = context.progress.subscribe();
    let reached = standing.wait_for(|standing| standing.applied() >= sampled);
    let _ = tokio::time::timeout(SETTLE, reached).await;
    context.progress.standing()
}

/// Abandons the stream if the source's publication or tables have changed. The stream does not report tables
/// or rows that it leaves out, but the catalog does.
async fn check_published(context: &Context, source: Source<'_>) -> Result<()> {
    let watched = context.watched();
    let cause = match (&watched, source.side) {
        (Some(Watched::Landing(before)), Side::Landing) => {
            let landing = Database::landing(source.client, context.names());
            let now = catalog::published_since(landing, &context.tables, before).await?;
            if now == *before {
                return Ok(());
            }
            now.check_successor_of(before).err().unwrap_or_else(|| {
                // The next attempt records the new state.
                Error::new(Kind::Transient, "the tables on Landing were altered, and no row with them")
            })
        }
        (Some(Watched::Traffic(WatchedReverse { traffic: before, .. })), Side::Traffic) => {
            let traffic = Database::traffic(source.client, context.names());
            match check_published_since(traffic, &context.tables, before).await {
                Ok(now) if now == *before => return Ok(()),
                // The next attempt records the new state.
                Ok(_) => {
                    Error::new(Kind::Transient, "the tables on Traffic were altered, and no row with them")
                }
                Err(error) if error.kind() == Kind::Refused => error,
                Err(error) => return Err(error),
            }
        }
        _ => return Ok(()),
    };
    // A new attempt may have begun during the query, with the new state already recorded.
    if context.watched() == watched {
        context.progress.abandon(cause);
    }
    Ok(())
}

/// Abandons the stream if the server counts the stream among its synchronous standbys. The server's list may
/// be changed at any time. Commits that already wait for the stream are released before the stream ends.
async fn check_synchronous(context: &Context, source: Source<'_>, flushed: Lsn) -> Result<()> {
    let Source { client, side, slot } = source;
    let watched = context.watched();
    let Some(names) = synchronous::listed(client, slot).await?.filter(|_| watched.is_some()) else {
        return Ok(());
    };
    context.progress.hurry();
    synchronous::release(client, slot, flushed).await?;
    // A new attempt may have begun during the query, and each attempt reads the list at its start.
    if context.watched() == watched {
        context.progress.abandon(synchronous::refusal(side, &names));
    }
    Ok(())
}
