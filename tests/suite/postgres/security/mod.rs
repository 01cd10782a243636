//! A stated wish for security is honoured or refused: every combination, against libpq's verdict.

mod cases;
mod certificates;
mod libpq;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use futures_util::{StreamExt as _, stream};
use leadbridge::error::{Error, Kind as ErrorKind, Result};
use leadbridge::model::side::Side;
use leadbridge::postgres::Endpoint;
use leadbridge::throwaway::Cluster;

use crate::testkit::{template, until_true};
use cases::{Case, Files, STORED, Verdict, of_certificates, of_parameters, stored};
use certificates::{Kind, kinds, other_root};
use libpq::Libpq;

/// A server whose certificate can be changed, and the clients' files.
struct School {
    cluster: Cluster,
    kinds: Vec<Kind>,
    dir: tempfile::TempDir,
}

impl School {
    async fn open() -> Self {
        let cluster =
            Cluster::start(&template().await, &[("listen_addresses", "127.0.0.1,::1")]).await.unwrap();
        let (kinds, dir) = (kinds(), tempfile::tempdir().unwrap());
        let home = |name: &str, root: Option<&str>| {
            let home = dir.path().join(name).join(".postgresql");
            std::fs::create_dir_all(&home).unwrap();
            root.into_iter().for_each(|root| std::fs::write(home.join("root.crt"), root).unwrap());
        };
        let trusted = |name: &str, root: &str| {
            std::fs::write(dir.path().join(format!("{name}.root")), root).unwrap();
            home(&format!("{name}.home"), Some(root));
        };
        home("empty.home", None);
        trusted("other", &other_root());
        // A server without TLS has no certificate, and its clients may trust any.
        trusted("no-tls", &other_root());
        for kind in &kinds {
            trusted(kind.name, &kind.root);
            cluster.install(&format!("{}.crt", kind.name), kind.chain.as_bytes()).unwrap();
            cluster.install(&format!("{}.key", kind.name), kind.key.as_bytes()).unwrap();
        }
        let ours = "host all anyone all trust\nhost all known all scram-sha-256\n";
        let theirs = std::fs::read_to_string(cluster.data_dir().join("pg_hba.conf")).unwrap();
        cluster.install("pg_hba.conf", format!("{ours}{theirs}").as_bytes()).unwrap();
        let roles =
            "CREATE ROLE anyone LOGIN REPLICATION; CREATE ROLE known LOGIN REPLICATION PASSWORD 'geheim'";
        cluster.connect("postgres").await.unwrap().batch_execute(roles).await.unwrap();
        School { cluster, kinds, dir }
    }

    fn files(&self) -> Files<'_> {
        Files(self.dir.path())
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = of_certificates(&self.files(), &self.kinds);
        cases.extend(of_parameters(&self.files()));
        cases
    }

    fn empty_home(&self) -> std::path::PathBuf {
        self.dir.path().join("empty.home")
    }

    /// Returns when new connections find the certificate called `name`, or no TLS.
    async fn present(&self, name: &str) {
        let session = self.cluster.connect("postgres").await.unwrap();
        let on = name != "no-tls";
        let file = if on { name } else { "dns" };
        for statement in [
            format!("ALTER SYSTEM SET ssl = {on}"),
            format!("ALTER SYSTEM SET ssl_cert_file = '{file}.crt'"),
            format!("ALTER SYSTEM SET ssl_key_file = '{file}.key'"),
        ] {
            session.batch_execute(&statement).await.unwrap();
        }
        self.cluster.reload();
        let (state, file) = (if on { "on" } else { "off" }, format!("{file}.crt"));
        until_true("the server has its new certificate", async || {
            let session = self.cluster.connect("postgres").await.unwrap();
            let sql = "SELECT current_setting('ssl'), current_setting('ssl_cert_file')";
            let row = session.query_one(sql, &[]).await.unwrap();
            row.get::<_, &str>(0) == state && row.get::<_, &str>(1) == file
        })
        .await;
        let log = std::fs::read_to_string(self.cluster.log()).unwrap();
        assert!(!log.contains("SSL configuration was not reloaded"), "{name}: {log}");
    }

    /// The cases of each server, with the server's certificate in place for `each` of them.
    async fn go_through<T>(&self, cases: Vec<Case>, each: impl AsyncFn(&Case) -> T) -> Vec<(Case, T)> {
        let mut results = Vec::new();
        for group in cases.chunk_by(|one, next| one.server == next.server) {
            self.present(&group[0].server).await;
            let attempts = stream::iter(group).map(|case| each(case));
            let found: Vec<T> = attempts.buffered(4).collect().await;
            results.extend(group.iter().cloned().zip(found));
        }
        results
    }
}

/// The verdict of an ordinary connection.
async fn ours(case: &Case, port: u16, home: &Path) -> Result<Verdict> {
    let session = endpoint(Side::Traffic, case, port, home)?.connect("test").await?;
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = session.query_one(sql, &[]).await.map_err(|error| Error::database("asking", &error))?;
    Ok(if row.get(0) { Verdict::Encrypted } else { Verdict::Plain })
}

async fn replicates(case: &Case, port: u16, home: &Path) -> Result<()> {
    let mut session = endpoint(Side::Landing, case, port, home)?.replicate().await?;
    session.identify_system("connecting").await.map(|_| ())
}

fn endpoint(side: Side, case: &Case, port: u16, home: &Path) -> Result<Endpoint> {
    let stated =
        |name: &str| case.env.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.clone());
    let env = |name: &str| match name {
        "HOME" => Some(stated(name).unwrap_or_else(|| home.display().to_string())),
        name => stated(name),
    };
    Endpoint::parse_in(side, &case.url(port).into(), &env)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a libpq beside the server, or in LIBPQ, and a C compiler; LIBPQ_STORE=1 writes the file"]
async fn libpq_gives_the_stored_verdicts() {
    let school = School::open().await;
    let bin = std::env::var_os("PG_BIN").expect("PG_BIN is the directory of the server's programs");
    let libpq = Libpq::build(school.dir.path(), Path::new(&bin));
    let (port, home) = (school.cluster.port(), school.empty_home());
    let found = school
        .go_through(school.cases(), async |case: &Case| {
            tokio::task::block_in_place(|| libpq.verdict(case, port, &home))
        })
        .await;
    if std::env::var_os("LIBPQ_STORE").is_some() {
        let mut text = format!(
            "# Verdicts of libpq {}. Made by the test libpq_gives_the_stored_verdicts with LIBPQ_STORE=1.\n",
            libpq.version()
        );
        for (case, verdict) in &found {
            writeln!(text, "{}: {}", case.name, verdict.word()).unwrap();
        }
        std::fs::write(STORED, text).unwrap();
    }
    let stored = stored();
    let other: Vec<&str> = found
        .iter()
        .filter(|(case, verdict)| stored.get(&case.name) != Some(verdict))
        .map(|(case, _)| case.name.as_str())
        .collect();
    assert!(other.is_empty(), "libpq {} has another verdict: {other:#?}", libpq.version());
    assert_eq!(stored.len(), found.len(), "stored verdicts without a case");
}

/// A reason's name, and whether a case of that name, with libpq's verdict, is refused for it.
type Reason = (&'static str, fn(&str, Verdict) -> bool);

/// What leadbridge refuses and libpq takes, by the reason's name in docs/design.md. `sslmode=disable` is no such case: who
/// states it wants no check.
const STRICTER: [Reason; 8] = [
    ("no plain connection after a refused certificate", |name, libpq| {
        let trusts = !name.contains("url[") || name.contains("env[PGSSLROOTCERT=OTHER]");
        libpq == Verdict::Plain && !name.starts_with("no-tls") && trusts
    }),
    ("a stated root certificate asks for TLS", |name, _| {
        let stated = ["file sslmode-not-stated", "url[] env[PGSSLROOTCERT=", "url[sslrootcert=ROOT] env["];
        name.starts_with("no-tls") && stated.iter().any(|stated| name.contains(stated))
    }),
    ("a stated root certificate is there", |name, _| name.contains(" missing-file ")),
    ("an old form below an intermediate CA", |name, _| {
        (name.starts_with("v1-below-between") || name.starts_with("ca-below-between"))
            && name.contains(" file ")
    }),
    ("a wildcard stands for a name", |name, _| name == "wildcard-of-address ipv4 file sslmode=verify-full"),
    ("a common name under constraints", |name, _| {
        name.starts_with("root-bound") && name.ends_with("-cn name file sslmode=verify-full")
    }),
    ("`sslmode=allow`", |name, _| name.contains("sslmode=allow")),
    ("what leadbridge cannot do", |name, _| {
        let wishes = [
            "SSLNEGOTIATION=direct",
            "sslnegotiation=direct",
            "PGSSLCERTMODE=require",
            "PGSSLCERT=",
            "sslcert=",
            "sslcrl=",
            "require_auth=",
            "PGREQUIREAUTH=",
            "requirepeer=",
            "PGREQUIREPEER=",
        ];
        wishes.iter().any(|wish| name.contains(wish))
    }),
];

/// The reason for which leadbridge refuses what libpq takes.
fn stricter(name: &str, libpq: Verdict) -> Option<&'static str> {
    let applies = |reason: &&Reason| {
        libpq != Verdict::Refused && !name.contains("sslmode=disable") && reason.1(name, libpq)
    };
    STRICTER.iter().find(applies).map(|(reason, _)| *reason)
}

/// What is wrong with leadbridge's verdict of a case, if anything.
fn wrong(case: &Case, libpq: Verdict, ours: &Result<Verdict>, replication: &Result<()>) -> Option<String> {
    let verdict = ours.as_ref().copied().unwrap_or(Verdict::Refused);
    let name = &case.name;
    let expected = stricter(name, libpq).map_or(libpq, |_| Verdict::Refused);
    // leadbridge's own streaming connection binds to no channel.
    let landing_refuses =
        name.contains("channel_binding=require") || name.contains("PGCHANNELBINDING=require");
    if verdict != expected {
        return Some(format!("{name}: libpq {}, leadbridge {}: {ours:?}", libpq.word(), verdict.word()));
    }
    if replication.is_ok() != (verdict != Verdict::Refused && !landing_refuses) {
        return Some(format!("{name}: leadbridge {}, replication {replication:?}", verdict.word()));
    }
    let reasons = [ours.as_ref().err(), replication.as_ref().err()];
    let vague = |error: &&Error| !matches!(error.kind(), ErrorKind::Usage | ErrorKind::Refused);
    reasons.into_iter().flatten().find(vague).map(|error| format!("{name}: refused for no reason: {error:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn leadbridge_is_never_laxer_than_libpq_and_stricter_only_where_the_design_says_so() {
    let school = School::open().await;
    let (port, home, stored) = (school.cluster.port(), school.empty_home(), stored());
    let mut cases = school.cases();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        cases.retain(|case| case.host != "[::1]");
    }
    let count = cases.len();
    let found = school
        .go_through(cases, async |case: &Case| {
            (ours(case, port, &home).await, replicates(case, port, &home).await)
        })
        .await;
    let mut reasons = BTreeSet::new();
    let mut complaints = Vec::new();
    for (case, (ours, replication)) in &found {
        let libpq = stored[&case.name];
        complaints.extend(wrong(case, libpq, ours, replication));
        reasons.extend(stricter(&case.name, libpq));
    }
    assert!(complaints.is_empty(), "{} of {count}: {complaints:#?}", complaints.len());
    let design = include_str!("../../../../docs/design.md");
    for (reason, _) in STRICTER {
        assert!(reasons.contains(reason), "leadbridge is nowhere stricter: {reason}");
        assert!(design.contains(&format!("| {reason} |")), "docs/design.md does not say: {reason}");
    }
}
