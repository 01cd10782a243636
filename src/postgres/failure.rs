//! Errors of connecting, in an operator's words, nearly all with a remedy.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use rustls::CertificateError;
use tokio_postgres::error::SqlState;

use super::place::Place;
use super::tls::Refusal;
use super::url::Host;
use crate::error::{Error, Kind, ServerAnswer, tls_error};
use crate::language::{Message, message};
use crate::model::side::Side;

/// Target and user of a connection attempt.
pub struct ConnectionAttempt<'a> {
    pub side: Side,
    pub place: &'a Place,
    pub user: &'a str,
    pub database: &'a str,
}

impl ConnectionAttempt<'_> {
    fn place(&self) -> String {
        format!("{} at {}", self.side, self.place)
    }

    fn unreachable(&self, what: &str) -> Error {
        Error::unreachable(format!("{} {what}", self.place()))
    }

    /// Whether the host is a direct host of Supabase. A direct host has an IPv6 address only, unless the
    /// project pays for IPv4.
    fn is_direct_supabase(&self) -> bool {
        self.place.host.name.ends_with(".supabase.co")
    }
}

/// Translates the driver's error.
pub fn explain(attempt: &ConnectionAttempt<'_>, error: &tokio_postgres::Error) -> Error {
    if let Some(db) = error.as_db_error() {
        return server_said(attempt, &ServerAnswer::of(db));
    }
    if let Some(tls) = cause::<rustls::Error>(error) {
        return tls_failure(attempt, tls);
    }
    let text = chain(error);
    if text.contains("error parsing response") || text.contains("unexpected message") {
        return not_postgresql(attempt);
    }
    if let Some(io) = cause::<io::Error>(error) {
        return io_failure(attempt, io);
    }
    if text.contains("does not support TLS") {
        no_tls(attempt)
    } else if text.contains("password missing") {
        no_password(attempt)
    } else if text.contains("authentication error") {
        authentication(attempt, &text)
    } else if error.is_closed() {
        attempt.unreachable("closed the connection while it was being set up").remedy(server_log())
    } else {
        Error::internal(format!("{}: {text}", attempt.place()))
    }
}

/// The server took longer than `connect_timeout`.
pub fn timed_out(attempt: &ConnectionAttempt<'_>, limit: Duration) -> Error {
    let remedy = if attempt.is_direct_supabase() {
        message!("postgres-remedy-no-answer-supabase")
    } else {
        message!("postgres-remedy-no-answer")
    };
    attempt.unreachable(&format!("did not answer within {} s", limit.as_secs())).remedy(remedy)
}

/// Translates an I/O error of a connection made without the driver: the connection broke before the session
/// was ready.
pub fn broken(attempt: &ConnectionAttempt<'_>, error: &io::Error) -> Error {
    match cause::<rustls::Error>(error) {
        Some(tls) => tls_failure(attempt, tls),
        None => io_failure(attempt, error),
    }
}

pub fn no_tls(attempt: &ConnectionAttempt<'_>) -> Error {
    tls_error(format!("{}: the server does not support TLS", attempt.place()))
        .remedy(message!("postgres-remedy-no-tls"))
}

pub fn no_password(attempt: &ConnectionAttempt<'_>) -> Error {
    Error::refused(format!("{}: the server asks for a password and the URL has none", attempt.place()))
        .remedy(message!(
            "postgres-remedy-no-password",
            user = attempt.user,
            variable = attempt.side.variable()
        ))
}

/// The password exchange failed. `why` does not hold the password.
pub fn authentication(attempt: &ConnectionAttempt<'_>, why: &str) -> Error {
    Error::refused(format!("{}: {why}", attempt.place())).remedy(message!("postgres-remedy-authentication"))
}

pub fn unknown_authentication(attempt: &ConnectionAttempt<'_>) -> Error {
    authentication(attempt, "the server asks for a kind of authentication that leadbridge does not know")
}

pub fn no_name(side: Side, host: &Host) -> Error {
    Error::unreachable(format!("{side}: the name {} cannot be resolved", host.name))
        .remedy(message!("postgres-remedy-no-name", variable = side.variable()))
}

pub fn not_postgresql(attempt: &ConnectionAttempt<'_>) -> Error {
    attempt
        .unreachable("answers, but not as a PostgreSQL server does")
        .remedy(message!("postgres-remedy-not-postgresql"))
}

fn server_log() -> Message {
    message!("postgres-remedy-server-log")
}

/// Translates an error message in answer to the start-up message or to the first statement.
pub fn server_said(attempt: &ConnectionAttempt<'_>, answer: &ServerAnswer<'_>) -> Error {
    let ServerAnswer { code, message, routine, place: inside, .. } = *answer;
    let (place, user, variable) = (attempt.place(), attempt.user, attempt.side.variable());
    // No row has been read or written yet. Values of settings, and what a function says that is called at the
    // start of each session, are left out.
    let error = match inside.is_none() && !code.code().starts_with("22") {
        true => Error::server(&place, code.clone(), message),
        false => Error::answer(&place, answer),
    };
    match code {
        code if *code == SqlState::INVALID_PASSWORD => {
            error.remedy(message!("postgres-remedy-wrong-password", user = user, variable = variable))
        }
        code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            && message.contains("no encryption") =>
        {
            error.remedy(message!("postgres-remedy-tls-wanted", variable = variable))
        }
        code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            error.remedy(message!("postgres-remedy-not-admitted", user = user, database = attempt.database))
        }
        code if *code == SqlState::INVALID_CATALOG_NAME => {
            error.remedy(message!("postgres-remedy-database-name", variable = variable))
        }
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE && message.contains("session_replication_role") => {
            error.remedy(message!("postgres-remedy-replica-role", user = user, database = attempt.database))
        }
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            // The server refuses a session of a database and a replication connection with the same code, each in its own
            // language.
            error.remedy(message!("postgres-remedy-connect-right", database = attempt.database, user = user))
        }
        code if *code == SqlState::TOO_MANY_CONNECTIONS => too_many(attempt, routine, error),
        // A setting in the URL's `options`, or of the role, is invalid.
        code if matches!(code.code().get(..2), Some("22" | "42")) => error
            .of_kind(Kind::Refused)
            .remedy(message!("postgres-remedy-wrong-options", variable = variable, user = user)),
        // No session was made, and nothing more is known: a full pooler says XX000. Connecting again is safe,
        // because nothing can have been lost without a session.
        _ if matches!(error.kind(), Kind::Row | Kind::Internal) => error
            .of_kind(Kind::Unreachable)
            .remedy(message!("postgres-remedy-turned-away", user = user, variable = variable)),
        _ => error,
    }
}

/// Tells the limits apart by the server's function, because the function's name is the same in every
/// language.
fn too_many(attempt: &ConnectionAttempt<'_>, routine: Option<&str>, error: Error) -> Error {
    let (user, database) = (attempt.user, attempt.database);
    match routine {
        Some("InitializeSessionUserId") => {
            error.remedy(message!("postgres-remedy-too-many-of-role", user = user))
        }
        Some("CheckMyDatabase") => {
            error.remedy(message!("postgres-remedy-too-many-in-database", database = database))
        }
        _ => error.remedy(message!("postgres-remedy-too-many")),
    }
}

fn tls_failure(attempt: &ConnectionAttempt<'_>, error: &rustls::Error) -> Error {
    use CertificateError as C;
    let place = attempt.place();
    let variable = attempt.side.variable();
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return tls_error(format!("{place}: the TLS handshake failed ({error})"));
    };
    match certificate {
        C::UnknownIssuer | C::BadSignature => tls_error(format!(
            "{place}: the server's certificate is signed by a CA that sslrootcert does not hold"
        ))
        .remedy(message!("postgres-remedy-unknown-ca", variable = variable)),
        C::NotValidForName | C::NotValidForNameContext { .. } => tls_error(format!(
            "{place}: the server's certificate is made out to another name than {}",
            attempt.place.host.name
        ))
        .remedy(message!("postgres-remedy-other-host", variable = variable)),
        C::Expired | C::ExpiredContext { .. } => {
            tls_error(format!("{place}: the server's certificate has expired"))
                .remedy(message!("postgres-remedy-expired"))
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            tls_error(format!("{place}: the server's certificate is not valid yet"))
                .remedy(message!("postgres-remedy-clock"))
        }
        C::Other(reason) => {
            let error = tls_error(format!("{place}: the server's certificate is not good: {reason}"));
            match reason.0.downcast_ref::<Refusal>() {
                Some(refusal) => error.remedy(refusal.remedy()),
                None => error,
            }
        }
        other => tls_error(format!("{place}: the server's certificate is not good ({other})")),
    }
}

fn io_failure(attempt: &ConnectionAttempt<'_>, error: &io::Error) -> Error {
    let name = &attempt.place.host.name;
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            attempt.unreachable("refused the connection").remedy(message!("postgres-remedy-refused"))
        }
        io::ErrorKind::NotFound if attempt.place.host.is_socket() => {
            attempt.unreachable("is not there: no such socket").remedy(message!("postgres-remedy-no-socket"))
        }
        io::ErrorKind::PermissionDenied if attempt.place.host.is_socket() => attempt
            .unreachable("cannot be opened: permission denied on the socket")
            .remedy(message!("postgres-remedy-socket-closed")),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            let remedy = if attempt.is_direct_supabase() {
                message!("postgres-remedy-no-route-supabase")
            } else {
                message!("postgres-remedy-no-route")
            };
            attempt.unreachable("cannot be reached from this machine's network").remedy(remedy)
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            attempt.unreachable("closed the connection while it was being set up").remedy(server_log())
        }
        io::ErrorKind::InvalidInput if text.contains("dns name") => {
            tls_error(format!("{}: {name} is not a name that a certificate can hold", attempt.place()))
        }
        _ => attempt
            .unreachable(&format!("cannot be reached ({text})"))
            .remedy(message!("postgres-remedy-unreachable")),
    }
}

/// The first cause of type `T`. [`StdError::source`] skips the error inside an `io::Error`, so `get_ref`
/// looks there too.
fn cause<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        let inner = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<T>()) {
            return Some(found);
        }
        next = current.source();
    }
    None
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(current) = next {
        text = format!("{text}: {current}");
        next = current.source();
    }
    text
}
