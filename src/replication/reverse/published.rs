//! Landing's publication while Traffic is the system of record. Reverse replication does not need the
//! publication; a rollback does.

use super::super::Context;
use crate::checkpoint::Published;
use crate::doctor::publication_fits;
use crate::error::Result;
use crate::landing::catalog;
use crate::model::side::Side;
use crate::postgres::Database;
use crate::report::Level;

/// Landing's publication and tables, compared with the checkpoint's record.
pub enum LandingPublished {
    AsRecorded,
    /// The state is right, and other than recorded. While Landing is fenced no change of a writer can be
    /// missing from the stream, so the state may be recorded.
    RightAgain(Published),
    /// The stream from Landing would be refused after a rollback, for this reason.
    Altered(String),
}

impl LandingPublished {
    pub async fn read(context: &Context, landing: Database<'_>, recorded: &Published) -> Result<Self> {
        let now = catalog::published_since(landing, &context.tables, recorded).await?;
        if now == *recorded {
            return Ok(LandingPublished::AsRecorded);
        }
        let fits = publication_fits(landing.client, landing.names, &context.tables).await?;
        if fits.level == Level::Ok && carries_the_same(&now, recorded) {
            return Ok(LandingPublished::RightAgain(now));
        }
        Ok(match now.difference(recorded, Side::Landing) {
            Some(what) => LandingPublished::Altered(what),
            None => LandingPublished::AsRecorded,
        })
    }
}

/// Whether both records name the same tables and columns, so that the mapping stays.
fn carries_the_same(now: &Published, recorded: &Published) -> bool {
    let names = |published: &Published| -> Vec<(String, Vec<String>)> {
        let tables = published.tables.iter();
        tables.map(|(label, table)| (label.clone(), table.columns.keys().cloned().collect())).collect()
    };
    now.passthrough == recorded.passthrough && names(now) == names(recorded)
}
