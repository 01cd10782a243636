//! A backlog and one large transaction, against decoding the same WAL and throwing it away.

use leadbridge::error::Result;
use tokio_postgres::types::PgLsn;

use super::daemon::Daemon;
use super::report::{Report, median};
use super::world::{World, execute, failed};
use super::{Size, comparison, floor, say};

/// A lead arrives, its first stage follows, it is clicked: three transactions each.
pub async fn small_transactions(world: &World, size: Size, report: &mut Report) -> Result<()> {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    let leads = size.transactions.div_ceil(3);
    // A form's lead is like one that is there; the ids are read once, so that making is not what takes long.
    let sql = format!(
        "DO $$ DECLARE
            known CONSTANT uuid[] := ARRAY(SELECT id FROM public.landing_leads ORDER BY id LIMIT 1000);
            made uuid;
        BEGIN
            FOR i IN 1..{leads} LOOP
                INSERT INTO public.landing_leads (email, name, phone, source, metadata)
                    SELECT email, name, phone, source, metadata FROM public.landing_leads
                    WHERE id = known[1 + i % cardinality(known)] RETURNING id INTO made;
                COMMIT;
                INSERT INTO public.lead_journey (lead_id, stage, source) VALUES (made, 'expresscourse_clicked', 'bench');
                COMMIT;
                UPDATE public.landing_leads SET email_clicked = true, email_clicked_at = clock_timestamp(),
                    click_count = click_count + 1 WHERE id = made;
                COMMIT;
            END LOOP;
        END $$"
    );
    for run in 0..size.repeat {
        let (spent, floor) = backlog(world, &sql).await?;
        say(&format!("backlog {}: {:.1?}, floor {floor:.1?}, both sides equal", run + 1, spent.wall));
        ours.push(spent);
        floors.push(floor);
    }
    report.throughput(
        "backlog of small transactions",
        leads as u64 * 3,
        "transactions",
        &ours,
        median(&floors),
    );
    Ok(())
}

/// Every row of both tables changes in one transaction. Once: it leaves the tables twice as large.
pub async fn one_large_transaction(world: &World, report: &mut Report) -> Result<()> {
    let landing = world.landing().await?;
    let count =
        "SELECT (SELECT count(*) FROM public.landing_leads) + (SELECT count(*) FROM public.lead_journey)";
    let rows: i64 = landing.query_one(count, &[]).await.map_err(|error| failed(&error))?.get(0);
    let sql = "BEGIN; UPDATE public.landing_leads SET sms_sent = true, click_count = coalesce(click_count, 0) + 1; \
               UPDATE public.lead_journey SET source = 'rewritten'; COMMIT";
    let (spent, floor) = backlog(world, sql).await?;
    say(&format!("one transaction: {:.1?}, floor {floor:.1?}, both sides equal", spent.wall));
    report.throughput("one large transaction", rows.unsigned_abs(), "rows", &[spent], floor);
    Ok(())
}

/// Runs `sql` on Landing while no daemon runs, then measures decoding alone, and the daemon.
async fn backlog(world: &World, sql: &str) -> Result<(super::daemon::Spent, std::time::Duration)> {
    let landing = world.landing().await?;
    floor::begin_decoding(world).await?;
    execute(&landing, sql).await?;
    let end = landing.query_one("SELECT pg_current_wal_insert_lsn()", &[]).await;
    let end: PgLsn = end.map_err(|error| failed(&error))?.get(0);
    // What comes after the end tells pg_recvlogical that it has reached it.
    let marker = "UPDATE public.lead_journey SET source = 'marker' \
                  WHERE id = (SELECT id FROM public.lead_journey ORDER BY id LIMIT 1)";
    execute(&landing, marker).await?;
    let floor = floor::decode(world, end).await?;
    let spent = Daemon::catch_up(world).await?;
    comparison::equal(world).await?;
    Ok((spent, floor))
}
