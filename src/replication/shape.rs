//! Checks about once a second whether the tables are still admissible; a table that is no longer admissible
//! ends the attempt.

use super::monitor::{Sessions, open};
use super::{Context, Watched};
use crate::admission::Bars;
use crate::error::Result;
use crate::model::side::Side;

/// Checks both sides while a stream runs. A finding is reported in every round as long as the finding holds,
/// because an attempt is notified only while it waits for the stream.
pub(super) async fn watch(context: &Context, sessions: &mut Sessions) -> Result<()> {
    let Some(watched) = context.watched() else { return Ok(()) };
    let purpose = if watched == Watched::Traffic { Bars::Cutover } else { Bars::Replication };
    let (names, tables) = (&context.config.names, &context.tables);
    let Sessions { landing, traffic, shapes: [of_landing, of_traffic], .. } = sessions;
    let landing = open(landing, &context.config.landing).await?;
    let traffic = open(traffic, &context.config.traffic).await?;
    let on_landing = of_landing.look(landing, Side::Landing, names, tables, purpose).await?;
    let refused = match on_landing {
        Some(refused) => Some(refused),
        None => of_traffic.look(traffic, Side::Traffic, names, tables, purpose).await?,
    };
    // A new attempt may have begun during the check, with a check of its own.
    if let Some(cause) = refused.filter(|_| context.watched().as_ref() == Some(&watched)) {
        context.progress.abandon(cause);
    }
    Ok(())
}
