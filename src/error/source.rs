//! The cause that an error keeps: of a server's answer and of a transport's error, only what holds no value.

use std::error::Error as StdError;
use std::{fmt, io};

use tokio_postgres::error::{DbError, SqlState};

use super::answer::ServerAnswer;

/// A server's answer without message, DETAIL, HINT and context, each of which may hold a value.
#[derive(Debug)]
pub struct ServerCause {
    pub sqlstate: SqlState,
    /// `ERROR` or `FATAL`, in the server's language.
    pub severity: String,
    /// The function in the server's source that reports the error.
    pub routine: Option<String>,
    /// `schema.table` of a constraint, of a column, or of a table that the statement names.
    pub table: Option<String>,
    pub constraint: Option<String>,
}

impl ServerCause {
    /// Leaves out the names that a user-defined function may have given.
    pub(super) fn of(db: &DbError) -> Self {
        let answer = ServerAnswer::of(db);
        let constraint = answer.constraint.filter(|_| answer.is_of_server());
        ServerCause {
            sqlstate: db.code().clone(),
            severity: db.severity().to_owned(),
            routine: db.routine().map(str::to_owned),
            table: answer.qualified_table(),
            constraint: constraint.map(str::to_owned),
        }
    }
}

impl fmt::Display for ServerCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity, self.sqlstate.code())?;
        let details = [("routine", &self.routine), ("table", &self.table), ("constraint", &self.constraint)];
        details.iter().try_for_each(|(what, name)| match name {
            Some(name) => write!(f, ", {what} {name}"),
            None => Ok(()),
        })
    }
}

impl StdError for ServerCause {}

/// The transport's error behind a client's error, by its number or kind, without a text of its own.
pub(super) fn transport(error: &tokio_postgres::Error) -> Option<io::Error> {
    let mut cause = error.source();
    let broken = loop {
        match cause?.downcast_ref::<io::Error>() {
            Some(broken) => break broken,
            None => cause = cause?.source(),
        }
    };
    Some(broken.raw_os_error().map_or_else(|| broken.kind().into(), io::Error::from_raw_os_error))
}
