//! The rules in words, and the place on Landing that gave a column its value; pure.
//!
//! [`TableMapping::origins`] asks the same functions as the mapping itself which alternative of a rule decides, so
//! that no explanation can name another alternative than the one that was taken. The words hold the words of a
//! rule (`direct`, `challenge`), and never a text of a row.

use std::borrow::Cow;
use std::fmt;

use super::leads::Metadata;
use super::values::{FunnelAlternative, SourceAlternative, funnel_alternative, number, source_alternative};
use super::{Rule, TableMapping, Target};
use crate::model::change::{Datum, Row, Table};

/// A place in a Landing row from which a rule takes a value. Printed as SQL on Landing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A column of Landing.
    Column(Cow<'static, str>),
    /// A key of `metadata`.
    Metadata(Cow<'static, str>),
    /// A key of `metadata->'utmParams'`.
    UtmParams(&'static str),
}

impl Place {
    /// The name of the column or key.
    pub fn name(&self) -> &str {
        match self {
            Place::Column(name) | Place::Metadata(name) => name,
            Place::UtmParams(name) => name,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Column(name) => f.write_str(name),
            Place::Metadata(key) => write!(f, "metadata->>'{key}'"),
            Place::UtmParams(key) => write!(f, "metadata->'utmParams'->>'{key}'"),
        }
    }
}

/// Where a column of a Traffic row got its value from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The place that decided the value; `None` where no place of the rule did.
    pub place: Option<Place>,
    /// What the rule does with the value of the place, or what the rule gives without a place.
    pub how: Cow<'static, str>,
}

impl Origin {
    fn of(place: Place, how: impl Into<Cow<'static, str>>) -> Self {
        Origin { place: Some(place), how: how.into() }
    }

    fn without_place(how: &'static str) -> Self {
        Origin { place: None, how: Cow::Borrowed(how) }
    }
}

impl TableMapping {
    /// The rule of a column of Traffic's table, in words.
    pub fn rule_in_words(&self, target: &Target) -> String {
        let column = |at: usize| self.column_name(at);
        if !self.gives(target) {
            return "Landing has no such column: the value is Traffic's own".to_owned();
        }
        match target.rule {
            Rule::Verbatim(at) => format!("{}, verbatim", column(at)),
            Rule::NormalizedPhone(at) => format!("normalize_phone({}): ASCII digits and +", column(at)),
            Rule::SourceWord(at) => format!(
                "{0}: direct for twland and for null; facebook, tiktok or google where {0} contains that word in \
                 any case; else verbatim",
                column(at)
            ),
            Rule::Utm { own, snake, camel } => {
                let places = [
                    Place::Column(column(own)),
                    Place::Metadata(snake.into()),
                    Place::Metadata(camel.into()),
                    Place::UtmParams(snake),
                    Place::UtmParams(camel),
                ];
                let places = places.iter().skip(usize::from(!self.has(own))).map(Place::to_string);
                let places: Vec<String> = places.collect();
                format!("the first value that is neither null nor empty of {}", places.join(", "))
            }
            Rule::Funnel { source } => format!(
                "challenge3d where {0} contains challenge in any case or {1} says so; else intensive1d likewise \
                 with intensive; else express",
                column(source),
                Place::Metadata("funnel_type".into())
            ),
            Rule::Number(at) => {
                format!("the number in {}, of digits alone and within a bigint; else null", column(at))
            }
            Rule::FalseWhenNull(at) => format!("{}; null becomes false", column(at)),
            Rule::ZeroWhenNull(at) => format!("{}; null becomes 0", column(at)),
            Rule::FacebookKey => {
                format!(
                    "{}; without a value there, Traffic's value stays",
                    Place::Metadata(target.name.clone())
                )
            }
        }
    }

    /// Where each of [`TableMapping::targets`] gets its value from. `row` has no unchanged TOAST value.
    pub fn origins(&self, row: &Row) -> Vec<Origin> {
        let metadata = match self.table {
            Table::LandingLeads => Metadata::of(row),
            Table::LeadJourney | Table::ScheduledNotifications => Metadata::default(),
        };
        self.targets().iter().map(|target| self.origin(target, row, &metadata)).collect()
    }

    fn origin(&self, target: &Target, row: &Row, metadata: &Metadata<'_>) -> Origin {
        let text = |at: usize| row.values.get(at).and_then(Datum::as_str);
        let place = |at: usize| Place::Column(self.column_name(at));
        let or = |at: usize, how: &'static str, null: &'static str| match text(at) {
            Some(_) => Origin::of(place(at), how),
            None => Origin::without_place(null),
        };
        if !self.gives(target) {
            return Origin::without_place("Traffic's own");
        }
        match target.rule {
            Rule::Verbatim(at) => or(at, "verbatim", "null on Landing"),
            Rule::NormalizedPhone(at) => or(at, "ASCII digits and +", "null on Landing"),
            Rule::SourceWord(at) => match source_alternative(text(at)) {
                SourceAlternative::Null => Origin::without_place("null becomes direct"),
                SourceAlternative::Twland => Origin::of(place(at), "twland becomes direct"),
                SourceAlternative::Platform(word) => Origin::of(place(at), format!("contains {word}")),
                SourceAlternative::AsItIs => Origin::of(place(at), "verbatim"),
            },
            Rule::Utm { own, snake, camel } => match text(own) {
                Some(value) if !value.is_empty() => Origin::of(place(own), "verbatim"),
                _ => match metadata.utm_with_place(snake, camel) {
                    Some((place, _)) => Origin::of(place, "verbatim"),
                    None => Origin::without_place("no place has a value"),
                },
            },
            Rule::Funnel { source } => {
                let declared = metadata.text("funnel_type");
                match funnel_alternative(text(source), declared.as_deref()).1 {
                    FunnelAlternative::Source(word) => Origin::of(place(source), format!("contains {word}")),
                    FunnelAlternative::Declared => {
                        Origin::of(Place::Metadata("funnel_type".into()), "verbatim")
                    }
                    FunnelAlternative::Neither => {
                        Origin::without_place("express, as no place names another funnel")
                    }
                }
            }
            Rule::Number(at) => match text(at).map(number) {
                Some(Ok(Some(_))) => Origin::of(place(at), "the number"),
                // The conversion note has the reason.
                Some(Err(_)) => Origin::of(place(at), "no number of a bigint: null"),
                Some(Ok(None)) | None => Origin::without_place("no number on Landing"),
            },
            Rule::FalseWhenNull(at) => or(at, "verbatim", "null becomes false"),
            Rule::ZeroWhenNull(at) => or(at, "verbatim", "null becomes 0"),
            Rule::FacebookKey => match metadata.text(&target.name) {
                Some(_) => Origin::of(Place::Metadata(target.name.clone()), "verbatim"),
                None => Origin::without_place("not in metadata, so Traffic's own"),
            },
        }
    }

    fn column_name(&self, at: usize) -> Cow<'static, str> {
        self.columns().get(at).map_or(Cow::Borrowed("?"), |column| column.name.clone())
    }
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
