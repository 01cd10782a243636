//! Pipelined statements: all are sent before the first answer is awaited, so all take a single round trip.

use futures_util::future::{BoxFuture, maybe_done, poll_immediate};

use crate::error::Result;

/// Begins a transaction in which [`IS_OPEN`] is true.
pub const OPEN: &str = "BEGIN; SET LOCAL leadbridge.opened = on";

/// Condition for every writing statement sent before the answer to its BEGIN. When the BEGIN fails (somebody
/// cancels the BEGIN), the server still executes the statements after the BEGIN, each as a transaction of its
/// own. The condition then keeps the statements from writing.
pub const IS_OPEN: &str = "pg_catalog.current_setting('leadbridge.opened', true) = 'on'";

/// Sends the statements of a session in order, then awaits every answer. Every statement must be prepared
/// already, because an unprepared statement would send its preparation first, and itself after the other
/// statements.
///
/// # Errors
/// The error of the first statement that failed. In a transaction, the errors of later statements say only
/// that an earlier statement has failed.
pub async fn in_order<T>(statements: Vec<BoxFuture<'_, Result<T>>>) -> Result<Vec<T>> {
    let mut sent: Vec<_> = statements.into_iter().map(maybe_done).collect();
    // The driver sends a statement when the statement's future is first polled.
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
