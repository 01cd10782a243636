//! Whether this role's transactions may write, tried with a write that matches no row and is rolled back.
//!
//! leadbridge never overrides `default_transaction_read_only`, because an administrator has set the
//! parameter, or a platform whose disk is full. Without the check a read-only Landing would be noticed late,
//! because nothing is written there before a cutover.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Verdict;
use crate::error::{Error, Result};
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::step::during;

/// Whether this role can close and lift a fence on the side, and write the cutover's journal.
///
/// # Errors
/// Errors of the write, except the error of a read-only transaction.
pub async fn writable(client: &Client, side: Side, names: &Names) -> Result<Verdict> {
    let lift = format!("SELECT {}(gen_random_uuid())", names.own("lift_fence"));
    let statement = match side {
        Side::Landing => lift,
        Side::Traffic => format!("{lift}; UPDATE {} SET reason = reason WHERE false", names.own("cutover")),
    };
    let step = format!("trying a write on the {side}");
    let tried = client.batch_execute(&format!("BEGIN; {statement}")).await;
    during(client, &step).batch("ROLLBACK").await?;
    match tried {
        Ok(()) => Ok(Verdict::ok(format!("this role may write on the {side}"))),
        Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Ok(Verdict::error(
            format!("transactions of this role on the {side} are read-only: no fence can be closed there"),
            read_only_remedy(client).await?,
        )),
        Err(error) => Err(Error::database(step, &error)),
    }
}

/// The source of `default_transaction_read_only`, and the command that resets the parameter there.
pub(super) async fn read_only_remedy(client: &Client) -> Result<String> {
    let sql = "SELECT s.source, quote_ident(session_user), quote_ident(current_database()) FROM pg_settings AS s \
               WHERE s.name = 'default_transaction_read_only'";
    let row = during(client, "reading default_transaction_read_only").row(sql, &[]).await?;
    let (role, database): (&str, &str) = (row.get(1), row.get(2));
    Ok(match row.get::<_, &str>(0) {
        "user" => format!("run as an administrator: ALTER ROLE {role} RESET default_transaction_read_only"),
        "database user" => format!(
            "run as an administrator: ALTER ROLE {role} IN DATABASE {database} RESET default_transaction_read_only"
        ),
        "database" => format!(
            "is the disk full, or the project paused? Otherwise run as an administrator: ALTER DATABASE {database} \
             RESET default_transaction_read_only"
        ),
        "client" => "take default_transaction_read_only out of the options in the database URL".to_owned(),
        _ => {
            "is the disk full, or the project paused? Otherwise run as an administrator: ALTER SYSTEM RESET \
              default_transaction_read_only, SELECT pg_reload_conf()"
                .to_owned()
        }
    })
}
