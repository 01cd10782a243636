//! `leadbridge migrate`

use super::print as output;
use crate::cli::Migrate;
use crate::config::{Config, Settings};
use crate::error::Result;
use crate::exit::Exit;
use crate::migrate::{Database, Options, migrate, script};

/// The SQL for both databases, with the names of this configuration.
pub fn print(settings: &Settings) -> Result<Exit> {
    let options = Options { notifications: settings.scheduled_notifications, ..Options::default() };
    for database in [Database::Traffic, Database::Landing] {
        output(&script(database, &settings.names, &options)?)?;
    }
    Ok(Exit::Ok)
}

pub async fn run(config: &Config, arguments: &Migrate) -> Result<Exit> {
    let options = Options {
        notifications: config.scheduled_notifications,
        dry_run: arguments.dry_run,
        ..Options::default()
    };
    let mut landing = config.landing.connect("migrate").await?;
    let mut traffic = config.traffic.connect("migrate").await?;
    let report = migrate(&mut landing, &mut traffic, &config.names, &options).await?;
    output(&report.to_string())?;
    Ok(Exit::Ok)
}
