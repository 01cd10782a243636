//! The connections that libpq and leadbridge are compared in, and libpq's stored verdicts.

use std::collections::BTreeMap;
use std::path::Path;

use super::certificates::Kind;

/// Libpq's verdicts, made by `libpq_gives_the_stored_verdicts`.
pub const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/postgres/security/libpq.verdicts");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Plain,
    Encrypted,
    Refused,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Plain => "plain",
            Verdict::Encrypted => "encrypted",
            Verdict::Refused => "refused",
        }
    }

    pub fn read(word: &str) -> Option<Self> {
        [Verdict::Plain, Verdict::Encrypted, Verdict::Refused]
            .into_iter()
            .find(|verdict| verdict.word() == word)
    }
}

/// `sslmode` as stated; the empty one is not stated.
pub const MODES: [&str; 6] = ["", "disable", "prefer", "require", "verify-ca", "verify-full"];

/// Host and further parameters of a URL, by what the host is.
const HOSTS: [(&str, &str, &str); 4] = [
    ("name", "localhost", ""),
    ("ipv4", "127.0.0.1", ""),
    ("ipv6", "[::1]", ""),
    ("hostaddr", "db.school.example", "hostaddr=127.0.0.1"),
];

/// One connection.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique, and the case's name in the file of verdicts.
    pub name: String,
    pub server: String,
    pub host: &'static str,
    /// Parameters of the URL, with `&` between them.
    pub parameters: String,
    pub env: Vec<(String, String)>,
    /// Whether the role has a password, and the server asks for the password with SCRAM.
    pub password: bool,
}

impl Case {
    pub fn url(&self, port: u16) -> String {
        let login = if self.password { "known:geheim" } else { "anyone" };
        format!("postgresql://{login}@{}:{port}/postgres?{}", self.host, self.parameters)
    }
}

/// The directory of a run: for each server `NAME.root`, and `other.root`; homes of libpq's files.
pub struct Files<'a>(pub &'a Path);

impl Files<'_> {
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Parameter and environment that make `root` the trusted certificate of `server`.
    fn root(&self, root: &str, server: &str) -> (String, Vec<(String, String)>) {
        let right = self.path(&format!("{server}.root"));
        let other = self.path("other.root");
        let bundle = |file: String| vec![("SSL_CERT_FILE".to_owned(), file)];
        let home = |home: String| vec![("HOME".to_owned(), self.path(&home))];
        match root {
            "file" => (format!("sslrootcert={right}"), vec![]),
            "other-file" => (format!("sslrootcert={other}"), vec![]),
            "missing-file" => ("sslrootcert=/nowhere/root.crt".to_owned(), vec![]),
            "system" => ("sslrootcert=system".to_owned(), bundle(right)),
            "other-system" => ("sslrootcert=system".to_owned(), bundle(other)),
            "home" => (String::new(), home(format!("{server}.home"))),
            "other-home" => (String::new(), home("other.home".to_owned())),
            _ => (String::new(), vec![]),
        }
    }
}

const ROOTS: [&str; 8] =
    ["none", "file", "other-file", "missing-file", "system", "other-system", "home", "other-home"];
/// Kinds that are tried with every root; the other kinds with no root and the right file.
const WITH_EVERY_ROOT: [&str; 4] = ["no-tls", "dns", "v1", "self-signed-ca"];

/// Each kind of certificate with each mode, root and form of host that makes a difference.
pub fn of_certificates(files: &Files<'_>, kinds: &[Kind]) -> Vec<Case> {
    let mut cases = Vec::new();
    for server in ["no-tls"].into_iter().chain(kinds.iter().map(|kind| kind.name)) {
        for (form, host, address) in HOSTS {
            for root in ROOTS {
                let usual = form == "name" && matches!(root, "none" | "file");
                let every = form == "name" && WITH_EVERY_ROOT.contains(&server);
                let other_host = form != "name" && root == "file" && server != "no-tls";
                for mode in MODES {
                    if usual || every || other_host && mode.starts_with("verify") {
                        let (parameter, env) = files.root(root, server);
                        let mode = if mode.is_empty() { String::new() } else { format!("sslmode={mode}") };
                        let stated = [mode.as_str(), &parameter, address];
                        let stated: Vec<&str> = stated.into_iter().filter(|text| !text.is_empty()).collect();
                        let shown = if mode.is_empty() { "sslmode-not-stated" } else { &mode };
                        cases.push(Case {
                            name: format!("{server} {form} {root} {shown}"),
                            server: server.to_owned(),
                            host,
                            parameters: stated.join("&"),
                            env,
                            password: false,
                        });
                    }
                }
            }
        }
    }
    cases
}

/// Parameters, and the variables that state them, at a server with and without TLS. `ROOT` and `OTHER` stand for files.
const STATED: [(&str, &str); 64] = [
    ("", ""),
    ("ssl=true", ""),
    ("ssl=false", ""),
    ("sslmode=allow", ""),
    ("sslmode=VERIFY-FULL", ""),
    ("sslmode=require", "PGSSLMODE=disable"),
    ("sslmode=disable", "PGSSLMODE=verify-full"),
    ("", "PGSSLMODE=disable"),
    ("", "PGSSLMODE=prefer"),
    ("", "PGSSLMODE=require"),
    ("", "PGSSLMODE=verify-ca"),
    ("", "PGSSLMODE=verify-full"),
    ("", "PGSSLMODE=sometimes"),
    ("", "PGREQUIRESSL=1"),
    ("", "PGREQUIRESSL=0"),
    ("sslmode=prefer", "PGREQUIRESSL=1"),
    ("", "PGSSLMODE=verify-full PGSSLROOTCERT=ROOT"),
    ("", "PGSSLMODE=verify-full PGSSLROOTCERT=OTHER"),
    ("sslmode=require", "PGSSLROOTCERT=ROOT"),
    ("sslmode=require", "PGSSLROOTCERT=OTHER"),
    ("sslmode=prefer", "PGSSLROOTCERT=OTHER"),
    ("sslmode=disable", "PGSSLROOTCERT=OTHER"),
    ("", "PGSSLROOTCERT=ROOT"),
    ("", "PGSSLROOTCERT=OTHER"),
    ("", "PGSSLROOTCERT=system"),
    ("sslmode=prefer", "PGSSLROOTCERT=system"),
    ("sslrootcert=ROOT", "PGSSLROOTCERT=system"),
    ("sslrootcert=ROOT&sslmode=verify-full", "PGSSLROOTCERT=OTHER"),
    ("gssencmode=disable", ""),
    ("gssencmode=prefer", ""),
    ("gssencmode=require", ""),
    ("gssencmode=sometimes", ""),
    ("", "PGGSSENCMODE=require"),
    ("gssencmode=disable", "PGGSSENCMODE=require"),
    ("channel_binding=disable", ""),
    ("channel_binding=require", ""),
    ("channel_binding=require&sslmode=disable", ""),
    ("channel_binding=sometimes", ""),
    ("", "PGCHANNELBINDING=require"),
    ("sslmode=disable", "PGCHANNELBINDING=require"),
    ("sslmode=require&ssl_min_protocol_version=TLSv1.3", ""),
    ("sslmode=require&ssl_min_protocol_version=tlsv1", ""),
    ("sslmode=require&ssl_max_protocol_version=TLSv1.2", ""),
    ("sslmode=require&ssl_max_protocol_version=TLSv1.1", ""),
    ("sslmode=require&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2", ""),
    ("sslmode=require&ssl_min_protocol_version=SSLv3", ""),
    ("sslmode=require", "PGSSLMINPROTOCOLVERSION=TLSv1.3"),
    ("sslmode=require", "PGSSLMAXPROTOCOLVERSION=TLSv1.1"),
    ("sslnegotiation=postgres", ""),
    ("sslmode=require&sslnegotiation=direct", ""),
    ("sslmode=require", "PGSSLNEGOTIATION=direct"),
    ("sslmode=require&sslcertmode=disable", ""),
    ("sslmode=require&sslcertmode=require", ""),
    ("sslmode=require", "PGSSLCERTMODE=require"),
    ("sslmode=require&sslcert=/nowhere/client.crt", ""),
    ("sslmode=require", "PGSSLCERT=/nowhere/client.crt"),
    ("sslmode=verify-ca&sslrootcert=ROOT&sslcrl=/nowhere/ca.crl", ""),
    ("sslmode=verify-ca&sslrootcert=ROOT&sslsni=0", ""),
    ("require_auth=scram-sha-256", ""),
    ("require_auth=password", ""),
    ("", "PGREQUIREAUTH=none"),
    ("requirepeer=postgres", ""),
    ("", "PGREQUIREPEER=postgres"),
    ("", "PGSERVICE=leads"),
];

pub fn of_parameters(files: &Files<'_>) -> Vec<Case> {
    let mut cases = Vec::new();
    for server in ["no-tls", "dns"] {
        for (parameters, variables) in STATED {
            let placed = |text: &str| {
                let other = text.replace("=OTHER", &format!("={}", files.path("other.root")));
                other.replace("=ROOT", &format!("={}", files.path("dns.root")))
            };
            let variables_placed = placed(variables);
            let pairs = variables_placed.split(' ').filter_map(|pair| pair.split_once('='));
            let mut env: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            env.push(("SSL_CERT_FILE".to_owned(), files.path("dns.root")));
            cases.push(Case {
                name: format!("{server} url[{parameters}] env[{variables}]"),
                server: server.to_owned(),
                host: "localhost",
                parameters: placed(parameters),
                env,
                password: true,
            });
        }
    }
    cases
}

/// The stored verdicts by the cases' names.
pub fn stored() -> BTreeMap<String, Verdict> {
    let text = std::fs::read_to_string(STORED).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, verdict) = line.rsplit_once(": ").unwrap();
            (name.to_owned(), Verdict::read(verdict).unwrap())
        })
        .collect()
}
