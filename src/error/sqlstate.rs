//! What each SQLSTATE means: the kind of the error, and its remedy; pure.

use tokio_postgres::error::SqlState;

use super::{Kind, context};
use crate::language::{Message, message};

/// The kind of a server's error. Unknown SQLSTATEs are [`Kind::Internal`], which halts the daemon.
pub(super) fn kind_of(code: &SqlState) -> Kind {
    let code = code.code();
    match code {
        // Authentication and privileges; missing objects; a wrong type; a generated column.
        "28000" | "28P01" | "3D000" | "42501" | "42P01" | "42703" | "42704" | "42883" | "42804" | "428C9"
        | "3F000" => Kind::Refused,
        // A missing prerequisite (wal_level, an invalidated slot or a slot of another kind), an object that
        // exists already, an unsupported feature.
        "55000" | "42710" | "42P07" | "0A000" => Kind::Refused,
        // Exhausted or held by another session at the moment: a lock, a slot, connections, memory, disk.
        "55006" | "55P03" | "53000" | "53100" | "53200" | "53300" | "53400" => Kind::Transient,
        // Serialization, deadlock; a read-only session, on a standby for example; a statement cancelled by an
        // operator.
        "40001" | "40P01" | "25006" | "57014" => Kind::Transient,
        // Shutdown, crash, start-up, idle and transaction timeouts, termination by an administrator.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" => Kind::Transient,
        _ => match code.get(..2) {
            Some("08") => Kind::Unreachable,
            Some("58") => Kind::Transient,
            // Data exceptions; constraints; a row that exceeds a program limit, of an index entry for
            // example; errors that PL/pgSQL raises.
            Some("22" | "23" | "54" | "P0") => Kind::Row,
            // A trigger that failed, changed the row of the statement, or broke the trigger protocol; a
            // subquery that returned too many rows; a function that failed; a view's WITH CHECK OPTION.
            Some("09" | "21" | "27" | "2F" | "38" | "39" | "44") => Kind::Row,
            _ => Kind::Internal,
        },
    }
}

/// Whether an error with this context is an error of the row. Faults of the server or the connection are not,
/// although such a fault may happen inside a user-defined function.
pub(super) fn is_of_a_row(code: &SqlState, place: &str) -> bool {
    let passing = matches!(code.code().get(..2), Some("08" | "40" | "53" | "57" | "58"))
        || matches!(kind_of(code), Kind::Unreachable | Kind::Transient);
    !passing && context::is_user_defined(place)
}

pub(super) fn remedy_for(code: &SqlState) -> Option<Message> {
    Some(match code.code() {
        "28P01" | "28000" => message!("error-remedy-login"),
        "3D000" => message!("error-remedy-database-name"),
        "42501" => message!("error-remedy-privilege"),
        "42P01" | "42703" | "3F000" | "42704" => message!("error-remedy-object-missing"),
        "42883" | "42804" | "428C9" | "0A000" => message!("error-remedy-column-type"),
        "25006" => message!("error-remedy-read-only"),
        "53100" => message!("error-remedy-disk-full"),
        // `leadbridge doctor` says which of the three limits was reached.
        "53300" => message!("error-remedy-too-many-connections"),
        _ => return None,
    })
}

/// The meaning of a SQLSTATE in words of our own, for a server's error whose text may hold a value.
pub(super) fn words(code: &SqlState) -> &'static str {
    match code.code() {
        "22001" => "a value is too long for its type",
        "22003" => "a number is out of range",
        "22007" => "a date or time has an invalid format",
        "22008" => "a date or time is out of range",
        "22012" => "division by zero",
        "22021" | "22P05" => "a text has a character that the encoding lacks",
        "22023" => "a parameter has an invalid value",
        "22P02" | "22P03" => "a value does not parse as its type",
        "23502" => "a value is missing",
        "23503" => "a foreign key refuses the row",
        "23505" => "another row has the value of a unique index",
        "23514" => "a check refuses the row",
        "23P01" => "another row excludes the row",
        "42501" => "permission denied",
        "42601" => "a syntax error",
        "42703" => "a column is missing",
        "42704" => "an object is missing",
        "42883" => "a function is missing",
        "42P01" => "a table is missing",
        "40P01" => "a deadlock",
        "53100" => "the disk is full",
        "55P03" => "a lock was not available",
        "57014" => "the statement was cancelled",
        "20000" => "no case was found",
        "P0002" => "no row was found",
        "P0003" => "more than one row was found",
        "P0004" => "an assertion failed",
        code => match code.get(..2) {
            Some("08") => "the connection failed",
            Some("09" | "27" | "38" | "39" | "2F" | "P0") => "a trigger or function failed",
            Some("0A") => "the server does not support the statement",
            Some("21") => "a subquery has returned more than one row",
            Some("22") => "a value was not accepted",
            Some("23") => "a constraint refuses the row",
            Some("25") => "the transaction is in another state",
            Some("28") => "the server does not let the role in",
            Some("40") => "the transaction was rolled back",
            Some("42") => "the statement does not fit the database",
            Some("44") => "the check of a view refuses the row",
            Some("53") => "the server lacks a resource",
            Some("54") => "a limit of the server is exceeded",
            Some("55") => "an object is not in the required state",
            Some("57") => "an operator or the server has intervened",
            Some("58") => "the server met an error of its system",
            Some("XX") => "an internal error of the server",
            _ => "the server reports an error",
        },
    }
}
