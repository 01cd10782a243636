//! URLs and configuration files out of the pieces that operators write, in any order.

use proptest::prelude::*;

use super::cases;
use super::operators_text::{any_config, any_url, url_with_password};

const OF_URLS: [&str; 56] = [
    "postgresql://",
    "postgres://",
    "u",
    ":",
    "@",
    "p",
    "h",
    ".example",
    "/",
    "d",
    "?",
    "&",
    "=",
    ",",
    "[::1]",
    "[",
    "]",
    "127.0.0.1",
    "5432",
    "6543",
    "99999",
    "%40",
    "%2C",
    "%00",
    "%zz",
    "%ff",
    "+",
    " ",
    "#",
    "\n",
    "é",
    "pooler.",
    "host=",
    "hostaddr=",
    "port=",
    "user=",
    "password=",
    "dbname=",
    "sslmode=",
    "verify-full",
    "prefer",
    "sslrootcert=",
    "system",
    "/nowhere",
    "channel_binding=require",
    "ssl_min_protocol_version=TLSv1.3",
    "connect_timeout=",
    "-1",
    "options=",
    "target_session_attrs=",
    "read-write",
    "gssencmode=",
    "disable",
    "service=",
    "sslsni=0",
    "/run/pg",
];

const OF_FILES: [&str; 40] = [
    "landing_database_url",
    "traffic_database_url",
    "state_dir",
    "http_listen",
    "scheduled_notifications",
    " = ",
    "'",
    "\"",
    "\"\"\"",
    "'''",
    "\n",
    "\r",
    "~",
    "[",
    "]",
    "[[",
    "]]",
    ".",
    "names",
    "columns",
    "stream",
    "snapshot",
    "cutover",
    "privacy",
    "retry",
    "log",
    "rename",
    "skip",
    "{",
    "}",
    ",",
    "true",
    "1",
    "-1",
    "1e400",
    "1979-05-27",
    "\\u0000",
    "\\",
    "#",
    "é",
];

const OF_ENVIRONMENTS: [&str; 9] = [
    "PGSSLMODE=require\n",
    "PGSSLMODE=verify-full\n",
    "PGSSLROOTCERT=system\n",
    "PGSSLROOTCERT=\n",
    "PGGSSENCMODE=require\n",
    "PGCHANNELBINDING=require\n",
    "PGSSLMAXPROTOCOLVERSION=TLSv1.2\n",
    "PGREQUIRESSL=1\n",
    "PGSERVICE=\n",
];

fn text_of(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    let piece = prop_oneof![8 => prop::sample::select(pieces).prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(piece, 0..most).prop_map(|pieces| pieces.concat())
}

/// A URL that is nearly good, so that most of the cases reach what follows the parsing.
fn nearly_a_url() -> impl Strategy<Value = String> {
    let parameters = prop::collection::vec(text_of(&OF_URLS, 4), 0..4);
    (text_of(&OF_URLS, 3), parameters)
        .prop_map(|(host, parameters)| format!("postgresql://u:p@h{host}/d?{}", parameters.join("&")))
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_text_is_a_url_with_one_meaning_or_an_error(
        text in prop_oneof![text_of(&OF_URLS, 12), nearly_a_url(), any::<String>()],
        variables in text_of(&OF_ENVIRONMENTS, 3),
    ) {
        any_url(&text, &variables);
    }

    #[test]
    fn no_message_about_a_url_shows_its_password(before in text_of(&OF_URLS, 6), after in text_of(&OF_URLS, 6)) {
        url_with_password(&before, &after);
    }

    #[test]
    fn any_text_is_a_configuration_or_an_error_without_a_password(text in text_of(&OF_FILES, 16)) {
        any_config(&text);
    }
}
