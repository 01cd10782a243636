//! `[verify]`: background verification.

use std::time::Duration;

use serde::Deserialize;

use super::values;

/// Background verification, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct BackgroundVerify {
    /// From the beginning of a round to the beginning of the next one; `None` when switched off.
    pub every: Option<Duration>,
    /// Interval at which every value is read again, even of rows that nobody has written since.
    pub full_every: Duration,
    /// Share of the time that comparing may take, between 0.001 and 1.
    pub share: f64,
    /// Verification rests while the lag is over this limit, in seconds.
    pub max_lag_seconds: f64,
    /// Whether the daemon repairs rows that differ.
    pub repair: bool,
    /// A round with more differing rows than this repairs none.
    pub repair_rows: usize,
}

/// The section as written.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifySection {
    #[serde(deserialize_with = "values::duration_or_off")]
    every: Option<Duration>,
    #[serde(deserialize_with = "values::duration")]
    full_every: Duration,
    #[serde(deserialize_with = "values::share")]
    share: f64,
    #[serde(deserialize_with = "values::seconds")]
    max_lag_seconds: f64,
    repair: bool,
    #[serde(deserialize_with = "values::within::<_, 1, 100_000>")]
    repair_rows: usize,
}

impl Default for VerifySection {
    fn default() -> Self {
        VerifySection {
            every: Some(Duration::from_secs(3600)),
            full_every: Duration::from_secs(24 * 3600),
            share: 0.1,
            max_lag_seconds: 10.0,
            repair: false,
            repair_rows: 100,
        }
    }
}

impl From<VerifySection> for BackgroundVerify {
    fn from(section: VerifySection) -> Self {
        let VerifySection { every, full_every, share, max_lag_seconds, repair, repair_rows } = section;
        BackgroundVerify { every, full_every, share, max_lag_seconds, repair, repair_rows }
    }
}
