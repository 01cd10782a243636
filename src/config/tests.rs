use std::collections::HashMap;
use std::io::Write as _;

use super::*;
use crate::error::Kind;

const URLS: [(&str, &str); 2] = [
    ("LANDING_DATABASE_URL", "postgresql://u:geheim@landing/d"),
    ("TRAFFIC_DATABASE_URL", "postgresql://u:geheim@traffic/d"),
];

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config> {
    let file = file(text);
    let flags = Flags { config: Some(file.path().into()), ..Flags::default() };
    load_with(&flags, variables)
}

fn load_with(flags: &Flags, variables: &[(&str, &str)]) -> Result<Config> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    Config::load(flags, &|name| variables.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn every_key_has_a_default_but_the_urls() {
    let config = load("", &URLS).unwrap();
    assert_eq!(config.names, Names::default());
    assert_eq!(config.state_dir, Path::new("/var/lib/leadbridge"));
    assert_eq!(config.http_listen.unwrap().to_string(), "127.0.0.1:9187");
    assert_eq!((config.batch_rows, config.batch_bytes), (10_000, 4 << 20));
    assert_eq!(config.slot_creation_timeout, Duration::from_secs(600));
    assert!(!config.slot_failover);
    assert!(load("[snapshot]\nslot_failover = true", &URLS).unwrap().slot_failover);
    let accepting = load("[privacy]\naccept = ['anon:traffic_leads', 'anon:other.view']", &URLS).unwrap();
    assert_eq!(accepting.accepted_access, ["anon:traffic_leads", "anon:other.view"]);
    let error = load("", &URLS[..1]).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("TRAFFIC_DATABASE_URL"), "{error}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let text = "state_dir = '/file'\nhttp_listen = '127.0.0.1:1'\nhttp_token_file = '/file/token'\n[log]\nfilter = 'warn'\nformat = 'json'";
    let file = file(text);
    let mut flags = Flags { config: Some(file.path().into()), ..Flags::default() };
    let env = [("LEADBRIDGE_STATE_DIR", "/env"), ("LEADBRIDGE_HTTP_LISTEN", "off"), URLS[0], URLS[1]];
    let config = load_with(&flags, &env).unwrap();
    assert_eq!(config.state_dir, Path::new("/env"));
    assert_eq!(config.http_listen, None);
    assert_eq!(config.http_token_file.as_deref(), Some(Path::new("/file/token")));
    assert_eq!(config.log, Log { filter: "warn".into(), format: LogFormat::Json });
    flags.state_dir = Some("/flag".into());
    flags.http_listen = Some("[::1]:7".parse().unwrap());
    let config = load_with(&flags, &env).unwrap();
    assert_eq!(config.state_dir, Path::new("/flag"));
    assert_eq!(config.http_listen.unwrap().to_string(), "[::1]:7");
    let env = [("LEADBRIDGE_HTTP_TOKEN_FILE", "/env/token"), URLS[0], URLS[1]];
    let config = load_with(&flags, &env).unwrap();
    assert_eq!(config.http_token_file.as_deref(), Some(Path::new("/env/token")));
}

#[test]
fn a_wrong_line_is_named_with_key_and_file() {
    let cases = [
        ("\ncolour = 'red'", "line 2", "colour"),
        ("\n\nhttp_listen = 'here'", "line 3", "http_listen"),
        ("[names]\nslot = 'Lead-Bridge'", "line 2", "slot"),
        ("[names]\nslot = ''", "line 2", "slot"),
        ("[names]\npublication = 'a\"b'", "line 2", "publication"),
        (
            "[names]\npublication = 'fifty-six bytes are one more than leave room for a suffix.'",
            "line 2",
            "55 bytes",
        ),
        ("[names]\nslot = 'a_slot_of_fifty_six_bytes_which_is_one_more_than_may_be_'", "line 2", "55 bytes"),
        ("[names]\nschema = 'pg_leadbridge'", "line 2", "schema"),
        ("[names]\nlanding_schema = 'a$b'", "line 2", "landing_schema"),
        ("[stream]\n\nbatch_rows = 0", "line 3", "batch_rows"),
        ("[stream]\nbatch_bytes = '1 apple'", "line 2", "batch_bytes"),
        ("[stream]\nbatch_bytes = '1KiB'", "line 2", "batch_bytes"),
        ("[stream]\non_truncate = 'ignore'", "line 2", "on_truncate"),
        ("[stream]\nmax_lag_seconds = -1", "line 2", "max_lag_seconds"),
        ("[snapshot]\nworkers = 0", "line 2", "workers"),
        ("[snapshot]\nworkers = 'two'", "line 2", "workers"),
        ("[snapshot]\nsame_id = 'traffic'", "line 2", "same_id"),
        ("[cutover]\nmessage = ' '", "line 2", "message"),
        ("[cutover]\nmessage = 'a\tb'", "line 2", "message"),
        ("[privacy]\naccept = ['traffic_leads']", "line 2", "accept"),
        ("[privacy]\naccept = ['anon:']", "line 2", "accept"),
        ("[privacy]\naccept = ['anon:a:b']", "line 2", "accept"),
        ("[retry]\ninitial = '0s'", "line 2", "initial"),
        ("[retry]\nmax = 'long'", "line 2", "max"),
        ("[alert]\nafter = '0s'", "line 2", "after"),
        ("[alert]\ntoken = 'x'", "line 2", "token"),
        ("[alert]\ndaily_at = '25:00'", "line 2", "daily_at"),
        ("[alert]\nutc_offset = 'Moscow'", "line 2", "utc_offset"),
        ("[alert]\nmail_to = ['nobody']", "line 2", "mail_to"),
        ("[alert]\ntelegram_api = 'ftp://host'", "line 2", "telegram_api"),
        ("[alert]\ncertificate_days = 0", "line 2", "certificate_days"),
        ("[log]\nformat = 'xml'", "line 2", "format"),
        ("[log]\nfilter = 'a=b=c'", "line 2", "filter"),
        ("state_dir =", "line 1", "state_dir"),
    ];
    for (text, line, key) in cases {
        let file = file(text);
        let flags = Flags { config: Some(file.path().into()), ..Flags::default() };
        let error = load_with(&flags, &URLS).err().unwrap_or_else(|| panic!("accepted: {text}"));
        let shown = error.to_string();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(shown.contains(line) && shown.contains(key), "{text:?}: {shown}");
        assert!(shown.contains(&*file.path().to_string_lossy()), "{shown}");
    }
}

#[test]
fn a_channel_of_an_alert_is_complete_or_refused() {
    for (lines, key) in [
        ("telegram_token_file = '/t'", "telegram_chat_file"),
        ("smtp_url_file = '/s'\nmail_from = 'a@example.com'", "mail_to"),
        ("mail_to = ['a@example.com']", "smtp_url_file"),
        ("after = '2h'\nremind_every = '1h'", "remind_every"),
    ] {
        let error = load(&format!("[alert]\n{lines}"), &URLS).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains(key), "{lines}: {error}");
    }
    let lines = "[alert]\ndaily_at = 'off'\nutc_offset = '+03:00'\nsmtp_url_file = '/s'\n\
                 mail_from = 'leadbridge <a@example.com>'\nmail_to = ['b@example.com']";
    let alert = load(lines, &URLS).unwrap().settings.alert;
    assert_eq!((alert.times.daily_at, alert.times.offset.seconds()), (None, 3 * 3600));
    assert!(alert.has_channel() && alert.telegram.is_none());
}

#[test]
fn no_error_shows_a_url_of_the_file() {
    for text in [
        "landing_url = 'postgresql://u:geheim@h/d'",
        "scheduled_notifications = 'postgresql://u:geheim@h/d'",
        "landing_database_url = 'postgresql://u:geheim@h/d",
        "landing_database_url = 'postgresql://u:geheim@h:x/d'",
        "http_listen = 'postgresql://u:geheim@h/d'",
        "alert.telegram_api = 'https://u:geheim@h/d'",
        "alert.mail_from = 'geheim'",
        "columns.'postgresql://u:geheim@h/d'.skip = []",
    ] {
        let error = load(text, &[]).unwrap_err();
        let shown = format!("{error} {error:?}");
        let place = if text.starts_with("columns") { "[columns]" } else { "line 1" };
        assert!(!shown.contains("geheim") && shown.contains(place), "{shown}");
    }
}

#[test]
fn a_url_may_stand_in_a_file_of_its_own_but_not_twice() {
    let secret = file("postgresql://u:geheim@landing:5433/d\n");
    let path = secret.path().to_string_lossy().into_owned();
    let config = load("", &[("LANDING_DATABASE_URL_FILE", &path), URLS[1]]).unwrap();
    assert_eq!(config.landing.hosts(), "landing:5433");
    let error = load("", &[("LANDING_DATABASE_URL_FILE", &path), URLS[0], URLS[1]]).unwrap_err();
    assert!(error.to_string().contains("both set"), "{error}");
    let error = load("", &[("LANDING_DATABASE_URL_FILE", "/nowhere"), URLS[1]]).unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let flags = Flags { config: Some("/nowhere/leadbridge.toml".into()), ..Flags::default() };
    let error = load_with(&flags, &URLS).unwrap_err();
    assert!(error.to_string().contains("/nowhere/leadbridge.toml"), "{error}");
}

#[test]
fn the_example_file_says_what_the_defaults_are() {
    let text = include_str!("../../deploy/leadbridge.toml.example");
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#").filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .fold(String::new(), |all, line| all + line + "\n");
    let example = load(&uncommented, &[]).unwrap();
    let default = load("", &URLS).unwrap();
    assert_eq!(format!("{:?}", example.settings), format!("{:?}", default.settings));
    let keys = uncommented.lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count();
    assert_eq!(keys, 45, "every key is shown");
}
