//! `leadbridge resync`: a new initial copy into the live Traffic DB.

use super::confirm::confirm;
use super::ending::Ending;
use super::print;
use super::run::replicate;
use crate::cli::Resync;
use crate::config::Config;
use crate::error::Result;
use crate::exit::Exit;
use crate::language::{Language, Message};
use crate::replication::Until;

pub async fn run(config: Config, arguments: &Resync, ending: &Ending) -> Result<Exit> {
    if !arguments.yes {
        confirm(
            &Message::verbatim(format!(
                "A fresh snapshot: the slot `{}` on {} is dropped and created again, every lead and journey entry is copied \
             again, and rows that came from Landing but are not there any more are deleted from {}. Rows and columns \
             that Traffic owns stay.",
                config.names.slot, config.landing, config.traffic
            )),
            Language::English,
        )?;
    }
    replicate(config, Until::Resynced, ending, None).await?;
    print("The snapshot is complete. Start the daemon again: the daemon continues from here.\n")?;
    Ok(Exit::Ok)
}
