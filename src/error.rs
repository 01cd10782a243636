//! One error, and the one place that says what an error means for the daemon.
//!
//! An [`Error`] says what went wrong, at which step, and what to do about it. It never holds a row's values or
//! a password: of a server's error only the SQLSTATE and the primary message are kept, and the message of
//! class 22 (data exceptions) is cut before the value that it quotes.

use std::error::Error as StdError;
use std::fmt;

use tokio_postgres::error::SqlState;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong. [`Error::response`] turns it into what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line or the configuration is wrong.
    Usage,
    /// A database cannot be reached: name lookup, connect, a connection that broke.
    Unreachable,
    /// A database answered with an error that goes away by itself: restart, deadlock, full disk.
    Transient,
    /// A database, the state directory or the two positions are not as they must be; an operator decides.
    Refused,
    /// One row's values were not accepted (SQLSTATE classes 22, 23, 54 and P0, and what a trigger
    /// raises with a code of its own). The row goes to quarantine.
    Row,
    /// Something that should not happen: a protocol violation, a broken invariant.
    Internal,
}

/// What the daemon does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Try again with backoff, for as long as it takes.
    Retry,
    /// Stop and tell the operator what to do.
    AskOperator,
    /// Stop: carrying on could lose or invent data.
    Halt,
}

/// An error with its source, its place and its remedy.
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

    /// What the operator should do about it: an imperative sentence.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Keeps the cause for `{:?}` and [`StdError::source`]; it must hold no row values and no password.
    pub fn source_error(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Puts what was being done in front of the message.
    pub fn context(mut self, step: impl fmt::Display) -> Self {
        self.message = format!("{step}: {}", self.message);
        self
    }

    /// From a statement on a database that was reached before. `step` says what was being done, and where.
    pub fn database(step: impl fmt::Display, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) if db.routine() == Some(RAISE) => Self::raised(step, db.code().clone()),
            Some(db) => {
                let error = Self::server(step, db.code().clone(), db.message());
                match db.where_().and_then(|place| remedy_within(db.code(), place)) {
                    Some(remedy) => error.remedy(remedy),
                    None => error,
                }
            }
            // Not an answer of the server: the connection broke, or an answer made no sense.
            None if error.is_closed() || has_io_source(error) => {
                Self::unreachable(format!("{step}: the connection broke ({error})"))
            }
            None => Self::internal(format!("{step}: {error}")),
        }
    }

    /// From an error answer of a server, by its SQLSTATE and primary message.
    pub fn server(step: impl fmt::Display, code: SqlState, message: &str) -> Self {
        let message = without_values(&code, message);
        Error {
            kind: kind_of(&code),
            message: format!("{step}: {message} (SQLSTATE {})", code.code()),
            remedy: remedy_for(&code).map(str::to_owned),
            sqlstate: Some(code),
            source: None,
        }
    }

    /// From a `RAISE` of a trigger or function. Its words may hold anything, also somebody's name; and a SQLSTATE of
    /// the school's own says no more than P0001 does: this row is not wanted.
    fn raised(step: impl fmt::Display, code: SqlState) -> Self {
        let error = Self::server(step, code, RAISED);
        match error.kind {
            Kind::Internal => Error { kind: Kind::Row, ..error },
            _ => error,
        }
    }

    /// From the replication transport, which carries a server's error only as text.
    pub fn replication(step: impl fmt::Display, error: &pgwire_replication::PgWireError) -> Self {
        use pgwire_replication::PgWireError as E;
        match error {
            E::Io(_) | E::Task(_) => Self::unreachable(format!("{step}: {error}")),
            E::Auth(message) => Self::refused(format!("{step}: {message}"))
                .remedy("check user and password in the database's URL"),
            E::Tls(message) => tls_error(format!("{step}: {message}")),
            E::Server(text) => {
                let code = text
                    .split_once("SQLSTATE ")
                    .and_then(|(_, rest)| rest.get(..5))
                    .map_or(SqlState::INTERNAL_ERROR, SqlState::from_code);
                let message = text.split(" (SQLSTATE").next().unwrap_or(text);
                Self::server(step, code, message)
            }
            other => Self::internal(format!("{step}: {other}")),
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

    /// What the daemon does about it. What is not known halts.
    pub fn response(&self) -> Response {
        match self.kind {
            Kind::Unreachable | Kind::Transient => Response::Retry,
            Kind::Usage | Kind::Refused => Response::AskOperator,
            Kind::Row | Kind::Internal => Response::Halt,
        }
    }
}

/// The server's routine behind PL/pgSQL's `RAISE`, which an error answer names.
const RAISE: &str = "exec_stmt_raise";

/// Instead of a trigger's own words.
const RAISED: &str = "refused by a trigger or function";

/// A TLS failure: the peer is not who it should be, or does not speak TLS. Retrying does not help.
pub(crate) fn tls_error(message: String) -> Error {
    Error::refused(message)
        .remedy("check sslmode and sslrootcert in the database URL, and the server's certificate")
}

/// The kind of a server's error. Unknown codes are [`Kind::Internal`], which halts.
fn kind_of(code: &SqlState) -> Kind {
    let code = code.code();
    match code {
        // Authentication and privileges; missing objects; a wrong type; read-only because of a setting.
        "28000" | "28P01" | "3D000" | "42501" | "42P01" | "42703" | "42704" | "42883" | "42804" | "428C9"
        | "3F000" => Kind::Refused,
        // A prerequisite is missing: wal_level, slot of another kind or invalidated, object exists already.
        "55000" | "42710" | "42P07" | "0A000" => Kind::Refused,
        // Held by someone else at the moment: a lock, a slot in use, too many connections.
        "55006" | "55P03" | "53000" | "53100" | "53200" | "53300" | "53400" => Kind::Transient,
        // Serialization, deadlock; a standby or a server in recovery; an operator cancelled the statement.
        "40001" | "40P01" | "25006" | "57014" => Kind::Transient,
        // Shutdown, crash, start-up, idle timeouts, terminated by an administrator.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Kind::Transient,
        _ => match code.get(..2) {
            Some("08") => Kind::Unreachable,
            Some("58") => Kind::Transient,
            // Data exceptions, constraints, what a row is too large or too deep for (an index entry, say), and what a
            // trigger in PL/pgSQL did not like.
            Some("22" | "23" | "54" | "P0") => Kind::Row,
            _ => Kind::Internal,
        },
    }
}

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
        "53100" => "free disk space on that server; the daemon carries on by itself",
        "53300" => "raise max_connections there or close idle sessions; the daemon carries on by itself",
        _ => return None,
    })
}

/// What helps when something is missing not in our statement but in a function of that database which it called,
/// a trigger's say: our `search_path` is empty, as that of PostgreSQL's own apply worker is. `place` is the answer's
/// context; it may quote statements with their values, so no more than the function's name is taken from it.
fn remedy_within(code: &SqlState, place: &str) -> Option<String> {
    // Of what is missing, that which is looked for along the search_path.
    if !matches!(code.code(), "42P01" | "42883" | "42704") {
        return None;
    }
    let plpgsql =
        place.lines().find_map(|line| line.strip_prefix("PL/pgSQL function ")?.split_once(" line "));
    let name = match plpgsql {
        Some((signature, _)) if !signature.contains('"') => signature,
        // A server that speaks another language names the language all the same.
        _ if place.contains("PL/") || place.contains("SQL function") => "…",
        _ => return None,
    };
    Some(format!(
        "it was missed inside a trigger or function of that database ({name}), which runs under an empty search_path: \
         qualify the names in it, or ALTER FUNCTION {name} SET search_path = public; then start again"
    ))
}

/// Class 22 messages quote the value that was refused, and a trigger's own words may hold anything: cut it off,
/// for it may be somebody's name.
fn without_values<'m>(code: &SqlState, message: &'m str) -> &'m str {
    match code.code() {
        "P0001" | "P0004" => RAISED,
        code if code.starts_with("22") => message.split(": \"").next().unwrap_or(message),
        _ => message,
    }
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
mod tests {
    use super::*;

    #[test]
    fn every_sqlstate_has_one_response_and_the_unknown_halts() {
        let table = [
            ("08006", Response::Retry),
            ("40001", Response::Retry),
            ("40P01", Response::Retry),
            ("53100", Response::Retry),
            ("55006", Response::Retry),
            ("57P01", Response::Retry),
            ("57P03", Response::Retry),
            ("58030", Response::Retry),
            ("28P01", Response::AskOperator),
            ("42501", Response::AskOperator),
            ("42P01", Response::AskOperator),
            ("55000", Response::AskOperator),
            ("XX001", Response::Halt),
            ("ZZZZZ", Response::Halt),
        ];
        for (code, response) in table {
            let error = Error::server("step", SqlState::from_code(code), "message");
            assert_eq!(error.response(), response, "{code}");
        }
    }

    #[test]
    fn a_data_exception_is_a_matter_of_one_row_and_shows_no_value() {
        let text = "invalid input syntax for type uuid: \"Айгерим +7 701\"";
        let error = Error::server("apply", SqlState::INVALID_TEXT_REPRESENTATION, text);
        assert_eq!(error.kind(), Kind::Row);
        assert!(!error.to_string().contains("Айгерим"));
        assert!(error.to_string().contains("22P02"));
    }

    #[test]
    fn what_a_trigger_raises_is_a_matter_of_one_row_whatever_its_code_and_its_words_stay_there() {
        for code in ["P0001", "23514", "SCH01", "XX000"] {
            let error = Error::raised("apply", SqlState::from_code(code));
            assert_eq!(error.kind(), Kind::Row, "{code}");
            assert_eq!(error.message(), format!("apply: refused by a trigger or function (SQLSTATE {code})"));
        }
        let known = Error::raised("apply", SqlState::from_code("40001"));
        assert_eq!(known.response(), Response::Retry, "what the code says comes first");
        assert_eq!(Error::server("apply", SqlState::from_code("P0002"), "no rows").kind(), Kind::Row);
    }

    #[test]
    fn what_a_function_misses_is_mended_in_that_function() {
        let place = "SQL statement \"INSERT INTO audit VALUES ('Айгерим')\"\n\
                     PL/pgSQL function public.audit_lead() line 3 at SQL statement";
        let remedy = remedy_within(&SqlState::UNDEFINED_TABLE, place).unwrap();
        assert!(remedy.contains("ALTER FUNCTION public.audit_lead() SET search_path"), "{remedy}");
        assert!(!remedy.contains("Айгерим"));
        for place in ["SQL function \"note\" statement 1", "функция PL/pgSQL f(), строка 3, оператор SQL"]
        {
            let remedy = remedy_within(&SqlState::UNDEFINED_FUNCTION, place).unwrap();
            assert!(remedy.contains("ALTER FUNCTION … SET search_path"), "{remedy}");
        }
        assert_eq!(remedy_within(&SqlState::UNDEFINED_TABLE, "unnamed portal parameter $1"), None);
        assert_eq!(remedy_within(&SqlState::UNIQUE_VIOLATION, place), None);
    }

    #[test]
    fn the_replication_transport_keeps_the_sqlstate() {
        let wire = pgwire_replication::PgWireError::Server(
            "replication slot \"x\" is active for PID 7 (SQLSTATE 55006)".into(),
        );
        assert_eq!(Error::replication("start", &wire).response(), Response::Retry);
    }
}
