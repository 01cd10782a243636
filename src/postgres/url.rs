//! Parses and checks a libpq URL. Messages never repeat the URL, because the URL holds a password.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{self, TargetSessionAttrs};

use super::security::{Environment, Security};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::side::Side;

/// A host of the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name, an IP address without brackets, or a directory that holds a Unix socket.
    pub name: String,
    pub port: u16,
    /// `hostaddr`: the address to connect to, in place of a look-up of the name.
    pub address: Option<IpAddr>,
}

impl Host {
    pub fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_socket() {
            write!(f, "{}/.s.PGSQL.{}", self.name, self.port)
        } else if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// Content of a URL.
#[derive(Clone)]
pub struct Address {
    pub hosts: Vec<Host>,
    pub user: String,
    pub password: Option<SecretString>,
    pub database: String,
    pub security: Security,
    pub connect_timeout: Duration,
    /// The operator's own `options`. leadbridge pins its settings after the login, so the pinned settings
    /// win.
    pub options: Option<String>,
    pub target_session: TargetSessionAttrs,
}

impl Address {
    /// A URL that means this address whatever the environment states, in one form for each meaning.
    pub fn url(&self) -> SecretString {
        let list = |part: &dyn Fn(&Host) -> String| self.hosts.iter().map(part).collect::<Vec<_>>().join(",");
        let mut parameters = vec![
            ("host", list(&|host| host.name.clone())),
            ("port", list(&|host| host.port.to_string())),
            ("user", self.user.clone()),
            ("connect_timeout", self.connect_timeout.as_secs().to_string()),
            ("target_session_attrs", word_of(self.target_session).to_owned()),
        ];
        // A user may have an @, which a database that is stated may not.
        if self.database != self.user {
            parameters.push(("dbname", self.database.clone()));
        }
        if self.hosts.iter().any(|host| host.address.is_some()) {
            let address = |host: &Host| host.address.map_or_else(String::new, |address| address.to_string());
            parameters.push(("hostaddr", list(&address)));
        }
        let password = self.password.as_ref().map(|password| password.expose_secret().to_owned());
        parameters.extend(password.map(|password| ("password", password)));
        parameters.extend(self.options.clone().map(|options| ("options", options)));
        parameters.extend(self.security.parameters());
        let pair =
            |(key, value): (&str, String)| format!("{key}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
        let pairs: Vec<String> = parameters.into_iter().map(pair).collect();
        format!("postgresql:///?{}", pairs.join("&")).into()
    }
}

fn word_of(target: TargetSessionAttrs) -> &'static str {
    match target {
        TargetSessionAttrs::ReadWrite => "read-write",
        // Parsing lets no other wish pass.
        _ => "any",
    }
}

/// As long as a person would wait. `connect_timeout` in the URL overrides the limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Parses a URL. What the URL does not state about security, libpq's variables in `env` state. All errors are of the
/// kind `Usage`. An error shows no part of the URL but a parameter's name.
pub fn parse(side: Side, url: &SecretString, env: Environment<'_>) -> Result<Address> {
    let text = url.expose_secret().trim();
    if !text.starts_with("postgresql://") && !text.starts_with("postgres://") {
        return Err(wrong(side, "does not start with postgresql://"));
    }
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    // A ? in the password would make parameters of the rest of the password, and an error would name the
    // parameters.
    if query.contains('@') {
        return Err(wrong(side, "has an @ after its ?: write %3F for a ? in the password, %40 for an @"));
    }
    // tokio-postgres parses the part before the parameters exactly as libpq does: several hosts, IPv6 in
    // brackets, percent-encoding. The parser's errors are dropped, because an error may quote the URL.
    let base: tokio_postgres::Config =
        base.parse().map_err(|_| wrong(side, "has a host, a port or an escape that makes no sense"))?;
    let mut draft = Draft::from_base(&base);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        draft.parameter(side, pair)?;
    }
    let stated = std::mem::take(&mut draft.stated);
    draft.security.complete(side, &stated, env).map_err(|(variable, unfit)| {
        Error::usage(format!("{}: the variable {variable} {unfit}", side.variable()))
            .remedy(message!("postgres-remedy-variable", variable = variable))
    })?;
    draft.finish(side)
}

fn wrong(side: Side, what: impl fmt::Display) -> Error {
    Error::usage(format!("{}: the URL {what}", side.variable())).remedy(message!("postgres-remedy-url"))
}

struct Draft {
    names: Vec<String>,
    ports: Vec<u16>,
    addresses: Vec<Option<IpAddr>>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    security: Security,
    /// The URL's parameters that speak of security.
    stated: Vec<&'static str>,
    connect_timeout: Duration,
    options: Option<String>,
    target_session: TargetSessionAttrs,
}

impl Draft {
    fn from_base(base: &tokio_postgres::Config) -> Self {
        let name = |host: &config::Host| match host {
            config::Host::Tcp(name) => name.clone(),
            config::Host::Unix(path) => path.to_string_lossy().into_owned(),
        };
        Draft {
            names: base.get_hosts().iter().map(name).filter(|name| !name.is_empty()).collect(),
            ports: base.get_ports().to_vec(),
            addresses: Vec::new(),
            user: base.get_user().map(str::to_owned),
            password: base.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            database: base.get_dbname().map(str::to_owned),
            security: Security::default(),
            stated: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            options: None,
            target_session: TargetSessionAttrs::Any,
        }
    }

    fn parameter(&mut self, side: Side, pair: &str) -> Result<()> {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| wrong(side, "has an escape that is not UTF-8"))?.into_owned();
        match key {
            "host" => self.names = value.split(',').map(str::to_owned).collect(),
            "hostaddr" => self.addresses = addresses(side, &value)?,
            "port" => self.ports = ports(side, &value)?,
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "dbname" => self.database = Some(value),
            "connect_timeout" => self.connect_timeout = connect_timeout(side, &value)?,
            "options" => self.options = Some(value),
            "target_session_attrs" => self.target_session = target_session(side, &value)?,
            // Parameters that leadbridge sets itself, or that have no meaning here.
            "application_name"
            | "fallback_application_name"
            | "client_encoding"
            | "keepalives"
            | "keepalives_idle"
            | "keepalives_interval"
            | "keepalives_count"
            | "tcp_user_timeout" => {}
            other => {
                let taken = self.security.take(side, other, &value).map_err(|unfit| {
                    Error::usage(format!("{}: the URL {unfit}", side.variable()))
                        .remedy(message!("postgres-remedy-url-parameter"))
                })?;
                self.stated.push(taken.ok_or_else(|| wrong(side, unknown_parameter(other)))?);
            }
        }
        Ok(())
    }

    fn finish(self, side: Side) -> Result<Address> {
        // The first @ ends the password, so a second @ means: a piece of the password stands in host or
        // database. Refuse the URL before a message shows either.
        if self.names.iter().chain(&self.database).any(|part| part.contains('@')) {
            return Err(wrong(side, "has an @ too many: one in the password must be written %40"));
        }
        let password = self.password.iter();
        let texts =
            self.names.iter().chain(&self.user).chain(&self.database).chain(&self.options).chain(password);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(wrong(side, "holds the escape %00, which PostgreSQL takes nowhere"));
        }
        if self.names.iter().any(|name| name.contains(',')) {
            return Err(wrong(side, "has an escaped comma in a host"));
        }
        let user = self.user.filter(|user| !user.is_empty()).ok_or_else(|| wrong(side, "names no user"))?;
        let database = self.database.filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
        Ok(Address {
            hosts: hosts(side, self.names, &self.ports, &self.addresses)?,
            user,
            password: self.password.map(SecretString::from),
            database,
            security: self.security,
            connect_timeout: self.connect_timeout,
            options: self.options,
            target_session: self.target_session,
        })
    }
}

/// Pairs names, ports and addresses as libpq does: a single port serves all hosts, and no port means 5432.
fn hosts(side: Side, names: Vec<String>, ports: &[u16], addresses: &[Option<IpAddr>]) -> Result<Vec<Host>> {
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(wrong(side, "names no host"));
    }
    if ports.len() > 1 && ports.len() != names.len() {
        return Err(wrong(side, format!("has {} hosts but {} ports", names.len(), ports.len())));
    }
    if !addresses.is_empty() && addresses.len() != names.len() {
        return Err(wrong(side, format!("has {} hosts but {} hostaddr", names.len(), addresses.len())));
    }
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let address = |index: usize| addresses.get(index).copied().flatten();
    let named = names.into_iter().enumerate();
    let hosts: Vec<Host> =
        named.map(|(index, name)| Host { name, port: port(index), address: address(index) }).collect();
    if hosts.iter().any(|host| host.is_socket() && host.address.is_some()) {
        return Err(wrong(side, "has a hostaddr for a directory of sockets"));
    }
    Ok(hosts)
}

/// An empty place in the list leaves that host's address to a look-up of its name.
fn addresses(side: Side, value: &str) -> Result<Vec<Option<IpAddr>>> {
    let wrong = |_| wrong(side, "has a hostaddr that is not an IP address");
    let each = value.split(',').map(|text| Some(text).filter(|text| !text.is_empty()));
    each.map(|text| text.map(|text| text.parse().map_err(wrong)).transpose()).collect()
}

fn ports(side: Side, value: &str) -> Result<Vec<u16>> {
    value
        .split(',')
        .map(|port| port.parse().map_err(|_| wrong(side, "has a port that is not a number")))
        .collect()
}

fn connect_timeout(side: Side, value: &str) -> Result<Duration> {
    let seconds: i64 = value
        .parse()
        .map_err(|_| wrong(side, "has a connect_timeout that is not a valid number of seconds"))?;
    // In libpq, zero and less mean to wait for ever; a daemon must not. The minimum is two seconds, as in
    // libpq.
    Ok(u64::try_from(seconds)
        .ok()
        .filter(|s| *s > 0)
        .map_or(CONNECT_TIMEOUT, |s| Duration::from_secs(s.max(2))))
}

fn target_session(side: Side, value: &str) -> Result<TargetSessionAttrs> {
    match value {
        "any" => Ok(TargetSessionAttrs::Any),
        "read-write" | "primary" => Ok(TargetSessionAttrs::ReadWrite),
        _ => Err(wrong(side, "has a target_session_attrs other than any, read-write and primary")),
    }
}

fn unknown_parameter(key: &str) -> String {
    // A key that does not look like a parameter's name may be a piece of the password.
    let shown =
        if !key.is_empty() && key.len() < 40 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            format!("`{key}`")
        } else {
            "that is not a parameter of libpq".to_owned()
        };
    format!(
        "has a parameter {shown} that leadbridge does not know; it knows sslmode, sslrootcert, host, hostaddr, \
         port, user, password, dbname, connect_timeout, options, target_session_attrs, channel_binding, \
         ssl_min_protocol_version, ssl_max_protocol_version and application_name"
    )
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
