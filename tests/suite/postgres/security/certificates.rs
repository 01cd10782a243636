//! Certificates of every kind that a server may have, and the root certificate that belongs to each.

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SigningKey as _,
    date_time_ymd,
};
use x509_cert::der::asn1::BitString;
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Decode as _, Encode as _, EncodePem as _};
use x509_cert::{Certificate, Version};

/// What a server is configured with, and what its clients trust, as PEM.
pub struct Kind {
    pub name: &'static str,
    /// The server's certificate, and what the server sends with it.
    pub chain: String,
    pub key: String,
    pub root: String,
}

/// A subject or an authority.
struct Party {
    params: CertificateParams,
    key: KeyPair,
}

impl Party {
    fn new(common_name: &str, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        Party { params, key: KeyPair::generate().unwrap() }
    }

    fn authority(common_name: &str) -> Self {
        let mut party = Party::new(common_name, &[]);
        party.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        party
    }

    fn but(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        change(&mut self.params);
        self
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn by(&self, authority: &Party) -> String {
        self.params.signed_by(&self.key, &authority.issuer()).unwrap().pem()
    }

    fn by_itself(&self) -> String {
        self.params.self_signed(&self.key).unwrap().pem()
    }

    /// A certificate of version 1, which holds no extension.
    fn old_by(&self, authority: &Party) -> String {
        let new = self.params.signed_by(&self.key, &authority.issuer()).unwrap();
        let mut old = Certificate::from_der(new.der()).unwrap();
        old.tbs_certificate.version = Version::V1;
        old.tbs_certificate.extensions = None;
        let signature = authority.key.sign(&old.tbs_certificate.to_der().unwrap()).unwrap();
        old.signature = BitString::from_bytes(&signature).unwrap();
        old.to_pem(LineEnding::LF).unwrap()
    }

    fn kind(&self, name: &'static str, chain: String, root: String) -> Kind {
        Kind { name, chain, key: self.key.serialize_pem(), root }
    }
}

/// A certificate of another CA.
pub fn other_root() -> String {
    Party::authority("another CA").by_itself()
}

/// All kinds, the plain one first.
pub fn kinds() -> Vec<Kind> {
    [named(), old_forms(), chains(), unfit()].into_iter().flatten().collect()
}

/// Certificates signed by a root, which differ in the place and the form of their names.
fn named() -> Vec<Kind> {
    let root = Party::authority("root");
    let signed = |name, party: Party| party.kind(name, party.by(&root), root.by_itself());
    vec![
        signed("dns", Party::new("other", &["localhost", "db.school.example"])),
        signed("ip-and-cn", Party::new("localhost", &["127.0.0.1", "::1"])),
        signed("cn", Party::new("localhost", &[])),
        signed("cn-is-ip", Party::new("127.0.0.1", &[])),
        signed("dns-and-cn-is-ip", Party::new("127.0.0.1", &["db.other.example"])),
        signed("wildcard", Party::new("other", &["*.school.example"])),
        signed("cn-wildcard", Party::new("*.school.example", &[])),
        signed("wildcard-of-address", Party::new("*.0.0.1", &[])),
        signed("other-name-and-cn", Party::new("localhost", &["db.other.example"])),
        signed("other-name", Party::new("other", &["db.other.example"])),
        signed(
            "ip-as-dns",
            Party::new("other", &[]).but(|params| {
                params.subject_alt_names = vec![SanType::DnsName("127.0.0.1".try_into().unwrap())];
            }),
        ),
    ]
}

/// Certificates of version 1, and certificates that may sign others themselves.
fn old_forms() -> Vec<Kind> {
    let (root, between) = (Party::authority("root"), Party::authority("between"));
    let server = || Party::new("localhost", &[]);
    let old = server();
    let old_below = server();
    let old_root = Party::new("localhost", &[]);
    let old_authority = Party::new("old root", &[]);
    let below_old_authority = Party::new("other", &["localhost"]);
    let authority = Party::authority("localhost");
    let authority_below = Party::authority("localhost");
    let authority_between = Party::authority("localhost");
    let plain = server();
    let again = Party::authority("localhost");
    // A signature holds chance: each call makes another certificate.
    let once = |chain: String| (chain.clone(), chain);
    let (old_root_sent, old_root_trusted) = once(old_root.old_by(&old_root));
    let (authority_sent, authority_trusted) = once(authority.by_itself());
    let (plain_sent, plain_trusted) = once(plain.by_itself());
    let with_between = |chain: String| chain + &between.by(&root);
    vec![
        old.kind("v1", old.old_by(&root), root.by_itself()),
        old_below.kind("v1-below-between", with_between(old_below.old_by(&between)), root.by_itself()),
        old_root.kind("v1-self-signed", old_root_sent, old_root_trusted),
        below_old_authority.kind(
            "below-v1-root",
            below_old_authority.by(&old_authority),
            old_authority.old_by(&old_authority),
        ),
        authority.kind("self-signed-ca", authority_sent, authority_trusted),
        plain.kind("self-signed", plain_sent, plain_trusted),
        again.kind("self-signed-again", again.by_itself(), again.by_itself()),
        authority_below.kind("ca", authority_below.by(&root), root.by_itself()),
        authority_between.kind(
            "ca-below-between",
            with_between(authority_between.by(&between)),
            root.by_itself(),
        ),
    ]
}

fn chains() -> Vec<Kind> {
    let (root, between) = (Party::authority("root"), Party::authority("between"));
    let server = Party::new("other", &["localhost"]);
    let leaf = server.by(&between);
    let (upper, lower) = (root.by_itself(), between.by(&root));
    vec![
        server.kind("chain", leaf.clone() + &lower, upper.clone()),
        server.kind("chain-not-sent", leaf.clone(), upper.clone()),
        server.kind("chain-in-root-file", leaf.clone(), upper + &lower),
        server.kind("root-is-between", leaf.clone() + &lower, lower),
        server.kind("root-is-server", leaf.clone(), leaf),
    ]
}

/// Certificates that are not good for a server at this time.
fn unfit() -> Vec<Kind> {
    let root = Party::authority("root");
    let server = || Party::new("other", &["localhost"]);
    let signed = |name, party: Party| party.kind(name, party.by(&root), root.by_itself());
    let below = |name, root: Party, party: Party| party.kind(name, party.by(&root), root.by_itself());
    let past = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let bound_to = |subtree: GeneralSubtree| {
        move |params: &mut CertificateParams| {
            let constraints =
                NameConstraints { permitted_subtrees: vec![subtree], excluded_subtrees: vec![] };
            params.name_constraints = Some(constraints);
        }
    };
    let elsewhere = || bound_to(GeneralSubtree::DnsName("other.example".to_owned()));
    let here = || bound_to(GeneralSubtree::DnsName("localhost".to_owned()));
    let addresses = bound_to(GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0])));
    vec![
        signed("expired", server().but(past)),
        signed("not-yet-valid", server().but(|params| params.not_before = date_time_ymd(3000, 1, 1))),
        signed(
            "for-clients",
            server().but(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ),
        signed("key-for-crls", server().but(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign])),
        below("root-expired", Party::authority("root").but(past), server()),
        below("root-no-ca", Party::new("root", &[]), server()),
        below("root-bound-elsewhere", Party::authority("root").but(elsewhere()), server()),
        below("root-bound-here", Party::authority("root").but(here()), server()),
        below(
            "root-bound-elsewhere-cn",
            Party::authority("root").but(elsewhere()),
            Party::new("localhost", &[]),
        ),
        below("root-bound-here-cn", Party::authority("root").but(here()), Party::new("localhost", &[])),
        below(
            "root-bound-to-addresses",
            Party::authority("root").but(addresses),
            Party::new("", &["127.0.0.1"]),
        ),
    ]
}
