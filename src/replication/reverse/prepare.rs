//! Preparation of reverse replication: checks Traffic's slot for the changes after the recorded position, and
//! the right of this installation to write to Landing.

use super::super::attempt::{AttemptSessions, record_settings};
use super::super::{Context, WatchedReverse};
use super::carry::Carrier;
use super::published::LandingPublished;
use crate::admission::{Bars, admit_both};
use crate::checkpoint::{Ledger, Recorded, Reverse, TrafficNow};
use crate::error::{Error, Result};
use crate::landing::catalog;
use crate::landing::write::{CarriedTransaction, LandingWriter};
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::primary::Primary;
use crate::postgres::timeline::LandingWal;
use crate::postgres::{Database, Databases, Session, primary, slot, synchronous, wal};

/// Prepared reverse stream: the two sessions, and the position that Traffic has recorded.
pub struct PreparedReverse {
    pub(super) traffic: Session,
    pub(super) landing: LandingWriter,
    pub(super) carrier: Carrier,
    pub(super) ledger: Ledger,
    pub(super) reverse: Reverse,
    pub(super) primary: Primary,
    pub watched: WatchedReverse,
    /// The run ends when everything before this position is on Landing.
    pub goal: Option<Lsn>,
}

/// All steps before the stream, which goes on from `recorded`. The caller holds the lease.
///
/// # Errors
/// Refused when Traffic's slot no longer has the changes after the position, when Traffic's publication has
/// left out changes, or when Landing is not fenced.
pub async fn prepare(
    context: &Context,
    sessions: AttemptSessions,
    ledger: Ledger,
    recorded: Option<&Recorded>,
) -> Result<PreparedReverse> {
    let AttemptSessions { control: landing, traffic } = sessions;
    let config = &context.config;
    let names = context.names();
    let reverse = Reverse::read(&traffic, names).await?.ok_or_else(|| {
        Error::refused(
            "Traffic's checkpoint says `switched`, but the position of reverse replication was not written down",
        )
        .remedy(
            message!("replication-remedy-reverse-unknown"),
        )
    })?;
    let system_id = primary::system_identifier(&config.traffic).await?;
    let wal = primary::wal(&traffic, Side::Traffic).await?;
    let primary = Primary { side: Side::Traffic, system_id, timeline: wal.timeline };
    check(context, &traffic, &reverse, &primary).await?;
    let tables = &context.tables;
    let mapping = catalog::mapping(Databases { landing: &landing, traffic: &traffic, names }, tables).await?;
    let on_traffic = Database::traffic(&traffic, names);
    let published = reverse.check_published(on_traffic, tables, &mapping).await?;
    synchronous::refuse(&traffic, Side::Traffic, &reverse.slot).await?;
    admit_both(Databases { landing: &landing, traffic: &traffic, names }, &context.tables, Bars::Cutover)
        .await?;
    ledger.claim(&traffic).await?;
    record_settings(context, &traffic, (&ledger, recorded)).await?;
    if reverse.published.as_ref() != Some(&published) {
        ledger.renew_reverse(&traffic, &published).await?;
    }
    let mut on_landing = recorded.and_then(|recorded| recorded.published.clone());
    let right_again = match &on_landing {
        Some(recorded) => {
            LandingPublished::read(context, Database::landing(&landing, names), recorded).await?
        }
        None => LandingPublished::AsRecorded,
    };
    let landing = LandingWriter::new(landing, (names, &mapping), tables, reverse.cutover_id).await?;
    // Recorded only now, because the writer has proven the fence: without the fence changes may be missing.
    if let LandingPublished::RightAgain(now) = right_again {
        tracing::info!("what Landing publishes has changed behind the fence, is right, and is recorded");
        ledger.renew(&traffic, &now).await?;
        on_landing = Some(now);
    }
    if let Some(carried) = landing.carried() {
        let wal = primary::with_history(wal, &config.traffic, Some(carried.timeline)).await?;
        check_carried(carried, &wal)?;
    }
    let size = (&tables[..], config.batch_bytes);
    let carrier = Carrier::new(on_traffic, &landing, &mapping, size, primary.timeline).await?;
    let watched = WatchedReverse { traffic: published, landing: on_landing };
    Ok(PreparedReverse { traffic, landing, carrier, ledger, reverse, primary, watched, goal: None })
}

/// Checks that Traffic has the last transaction that must not be carried again. Otherwise another transaction of
/// Traffic may have the same position, and would be left out.
fn check_carried(carried: CarriedTransaction, wal: &LandingWal) -> Result<()> {
    let CarriedTransaction { commit, timeline } = carried;
    if wal.has_record(commit, timeline) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "positions contradict each other: Landing has Traffic's changes up to {commit} on timeline {timeline}, which are \
         not in the WAL of this Traffic, on timeline {} at {}",
        wal.timeline, wal.flushed
    ))
    .remedy(
        message!("replication-remedy-traffic-behind"),
    ))
}

pub(super) async fn check(
    context: &Context,
    traffic: &Session,
    reverse: &Reverse,
    primary: &Primary,
) -> Result<()> {
    let slot = slot::read(traffic, &reverse.slot).await?;
    let now = TrafficNow {
        system_id: &primary.system_id,
        database: context.config.traffic.database(),
        flushed: wal::sample(traffic).await?.flushed,
        slot: slot.as_ref().map(|slot| &slot.position),
    };
    reverse.check(now)
}
