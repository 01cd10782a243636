//! What each SQLSTATE means: the kind of the error, and its remedy; pure.

use tokio_postgres::error::SqlState;

use super::{Kind, context};

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

/// `leadbridge doctor` says which of the three limits was reached.
const TOO_MANY: &str = "raise the role's or the database's CONNECTION LIMIT where there is one, or else max_connections, \
                        or close idle sessions; the daemon continues by itself";

pub(super) fn remedy_for(code: &SqlState) -> Option<&'static str> {
    Some(match code.code() {
        "28P01" | "28000" => "check user and password in the database URL, and the server's pg_hba.conf",
        "3D000" => "check the database's name in the URL",
        "42501" => {
            "grant what is missing: `leadbridge doctor` names it, `leadbridge migrate --print --role ROLE` has it ready to run"
        }
        "42P01" | "42703" | "3F000" | "42704" => {
            "run `leadbridge migrate`, and check the schema names in the configuration"
        }
        "42883" | "42804" | "428C9" | "0A000" => {
            "a column was given another type, or is generated now: put it back as `leadbridge migrate` made it, then start \
             again"
        }
        "25006" => {
            "is the server a standby, its disk full, or default_transaction_read_only set? `leadbridge doctor` says which; \
             the daemon continues by itself"
        }
        "53100" => "free disk space on that server; the daemon continues by itself",
        "53300" => TOO_MANY,
        _ => return None,
    })
}
