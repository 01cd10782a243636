//! What must hold for any URL and any configuration file that an operator may write. The fuzz targets `database_url` and
//! `config_file` include this file too.

use std::path::Path;

use leadbridge::config::{Config, Flags};
use leadbridge::error::Error;
use leadbridge::model::side::Side;
use leadbridge::postgres::Endpoint;
use secrecy::{ExposeSecret as _, SecretString};

/// A password that no other text of a message can hold by chance.
pub const PASSWORD: &str = "Geh31m7q";

/// Any text is a URL or an error, and the form that leadbridge gives an accepted URL is accepted, with the same meaning,
/// and stays as it is. `variables` are lines `NAME=value` of the environment.
pub fn any_url(text: &str, variables: &str) {
    let env = |wanted: &str| {
        let mut pairs = variables.lines().filter_map(|line| line.split_once('='));
        pairs.rfind(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
    };
    for side in [Side::Landing, Side::Traffic] {
        let Ok(endpoint) = Endpoint::parse_in(side, &SecretString::from(text), &env) else { continue };
        let written = endpoint.url();
        // The home directory and the system's bundle are no part of a URL.
        let places = |name: &str| env(name).filter(|_| matches!(name, "HOME" | "SSL_CERT_FILE"));
        let again = Endpoint::parse_in(side, &written, &places).expect("its own form is refused");
        assert_eq!(written.expose_secret(), again.url().expose_secret());
        assert_eq!(endpoint.to_string(), again.to_string());
        assert_eq!(endpoint.connect_timeout(), again.connect_timeout());
    }
}

/// No message shows a password, whatever stands around the password.
pub fn url_with_password(before: &str, after: &str) {
    let url = format!("postgresql://user:{before}{PASSWORD}{after}@host:5432/database");
    for side in [Side::Landing, Side::Traffic] {
        match Endpoint::parse_in(side, &SecretString::from(url.as_str()), &|_| None) {
            Ok(endpoint) => shows_no_password(&format!("{endpoint} {endpoint:?}")),
            Err(error) => error_shows_no_password(&error),
        }
    }
}

/// Any text is a configuration or an error. Each `~` stands for a URL with a password, which no error shows.
pub fn any_config(text: &str) {
    let text = text.replace('~', &format!("postgresql://u:{PASSWORD}@h/d"));
    let variables = |name: &str| match name {
        "LANDING_DATABASE_URL" if !text.contains("landing_database_url") => {
            Some("postgresql://u@h/d".to_owned())
        }
        "TRAFFIC_DATABASE_URL" if !text.contains("traffic_database_url") => {
            Some("postgresql://u@h/d".to_owned())
        }
        _ => None,
    };
    let source = Path::new("/etc/leadbridge/leadbridge.toml");
    if let Err(error) = Config::of_text(&text, source, &Flags::default(), &variables) {
        error_shows_no_password(&error);
    }
}

fn error_shows_no_password(error: &Error) {
    shows_no_password(&format!("{error} {error:?} {}", error.remedy_text().unwrap_or_default()));
}

fn shows_no_password(text: &str) {
    assert!(!text.contains(PASSWORD), "a message shows the password");
}
