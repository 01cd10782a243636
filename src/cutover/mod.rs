//! The cutover: Landing stops taking writes, Traffic has everything, and both are proven. On any failure
//! nothing is changed.
//!
//! | step | condition | effect of a crash right after the step |
//! |---|---|---|
//! | `started` | a row in `leadbridge.cutover` on Traffic, before the slot of reverse replication is created | the daemon or the next command aborts the cutover |
//! | `fenced` | one open transaction on Landing blocks every writer | the transaction ends, and writers continue |
//! | `drained` | a marker of the transaction came through the stream | the same |
//! | `verified` | both sides are equal | the same |
//! | closed | the transaction commits: writers are refused | the cutover is aborted and the fence lifted; at the deadline the fence opens by itself |
//! | hook | the journal says that the hook has begun, then the hook runs | the same; what applications wrote on Traffic is kept, and `status` says that the hook is to be undone |
//! | `switched` | one transaction on Traffic | the cutover stays switched |
//!
//! The order makes the cutover safe. Landing is closed for good before Traffic says `switched`, so there are
//! never two databases that take writes. A process that opens Landing again first writes `aborted` on
//! Traffic, so that no other process can switch any more.

pub mod aborted;
pub mod adopt;
pub mod attention;
mod backward;
pub mod certificate;
mod content;
mod effects;
mod forward;
mod hook;
pub mod journal;
mod left;
mod marker;
pub mod orphan;
pub mod readiness;
pub mod resolve;
mod scene;
mod undo;

use std::time::{Duration, Instant};

use adopt::Adoption;
use attention::hook_duty;
pub use certificate::CutoverCertificate;
use hook::Hook;
use journal::CutoverJournal;
pub use journal::Direction;
pub use marker::Latency;
use readiness::Readiness;
use scene::Scene;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::own_schema::{self, Extent};
use crate::checkpoint::{Finish, Installation, ReplicatedSettings};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::side::Side;
use crate::postgres::advisory::{self, ExclusiveRight};
use crate::postgres::triggers::TriggerControl;
use crate::postgres::{Database, Databases, Session};
use crate::report::{Attention, Level};

/// Options of a cutover or rollback.
#[derive(Clone, Debug)]
pub struct CutoverOptions {
    pub readiness: readiness::ReadinessTerms,
    /// Time from the beginning to the decision. A cutover that is undecided after this time is aborted.
    pub timeout: Duration,
    /// Longest time for which an unsuccessful attempt to lock the tables may hold up a writer.
    pub lock_timeout: Duration,
    pub hook: Option<String>,
    /// How long Traffic refuses writers after a rollback.
    pub refuse_for: Duration,
}

/// An examined cutover or rollback: sessions on both databases, the right to decide, and the findings.
pub struct PreparedCutover {
    pub readiness: Readiness,
    /// With the names as Landing has them.
    config: Config,
    direction: Direction,
    landing: Session,
    traffic: Session,
}

/// Examines every condition, and changes nothing, except that an interrupted earlier cutover or rollback is
/// resolved.
///
/// # Errors
/// Refused when another installation owns the schema, after `leadbridge finish`, or while another command
/// runs a cutover or rollback; the errors of databases that cannot be reached.
pub async fn prepare(
    config: &Config,
    options: &CutoverOptions,
    direction: Direction,
) -> Result<PreparedCutover> {
    let [landing, traffic] = connect(config).await?;
    Finish::refuse(&traffic, &config.names).await?;
    // What an abort needs is never refused for the schema's form: only what begins anew.
    for database in [Database::traffic(&traffic, &config.names), Database::landing(&landing, &config.names)] {
        own_schema::admit(database, Extent::Present).await?;
    }
    // After a finish Landing's tables may be gone.
    let config = config.resolved(&landing).await?;
    ReplicatedSettings::new(&config.names, &config.tables(), &config.columns)
        .refuse_other(Database::traffic(&traffic, &config.names))
        .await?;
    take_the_right(&config, &traffic).await?;
    let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
    take_life(databases).await?;
    settle(databases).await?;
    let terms = &options.readiness;
    let mut readiness = match direction {
        Direction::Cutover => readiness::forward::examine(&config, terms, databases).await,
        Direction::Rollback => readiness::backward::examine(&config, terms, databases).await,
    };
    // Readiness names a fence that this role may not read.
    if readiness.is_ready()
        && let Some(Attention { message, remedy }) =
            orphan::find(databases).await?.map(|orphan| orphan.attention())
    {
        return Err(Error::refused(message.to_string()).remedy(remedy));
    }
    if let Some(command) = &options.hook {
        let hook = Hook { command, environment: &config.hook_environment };
        readiness.findings.add("hook", None, hook::check(hook, direction).await);
    }
    Ok(PreparedCutover { config, direction, readiness, landing, traffic })
}

/// Time that the daemon is given to let go of the slot of an earlier cutover.
const LETTING_GO: Duration = Duration::from_secs(10);

/// Resolves earlier cutovers and rollbacks.
///
/// # Errors
/// Refused while the hook of an aborted cutover is not undone; transient while the daemon still streams from
/// the slot of an earlier cutover.
async fn settle(databases: Databases<'_>) -> Result<()> {
    let journal = CutoverJournal::new(databases.names);
    let started = Instant::now();
    loop {
        resolve::settle(databases).await?;
        let unresolved = journal.unresolved(databases.traffic).await?;
        if let Some(Attention { message, remedy }) = unresolved.iter().find_map(hook_duty) {
            return Err(Error::refused(message.to_string()).remedy(remedy));
        }
        let Some(entry) = unresolved.first() else { return Ok(()) };
        if started.elapsed() > LETTING_GO {
            let direction = entry.direction.as_str();
            return Err(Error::new(
                Kind::Transient,
                format!(
                    "the {direction} {} is `{}`, and something of it is still in use",
                    entry.id, entry.state
                ),
            )
            .remedy(message!("cutover-remedy-still-in-use")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Pause between two attempts to resolve an earlier cutover.
const LOOK: Duration = Duration::from_millis(300);

/// Records that an operator has run the hook of the last cutover or rollback by hand, as [`attention`] asks
/// for.
///
/// # Errors
/// Refused when no hook is to be run.
pub async fn hook_settled(config: &Config) -> Result<()> {
    let [landing, traffic] = connect(config).await?;
    let config = config.resolved(&landing).await?;
    let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
    take_the_right(&config, &traffic).await?;
    take_life(databases).await?;
    let journal = CutoverJournal::new(&config.names);
    resolve::settle(databases).await?;
    let mut entries = journal.unresolved(&traffic).await?;
    entries.extend(journal.newest(&traffic).await?);
    let Some(entry) = entries.iter().find(|entry| hook_duty(entry).is_some()) else {
        return Err(Error::refused("no hook of a cutover or rollback is to be run")
            .remedy(message!("cutover-remedy-nothing-to-do")));
    };
    match entry.needs_hook_undone() {
        true => undo::settle_hook(databases, entry).await,
        false => journal.end_hook(&traffic, entry.id).await,
    }
}

/// Sessions on Landing and Traffic of this installation.
async fn connect(config: &Config) -> Result<[Session; 2]> {
    let landing = config.landing.connect("cutover").await?;
    let traffic = config.traffic.connect("cutover").await?;
    for database in [Database::traffic(&traffic, &config.names), Database::landing(&landing, &config.names)] {
        Installation::refuse_another(database, &config.landing).await?;
    }
    Ok([landing, traffic])
}

/// Takes a lock on Landing for as long as the command lives. A command that has lost its session on Traffic,
/// and with it the right to decide, may still run a hook: until the command's end nobody says that the
/// applications are back.
async fn take_life(databases: Databases<'_>) -> Result<()> {
    let landing = databases.on(Side::Landing);
    let (life, step) = (ExclusiveRight::Command.key(landing.names), "taking the command's lock on Landing");
    if advisory::take_within(landing.client, &life, step, LETTING_GO).await? {
        return Ok(());
    }
    advisory::refuse_foreign(landing, ExclusiveRight::Command).await?;
    Err(Error::refused("another command of a cutover or rollback lives, without the right to decide")
        .remedy(message!("cutover-remedy-command-lives")))
}

async fn take_the_right(config: &Config, traffic: &Session) -> Result<()> {
    if CutoverJournal::new(&config.names).take_soon(traffic).await? {
        return Ok(());
    }
    advisory::refuse_foreign(Database::traffic(traffic, &config.names), ExclusiveRight::Decision).await?;
    Err(Error::refused("another command is in the middle of a cutover or rollback")
        .remedy(message!("cutover-remedy-in-the-middle")))
}

/// Fences, drains, verifies and switches. A cancelled `interrupted` aborts.
///
/// # Errors
/// The reason of the abort. Afterwards everything is as before, or the message says how much was decided, or
/// which changes are still to be undone, and by whom.
pub async fn execute(
    options: &CutoverOptions,
    prepared: PreparedCutover,
    interrupted: &CancellationToken,
) -> Result<CutoverCertificate> {
    if !prepared.readiness.is_ready() {
        let findings = &prepared.readiness.findings.findings;
        let errors = findings.iter().filter(|finding| finding.level == Level::Error);
        let messages: Vec<String> = errors.map(|finding| finding.message.to_string()).collect();
        return Err(Error::refused(format!("not ready: {}", messages.join("; ")))
            .remedy(message!("cutover-remedy-dry-run")));
    }
    let config = prepared.config.clone();
    let triggers = TriggerControl::probe(&prepared.traffic).await?;
    let rewrite = match prepared.direction {
        Direction::Cutover => adopt::Rows::new(),
        Direction::Rollback => {
            // Most rows are adopted before the fence, so that writers wait only for the few that are left.
            let PreparedCutover { landing, traffic, .. } = &prepared;
            let databases = Databases { landing, traffic, names: &config.names };
            let (tables, lock_timeout) = (config.tables(), options.lock_timeout);
            Adoption { databases, tables, triggers, lock_timeout }.all(options.timeout).await?
        }
    };
    let mut scene = Scene::new(&config, options, prepared);
    // Dropping the steps is safe at any point: an open transaction ends with its session, the processes of the
    // hook are killed, and everything else is in the journal.
    let done = tokio::select! {
        done = async { match scene.run.direction {
            Direction::Cutover => scene.cut_over().await,
            Direction::Rollback => scene.roll_back(triggers, &rewrite).await,
        } } => done,
        () = interrupted.cancelled() => Err(Error::new(Kind::Transient, "interrupted by a signal")),
    };
    match done {
        Ok(certificate) => Ok(certificate),
        Err(error) => Err(scene.end().await.undo(error).await),
    }
}
