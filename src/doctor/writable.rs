//! Whether this role's transactions may write, tried with a write that matches no row and is rolled back.
//!
//! leadbridge never overrides `default_transaction_read_only`, because an administrator has set the
//! parameter, or a platform whose disk is full. Without the check a read-only Landing would be noticed late,
//! because nothing is written there before a cutover.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Verdict;
use crate::error::{Error, Result};
use crate::language::{Message, message};
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
        Ok(()) => Ok(Verdict::ok(message!("doctor-writable", side = side))),
        Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Ok(Verdict::error(
            message!("doctor-writable-read-only", side = side),
            read_only_remedy(client).await?,
        )),
        Err(error) => Err(Error::database(step, &error)),
    }
}

/// The source of `default_transaction_read_only`, and the command that resets the parameter there.
pub(super) async fn read_only_remedy(client: &Client) -> Result<Message> {
    let sql = "SELECT s.source, quote_ident(session_user), quote_ident(current_database()) FROM pg_settings AS s \
               WHERE s.name = 'default_transaction_read_only'";
    let row = during(client, "reading default_transaction_read_only").row(sql, &[]).await?;
    let (role, database): (&str, &str) = (row.get(1), row.get(2));
    Ok(match row.get::<_, &str>(0) {
        "user" => message!("doctor-writable-role-remedy", role = role),
        "database user" => {
            message!("doctor-writable-role-in-database-remedy", role = role, database = database)
        }
        "database" => message!("doctor-writable-database-remedy", database = database),
        "client" => message!("doctor-writable-client-remedy"),
        _ => {
            message!("doctor-writable-system-remedy")
        }
    })
}
