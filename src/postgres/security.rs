//! What an operator has stated about the security of connections: libpq's parameters of a URL, and libpq's variables of
//! the environment, which stand in for parameters that a URL leaves out.
//!
//! Each value is honoured or refused. A value is passed over only where libpq's own meaning of the value asks for
//! nothing.

use std::path::PathBuf;

use tokio_postgres::config::ChannelBinding;

use crate::model::side::Side;

/// Looks up a variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// libpq's `sslmode`. `allow` is left out, because `allow` promises nothing more than `prefer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const SSL_MODES: [(&str, SslMode); 5] = [
    ("disable", SslMode::Disable),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// `sslrootcert` as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificate {
    /// The system's own CA bundle.
    System,
    File(PathBuf),
}

/// A version of TLS that libpq knows. leadbridge speaks the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}

const TLS_VERSIONS: [(&str, TlsVersion); 4] = [
    ("tlsv1", TlsVersion::V1_0),
    ("tlsv1.1", TlsVersion::V1_1),
    ("tlsv1.2", TlsVersion::V1_2),
    ("tlsv1.3", TlsVersion::V1_3),
];

const CHANNEL_BINDINGS: [(&str, ChannelBinding); 3] = [
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

/// The wishes of one URL and its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// `None`: not stated.
    pub ssl_mode: Option<SslMode>,
    pub root_certificate: Option<RootCertificate>,
    /// The oldest and the newest allowed version.
    pub oldest: TlsVersion,
    pub newest: TlsVersion,
    pub channel_binding: ChannelBinding,
    /// Whether the server is told in clear the name that it is reached by (`sslsni`).
    pub names_host: bool,
}

impl Default for Security {
    fn default() -> Self {
        Security {
            ssl_mode: None,
            root_certificate: None,
            oldest: TlsVersion::V1_2,
            newest: TlsVersion::V1_3,
            channel_binding: ChannelBinding::Prefer,
            names_host: true,
        }
    }
}

/// Parameters that say how a connection is secured, each with libpq's variable for its default.
const PARAMETERS: [(&str, &str); 17] = [
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("gssencmode", "PGGSSENCMODE"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslcertmode", "PGSSLCERTMODE"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("sslsni", "PGSSLSNI"),
    ("requirepeer", "PGREQUIREPEER"),
    ("require_auth", "PGREQUIREAUTH"),
    ("gssdelegation", "PGGSSDELEGATION"),
    // A service's entry in one of libpq's files may state any of the above.
    ("service", "PGSERVICE"),
];

/// Values of the parameters that leadbridge cannot serve, at which libpq does nothing beyond what leadbridge does.
const HARMLESS: [(&str, &[&str]); 11] = [
    ("gssencmode", &["disable", "prefer"]),
    ("sslnegotiation", &["postgres"]),
    ("sslcertmode", &["", "disable", "allow"]),
    ("sslcert", &[""]),
    ("sslkey", &[""]),
    ("sslcrl", &[""]),
    ("sslcrldir", &[""]),
    ("requirepeer", &[""]),
    ("require_auth", &[""]),
    ("gssdelegation", &["0"]),
    ("service", &[""]),
];

/// Why a value is refused. The words follow `the URL` or `the variable PGSSLMODE`, and never show the value.
pub type Unfit = String;

impl Security {
    /// Takes a parameter of the URL, and returns the parameter's name. `None`: the parameter does not speak of
    /// security.
    ///
    /// # Errors
    /// The value makes no sense, or asks for what leadbridge cannot do.
    pub fn take(&mut self, side: Side, key: &str, value: &str) -> Result<Option<&'static str>, Unfit> {
        // JDBC's word, which libpq understands.
        let (key, value) = match (key, value) {
            ("ssl", "true") => ("sslmode", "require"),
            ("ssl", _) => return Err("has an ssl other than true: write sslmode".to_owned()),
            other => other,
        };
        let Some((key, _)) = PARAMETERS.into_iter().find(|(name, _)| *name == key) else { return Ok(None) };
        self.set(side, key, value)?;
        Ok(Some(key))
    }

    /// Takes from the environment what the URL has not stated. An empty variable counts as unset.
    ///
    /// # Errors
    /// The variable, and why its value is refused.
    pub fn complete(
        &mut self,
        side: Side,
        stated: &[&str],
        env: Environment<'_>,
    ) -> Result<(), (&'static str, Unfit)> {
        for (key, variable) in PARAMETERS {
            let value = env(variable).filter(|value| !value.is_empty() && !stated.contains(&key));
            if let Some(value) = value {
                self.set(side, key, &value).map_err(|unfit| (variable, unfit))?;
            }
        }
        // The predecessor of PGSSLMODE, which libpq still reads.
        if self.ssl_mode.is_none() && env("PGREQUIRESSL").is_some_and(|value| value.starts_with('1')) {
            self.ssl_mode = Some(SslMode::Require);
        }
        Ok(())
    }

    fn set(&mut self, side: Side, key: &str, value: &str) -> Result<(), Unfit> {
        match (key, value) {
            ("sslmode", _) => self.ssl_mode = Some(one_of(key, value, &SSL_MODES)?),
            ("sslrootcert", "") => self.root_certificate = None,
            ("sslrootcert", "system") => self.root_certificate = Some(RootCertificate::System),
            ("sslrootcert", file) => self.root_certificate = Some(RootCertificate::File(file.into())),
            ("channel_binding", "require") if side == Side::Landing => {
                return Err(
                    "asks for channel_binding=require, which the replication connection cannot do".to_owned()
                );
            }
            ("channel_binding", _) => self.channel_binding = one_of(key, value, &CHANNEL_BINDINGS)?,
            ("sslsni", _) => self.names_host = one_of(key, value, &[("1", true), ("0", false)])?,
            ("ssl_min_protocol_version", "") => self.oldest = TlsVersion::V1_2,
            ("ssl_min_protocol_version", _) => self.oldest = tls_version(key, value)?,
            ("ssl_max_protocol_version", "") => self.newest = TlsVersion::V1_3,
            ("ssl_max_protocol_version", _) => {
                self.newest = tls_version(key, value)?;
                if self.newest < TlsVersion::V1_2 {
                    return Err(
                        "allows no version of TLS that leadbridge speaks: TLSv1.2, TLSv1.3".to_owned()
                    );
                }
            }
            _ => harmless(key, value)?,
        }
        Ok(())
    }

    /// The stated wishes as a URL's parameters, with each value that has a default.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let root = match &self.root_certificate {
            None => String::new(),
            Some(RootCertificate::System) => "system".to_owned(),
            Some(RootCertificate::File(file)) => file.to_string_lossy().into_owned(),
        };
        let mode = self.ssl_mode.map(|mode| ("sslmode", word(&mode, &SSL_MODES)));
        mode.into_iter()
            .chain([
                ("sslrootcert", root),
                ("ssl_min_protocol_version", word(&self.oldest, &TLS_VERSIONS)),
                ("ssl_max_protocol_version", word(&self.newest, &TLS_VERSIONS)),
                ("channel_binding", word(&self.channel_binding, &CHANNEL_BINDINGS)),
                ("sslsni", u8::from(self.names_host).to_string()),
            ])
            .collect()
    }
}

fn one_of<T: Copy>(key: &str, value: &str, allowed: &[(&str, T)]) -> Result<T, Unfit> {
    let found = allowed.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        let words: Vec<&str> = allowed.iter().map(|(word, _)| *word).collect();
        format!("has an {key} other than {}", words.join(", "))
    })
}

fn word<T: PartialEq>(meaning: &T, words: &[(&str, T)]) -> String {
    words.iter().find(|(_, other)| other == meaning).map_or_else(String::new, |(word, _)| (*word).to_owned())
}

/// In letters of any case, as in libpq.
fn tls_version(key: &str, value: &str) -> Result<TlsVersion, Unfit> {
    one_of(key, &value.to_ascii_lowercase(), &TLS_VERSIONS)
}

fn harmless(key: &str, value: &str) -> Result<(), Unfit> {
    let values = HARMLESS.into_iter().find(|(name, _)| *name == key).map_or(&[][..], |(_, values)| values);
    if values.contains(&value) {
        return Ok(());
    }
    let values: Vec<&str> = values.iter().filter(|value| !value.is_empty()).copied().collect();
    Err(match values.as_slice() {
        [] => format!("states {key}, which leadbridge cannot do"),
        values => {
            format!("states {key} otherwise than as {}, which leadbridge cannot do", values.join(" or "))
        }
    })
}
