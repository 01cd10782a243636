//! `leadbridge resync`: a new initial copy into the live Traffic DB.

use super::confirm::confirm;
use super::ending::Ending;
use super::print_line;
use super::run::replicate;
use crate::cli::Resync;
use crate::config::Config;
use crate::error::Result;
use crate::exit::Exit;
use crate::language::{Language, message};
use crate::replication::Until;

pub async fn run(
    config: Config,
    arguments: &Resync,
    (ending, language): (&Ending, Language),
) -> Result<Exit> {
    if !arguments.yes {
        let question = message!(
            "commands-resync-question",
            slot = &config.names.slot,
            landing = config.landing.to_string(),
            traffic = config.traffic.to_string()
        );
        confirm(&question, language)?;
    }
    replicate(config, Until::Resynced, ending, None).await?;
    print_line(&message!("commands-resync-done"), language)?;
    Ok(Exit::Ok)
}
