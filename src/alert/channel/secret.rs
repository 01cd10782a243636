//! Files that hold one secret each, read at each try.

use std::path::Path;

use secrecy::SecretString;

use super::Failure;
use crate::config::read_secret;

/// The file's only line, without white space around it.
///
/// # Errors
/// The file cannot be read, is empty or is too long; the text names the key and not the content.
pub async fn read(path: &Path, key: &str) -> Result<SecretString, Failure> {
    read_secret(path, key).await.map_err(Failure::passing)
}
