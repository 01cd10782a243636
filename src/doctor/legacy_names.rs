//! The legacy names on Traffic: whether old code finds its tables after a switch, and nobody writes before it.

use crate::access::{AccessScope, Comparison, LegacyTable, RightOn};
use crate::checkpoint::legacy_names::{
    BaseRight, base_rights, granted_writers, may_open, recorded_names, writers,
};
use crate::checkpoint::{is_switched, passthrough};
use crate::config::Config;
use crate::error::Result;
use crate::landing::legacy_names::{self, LegacyName};
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::postgres::Databases;
use crate::report::Verdict;

/// Judges the legacy names: none is a warning, a writer before the switch an error.
///
/// # Errors
/// A connection broke, or the role may not read the record.
pub async fn judge_legacy_names(databases: Databases<'_>, config: &Config) -> Result<Verdict> {
    let traffic = databases.on(Side::Traffic);
    let recorded = recorded_names(traffic).await?;
    if recorded.is_empty() {
        return Ok(Verdict::warning(
            message!("doctor-legacy-not-made"),
            message!("doctor-legacy-not-made-remedy"),
        ));
    }
    let names: Vec<String> = recorded.iter().map(|name| name.name.clone()).collect();
    let is_switched = is_switched(databases.traffic, databases.names).await?;
    if !is_switched {
        let early = granted_writers(traffic, &names).await?;
        if !early.is_empty() {
            let (what, revoke): (Vec<String>, Vec<String>) = early.into_iter().unzip();
            return Ok(Verdict::error(
                message!("doctor-legacy-early-writers", what = what.join("; ")),
                message!("doctor-legacy-early-writers-remedy", revoke = revoke.join("; ")),
            ));
        }
    }
    if !may_open(traffic).await? {
        return Ok(Verdict::error(
            message!("doctor-legacy-may-not-open"),
            message!("doctor-legacy-may-not-open-remedy"),
        ));
    }
    let places = passthrough::read(traffic).await?;
    let shown = legacy_names::legacy_names(databases, &config.tables(), &places).await?;
    // After the switch the check of the API's roles sees what the rights give.
    let beyond = match is_switched {
        true => Vec::new(),
        false => beyond_landing(databases, config, &shown).await?,
    };
    if !beyond.is_empty() {
        return Ok(Verdict::error(
            message!("doctor-legacy-beyond-landing", beyond = beyond.join("; ")),
            message!("doctor-legacy-beyond-landing-remedy"),
        ));
    }
    let stale: Vec<String> = shown
        .into_iter()
        .filter(|name| {
            let columns = name.columns.iter().map(|column| column.landing.as_str());
            let known = recorded.iter().find(|known| known.name == name.name);
            known.is_none_or(|known| !columns.eq(known.columns.iter().map(String::as_str)))
        })
        .map(|name| name.name)
        .collect();
    if !stale.is_empty() {
        return Ok(Verdict::warning(
            message!("doctor-legacy-stale", stale = stale.join(", ")),
            message!("doctor-legacy-stale-remedy"),
        ));
    }
    let writers = who_writes(&writers(traffic).await?, is_switched);
    Ok(Verdict::ok(message!("doctor-legacy-fine", names = names.join(", "), writers = writers)))
}

/// The roles that may write through the names, now or from the switch on.
fn who_writes(roles: &[String], is_switched: bool) -> Message {
    match (roles.is_empty(), is_switched) {
        (true, true) => message!("doctor-legacy-nobody-writes"),
        (true, false) => message!("doctor-legacy-nobody-will-write"),
        (false, true) => message!("doctor-legacy-writers", roles = roles.join(", ")),
        (false, false) => message!("doctor-legacy-later-writers", roles = roles.join(", ")),
    }
}

/// The recorded rights on Traffic's own tables that go beyond what Landing gives, as the rights are now on both sides.
async fn beyond_landing(
    databases: Databases<'_>,
    config: &Config,
    shown: &[LegacyName],
) -> Result<Vec<String>> {
    let Databases { landing, traffic, names } = databases;
    let tables = config.tables();
    let scope = AccessScope { names, tables: &tables, accept: &config.accepted_access };
    let comparison = Comparison::read(landing, traffic, scope).await?;
    let now = comparison.legacy_rights(&LegacyTable::of_names(shown.iter().map(LegacyName::carried))).rights;
    let on_traffic: Vec<String> = tables.iter().map(|table| names.traffic_table(*table)).collect();
    let mut given = base_rights(databases.on(Side::Traffic), &on_traffic).await?;
    given.retain(|right| {
        !now.iter().any(|now| {
            now.on == RightOn::Base
                && names.traffic_table(now.table) == right.relation
                && (now.role.as_str(), now.privilege) == (&*right.role, &*right.privilege)
                && is_within(right.columns.as_deref(), now.columns.as_deref(), shown)
        })
    });
    let in_words = |right: &BaseRight| format!("{} {} on {}", right.role, right.privilege, right.relation);
    Ok(given.iter().map(in_words).collect())
}

/// Whether a right on the columns `given` is part of one on `now`; `None` is the whole table. A column that no name shows
/// any more does not count, because such a name is stale.
fn is_within(given: Option<&[String]>, now: Option<&[String]>, shown: &[LegacyName]) -> bool {
    let is_shown =
        |column: &String| shown.iter().flat_map(|name| &name.columns).any(|known| known.traffic == *column);
    match (given, now) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(given), Some(now)) => {
            given.iter().filter(|column| is_shown(column)).all(|column| now.contains(column))
        }
    }
}
