//! Statements that are sent without waiting for each other's answers: one round trip for all of them.

use futures_util::future::{BoxFuture, maybe_done, poll_immediate};

use crate::error::Result;

/// Begins a transaction in whose statements [`IS_OPEN`] holds.
pub const OPEN: &str = "BEGIN; SET LOCAL leadbridge.opened = on";

/// A condition for each statement that writes and may be sent before its BEGIN is answered. A BEGIN that fails (somebody
/// cancels it) does not keep the server from executing what follows, each statement as a transaction of its own.
pub const IS_OPEN: &str = "pg_catalog.current_setting('leadbridge.opened', true) = 'on'";

/// Sends these statements of one session in their order, then takes in every answer. Each must be prepared already:
/// else it would send the preparation first, and itself after the others.
///
/// # Errors
/// That of the first statement that failed. Those after it, in a transaction, say only that one has failed before.
pub async fn in_order<T>(statements: Vec<BoxFuture<'_, Result<T>>>) -> Result<Vec<T>> {
    let mut sent: Vec<_> = statements.into_iter().map(maybe_done).collect();
    // A statement is sent when it is first polled, and no sooner.
    for statement in &mut sent {
        poll_immediate(statement).await;
    }
    let mut answers = Vec::with_capacity(sent.len());
    for mut statement in sent {
        (&mut statement).await;
        answers.extend(std::pin::Pin::new(&mut statement).take_output());
    }
    answers.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::error::Error;

    #[tokio::test]
    async fn all_are_sent_in_their_order_before_any_is_waited_for_and_the_first_error_is_told() {
        let said = Mutex::new(Vec::new());
        let statement = |number: usize| {
            let said = &said;
            async move {
                said.lock().unwrap().push(format!("send {number}"));
                tokio::task::yield_now().await;
                said.lock().unwrap().push(format!("take {number}"));
                match number {
                    0 => Ok(number),
                    _ => Err(Error::internal(number.to_string())),
                }
            }
            .boxed()
        };
        let answers = in_order((0..3).map(statement).collect()).await;
        assert_eq!(answers.unwrap_err().message(), "1");
        let order = ["send 0", "send 1", "send 2", "take 0", "take 1", "take 2"];
        assert_eq!(*said.lock().unwrap(), order);
    }
}
