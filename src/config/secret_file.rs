//! Files that hold one secret each.

use std::path::Path;

use secrecy::SecretString;

/// Longest secret that is taken, in bytes.
const LONGEST: usize = 4096;

/// The only line of the file that `key` of the configuration names, without white space around it.
///
/// # Errors
/// The file cannot be read, is empty, or holds more than one short line; the text names the key and the file, and not
/// the content.
pub async fn read_secret(path: &Path, key: &str) -> Result<SecretString, String> {
    let failed = |why: String| format!("{key}: {} {why}", path.display());
    let text =
        tokio::fs::read_to_string(path).await.map_err(|error| failed(format!("cannot be read: {error}")))?;
    match text.trim() {
        "" => Err(failed("is empty".to_owned())),
        line if line.len() > LONGEST || line.contains(char::is_control) => {
            Err(failed("holds more than one short line".to_owned()))
        }
        line => Ok(SecretString::from(line)),
    }
}
