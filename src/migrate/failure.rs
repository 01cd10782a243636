//! Errors of `leadbridge migrate`. Each error of a database is for an operator: another try of the same
//! statement on the same catalog fails in the same way.

use crate::error::{Error, Kind, ServerAnswer};
use crate::language::{Message, message};

/// Letters of a failed statement that an error shows.
const SHOWN: usize = 160;

/// The error of a statement of `step`. The migrations hold no row's value, so the error may show the failed
/// statement, and the text of a RAISE in a migration's own block.
pub(super) fn of_statement(step: &str, error: &tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else { return Error::database(step, error) };
    let answer = ServerAnswer::of(db);
    if is_own_raise(&answer) {
        let refused = Error::refused(db.message()).context(step);
        return match db.hint() {
            // The hint stands in the SQL that `--print` gives to an administrator, too.
            Some(hint) => refused.remedy(Message::verbatim(hint)),
            None => refused,
        };
    }
    match statement(&answer) {
        Some(statement) => Error::database(format!("{step}: {statement}"), error),
        None => Error::database(step, error),
    }
}

/// Whether a RAISE in a DO block of a migration, or in a function of the session, made the error. A user-defined
/// function would stand in the context as well.
fn is_own_raise(answer: &ServerAnswer<'_>) -> bool {
    let in_block = |place: &str| {
        place.starts_with("PL/pgSQL function inline_code_block ")
            || place.starts_with("PL/pgSQL function pg_temp")
    };
    answer.routine == Some("exec_stmt_raise")
        && answer.place.is_some_and(in_block)
        && answer.is_in_own_function()
}

/// The beginning of the statement that a DO block of a migration has executed. The context of such an error
/// begins with the statement. A statement of a user-defined function may hold values.
fn statement(answer: &ServerAnswer<'_>) -> Option<String> {
    let text = answer.place.filter(|_| answer.is_in_own_function())?.strip_prefix("SQL statement \"")?;
    let statement = text.split("\"\nPL/pgSQL function ").next()?;
    let words: Vec<&str> = statement.split_whitespace().collect();
    Some(words.join(" ").chars().take(SHOWN).collect())
}

/// Gives an error of a database the kind and the remedy for an operator.
pub(super) fn for_the_operator(error: Error) -> Error {
    if error.sqlstate().is_none() || matches!(error.kind(), Kind::Unreachable | Kind::Transient) {
        return error;
    }
    // The remedies of other commands for a missing or changed object say: run `leadbridge migrate`.
    let is_known =
        error.sqlstate().is_some_and(|code| matches!(code.code(), "28000" | "28P01" | "3D000" | "42501"));
    let error = error.into_refused();
    if is_known && error.remedy_message().is_some() {
        return error;
    }
    error.remedy(message!("migrate-remedy-step-failed"))
}
