//! The parts of PostgreSQL's protocol that faults need: the client's name, and the answer to a COMMIT.

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Protocol 3.0, the only first message with parameters.
const VERSION_3: u32 = 196_608;
/// leadbridge's start-up messages are shorter.
const LONGEST_START: usize = 10_000;

/// The first message of a connection.
pub struct Start {
    pub bytes: Vec<u8>,
    /// `None` for a request to cancel, or for TLS.
    pub application_name: Option<String>,
}

pub async fn read_start(client: &mut TcpStream) -> io::Result<Start> {
    let mut bytes = vec![0; 8];
    client.read_exact(&mut bytes).await?;
    let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (length, code) = (number(0) as usize, number(4));
    if code != VERSION_3 || !(8..LONGEST_START).contains(&length) {
        return Ok(Start { bytes, application_name: None });
    }
    bytes.resize(length, 0);
    client.read_exact(&mut bytes[8..]).await?;
    let mut words = bytes[8..].split(|byte| *byte == 0);
    let mut application_name = None;
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == b"application_name" {
            application_name = Some(String::from_utf8_lossy(value).into_owned());
        }
    }
    Ok(Start { bytes, application_name })
}

/// The answer of a session pooler without a free connection to a server.
pub fn full() -> Vec<u8> {
    let fields = "SFATAL\0VFATAL\0CXX000\0MMaxClientsInSessionMode: max clients reached\0\0".as_bytes();
    let length = (fields.len() + 4) as u32;
    [b"E", &length.to_be_bytes()[..], fields].concat()
}

/// Finds the answers to COMMIT in a server's bytes, for any division into pieces.
#[derive(Default)]
pub struct Answers {
    /// The message under way: type, length and, for a short message, the content.
    head: Vec<u8>,
    /// Remaining bytes of the message's content, once the length is known.
    left: usize,
}

/// `CommandComplete` for COMMIT. A ROLLBACK, or a COMMIT of a failed transaction, says `ROLLBACK`.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

impl Answers {
    /// End of the answer to a COMMIT within `piece`. The bytes after the end are still to be read: call again with
    /// the rest.
    pub fn commit_in(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if self.head.len() < 5 {
                self.head.push(byte);
                at += 1;
                if let [_, a, b, c, d] = self.head[..] {
                    self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
                }
            } else {
                let taken = self.left.min(piece.len() - at);
                let kept = taken.min(COMMITTED.len().saturating_sub(self.head.len()));
                self.head.extend_from_slice(&piece[at..at + kept]);
                self.left -= taken;
                at += taken;
            }
            if self.head.len() >= 5 && self.left == 0 {
                let committed = self.head == COMMITTED;
                self.head.clear();
                if committed {
                    return Some(at);
                }
            }
        }
        None
    }
}

#[test]
fn an_answer_to_a_commit_is_found_wherever_the_bytes_are_cut() {
    let mut sent = b"Z\0\0\0\x05IC\0\0\0\x0dROLLBACK\0D\0\0\0\x10C\0\0\0\x0bCOMMIT\0".to_vec();
    sent.extend_from_slice(COMMITTED);
    sent.extend_from_slice(b"Z\0\0\0\x05I");
    let end = sent.len() - 6;
    assert_eq!(Answers::default().commit_in(&sent), Some(end));
    for cut in 0..end {
        let mut answers = Answers::default();
        assert_eq!(answers.commit_in(&sent[..cut]), None, "{cut}");
        assert_eq!(answers.commit_in(&sent[cut..]), Some(end - cut), "{cut}");
    }
}
