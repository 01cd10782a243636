//! Traffic's publication after a switch, compared with its record.

use tokio_postgres::Client;

use super::{Ledger, Published, Reverse, catalog};
use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::mapping::Mapping;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::{Database, publication};

/// What Traffic publishes now, with the columns into which `mapping` writes.
pub async fn published_on_traffic(
    traffic: Database<'_>,
    tables: &[Table],
    mapping: &Mapping,
) -> Result<Published> {
    let is_carried =
        |table, column: &str| mapping.of(table).targets().iter().any(|target| target.name == column);
    catalog::published(traffic, tables, is_carried).await
}

impl Reverse {
    /// What Traffic publishes now, provided that since the switch no change was left out of the stream.
    /// Without a record only the present state of the publication tells.
    ///
    /// # Errors
    /// Refused when the publication leaves out changes, or was altered since the record.
    pub async fn check_published(
        &self,
        traffic: Database<'_>,
        tables: &[Table],
        mapping: &Mapping,
    ) -> Result<Published> {
        let now = published_on_traffic(traffic, tables, mapping).await?;
        check_whole(traffic, tables).await?;
        if let Some(recorded) = &self.published {
            check_since(traffic.names, &now, recorded)?;
        }
        Ok(now)
    }

    /// As [`Reverse::check_published`], for a command, which records nothing.
    ///
    /// # Errors
    /// As [`Reverse::check_published`].
    pub async fn check_unaltered(&self, traffic: Database<'_>, tables: &[Table]) -> Result<()> {
        match &self.published {
            Some(recorded) => check_published_since(traffic, tables, recorded).await.map(drop),
            None => check_whole(traffic, tables).await,
        }
    }
}

/// As [`Reverse::check_published`], with the columns of the record.
pub async fn check_published_since(
    traffic: Database<'_>,
    tables: &[Table],
    recorded: &Published,
) -> Result<Published> {
    let is_recorded = |table: Table, column: &str| {
        recorded.tables.get(table.label()).is_some_and(|known| known.columns.contains_key(column))
    };
    let now = catalog::published(traffic, tables, is_recorded).await?;
    check_whole(traffic, tables).await?;
    check_since(traffic.names, &now, recorded).map(|()| now)
}

fn check_since(names: &Names, now: &Published, recorded: &Published) -> Result<()> {
    let Some(what) = now.difference(recorded, Side::Traffic) else { return Ok(()) };
    let publication = names.reverse_publication();
    let oid = |published: &Published| published.publication.as_ref().map(|publication| publication.oid);
    let remedy = match oid(now) == oid(recorded) {
        true => accepting(names),
        false => message!("checkpoint-remedy-publication-gone", accepting = accepting(names)),
    };
    Err(Error::refused(format!(
        "publication `{publication}`: {what}: changes since then may not have been sent to Landing"
    ))
    .remedy(remedy))
}

/// Refuses a publication that does not send all changes of all rows, because the stream leaves out the others
/// silently.
async fn check_whole(traffic: Database<'_>, tables: &[Table]) -> Result<()> {
    let names = traffic.names;
    let publication = names.reverse_publication();
    let whole = publication::read(traffic.client, &publication).await?.is_some_and(|p| p.every_operation);
    let members = publication::members(traffic.client, &publication).await?;
    let is_whole =
        |table: &String| members.iter().any(|m| m.is_listed && !m.is_partial() && m.qualified() == *table);
    let wanted = tables.iter().map(|table| traffic.table(*table));
    let missing: Vec<String> = wanted.filter(|table| !is_whole(table)).collect();
    let what = match missing.join(", ") {
        missing if missing.is_empty() && whole => return Ok(()),
        missing if missing.is_empty() => "every change".to_owned(),
        missing => format!("every change of {missing}"),
    };
    Err(Error::refused(format!("the publication `{publication}` on Traffic does not send {what}")).remedy(
        message!(
            "checkpoint-remedy-publication-partial",
            publication = publication,
            accepting = accepting(names)
        ),
    ))
}

/// Steps after which a publication with a gap in its past is taken as it is.
fn accepting(names: &Names) -> Message {
    message!("checkpoint-remedy-accepting", reverse = names.own("reverse"), slot = &names.slot)
}

impl Ledger {
    /// Records what Traffic publishes: at the first start after a switch that recorded nothing, and after a
    /// change that left out no change of a row.
    pub async fn renew_reverse(&self, client: &Client, published: &Published) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET published = $3 WHERE slot = $1 AND EXISTS (SELECT FROM {} AS c WHERE c.slot = $1 \
             AND c.run_id = $2 AND c.state = 'switched')",
            self.reverse, self.table
        );
        let text = published.to_text()?;
        let step = during(client, "recording what Traffic publishes");
        self.one_row(step.run(&sql, &[&self.identity.slot, &self.run_id, &text]).await?)
    }
}
