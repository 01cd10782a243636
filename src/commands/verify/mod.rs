//! `leadbridge verify`: whether Traffic holds the rows that the mapping makes from Landing's rows.

mod interrupted;
mod progress;

use std::fmt::Write as _;
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
use crate::compare::{Difference, Place, ReadRate};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::model::change::Table;
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

pub async fn run(config: &Config, arguments: &cli::Verify) -> Result<Exit> {
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
        compared = progress::shown(config, &options) => Some(compared?),
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
        print(&text(&found, repaired))?;
    }
    Ok(if found.equal || repaired.is_some() { Exit::Ok } else { Exit::CheckFailed })
}

fn not_replicated(table: &str) -> Error {
    Error::usage(format!("{table} is not replicated here"))
        .remedy("set scheduled_notifications = true in the configuration, or name another table")
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
        .remedy("run `leadbridge resync`: it copies again"));
    }
    let differing: Vec<(Table, &[Uuid])> =
        tables.iter().zip(&found.tables).map(|(table, of)| (*table, of.found.differing())).collect();
    repair.rows(&differing).await
}

fn text(found: &Verification, repaired: Option<RowCounts>) -> String {
    let mut text = format!("{}\n", grid(&found.tables));
    // Writing to a String cannot fail.
    for table in &found.tables {
        for example in &table.found.examples {
            let what = match &example.difference {
                Difference::Missing => "is missing on Traffic".to_owned(),
                Difference::Extra => "is on Traffic only".to_owned(),
                Difference::Different(columns) => format!("differs in {}", columns.join(", ")),
                Difference::Changed(columns) => format!("was changed on Traffic in {}", columns.join(", ")),
            };
            let _ = writeln!(text, "{} {} {what}", table.found.table, example.id);
        }
    }
    attribution(&mut text, found);
    let _ = writeln!(
        text,
        "{} rows in quarantine, {} values changed on the way; {:.1} s, {:.0} rows per second.",
        found.quarantined, found.conversion_notes, found.seconds, found.rows_per_second
    );
    if found.resumed {
        text.push_str("A part was compared by an earlier run, which was interrupted; leads are not counted by targetologist.\n");
    }
    let _ = writeln!(text, "{}", verdict(found, repaired.is_some()));
    if let Some(RowCounts { written, unchanged, deleted, quarantined }) = repaired {
        let _ = writeln!(
            text,
            "Repaired: {written} rows written as Landing has them, {deleted} deleted that it does not have, \
             {unchanged} found equal by now, {quarantined} in quarantine. \
             Start the daemon, then run `leadbridge verify` again."
        );
    }
    text
}

fn grid(tables: &[TableVerification]) -> Grid {
    let mut grid = Grid::new();
    grid.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    grid.set_header([
        "table",
        "Landing",
        "Traffic",
        "missing",
        "extra",
        "different",
        "refused",
        "changed on Traffic",
        "orphaned",
        "quarantined",
    ]);
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
fn attribution(text: &mut String, found: &Verification) {
    for whose in found.attribution.iter().flatten().filter(|whose| whose.landing != whose.traffic) {
        let who = match (whose.targetologist_id, &whose.team) {
            (None, _) => "nobody".to_owned(),
            (Some(id), None) => format!("targetologist {id}"),
            (Some(id), Some(team)) => format!("targetologist {id} ({team})"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "leads of {who}: {} on Landing, {} on Traffic", whose.landing, whose.traffic);
    }
}

fn verdict(found: &Verification, repaired: bool) -> String {
    if found.equal {
        return format!("Equal: Traffic has everything that Landing committed before {}.", found.landing_lsn);
    }
    let moving: u64 = found.tables.iter().map(|table| table.moving).sum();
    let mut verdict = "NOT EQUAL.".to_owned();
    if moving > 0 {
        verdict += &format!(
            " {moving} rows change too often to be compared: run the command again at a quieter \
                      moment."
        );
    }
    if !found.stream_passed && !repaired {
        verdict += " The stream did not pass the rows that differ meanwhile, so they may be on their way: does \
                    the daemon run (`leadbridge status`)?";
    }
    verdict
}
