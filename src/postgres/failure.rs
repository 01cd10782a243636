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
        "check that this machine has IPv6 (the project's direct host has no IPv4 without the add-on), and that \
         the project is not paused"
    } else {
        "check host, port, firewall and security groups; connect_timeout in the URL changes the limit"
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
        .remedy("switch `ssl = on` on the server, or use sslmode=prefer or disable in the URL")
}

pub fn no_password(attempt: &ConnectionAttempt<'_>) -> Error {
    Error::refused(format!("{}: the server asks for a password and the URL has none", attempt.place()))
        .remedy(format!("put the password of user {} into {}", attempt.user, attempt.side.variable()))
}

/// The password exchange failed. `why` does not hold the password.
pub fn authentication(attempt: &ConnectionAttempt<'_>, why: &str) -> Error {
    Error::refused(format!("{}: {why}", attempt.place()))
        .remedy("use SCRAM-SHA-256 (password_encryption) for this user on the server")
}

pub fn unknown_authentication(attempt: &ConnectionAttempt<'_>) -> Error {
    authentication(attempt, "the server asks for a kind of authentication that leadbridge does not know")
}

pub fn no_name(side: Side, host: &Host) -> Error {
    Error::unreachable(format!("{side}: the name {} cannot be resolved", host.name)).remedy(format!(
        "check the host's spelling in {}, this machine's DNS, and that the Supabase project is not paused",
        side.variable()
    ))
}

pub fn not_postgresql(attempt: &ConnectionAttempt<'_>) -> Error {
    attempt
        .unreachable("answers, but not as a PostgreSQL server does")
        .remedy("check host and port; is a proxy, a firewall or another service in between?")
}

fn server_log() -> &'static str {
    "look into the server's log; is a proxy or another service listening on that port?"
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
            error.remedy(format!("correct the password of user {user} in {variable}"))
        }
        code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            && message.contains("no encryption") =>
        {
            error.remedy(format!("use sslmode=require or better in {variable}: the server wants TLS"))
        }
        code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => error.remedy(format!(
            "check that user {user} exists, may log in, and that pg_hba.conf admits it from this machine to \
             database {}",
            attempt.database
        )),
        code if *code == SqlState::INVALID_CATALOG_NAME => {
            error.remedy(format!("correct the database's name in {variable}"))
        }
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE
            && message.contains("session_replication_role") =>
        {
            error.remedy(format!(
                "no cascade of a delete runs under this role's default: run as a superuser ALTER ROLE \"{user}\" RESET \
                 session_replication_role (and ALTER ROLE \"{user}\" IN DATABASE \"{}\" RESET …), or GRANT SET ON \
                 PARAMETER session_replication_role TO \"{user}\"",
                attempt.database
            ))
        }
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            // The server refuses a session of a database and a replication connection with the same code, each in its own
            // language.
            error.remedy(format!(
                "as an administrator: GRANT CONNECT ON DATABASE \"{}\" TO \"{user}\"; where the replication connection is \
                 refused, ALTER ROLE \"{user}\" REPLICATION",
                attempt.database
            ))
        }
        code if *code == SqlState::TOO_MANY_CONNECTIONS => too_many(attempt, routine, error),
        // A setting in the URL's `options`, or of the role, is invalid.
        code if matches!(code.code().get(..2), Some("22" | "42")) => error
            .of_kind(Kind::Refused)
            .remedy(format!("correct the options in {variable}, and the settings of user {user} on that server")),
        // No session was made, and nothing more is known: a full pooler says XX000. Connecting again is safe,
        // because nothing can have been lost without a session.
        _ if matches!(error.kind(), Kind::Row | Kind::Internal) => error.of_kind(Kind::Unreachable).remedy(format!(
            "the server, or a pooler in front of it, turned the connection away: is the pooler full (its pool_size, \
             other clients of its session mode)? Else look into its log, and check user {user} in {variable}"
        )),
        _ => error,
    }
}

/// Tells the limits apart by the server's function, because the function's name is the same in every
/// language.
fn too_many(attempt: &ConnectionAttempt<'_>, routine: Option<&str>, error: Error) -> Error {
    let (user, database) = (attempt.user, attempt.database);
    match routine {
        Some("InitializeSessionUserId") => error.remedy(format!(
            "run as an administrator: ALTER ROLE {user} CONNECTION LIMIT … (`leadbridge doctor` says how many), or \
             close other sessions of that role; the daemon continues by itself"
        )),
        Some("CheckMyDatabase") => error.remedy(format!(
            "run as an administrator: ALTER DATABASE {database} CONNECTION LIMIT …, or close other sessions in that \
             database; the daemon continues by itself"
        )),
        _ => error
            .remedy("raise max_connections there, or close idle sessions; the daemon continues by itself"),
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
        .remedy(format!("name the right CA's file in sslrootcert in {variable}")),
        C::NotValidForName | C::NotValidForNameContext { .. } => tls_error(format!(
            "{place}: the server's certificate is made out to another name than {}",
            attempt.place.host.name
        ))
        .remedy(format!(
            "use in {variable} the host name that the certificate holds; sslmode=verify-ca checks the CA only"
        )),
        C::Expired | C::ExpiredContext { .. } => {
            tls_error(format!("{place}: the server's certificate has expired"))
                .remedy("renew the server's certificate, and check this machine's clock")
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            tls_error(format!("{place}: the server's certificate is not valid yet"))
                .remedy("check this machine's clock")
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
        io::ErrorKind::ConnectionRefused => attempt
            .unreachable("refused the connection")
            .remedy("check that the server runs, listens on that address and port (listen_addresses)"),
        io::ErrorKind::NotFound if attempt.place.host.is_socket() => attempt
            .unreachable("is not there: no such socket")
            .remedy("check the directory in the URL's host parameter, the port, and that the server runs"),
        io::ErrorKind::PermissionDenied if attempt.place.host.is_socket() => attempt
            .unreachable("cannot be opened: permission denied on the socket")
            .remedy("check the permissions of the socket's directory (unix_socket_permissions)"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            let remedy = if attempt.is_direct_supabase() {
                "give this machine IPv6, or buy the project's IPv4 add-on: the direct host is IPv6 only"
            } else {
                "check this machine's network and routes (does the host have an IPv6 address only?)"
            };
            attempt.unreachable("cannot be reached from this machine's network").remedy(remedy)
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            attempt.unreachable("closed the connection while it was being set up").remedy(server_log())
        }
        io::ErrorKind::InvalidInput if text.contains("dns name") => {
            tls_error(format!("{}: {name} is not a name that a certificate can hold", attempt.place()))
        }
        _ => {
            attempt.unreachable(&format!("cannot be reached ({text})")).remedy("check host, port and network")
        }
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
