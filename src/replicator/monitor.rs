//! Measures the lag and looks after the figures that only the databases know, about once a second.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Context;
use crate::database::Session;
use crate::error::{Error, Result};
use crate::landing::catalog;
use crate::telemetry::SlotReport;

const INTERVAL: Duration = Duration::from_secs(1);
/// Quarantine and notes are counted less often: they may be large.
const COUNT_EVERY: u32 = 5;
/// How long the stream gets to reach a position that was just sampled. Less than [`INTERVAL`].
const SETTLE: Duration = Duration::from_millis(300);

/// Runs until `stop`. A database that cannot be reached leaves its figures unknown; it never stops the daemon.
pub async fn watch(context: Arc<Context>, stop: CancellationToken) {
    let mut sessions = Sessions::default();
    let mut round = 0;
    loop {
        // Both branches may be dropped: a figure that was not measured is measured in the next round.
        tokio::select! {
            () = stop.cancelled() => return,
            () = observe(&context, &mut sessions, round) => {}
        }
        round += 1;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

#[derive(Default)]
struct Sessions {
    landing: Option<Session>,
    traffic: Option<Session>,
}

async fn observe(context: &Context, sessions: &mut Sessions, round: u32) {
    if let Err(error) = observe_landing(context, &mut sessions.landing).await {
        tracing::debug!("monitor: {error}");
        sessions.landing = None;
        context.telemetry.update(|live| {
            live.lag_bytes = None;
            live.lag_seconds = None;
        });
    }
    if round.is_multiple_of(COUNT_EVERY)
        && let Err(error) = observe_traffic(context, &mut sessions.traffic).await
    {
        tracing::debug!("monitor: {error}");
        sessions.traffic = None;
    }
}

async fn observe_landing(context: &Context, session: &mut Option<Session>) -> Result<()> {
    let client = match session {
        Some(client) => client,
        None => session.insert(context.config.landing.connect("monitor").await?),
    };
    let name = &context.config.names.slot;
    let sample = catalog::sample(client).await?;
    let slot = catalog::slot(client, name).await?;
    // On an idle Landing the stream reaches what was sampled at once, and the lag is 0 whatever others write.
    let mut standing = context.progress.subscribe();
    let reached = standing.wait_for(|standing| standing.applied >= sample.flushed);
    let _ = tokio::time::timeout(SETTLE, reached).await;
    let standing = context.progress.standing();
    let started = standing.applied > crate::lsn::Lsn::ZERO;
    let lag = started.then(|| standing.lag(&sample));
    context.telemetry.update(|live| {
        live.landing_lsn = Some(sample.flushed);
        live.applied_lsn = started.then_some(standing.applied);
        live.lag_bytes = lag.map(|lag| lag.bytes);
        live.lag_seconds = lag.map(|lag| lag.seconds);
        live.slot = slot.map(|slot| SlotReport {
            name: name.clone(),
            active: slot.active,
            wal_status: slot.position.wal_status,
            retained_bytes: Some(slot.retained_bytes),
        });
    });
    Ok(())
}

async fn observe_traffic(context: &Context, session: &mut Option<Session>) -> Result<()> {
    let client = match session {
        Some(client) => client,
        None => session.insert(context.config.traffic.connect("monitor").await?),
    };
    let names = &context.config.names;
    let sql = format!(
        "SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {})",
        names.own("quarantine"),
        names.own("conversion_notes")
    );
    let row =
        client.query_one(&sql, &[]).await.map_err(|error| Error::database("counting quarantine", &error))?;
    context.telemetry.update(|live| {
        live.quarantined = Some(row.get::<_, i64>(0) as u64);
        live.conversion_notes = Some(row.get::<_, i64>(1) as u64);
    });
    Ok(())
}
