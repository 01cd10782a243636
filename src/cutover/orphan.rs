//! A fence around Landing of which Traffic's journal knows nothing: Traffic was restored to a state from before
//! the cutover. Landing, which reverse replication has kept up to date, is the newer side, and nobody may write
//! there.

use uuid::Uuid;

use super::journal::CutoverJournal;
use super::resolve;
use crate::checkpoint;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fence;
use crate::language::message;
use crate::model::side::Side;
use crate::postgres::{Databases, Session};
use crate::report::Attention;

/// The fence, with sessions of both sides. The session on Traffic has the right to decide.
pub struct OrphanedFence {
    cutover: Uuid,
    config: Config,
    landing: Session,
    traffic: Session,
}

/// A closed fence around Landing that no cutover of Traffic's journal explains.
pub(super) struct Orphan(Uuid);

impl Orphan {
    pub fn attention(&self) -> Attention {
        Attention::new(
            message!("cutover-attention-orphan", id = self.0),
            message!("cutover-attention-orphan-remedy"),
        )
    }
}

pub(super) async fn find(databases: Databases<'_>) -> Result<Option<Orphan>> {
    let Databases { traffic, names, .. } = databases;
    if checkpoint::is_switched(traffic, names).await? {
        return Ok(None);
    }
    let journal = CutoverJournal::new(names);
    for cutover in fence::closed(databases.on(Side::Landing)).await? {
        if journal.entry(traffic, cutover).await?.is_none() {
            return Ok(Some(Orphan(cutover)));
        }
    }
    Ok(None)
}

impl OrphanedFence {
    /// The orphaned fence, to be opened by [`Self::open`]; `None` when there is none. Changes nothing.
    ///
    /// # Errors
    /// Refused while Traffic does not have Landing's rows, and while another command decides.
    pub async fn find(config: &Config) -> Result<Option<Self>> {
        let [landing, traffic] = super::connect(config).await?;
        let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
        let Some(orphan) = find(databases).await? else { return Ok(None) };
        let state = checkpoint::recorded_state(&traffic, &config.names).await?;
        if state.as_deref() != Some("streaming") {
            let Attention { message, remedy } = orphan.attention();
            return Err(Error::refused(message.to_string()).remedy(remedy));
        }
        super::take_the_right(config, &traffic).await?;
        Ok(Some(OrphanedFence { cutover: orphan.0, config: config.clone(), landing, traffic }))
    }

    pub fn cutover(&self) -> Uuid {
        self.cutover
    }

    /// Opens Landing.
    pub async fn open(self) -> Result<()> {
        let OrphanedFence { cutover, config, landing, traffic } = self;
        let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
        resolve::lift(databases.on(Side::Landing), cutover).await
    }
}
