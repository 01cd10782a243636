//! `leadbridge migrate`

use super::print as output;
use crate::cli::{Migrate, Print};
use crate::config::{Config, Settings};
use crate::error::Result;
use crate::exit::Exit;
use crate::language::Language;
use crate::migrate::{MigrateOptions, MigratedSide, migrate, privileges, script};

/// Heads Landing's SQL when the configuration leaves the journey's name to be found: the SQL is made without a
/// connection.
const ASSUMED: &str = "-- The journey on Landing is taken to be lead_journey. If it is called otherwise, set [names] landing_journey\n\
                       -- in the configuration and print the SQL again; `leadbridge migrate` finds journey_stages by itself.\n";

/// Prints the SQL of one or both databases, with the names of this configuration, and with the daemon's role
/// if `role` is given.
pub fn print(settings: &Settings, which: Print, role: Option<&str>) -> Result<Exit> {
    let options =
        MigrateOptions { notifications: settings.scheduled_notifications, ..MigrateOptions::default() };
    let databases: &[MigratedSide] = match which {
        Print::Landing => &[MigratedSide::Landing],
        Print::Traffic => &[MigratedSide::Traffic],
        Print::Both => &[MigratedSide::Traffic, MigratedSide::Landing],
    };
    for &database in databases {
        if database == MigratedSide::Landing && settings.landing_journey.is_none() {
            output(ASSUMED)?;
        }
        output(&script(database, &settings.names, &options)?)?;
        if let Some(role) = role {
            output(&privileges(database, &settings.names, role, &options)?)?;
        }
    }
    Ok(Exit::Ok)
}

pub async fn run(config: &Config, arguments: &Migrate, language: Language) -> Result<Exit> {
    let options = MigrateOptions {
        notifications: config.scheduled_notifications,
        columns: config.columns.clone(),
        dry_run: arguments.dry_run,
        replace_installation: arguments.replace_installation,
        api_access: arguments.api_access,
        legacy: arguments.legacy,
        public_views: arguments.public_view.clone(),
        accept: config.accepted_access.clone(),
        ..MigrateOptions::default()
    };
    let mut landing = config.landing.connect("migrate").await?;
    let mut traffic = config.traffic.connect("migrate").await?;
    let names = config.names_on(&landing).await?;
    let report = migrate(&mut landing, &mut traffic, &names, &options).await?;
    output(&report.text(language))?;
    Ok(Exit::Ok)
}
