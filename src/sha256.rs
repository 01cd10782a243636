//! SHA-256 as people and files have it: 64 hexadecimal digits.

use sha2::{Digest as _, Sha256};

pub fn of(content: impl AsRef<[u8]>) -> String {
    hexadecimal(&Sha256::digest(content))
}

/// What a hash that was fed piece by piece ends with.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
