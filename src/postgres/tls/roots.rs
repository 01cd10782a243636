//! The certificates that the operator trusts.

use std::path::Path;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::certificate::Certificate;
use crate::error::{Error, Result};
use crate::language::message;

/// The content of a file of root certificates, as OpenSSL uses such a file: only a certificate that its own subject
/// has issued ends a chain, and the others may stand within a chain.
#[derive(Debug)]
pub struct Roots {
    self_issued: Vec<Certificate>,
    between: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Certificates that cannot be parsed are passed over, because bundles of systems hold such certificates.
    ///
    /// # Errors
    /// `Usage`, when the file cannot be read or holds no certificate.
    pub fn read(file: &Path) -> Result<Roots> {
        let unusable = |why: String| {
            Error::usage(format!("sslrootcert {} {why}", file.display()))
                .remedy(message!("postgres-remedy-pem-file"))
        };
        let found: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| unusable(format!("cannot be read: {error}")))?;
        let mut roots = Roots { self_issued: Vec::new(), between: Vec::new() };
        for certificate in found.iter().filter_map(|der| Certificate::parse(der).ok()) {
            if certificate.is_self_issued() {
                roots.self_issued.push(certificate);
            } else {
                roots.between.push(certificate.into_der());
            }
        }
        if roots.self_issued.is_empty() && roots.between.is_empty() {
            return Err(unusable("holds no certificate".into()));
        }
        Ok(roots)
    }

    /// The very certificate, where the operator trusts it and its own subject has issued it.
    pub fn holds(&self, certificate: &Certificate) -> bool {
        self.self_issued.iter().any(|root| root.der() == certificate.der())
    }

    /// Every certificate that its own subject has issued.
    pub fn self_issued(&self) -> &[Certificate] {
        &self.self_issued
    }

    /// The certificates that may end a chain at the time `now`.
    pub fn authorities(&self, now: UnixTime) -> impl Iterator<Item = &Certificate> {
        let since_epoch = Duration::from_secs(now.as_secs());
        self.self_issued.iter().filter(move |root| root.may_sign() && root.validity(since_epoch).is_ok())
    }

    /// Whether all certificates that could end a chain are out of date at the time `now`.
    pub fn are_out_of_date(&self, now: UnixTime) -> bool {
        self.authorities(now).next().is_none() && self.self_issued.iter().any(Certificate::may_sign)
    }

    /// As [`Roots::authorities`], in the library's form.
    pub fn anchors(&self, now: UnixTime) -> RootCertStore {
        let mut anchors = RootCertStore::empty();
        anchors.add_parsable_certificates(self.authorities(now).map(|root| root.der().clone()));
        anchors
    }

    /// Certificates that may stand between the server's certificate and the end of the chain.
    pub fn between(&self) -> &[CertificateDer<'static>] {
        &self.between
    }
}
