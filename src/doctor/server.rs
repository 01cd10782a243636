//! Requirements that hold for both servers, Landing and Traffic.

use tokio_postgres::Client;

use super::{Outcome, server_log, writable};
use crate::error::{Error, Kind, Result};
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::{Endpoint, role};
use crate::report::{Findings, Verdict};

pub async fn examine(findings: &mut Findings, client: &Client, endpoint: &Endpoint) {
    let side = Some(endpoint.side());
    findings.add("version", side, version(client).await);
    findings.add("primary", side, primary(client, endpoint.side()).await);
    findings.add("server_encoding", side, server_encoding(client).await);
    findings.add("statement_timeout", side, statement_timeout(client).await);
    findings.add("server_log", side, server_log::verdict(client).await);
}

/// A setting of this server, as text with its unit.
pub async fn setting(client: &Client, name: &str) -> Result<Option<String>> {
    let row = during(client, format!("reading the setting {name}"))
        .row("SELECT current_setting($1, true)", &[&name])
        .await?;
    Ok(row.get(0))
}

/// A setting's raw number, in the unit given by pg_settings.
pub async fn number(client: &Client, name: &str) -> Result<Option<i64>> {
    let row = during(client, format!("reading the setting {name}"))
        .row_if_any("SELECT setting::bigint FROM pg_settings WHERE name = $1", &[&name])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

pub async fn connection(client: &Client, endpoint: &Endpoint) -> Outcome {
    let sql = "SELECT s.version, COALESCE(inet_server_addr() <<= ANY ('{127.0.0.0/8,::1}'), true) \
               FROM pg_stat_ssl AS s WHERE s.pid = pg_backend_pid()";
    let row = during(client, "reading the connection's encryption").row_if_any(sql, &[]).await?;
    let encrypted = row.as_ref().and_then(|row| row.get::<_, Option<String>>(0));
    let local = row.is_some_and(|row| row.get::<_, bool>(1));
    let message = message!(
        "doctor-server-connected",
        user = endpoint.user(),
        hosts = endpoint.hosts(),
        database = endpoint.database()
    );
    Ok(match encrypted {
        Some(version) => {
            Verdict::ok(message!("doctor-server-connected-encrypted", message = message, version = version))
        }
        None if local => Verdict::ok(message!("doctor-server-connected-locally", message = message)),
        None => Verdict::warning(
            message!("doctor-server-connected-in-clear", message = message),
            message!("doctor-server-connected-in-clear-remedy"),
        ),
    })
}

async fn version(client: &Client) -> Outcome {
    let number = number(client, "server_version_num").await?.unwrap_or(0);
    let major = number / 10_000;
    Ok(if number >= 150_000 {
        Verdict::ok(Message::verbatim(format!("PostgreSQL {major}")))
    } else {
        Verdict::error(
            message!("doctor-server-version-old", major = major),
            message!("doctor-server-version-old-remedy"),
        )
    })
}

async fn primary(client: &Client, side: Side) -> Outcome {
    let row = during(client, "asking whether the server is a primary")
        .row("SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean", &[])
        .await?;
    // leadbridge only reads on Landing, so read-only transactions do no harm there.
    match (row.get(0), row.get::<_, bool>(1) && side == Side::Traffic) {
        (true, _) => {
            Ok(Verdict::error(message!("doctor-server-standby"), message!("doctor-server-standby-remedy")))
        }
        // Some platforms make transactions read-only on a full disk, and revert the setting once there is
        // room. So the error is transient.
        (false, true) => Err(Error::new(Kind::Transient, "transactions are read-only by default")
            .remedy(writable::read_only_remedy(client).await?)),
        (false, false) => Ok(Verdict::ok(message!("doctor-server-primary"))),
    }
}

async fn server_encoding(client: &Client) -> Outcome {
    let encoding = setting(client, "server_encoding").await?.unwrap_or_default();
    Ok(if encoding == "UTF8" {
        Verdict::ok(message!("doctor-server-encoding"))
    } else {
        Verdict::error(
            message!("doctor-server-encoding-other", encoding = encoding),
            message!("doctor-server-encoding-remedy"),
        )
    })
}

/// For information only: leadbridge's sessions run without limits.
async fn statement_timeout(client: &Client) -> Outcome {
    let row = during(client, "reading statement_timeout")
        .row("SELECT reset_val::bigint FROM pg_settings WHERE name = 'statement_timeout'", &[])
        .await?;
    Ok(Verdict::ok(match row.get::<_, i64>(0) {
        0 => message!("doctor-server-no-statement-timeout"),
        limit => {
            message!("doctor-server-statement-timeout", limit = limit)
        }
    }))
}

/// The verdict on row-level security for tables of one side.
pub async fn row_security(client: &Client, endpoint: &Endpoint, list: &[String]) -> Outcome {
    let hidden = role::hidden_by_rls(client, list).await?;
    let user = endpoint.user();
    Ok(Verdict::none_of(
        &hidden,
        message!("doctor-server-row-security"),
        |list| message!("doctor-server-row-security-hides", list = list),
        message!("doctor-server-row-security-remedy", user = user),
    ))
}

/// Whether the role has USAGE on the schemas; without USAGE no other check gives a result.
pub async fn open_schemas(findings: &mut Findings, client: &Client, side: Side, list: &[&str]) -> bool {
    let closed = role::closed_schemas(client, list).await;
    let open = matches!(&closed, Ok(closed) if closed.is_empty());
    let verdict = closed.map(|closed| {
        let wrong = |list| message!("doctor-server-schemas-closed", list = list);
        Verdict::none_of(&closed, message!("doctor-server-schemas"), wrong, privileges_remedy(side))
    });
    findings.add("schemas", Some(side), verdict);
    open
}

/// The command that prints the role's privileges for the given side, ready to run.
pub fn privileges_remedy(side: Side) -> Message {
    match side {
        Side::Landing => {
            message!("doctor-privileges-landing-remedy")
        }
        Side::Traffic => {
            message!("doctor-privileges-traffic-remedy")
        }
    }
}
