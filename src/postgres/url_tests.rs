use super::*;

fn read(url: &str) -> Result<Address> {
    parse(Side::Traffic, &SecretString::from(url))
}

fn hosts_of(url: &str) -> Vec<String> {
    read(url).unwrap().hosts.iter().map(Host::to_string).collect()
}

#[test]
fn a_url_is_read_as_libpq_reads_it() {
    let address = read(
        "postgresql://us%40er:p%2Fw%3A+x@db.example:6000/l%20eads?sslmode=verify-full&sslrootcert=/ca.pem",
    )
    .unwrap();
    assert_eq!(address.hosts, [Host { name: "db.example".into(), port: 6000 }]);
    assert_eq!(address.user, "us@er");
    assert_eq!(address.password.as_ref().unwrap().expose_secret(), "p/w:+x");
    assert_eq!(address.database, "l eads");
    assert_eq!(address.ssl_mode, SslMode::VerifyFull);
    assert_eq!(address.root_certificate, Some(RootCertificate::File("/ca.pem".into())));
}

#[test]
fn what_is_left_out_has_libpqs_default() {
    let address = read("postgres://anna@db").unwrap();
    assert_eq!(address.database, "anna");
    assert_eq!(address.hosts[0].port, 5432);
    assert_eq!(address.ssl_mode, SslMode::Prefer);
    assert!(address.password.is_none());
    assert_eq!(address.connect_timeout, Duration::from_secs(10));
}

#[test]
fn addresses_of_every_kind_are_understood() {
    assert_eq!(hosts_of("postgresql://u@[2001:db8::7]:5433/d"), ["[2001:db8::7]:5433"]);
    assert_eq!(hosts_of("postgresql://u@a:1,b:2/d"), ["a:1", "b:2"]);
    assert_eq!(hosts_of("postgresql://u@a,b/d"), ["a:5432", "b:5432"]);
    assert_eq!(hosts_of("postgresql://u@/d?host=/run/pg&port=7000"), ["/run/pg/.s.PGSQL.7000"]);
    assert_eq!(hosts_of("postgresql://%2Frun%2Fpg/d?user=u"), ["/run/pg/.s.PGSQL.5432"]);
    assert_eq!(hosts_of("postgresql:///d?user=u&host=a,b&port=1,2"), ["a:1", "b:2"]);
}

#[test]
fn a_plus_in_a_parameter_stays_a_plus() {
    let address = read("postgresql://u@h/d?password=a+b%20c").unwrap();
    assert_eq!(address.password.unwrap().expose_secret(), "a+b c");
}

#[test]
fn no_error_shows_any_part_of_the_password() {
    for url in [
        "postgresql://u:geh@eim@h/d",
        "postgresql://u:geh?eim@h/d",
        "postgresql://u:7?geheim=1@h/d",
        "postgresql://u:geheim@h:port/d",
        "postgresql://u:geheim@h/d?colour=red",
        "postgresql://u:geheim@h/d?sslmode=geheim",
        "postgresql://u:geheim@h:1,i:2/d?port=1,2,3",
        "postgresql://u:geheim@/d",
        "mysql://u:geheim@h/d",
        "host=h password=geheim",
    ] {
        let error = read(url).err().unwrap_or_else(|| panic!("accepted: {url}"));
        let text = format!("{error} {error:?}");
        assert!(!text.contains("geh") && !text.contains("eim"), "{text}");
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(error.remedy_text().is_some());
    }
}

#[test]
fn an_unknown_parameter_is_named() {
    let error = read("postgresql://u@h/d?pgbouncer=true").err().unwrap().to_string();
    assert!(error.contains("`pgbouncer`"), "{error}");
}
