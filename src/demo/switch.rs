//! The cutover, and Landing's answer to a writer afterwards.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::setup::DemoSetup;
use crate::cutover::readiness::{Compare, ReadinessTerms};
use crate::cutover::{self, CutoverCertificate, CutoverOptions, Direction};
use crate::error::{Error, Result};

/// The cutover's certificate, and the message that a writer on Landing gets now.
pub struct Switched {
    pub certificate: CutoverCertificate,
    pub told: String,
}

/// # Errors
/// A condition does not hold, the cutover was aborted, or Landing takes a write after the cutover.
pub async fn switch(setup: &DemoSetup<'_>) -> Result<Switched> {
    let options = CutoverOptions {
        readiness: ReadinessTerms {
            max_lag: Duration::from_secs(5),
            max_pause: Duration::from_secs(5),
            verify_wait: Duration::from_secs(10),
            compare: Compare::Waiting,
            dry_run: false,
        },
        timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_millis(200),
        hook: None,
        refuse_for: Duration::ZERO,
    };
    let prepared = Box::pin(cutover::prepare(&setup.config, &options, Direction::Cutover)).await?;
    let certificate = Box::pin(cutover::execute(&options, prepared, &CancellationToken::new())).await?;
    let lead = "INSERT INTO public.landing_leads (name, phone) VALUES ('late', '+7 701')";
    let told = match setup.landing.batch_execute(lead).await {
        Ok(()) => return Err(Error::internal("Landing takes writes although its fence is closed")),
        Err(error) => error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned()),
    };
    Ok(Switched { certificate, told })
}
