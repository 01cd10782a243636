//! libpq's meaning of `sslmode`, `sslrootcert` and their like, for rustls.
//!
//! `roots` reads the certificates that the operator trusts, `certificate` reads a certificate and compares names as
//! libpq does, `verifier` verifies a server. Where leadbridge differs from libpq, leadbridge is the stricter of the
//! two; `docs/design.md` lists the differences.

mod certificate;
mod roots;
mod validity;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use super::security::{Environment, RootCertificate, Security, SslMode, TlsVersion};
use crate::error::{Error, Result};
use crate::language::message;
use roots::Roots;
pub use validity::CertificateEnd;
pub use verifier::Refusal;
use verifier::Verifier;

/// When a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    Never,
    /// If the server supports TLS. After a failed handshake no unencrypted connection is tried.
    IfOffered,
    Always,
}

/// What is verified of the server that an encrypted connection reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verification {
    Nothing,
    /// The chain of certificates must lead to a certificate in this file.
    Chain(PathBuf),
    /// The chain, and the host's name.
    ChainAndName(PathBuf),
}

/// How connections to a server are secured, with libpq's defaults applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    encryption: Encryption,
    verification: Verification,
    versions: Vec<&'static SupportedProtocolVersion>,
    /// Whether the server is told in clear the name that it is reached by.
    names_host: bool,
}

impl Tls {
    /// Applies libpq's rules: `require` and `prefer` with a root certificate verify the chain, the default root
    /// certificate counts when its file exists, `system` demands the strongest check, and `verify-*` needs a root
    /// certificate. A root certificate that is stated without an `sslmode` makes TLS a condition.
    ///
    /// # Errors
    /// `Usage`, when a root certificate is needed and cannot be read, when `system` comes with too weak a check,
    /// or when a list of revoked certificates lies where libpq looks for one.
    pub fn resolve(security: &Security, env: Environment<'_>) -> Result<Tls> {
        let (encryption, verification) = decide(security, env)?;
        if let Verification::Chain(file) | Verification::ChainAndName(file) = &verification {
            Roots::read(file)?;
            if security.root_certificate != Some(RootCertificate::System) {
                refuse_default_revocations(env)?;
            }
        }
        let known = [(TlsVersion::V1_3, &TLS13), (TlsVersion::V1_2, &TLS12)];
        let allowed = security.oldest..=security.newest;
        let versions: Vec<_> = known
            .into_iter()
            .filter(|(version, _)| allowed.contains(version))
            .map(|(_, known)| known)
            .collect();
        if versions.is_empty() {
            return Err(Error::usage("ssl_min_protocol_version is newer than ssl_max_protocol_version")
                .remedy(message!("postgres-remedy-tls-versions")));
        }
        Ok(Tls { encryption, verification, versions, names_host: security.names_host })
    }

    pub fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// Settings of the TLS library for connections to `host`, the host's name or address as in the URL. The end of the
    /// server's certificate goes to `end`.
    ///
    /// # Errors
    /// The root certificate cannot be read any more.
    pub fn client_config(&self, host: &str, end: &CertificateEnd) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let verifier = match &self.verification {
            Verification::Nothing => Verifier::of_nothing(algorithms),
            Verification::Chain(file) => Verifier::of_chain(algorithms, Roots::read(file)?),
            Verification::ChainAndName(file) => {
                Verifier::of_chain_and_name(algorithms, Roots::read(file)?, host)
            }
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .map_err(|error| Error::internal("TLS cannot be set up").source_error(error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier.recording(end.clone())))
            .with_no_client_auth();
        config.enable_sni = self.names_host;
        Ok(config)
    }
}

fn decide(security: &Security, env: Environment<'_>) -> Result<(Encryption, Verification)> {
    let stated = security.root_certificate.as_ref();
    let system = stated == Some(&RootCertificate::System);
    let mode = match (security.ssl_mode, stated) {
        (Some(SslMode::VerifyFull), _) => SslMode::VerifyFull,
        (Some(_), _) if system => {
            return Err(Error::usage(
                "sslrootcert=system is too weak with an sslmode other than verify-full",
            )
            .remedy(message!("postgres-remedy-verify-full")));
        }
        (Some(mode), _) => mode,
        (None, Some(RootCertificate::System)) => SslMode::VerifyFull,
        // libpq would send the password in clear to a server that says that it has no TLS.
        (None, Some(RootCertificate::File(_))) => SslMode::VerifyCa,
        (None, None) => SslMode::Prefer,
    };
    if mode == SslMode::Disable {
        return Ok((Encryption::Never, Verification::Nothing));
    }
    let file = match stated {
        Some(RootCertificate::System) => Some(system_bundle(env)?),
        Some(RootCertificate::File(path)) => Some(path.clone()),
        None => in_home(env, "root.crt").filter(|path| path.exists()),
    };
    Ok(match (mode, file) {
        (SslMode::Disable, _) => (Encryption::Never, Verification::Nothing),
        (SslMode::Prefer, None) => (Encryption::IfOffered, Verification::Nothing),
        (SslMode::Prefer, Some(file)) => (Encryption::IfOffered, Verification::Chain(file)),
        (SslMode::Require, None) => (Encryption::Always, Verification::Nothing),
        (SslMode::Require | SslMode::VerifyCa, Some(file)) => (Encryption::Always, Verification::Chain(file)),
        (SslMode::VerifyFull, Some(file)) => (Encryption::Always, Verification::ChainAndName(file)),
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            return Err(Error::usage("sslmode=verify-ca and verify-full need a root certificate")
                .remedy(message!("postgres-remedy-root-certificate")));
        }
    })
}

/// A file of libpq's in the home directory.
fn in_home(env: Environment<'_>, name: &str) -> Option<PathBuf> {
    let home = env("HOME").map(PathBuf::from).or_else(std::env::home_dir)?;
    Some(home.join(".postgresql").join(name))
}

/// libpq reads a list of revoked certificates from the home directory without being told to.
fn refuse_default_revocations(env: Environment<'_>) -> Result<()> {
    match in_home(env, "root.crl").filter(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Error::usage(format!(
            "{} lists revoked certificates, and leadbridge cannot check revocation",
            path.display()
        ))
        .remedy(message!("postgres-remedy-revocations"))),
    }
}

fn system_bundle(env: Environment<'_>) -> Result<PathBuf> {
    env("SSL_CERT_FILE").map(PathBuf::from).or_else(|| openssl_probe::probe().cert_file).ok_or_else(|| {
        Error::usage("sslrootcert=system: this system has no bundle of CA certificates")
            .remedy(message!("postgres-remedy-system-bundle"))
    })
}

#[cfg(test)]
mod tests;
