//! libpq's meaning of `sslmode` and `sslrootcert`, for rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::url::{RootCertificate, SslMode};
use crate::error::{Error, Result};

/// Verification of the server, with libpq's defaults applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// Encrypted if the server supports TLS; the server's identity is not verified.
    Preferred,
    /// Encrypted; the server's identity is not verified.
    Required,
    /// The certificate chain must lead to a certificate in this file; the host's name does not matter.
    Chain(PathBuf),
    /// The chain and the host's name are verified.
    Full(PathBuf),
}

impl Tls {
    /// Applies libpq's rules: `require` with a root certificate verifies the chain, the default root
    /// certificate counts when its file exists, `system` demands the strongest check, and `verify-*` needs a
    /// root certificate.
    ///
    /// # Errors
    /// `Usage`, when a root certificate is needed and cannot be read, or `system` comes with too weak a
    /// check.
    pub fn resolve(
        mode: SslMode,
        root: Option<&RootCertificate>,
        default_root: Option<&Path>,
    ) -> Result<Tls> {
        if root == Some(&RootCertificate::System) && matches!(mode, SslMode::Require | SslMode::VerifyCa) {
            return Err(Error::usage(
                "sslrootcert=system is too weak with an sslmode other than verify-full",
            )
            .remedy("write sslmode=verify-full, as libpq asks for"));
        }
        let file = match root {
            Some(RootCertificate::System) => Some(system_bundle()?),
            Some(RootCertificate::File(path)) => Some(path.clone()),
            None => default_root.filter(|path| path.is_file()).map(Path::to_owned),
        };
        let tls = match (mode, file) {
            (SslMode::Disable, _) => Tls::Off,
            (SslMode::Prefer, _) => Tls::Preferred,
            (SslMode::Require, None) => Tls::Required,
            (SslMode::Require | SslMode::VerifyCa, Some(file)) => Tls::Chain(file),
            (SslMode::VerifyFull, Some(file)) => Tls::Full(file),
            (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
                return Err(Error::usage("sslmode=verify-ca and verify-full need a root certificate")
                    .remedy(
                        "add &sslrootcert=/path/to/ca.crt to the URL (Supabase: download it from the \
                         dashboard, Database Settings), or &sslrootcert=system for a public CA",
                    ));
            }
        };
        if let Tls::Chain(file) | Tls::Full(file) = &tls {
            read_roots(file)?;
        }
        Ok(tls)
    }

    /// # Errors
    /// The root certificate cannot be read any more.
    pub fn client_config(&self) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("TLS cannot be set up").source_error(error))?;
        Ok(match self {
            Tls::Off | Tls::Preferred | Tls::Required => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
                .with_no_client_auth(),
            Tls::Full(file) => builder.with_root_certificates(read_roots(file)?).with_no_client_auth(),
            Tls::Chain(file) => {
                let roots = Arc::new(read_roots(file)?);
                let full = WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| Error::internal("TLS cannot be set up").source_error(error))?;
                let verifier = ChainOnly { full };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
            }
        })
    }
}

/// libpq's path of the root certificate for a URL without `sslrootcert`.
pub fn default_root() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".postgresql/root.crt"))
}

fn system_bundle() -> Result<PathBuf> {
    openssl_probe::probe().cert_file.ok_or_else(|| {
        Error::usage("sslrootcert=system: this system has no bundle of CA certificates")
            .remedy("install ca-certificates, set SSL_CERT_FILE, or name a file in sslrootcert")
    })
}

fn read_roots(file: &Path) -> Result<RootCertStore> {
    let unreadable = |why: String| {
        Error::usage(format!("sslrootcert {} {why}", file.display()))
            .remedy("name a PEM file with the CA's certificate that the daemon's user may read")
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 { Err(unreadable("holds no certificate".into())) } else { Ok(roots) }
}

/// `verify-ca`: verifies everything but the host's name.
#[derive(Debug)]
struct ChainOnly {
    full: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let result = self.full.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match result {
            // The verifier checks the name last, after the chain has proved valid.
            Ok(_)
            | Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.full.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.full.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.full.supported_verify_schemes()
    }
}

/// `prefer` and `require`: encrypted, with any server. The handshake's signatures are still verified.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(mode: SslMode, root: Option<&RootCertificate>, default_root: Option<&Path>) -> Result<Tls> {
        Tls::resolve(mode, root, default_root)
    }

    fn ca_file() -> tempfile::NamedTempFile {
        let key = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), key.cert.pem()).unwrap();
        file
    }

    #[test]
    fn require_checks_the_chain_once_there_is_a_root_certificate() {
        let ca = ca_file();
        let root = RootCertificate::File(ca.path().into());
        assert_eq!(resolve(SslMode::Require, None, None).unwrap(), Tls::Required);
        assert_eq!(resolve(SslMode::Require, Some(&root), None).unwrap(), Tls::Chain(ca.path().into()));
        assert_eq!(resolve(SslMode::Require, None, Some(ca.path())).unwrap(), Tls::Chain(ca.path().into()));
        assert_eq!(resolve(SslMode::VerifyFull, None, Some(ca.path())).unwrap(), Tls::Full(ca.path().into()));
        assert_eq!(resolve(SslMode::Prefer, Some(&root), None).unwrap(), Tls::Preferred);
    }

    #[test]
    fn a_check_without_a_usable_root_certificate_is_refused_and_says_so() {
        let missing = RootCertificate::File("/nowhere/ca.pem".into());
        for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
            let error = resolve(mode, None, Some(Path::new("/nowhere/root.crt"))).unwrap_err().to_string();
            assert!(error.contains("need a root certificate"), "{error}");
            let error = resolve(mode, Some(&missing), None).unwrap_err().to_string();
            assert!(error.contains("/nowhere/ca.pem"), "{error}");
        }
        let empty = tempfile::NamedTempFile::new().unwrap();
        let root = RootCertificate::File(empty.path().into());
        let error = resolve(SslMode::VerifyFull, Some(&root), None).unwrap_err().to_string();
        assert!(error.contains("holds no certificate"), "{error}");
    }
}
