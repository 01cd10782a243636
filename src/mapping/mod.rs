//! Maps a Landing row to a Traffic row: docs/mapping.md as tables of rules; pure.
//!
//! `leads`, `journey` and `notifications` hold one table of [`Target`] columns each, in the form of the
//! tables of docs/mapping.md. The writer builds its statements from the same tables, so no mapped column can
//! be missing from a statement.

pub mod inverse;
mod journey;
pub mod json;
mod leads;
mod metadata;
pub mod not_carried;
mod notifications;
mod table_mapping;
pub(crate) mod values;
mod words;

use std::borrow::Cow;

use bytestring::ByteString;
use uuid::Uuid;

pub use table_mapping::{Mapping, Passthrough, PassthroughColumn, TableMapping};
pub use words::{Origin, Place};

use crate::model::change::{Datum, Row, Table, lead};
use crate::model::names::column_ident;
use leads::Metadata;

/// A column of a Traffic table and the rule that fills the column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: Cow<'static, str>,
    /// The PostgreSQL type to which the text is cast.
    pub sql_type: Cow<'static, str>,
    rule: Rule,
}

/// How a target column gets its value. The numbers are positions in [`Row::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Landing's value as it is. Never cut: a row with a value that does not fit is quarantined.
    Verbatim(usize),
    NormalizedPhone(usize),
    SourceWord(usize),
    /// The first value that is neither null nor empty: Landing's own column, then `utm_source` and its
    /// camel-case twin `utmSource` in the metadata.
    Utm {
        own: usize,
        snake: &'static str,
        camel: &'static str,
    },
    Funnel {
        source: usize,
    },
    /// The number, if the text is a number that fits a bigint.
    Number(usize),
    FalseWhenNull(usize),
    ZeroWhenNull(usize),
    /// `metadata->>` the column's own name. Without a value in the metadata, Traffic's value stays.
    FacebookKey,
}

impl Target {
    const fn fixed(name: &'static str, sql_type: &'static str, rule: Rule) -> Self {
        Target { name: Cow::Borrowed(name), sql_type: Cow::Borrowed(sql_type), rule }
    }

    /// The column's name, quoted for SQL where necessary.
    pub fn ident(&self) -> Cow<'static, str> {
        column_ident(self.name.clone())
    }

    /// The rule, for reverse replication, which inverts the rule.
    pub(crate) fn rule(&self) -> Rule {
        self.rule
    }

    /// Whether Traffic's value stays as long as Landing gives none.
    pub fn keeps_target_when_null(&self) -> bool {
        matches!(self.rule, Rule::FacebookKey)
    }

    /// The position in a Landing row of the value that this column holds verbatim.
    pub fn verbatim_of(&self) -> Option<usize> {
        match self.rule {
            Rule::Verbatim(column) => Some(column),
            _ => None,
        }
    }

    /// Whether a lead's column comes from `metadata` alone. An update that leaves `metadata` unchanged leaves
    /// such a column unchanged.
    fn is_of_metadata(&self) -> bool {
        match self.rule {
            Rule::FacebookKey => true,
            Rule::Verbatim(column) => column == lead::METADATA,
            _ => false,
        }
    }

    /// Whether a column of any table comes from `metadata` alone.
    pub fn is_metadatas_of(&self, table: Table) -> bool {
        match table {
            Table::LandingLeads => self.is_of_metadata(),
            Table::LeadJourney | Table::ScheduledNotifications => self.name == "metadata",
        }
    }

    /// Whether a lead's column comes from `metadata` and another column.
    pub fn is_partly_of_metadata(&self) -> bool {
        self.other_source().is_some()
    }

    /// For a lead's column that comes from `metadata` and another column: the position of the other column in
    /// a Landing row.
    pub fn other_source(&self) -> Option<usize> {
        match self.rule {
            Rule::Funnel { source } => Some(source),
            Rule::Utm { own, .. } => Some(own),
            _ => None,
        }
    }

    /// For a column in which Landing's own value takes precedence over the metadata's: the position of Landing's
    /// own value.
    pub fn own_before_metadata(&self) -> Option<usize> {
        match self.rule {
            Rule::Utm { own, .. } => Some(own),
            _ => None,
        }
    }

    /// Whether the column is computed from values that Traffic also holds elsewhere, so that the value may be
    /// cut to fit.
    fn is_derived(&self) -> bool {
        matches!(self.rule, Rule::SourceWord(_) | Rule::Utm { .. } | Rule::FacebookKey)
    }
}

/// The columns of the Traffic table of `table` that the rules fill, without `id` and `landing_synced_at`.
pub fn known_targets(table: Table) -> &'static [Target] {
    match table {
        Table::LandingLeads => &leads::TARGETS,
        Table::LeadJourney => &journey::TARGETS,
        Table::ScheduledNotifications => &notifications::TARGETS,
    }
}

/// The column of Traffic's table that holds the value of a column of Landing that the rules read, in Landing's own
/// spelling as far as Traffic keeps it: `landing_source` for `source`, `email_sent` for `email_sent`.
pub fn spelled_on_traffic(table: Table, landing: &str) -> Option<&'static str> {
    let at = table.columns().iter().position(|column| column.name == landing)?;
    if at == 0 {
        return Some("id");
    }
    let holds = |target: &&Target| match target.rule {
        Rule::Verbatim(column) | Rule::FalseWhenNull(column) | Rule::ZeroWhenNull(column) => column == at,
        _ => false,
    };
    known_targets(table).iter().find(holds).and_then(|target| match &target.name {
        Cow::Borrowed(name) => Some(*name),
        Cow::Owned(_) => None,
    })
}

/// The longest text, in characters, that each of [`TableMapping::targets`] takes; `None` where there is no limit.
pub type Limits = [Option<usize>];

/// A row as Traffic is to hold the row.
#[derive(Debug, PartialEq, Eq)]
pub struct TrafficRow {
    pub id: Uuid,
    /// One value for each of [`TableMapping::targets`], or of [`TableMapping::partial_update_targets`], as text.
    pub values: Vec<Option<ByteString>>,
    /// The values that the mapping had to change.
    pub notes: Vec<Note>,
}

impl TrafficRow {
    /// Whether a value was too long for its column, so that a wider column would change the row.
    pub fn is_cut(&self) -> bool {
        self.notes.iter().any(|note| note.cut)
    }
}

/// A value that the mapping had to change; the original must not be lost.
#[derive(Debug, PartialEq, Eq)]
pub struct Note {
    /// The column on Traffic.
    pub column: Cow<'static, str>,
    pub original: ByteString,
    pub reason: String,
    /// Whether the value was cut because of its length. A wider column would hold the whole value.
    pub cut: bool,
}

/// The reason why a row cannot be written to Traffic.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejection {
    pub sqlstate: &'static str,
    /// Names the column and the limit, never the value.
    pub message: String,
}

impl TableMapping {
    /// Maps a row whose unchanged TOAST values have been filled in. `limits` has one entry for each of
    /// [`TableMapping::targets`].
    ///
    /// # Errors
    /// A verbatim value that is longer than its target column, because verbatim values are never cut
    /// (docs/mapping.md).
    pub fn map(&self, row: &Row, limits: &Limits) -> Result<TrafficRow, Rejection> {
        let metadata = match self.table {
            Table::LandingLeads => Metadata::of(row),
            Table::LeadJourney | Table::ScheduledNotifications => Metadata::default(),
        };
        map_targets(row, Some(&metadata), self.targets().iter().zip(limits))
    }

    /// Maps a lead whose `metadata` was left unchanged: one value for each of
    /// [`TableMapping::partial_update_targets`].
    ///
    /// # Errors
    /// Errors of [`TableMapping::map`].
    pub fn map_partial_update(
        &self,
        row: &Row,
        limits: &Limits,
        held: HeldMetadata<'_>,
    ) -> Result<TrafficRow, Rejection> {
        let metadata = match held {
            HeldMetadata::Unknown => None,
            HeldMetadata::Known(text) => Some(text.map_or_else(Metadata::default, Metadata::parse)),
        };
        let targets = self.targets().iter().zip(limits).filter(|(target, _)| !target.is_of_metadata());
        map_targets(row, metadata.as_ref(), targets)
    }
}

/// Whether `earlier` gives a value for a column, and `later`, of the same row, gives none, so that Traffic
/// keeps the value.
pub fn leaves_a_value(earlier: &Row, later: &Row) -> bool {
    let (before, after) = (earlier.values.get(lead::METADATA), later.values.get(lead::METADATA));
    // jsonb output shows an ASCII key unescaped: a text without `"fb_` holds no such key, and needs no
    // parsing.
    let may_give = |text: &str| text.contains("\"fb_");
    if earlier.table != Table::LandingLeads
        || before == after
        || !before.and_then(Datum::as_str).is_some_and(may_give)
    {
        return false;
    }
    let (earlier, later) = (Metadata::of(earlier), Metadata::of(later));
    let mut kept = leads::TARGETS.iter().filter(|target| target.keeps_target_when_null());
    kept.any(|target| earlier.text(&target.name).is_some() && later.text(&target.name).is_none())
}

/// Knowledge of Traffic's `metadata` when Landing did not send the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldMetadata<'m> {
    /// Columns that come from `metadata` and another column get no value, and must stay as they are.
    Unknown,
    /// The members that the rules read, as a JSON object; `None` when `metadata` is no object.
    Known(Option<&'m str>),
}

/// Without metadata, the columns that come from the metadata get no value.
fn map_targets<'t>(
    row: &Row,
    metadata: Option<&Metadata<'_>>,
    targets: impl Iterator<Item = (&'t Target, &'t Option<usize>)>,
) -> Result<TrafficRow, Rejection> {
    let mut mapped = TrafficRow {
        id: row.id,
        values: Vec::with_capacity(targets.size_hint().1.unwrap_or(0)),
        notes: Vec::new(),
    };
    for (target, &limit) in targets {
        let value = evaluate(target, row, metadata, &mut mapped.notes);
        let value = match value {
            Some(value) => Some(fit(target, value, limit, row.table, &mut mapped.notes)?),
            None => None,
        };
        mapped.values.push(value);
    }
    Ok(mapped)
}

fn evaluate(
    target: &Target,
    row: &Row,
    metadata: Option<&Metadata<'_>>,
    notes: &mut Vec<Note>,
) -> Option<ByteString> {
    let text = |column: usize| row.values.get(column).and_then(Datum::as_str);
    let derived = |value: &str| Some(ByteString::from(value));
    match target.rule {
        Rule::Verbatim(column) => match row.values.get(column) {
            Some(Datum::Text(text)) => Some(text.clone()),
            _ => None,
        },
        Rule::NormalizedPhone(column) => text(column).map(|phone| values::normalized_phone(phone).into()),
        Rule::SourceWord(column) => derived(values::source_word(text(column))),
        Rule::Utm { own, snake, camel } => {
            let metadata = metadata?;
            match row.values.get(own) {
                Some(Datum::Text(value)) if !value.is_empty() => Some(value.clone()),
                _ => metadata.utm(snake, camel).map(ByteString::from),
            }
        }
        Rule::Funnel { source } => {
            let declared = metadata?.text("funnel_type");
            notes.extend(values::unknown_funnel(declared.as_deref()).map(|original| Note {
                column: target.name.clone(),
                original: original.into(),
                reason: "unknown funnel_type in metadata".to_owned(),
                cut: false,
            }));
            derived(values::funnel(text(source), declared.as_deref()))
        }
        Rule::Number(column) => match values::number(text(column)?) {
            Ok(number) => number.map(|number| number.to_string().into()),
            Err(reason) => {
                notes.push(Note {
                    column: target.name.clone(),
                    original: text(column)?.into(),
                    reason: reason.to_owned(),
                    cut: false,
                });
                None
            }
        },
        Rule::FalseWhenNull(column) => derived(text(column).unwrap_or("f")),
        Rule::ZeroWhenNull(column) => derived(text(column).unwrap_or("0")),
        Rule::FacebookKey => metadata?.text(&target.name).map(|value| value.as_ref().into()),
    }
}

/// Cuts a derived value to the column's length, with a note; refuses a verbatim value.
fn fit(
    target: &Target,
    value: ByteString,
    limit: Option<usize>,
    table: Table,
    notes: &mut Vec<Note>,
) -> Result<ByteString, Rejection> {
    let Some((limit, end)) = limit.and_then(|limit| Some((limit, values::char_end(&value, limit)?))) else {
        return Ok(value);
    };
    if !target.is_derived() {
        let message = format!(
            "{}.{} takes {limit} characters, the value has {}",
            table.traffic_name(),
            target.name,
            value.chars().count()
        );
        return Err(Rejection { sqlstate: "22001", message });
    }
    let cut = ByteString::from(&value[..end]);
    let reason = format!("cut at {limit} characters");
    notes.push(Note { column: target.name.clone(), original: value, reason, cut: true });
    Ok(cut)
}

#[cfg(test)]
mod tests;
