//! Memory of long messages: counted from a message's arrival until nothing refers to the message any more, which
//! for a row is after the row is applied.

use bytes::Bytes;
use tokio::sync::watch;

use crate::model::budget::{LONG_ROW, LONG_ROWS};

/// Messages of this length are counted. Shorter messages are bounded by the bounds of reading ahead and of a
/// batch.
const LONG: usize = LONG_ROW;
/// Bytes of long messages from which the connection is not read: the next message is not received until
/// messages are freed. A batch whose rows keep that much has more than [`LONG_ROWS`] bytes of long rows,
/// because a row that keeps a message has about half the message's size at least. So the batch is full, and the
/// connection never waits for a batch that waits for the connection.
const ENOUGH: usize = 3 * LONG_ROWS;

/// The long messages of one stream that are in memory.
pub(super) struct LongMessages(watch::Sender<usize>);

impl LongMessages {
    pub fn new() -> Self {
        LongMessages(watch::Sender::new(0))
    }

    /// The same content. A long content is counted until the last slice of the content is dropped.
    pub fn hold(&self, content: Bytes) -> Bytes {
        if content.len() < LONG {
            return content;
        }
        self.0.send_modify(|held| *held += content.len());
        Bytes::from_owner(Held { content, count: self.0.clone() })
    }

    /// Whether the connection must not be read.
    pub fn are_enough(&self) -> bool {
        *self.0.borrow() >= ENOUGH
    }

    /// Waits until the connection may be read. Cancellation-safe.
    pub async fn until_freed(&self) {
        // The channel is open, because `self` has a sender.
        let _ = self.0.subscribe().wait_for(|held| *held < ENOUGH).await;
    }
}

/// A content that is counted.
struct Held {
    content: Bytes,
    count: watch::Sender<usize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Held {
    /// Frees the content before the next message may be received: the other order had two of them in memory for as long as
    /// the system let this thread wait in between.
    fn drop(&mut self) {
        let length = self.content.len();
        drop(std::mem::take(&mut self.content));
        self.count.send_modify(|held| *held -= length);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_long_message_counts_until_its_last_slice_is_gone_and_a_short_one_never() {
        let held = LongMessages::new();
        let short = held.hold(Bytes::from(vec![0; LONG - 1]));
        assert!(!held.are_enough());
        let mut long = held.hold(Bytes::from(vec![7; ENOUGH]));
        assert!(held.are_enough());
        let slice = long.split_to(3);
        drop((long, short));
        assert!(held.are_enough());
        assert!(held.until_freed().now_or_never().is_none());
        drop(slice);
        assert!(!held.are_enough());
        held.until_freed().await;
    }

    /// A content that remembers how much was held when it was freed.
    struct Probe(Vec<u8>, watch::Sender<usize>, std::sync::mpsc::SyncSender<usize>);

    impl AsRef<[u8]> for Probe {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            self.2.send(*self.1.borrow()).unwrap();
        }
    }

    #[test]
    fn a_message_is_freed_before_the_next_one_may_be_received() {
        let held = LongMessages::new();
        let (freed, when) = std::sync::mpsc::sync_channel(1);
        let probe = Probe(vec![7; ENOUGH], held.0.clone(), freed);
        drop(held.hold(Bytes::from_owner(probe)));
        assert_eq!(when.recv().unwrap(), ENOUGH);
        assert!(!held.are_enough());
    }
}
