//! A database to connect to.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::SslMode as DriverSslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::failure::{self, ConnectionAttempt};
use super::place::{Answered, Place, Search};
use super::replication::Replication;
use super::security::Environment;
use super::session::Session;
use super::socket;
use super::tls::{CertificateEnd, Encryption, Tls};
use super::url::{self, Address, Host};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::side::Side;

/// Address and login of Landing or Traffic. Printing an endpoint shows host, port, database and user only.
#[derive(Clone)]
pub struct Endpoint {
    side: Side,
    address: Address,
    tls: Tls,
    answered: Answered,
    certificate_end: CertificateEnd,
}

impl Endpoint {
    /// Parses a libpq URL, with the process's own environment.
    ///
    /// # Errors
    /// Errors of [`Endpoint::parse_in`].
    pub fn parse(side: Side, url: &SecretString) -> Result<Self> {
        let env = |name: &str| {
            let value = std::env::var_os(name)?.to_string_lossy().into_owned();
            Some(value).filter(|value| !value.is_empty())
        };
        Endpoint::parse_in(side, url, &env)
    }

    /// Parses a libpq URL. libpq's variables in `env` state the wishes for security that the URL leaves out.
    /// Beside them, `HOME` and `SSL_CERT_FILE` say where root certificates lie.
    ///
    /// # Errors
    /// `Usage` for an invalid URL, for a missing root certificate, and for a wish for security that leadbridge cannot
    /// honour; `Refused` for a pooler that cannot carry the connection. No error shows the password.
    pub fn parse_in(side: Side, url: &SecretString, env: Environment<'_>) -> Result<Self> {
        let address = url::parse(side, url, env)?;
        refuse_poolers(side, &address.hosts)?;
        let tls = Tls::resolve(&address.security, env).map_err(|error| error.context(side.variable()))?;
        let certificate_end = CertificateEnd::default();
        Ok(Endpoint { side, address, tls, answered: Answered::default(), certificate_end })
    }

    pub fn side(&self) -> Side {
        self.side
    }

    /// A URL that means this endpoint whatever the environment states. The URL holds the password.
    pub fn url(&self) -> SecretString {
        self.address.url()
    }

    pub fn user(&self) -> &str {
        &self.address.user
    }

    pub fn database(&self) -> &str {
        &self.address.database
    }

    /// Time limit for connecting to a single address.
    pub fn connect_timeout(&self) -> Duration {
        self.address.connect_timeout
    }

    /// Until when the certificate is valid that a server of this endpoint has shown last, in seconds since 1970; `None`
    /// before a connection with TLS.
    pub fn certificate_end(&self) -> Option<i64> {
        self.certificate_end.seconds()
    }

    /// `host:port` of every host, separated by commas.
    pub fn hosts(&self) -> String {
        self.address.hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(",")
    }

    /// Connects and pins the session's settings. The session's `application_name` is `leadbridge <purpose>`,
    /// for the DBA to see.
    ///
    /// # Errors
    /// `Unreachable` when no host answers, `Refused` for a wrong password, name or certificate, `Transient`
    /// when the server is starting or full.
    pub async fn connect(&self, purpose: &str) -> Result<Session> {
        let mut search = Search::begin(self, &self.address.hosts, &self.answered);
        while let Some(place) = search.next().await {
            match self.connect_at(&place, purpose).await {
                Ok(session) => {
                    search.found(place);
                    return Ok(session);
                }
                Err(error) => search.failed(error)?,
            }
        }
        Err(search.reason())
    }

    /// Connects a session for writing to the replicated tables: a session of the daemon, of a repair or of a
    /// retry. After a rollback, leadbridge's fence may stand around the tables for a while. The fence admits
    /// a session of leadbridge's own user with `leadbridge.passes_fence = 'on'`.
    ///
    /// # Errors
    /// Errors of [`Endpoint::connect`].
    pub async fn connect_to_write(&self, purpose: &str) -> Result<Session> {
        let session = self.connect(purpose).await?;
        let step = format!("preparing to write to the {}", self.side);
        let passing = session.batch_execute("SET leadbridge.passes_fence = 'on'");
        let late = |_| Error::unreachable(format!("{step}: no answer in time"));
        let passed = tokio::time::timeout(self.connect_timeout(), passing).await.map_err(late)?;
        passed.map_err(|error| Error::database(&step, &error))?;
        Ok(session)
    }

    /// Connects like [`Endpoint::connect`], for a replication session.
    ///
    /// # Errors
    /// Errors of [`Endpoint::connect`].
    pub async fn replicate(&self) -> Result<Replication> {
        let mut search = Search::begin(self, &self.address.hosts, &self.answered);
        while let Some(place) = search.next().await {
            match self.replicate_at(&place).await {
                Ok(session) => {
                    search.found(place);
                    return Ok(session);
                }
                Err(error) => search.failed(error)?,
            }
        }
        Err(search.reason())
    }

    /// Makes the next connection try the hosts in the URL's order, and not first the place that answered
    /// last.
    pub fn begin_with_first_host(&self) {
        self.answered.set(None);
    }

    /// Connects to `place` only, for a caller that asks about the server there.
    ///
    /// # Errors
    /// Errors of [`Endpoint::connect`].
    pub async fn connect_at(&self, place: &Place, purpose: &str) -> Result<Session> {
        let attempt = self.attempt(place);
        let tls = MakeRustlsConnect::new(self.tls.client_config(&place.host.name, &self.certificate_end)?);
        let config = self.driver_config(place, purpose);
        self.in_time(&attempt, async {
            let (client, connection) =
                config.connect(tls).await.map_err(|e| failure::explain(&attempt, &e))?;
            // No error is lost with the task's result, because every statement that waits for an answer
            // receives the error too.
            let task = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
            let pinned = Session::pin(client, task, place.clone(), &format!("leadbridge {purpose}")).await;
            pinned.map_err(|e| failure::explain(&attempt, &e))
        })
        .await
    }

    async fn replicate_at(&self, place: &Place) -> Result<Replication> {
        let attempt = self.attempt(place);
        self.in_time(&attempt, async {
            let socket = socket::open(&attempt, &self.tls, &self.certificate_end).await?;
            Replication::log_in(&attempt, &self.address, socket).await
        })
        .await
    }

    fn attempt<'a>(&'a self, place: &'a Place) -> ConnectionAttempt<'a> {
        ConnectionAttempt { side: self.side, place, user: self.user(), database: self.database() }
    }

    /// Limits connecting as a whole, because the driver's own limit ends with the TCP handshake. A server may
    /// accept the connection and then send nothing.
    async fn in_time<T>(
        &self,
        attempt: &ConnectionAttempt<'_>,
        connecting: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let limit = self.connect_timeout();
        // Boxed, because TLS and login would make every future that connects some 16 kB larger.
        match tokio::time::timeout(limit, Box::pin(connecting)).await {
            Ok(result) => result,
            Err(_) => Err(failure::timed_out(attempt, limit)),
        }
    }

    fn driver_config(&self, place: &Place, purpose: &str) -> tokio_postgres::Config {
        let host = &place.host;
        let mut config = tokio_postgres::Config::new();
        // The certificate must match the name; the connection goes to the address.
        if let Some(address) = place.address {
            config.hostaddr(address);
        }
        config
            .host(&host.name)
            .port(host.port)
            .user(&self.address.user)
            .dbname(&self.address.database)
            .application_name(format!("leadbridge {purpose}"))
            .ssl_mode(self.driver_ssl_mode(host))
            .channel_binding(self.address.security.channel_binding)
            .target_session_attrs(self.address.target_session)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(4)
            .tcp_user_timeout(Duration::from_secs(30));
        if let Some(password) = &self.address.password {
            config.password(password.expose_secret());
        }
        if let Some(options) = &self.address.options {
            config.options(options);
        }
        config
    }

    /// `sslmode` does not apply to a Unix socket, as in libpq.
    fn driver_ssl_mode(&self, host: &Host) -> DriverSslMode {
        match self.tls.encryption() {
            _ if host.is_socket() => DriverSslMode::Disable,
            Encryption::Never => DriverSslMode::Disable,
            Encryption::IfOffered => DriverSslMode::Prefer,
            Encryption::Always => DriverSslMode::Require,
        }
    }
}

fn refuse_poolers(side: Side, hosts: &[Host]) -> Result<()> {
    let direct = || message!("postgres-remedy-direct");
    for host in hosts.iter().filter(|host| !host.is_socket()) {
        let pooler = host.name.contains("pooler.");
        match side {
            Side::Landing if pooler || host.port == 6543 => {
                let message =
                    format!("{side}: {host} is a connection pooler, and replication cannot pass one");
                return Err(Error::refused(message).remedy(message!(
                    "postgres-remedy-no-pooler",
                    variable = side.variable(),
                    direct = direct()
                )));
            }
            Side::Traffic if host.port == 6543 => {
                let message = format!(
                    "{side}: {host} is a pooler in transaction mode, which breaks prepared statements and \
                     session settings"
                );
                let remedy =
                    message!("postgres-remedy-pooler-mode", variable = side.variable(), direct = direct());
                return Err(Error::refused(message).remedy(remedy));
            }
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}@{}/{}", self.side, self.user(), self.hosts(), self.database())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn parse(side: Side, url: &str) -> Result<Endpoint> {
        Endpoint::parse(side, &SecretString::from(url))
    }

    #[test]
    fn printing_an_endpoint_shows_no_password() {
        let endpoint = parse(Side::Traffic, "postgresql://anna:geheim@db:5432/leads").unwrap();
        assert_eq!(endpoint.to_string(), "Traffic DB anna@db:5432/leads");
        assert!(!format!("{endpoint:?}").contains("geheim"));
    }

    #[test]
    fn a_pooler_is_refused_with_the_reason() {
        for (side, url, why) in [
            (Side::Landing, "postgresql://u@h:6543/d", "pooler"),
            (Side::Landing, "postgresql://u@aws-0-eu.pooler.supabase.com:5432/d", "pooler"),
            (Side::Traffic, "postgresql://u@aws-0-eu.pooler.supabase.com:6543/d", "transaction mode"),
        ] {
            let error = parse(side, url).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.to_string().contains(why) && error.remedy_text().is_some(), "{error}");
        }
        assert!(parse(Side::Traffic, "postgresql://u@aws-0-eu.pooler.supabase.com:5432/d").is_ok());
    }
}
