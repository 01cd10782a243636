use super::super::security::{RootCertificate, SslMode, TlsVersion};
use super::*;

fn read(url: &str) -> Result<Address> {
    read_with(url, &[])
}

fn read_with(url: &str, variables: &[(&str, &str)]) -> Result<Address> {
    let env = |name: &str| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    };
    parse(Side::Traffic, &SecretString::from(url), &env)
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
    assert_eq!(address.hosts, [Host { name: "db.example".into(), port: 6000, address: None }]);
    assert_eq!(address.user, "us@er");
    assert_eq!(address.password.as_ref().unwrap().expose_secret(), "p/w:+x");
    assert_eq!(address.database, "l eads");
    assert_eq!(address.security.ssl_mode, Some(SslMode::VerifyFull));
    assert_eq!(address.security.root_certificate, Some(RootCertificate::File("/ca.pem".into())));
}

#[test]
fn what_is_left_out_has_libpqs_default() {
    let address = read("postgres://anna@db").unwrap();
    assert_eq!(address.database, "anna");
    assert_eq!(address.hosts[0].port, 5432);
    assert_eq!(address.security, Security::default());
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
fn an_address_goes_to_its_host_and_a_stray_one_is_refused() {
    let hosts = read("postgresql://u@a,b/d?hostaddr=127.0.0.1,").unwrap().hosts;
    assert_eq!(hosts.iter().map(|host| host.address).collect::<Vec<_>>(), ["127.0.0.1".parse().ok(), None]);
    assert_eq!(read("postgresql://u@a/d?hostaddr=::1").unwrap().hosts[0].address, "::1".parse().ok());
    for url in [
        "postgresql:///d?user=u&hostaddr=127.0.0.1",
        "postgresql://u@a,b/d?hostaddr=127.0.0.1",
        "postgresql://u@a/d?hostaddr=b",
        "postgresql:///d?user=u&host=/run/pg&hostaddr=127.0.0.1",
    ] {
        assert!(read(url).is_err(), "accepted: {url}");
    }
}

#[test]
fn the_environment_states_what_the_url_leaves_out() {
    let variables = [
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/env.pem"),
        ("PGCHANNELBINDING", "require"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
        ("PGSSLSNI", "0"),
        ("PGGSSENCMODE", "disable"),
        ("PGREQUIREAUTH", ""),
    ];
    let security = read_with("postgresql://u@h/d", &variables).unwrap().security;
    assert_eq!(security.ssl_mode, Some(SslMode::VerifyFull));
    assert_eq!(security.root_certificate, Some(RootCertificate::File("/env.pem".into())));
    assert_eq!(security.channel_binding, tokio_postgres::config::ChannelBinding::Require);
    assert_eq!((security.oldest, security.names_host), (TlsVersion::V1_3, false));
    let url = "postgresql://u@h/d?sslmode=disable&sslrootcert=/url.pem&channel_binding=disable";
    let security = read_with(url, &variables).unwrap().security;
    assert_eq!(security.ssl_mode, Some(SslMode::Disable));
    assert_eq!(security.root_certificate, Some(RootCertificate::File("/url.pem".into())));
    assert_eq!(security.channel_binding, tokio_postgres::config::ChannelBinding::Disable);
    let old = [("PGREQUIRESSL", "1")];
    assert_eq!(read_with("postgresql://u@h/d", &old).unwrap().security.ssl_mode, Some(SslMode::Require));
    assert_eq!(read("postgresql://u@h/d?ssl=true").unwrap().security.ssl_mode, Some(SslMode::Require));
}

#[test]
fn a_wish_that_cannot_be_honoured_is_refused_by_its_name() {
    for (parameter, variable, value) in [
        ("sslmode", "PGSSLMODE", "allow"),
        ("gssencmode", "PGGSSENCMODE", "require"),
        ("channel_binding", "PGCHANNELBINDING", "always"),
        ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", "TLSv1.4"),
        ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", "TLSv1.1"),
        ("sslnegotiation", "PGSSLNEGOTIATION", "direct"),
        ("sslcertmode", "PGSSLCERTMODE", "require"),
        ("sslcert", "PGSSLCERT", "/client.crt"),
        ("sslkey", "PGSSLKEY", "/client.key"),
        ("sslcrl", "PGSSLCRL", "/ca.crl"),
        ("sslcrldir", "PGSSLCRLDIR", "/crl"),
        ("requirepeer", "PGREQUIREPEER", "postgres"),
        ("require_auth", "PGREQUIREAUTH", "scram-sha-256"),
        ("gssdelegation", "PGGSSDELEGATION", "1"),
        ("service", "PGSERVICE", "leads"),
    ] {
        let error = read(&format!("postgresql://u@h/d?{parameter}={value}")).err().unwrap();
        assert!(error.to_string().contains(parameter) || parameter.ends_with("version"), "{error}");
        let error = read_with("postgresql://u@h/d", &[(variable, value)]).err().unwrap();
        assert!(error.to_string().contains(variable), "{error}");
        assert!(error.remedy_text().unwrap().contains(variable), "{error}");
    }
}

#[test]
fn a_url_of_an_address_means_the_same_address() {
    for url in [
        "postgresql://us%40er:p%2Fw%3A+x@db.example:6000/l%20eads?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql://u@a,b/d?hostaddr=127.0.0.1,&options=-c%20a%3Db&target_session_attrs=primary&sslsni=0",
        "postgresql://us%40er@h",
        "postgresql:///d?user=u&host=/run/pg&port=7000&ssl_min_protocol_version=TLSv1.3&sslrootcert=system",
    ] {
        let first = read(url).unwrap();
        let again = first.url().expose_secret().to_owned();
        let second = read_with(&again, &[("PGSSLROOTCERT", "/other"), ("PGSSLSNI", "1")]).unwrap();
        assert_eq!(again, second.url().expose_secret());
        assert_eq!(first.hosts, second.hosts);
        assert_eq!(first.security, second.security);
    }
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
