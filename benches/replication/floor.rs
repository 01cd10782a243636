//! The cost of the same work in PostgreSQL itself: no program that does more can be faster.

use std::pin::pin;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use leadbridge::error::{Error, Result};
use leadbridge::model::change::Table;
use leadbridge::throwaway::Binaries;
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::world::{World, execute, failed};

/// The slot of the discarded stream.
const SLOT: &str = "floor";

/// Copies both tables into plain tables with only a primary key, as `psql | psql` would.
pub async fn copy(world: &World) -> Result<Duration> {
    let (landing, traffic) = (world.landing().await?, world.traffic().await?);
    execute(&traffic, "CREATE SCHEMA floor").await?;
    let mut taken = Duration::ZERO;
    for table in [Table::LandingLeads, Table::LeadJourney] {
        let (source, target) = (world.names.landing_table(table), format!("floor.{}", table.label()));
        plain_table(&landing, &source, &traffic, &target).await?;
        let started = Instant::now();
        pipe(&landing, &source, &traffic, &target).await?;
        taken += started.elapsed();
    }
    execute(&traffic, "DROP SCHEMA floor CASCADE").await?;
    Ok(taken)
}

/// Makes a table with Landing's columns and only a primary key.
pub async fn plain_table(landing: &Client, source: &str, traffic: &Client, target: &str) -> Result<()> {
    let columns = columns(landing, source).await?;
    execute(traffic, &format!("CREATE TABLE {target} ({columns}, PRIMARY KEY (id))")).await
}

async fn columns(landing: &Client, table: &str) -> Result<String> {
    let sql = "SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum) \
               FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    landing.query_one(sql, &[&table]).await.map(|row| row.get(0)).map_err(|error| failed(&error))
}

async fn pipe(landing: &Client, source: &str, traffic: &Client, target: &str) -> Result<()> {
    let out = landing.copy_out(&format!("COPY {source} TO STDOUT")).await.map_err(|error| failed(&error))?;
    let into = traffic.copy_in(&format!("COPY {target} FROM STDIN")).await.map_err(|error| failed(&error))?;
    let (mut out, mut into) = (pin!(out), pin!(into));
    while let Some(bytes) = out.next().await {
        into.feed(bytes.map_err(|error| failed(&error))?).await.map_err(|error| failed(&error))?;
    }
    into.finish().await.map(drop).map_err(|error| failed(&error))
}

/// Marks the start of decoding alone.
pub async fn begin_decoding(world: &World) -> Result<()> {
    let sql = format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')");
    execute(&world.landing().await?, &sql).await
}

/// Decodes everything from [`begin_decoding`] up to `end`, and discards the output.
pub async fn decode(world: &World, end: PgLsn) -> Result<Duration> {
    let program = Binaries::find().await?.program("pg_recvlogical");
    let landing = world.landing().await?;
    let started = Instant::now();
    if program.is_file() {
        receive(world, &program, end).await?;
    } else {
        let peek = "SELECT count(*) FROM pg_logical_slot_peek_binary_changes($1, $2, NULL, 'proto_version', '1', \
                    'publication_names', $3)";
        let peeked = landing.query_one(peek, &[&SLOT, &end, &world.names.publication]).await;
        peeked.map_err(|error| failed(&error))?;
    }
    let taken = started.elapsed();
    execute(&landing, &format!("SELECT pg_drop_replication_slot('{SLOT}')")).await?;
    Ok(taken)
}

async fn receive(world: &World, program: &std::path::Path, end: PgLsn) -> Result<()> {
    let publication = format!("publication_names={}", world.names.publication);
    let ended = tokio::process::Command::new(program)
        .args(["--slot", SLOT, "--start", "--no-loop", "--file", "/dev/null", "--username", "postgres"])
        .args(["--host", "127.0.0.1", "--port", &world.landing.port().to_string(), "--dbname", "landing"])
        .args(["--endpos", &end.to_string(), "--option", "proto_version=1", "--option", &publication])
        .env("PGPASSWORD", world.landing.password())
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| Error::internal(format!("running pg_recvlogical: {error}")))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(Error::internal(format!("pg_recvlogical: {}", String::from_utf8_lossy(&ended.stderr).trim())))
}
