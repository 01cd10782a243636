//! The monitor's figures during reverse replication: the lag is the lag behind Traffic, and Landing's slot is
//! still reported.

use super::monitor::{Sessions, check_synchronous, open, report, settled};
use super::{Context, Watched, reverse};
use crate::error::{Kind, Result};
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::{slot, wal};
use crate::quarantine::ReverseQuarantine;
use crate::telemetry::{ReverseReport, State};

/// Measures one round.
pub async fn reverse(context: &Context, sessions: &mut Sessions) -> Result<()> {
    let (config, names) = (&context.config, &context.config.names);
    let traffic = open(&mut sessions.traffic, &config.traffic).await?;
    let name = names.reverse_slot();
    let sample = wal::sample(traffic).await?;
    let slot = slot::read(traffic, &name).await?;
    let quarantined = ReverseQuarantine::new(names).count(traffic).await?;
    if context.watched() == Some(Watched::Traffic)
        && let Err(error) = reverse::check_published(context, traffic).await
    {
        if error.kind() == Kind::Refused {
            context.progress.abandon(error);
            return Ok(());
        }
        return Err(error);
    }
    check_synchronous(context, traffic, Side::Traffic, &name, sample.flushed).await?;
    let streams = context.telemetry.live().state == State::Switched;
    sessions.saw_slot(context, streams, slot.as_ref().map(|slot| slot.active), "Traffic");
    let standing = settled(context, sample.flushed).await;
    let started = standing.applied() > Lsn::ZERO;
    let lag = started.then(|| standing.lag(&sample));
    let (lag_bytes, lag_seconds) = (lag.map(|lag| lag.bytes), lag.map(|lag| lag.seconds));
    let reverse = ReverseReport {
        slot: name,
        active: slot.as_ref().is_some_and(|slot| slot.active),
        retained_bytes: slot.as_ref().map(|slot| slot.retained_bytes),
        wal_status: slot.and_then(|slot| slot.position.wal_status),
        applied_lsn: started.then_some(standing.applied()),
        lag_bytes,
        lag_seconds,
        quarantined: Some(quarantined),
    };
    context.telemetry.update(|live| {
        (live.lag_bytes, live.lag_seconds) = (lag_bytes, lag_seconds);
        live.reverse = Some(reverse);
    });
    let landing = open(&mut sessions.landing, &config.landing).await?;
    let flushed = wal::sample(landing).await?.flushed;
    let slot = slot::read(landing, &names.slot).await?;
    context.telemetry.update(|live| {
        live.landing_lsn = Some(flushed);
        live.slot = slot.map(|slot| report(&names.slot, slot));
    });
    Ok(())
}
