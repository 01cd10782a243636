//! SHA-256 in the usual form: 64 hexadecimal digits.

use sha2::{Digest as _, Sha256};

pub fn of(content: impl AsRef<[u8]>) -> String {
    hexadecimal(&Sha256::digest(content))
}

/// Formats the result of an incremental hash.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
