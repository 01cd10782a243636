//! `leadbridge verify`: whether Traffic holds the rows that the mapping makes from Landing's rows.

mod interrupted;
mod progress;

use std::sync::Arc;
use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid};
use serde::Serialize;
use uuid::Uuid;

use super::signals::Signals;
use super::{print, print_json};
use crate::cli;
use crate::compare::live::{TableVerification, Verification, VerifyOptions};
use crate::compare::repair::Repair;
use crate::compare::{Difference, DifferenceExample, Place, ReadRate};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::language::{Argument, Language, Message, message};
use crate::model::change::Table;
use crate::model::side::Side;
use crate::traffic::RowCounts;

/// Output of `--json`.
#[derive(Serialize)]
struct VerifyDocument<'v> {
    #[serde(flatten)]
    found: &'v Verification,
    /// Rows that `--repair` wrote or deleted; null without `--repair`.
    repaired: Option<u64>,
    /// Rows that `--repair` could not write or delete, now in quarantine; null without `--repair`.
    repair_quarantined: Option<u64>,
}

pub async fn run(config: &Config, arguments: &cli::Verify, language: Language) -> Result<Exit> {
    let landing = config.landing.connect("verify").await?;
    let config = &config.resolved(&landing).await?;
    landing.close().await;
    let tables = match arguments.table {
        Some(table) if config.tables().contains(&table) => vec![table],
        Some(table) => return Err(not_replicated(config.names.landing_name(table))),
        None => config.tables(),
    };
    // The repair's conditions are checked first, so that nobody waits for a comparison without being able to
    // repair.
    let repair = if arguments.repair { Some(Repair::begin(config).await?) } else { None };
    // During a repair this command holds the slot, so no stream passes any position.
    let patience = if repair.is_some() { Duration::ZERO } else { arguments.wait };
    let place =
        if arguments.resume { interrupted::resumed(config, &tables).await? } else { Place::default() };
    let options = VerifyOptions {
        tables: tables.clone(),
        patience,
        pace: Arc::new(ReadRate::new(arguments.max_rows_per_second)),
        place: Arc::new(place),
    };
    let is_whole = arguments.table.is_none() && repair.is_none();
    // Dropping the comparison ends its sessions; it only reads.
    let mut signals = Signals::listen()?;
    let compared = tokio::select! {
        compared = progress::shown(config, &options, language) => Some(compared?),
        _ = signals.next() => None,
    };
    let Some(found) = compared else { return interrupted::end(config, &options, is_whole).await };
    if is_whole {
        interrupted::forget(config).await?;
    }
    let repaired = match repair {
        Some(repair) => Some(repair_tables(repair, &tables, &found).await?),
        None => None,
    };
    if arguments.json {
        let repair_quarantined = repaired.map(|repaired| repaired.quarantined);
        let repaired = repaired.map(|repaired| repaired.written + repaired.deleted);
        print_json(&VerifyDocument { found: &found, repaired, repair_quarantined })?;
    } else {
        print(&text(&found, repaired, language))?;
    }
    Ok(if found.equal || repaired.is_some() { Exit::Ok } else { Exit::CheckFailed })
}

fn not_replicated(table: &str) -> Error {
    Error::usage(format!("{table} is not replicated here")).remedy(message!("commands-remedy-not-replicated"))
}

/// # Errors
/// Refused when not every differing row is known by its key: a repair would be incomplete.
async fn repair_tables(repair: Repair, tables: &[Table], found: &Verification) -> Result<RowCounts> {
    if let Some(table) = found.tables.iter().find(|table| !table.found.knows_its_suspects()) {
        return Err(Error::refused(format!(
            "{} rows of {} differ: too many to write one by one; nothing was written",
            table.found.differences(),
            table.found.table
        ))
        .remedy(message!("commands-remedy-copy-again")));
    }
    let differing: Vec<(Table, &[Uuid])> =
        tables.iter().zip(&found.tables).map(|(table, of)| (*table, of.found.differing())).collect();
    repair.rows(&differing).await
}

fn text(found: &Verification, repaired: Option<RowCounts>, language: Language) -> String {
    let mut text = format!("{}\n", grid(&found.tables, language));
    for line in lines(found, repaired) {
        text += &line.in_language(language);
        text.push('\n');
    }
    text
}

/// What is said below the grid.
fn lines(found: &Verification, repaired: Option<RowCounts>) -> Vec<Message> {
    let mut lines = Vec::new();
    for table in &found.tables {
        lines.extend(table.found.examples.iter().map(|example| differing(&table.found.table, example)));
    }
    lines.extend(attribution(found));
    lines.push(message!(
        "verify-sum",
        quarantined = found.quarantined,
        notes = found.conversion_notes,
        seconds = Argument::Decimal(format!("{:.1}", found.seconds)),
        rate = format!("{:.0}", found.rows_per_second)
    ));
    lines.extend(found.resumed.then(|| message!("verify-resumed")));
    lines.push(verdict(found, repaired.is_some()));
    lines.extend(repaired.map(|RowCounts { written, unchanged, deleted, quarantined }| {
        message!(
            "verify-repaired",
            written = written,
            deleted = deleted,
            unchanged = unchanged,
            quarantined = quarantined
        )
    }));
    lines
}

fn differing(table: &str, example: &DifferenceExample) -> Message {
    let id = example.id;
    match &example.difference {
        Difference::Missing => message!("verify-missing", table = table, id = id),
        Difference::Extra => message!("verify-extra", table = table, id = id),
        Difference::Different(columns) => {
            message!("verify-different", table = table, id = id, columns = columns.join(", "))
        }
        Difference::Changed(columns) => {
            message!("verify-changed", table = table, id = id, columns = columns.join(", "))
        }
    }
}

fn grid(tables: &[TableVerification], language: Language) -> Grid {
    let mut grid = Grid::new();
    grid.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    let header = [
        message!("verify-column-table"),
        Message::verbatim(Side::Landing.name()),
        Message::verbatim(Side::Traffic.name()),
        message!("verify-column-missing"),
        message!("verify-column-extra"),
        message!("verify-column-different"),
        message!("verify-column-refused"),
        message!("verify-column-changed"),
        message!("verify-column-orphaned"),
        message!("verify-column-quarantined"),
    ];
    grid.set_header(header.map(|column| column.in_language(language)));
    for TableVerification { found, quarantined, orphaned, .. } in tables {
        let counts = [
            found.landing_rows,
            found.traffic_rows,
            found.missing,
            found.extra,
            found.different,
            found.refused,
            found.changed_on_traffic,
        ];
        let counts = counts.into_iter().chain([*orphaned, *quarantined]).map(|count| count.to_string());
        grid.add_row([found.table.to_string()].into_iter().chain(counts));
    }
    for column in grid.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    grid
}

/// Targetologists with unequal numbers of leads on the two sides. Without names, because names are people's
/// data.
fn attribution(found: &Verification) -> impl Iterator<Item = Message> {
    let unequal = found.attribution.iter().flatten().filter(|whose| whose.landing != whose.traffic);
    unequal.map(|whose| {
        let (landing, traffic) = (whose.landing, whose.traffic);
        match (whose.targetologist_id, &whose.team) {
            (None, _) => message!("verify-leads-of-nobody", landing = landing, traffic = traffic),
            (Some(id), None) => message!("verify-leads-of", id = id, landing = landing, traffic = traffic),
            (Some(id), Some(team)) => {
                message!("verify-leads-of-team", id = id, team = team, landing = landing, traffic = traffic)
            }
        }
    })
}

fn verdict(found: &Verification, repaired: bool) -> Message {
    if found.equal {
        return message!("verify-equal", position = found.landing_lsn);
    }
    let moving: u64 = found.tables.iter().map(|table| table.moving).sum();
    let moving = (moving > 0).then(|| message!("verify-moving", rows = moving));
    let on_their_way = (!found.stream_passed && !repaired).then(|| message!("verify-on-their-way"));
    Message::joined([Some(message!("verify-not-equal")), moving, on_their_way].into_iter().flatten(), " ")
}
