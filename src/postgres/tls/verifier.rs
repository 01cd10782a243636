//! Verification of a server's certificate and of the handshake's signatures.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use webpki::RawPublicKeyEntity;

use super::certificate::{Certificate, HoldsName};
use super::roots::Roots;
use super::validity::CertificateEnd;
use crate::language::{Message, message};

type Verified<T> = Result<T, rustls::Error>;

/// Reasons to refuse a certificate that the TLS library has no name for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every root certificate of the file is out of date.
    RootsOutOfDate,
    /// The certificate is of version 1, or a CA's own, and no root certificate of the file has signed it.
    OldFormBelowIntermediate,
    /// The host's name is the common name only, and a CA is bound to a list of names.
    CommonNameUnderConstraints,
    /// The certificate is for another purpose, or has a critical extension that nobody here understands.
    OtherPurpose,
}

impl Refusal {
    /// What the operator can do.
    pub fn remedy(self) -> Message {
        match self {
            Refusal::RootsOutOfDate => message!("postgres-remedy-roots-out-of-date"),
            Refusal::OldFormBelowIntermediate => {
                message!("postgres-remedy-old-form")
            }
            Refusal::CommonNameUnderConstraints => {
                message!("postgres-remedy-common-name")
            }
            Refusal::OtherPurpose => {
                message!("postgres-remedy-other-purpose")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::RootsOutOfDate => "the root certificates in sslrootcert are out of date",
            Refusal::OldFormBelowIntermediate => {
                "it is of version 1 or a CA's own, and no root certificate in sslrootcert has signed it itself"
            }
            Refusal::CommonNameUnderConstraints => {
                "it holds the host's name as its common name only, and its CA is bound to a list of names"
            }
            Refusal::OtherPurpose => "it is not made for a server",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}

/// Verifies a server as libpq does. The handshake's signatures are verified in every case.
#[derive(Debug)]
pub struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    /// `None`: any server is good.
    roots: Option<Roots>,
    /// The host's name or address as in the URL; `None`: any name is good.
    host: Option<String>,
    end: CertificateEnd,
}

impl Verifier {
    pub fn of_nothing(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Verifier { algorithms, roots: None, host: None, end: CertificateEnd::default() }
    }

    pub fn of_chain(algorithms: WebPkiSupportedAlgorithms, roots: Roots) -> Self {
        Verifier { roots: Some(roots), ..Verifier::of_nothing(algorithms) }
    }

    pub fn of_chain_and_name(algorithms: WebPkiSupportedAlgorithms, roots: Roots, host: &str) -> Self {
        Verifier { host: Some(host.to_owned()), ..Verifier::of_chain(algorithms, roots) }
    }

    /// The same, and the end of each accepted certificate goes to `end`.
    pub fn recording(self, end: CertificateEnd) -> Self {
        Verifier { end, ..self }
    }

    fn verify_chain(
        &self,
        roots: &Roots,
        server: &Certificate,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Verified<()> {
        if !server.may_serve() {
            return Err(Refusal::OtherPurpose.into());
        }
        // The library takes no certificate of version 1 and no CA's own certificate for a server.
        if server.is_version_3() && !server.is_ca() && !roots.holds(server) {
            let certificate = ParsedCertificate::try_from(server.der())?;
            let between: Vec<CertificateDer<'_>> = sent.iter().chain(roots.between()).cloned().collect();
            let anchors = roots.anchors(now);
            return verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &anchors,
                &between,
                now,
                self.algorithms.all,
            )
            .map_err(|error| match error {
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)
                    if roots.are_out_of_date(now) =>
                {
                    Refusal::RootsOutOfDate.into()
                }
                error => error,
            });
        }
        server.validity(Duration::from_secs(now.as_secs()))?;
        if !server.is_understood() {
            return Err(Refusal::OtherPurpose.into());
        }
        // A certificate of its own subject is trusted by itself, or not at all.
        let trusted =
            if server.is_self_issued() { roots.holds(server) } else { self.has_signed(roots, server, now)? };
        if trusted { Ok(()) } else { Err(unknown(roots, now)) }
    }

    /// Whether one of the root certificates has signed the certificate itself. A certificate of this form is taken
    /// from no other issuer.
    fn has_signed(&self, roots: &Roots, server: &Certificate, now: UnixTime) -> Verified<bool> {
        let signed = server.signed()?;
        let algorithms: Vec<_> = self
            .algorithms
            .all
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == signed.algorithm)
            .collect();
        // Constraints of names are the library's business, and here is no library.
        for issuer in
            roots.authorities(now).filter(|root| server.is_issued_by(root) && !root.constrains_names())
        {
            let key = issuer.public_key()?;
            let Ok(key) = RawPublicKeyEntity::try_from(&key) else { continue };
            let mut each = algorithms.iter();
            if each.any(|one| key.verify_signature(**one, &signed.content, signed.signature).is_ok()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn verify_name(
        &self,
        host: &str,
        roots: &Roots,
        server: &Certificate,
        sent: &[CertificateDer<'_>],
    ) -> Verified<()> {
        match server.holds_name(host) {
            HoldsName::Alternative => Ok(()),
            HoldsName::Not => Err(CertificateError::NotValidForName.into()),
            // The library applies constraints to alternative names only.
            HoldsName::Common if roots.holds(server) => Ok(()),
            HoldsName::Common if constrained(roots, sent) => Err(Refusal::CommonNameUnderConstraints.into()),
            HoldsName::Common => Ok(()),
        }
    }
}

fn unknown(roots: &Roots, now: UnixTime) -> rustls::Error {
    if roots.are_out_of_date(now) {
        Refusal::RootsOutOfDate.into()
    } else {
        Refusal::OldFormBelowIntermediate.into()
    }
}

/// Whether any certificate that may stand above the server's binds those below to a list of names, or may do so
/// because it cannot be parsed.
fn constrained(roots: &Roots, sent: &[CertificateDer<'_>]) -> bool {
    let free = |der| Certificate::parse(der).is_ok_and(|authority| !authority.constrains_names());
    roots.self_issued().iter().any(Certificate::constrains_names)
        || !sent.iter().chain(roots.between()).all(free)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        // As the driver has parsed it; libpq's rules compare the text of the URL.
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Verified<ServerCertVerified> {
        if let Some(roots) = &self.roots {
            let server = Certificate::parse(end_entity)?;
            self.verify_chain(roots, &server, intermediates, now)?;
            if let Some(host) = &self.host {
                self.verify_name(host, roots, &server, intermediates)?;
            }
        }
        // A certificate that cannot be parsed is accepted where nothing is verified, and its end is not known.
        if let Ok(server) = Certificate::parse(end_entity) {
            self.end.saw(server.not_after());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Verified<HandshakeSignatureValid> {
        match old_key(cert) {
            None => verify_tls12_signature(message, cert, dss, &self.algorithms),
            Some(key) => verify_with_raw_key(message, &key, dss, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Verified<HandshakeSignatureValid> {
        match old_key(cert) {
            None => verify_tls13_signature(message, cert, dss, &self.algorithms),
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The public key of a certificate of version 1, which the library does not parse.
fn old_key(cert: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let certificate = Certificate::parse(cert).ok().filter(|certificate| !certificate.is_version_3())?;
    certificate.public_key().ok()
}

/// The library's rule for TLS 1.2, for a key without a certificate: a scheme leaves several algorithms open, and the
/// key says which of them is meant.
fn verify_with_raw_key(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Verified<HandshakeSignatureValid> {
    let bad = || rustls::Error::from(CertificateError::BadSignature);
    let key = RawPublicKeyEntity::try_from(key).map_err(|_| bad())?;
    let candidates = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == dss.scheme);
    let mut candidates = candidates.flat_map(|(_, candidates)| candidates.iter());
    if candidates.any(|algorithm| key.verify_signature(*algorithm, message, dss.signature()).is_ok()) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(bad())
    }
}
