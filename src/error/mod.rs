//! The error type, and the only place that decides how the daemon responds to an error.
//!
//! An [`Error`] names the failure, the step, and the remedy, and holds its cause. An error never holds row
//! values or a password. Of a server's error the SQLSTATE and names are kept, and the primary message only
//! where SQLSTATE and origin show that it holds no value ([`ServerAnswer`]); nothing of an error inside a
//! user-defined function is passed on but the function's name.

mod answer;
mod context;
mod source;
mod sqlstate;

use std::error::Error as StdError;
use std::fmt;

pub use answer::ServerAnswer;
use tokio_postgres::error::{DbError, SqlState};

use self::source::ServerCause;
use self::sqlstate::{is_of_a_row, kind_of, remedy_for};
use crate::language::{Language, Message, message};
use crate::model::lsn::Lsn;

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

impl Kind {
    /// The kind's name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Usage => "usage",
            Kind::Unreachable => "unreachable",
            Kind::Transient => "transient",
            Kind::Refused => "refused",
            Kind::Row => "row",
            Kind::Internal => "internal",
        }
    }
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

/// An error with source, place and remedy.
#[derive(Debug)]
pub struct Error(Box<ErrorFacts>);

/// Content of an error, boxed because results are moved more often than errors are made.
#[derive(Debug)]
struct ErrorFacts {
    kind: Kind,
    step: Option<String>,
    message: String,
    remedy: Option<Message>,
    sqlstate: Option<SqlState>,
    table: Option<String>,
    lsn: Option<Lsn>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(ErrorFacts {
            kind,
            step: None,
            message: message.into(),
            remedy: None,
            sqlstate: None,
            table: None,
            lsn: None,
            source: None,
        }))
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
    pub fn remedy(mut self, remedy: Message) -> Self {
        self.0.remedy = Some(remedy);
        self
    }

    /// Keeps the cause for `{:?}` and [`StdError::source`]. The cause must not hold row values or a password.
    pub fn source_error(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// Replaces the kind, for a caller that knows more than the SQLSTATE says.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Says during which step the error happened; an inner step follows the outer one.
    pub fn context(mut self, step: impl fmt::Display) -> Self {
        self.0.step = Some(match self.0.step {
            Some(inner) => format!("{step}: {inner}"),
            None => step.to_string(),
        });
        self
    }

    /// Names the table whose rows were read or written, where the server's answer does not.
    pub fn of_table(mut self, table: impl Into<String>) -> Self {
        self.0.table.get_or_insert_with(|| table.into());
        self
    }

    /// Adds the position in the stream that was being read or applied.
    pub fn at(mut self, lsn: impl Into<Option<Lsn>>) -> Self {
        self.0.lsn = self.0.lsn.or(lsn.into());
        self
    }

    /// From a failed statement on an open session. `step` names the action and the database.
    pub fn database(step: impl fmt::Display, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => Self::answer(step, &ServerAnswer::of(db)).answered(db),
            None => Self::unanswered(step, error),
        }
    }

    /// From a server's error. Its text is kept only where it is known to hold no value of a row. A SQLSTATE
    /// that a RAISE has invented means the same as P0001: the row is refused.
    pub fn answer(step: impl fmt::Display, answer: &ServerAnswer<'_>) -> Self {
        let mut error = Self::server(step, answer.code.clone(), &answer.told());
        if answer.is_in_function() {
            // The SQLSTATE's own remedy is for a statement of leadbridge's.
            error.0.remedy = context::remedy(answer.code, answer.place());
        }
        if answer.text().is_none() {
            error.0.remedy.get_or_insert_with(|| message!("error-server-log"));
        }
        match error.kind() {
            Kind::Internal if answer.is_raised() => error.of_kind(Kind::Row),
            _ => error,
        }
    }

    /// From an error that is not an answer of the server: the connection broke, or an answer could not be
    /// decoded.
    fn unanswered(step: impl fmt::Display, error: &tokio_postgres::Error) -> Self {
        match source::transport(error) {
            Some(broken) => Self::unreachable(format!("the connection broke ({error})"))
                .source_error(broken)
                .context(step),
            None if error.is_closed() => {
                Self::unreachable(format!("the connection broke ({error})")).context(step)
            }
            None => Self::internal(error.to_string()).context(step),
        }
    }

    /// Keeps the server's answer, without values, as the source.
    fn answered(self, db: &DbError) -> Self {
        let answer = ServerCause::of(db);
        match answer.table.clone() {
            Some(table) => self.of_table(table).source_error(answer),
            None => self.source_error(answer),
        }
    }

    /// From a failed statement that writes or deletes rows, or that checks deferred constraints. An error
    /// inside a user-defined function is an error of the row for which the function was called, whatever the
    /// SQLSTATE.
    pub fn writing(step: impl fmt::Display, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => Self::of_row(step, &ServerAnswer::of(db)).answered(db),
            None => Self::unanswered(step, error),
        }
    }

    fn of_row(step: impl fmt::Display, answer: &ServerAnswer<'_>) -> Self {
        let error = Self::answer(step, answer);
        match is_of_a_row(answer.code, answer.place()) {
            true => error.of_kind(Kind::Row),
            false => error,
        }
    }

    /// For a row that a user-defined trigger left out by returning NULL. PostgreSQL reports no error in this
    /// case.
    pub fn skipped(step: impl fmt::Display) -> Self {
        let mut error = Self::new(Kind::Row, "a user-defined trigger left the row out").context(step);
        error.0.sqlstate = Some(SqlState::TRIGGERED_ACTION_EXCEPTION);
        error
    }

    /// Whether leadbridge's empty `search_path` alone may have caused the error: a user-defined function does
    /// not find objects that it names without a schema.
    pub fn may_be_of_search_path(&self) -> bool {
        self.kind() == Kind::Row && self.sqlstate().is_some_and(context::is_looked_up)
    }

    /// Turns an error of a row into a refusal, for a fault that concerns all rows and that an operator must
    /// repair.
    pub fn into_refused(self) -> Self {
        self.of_kind(Kind::Refused)
    }

    /// Turns an error of a row into a transient error, for a refusal at COMMIT: the refused row is not known,
    /// so the batch is applied again.
    pub fn into_transient(self) -> Self {
        match self.kind() {
            Kind::Row => self.of_kind(Kind::Transient),
            _ => self,
        }
    }

    /// As from a server's error with this SQLSTATE. `message` must hold no value of a row: it is made by
    /// leadbridge, or answers an attempt to connect.
    pub fn server(step: impl fmt::Display, code: SqlState, message: &str) -> Self {
        let mut error =
            Self::new(kind_of(&code), format!("{message} (SQLSTATE {})", code.code())).context(step);
        error.0.remedy = remedy_for(&code);
        error.0.sqlstate = Some(code);
        error
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Step and message, without the remedy.
    pub fn message(&self) -> String {
        match &self.0.step {
            Some(step) => format!("{step}: {}", self.0.message),
            None => self.0.message.clone(),
        }
    }

    /// The action that failed, and its database.
    pub fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    /// The table whose rows were read or written.
    pub fn table(&self) -> Option<&str> {
        self.0.table.as_deref()
    }

    /// Position in the stream that was being read or applied.
    pub fn lsn(&self) -> Option<Lsn> {
        self.0.lsn
    }

    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.0.sqlstate.as_ref()
    }

    pub fn remedy_message(&self) -> Option<&Message> {
        self.0.remedy.as_ref()
    }

    /// The remedy in English, for logs and JSON.
    pub fn remedy_text(&self) -> Option<String> {
        self.0.remedy.as_ref().map(Message::to_string)
    }

    /// The error for a reader of this language. What happened stays in English, because it is what the log, the runbook and
    /// the server's documentation say; what to do is translated.
    pub fn in_language(&self, language: Language) -> String {
        let remedy = self.0.remedy.as_ref().map(|remedy| {
            let remedy = message!("error-what-to-do", remedy = remedy);
            format!("\n  {}", remedy.in_language(language))
        });
        self.message() + &remedy.unwrap_or_default()
    }

    /// The daemon's response. Errors of an unknown kind halt the daemon.
    pub fn response(&self) -> Response {
        match self.kind() {
            Kind::Unreachable | Kind::Transient => Response::Retry,
            Kind::Usage | Kind::Refused => Response::AskOperator,
            Kind::Row | Kind::Internal => Response::Halt,
        }
    }
}

/// Tells a refused row apart from the errors that end an attempt.
///
/// # Errors
/// Every error except a refused row.
pub fn row_refusal<T>(outcome: Result<T>) -> Result<std::result::Result<T, Error>> {
    match outcome {
        Err(error) if error.kind() != Kind::Row => Err(error),
        outcome => Ok(outcome),
    }
}

/// A TLS failure: the peer's certificate is not accepted, or the peer does not speak TLS. A retry does not
/// help.
pub(crate) fn tls_error(message: String) -> Error {
    Error::refused(message).remedy(message!("error-remedy-tls"))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_language(Language::English))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests;
