//! The error type, and the only place that decides how the daemon responds to an error.
//!
//! An [`Error`] names the failure, the step, and the remedy. An error never holds row values or a password:
//! of a server's error, only the SQLSTATE and the primary message are kept, with values removed. A class 22
//! message (data exception) is cut before the quoted value, and the text of a RAISE is replaced.

mod context;

use std::error::Error as StdError;
use std::fmt;

use tokio_postgres::error::SqlState;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of an error. [`Error::response`] turns the kind into the daemon's next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line or the configuration is wrong.
    Usage,
    /// A database cannot be reached: name lookup, connect, a connection that broke.
    Unreachable,
    /// A database answered with an error that passes without an operator: restart, deadlock, full disk.
    Transient,
    /// A database, the state directory or the recorded positions are not as required; an operator decides.
    Refused,
    /// The target refuses a single row: a value was not accepted (data exception, constraint), or a
    /// user-defined function failed or left the row out. The row goes to quarantine.
    Row,
    /// A broken invariant or a protocol violation.
    Internal,
}

/// The daemon's response to an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Retry with backoff, without a limit.
    Retry,
    /// Stop, and show the operator a remedy.
    AskOperator,
    /// Stop, because continuing could lose or invent data.
    Halt,
}

/// An error with source, step and remedy.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    remedy: Option<String>,
    sqlstate: Option<SqlState>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), remedy: None, sqlstate: None, source: None }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Adds the operator's next step: an imperative sentence.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Keeps the cause for `{:?}` and [`StdError::source`]. The cause must not hold row values or a password.
    pub fn source_error(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Replaces the kind, for a caller that knows more than the SQLSTATE says.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Prefixes the message with the step.
    pub fn context(mut self, step: impl fmt::Display) -> Self {
        self.message = format!("{step}: {}", self.message);
        self
    }

    /// From a failed statement on an open session. `step` names the action and the database.
    pub fn database(step: impl fmt::Display, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) if db.routine() == Some(RAISE) => Self::raised(step, db.code().clone()),
            Some(db) => {
                let error = Self::server(step, db.code().clone(), db.message());
                match db.where_().and_then(|place| context::remedy(db.code(), place)) {
                    Some(remedy) => error.remedy(remedy),
                    None => error,
                }
            }
            // The error is not an answer of the server: the connection broke, or an answer could not be
            // decoded.
            None if error.is_closed() || has_io_source(error) => {
                Self::unreachable(format!("{step}: the connection broke ({error})"))
            }
            None => Self::internal(format!("{step}: {error}")),
        }
    }

    /// From a failed statement that writes or deletes rows, or that checks deferred constraints. An error
    /// inside a user-defined function is an error of the row for which the function was called, whatever the
    /// SQLSTATE.
    pub fn writing(step: impl fmt::Display, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) if db.routine() != Some(RAISE) => {
                Self::in_function(&step, db.code(), db.message(), db.where_().unwrap_or_default())
                    .unwrap_or_else(|| Self::database(step, error))
            }
            Some(db) if is_of_a_row(db.code(), db.where_().unwrap_or_default()) => {
                Error { kind: Kind::Row, ..Self::database(step, error) }
            }
            _ => Self::database(step, error),
        }
    }

    /// For a row that a user-defined trigger left out by returning NULL. PostgreSQL reports no error in this
    /// case.
    pub fn skipped(step: impl fmt::Display) -> Self {
        Error {
            sqlstate: Some(SqlState::TRIGGERED_ACTION_EXCEPTION),
            ..Self::new(Kind::Row, format!("{step}: a user-defined trigger left the row out"))
        }
    }

    /// An error of a row inside a user-defined function; `None` for other errors.
    fn in_function(step: impl fmt::Display, code: &SqlState, message: &str, place: &str) -> Option<Self> {
        if !is_of_a_row(code, place) {
            return None;
        }
        let error = Self::server("", code.clone(), message);
        let message = context::without_names(code, message);
        let function = context::function(place).map(|name| format!(", in the user-defined function {name}"));
        Some(Error {
            kind: Kind::Row,
            message: format!("{step}: {message}{} (SQLSTATE {})", function.unwrap_or_default(), code.code()),
            remedy: context::remedy(code, place),
            ..error
        })
    }

    /// Whether leadbridge's empty `search_path` alone may have caused the error: a user-defined function does
    /// not find objects that it names without a schema.
    pub fn may_be_of_search_path(&self) -> bool {
        self.kind == Kind::Row && self.sqlstate.as_ref().is_some_and(context::is_looked_up)
    }

    /// Turns an error of a row into a refusal, for a fault that concerns all rows and that an operator must
    /// repair.
    pub fn into_refused(self) -> Self {
        Error { kind: Kind::Refused, ..self }
    }

    /// Turns an error of a row into a transient error, for a refusal at COMMIT: the refused row is not known,
    /// so the batch is applied again.
    pub fn into_transient(self) -> Self {
        match self.kind {
            Kind::Row => Error { kind: Kind::Transient, ..self },
            _ => self,
        }
    }

    /// From a server's error, by SQLSTATE and primary message.
    pub fn server(step: impl fmt::Display, code: SqlState, message: &str) -> Self {
        let message = context::without_values(&code, message);
        Error {
            kind: kind_of(&code),
            message: format!("{step}: {message} (SQLSTATE {})", code.code()),
            remedy: remedy_for(&code).map(str::to_owned),
            sqlstate: Some(code),
            source: None,
        }
    }

    /// From a `RAISE` of a trigger or function. The text of the RAISE is dropped, because the text may hold a
    /// person's name. A SQLSTATE that the school has invented means the same as P0001: the row is refused.
    fn raised(step: impl fmt::Display, code: SqlState) -> Self {
        let error = Self::server(step, code, context::RAISED);
        match error.kind {
            Kind::Internal => Error { kind: Kind::Row, ..error },
            _ => error,
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message without its remedy.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.sqlstate.as_ref()
    }

    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The daemon's response. Errors of an unknown kind halt the daemon.
    pub fn response(&self) -> Response {
        match self.kind {
            Kind::Unreachable | Kind::Transient => Response::Retry,
            Kind::Usage | Kind::Refused => Response::AskOperator,
            Kind::Row | Kind::Internal => Response::Halt,
        }
    }
}

/// The server's routine for PL/pgSQL's `RAISE`, as named in an error answer.
const RAISE: &str = "exec_stmt_raise";

/// A TLS failure: the peer's certificate is not accepted, or the peer does not speak TLS. A retry does not
/// help.
pub(crate) fn tls_error(message: String) -> Error {
    Error::refused(message)
        .remedy("check sslmode and sslrootcert in the database URL, and the server's certificate")
}

/// The kind of a server's error. Unknown SQLSTATEs are [`Kind::Internal`], which halts the daemon.
fn kind_of(code: &SqlState) -> Kind {
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
fn is_of_a_row(code: &SqlState, place: &str) -> bool {
    let passing = matches!(code.code().get(..2), Some("08" | "40" | "53" | "57" | "58"))
        || matches!(kind_of(code), Kind::Unreachable | Kind::Transient);
    !passing && context::is_user_defined(place)
}

/// `leadbridge doctor` says which of the three limits was reached.
const TOO_MANY: &str = "raise the role's or the database's CONNECTION LIMIT where there is one, or else max_connections, \
                        or close idle sessions; the daemon continues by itself";

fn remedy_for(code: &SqlState) -> Option<&'static str> {
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

fn has_io_source(error: &tokio_postgres::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  what to do: {remedy}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests;
