//! The journey's name on Landing: the only setting whose default is in a database.

use tokio_postgres::Client;

use super::{Config, Settings};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::names::{JOURNEY_NAMES, Names};
use crate::postgres::step::during;

const KEY: &str = "[names] landing_journey";

/// A relation of Landing that has one of the names looked for.
struct Candidate {
    name: String,
    is_ordinary: bool,
}

impl Config {
    /// The configuration with the names as Landing has them.
    ///
    /// # Errors
    /// The errors of [`Settings::names_on`].
    pub async fn resolved(&self, landing: &Client) -> Result<Config> {
        let mut config = self.clone();
        config.settings.names = self.names_on(landing).await?;
        Ok(config)
    }
}

impl Settings {
    /// The names as Landing has them: the journey is the configured table, or else whichever of the known names
    /// an ordinary table has.
    ///
    /// # Errors
    /// Refused when there is no such table, and when both known names are tables and none is configured.
    pub async fn names_on(&self, landing: &Client) -> Result<Names> {
        let sql = "SELECT c.relname::text, c.relkind = 'r' FROM pg_catalog.pg_class AS c \
                   JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                   WHERE n.nspname = $1 AND c.relname = ANY ($2) AND c.relkind = ANY ('{r,p,v,m,f}') ORDER BY 1 DESC";
        let wanted: Vec<&str> = JOURNEY_NAMES.into_iter().chain(self.landing_journey.as_deref()).collect();
        let step = during(landing, "looking for the journey on Landing");
        let rows = step.rows(sql, &[&self.names.landing_schema, &wanted]).await?;
        let found = rows.iter().map(|row| Candidate { name: row.get(0), is_ordinary: row.get(1) });
        let landing_journey = self.choose(&found.collect::<Vec<_>>())?;
        Ok(Names { landing_journey, ..self.names.clone() })
    }

    fn choose(&self, found: &[Candidate]) -> Result<String> {
        let schema = &self.names.landing_schema;
        let known = || found.iter().filter(|candidate| JOURNEY_NAMES.contains(&&*candidate.name));
        if let Some(name) = &self.landing_journey {
            if found.iter().any(|candidate| candidate.name == *name) {
                return Ok(name.clone());
            }
            let remedy = match known().find(|candidate| candidate.is_ordinary) {
                Some(there) => message!("config-remedy-journey-there", name = &there.name),
                None => message!("config-remedy-journey-setting"),
            };
            return Err(Error::refused(format!(
                "{KEY} names `{name}`, and Landing has no such table in {schema}"
            ))
            .remedy(remedy));
        }
        let ordinary: Vec<&Candidate> = known().filter(|candidate| candidate.is_ordinary).collect();
        match ordinary.as_slice() {
            [one] => Ok(one.name.clone()),
            // A view, for example: admission says what is wrong with the relation.
            [] => known().next().map(|other| other.name.clone()).ok_or_else(|| {
                Error::refused(format!(
                    "Landing has no journey: neither {} in {schema}",
                    JOURNEY_NAMES.join(" nor ")
                ))
                .remedy(message!("config-remedy-journey-name", key = KEY))
            }),
            _ => Err(Error::refused(format!("Landing has both {} in {schema}", JOURNEY_NAMES.join(" and ")))
                .remedy(message!("config-remedy-journey-both", key = KEY))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn choose(configured: Option<&str>, found: &[(&str, bool)]) -> Result<String> {
        let mut settings = Settings::load(&Flags::default(), &|_| None).unwrap();
        settings.landing_journey = configured.map(str::to_owned);
        let candidate = |(name, is_ordinary): &(&str, bool)| Candidate {
            name: (*name).to_owned(),
            is_ordinary: *is_ordinary,
        };
        settings.choose(&found.iter().map(candidate).collect::<Vec<_>>())
    }

    #[test]
    fn the_only_ordinary_table_with_a_known_name_is_the_journey() {
        assert_eq!(choose(None, &[("lead_journey", true)]).unwrap(), "lead_journey");
        assert_eq!(choose(None, &[("journey_stages", true)]).unwrap(), "journey_stages");
        let behind_a_view = [("lead_journey", false), ("journey_stages", true)];
        assert_eq!(choose(None, &behind_a_view).unwrap(), "journey_stages");
        assert_eq!(
            choose(None, &[("lead_journey", false)]).unwrap(),
            "lead_journey",
            "admission names its kind"
        );
    }

    #[test]
    fn a_configured_name_decides_and_must_be_there() {
        let both = [("lead_journey", true), ("journey_stages", true)];
        assert_eq!(choose(Some("journey_stages"), &both).unwrap(), "journey_stages");
        assert_eq!(choose(Some("stages"), &[("stages", true), both[0]]).unwrap(), "stages");
        let error = choose(Some("stages"), &both[1..]).unwrap_err();
        assert!(error.message().contains("`stages`"), "{error}");
        assert!(error.remedy_text().unwrap().contains("journey_stages is there"), "{error}");
    }

    #[test]
    fn two_tables_or_none_are_refused_with_the_names_and_the_setting() {
        let both = [("lead_journey", true), ("journey_stages", true)];
        for found in [&both[..], &[]] {
            let error = choose(None, found).unwrap_err();
            for expected in ["lead_journey", "journey_stages", "[names] landing_journey"] {
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
    }
}
