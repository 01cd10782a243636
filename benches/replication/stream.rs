//! Backlogs of small transactions and a single large transaction, against decoding and discarding the same WAL, and
//! against PostgreSQL's own replication. All contenders read the same WAL, in turn.

use leadbridge::error::Result;

use super::daemon::{Daemon, Spent};
use super::native::{Contenders, settle};
use super::report::{Report, Runs};
use super::world::{World, execute, failed};
use super::{Size, comparison, floor, say};

/// Division of a lead's three changes into transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// A form's submission: lead, journey entry and click in one transaction.
    Together,
    /// Each change in a transaction of its own.
    Apart,
}

/// A lead is inserted, the lead's first journey entry follows, the lead is clicked. Returns the daemon's last run.
pub async fn small_transactions(
    world: &World,
    contenders: Option<&Contenders>,
    size: Size,
    commits: Commits,
    report: &mut Report,
) -> Result<Spent> {
    let (leads, between, what) = match commits {
        Commits::Together => (size.transactions, "", "backlog of transactions with three changes"),
        Commits::Apart => (size.transactions.div_ceil(3), "COMMIT;", "backlog of single changes"),
    };
    // A new lead copies an existing lead's values. The ids are read once, so that making leads stays fast.
    let sql = format!(
        "DO $$ DECLARE
            known CONSTANT uuid[] := ARRAY(SELECT id FROM public.landing_leads ORDER BY id LIMIT 1000);
            made uuid;
        BEGIN
            FOR i IN 1..{leads} LOOP
                INSERT INTO public.landing_leads (email, name, phone, source, metadata)
                    SELECT email, name, phone, source, metadata FROM public.landing_leads
                    WHERE id = known[1 + i % cardinality(known)] RETURNING id INTO made;
                {between}
                INSERT INTO public.journey_stages (lead_id, stage, source) VALUES (made, 'expresscourse_clicked', 'bench');
                {between}
                UPDATE public.landing_leads SET email_clicked = true, email_clicked_at = clock_timestamp(),
                    click_count = click_count + 1 WHERE id = made;
                COMMIT;
            END LOOP;
        END $$"
    );
    let mut runs = Runs::default();
    let mut last = backlog(world, contenders, &sql, &mut runs).await?;
    for _ in 1..size.repeat {
        last = backlog(world, contenders, &sql, &mut runs).await?;
    }
    report.throughput(what, leads as u64 * 3, "changes", &runs);
    Ok(last)
}

/// Clicks on random leads among all leads, so that two clicks rarely touch the same page.
pub async fn spread_updates(
    world: &World,
    contenders: Option<&Contenders>,
    size: Size,
    report: &mut Report,
) -> Result<()> {
    let count = size.transactions;
    let sql = format!(
        "DO $$ DECLARE
            known uuid;
        BEGIN
            FOR known IN SELECT l.id FROM public.landing_leads AS l,
                generate_series(1, 1 + {count} / (SELECT count(*) FROM public.landing_leads)::integer)
                ORDER BY random() LIMIT {count}
            LOOP
                UPDATE public.landing_leads SET email_clicked = true, click_count = coalesce(click_count, 0) + 1
                    WHERE id = known;
                COMMIT;
            END LOOP;
        END $$"
    );
    let mut runs = Runs::default();
    for _ in 0..size.repeat {
        backlog(world, contenders, &sql, &mut runs).await?;
    }
    report.throughput("updates spread over all leads", count as u64, "changes", &runs);
    Ok(())
}

/// Every row of both tables changes in one transaction. Run only once, because the transaction doubles the tables'
/// size.
pub async fn one_large_transaction(
    world: &World,
    contenders: Option<&Contenders>,
    report: &mut Report,
) -> Result<()> {
    let landing = world.landing().await?;
    let count =
        "SELECT (SELECT count(*) FROM public.landing_leads) + (SELECT count(*) FROM public.journey_stages)";
    let rows: i64 = landing.query_one(count, &[]).await.map_err(|error| failed(&error))?.get(0);
    let sql = "BEGIN; UPDATE public.landing_leads SET sms_sent = true, click_count = coalesce(click_count, 0) + 1; \
               UPDATE public.journey_stages SET source = 'rewritten'; COMMIT";
    let mut runs = Runs::default();
    backlog(world, contenders, sql, &mut runs).await?;
    report.throughput("one large transaction", rows.unsigned_abs(), "rows", &runs);
    Ok(())
}

/// Runs `sql` on Landing without a reader, then measures decoding alone, the contenders, and the daemon.
async fn backlog(
    world: &World,
    contenders: Option<&Contenders>,
    sql: &str,
    runs: &mut Runs,
) -> Result<Spent> {
    settle(&world.traffic().await?).await?;
    if let Some(contenders) = contenders {
        contenders.settle().await?;
    }
    floor::begin_decoding(world).await?;
    execute(&world.landing().await?, sql).await?;
    // WAL after the end position lets pg_recvlogical notice that the end is reached.
    let mark = world.mark().await?;
    let floor = floor::decode(world, mark.end).await?;
    runs.floor.push(floor);
    let mut others = String::new();
    if let Some(Contenders { plain, triggers }) = contenders {
        let took = (plain.catch_up(world, &mark).await?, triggers.catch_up(world, &mark).await?);
        others = format!(", plain {:.1?}, triggers {:.1?}", took.0, took.1);
        runs.plain.push(took.0);
        runs.triggers.push(took.1);
    }
    let spent = Daemon::catch_up(world).await?;
    comparison::equal(world).await?;
    if let Some(contenders) = contenders {
        contenders.plain.compare(world).await?;
        contenders.triggers.compare(world).await?;
    }
    say(&format!("backlog: {:.1?}, floor {floor:.1?}{others}, all equal", spent.wall));
    runs.daemon.push(spent);
    Ok(spent)
}
