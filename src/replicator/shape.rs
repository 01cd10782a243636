//! Whether the tables are still admissible, about once a second: a shape that stops being so ends the attempt.

use super::monitor::{Sessions, open};
use super::{Context, Watched};
use crate::admission::Bars;
use crate::database::Side;
use crate::error::Result;

/// Looks at both sides while a stream runs. What was found the last time is said again as long as it holds, because an
/// attempt hears of it only while it waits for the stream.
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
    // A new attempt may have begun meanwhile; it has looked itself.
    if let Some(cause) = refused.filter(|_| context.watched().as_ref() == Some(&watched)) {
        context.progress.abandon(cause);
    }
    Ok(())
}
