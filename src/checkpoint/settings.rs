//! The settings that decide what is replicated, recorded with the checkpoint.
//!
//! A command that fenced, compared or backed up the tables of another configuration than the daemon's would
//! leave a replicated table open to writers, or out of the comparison. So the copy records the settings, and
//! whoever has other settings is refused by the name of the setting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Published, Recorded, ledger};
use crate::error::{Error, Result};
use crate::language::message;
use crate::mapping::Passthrough;
use crate::model::change::Table;
use crate::model::column_rules::{ColumnRules, TableColumnRules};
use crate::model::names::Names;
use crate::postgres::Database;

/// The settings that decide what is replicated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicatedSettings {
    scheduled_notifications: bool,
    landing_schema: String,
    /// The journey's table as found on Landing, configured or not.
    landing_journey: String,
    traffic_schema: String,
    /// Tables without a decision are absent.
    columns: BTreeMap<Table, TableColumnRules>,
}

/// A setting with two values, as the configuration spells the setting.
#[derive(Debug, PartialEq, Eq)]
struct OtherSetting {
    setting: String,
    recorded: String,
    ours: String,
}

impl ReplicatedSettings {
    /// `names` as Landing has them.
    pub fn new(names: &Names, tables: &[Table], columns: &ColumnRules) -> Self {
        let is_decided = |rules: &TableColumnRules| !rules.rename.is_empty() || !rules.skip.is_empty();
        let columns = columns.0.iter().filter(|(_, rules)| is_decided(rules));
        ReplicatedSettings {
            scheduled_notifications: tables.contains(&Table::ScheduledNotifications),
            landing_schema: names.landing_schema.clone(),
            landing_journey: names.landing_journey.clone(),
            traffic_schema: names.traffic_schema.clone(),
            columns: columns.map(|(table, rules)| (*table, rules.clone())).collect(),
        }
    }

    /// Refuses a daemon with settings by which it would replicate other tables or columns than were copied. A
    /// decision about a column that is not carried changes nothing before the next copy.
    ///
    /// # Errors
    /// `Refused`, with the setting and both values.
    pub fn check_daemon(&self, recorded: &Recorded) -> Result<()> {
        self.check(recorded.settings.as_ref(), recorded.published.as_ref())
    }

    /// As [`ReplicatedSettings::check_daemon`], before the checks of `doctor`, which would take a table that the
    /// configuration lacks for a table too many in the publication.
    ///
    /// # Errors
    /// As [`ReplicatedSettings::check_daemon`]; or the checkpoint cannot be read.
    pub async fn refuse_daemon(&self, traffic: Database<'_>) -> Result<()> {
        let (settings, published) = ledger::recorded_settings(traffic).await?;
        self.check(settings.as_ref(), Some(&published))
    }

    fn check(&self, settings: Option<&Self>, published: Option<&Published>) -> Result<()> {
        let other = match settings {
            Some(settings) if settings == self => None,
            Some(settings) => self
                .other_tables(settings)
                .or_else(|| self.other_columns(published.map(|published| &published.passthrough)?)),
            None => published.and_then(|published| self.other_than_copied(published)),
        };
        let Some(OtherSetting { setting, recorded, ours }) = other else { return Ok(()) };
        Err(Error::refused(format!(
            "what was copied has another setting than this configuration: {setting} is {recorded} in Traffic's \
             checkpoint, and {ours} here"
        ))
        .remedy(
            message!("checkpoint-remedy-setting"),
        ))
    }

    /// The first setting that a new copy changes, for the log.
    pub fn change_since(&self, recorded: &Recorded) -> Option<String> {
        let other = match &recorded.settings {
            Some(settings) => self.other(settings),
            None => self.other_than_copied(recorded.published.as_ref()?),
        };
        other.map(|OtherSetting { setting, recorded, ours }| {
            format!("{setting} was {recorded}, and is {ours}")
        })
    }

    /// Refuses a command with other settings than the daemon's. Every command that fences, compares or backs
    /// up the replicated tables calls this function first.
    ///
    /// # Errors
    /// `Refused`, with the setting and both values; or the checkpoint cannot be read.
    pub async fn refuse_other(&self, traffic: Database<'_>) -> Result<()> {
        let (settings, published) = ledger::recorded_settings(traffic).await?;
        let other = match &settings {
            Some(settings) => self.other(settings),
            None => self.other_than_copied(&published),
        };
        let Some(OtherSetting { setting, recorded, ours }) = other else { return Ok(()) };
        Err(Error::refused(format!(
            "the daemon has another setting than this command: {setting} is {recorded} for the daemon, and {ours} \
             for this command"
        ))
        .remedy(
            message!("checkpoint-remedy-daemon-configuration"),
        ))
    }

    fn other(&self, recorded: &Self) -> Option<OtherSetting> {
        self.other_tables(recorded).or_else(|| {
            let rules = |settings: &Self, table| settings.columns.get(&table).cloned().unwrap_or_default();
            let other =
                Table::ALL.into_iter().find(|table| rules(self, *table) != rules(recorded, *table))?;
            Some(OtherSetting {
                setting: self.section(other),
                recorded: shown(&rules(recorded, other)),
                ours: shown(&rules(self, other)),
            })
        })
    }

    fn other_tables(&self, recorded: &Self) -> Option<OtherSetting> {
        let values = |settings: &Self| {
            [
                ("scheduled_notifications", settings.scheduled_notifications.to_string()),
                ("[names] landing_schema", settings.landing_schema.clone()),
                ("[names] landing_journey", settings.landing_journey.clone()),
                ("[names] traffic_schema", settings.traffic_schema.clone()),
            ]
        };
        let other = values(recorded).into_iter().zip(values(self)).find(|(recorded, ours)| recorded != ours);
        other.map(|((setting, recorded), (_, ours))| OtherSetting::new(setting, &recorded, &ours))
    }

    /// A column that is carried, and would not be, or under another name.
    fn other_columns(&self, carried: &Passthrough) -> Option<OtherSetting> {
        Table::ALL.into_iter().find_map(|table| {
            let rules = self.columns.get(&table)?;
            carried.of(table).iter().find_map(|column| {
                let renamed = rules.rename.get(&column.landing).filter(|name| **name != column.traffic);
                let ours = match renamed {
                    _ if rules.skip.contains(&column.landing) => "skipped".to_owned(),
                    Some(name) => format!("carried as `{name}`"),
                    None => return None,
                };
                Some(OtherSetting {
                    setting: format!("{}: column {}", self.section(table), column.landing),
                    recorded: format!("carried as `{}`", column.traffic),
                    ours,
                })
            })
        })
    }

    /// The record of a version that recorded no settings tells the copied tables and columns.
    fn other_than_copied(&self, published: &Published) -> Option<OtherSetting> {
        if published.tables.is_empty() {
            return None;
        }
        let label = Table::ScheduledNotifications.label();
        let copied = published.tables.contains_key(label);
        if copied != self.scheduled_notifications {
            let ours = self.scheduled_notifications.to_string();
            return Some(OtherSetting::new("scheduled_notifications", &copied.to_string(), &ours));
        }
        let journey = published.tables.get(Table::LeadJourney.label()).map(|table| &table.name);
        let other = journey.filter(|name| !name.is_empty() && **name != self.landing_journey);
        other
            .map(|name| OtherSetting::new("[names] landing_journey", name, &self.landing_journey))
            .or_else(|| self.other_columns(&published.passthrough))
    }

    /// The section of the configuration for a table's columns.
    fn section(&self, table: Table) -> String {
        let name = if table == Table::LeadJourney { &*self.landing_journey } else { table.label() };
        format!("[columns.{name}]")
    }
}

impl OtherSetting {
    fn new(setting: &str, recorded: &str, ours: &str) -> Self {
        OtherSetting {
            setting: setting.to_owned(),
            recorded: format!("`{recorded}`"),
            ours: format!("`{ours}`"),
        }
    }
}

fn shown(rules: &TableColumnRules) -> String {
    let renames: Vec<String> = rules.rename.iter().map(|(from, to)| format!("{from} = \"{to}\"")).collect();
    let skipped: Vec<String> = rules.skip.iter().map(|column| format!("\"{column}\"")).collect();
    match (renames.join(", "), skipped.join(", ")) {
        (renames, skipped) if renames.is_empty() && skipped.is_empty() => "not set".to_owned(),
        (renames, skipped) if skipped.is_empty() => format!("`rename = {{ {renames} }}`"),
        (renames, skipped) if renames.is_empty() => format!("`skip = [{skipped}]`"),
        (renames, skipped) => format!("`rename = {{ {renames} }}, skip = [{skipped}]`"),
    }
}
