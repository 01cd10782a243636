//! `leadbridge run`: the daemon.

use tokio::signal::unix::SignalKind;
use tokio_util::sync::CancellationToken;

use super::signals::{Signals, handler};
use crate::checkpoint::LocalStore;
use crate::cli::RunArguments;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::replication::{self, Until, last_error};
use crate::telemetry::{Telemetry, http, systemd};

pub async fn run(config: Config, arguments: &RunArguments) -> Result<Exit> {
    let until = if arguments.until_caught_up { Until::CaughtUp } else { Until::Shutdown };
    let replicated = replicate(config.clone(), until).await;
    // While a healthy daemon holds the state directory, this process's failure says nothing about
    // replication.
    if let Err(error) = &replicated
        && !LocalStore::is_held(&config.state_dir)
    {
        last_error::keep(&config, error).await;
    }
    replicated.map(|()| Exit::Ok)
}

/// Runs replication with its surroundings: the state directory's lock, signals, HTTP, systemd.
pub async fn replicate(config: Config, until: Until) -> Result<()> {
    // Signal handlers come first: as soon as the daemon answers over HTTP, a signal ends the daemon in an
    // orderly way.
    let signals = Signals::listen()?;
    // SIGXFSZ comes with a write beyond `ulimit -f`, and ends no process that handles it. The failed write also
    // returns an error, which is enough.
    let _file_limit = handler(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32))?;
    // A terminal that closes, or a program that rotates logs, must not end the daemon.
    let _hangup = handler(SignalKind::hangup())?;
    let store = LocalStore::open_when_free(&config.state_dir).await?;
    let telemetry = Telemetry::new();
    let shutdown = CancellationToken::new();
    // The services outlive the replication by a moment, so that the last state can still be read.
    let services = CancellationToken::new();
    let web = serve(&config, &telemetry, &services).await?;
    let notifying = tokio::spawn(systemd::follow(telemetry.clone(), services.clone()));
    let listening = tokio::spawn(end_at_signal(signals, shutdown.clone(), services.clone()));
    let replicated = replication::run(config, store, telemetry, shutdown, until).await;
    services.cancel();
    let died = |error| Error::internal(format!("a service of the daemon died: {error}"));
    notifying.await.map_err(died)?;
    listening.await.map_err(died)?;
    if let Some(web) = web {
        web.await.map_err(died)??;
    }
    replicated
}

type Service = tokio::task::JoinHandle<Result<()>>;

async fn serve(config: &Config, telemetry: &Telemetry, stop: &CancellationToken) -> Result<Option<Service>> {
    let Some(address) = config.http_listen else { return Ok(None) };
    let listener = http::bind(address).await?;
    let limits =
        http::Limits { max_lag_bytes: config.max_lag_bytes, max_lag_seconds: config.max_lag_seconds };
    Ok(Some(tokio::spawn(http::serve(listener, telemetry.clone(), limits, stop.clone()))))
}

/// Cancels `shutdown` at the first signal; ends without a signal when `stop` is cancelled.
async fn end_at_signal(mut signals: Signals, shutdown: CancellationToken, stop: CancellationToken) {
    let name = tokio::select! {
        () = stop.cancelled() => return,
        name = signals.next() => name,
    };
    tracing::info!("{name}: finishing the transaction in hand");
    shutdown.cancel();
}
