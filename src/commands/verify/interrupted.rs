//! An interruption, and how another run goes on.

use crate::compare::live::{VerifyOptions, expected_rows};
use crate::compare::{Place, ranges};
use crate::config::Config;
use crate::error::Result;
use crate::exit::Exit;
use crate::landing::catalog;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::{Database, Databases};

/// The place at which an earlier run was interrupted.
pub async fn resumed(config: &Config, tables: &[Table]) -> Result<Place> {
    let basis = basis(config, tables).await?;
    let traffic = config.traffic.connect("verify").await?;
    Place::read(Database::traffic(&traffic, &config.names), &basis).await
}

/// A comparison has come to its end.
pub async fn forget(config: &Config) -> Result<()> {
    let traffic = config.traffic.connect("verify").await?;
    Place::forget(Database::traffic(&traffic, &config.names)).await
}

/// Records the place and says how far the comparison has come. A comparison of one table, or one that holds the slot for a
/// repair, is not recorded.
pub async fn end(config: &Config, options: &VerifyOptions, is_whole: bool) -> Result<Exit> {
    let rows = options.place.rows();
    let expected = expected_rows(config, &options.tables).await?.max(rows);
    let percent = rows as f64 / expected.max(1) as f64 * 100.0;
    if is_whole {
        let basis = basis(config, &options.tables).await?;
        let traffic = config.traffic.connect("verify").await?;
        options.place.save(Database::traffic(&traffic, &config.names), &basis).await?;
    }
    let next = if is_whole { "`leadbridge verify --resume` goes on there" } else { "run the command again" };
    tracing::warn!(
        "interrupted: {rows} of {expected} rows ({percent:.0} %) were compared, and nothing is known of the others; {next}"
    );
    Ok(Exit::CheckFailed)
}

async fn basis(config: &Config, tables: &[Table]) -> Result<String> {
    let landing = config.landing.connect("verify").await?;
    let traffic = config.traffic.connect("verify").await?;
    let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
    let mapping = catalog::mapping(databases, tables).await?;
    ranges::basis(databases.on(Side::Traffic), &mapping, tables).await
}
