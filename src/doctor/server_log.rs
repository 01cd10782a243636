//! Whether the server's own log gets values of rows.

use tokio_postgres::Client;

use super::Outcome;
use crate::language::message;
use crate::postgres::step::during;
use crate::report::Verdict;

/// PostgreSQL logs each statement that fails, and with `DETAIL` and `CONTEXT` the refused row: its name, phone
/// and e-mail address. The session's own values count, because a role may have values of its own.
pub(super) async fn verdict(client: &Client) -> Outcome {
    let sql = "SELECT current_setting('log_error_verbosity'), current_setting('log_min_messages'), \
               quote_ident(session_user)";
    let row = during(client, "reading what the server logs").row(sql, &[]).await?;
    let (verbosity, least, role): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    // A role whose errors are not logged at all.
    let is_quiet = matches!(least, "log" | "fatal" | "panic");
    Ok(if verbosity == "terse" || is_quiet {
        Verdict::ok(message!("doctor-log-without-rows"))
    } else {
        Verdict::warning(
            message!("doctor-log-with-rows", verbosity = verbosity),
            message!("doctor-log-with-rows-remedy", role = role),
        )
    })
}
