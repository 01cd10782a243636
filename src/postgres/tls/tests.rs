use std::path::Path;

use super::*;

fn ca_file() -> tempfile::NamedTempFile {
    let key = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key.cert.pem()).unwrap();
    file
}

/// A home directory with the files of libpq's that are named.
fn home(files: &[&str]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".postgresql")).unwrap();
    for name in files {
        std::fs::copy(ca_file().path(), home.path().join(".postgresql").join(name)).unwrap();
    }
    home
}

fn resolve(mode: Option<SslMode>, root: Option<RootCertificate>, home: &Path) -> Result<Tls> {
    let home = home.to_str().unwrap().to_owned();
    let bundle = format!("{home}/.postgresql/root.crt");
    let env = |name: &str| match name {
        "HOME" => Some(home.clone()),
        "SSL_CERT_FILE" => Some(bundle.clone()),
        _ => None,
    };
    Tls::resolve(&Security { ssl_mode: mode, root_certificate: root, ..Security::default() }, &env)
}

#[test]
fn a_root_certificate_is_never_passed_over() {
    let (empty, default) = (home(&[]), home(&["root.crt"]));
    let default_file = default.path().join(".postgresql/root.crt");
    let ca = ca_file();
    let stated = || Some(RootCertificate::File(ca.path().into()));
    let chain = |file: &Path| Verification::Chain(file.into());
    let name = |file: &Path| Verification::ChainAndName(file.into());
    let cases = [
        (None, None, &empty, Encryption::IfOffered, Verification::Nothing),
        (None, None, &default, Encryption::IfOffered, chain(&default_file)),
        (None, stated(), &empty, Encryption::Always, chain(ca.path())),
        (None, Some(RootCertificate::System), &default, Encryption::Always, name(&default_file)),
        (Some(SslMode::Disable), stated(), &empty, Encryption::Never, Verification::Nothing),
        (Some(SslMode::Prefer), stated(), &empty, Encryption::IfOffered, chain(ca.path())),
        (Some(SslMode::Require), None, &empty, Encryption::Always, Verification::Nothing),
        (Some(SslMode::Require), stated(), &empty, Encryption::Always, chain(ca.path())),
        (Some(SslMode::Require), None, &default, Encryption::Always, chain(&default_file)),
        (Some(SslMode::VerifyCa), stated(), &default, Encryption::Always, chain(ca.path())),
        (Some(SslMode::VerifyFull), None, &default, Encryption::Always, name(&default_file)),
    ];
    for (mode, root, home, encryption, verification) in cases {
        let tls = resolve(mode, root.clone(), home.path()).unwrap();
        assert_eq!((tls.encryption, tls.verification), (encryption, verification), "{mode:?} {root:?}");
    }
}

#[test]
fn a_check_without_a_usable_root_certificate_is_refused_and_says_so() {
    let (empty, revoking) = (home(&[]), home(&["root.crt", "root.crl"]));
    let missing = RootCertificate::File("/nowhere/ca.pem".into());
    for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        let error = resolve(Some(mode), None, empty.path()).unwrap_err().to_string();
        assert!(error.contains("need a root certificate"), "{error}");
    }
    for mode in [None, Some(SslMode::Prefer), Some(SslMode::Require), Some(SslMode::VerifyCa)] {
        let error = resolve(mode, Some(missing.clone()), empty.path()).unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
        let error = resolve(mode, None, revoking.path()).unwrap_err().to_string();
        assert!(error.contains("root.crl"), "{error}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let root = RootCertificate::File(file.path().into());
    let error = resolve(Some(SslMode::VerifyFull), Some(root), empty.path()).unwrap_err().to_string();
    assert!(error.contains("holds no certificate"), "{error}");
}

#[test]
fn the_systems_authorities_go_with_verify_full_alone() {
    let home = home(&["root.crt"]);
    for mode in [SslMode::Disable, SslMode::Prefer, SslMode::Require, SslMode::VerifyCa] {
        let error = resolve(Some(mode), Some(RootCertificate::System), home.path()).unwrap_err();
        assert!(error.to_string().contains("too weak"), "{error}");
    }
}

#[test]
fn a_name_is_compared_as_libpq_compares_it() {
    let certificate = |names: &[&str], common: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, common);
        certificate::Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap()
    };
    use certificate::HoldsName::{Alternative, Common, Not};
    for (names, common, host, holds) in [
        (&["db.example"][..], "other", "DB.example", Alternative),
        (&["*.example"], "other", "db.example", Alternative),
        (&["*.example"], "other", "a.db.example", Not),
        (&["*.example"], "other", "example", Not),
        (&["*.example"], "other", ".example", Not),
        (&["127.0.0.1"], "other", "127.0.0.1", Alternative),
        (&["::1"], "other", "::1", Alternative),
        (&["127.0.0.1"], "other", "127.0.0.2", Not),
        (&[], "db.example", "db.example", Common),
        (&[], "*.example", "db.example", Common),
        (&[], "*.0.0.1", "127.0.0.1", Not),
        (&[], "127.0.0.1", "127.0.0.1", Common),
        (&["db.example"], "other.example", "other.example", Not),
        (&["127.0.0.1"], "db.example", "db.example", Common),
        (&["127.0.0.1"], "127.0.0.2", "127.0.0.2", Not),
        (&["db.example"], "127.0.0.1", "127.0.0.1", Common),
    ] {
        assert_eq!(certificate(names, common).holds_name(host), holds, "{names:?} {common} {host}");
    }
}
