//! The legacy names on Traffic: whether old code finds its tables after a switch, and nobody writes before it.

use crate::checkpoint::legacy_names::{granted_writers, may_open, recorded_names, writers};
use crate::checkpoint::{passthrough, recorded_state};
use crate::config::Config;
use crate::error::Result;
use crate::landing::legacy_names;
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
            "the legacy names are not made: after a switch, code that says landing_leads finds no such table on Traffic",
            "run `leadbridge migrate --legacy`, unless no code uses Landing's names any more",
        ));
    }
    let names: Vec<String> = recorded.iter().map(|name| name.name.clone()).collect();
    let is_switched =
        recorded_state(databases.traffic, databases.names).await?.as_deref() == Some("switched");
    if !is_switched {
        let early = granted_writers(traffic, &names).await?;
        if !early.is_empty() {
            let (what, revoke): (Vec<String>, Vec<String>) = early.into_iter().unzip();
            return Ok(Verdict::error(
                format!("before the switch nobody may write through a legacy name, but {}", what.join("; ")),
                format!("run on the Traffic DB: {}", revoke.join("; ")),
            ));
        }
    }
    if !may_open(traffic).await? {
        return Ok(Verdict::error(
            "this role may not give the rights to write through the legacy names, which the switch does",
            "as the owner of the schema, run on Traffic the SQL of: leadbridge migrate --print=traffic --role ROLE",
        ));
    }
    let places = passthrough::read(traffic).await?;
    let stale: Vec<String> = legacy_names::legacy_names(databases, &config.tables(), &places)
        .await?
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
            format!("legacy names that do not have Landing's columns, or are gone: {}", stale.join(", ")),
            "run `leadbridge migrate --legacy`",
        ));
    }
    let roles = writers(traffic).await?;
    let roles = if roles.is_empty() { "nobody".to_owned() } else { roles.join(", ") };
    let gives =
        if is_switched { "may write through them" } else { "may write through them from the switch on" };
    Ok(Verdict::ok(format!("old code finds {}; {roles} {gives}", names.join(", "))))
}
