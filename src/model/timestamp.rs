//! A moment by a database server's clock.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use postgres_protocol::types::{timestamp_from_sql, timestamp_to_sql};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// Microseconds since 2000-01-01 00:00 UTC: PostgreSQL's binary `timestamptz`, without any rounding.
///
/// Only times of the same server may be compared, because clocks differ between servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// 2000-01-01 00:00 UTC in microseconds since 1970.
pub const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

impl Timestamp {
    /// Parses PostgreSQL's output in UTC under `DateStyle = ISO`; `None` for a time outside the years 0 to
    /// 9999.
    pub fn from_output(text: &str) -> Option<Self> {
        let moment: jiff::Timestamp = text.parse().ok()?;
        moment.as_microsecond().checked_sub(POSTGRES_EPOCH).map(Timestamp)
    }

    /// A time of the calendar.
    pub fn of_calendar(moment: jiff::Timestamp) -> Self {
        Timestamp(moment.as_microsecond().saturating_sub(POSTGRES_EPOCH))
    }

    /// The time in the calendar; `None` for a time outside of it.
    pub fn in_calendar(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_microsecond(self.0.checked_add(POSTGRES_EPOCH)?).ok()
    }

    /// Seconds from `earlier` to this time; 0 when `earlier` is later.
    pub fn seconds_since(self, earlier: Timestamp) -> f64 {
        self.0.saturating_sub(earlier.0).max(0) as f64 / 1e6
    }
}

/// Serialises a time as RFC 3339 instead of a number of microseconds, for documents that are shown to people.
///
/// # Errors
/// Those of the serializer.
pub fn as_rfc3339<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// RFC 3339 in UTC; the bare number for a time outside the calendar.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_calendar() {
            Some(moment) => moment.fmt(f),
            None => write!(f, "{}", self.0),
        }
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        timestamp_to_sql(self.0, out);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        timestamp_from_sql(raw).map(Timestamp)
    }

    accepts!(TIMESTAMPTZ);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_as_people_and_scripts_write_it() {
        assert_eq!(Timestamp(0).to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(Timestamp(i64::MAX).to_string(), i64::MAX.to_string());
    }

    #[test]
    fn a_moment_is_read_as_postgresql_writes_it_and_what_has_no_place_in_the_calendar_is_none() {
        let read = |text| Timestamp::from_output(text).map(|moment| moment.0);
        assert_eq!(read("2000-01-01 00:00:00+00"), Some(0));
        assert_eq!(read("1999-12-31 23:59:59.000001+00"), Some(-999_999));
        assert_eq!(read("2025-10-14 04:41:14.337389+00"), Some(813_732_074_337_389));
        for text in ["infinity", "0044-03-15 12:00:00+00 BC", "10000-01-01 00:00:00+00", "2025-10-14"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_between_moments_are_never_negative() {
        assert_eq!(Timestamp(2_500_000).seconds_since(Timestamp(0)), 2.5);
        assert_eq!(Timestamp(0).seconds_since(Timestamp(1)), 0.0);
    }
}
