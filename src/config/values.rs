//! Single values, each with an error that names the valid form.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tracing_subscriber::EnvFilter;

use crate::model::change::Table;
use crate::model::names::{LONGEST, REVERSE_SUFFIX, check_name};

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("`{other}` is neither text nor json")),
        }
    }
}

/// Address for HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    Off,
    At(SocketAddr),
}

impl Listen {
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Listen::Off => None,
            Listen::At(address) => Some(address),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Listen::Off),
            address => address
                .parse()
                .map(Listen::At)
                .map_err(|_| format!("`{address}` is neither an address such as 127.0.0.1:9187 nor off")),
        }
    }
}

/// Accepts a `tracing` filter.
pub fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("is not a valid tracing filter such as info or leadbridge=debug,info".to_owned()),
    }
}

/// Checks a slot's name against PostgreSQL's rules. The slot on Traffic has the same name with a suffix.
pub fn slot(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    match text {
        "" => Err("a slot's name cannot be empty".to_owned()),
        name if name.bytes().all(allowed) => with_room_for_suffix("a slot's", name),
        _ => Err("a slot's name holds only a–z, 0–9 and _".to_owned()),
    }
}

/// Checks a publication's name. The publication on Traffic has the same name with a suffix.
pub fn publication(text: &str) -> Result<String, String> {
    identifier(text).and_then(|name| with_room_for_suffix("a publication's", &name))
}

fn with_room_for_suffix(whose: &str, name: &str) -> Result<String, String> {
    let longest = LONGEST - REVERSE_SUFFIX.len();
    match name.len() {
        length if length > longest => Err(format!(
            "{whose} name has at most {longest} bytes: with {REVERSE_SUFFIX} behind it, it is that on Traffic"
        )),
        _ => Ok(name.to_owned()),
    }
}

/// Checks the name of a schema or a publication.
pub fn identifier(text: &str) -> Result<String, String> {
    check_name(text).map_err(|why| format!("a name that {why}"))?;
    Ok(text.to_owned())
}

/// Checks the name of a schema that leadbridge creates: PostgreSQL refuses to create a name with `pg_` at the
/// beginning.
pub fn own_schema(text: &str) -> Result<String, String> {
    match text {
        name if name.starts_with("pg_") => Err("a schema's name cannot begin with pg_".to_owned()),
        name => identifier(name),
    }
}

/// Checks the name of the journey's table on Landing: another replicated table cannot be the journey too.
pub fn journey(text: &str) -> Result<String, String> {
    match Table::from_label(text) {
        Some(other) if other != Table::LeadJourney => {
            Err(format!("`{text}` is another table of Landing, not the journey"))
        }
        _ => identifier(text),
    }
}

/// Checks the message to a refused writer: a single line, because longer texts do not fit where clients show
/// errors.
pub fn message(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a message cannot be empty".to_owned()),
        line if line.chars().count() > 500 => Err("a message has at most 500 characters".to_owned()),
        line if line.contains(char::is_control) => Err("a message is one line".to_owned()),
        line => Ok(line.to_owned()),
    }
}

/// Checks an entry of `[privacy] accept`: a role and an object, `anon:traffic_leads`.
pub fn role_and_object(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((role, object))
            if check_name(role).is_ok() && check_name(object).is_ok() && !object.contains(':') =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("`{text}` is not a role and an object, such as \"anon:traffic_leads\"")),
    }
}

/// Reads a string, and parses the string with `FromStr`.
pub fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Reads a string, and applies `check`.
pub fn checked<'de, D: Deserializer<'de>>(
    from: D,
    check: fn(&str) -> Result<String, String>,
) -> Result<String, D::Error> {
    check(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// Checks the name of an environment variable.
pub fn variable(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match text.bytes().next() {
        Some(first) if !first.is_ascii_digit() && text.bytes().all(allowed) => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is not the name of an environment variable, such as \"SSH_AUTH_SOCK\"")),
    }
}

/// Reads a list of strings, and applies `check` to each.
pub fn each<'de, D: Deserializer<'de>>(
    from: D,
    check: fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| check(text).map_err(D::Error::custom)).collect()
}

/// Reads a whole number between two bounds.
pub fn within<'de, D: Deserializer<'de>, const MIN: usize, const MAX: usize>(
    from: D,
) -> Result<usize, D::Error> {
    let number = i64::deserialize(from)?;
    usize::try_from(number)
        .ok()
        .filter(|number| (MIN..=MAX).contains(number))
        .ok_or_else(|| D::Error::custom(format!("{number} is not between {MIN} and {MAX}")))
}

/// Reads a duration such as `10s`, `200ms` or `5min`, longer than zero.
pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    match humantime::parse_duration(&text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err(D::Error::custom("a duration must be longer than zero")),
        Err(_) => {
            Err(D::Error::custom(format!("`{text}` is not a valid duration such as 200ms, 10s or 5min")))
        }
    }
}

/// Reads a duration as [`duration`] does, or `off`.
pub fn duration_or_off<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    match humantime::parse_duration(&text) {
        _ if text == "off" => Ok(None),
        Ok(duration) if !duration.is_zero() => Ok(Some(duration)),
        _ => Err(D::Error::custom(format!("`{text}` is neither a duration such as 10min or 1h, nor off"))),
    }
}

/// Reads a share of the time.
pub fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(from)?;
    match (0.001..=1.0).contains(&number) {
        true => Ok(number),
        false => Err(D::Error::custom(format!("{number} is not between 0.001 and 1"))),
    }
}

/// Reads seconds, with a fraction if need be.
pub fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(from)?;
    if number.is_finite() && number >= 0.0 {
        Ok(number)
    } else {
        Err(D::Error::custom(format!("{number} is not a valid number of seconds")))
    }
}

/// Parses a size: a number of bytes, or text such as `16MiB`.
pub fn size(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.as_u64())
        .map_err(|_| format!("`{text}` is not a valid size such as 1048576, 512KiB or 16MiB"))
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a size such as 1048576, \"512KiB\" or \"16MiB\"")]
enum WrittenSize {
    Number(u64),
    Text(String),
}

/// Reads a size without bounds.
pub fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match WrittenSize::deserialize(from)? {
        WrittenSize::Number(number) => Ok(number),
        WrittenSize::Text(text) => size(&text).map_err(D::Error::custom),
    }
}

/// Reads the size of a batch: below 64 KiB each row would be a transaction, above 1 GiB memory would have no
/// bound.
pub fn batch_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let written = bytes(from)?;
    usize::try_from(written)
        .ok()
        .filter(|size| (64 << 10..=1 << 30).contains(size))
        .ok_or_else(|| D::Error::custom("is not between 64KiB and 1GiB"))
}
