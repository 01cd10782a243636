//! Arguments of `leadbridge alert`.

use clap::{Args, Subcommand};

/// Try the channels by which the daemon tells about trouble (section `alert` of the configuration).
#[derive(Debug, Args)]
#[command(after_help = "Example: leadbridge alert test")]
pub struct AlertArguments {
    #[command(subcommand)]
    pub action: AlertAction,
}

#[derive(Debug, Subcommand)]
pub enum AlertAction {
    /// Send a test message through each channel. Exits 0 when each has taken it, 1 when one has not
    #[command(after_help = "Example: leadbridge alert test")]
    Test {
        /// Print one JSON document instead of lines
        #[arg(long)]
        json: bool,
    },
}
