//! Checks of Landing.

use tokio_postgres::Client;

use super::{Outcome, pending_notifications, publication, server, slot, tables, writable};
use crate::admission::{AdmissionScope, Extent};
use crate::config::Config;
use crate::error::Kind;
use crate::fence::left_open;
use crate::language::message;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::primary::system_identifier;
use crate::postgres::replication::STREAM_NAME;
use crate::postgres::role::{self, SessionRole};
use crate::postgres::step::during;
use crate::postgres::{Database, synchronous};
use crate::report::{Findings, Level, Verdict};

pub async fn examine(findings: &mut Findings, client: &Client, config: &Config) {
    let side = Some(Side::Landing);
    let names = &config.names;
    let tables: Vec<String> = config.tables().into_iter().map(|table| names.landing_table(table)).collect();
    findings.add("wal_level", side, wal_level(client).await);
    findings.add("slots", side, free_slots(client, &names.slot).await);
    findings.add("senders", side, free_senders(client).await);
    findings.add("synchronous_standby_names", side, standbys(client, &names.slot).await);
    findings.add("role", side, may_replicate(client).await);
    findings.add("replication_connection", side, replication_connection(config).await);
    if server::open_schemas(findings, client, Side::Landing, &[&names.landing_schema]).await {
        findings.add("privileges", side, privileges(client, &tables).await);
        findings.add("row_security", side, server::row_security(client, &config.landing, &tables).await);
        let replicated = config.tables();
        let scope = AdmissionScope { side: Side::Landing, names, tables: &replicated, extent: Extent::Whole };
        tables::examine(findings, client, scope).await;
        if !config.scheduled_notifications {
            findings.add("notifications", side, pending_notifications(client, config).await);
        }
    }
    findings.add("publication", side, publication::exists(client, &config.names, &config.tables()).await);
    slot::examine(findings, client, config).await;
    findings.add("fence", side, fence(client, config).await);
    findings.add("read_only", side, read_only(client, config).await);
    findings.add("wal_sender_timeout", side, wal_sender_timeout(client).await);
}

/// Puts the names that Landing has into `config`. Without the journey's name the other checks still run, with the
/// names as configured.
pub async fn journey(client: &Client, config: &mut Config) -> Outcome {
    *config = config.resolved(client).await?;
    Ok(Verdict::ok(message!(
        "doctor-landing-journey",
        table = config.names.landing_table(Table::LeadJourney)
    )))
}

async fn wal_level(client: &Client) -> Outcome {
    let level = server::setting(client, "wal_level").await?.unwrap_or_default();
    Ok(if level == "logical" {
        Verdict::ok(message!("doctor-landing-wal-level"))
    } else {
        Verdict::error(
            message!("doctor-landing-wal-level-other", level = level),
            message!("doctor-landing-wal-level-remedy"),
        )
    })
}

async fn free_slots(client: &Client, ours: &str) -> Outcome {
    let sql = "SELECT current_setting('max_replication_slots')::bigint, count(*), \
               COALESCE(bool_or(slot_name::text = $1), false) FROM pg_replication_slots";
    let row = during(client, "counting replication slots").row(sql, &[&ours]).await?;
    let (max, used): (i64, i64) = (row.get(0), row.get(1));
    let message = message!("doctor-landing-slots", used = used, max = max);
    Ok(if row.get(2) {
        Verdict::ok(message!("doctor-landing-including-ours", message = message))
    } else if used < max {
        Verdict::ok(message)
    } else {
        Verdict::error(message, message!("doctor-landing-slots-remedy"))
    })
}

async fn free_senders(client: &Client) -> Outcome {
    let sql = "SELECT current_setting('max_wal_senders')::bigint, count(*), \
               COALESCE(bool_or(application_name = $1), false) FROM pg_stat_replication";
    let row = during(client, "counting WAL senders").row(sql, &[&STREAM_NAME]).await?;
    let (max, used): (i64, i64) = (row.get(0), row.get(1));
    let message = message!("doctor-landing-senders", used = used, max = max);
    Ok(if row.get(2) {
        Verdict::ok(message!("doctor-landing-including-our-sender", message = message))
    } else if used < max {
        Verdict::ok(message)
    } else {
        Verdict::error(message, message!("doctor-landing-senders-remedy"))
    })
}

async fn standbys(client: &Client, slot: &str) -> Outcome {
    synchronous::refuse(client, Side::Landing, slot).await?;
    Ok(Verdict::ok(message!("doctor-landing-standbys")))
}

/// REPLICATION may come from the role's attribute or, on a managed service, from membership in the service's
/// own role.
async fn may_replicate(client: &Client) -> Outcome {
    let role = SessionRole::read(client).await?;
    let user = &role.name;
    Ok(match (role.is_superuser, role.has_replication, role.has_service_replication) {
        (true, ..) => Verdict::ok(message!("doctor-landing-superuser", user = user)),
        (_, true, _) => Verdict::ok(message!("doctor-landing-replication", user = user)),
        (_, _, true) => Verdict::ok(message!("doctor-landing-replication-by-service", user = user)),
        _ => Verdict::error(
            message!("doctor-landing-no-replication", user = user),
            message!("doctor-landing-no-replication-remedy", user = user),
        ),
    })
}

/// Opens a replication connection, to prove conditions that no catalog shows: no pooler in between, the same
/// TLS, and an entry in pg_hba.conf.
async fn replication_connection(config: &Config) -> Outcome {
    let system = system_identifier(&config.landing).await?;
    Ok(Verdict::ok(message!("doctor-landing-replication-connection", system = system)))
}

async fn privileges(client: &Client, tables: &[String]) -> Outcome {
    let missing = role::missing_privileges(client, tables, &["SELECT"]).await?;
    Ok(Verdict::none_of(
        &missing,
        message!("doctor-landing-readable"),
        |list| message!("doctor-privileges-missing", list = list),
        server::privileges_remedy(Side::Landing),
    ))
}

/// A warning and not an error, because replication needs no fence.
async fn fence(client: &Client, config: &Config) -> Outcome {
    let asked = left_open(Database::landing(client, &config.names), config.scheduled_notifications).await;
    Ok(match asked {
        Ok(open) if open.is_empty() => Verdict::ok(message!("doctor-landing-fence")),
        Ok(open) => Verdict::warning(
            message!("doctor-landing-fence-open", tables = open.join(", ")),
            message!("report-migrate"),
        ),
        // Other checks report the missing privilege or function.
        Err(error) if error.kind() == Kind::Refused => {
            Verdict::ok(message!("doctor-landing-fence-not-asked"))
        }
        Err(error) => return Err(error),
    })
}

/// A warning and not an error, because replication only reads on Landing; only a cutover writes there.
async fn read_only(client: &Client, config: &Config) -> Outcome {
    Ok(match writable::writable(client, Side::Landing, &config.names).await {
        Ok(Verdict { level: Level::Error, message, remedy }) => Verdict {
            level: Level::Warning,
            message: message!("doctor-landing-no-cutover", message = message),
            remedy,
        },
        Ok(verdict) => verdict,
        // Other checks report the missing privilege or function.
        Err(error) if matches!(error.kind(), Kind::Refused) => {
            Verdict::ok(message!("doctor-landing-write-not-tried"))
        }
        Err(error) => return Err(error),
    })
}

async fn wal_sender_timeout(client: &Client) -> Outcome {
    let milliseconds = server::number(client, "wal_sender_timeout").await?.unwrap_or(0);
    Ok(match milliseconds {
        // Only wal_sender_timeout ends a half-open connection, because sending into such a connection still
        // succeeds.
        0 => Verdict::warning(
            message!("doctor-landing-sender-timeout-off"),
            message!("doctor-landing-sender-timeout-off-remedy"),
        ),
        limit if limit < 10_000 => Verdict::warning(
            message!("doctor-landing-sender-timeout-short", limit = limit),
            message!("doctor-landing-sender-timeout-short-remedy"),
        ),
        limit => Verdict::ok(message!("doctor-landing-sender-timeout", seconds = limit / 1000)),
    })
}
