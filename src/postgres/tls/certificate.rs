//! A certificate of a server or of a CA, and whose name it holds by libpq's rules.

use std::net::IpAddr;
use std::time::Duration;

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use x509_cert::Version;
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::oid::db::{rfc4519, rfc5280};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName,
    SubjectKeyIdentifier,
};

/// A parsed certificate. An extension that cannot be parsed makes the whole certificate invalid.
#[derive(Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    parsed: x509_cert::Certificate,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<ExtendedKeyUsage>,
    alternative_names: Option<SubjectAltName>,
    name_constraints: bool,
}

impl Certificate {
    /// # Errors
    /// `BadEncoding`.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Certificate, CertificateError> {
        let bad = |_| CertificateError::BadEncoding;
        let parsed = x509_cert::Certificate::from_der(der).map_err(bad)?;
        let tbs = &parsed.tbs_certificate;
        let basic_constraints = tbs.get::<BasicConstraints>().map_err(bad)?.map(|(_, value)| value);
        let key_usage = tbs.get::<KeyUsage>().map_err(bad)?.map(|(_, value)| value);
        let extended_key_usage = tbs.get::<ExtendedKeyUsage>().map_err(bad)?.map(|(_, value)| value);
        let alternative_names = tbs.get::<SubjectAltName>().map_err(bad)?.map(|(_, value)| value);
        let extensions = tbs.extensions.as_deref().unwrap_or_default();
        // A certificate of version 1 has no extensions: what looks like one means nothing that is known.
        if tbs.version != Version::V3 && !extensions.is_empty() {
            return Err(CertificateError::BadEncoding);
        }
        let name_constraints = extensions.iter().any(|extension| extension.extn_id == NameConstraints::OID);
        Ok(Certificate {
            der: der.clone().into_owned(),
            basic_constraints,
            key_usage,
            extended_key_usage,
            alternative_names,
            name_constraints,
            parsed,
        })
    }

    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub fn into_der(self) -> CertificateDer<'static> {
        self.der
    }

    pub fn is_version_3(&self) -> bool {
        self.parsed.tbs_certificate.version == Version::V3
    }

    pub fn is_self_issued(&self) -> bool {
        self.is_issued_by(self)
    }

    pub fn is_issued_by(&self, issuer: &Certificate) -> bool {
        self.parsed.tbs_certificate.issuer == issuer.parsed.tbs_certificate.subject
    }

    pub fn is_ca(&self) -> bool {
        self.basic_constraints.as_ref().is_some_and(|constraints| constraints.ca)
    }

    /// Whether the certificate may stand above others. One of version 1 cannot say so, and may.
    pub fn may_sign(&self) -> bool {
        !self.is_version_3()
            || self.is_ca() && self.key_usage.as_ref().is_none_or(|usage| usage.key_cert_sign())
    }

    /// Whether the certificate's key may serve TLS.
    pub fn may_serve(&self) -> bool {
        let key = self.key_usage.as_ref().is_none_or(|usage| {
            usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
        });
        let purpose = self
            .extended_key_usage
            .as_ref()
            .is_none_or(|purposes| purposes.0.contains(&rfc5280::ID_KP_SERVER_AUTH));
        key && purpose
    }

    pub fn constrains_names(&self) -> bool {
        self.name_constraints
    }

    /// Whether each extension that must be understood is one whose meaning is known.
    pub fn is_understood(&self) -> bool {
        let known = [
            BasicConstraints::OID,
            KeyUsage::OID,
            ExtendedKeyUsage::OID,
            SubjectAltName::OID,
            SubjectKeyIdentifier::OID,
            AuthorityKeyIdentifier::OID,
        ];
        let extensions = self.parsed.tbs_certificate.extensions.as_deref().unwrap_or_default();
        extensions.iter().all(|extension| !extension.critical || known.contains(&extension.extn_id))
    }

    /// The last second of the certificate's validity, since 1970.
    pub fn not_after(&self) -> i64 {
        let end = self.parsed.tbs_certificate.validity.not_after.to_unix_duration();
        i64::try_from(end.as_secs()).unwrap_or(i64::MAX)
    }

    /// # Errors
    /// `ExpiredContext` or `NotValidYetContext`, when `now`, a time since 1970, is outside of the period of validity.
    pub fn validity(&self, now: Duration) -> Result<(), CertificateError> {
        let validity = &self.parsed.tbs_certificate.validity;
        let time = UnixTime::since_unix_epoch(now);
        let (from, to) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
        if now > to {
            let not_after = UnixTime::since_unix_epoch(to);
            return Err(CertificateError::ExpiredContext { time, not_after });
        }
        if now < from {
            let not_before = UnixTime::since_unix_epoch(from);
            return Err(CertificateError::NotValidYetContext { time, not_before });
        }
        Ok(())
    }

    /// # Errors
    /// `BadEncoding`.
    pub fn public_key(&self) -> Result<SubjectPublicKeyInfoDer<'static>, CertificateError> {
        let key = self.parsed.tbs_certificate.subject_public_key_info.to_der();
        key.map(SubjectPublicKeyInfoDer::from).map_err(|_| CertificateError::BadEncoding)
    }

    /// What the issuer has signed, how, and the signature.
    ///
    /// # Errors
    /// `BadEncoding`, also when the certificate names two algorithms.
    pub fn signed(&self) -> Result<Signed<'_>, CertificateError> {
        let algorithm = &self.parsed.signature_algorithm;
        let content = self.parsed.tbs_certificate.to_der().map_err(|_| CertificateError::BadEncoding)?;
        let encoded = algorithm.to_der().map_err(|_| CertificateError::BadEncoding)?;
        let signature = self.parsed.signature.as_bytes();
        match (encoded.as_slice(), signature) {
            // The short form of a length: every known algorithm is shorter than 128 bytes.
            ([0x30, length @ ..=0x7f, inner @ ..], Some(signature))
                if usize::from(*length) == inner.len()
                    && *algorithm == self.parsed.tbs_certificate.signature =>
            {
                Ok(Signed { content, algorithm: inner.to_vec(), signature })
            }
            _ => Err(CertificateError::BadEncoding),
        }
    }

    /// Whose name the certificate holds, by libpq's rules: every DNS name and address among the alternative names,
    /// and the first common name only if no alternative name is of the kind of `host`.
    pub fn holds_name(&self, host: &str) -> HoldsName {
        let address: Option<IpAddr> = host.parse().ok();
        let names = self.alternative_names.as_ref().map_or(&[][..], |names| &names.0);
        let mut same_kind = false;
        for name in names {
            match name {
                GeneralName::DnsName(name) => {
                    same_kind |= address.is_none();
                    if is_name_of(name.as_bytes(), host, address) {
                        return HoldsName::Alternative;
                    }
                }
                GeneralName::IpAddress(octets) => {
                    same_kind |= address.is_some();
                    if address.is_some_and(|address| is_address(octets.as_bytes(), address)) {
                        return HoldsName::Alternative;
                    }
                }
                _ => {}
            }
        }
        let common = (!same_kind).then(|| self.common_name()).flatten();
        if common.is_some_and(|common| is_name_of(common, host, address)) {
            HoldsName::Common
        } else {
            HoldsName::Not
        }
    }

    fn common_name(&self) -> Option<&[u8]> {
        let parts = &self.parsed.tbs_certificate.subject.0;
        let mut attributes = parts.iter().flat_map(|part| part.0.iter());
        attributes.find(|attribute| attribute.oid == rfc4519::CN).map(|attribute| attribute.value.value())
    }
}

/// The signed part of a certificate.
pub struct Signed<'a> {
    pub content: Vec<u8>,
    /// Content of the algorithm's identifier, without its outer tag and length.
    pub algorithm: Vec<u8>,
    pub signature: &'a [u8],
}

/// Where a certificate holds a host's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldsName {
    Alternative,
    /// As the subject's common name.
    Common,
    Not,
}

/// Compares without regard to case. A wildcard stands for one label of a name, and for no part of an address.
fn is_name_of(name: &[u8], host: &str, address: Option<IpAddr>) -> bool {
    if name.eq_ignore_ascii_case(host.as_bytes()) {
        return true;
    }
    let domain = match name {
        [b'*', b'.', domain @ ..] if !domain.is_empty() && address.is_none() => domain,
        _ => return false,
    };
    let rest = host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, rest)| rest);
    rest.is_some_and(|rest| domain.eq_ignore_ascii_case(rest.as_bytes()))
}

fn is_address(octets: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => octets == address.octets(),
        IpAddr::V6(address) => octets == address.octets(),
    }
}
