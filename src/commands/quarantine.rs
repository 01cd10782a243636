//! `leadbridge quarantine`: rows that Traffic did not take.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table as Grid};

use super::confirm::confirm;
use super::print;
use crate::checkpoint::own_schema::{self, Extent};
use crate::checkpoint::{ImportRecord, Installation, recorded_published};
use crate::cli::{QuarantineAction, QuarantineArguments};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::language::{Language, message};
use crate::mapping::Mapping;
use crate::postgres::{Database, Session};
use crate::quarantine::{Quarantine, QuarantineEntry};
use crate::traffic::{Touch, Writer, WriterSettings};

pub async fn run(config: &Config, arguments: &QuarantineArguments, language: Language) -> Result<Exit> {
    match &arguments.action {
        QuarantineAction::List => list(config).await,
        QuarantineAction::Show { id } => show(config, *id).await,
        QuarantineAction::Retry { ids } => retry(config, ids).await,
        QuarantineAction::Discard { ids, yes } => discard(config, ids, *yes, language).await,
    }
}

async fn connect(config: &Config) -> Result<Session> {
    let traffic = config.traffic.connect("quarantine").await?;
    Installation::refuse_another(Database::traffic(&traffic, &config.names), &config.landing).await?;
    Ok(traffic)
}

async fn list(config: &Config) -> Result<Exit> {
    let traffic = connect(config).await?;
    let entries = Quarantine::new(&config.names, &Mapping::whole()).list(&traffic).await?;
    if entries.is_empty() {
        print("Quarantine is empty.\n")?;
        return Ok(Exit::Ok);
    }
    let mut grid = Grid::new();
    grid.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    grid.set_header(["id", "table", "row", "what", "why", "since", "tries"]);
    for entry in &entries {
        let QuarantineEntry { id, table, row_id, operation, sqlstate, message, first_seen, attempts } = entry;
        grid.add_row([
            id.to_string(),
            table.clone(),
            row_id.to_string(),
            operation.clone(),
            format!("{message} ({sqlstate})"),
            first_seen.to_string(),
            attempts.to_string(),
        ]);
    }
    print(&format!("{grid}\n"))?;
    Ok(Exit::Ok)
}

async fn show(config: &Config, id: i64) -> Result<Exit> {
    let traffic = connect(config).await?;
    let Some(document) = Quarantine::new(&config.names, &Mapping::whole()).show(&traffic, id).await? else {
        return Err(unknown(&[id]));
    };
    print(&(document + "\n"))?;
    Ok(Exit::Ok)
}

async fn retry(config: &Config, ids: &[i64]) -> Result<Exit> {
    let traffic = config.traffic.connect_to_write("quarantine").await?;
    let database = Database::traffic(&traffic, &config.names);
    own_schema::enter(database, &config.landing, Extent::Present).await?;
    let (names, tables) = (&config.names, config.tables());
    let mapping = held_by(database).await?;
    let (mapping, tables, on_truncate) = (&mapping, &tables, config.on_truncate);
    let settings = WriterSettings { mapping, tables, touch: Touch::OnlyChanges, on_truncate };
    let mut writer = Writer::new(traffic, names, settings).await?;
    let outcome = writer.retry((!ids.is_empty()).then_some(ids)).await?;
    print(&format!("{} of {} rows left quarantine.\n", outcome.tried - outcome.left, outcome.tried))?;
    Ok(if outcome.left == 0 { Exit::Ok } else { Exit::CheckFailed })
}

/// The columns of the images in quarantine: those of the last copy, or before the first copy those of an import.
async fn held_by(traffic: Database<'_>) -> Result<Mapping> {
    let copied = recorded_published(traffic.client, traffic.names).await?;
    if !copied.tables.is_empty() {
        return Ok(copied.mapping());
    }
    let imported = ImportRecord::read(traffic).await?;
    Ok(imported.map_or_else(|| copied.mapping(), |imported| imported.export.columns.mapping()))
}

async fn discard(config: &Config, ids: &[i64], yes: bool, language: Language) -> Result<Exit> {
    if !yes {
        let traffic = config.traffic.to_string();
        confirm(&message!("commands-discard-question", rows = ids.len(), traffic = traffic), language)?;
    }
    let traffic = connect(config).await?;
    own_schema::admit(Database::traffic(&traffic, &config.names), Extent::Present).await?;
    let missing = Quarantine::new(&config.names, &Mapping::whole()).discard(&traffic, ids).await?;
    if missing.is_empty() { Ok(Exit::Ok) } else { Err(unknown(&missing)) }
}

fn unknown(ids: &[i64]) -> Error {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    Error::refused(format!("no such row in quarantine: {}", ids.join(", ")))
        .remedy(message!("commands-remedy-not-in-quarantine"))
}
