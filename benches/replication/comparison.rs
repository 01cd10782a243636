//! Compares Traffic with the oracle's expectation: both sides are streamed in key order, side by side.

use std::pin::{Pin, pin};

use futures_util::StreamExt;
use leadbridge::error::{Error, Result};
use leadbridge::model::change::Table;
use serde_json::{Map, Value};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, RowStream};
use uuid::Uuid;

use super::world::{World, failed};

/// A second, independent statement of the mapping, shared with the tests.
const ORACLE: &str = include_str!("../../tests/suite/testkit/oracle.sql");

/// The journey's name on Landing.
pub const JOURNEY: &str = "journey_stages";

/// # Errors
/// The first differing row, by id and column.
pub async fn equal(world: &World) -> Result<()> {
    let (landing, traffic) = (world.landing().await?, world.traffic().await?);
    mapped(&landing, &traffic).await?;
    nothing_quarantined(&traffic).await
}

/// Whether the rows equal the mapping of Landing's rows, for any writer.
///
/// # Errors
/// The first differing row, by id and column.
pub async fn mapped(landing: &Client, traffic: &Client) -> Result<()> {
    let limits = limits(traffic).await?;
    let expected =
        format!("SELECT o.id, o.jsonb_build_object FROM ({ORACLE}) AS o(id, jsonb_build_object) ORDER BY 1");
    let expected = rows(landing, &expected, &[&limits]).await?;
    let actual = rows(traffic, &whole_rows(traffic, Table::LandingLeads.traffic_name()).await?, &[]).await?;
    compare(expected, actual).await?;
    same(landing, JOURNEY, traffic, Table::LeadJourney.traffic_name()).await
}

/// Whether both sides have Landing's own tables with the same rows.
///
/// # Errors
/// The first differing row, by id and column.
pub async fn copied(landing: &Client, traffic: &Client) -> Result<()> {
    for table in ["landing_leads", JOURNEY] {
        same(landing, table, traffic, table).await?;
    }
    Ok(())
}

/// Every column of the source is in the target with the same value.
async fn same(landing: &Client, source: &str, traffic: &Client, target: &str) -> Result<()> {
    let (source, target) = (whole_rows(landing, source).await?, whole_rows(traffic, target).await?);
    compare(rows(landing, &source, &[]).await?, rows(traffic, &target, &[]).await?).await
}

async fn limits(traffic: &Client) -> Result<String> {
    let sql = "SELECT jsonb_object_agg(attname, coalesce(nullif(atttypmod, -1) - 4, 1000000))::text \
               FROM pg_attribute WHERE attrelid = 'public.traffic_leads'::regclass AND attnum > 0 \
               AND NOT attisdropped AND atttypid IN ('text'::regtype, 'varchar'::regtype)";
    traffic.query_one(sql, &[]).await.map(|row| row.get(0)).map_err(|error| failed(&error))
}

/// A query for every row in key order, each column in the server's own text.
async fn whole_rows(client: &Client, table: &str) -> Result<String> {
    let sql = "SELECT format('jsonb_object(ARRAY[%s], ARRAY[%s])', string_agg(quote_literal(attname), ', '), \
                 string_agg(format('%I::text', attname), ', ')) FROM pg_attribute \
               WHERE attrelid = to_regclass('public.' || $1) AND attnum > 0 AND NOT attisdropped";
    let row = client.query_one(sql, &[&table]).await.map_err(|error| failed(&error))?;
    Ok(format!("SELECT id, {}::text FROM public.{table} ORDER BY id", row.get::<_, String>(0)))
}

async fn rows(client: &Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<RowStream> {
    let parameters = parameters.iter().map(|parameter| *parameter as &dyn ToSql);
    let parameters: Vec<_> = parameters.collect();
    client.query_raw(sql, parameters).await.map_err(|error| failed(&error))
}

async fn compare(expected: RowStream, actual: RowStream) -> Result<()> {
    let (mut expected, mut actual) = (pin!(expected), pin!(actual));
    let mut count = 0_u64;
    loop {
        match (next(&mut expected).await?, next(&mut actual).await?) {
            (None, None) if count > 0 => return Ok(()),
            (None, None) => return Err(Error::internal("both sides are empty: nothing was compared")),
            (Some((id, expected)), Some((there, actual))) if id == there => {
                if let Some((column, _)) =
                    expected.iter().find(|(name, value)| actual.get(*name) != Some(value))
                {
                    return Err(Error::internal(format!("the sides differ in {column} of {id}")));
                }
                count += 1;
            }
            (expected, actual) => {
                let ids = (expected.map(|row| row.0), actual.map(|row| row.0));
                return Err(Error::internal(format!(
                    "Landing and Traffic have different rows next: {ids:?}"
                )));
            }
        }
    }
}

async fn next(rows: &mut Pin<&mut RowStream>) -> Result<Option<(Uuid, Map<String, Value>)>> {
    let Some(row) = rows.next().await else { return Ok(None) };
    let row = row.map_err(|error| failed(&error))?;
    let columns = serde_json::from_str(row.get(1)).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Some((row.get(0), columns)))
}

async fn nothing_quarantined(traffic: &Client) -> Result<()> {
    let row = traffic.query_one("SELECT count(*) FROM leadbridge.quarantine", &[]).await;
    match row.map_err(|error| failed(&error))?.get::<_, i64>(0) {
        0 => Ok(()),
        quarantined => {
            Err(Error::internal(format!("{quarantined} rows in quarantine: the benchmark makes none")))
        }
    }
}
