//! Arguments of the commands that write and read files.

use std::path::PathBuf;

use clap::Args;

use crate::files::Format;
use crate::model::side::Side;

/// Write the replicated tables to files: every column of every row, as of one moment, with a manifest.
///
/// Changes nothing on either database, and runs beside a daemon, also on a standby. The files are readable by `psql`;
/// `leadbridge import` reads an export of Landing.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge export /srv/export/landing --format jsonl")]
pub struct ExportArguments {
    /// Directory of the files: new, or empty
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Format of the rows
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// The side whose tables are written
    #[arg(long, value_enum, value_name = "SIDE", default_value = "landing")]
    pub side: Side,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// Read an export of Landing into Traffic, through the mapping, as the first copy would.
///
/// Landing is not asked. Refused while replication runs into this Traffic, or has run. A row that Traffic does not take
/// goes to quarantine. After an interruption the same command goes on where it stopped. Asks for confirmation, unless
/// --yes. Exits 0 when every row is on Traffic, 1 when rows are in quarantine or the import was interrupted.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: leadbridge import /srv/export/landing --dry-run && leadbridge import /srv/export/landing"
)]
pub struct ImportArguments {
    /// Directory of the export
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Check everything, show what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Begin with the first row, whatever an earlier import has recorded
    #[arg(long)]
    pub restart: bool,
    /// Skip the confirmation prompt
    #[arg(long)]
    pub yes: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}
