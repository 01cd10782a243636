//! A database that can be connected to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgwire_replication::ReplicationConfig;
use postgres_protocol::escape::escape_identifier;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::SslMode as DriverSslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::Side;
use super::failure::{self, Attempt};
use super::session::{Session, start_options};
use super::tls::{SeenCertificate, Tls, default_root};
use super::url::{self, Address, Host};
use crate::error::{Error, Kind, Result};

/// Where one of the two databases is and how to log in. Printing it shows host, port, database and user only.
#[derive(Clone)]
pub struct Endpoint {
    side: Side,
    address: Address,
    tls: Tls,
    /// A message of the stream was longer than [`LONGEST_READ_AHEAD`]. Of all clones.
    reads_alone: Arc<AtomicBool>,
}

/// How often the transport confirms positions to the server, and tells it that it is alive. Well below any
/// `wal_sender_timeout` in use: while Traffic is slow and the queue is full, this is all that the server hears of us.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// Messages that the transport reads ahead, which bounds them by number alone. What is to be applied is collected
/// elsewhere.
const READ_AHEAD: usize = 8;
/// The longest of these messages, in bytes: so the bound is 16 MiB. A longer one ends the stream, and from then on one
/// message is read at a time.
const LONGEST_READ_AHEAD: usize = 2 << 20;

impl Endpoint {
    /// Reads a libpq URL.
    ///
    /// # Errors
    /// `Usage` for a URL that makes no sense or a root certificate that is not there; `Refused` for a pooler that
    /// cannot do the job. None shows the password.
    pub fn parse(side: Side, url: &SecretString) -> Result<Self> {
        let address = url::parse(side, url)?;
        refuse_poolers(side, &address.hosts)?;
        let tls =
            Tls::resolve(address.ssl_mode, address.root_certificate.as_ref(), default_root().as_deref())
                .map_err(|error| error.context(side.variable()))?;
        Ok(Endpoint { side, address, tls, reads_alone: Arc::default() })
    }

    pub fn side(&self) -> Side {
        self.side
    }

    pub fn user(&self) -> &str {
        &self.address.user
    }

    pub fn database(&self) -> &str {
        &self.address.database
    }

    /// How long connecting may take.
    pub fn connect_timeout(&self) -> Duration {
        self.address.connect_timeout
    }

    /// `host:port`, several with commas between them.
    pub fn hosts(&self) -> String {
        self.address.hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(",")
    }

    /// Connects and pins the session's settings. `purpose` is shown to the DBA: `leadbridge <purpose>` is the
    /// session's `application_name`.
    ///
    /// # Errors
    /// `Unreachable` when no host answers, `Refused` for a wrong password, name or certificate, `Transient` when
    /// the server is starting or full; each with what to do.
    pub async fn connect(&self, purpose: &str) -> Result<Session> {
        self.connect_seeing(purpose, &SeenCertificate::default()).await
    }

    /// A session that writes to the replicated tables: those of the daemon, and of a repair or retry. A fence of ours may
    /// stand around them, after a rollback for a while, and lets our own sessions pass that say so.
    ///
    /// # Errors
    /// Those of [`Endpoint::connect`].
    pub async fn connect_to_write(&self, purpose: &str) -> Result<Session> {
        let session = self.connect(purpose).await?;
        let passing = session.batch_execute("SET leadbridge.passes_fence = 'on'").await;
        passing
            .map_err(|error| Error::database(format!("preparing to write to the {}", self.side), &error))?;
        Ok(session)
    }

    /// Tries the hosts in their order; the first error that another host cannot mend ends it.
    async fn connect_seeing(&self, purpose: &str, seen: &SeenCertificate) -> Result<Session> {
        let mut failed = None;
        for host in &self.address.hosts {
            match self.connect_host(host, purpose, seen).await {
                Ok(session) => return Ok(session),
                Err(error) if matches!(error.kind(), Kind::Unreachable | Kind::Transient) => {
                    failed = Some(error)
                }
                Err(error) => return Err(error),
            }
        }
        // A URL without a host is refused when it is read, so there was an error.
        Err(failed.unwrap_or_else(|| Error::internal(format!("{}: no host to connect to", self.side))))
    }

    async fn connect_host(&self, host: &Host, purpose: &str, seen: &SeenCertificate) -> Result<Session> {
        let attempt = Attempt { side: self.side, host, user: self.user(), database: self.database() };
        let tls = MakeRustlsConnect::new(self.tls.client_config(seen)?);
        let config = self.driver_config(host, purpose);
        // The driver's own limit ends with the TCP handshake; a server that accepts and then says nothing must
        // not hold us either. Resolving a name has the same limit this way.
        let limit = self.address.connect_timeout;
        let connect = async {
            let (client, connection) =
                config.connect(tls).await.map_err(|e| failure::explain(&attempt, &e))?;
            // Its error also reaches every statement that waits for an answer, so none is lost here.
            let task = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
            Session::pin(client, task, host.clone()).await.map_err(|e| failure::explain(&attempt, &e))
        };
        match tokio::time::timeout(limit, connect).await {
            Ok(result) => result,
            Err(_) => Err(failure::timed_out(&attempt, limit)),
        }
    }

    fn driver_config(&self, host: &Host, purpose: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&host.name)
            .port(host.port)
            .user(&self.address.user)
            .dbname(&self.address.database)
            .application_name(format!("leadbridge {purpose}"))
            .ssl_mode(self.driver_ssl_mode(host))
            .channel_binding(self.address.channel_binding)
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

    /// As with libpq, `sslmode` says nothing about a Unix socket.
    fn driver_ssl_mode(&self, host: &Host) -> DriverSslMode {
        match &self.tls {
            _ if host.is_socket() => DriverSslMode::Disable,
            Tls::Off => DriverSslMode::Disable,
            Tls::Preferred => DriverSslMode::Prefer,
            Tls::Required | Tls::Chain(_) | Tls::Full(_) => DriverSslMode::Require,
        }
    }

    /// A message of the stream was too long to be read ahead with others: the next stream reads one at a time.
    pub fn read_alone(&self) {
        self.reads_alone.store(true, Ordering::Relaxed);
    }

    /// What the replication transport needs, with the same meaning of TLS and the same pinned settings.
    ///
    /// It opens an ordinary session first when only the server can tell something: which of several hosts answers,
    /// and, for `verify-ca`, what name its certificate is made out to.
    ///
    /// # Errors
    /// Those of [`Endpoint::connect`]; `Refused` for a certificate without a name.
    pub async fn replication(&self, slot: &str, publication: &str) -> Result<ReplicationConfig> {
        let mut host = self.address.hosts.first().cloned();
        let mut certificate_name = None;
        if self.address.hosts.len() > 1 || matches!(self.tls, Tls::Chain(_)) {
            let seen = SeenCertificate::default();
            let session = self.connect_seeing("probe", &seen).await?;
            certificate_name = seen.matching_name(&session.host().name);
            host = Some(session.host().clone());
            session.close().await;
        }
        let host = host.ok_or_else(|| Error::internal(format!("{}: no host to connect to", self.side)))?;
        let tls = self.replication_tls(&host, certificate_name)?;
        Ok(self.replication_config(host, slot, publication).with_tls(tls))
    }

    fn replication_config(&self, host: Host, slot: &str, publication: &str) -> ReplicationConfig {
        let password = self.address.password.as_ref().map_or("", |password| password.expose_secret());
        let options = match &self.address.options {
            Some(own) => format!("{own} {}", start_options()),
            None => start_options(),
        };
        // The transport puts both into the command as they are. Not quoted, a publication's name would be folded to
        // lower case: the server says nothing, and nothing of ours is in its stream.
        let (slot, publication) = (escape_identifier(slot), escape_identifier(publication));
        let alone = self.reads_alone.load(Ordering::Relaxed);
        ReplicationConfig::new(host.name, self.user(), password, self.database(), slot, publication)
            .with_port(host.port)
            .with_status_interval(STATUS_INTERVAL)
            .with_wakeup_interval(STATUS_INTERVAL)
            .with_buffer_size(if alone { 1 } else { READ_AHEAD })
            .with_max_message_size(if alone { usize::MAX } else { LONGEST_READ_AHEAD })
            .with_application_name(crate::landing::synchronous::STREAM_NAME)
            .with_options(options)
    }

    fn replication_tls(
        &self,
        host: &Host,
        certificate_name: Option<String>,
    ) -> Result<pgwire_replication::TlsConfig> {
        if host.is_socket() {
            return Ok(Tls::Off.replication(""));
        }
        let name = match (&self.tls, certificate_name) {
            (Tls::Chain(_), None) => {
                return Err(Error::refused(format!(
                    "{} at {host}: the server's certificate holds no DNS name, and the replication connection \
                     needs one",
                    self.side
                ))
                .remedy("give the server a certificate with a subject alternative name, or use \
                     sslmode=require without sslrootcert"));
            }
            (Tls::Chain(_), Some(name)) => name,
            _ => host.name.clone(),
        };
        Ok(self.tls.replication(&name))
    }
}

fn refuse_poolers(side: Side, hosts: &[Host]) -> Result<()> {
    let direct = "use the direct connection, db.<project>.supabase.co:5432 (it is IPv6 unless the project has \
                  bought the IPv4 add-on)";
    for host in hosts.iter().filter(|host| !host.is_socket()) {
        let pooler = host.name.contains("pooler.");
        match side {
            Side::Landing if pooler || host.port == 6543 => {
                let message =
                    format!("{side}: {host} is a connection pooler, and replication cannot pass one");
                return Err(Error::refused(message).remedy(format!("in {}, {direct}", side.variable())));
            }
            Side::Traffic if host.port == 6543 => {
                let message = format!(
                    "{side}: {host} is a pooler in transaction mode, which breaks prepared statements and \
                     session settings"
                );
                let remedy =
                    format!("in {}, use the pooler's session mode, port 5432, or {direct}", side.variable());
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

    #[tokio::test]
    async fn the_stream_has_the_same_settings_and_the_same_meaning_of_tls() {
        let endpoint = parse(Side::Landing, "postgresql://u:p@10.0.0.7/d?sslmode=require").unwrap();
        let config = endpoint.replication("slot", "publication").await.unwrap();
        assert_eq!(config.tls.mode, pgwire_replication::SslMode::Require);
        assert_eq!(config.tls.sni_hostname.as_deref(), Some("10.0.0.7"));
        assert_eq!(config.application_name.as_deref(), Some("leadbridge stream"));
        let options = config.options.unwrap();
        assert!(options.contains("-c datestyle=ISO,\\ YMD"), "{options}");
        assert!(options.contains("-c statement_timeout=0"), "{options}");
        assert!(!options.contains("transaction_timeout"), "a server before 17 would refuse it: {options}");
    }
}
