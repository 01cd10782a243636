//! Arguments → command → exit code, nothing else.

use std::io::{ErrorKind, Write as _};
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
            let printed = wrong_usage_or_help.print();
            match printed {
                // A full stderr cannot report its own failure.
                _ if wrong_usage_or_help.use_stderr() => Exit::Usage,
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    // Nobody can be told of a closed stderr.
                    let _ = writeln!(std::io::stderr(), "error: stdout cannot be written to: {error}");
                    Exit::Internal
                }
                Ok(()) | Err(_) => Exit::Ok,
            }
        }
    };
    exit.into()
}
