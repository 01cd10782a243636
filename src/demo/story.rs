//! The story, step by step, in plain words and measured figures.

use std::time::Instant;

use super::figures::{bytes, count, counted, curve, duration, rate, seconds};
use super::home::Home;
use super::ownership::Owned;
use super::screen::Screen;
use super::setup::DemoSetup;
use super::switch::{self, Switched};
use super::{crash, lag, noise, ownership};
use crate::compare::{self, Comparison};
use crate::error::{Error, Result};
use crate::migrate::{MigrateOptions, migrate};
use crate::postgres::Databases;
use crate::telemetry::{Live, State};

/// Number of transactions to wait for while the demo watches the stream.
const WATCHED: u64 = 500;

/// Tells the story. True if every check held.
pub async fn tell(screen: &mut Screen, home: &Home) -> Result<bool> {
    screen.title(
        "leadbridge demo: leads move from one PostgreSQL to another while both are in use",
        "A school's websites write leads into the Landing database; its ad team works in the Traffic database. \
         leadbridge copies the leads over, translates them, and then keeps up with every change. Here both \
         databases are throw-away servers on this machine, gone when the demo ends, in about half a minute.",
    );
    let mut setup = set(screen, home).await?;
    prepare(&mut setup, screen).await?;
    snapshot(&mut setup, screen).await?;
    stream(&mut setup, screen).await?;
    let owned = own(&setup, screen).await?;
    rise_and_fall(&mut setup, screen).await?;
    kill(&mut setup, screen).await?;
    stop_writers(&mut setup, screen).await?;
    make_noise(&mut setup, screen).await?;
    let equal = compare(&setup, screen).await?;
    let kept = look_again(&setup, screen, &owned).await?;
    let proven = cut_over(&setup, screen).await?;
    stop(&mut setup, screen).await?;
    drop(setup);
    screen.end(match equal && kept && proven {
        true => "Everything held: nothing lost, nothing twice, nothing of Traffic's own touched.",
        false => "NOT everything held: see above.",
    });
    Ok(equal && kept && proven)
}

async fn set<'h>(screen: &mut Screen, home: &'h Home) -> Result<DemoSetup<'h>> {
    screen.step("Two PostgreSQL servers are set up");
    screen.moving("starting the servers");
    let mut setup = DemoSetup::set(home).await?;
    setup.start_writers();
    screen.say(&format!(
        "PostgreSQL {}. Landing holds {} and {} journey entries, all made up. Four writers begin to work on \
         Landing like the school's websites: new leads, clicks, journey entries, some deletes.",
        setup.version,
        counted(setup.filled.leads, "lead"),
        count(setup.filled.journey_entries),
    ));
    Ok(setup)
}

async fn prepare(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<()> {
    screen.step("`leadbridge migrate` prepares both databases");
    let names = setup.config.names.clone();
    let report = migrate(&mut setup.landing, &mut setup.traffic, &names, &MigrateOptions::default()).await?;
    screen.say(&format!(
        "{} applied while the writers go on: on Traffic the new columns, tables and views, on Landing one \
         publication that names the two tables to follow, and the functions of a fence that nobody closes yet. \
         Landing's tables stay as they are.",
        counted(report.steps.len() as u64, "step"),
    ));
    Ok(())
}

async fn snapshot(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<()> {
    screen.step("`leadbridge run` copies what is there: the snapshot");
    let daemon = setup.start_daemon()?;
    let live = daemon
        .until("the snapshot", |live| {
            screen.moving(&copying(live));
            (live.state == State::Streaming).then(|| live.clone())
        })
        .await?;
    let (rows, _) = live.snapshot_rows();
    let rate = live.snapshot_rows_per_second.unwrap_or_default().round() as u64;
    screen.say(&format!(
        "{} copied at {} rows/s, as of one moment on Landing. The writers did not have to wait; what they \
         changed since that moment comes with the stream.",
        counted(rows, "row"),
        count(rate),
    ));
    Ok(())
}

fn copying(live: &Live) -> String {
    match live.snapshot_rows() {
        (0, _) => "waiting for a moment on Landing that no transaction straddles".to_owned(),
        (done, Some(expected)) => format!("{} of {} rows copied", count(done), count(expected)),
        (done, None) => format!("{} rows copied", count(done)),
    }
}

async fn stream(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<()> {
    screen.step("It goes on with every change: the stream");
    let daemon = setup.daemon()?;
    let (first, started) = (daemon.until("the daemon", |live| Some(live.clone())).await?, Instant::now());
    let arrived = |live: &Live| live.transactions_applied - first.transactions_applied;
    let (mut worst, mut is_known) = (0.0_f64, false);
    let last = daemon
        .until("the stream", |live| {
            screen.moving(&format!("{}  {}", lag::reading(live), counted(arrived(live), "transaction")));
            worst = worst.max(live.lag_seconds.unwrap_or_default());
            is_known |= live.lag_seconds.is_some();
            (is_known && arrived(live) >= WATCHED).then(|| live.clone())
        })
        .await?;
    screen.say(&format!(
        "{} of the writers arrived in {} ({} a second, {}), each translated on its way. The lag, measured once \
         a second, was at most {}.",
        counted(arrived(&last), "transaction"),
        duration(started.elapsed()),
        rate(arrived(&last), started.elapsed()),
        counted(last.rows_applied - first.rows_applied, "changed row"),
        seconds(worst),
    ));
    Ok(())
}

async fn own(setup: &DemoSetup<'_>, screen: &mut Screen) -> Result<Owned> {
    screen.step("Meanwhile people work on Traffic too");
    let owned = ownership::write(setup).await?;
    screen.say(&format!(
        "Somebody sets {} to `qualified`, and a Facebook form brings a lead that Landing never saw. Both belong \
         to Traffic: leadbridge must leave them alone. Step 11 looks again.",
        counted(owned.marked(), "lead"),
    ));
    Ok(owned)
}

async fn rise_and_fall(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<()> {
    screen.step("Traffic's leads are locked for some seconds: the lag rises and falls");
    let wave = lag::rise_and_fall(setup, screen).await?;
    screen.say(&format!(
        "lag {}  peak {} and {}. When the lock was gone, the backlog was there within {}. Landing noticed \
         nothing.",
        curve(&wave.readings),
        bytes(wave.peak_bytes),
        seconds(wave.peak_seconds),
        duration(wave.caught_up),
    ));
    Ok(())
}

async fn kill(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<()> {
    screen.step("kill -9: the daemon dies in the middle of a transaction");
    let recovery = crash::kill_and_recover(setup).await?;
    screen.say(&format!(
        "It had written rows to Traffic, but not yet its checkpoint: PostgreSQL undid the half transaction. A \
         new daemon went on from the checkpoint ({}), {} back, and had caught up {} after its start.",
        recovery.checkpoint,
        bytes(recovery.behind),
        duration(recovery.took),
    ));
    Ok(())
}

async fn stop_writers(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<()> {
    screen.step("The writers stop");
    let writers = setup.writers.take().ok_or_else(|| Error::internal("no writers"))?;
    let totals = writers.stop().await?;
    let (last, stopped) = (setup.landing_position().await?, Instant::now());
    let quiet = |live: &Live| live.applied_lsn >= Some(last) && live.quarantined.is_some();
    let live = setup.daemon()?.until("the last change", |live| quiet(live).then(|| live.clone())).await?;
    screen.say(&format!(
        "They had committed {} and rolled back {}. The last change was on Traffic {} later. {} changed on the \
         way (too long, not a number): the originals are kept. Rows that Traffic could not take: {}.",
        counted(totals.committed, "transaction"),
        count(totals.rolled_back),
        duration(stopped.elapsed()),
        counted(live.conversion_notes.unwrap_or_default(), "value"),
        count(live.quarantined.unwrap_or_default()),
    ));
    Ok(())
}

async fn make_noise(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<()> {
    screen.step("Landing's other tables make noise");
    let noise = noise::make(setup, screen).await?;
    screen.say(&format!(
        "The school's video lessons wrote {} to Landing's log (WAL). Of this {} reached Traffic, and the \
         replication slot keeps {} of it on Landing's disk.",
        bytes(noise.written),
        counted(noise.rows_applied, "row"),
        bytes(noise.retained),
    ));
    match noise.rows_applied {
        0 => Ok(()),
        rows => {
            Err(Error::internal(format!("{} of tables that are none of our business", counted(rows, "row"))))
        }
    }
}

async fn compare(setup: &DemoSetup<'_>, screen: &mut Screen) -> Result<bool> {
    screen.step("Both sides are compared, row by row and value by value");
    let (mut rows, mut values, mut differences, mut touched) = (0, 0, 0, 0);
    let names = &setup.config.names;
    let databases = Databases { landing: &setup.landing, traffic: &setup.traffic, names };
    for table in setup.config.tables() {
        let found = compare::compare(databases, table).await?;
        rows += found.landing_rows;
        values += found.values;
        differences += found.differences();
        touched += found.stamped;
        show(&found, screen);
    }
    screen.say(&format!(
        "{} and {} on Landing, translated again, against Traffic: {}. (In {} `updated_at` \
         is the time of a change made on Traffic itself: step 5.)",
        counted(rows, "row"),
        counted(values, "value"),
        counted(differences, "difference"),
        counted(touched, "lead"),
    ));
    Ok(differences == 0)
}

/// Prints each difference with table, id and columns.
fn show(found: &Comparison, screen: &mut Screen) {
    for example in &found.examples {
        screen.say(&format!("{} {}: {:?}", found.table, example.id, example.difference));
    }
    if found.refused > 0 {
        screen.say(&format!("{}: {} too long for Traffic", found.table, counted(found.refused, "row")));
    }
}

async fn look_again(setup: &DemoSetup<'_>, screen: &mut Screen, owned: &Owned) -> Result<bool> {
    screen.step("What belongs to Traffic is as it was");
    let kept = ownership::look_again(setup, owned).await?;
    screen.say(&format!(
        "Of the {} that were set to `qualified`, Landing has deleted {} since; {} of the other {} still say \
         `qualified`, although Landing's changes have rewritten {} of them. The lead from Facebook: {}.",
        counted(owned.marked(), "lead"),
        count(owned.marked() - kept.remaining),
        count(kept.kept),
        count(kept.remaining),
        count(kept.rewritten),
        if kept.own_lead { "unchanged" } else { "CHANGED" },
    ));
    Ok(kept.holds())
}

async fn cut_over(setup: &DemoSetup<'_>, screen: &mut Screen) -> Result<bool> {
    screen.step("`leadbridge cutover`: Traffic becomes the system of record");
    let Switched { certificate, told } = switch::switch(setup).await?;
    let rows = certificate.tables.iter().map(|table| table.landing_rows).sum();
    screen.say(&format!(
        "Landing was fenced, a marker in its log came through, and every value of {} was compared: writers \
         would have waited {}. Whoever writes a lead to Landing now is told: \"{told}\". `leadbridge rollback` \
         would go back, and lose nothing.",
        counted(rows, "row"),
        seconds(certificate.write_pause_seconds),
    ));
    Ok(certificate.is_proven())
}

async fn stop(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<()> {
    screen.step("SIGTERM: the daemon ends in order");
    let daemon = setup.daemon.take().ok_or_else(|| Error::internal("no daemon runs"))?;
    let took = daemon.stop().await?;
    screen.say(&format!("Exit code 0 after {}. Servers and directories are removed.", duration(took)));
    Ok(())
}
