//! Arguments → command → exit code, nothing else.

use std::process::ExitCode;

use clap::Parser as _;
use leadbridge::cli::Cli;
use leadbridge::commands;
use leadbridge::exit::Exit;

fn main() -> ExitCode {
    commands::end_at_panic();
    let exit = match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(wrong_usage_or_help) => {
            // A failed print is ignored, because a closed stdout or stderr cannot report the failure.
            let _ = wrong_usage_or_help.print();
            if wrong_usage_or_help.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    };
    exit.into()
}
