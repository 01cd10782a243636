//! The arguments of `leadbridge migrate`.

use clap::{Args, ValueEnum};

/// Prepare both databases: the migrations and schema on Traffic, the publication on Landing.
///
/// Idempotent, and safe on the live databases.
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge migrate --print=traffic --role leadbridge > for-the-dba.sql")]
pub struct Migrate {
    /// Show the SQL for a DBA to run, of both databases or of the named database, and change no database
    #[arg(
        long,
        value_name = "DATABASE",
        conflicts_with = "dry_run",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "both"
    )]
    pub print: Option<Print>,
    /// Show also the least-privilege role for the daemon, with this name
    #[arg(long, requires = "print")]
    pub role: Option<String>,
    /// Show the changes that would be made, and make no change
    #[arg(long)]
    pub dry_run: bool,
    /// Let the API's roles (anon, authenticated) see on Traffic no more than on Landing: row-level security,
    /// policies and grants as Landing's tables have them. With --dry-run, show each statement
    #[arg(long, conflicts_with = "print")]
    pub api_access: bool,
    /// Make Landing's names on Traffic, as views for old code: landing_leads, the journey, leads_with_journey. They can be
    /// read at once, and written from the switch on. They are made from Landing's catalog, so --print cannot show them
    #[arg(long, conflicts_with = "print")]
    pub legacy: bool,
    /// Make this view of Landing's (leads_with_journey) with its owner's rights, as on Landing, so that it shows people's
    /// phones and e-mails to every role that Landing lets read it
    #[arg(long, value_name = "NAME", requires = "legacy")]
    pub public_view: Vec<String>,
    /// Take the schema over from the installation recorded in the schema, after a permanent change of the
    /// installation's names or of its Landing. Run `leadbridge resync` afterwards
    #[arg(long, conflicts_with = "print")]
    pub replace_installation: bool,
}

/// The databases whose SQL is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Print {
    Landing,
    Traffic,
    Both,
}
