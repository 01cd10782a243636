//! One file for each command. This file dispatches the commands and turns their results into exit codes.

mod alert;
mod confirm;
mod cutover;
mod descriptors;
mod doctor;
mod ending;
mod explain;
mod export;
mod finish;
mod import;
mod migrate;
mod quarantine;
mod resync;
mod run;
mod signals;
mod status;
mod threads;
mod verify;

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

pub use self::ending::end_at_panic;
use self::ending::{Ending, no_thread};
pub use self::threads::THREADS;
use crate::cli::{Cli, Command};
use crate::config::{Config, Settings, environment};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::language::{Language, Message};
use crate::telemetry::logging::{self, LogLines};

/// How long the end of a process waits for the last lines of the log to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Time for the runtime's threads to end after the command.
const THREADS_END: Duration = Duration::from_secs(2);

/// How long a text on the terminal waits for the lines of the log that came before it.
const EARLIER_LINES: Duration = Duration::from_millis(500);

/// Runs the command to its end. Errors go to stderr, each with its remedy.
pub fn run(cli: Cli) -> Exit {
    let daemon = matches!(cli.command, Command::Run(_) | Command::Resync(_));
    let started = Ending::start().and_then(|ending| {
        let log = LogLines::to_stderr().map_err(|error| no_thread(&error))?;
        Ok((log, threads::runtime(daemon)?, ending))
    });
    match started {
        Ok((log, runtime, ending)) => run_in(runtime, &log, &ending, cli),
        Err(error) => {
            complain(&error);
            Exit::from(&error)
        }
    }
}

fn run_in(runtime: Runtime, log: &LogLines, ending: &Ending, cli: Cli) -> Exit {
    let result = runtime.block_on(dispatch(cli, log, ending));
    let exit = result.as_ref().map_or_else(Exit::from, |exit| *exit);
    ending.last("the runtime", exit);
    if let Err(error) = result {
        log.say(&complaint(&error));
    }
    let begun = Instant::now();
    runtime.shutdown_timeout(THREADS_END);
    if begun.elapsed() >= THREADS_END {
        tracing::warn!(
            "a write to the state directory, or a name lookup, did not end: the process ends without"
        );
    }
    ending.step("the last lines of the log");
    log.flush(LAST_LINES);
    exit
}

async fn dispatch(cli: Cli, log: &LogLines, ending: &Ending) -> Result<Exit> {
    let language = cli.global.language(&environment);
    let config = || {
        let config = Config::load(&cli.global.flags(), &environment)?;
        logging::start(&config.log, log)?;
        Ok::<_, Error>(config)
    };
    match &cli.command {
        Command::Migrate(arguments) => match arguments.print {
            Some(which) => {
                let settings = Settings::load(&cli.global.flags(), &environment)?;
                migrate::print(&settings, which, arguments.role.as_deref())
            }
            None => migrate::run(&config()?, arguments, language).await,
        },
        Command::Doctor(arguments) => doctor::run(&config()?, arguments, language).await,
        Command::Run(arguments) => run::run(config()?, arguments, ending).await,
        Command::Resync(arguments) => Box::pin(resync::run(config()?, arguments, (ending, language))).await,
        Command::Alert(arguments) => {
            let settings = Settings::load(&cli.global.flags(), &environment)?;
            logging::start(&settings.log, log)?;
            Box::pin(alert::run(&settings, arguments)).await
        }
        Command::Finish(arguments) => Box::pin(finish::run(&config()?, arguments, language)).await,
        Command::Quarantine(arguments) => quarantine::run(&config()?, arguments, language).await,
        Command::Export(arguments) => Box::pin(export::run(&config()?, arguments)).await,
        Command::Import(arguments) => Box::pin(import::run(&config()?, arguments)).await,
        Command::Status(arguments) => status::run(&config()?, arguments, language).await,
        Command::Verify(arguments) => Box::pin(verify::run(&config()?, arguments, language)).await,
        Command::Explain(arguments) => Box::pin(explain::run(&config()?, arguments, language)).await,
        Command::Cutover(arguments) => Box::pin(cutover::run(&config()?, arguments, language)).await,
        Command::Rollback(arguments) => Box::pin(cutover::roll_back(&config()?, arguments, language)).await,
        // The demo reads no configuration: its servers are its own, regardless of the environment.
        Command::Demo(_) => Box::pin(crate::demo::run()).await,
    }
}

/// Writes a result to stdout. A reader that closes stdout early (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    print_unless_closed(text).map(drop)
}

/// Writes one line of a result to stdout.
fn print_line(line: &Message, language: Language) -> Result<()> {
    print(&(line.in_language(language) + "\n"))
}

/// Whether stdout still has a reader.
///
/// # Errors
/// `Internal` when writing to stdout fails for another reason, such as a full disk.
fn print_unless_closed(text: &str) -> Result<bool> {
    logging::flush(EARLIER_LINES);
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::internal(format!("stdout cannot be written to: {error}"))),
    }
}

/// Writes one JSON document, indented, to stdout.
fn print_json(document: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Error::internal("the result cannot be written as JSON").source_error(error))?;
    print(&(text + "\n"))
}

fn complain(error: &Error) {
    logging::flush(EARLIER_LINES);
    // Nobody can be told of a closed stderr.
    let _ = io::stderr().write_all(complaint(error).as_bytes());
}

fn complaint(error: &Error) -> String {
    format!("error: {error}\n")
}
