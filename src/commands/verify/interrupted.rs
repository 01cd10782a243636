//! An interruption, and how another run goes on.

use crate::compare::live::{VerifyOptions, expected_rows};
use crate::compare::{Place, ranges};
use crate::config::Config;
use crate::error::Result;
use crate::exit::Exit;
use crate::landing::catalog;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::{Database, Databases, Session};

/// The place at which an earlier run was interrupted.
pub async fn resumed(config: &Config, tables: &[Table]) -> Result<Place> {
    let (basis, traffic) = basis(config, tables).await?;
    Place::read(Database::traffic(&traffic, &config.names), &basis).await
}

/// A whole comparison has come to its end, so a place that an earlier one has left says nothing any more.
pub async fn forget(config: &Config) -> Result<()> {
    let traffic = config.traffic.connect("verify").await?;
    Place::forget(Database::traffic(&traffic, &config.names)).await
}

/// Records the place and says how far the comparison has come. A comparison of one table, or one that holds the slot for a
/// repair, is not recorded.
pub async fn end(config: &Config, options: &VerifyOptions, is_whole: bool) -> Result<Exit> {
    if is_whole {
        let (basis, traffic) = basis(config, &options.tables).await?;
        options.place.save(Database::traffic(&traffic, &config.names), &basis).await?;
    }
    let rows = options.place.rows();
    let expected = expected_rows(config, &options.tables).await?.max(rows);
    let percent = rows as f64 / expected.max(1) as f64 * 100.0;
    let next = if is_whole { "`leadbridge verify --resume` goes on there" } else { "run the command again" };
    tracing::warn!(
        "interrupted: {rows} of {expected} rows ({percent:.0} %) were compared, and nothing is known of the others; {next}"
    );
    Ok(Exit::CheckFailed)
}

/// The basis of a comparison, and the session on Traffic that has read it.
async fn basis(config: &Config, tables: &[Table]) -> Result<(String, Session)> {
    let (landing, traffic) =
        tokio::try_join!(config.landing.connect("verify"), config.traffic.connect("verify"))?;
    let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
    let mapping = catalog::mapping(databases, tables).await?;
    let basis = ranges::basis(databases.on(Side::Traffic), &mapping, tables).await?;
    Ok((basis, traffic))
}
