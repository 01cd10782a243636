//! `leadbridge run`: the daemon.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::SignalKind;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ending::{self, Ending, no_thread};
use super::signals::{Signals, handler};
use super::{descriptors, threads};
use crate::alert::Alerts;
use crate::checkpoint::LocalStore;
use crate::cli::RunArguments;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::page;
use crate::replication::{self, Until, last_error};
use crate::telemetry::http_server::{self, Bounds};
use crate::telemetry::{Telemetry, http, http_access, systemd};

/// Time for the replication to end after a signal: three times as much as the batch in hand is given. Together with
/// [`ending::LIMIT`] less than TimeoutStopSec of the unit.
const STOPPING: Duration = Duration::from_secs(15);

pub async fn run(config: Config, arguments: &RunArguments, ending: &Ending) -> Result<Exit> {
    let until = if arguments.until_caught_up { Until::CaughtUp } else { Until::Shutdown };
    let alerts = match until {
        Until::Shutdown => {
            Alerts::start(&config.alert, &config.state_dir).map_err(|error| no_thread(&error))?
        }
        // Somebody waits for the end of the command and sees its error.
        Until::CaughtUp | Until::Resynced => None,
    };
    let replicated = replicate(config.clone(), until, ending, alerts.as_ref()).await;
    // While a healthy daemon holds the state directory, this process's failure says nothing about
    // replication.
    let fatal = replicated.as_ref().err().filter(|_| !LocalStore::is_held(&config.state_dir));
    if let Some(alerts) = &alerts {
        tell_end(alerts, fatal);
    }
    let told = async {
        if let Some(alerts) = alerts {
            alerts.ended().await;
        }
    };
    let kept = async {
        if let Some(error) = fatal {
            last_error::keep(&config, error).await;
        }
    };
    ending.step("the record of the last error, or the last alert");
    tokio::join!(told, kept);
    replicated.map(|()| Exit::Ok)
}

/// Tells the alerts that the process ends. The unit's RestartPreventExitStatus names the exit codes after which nobody
/// starts the daemon again.
fn tell_end(alerts: &Alerts, fatal: Option<&Error>) {
    let restarts = !matches!(fatal.map(Exit::from), Some(Exit::Refused | Exit::Usage));
    alerts.end(fatal, restarts);
}

/// Runs replication with its surroundings: the state directory's lock, signals, HTTP, systemd.
pub async fn replicate(config: Config, until: Until, ending: &Ending, alerts: Option<&Alerts>) -> Result<()> {
    // Signal handlers come first: as soon as the daemon answers over HTTP, a signal ends the daemon in an
    // orderly way.
    let signals = Signals::listen()?;
    // SIGXFSZ comes with a write beyond `ulimit -f`, and ends no process that handles it. The failed write also
    // returns an error, which is enough.
    let _file_limit = handler(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32))?;
    // A terminal that closes, or a program that rotates logs, must not end the daemon.
    let _hangup = handler(SignalKind::hangup())?;
    threads::take_blocking().await?;
    let bounds = descriptors::reserve();
    let store = LocalStore::open_when_free(&config.state_dir).await?;
    ending::end_at_panic_keeping(Some(config.state_dir.clone()));
    let telemetry = Telemetry::new();
    if let Some(alerts) = alerts {
        alerts.watch(telemetry.clone());
    }
    let shutdown = CancellationToken::new();
    // The services outlive the replication by a moment, so that the last state can still be read.
    let services = CancellationToken::new();
    let web = serve(&config, &telemetry, bounds, &services).await?;
    let notifying = tokio::spawn(systemd::follow(telemetry.clone(), services.clone()));
    let stop = Stop { shutdown: shutdown.clone(), services: services.clone(), ending: ending.clone() };
    let listening = tokio::spawn(stop.at_signal(signals));
    let ended = replication::run(config, store, telemetry, shutdown, until).await;
    if let Err(error) = &ended.result {
        // Before any teardown, so that a teardown that hangs hides no error. The remedy comes with the last line.
        let (step, table, lsn) = (error.step(), error.table(), error.lsn().map(tracing::field::display));
        tracing::error!(step, table, lsn, "replication has ended: {}", error.message());
        // At once, because a teardown that hangs ends the process by force.
        if let Some(alerts) = alerts {
            tell_end(alerts, Some(error));
        }
    }
    ending.begin(
        ending::LIMIT,
        "the monitor, or the local store in the state directory,",
        ended.result.as_ref().map_or_else(Exit::from, |()| Exit::Ok),
    );
    let replicated = ended.close().await;
    services.cancel();
    let died = |error| Error::internal(format!("a service of the daemon died: {error}"));
    ending.step("the service manager's notifications");
    notifying.await.map_err(died)?;
    ending.step("the handler of signals");
    listening.await.map_err(died)?;
    ending.step("the HTTP server");
    if let Some(web) = web {
        web.await.map_err(died)?;
    }
    replicated
}

/// Starts the HTTP server. An address that cannot be taken yet is tried again beside the replication.
async fn serve(
    config: &Config,
    telemetry: &Telemetry,
    bounds: Bounds,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>> {
    let Some(address) = config.http_listen else { return Ok(None) };
    let listener = match http_server::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) if error.kind() == Kind::Transient => {
            tracing::warn!("no HTTP yet, the address is tried again while the daemon runs: {error}");
            None
        }
        Err(error) => return Err(error),
    };
    let limits =
        http::Limits { max_lag_bytes: config.max_lag_bytes, max_lag_seconds: config.max_lag_seconds };
    // Programs that ask for status and metrics keep half of the connections.
    let followers = bounds.connections / 2;
    let page = page::router(page::of_daemon(telemetry.clone(), limits), followers, stop.clone());
    let router = http::router(telemetry.clone(), limits).merge(page);
    let router = http_access::guarded(router, config.http_token_file.clone());
    Ok(Some(tokio::spawn(serve_once_bound(address, listener, router, bounds, stop.clone()))))
}

async fn serve_once_bound(
    address: SocketAddr,
    bound: Option<TcpListener>,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let listener = match bound {
        Some(listener) => listener,
        // Dropping the attempts loses nothing.
        None => tokio::select! {
            () = stop.cancelled() => return,
            listener = http_server::bind_when_free(address) => listener,
        },
    };
    http_server::serve(listener, router, bounds, stop).await;
}

/// What a signal ends.
struct Stop {
    shutdown: CancellationToken,
    services: CancellationToken,
    ending: Ending,
}

impl Stop {
    /// Cancels `shutdown` at the first signal; ends without a signal when `services` is cancelled.
    async fn at_signal(self, mut signals: Signals) {
        let name = tokio::select! {
            () = self.services.cancelled() => return,
            name = signals.next() => name,
        };
        tracing::info!("{name}: finishing the transaction in hand; a second signal ends the process at once");
        self.ending.begin(STOPPING, "the replication", Exit::Internal);
        self.shutdown.cancel();
    }
}
