//! Preparation of reverse replication: checks Traffic's slot for the changes after the recorded position, and
//! the right of this installation to write to Landing.

use tokio_postgres::Client;

use super::super::Context;
use super::super::attempt::AttemptSessions;
use super::carry::Carrier;
use crate::admission::{Bars, admit_both};
use crate::checkpoint::{Ledger, Reverse, TrafficNow};
use crate::error::{Error, Result};
use crate::landing::catalog;
use crate::landing::write::{CarriedTransaction, LandingWriter};
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::primary::Primary;
use crate::postgres::publication;
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
    /// The run ends when everything before this position is on Landing.
    pub goal: Option<Lsn>,
}

/// All steps before the stream. The caller holds the lease.
///
/// # Errors
/// Refused when Traffic's slot no longer has the changes after the position, or when Landing is not fenced.
pub async fn prepare(
    context: &Context,
    sessions: AttemptSessions,
    ledger: Ledger,
) -> Result<PreparedReverse> {
    let AttemptSessions { control: landing, traffic } = sessions;
    let config = &context.config;
    let names = context.names();
    let reverse = Reverse::read(&traffic, names).await?.ok_or_else(|| {
        Error::refused(
            "Traffic's checkpoint says `switched`, but the position of reverse replication was not written down",
        )
        .remedy(
            "only `leadbridge cutover` may switch: put the checkpoint back, or restore leadbridge.reverse",
        )
    })?;
    let system_id = primary::system_identifier(&config.traffic).await?;
    let wal = primary::wal(&traffic, Side::Traffic).await?;
    let primary = Primary { side: Side::Traffic, system_id, timeline: wal.timeline };
    check(context, &traffic, &reverse, &primary).await?;
    check_published(context, &traffic).await?;
    synchronous::refuse(&traffic, Side::Traffic, &reverse.slot).await?;
    admit_both(Databases { landing: &landing, traffic: &traffic, names }, &context.tables, Bars::Cutover)
        .await?;
    ledger.claim(&traffic).await?;
    let tables = &context.tables;
    let mapping = catalog::mapping(Databases { landing: &landing, traffic: &traffic, names }, tables).await?;
    let landing = LandingWriter::new(landing, (names, &mapping), tables, reverse.cutover_id).await?;
    if let Some(carried) = landing.carried() {
        let wal = primary::with_history(wal, &config.traffic, Some(carried.timeline)).await?;
        check_carried(carried, &wal)?;
    }
    let on_traffic = Database::traffic(&traffic, names);
    let size = (&tables[..], config.batch_bytes);
    let carrier = Carrier::new(on_traffic, &landing, &mapping, size, primary.timeline).await?;
    Ok(PreparedReverse { traffic, landing, carrier, ledger, reverse, primary, goal: None })
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
        "Traffic was restored to an earlier state, or failed over to a standby that lacked changes: restore the Traffic \
         that has them; Landing may have newer rows",
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

/// Refuses tables without publication, and tables with a row filter, because the stream leaves out their
/// changes silently.
pub async fn check_published(context: &Context, traffic: &Client) -> Result<()> {
    let names = context.names();
    let publication = names.reverse_publication();
    let members = publication::members(traffic, &publication).await?;
    let is_whole =
        |table: &String| members.iter().any(|m| m.is_listed && !m.has_row_filter && m.qualified() == *table);
    let wanted = context.tables.iter().map(|table| names.traffic_table(*table));
    let missing: Vec<String> = wanted.filter(|table| !is_whole(table)).collect();
    match missing.join(", ") {
        missing if missing.is_empty() => Ok(()),
        missing => Err(Error::refused(format!(
            "the publication `{publication}` on Traffic does not hold all rows of {missing}"
        ))
        .remedy(format!(
            "run as the owner: ALTER PUBLICATION \"{publication}\" ADD TABLE {missing}; rows that were written \
             since are replicated when they change again"
        ))),
    }
}
