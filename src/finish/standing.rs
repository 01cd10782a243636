//! Checks whether a cutover is settled and may be finished, by the state tables of both sides.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use crate::checkpoint::{Identity, Reverse, check_slot};
use crate::config::Config;
use crate::cutover::journal::CutoverJournal;
use crate::error::{Error, Result};
use crate::fence::pass;
use crate::language::message;
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::{Database, Databases, primary, slot};
use crate::quarantine::ReverseQuarantine;

/// A switched cutover, as Traffic records the cutover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledCutover {
    pub cutover_id: Uuid,
    landing_system_id: String,
    landing_database: String,
    /// Everything that Traffic committed before this position is on Landing.
    pub reverse_applied: Lsn,
    /// A time by Traffic's clock: everything that Traffic committed before is on Landing.
    pub caught_up_at: Option<Timestamp>,
}

impl SettledCutover {
    /// # Errors
    /// Refused when there was no cutover, or when the cutover was rolled back.
    pub async fn read(traffic: Database<'_>) -> Result<Self> {
        let names = traffic.names;
        let (checkpoint, reverse) = (names.own("checkpoint"), names.own("reverse"));
        let sql = format!(
            "SELECT c.state, c.landing_system_id, c.landing_database, r.cutover_id, r.applied_lsn, r.caught_up_at \
             FROM {checkpoint} AS c LEFT JOIN {reverse} AS r ON r.slot = c.slot WHERE c.slot = $1"
        );
        let step = traffic.during("reading the checkpoint on Traffic");
        let row = step.row_if_any(&sql, &[&names.slot]).await?;
        let Some(row) = row else {
            return Err(Error::refused(format!(
                "Traffic has no record of slot `{}`: there was no move",
                names.slot
            ))
            .remedy(message!("finish-remedy-no-move")));
        };
        let state: &str = row.get(0);
        if state != "switched" {
            return Err(Error::refused(format!(
                "the checkpoint of slot `{}` says `{state}`: Traffic has not taken over",
                names.slot
            ))
            .remedy(message!("finish-remedy-cutover-first")));
        }
        let (Some(cutover_id), Some(applied)) = (row.get(3), row.get::<_, Option<PgLsn>>(4)) else {
            return Err(Error::refused(format!("{reverse} has no row for slot `{}`", names.slot))
                .remedy(message!("finish-remedy-no-reverse")));
        };
        Ok(SettledCutover {
            cutover_id,
            landing_system_id: row.get(1),
            landing_database: row.get(2),
            reverse_applied: applied.into(),
            caught_up_at: row.get(5),
        })
    }

    /// Checks the configured Landing: the database must be the one with which the move began, and the slot
    /// there leadbridge's.
    ///
    /// # Errors
    /// Refused when the database or the slot is another.
    pub async fn check_landing(&self, landing: &Client, config: &Config) -> Result<()> {
        let live =
            Identity::new(&config.names, &config.landing, primary::system_identifier(&config.landing).await?);
        if (&live.landing_system_id, &live.landing_database)
            != (&self.landing_system_id, &self.landing_database)
        {
            return Err(Error::refused(format!(
                "{} is not the database that was moved: it is `{}` of cluster {}, Traffic says `{}` of {}",
                config.landing,
                live.landing_database,
                live.landing_system_id,
                self.landing_database,
                self.landing_system_id
            ))
            .remedy(message!("finish-remedy-other-landing")));
        }
        match slot::read(landing, &config.names.slot).await? {
            Some(slot) => check_slot(&live, &slot.position),
            None => Ok(()),
        }
    }

    /// Checks that every cutover and rollback is decided, no row of Traffic is quarantined, and Landing's
    /// fence refuses writes.
    ///
    /// # Errors
    /// Refused, with the matter for an operator to settle first.
    pub async fn check_settled(&self, databases: Databases<'_>, tables: &[Table]) -> Result<()> {
        nothing_undecided(databases.on(Side::Traffic)).await?;
        nothing_quarantined(databases.on(Side::Traffic)).await?;
        self.check_fence(databases.on(Side::Landing), tables).await
    }

    async fn check_fence(&self, landing: Database<'_>, tables: &[Table]) -> Result<()> {
        let sql = format!(
            "SELECT name FROM unnest($2::text[]) AS name WHERE NOT EXISTS ( \
                 SELECT FROM {} AS f, jsonb_array_elements(f.objects) AS o \
                 WHERE f.cutover_id = $1 AND f.lifted_at IS NULL AND f.expires_at IS NULL \
                 AND (o ->> 'relation')::bigint::oid = to_regclass(name))",
            landing.names.own("fence")
        );
        let wanted: Vec<String> = tables.iter().map(|table| landing.table(*table)).collect();
        let step = landing.during("looking at the fence on Landing");
        let open = step.rows(&sql, &[&self.cutover_id, &wanted]).await?;
        if open.is_empty() {
            return pass::refuse_damage(landing, self.cutover_id).await;
        }
        let open: Vec<String> = open.iter().map(|row| row.get(0)).collect();
        Err(Error::refused(format!(
            "no fence of cutover {} stands around {}: Landing may have taken leads that Traffic has not",
            self.cutover_id,
            open.join(", ")
        ))
        .remedy(message!("finish-remedy-open-fence", table = landing.names.own("fence"))))
    }
}

/// Checks that Traffic's publication has sent every change since the switch, because the backup of Landing
/// would lack the others.
///
/// # Errors
/// Refused when the publication leaves out changes, or was altered since the switch.
pub(super) async fn check_published(traffic: Database<'_>, tables: &[Table]) -> Result<()> {
    let Some(reverse) = Reverse::read(traffic.client, traffic.names).await? else { return Ok(()) };
    reverse.check_unaltered(traffic, tables).await
}

async fn nothing_undecided(traffic: Database<'_>) -> Result<()> {
    let unresolved = CutoverJournal::new(traffic.names).unresolved(traffic.client).await?;
    let Some(entry) = unresolved.into_iter().find(|entry| !entry.state.is_decided()) else { return Ok(()) };
    let (direction, state, id) = (entry.direction.as_str(), entry.state, entry.id);
    Err(Error::refused(format!("a {direction} is not decided yet: {id} is `{state}`"))
        .remedy(message!("finish-remedy-undecided", direction = direction)))
}

async fn nothing_quarantined(traffic: Database<'_>) -> Result<()> {
    match ReverseQuarantine::new(traffic.names).count(traffic.client).await? {
        0 => Ok(()),
        rows => Err(Error::refused(format!("{rows} rows of Traffic could not be written to Landing"))
            .remedy(message!("finish-remedy-quarantined", table = traffic.names.own("reverse_quarantine")))),
    }
}
