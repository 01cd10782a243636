//! `leadbridge alert test`: a test message through each channel of `[alert]`.

use std::fmt::Write as _;

use serde_json::json;

use super::{print, print_json};
use crate::alert;
use crate::cli::{AlertAction, AlertArguments};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::language::message;

pub async fn run(settings: &Settings, arguments: &AlertArguments) -> Result<Exit> {
    let AlertAction::Test { json } = arguments.action;
    if !settings.alert.has_channel() {
        return Err(Error::usage("no channel is configured in [alert]")
            .remedy(message!("commands-remedy-no-channel")));
    }
    let deliveries = alert::test(&settings.alert).await;
    let failed = deliveries.iter().any(|delivery| delivery.failure.is_some());
    if json {
        print_json(&json!({ "channels": deliveries }))?;
    } else {
        let mut text = String::new();
        for delivery in &deliveries {
            let outcome = match &delivery.failure {
                None => "ok       a test message was delivered".to_owned(),
                Some(failure) => format!("ERROR    {failure}"),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:<9} {outcome}", delivery.channel);
        }
        print(&text)?;
    }
    Ok(if failed { Exit::CheckFailed } else { Exit::Ok })
}
