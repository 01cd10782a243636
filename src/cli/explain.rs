//! Arguments of `leadbridge explain`.

use std::time::Duration;

use clap::Args;

/// Explain one lead, end to end: both sides, the rule behind each column, journey, notes, quarantine, and what differs.
///
/// Works while no daemon runs, and says what the answering side knows when a database does not answer. Shows no value
/// of a row without --values. Exits 0 when the lead is as it must be, 1 when not or when there is no such lead, 3 when a
/// database is unreachable.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge explain '+7 (701) 123-45-67'\n         \
                        leadbridge explain c0ffee00-0000-4000-8000-000000000001 --values")]
pub struct ExplainArguments {
    /// The lead's id, its phone in any form, or its e-mail; - reads it from stdin, so that it stands in no list of
    /// processes. The id of a journey entry or notification names its lead
    #[arg(required = true, num_args = 1.., value_name = "ID|PHONE|EMAIL")]
    pub lead: Vec<String>,
    /// Show the values of the lead's columns: the values are people's data
    #[arg(long)]
    pub values: bool,
    /// How long the stream may take to pass a row that differs, before the row counts as a difference
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "2s")]
    pub wait: Duration,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}
