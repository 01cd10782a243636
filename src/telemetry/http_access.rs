//! Who may read over HTTP.
//!
//! `/healthz` and `/readyz` answer everybody. Without a token, every other path answers this machine alone, whatever
//! address is listened on; with a token, every other path asks each reader for the token, on this machine too. A
//! program sends the token as a bearer token, and a browser as the password of Basic authentication, which the browser
//! asks its user for.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State as Shared};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, HeaderName, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::config::read_secret;

/// The key of the configuration that names the file.
pub const TOKEN_KEY: &str = "http_token_file";
/// Shortest token that is taken: nobody guesses 16 random characters.
const SHORTEST: usize = 16;
/// Time for which a token that was read is used, so that a changed token needs no restart.
const KEPT: Duration = Duration::from_secs(5);
/// Paths that answer everybody: a probe has no token, and learns nothing but the state.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Peer {
    fn is_this_machine(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

/// Reads the token.
///
/// # Errors
/// The file cannot be read, or holds no token; the text names the key and the file, and not the content.
pub async fn read_token(file: &Path) -> Result<SecretString, String> {
    let token = read_secret(file, TOKEN_KEY).await?;
    let is_plain = token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
    match token.expose_secret().len() {
        SHORTEST.. if is_plain => Ok(token),
        SHORTEST.. => Err(format!("{TOKEN_KEY}: {} holds other characters than ASCII's", file.display())),
        _ => Err(format!("{TOKEN_KEY}: {} holds fewer than {SHORTEST} characters", file.display())),
    }
}

/// The routes, for those who may read them.
pub fn guarded(router: Router, token_file: Option<PathBuf>) -> Router {
    let guard = Arc::new(Guard { token_file, read: Arc::default() });
    router.layer(from_fn_with_state(guard, admit))
}

type Hash = [u8; 32];

/// The token's hash or the reason why there is none, and when the file was read.
type TokenRead = (Instant, Result<Hash, String>);

#[derive(Debug)]
struct Guard {
    token_file: Option<PathBuf>,
    /// The lock is held while the file is read, so that a disk that hangs takes one of the process's threads and not all
    /// of them.
    read: Arc<Mutex<Option<TokenRead>>>,
}

impl Guard {
    async fn token(&self, file: &Path) -> Result<Hash, String> {
        let mut kept = self.read.clone().lock_owned().await;
        if let Some((_, token)) = kept.as_ref().filter(|(at, _)| at.elapsed() < KEPT) {
            return token.clone();
        }
        let file = file.to_owned();
        // A task of its own has the lock: a thread goes on reading when the request that asked is dropped.
        let reading = tokio::spawn(async move {
            let token = read_token(&file).await.map(|token| hash(token.expose_secret().as_bytes()));
            if let Err(why) = &token
                && kept.as_ref().is_none_or(|(_, before)| before.as_ref() != token.as_ref())
            {
                tracing::warn!("status, metrics and page are closed over HTTP: {why}");
            }
            *kept = Some((Instant::now(), token.clone()));
            token
        });
        reading.await.unwrap_or_else(|ended| Err(format!("{TOKEN_KEY}: {ended}")))
    }
}

async fn admit(
    Shared(guard): Shared<Arc<Guard>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let refusal = match &guard.token_file {
        _ if OPEN.contains(&request.uri().path()) => None,
        None => without_token(peer, request.headers()),
        Some(file) => match guard.token(file).await {
            Ok(token) => with_token(token, request.headers()),
            Err(_) => Some(closed(
                StatusCode::SERVICE_UNAVAILABLE,
                "the daemon cannot read its token; its log and `leadbridge doctor` say why\n",
            )),
        },
    };
    let mut response = match refusal {
        None => next.run(request).await,
        Some(refusal) => refusal,
    };
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn closed(code: StatusCode, why: &'static str) -> Response {
    (code, [(CACHE_CONTROL, "no-store")], why).into_response()
}

/// The refusal of a request to a daemon without a token; `None` for a request from this machine.
fn without_token(peer: Peer, headers: &HeaderMap) -> Option<Response> {
    if !peer.is_this_machine() {
        return Some(closed(
            StatusCode::FORBIDDEN,
            "only /healthz and /readyz answer other machines while http_token_file names no file with a token; \
             docs/page.md says how to make one, and how to reach the page through ssh\n",
        ));
    }
    // A page of another site can point its own name at this machine (DNS rebinding), and would then read as if the page
    // were the daemon's own.
    (!is_named_as_this_machine(headers)).then(|| {
        closed(
            StatusCode::FORBIDDEN,
            "without http_token_file the daemon answers only under an address, such as 127.0.0.1, or under localhost\n",
        )
    })
}

/// Whether the request names its host by an address or as localhost. A request of HTTP/1.0 names none.
fn is_named_as_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

/// The refusal of a request without the right token; `None` for the right one.
fn with_token(token: Hash, headers: &HeaderMap) -> Option<Response> {
    // Hashes are compared, so that the time of the comparison tells nothing about the token.
    let is_right = headers.get(AUTHORIZATION).and_then(offered).is_some_and(|offered| offered == token);
    (!is_right).then(|| {
        let mut response = closed(
            StatusCode::UNAUTHORIZED,
            "the token of http_token_file is needed: as a bearer token, or as the password of any user\n",
        );
        // A browser asks for a password only where Basic stands alone or first.
        let challenge = HeaderValue::from_static("Basic realm=\"leadbridge\", charset=\"UTF-8\"");
        response.headers_mut().append(WWW_AUTHENTICATE, challenge);
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    })
}

/// The hash of the token that a header offers; `None` for another scheme.
fn offered(header: &HeaderValue) -> Option<Hash> {
    let (scheme, rest) = header.to_str().ok()?.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(hash(rest.trim().as_bytes())),
        "basic" => {
            let pair = BASE64_STANDARD.decode(rest.trim()).ok()?;
            let colon = pair.iter().position(|byte| *byte == b':')?;
            pair.get(colon + 1..).map(hash)
        }
        _ => None,
    }
}

fn hash(text: &[u8]) -> Hash {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(named: &[(HeaderName, &str)]) -> HeaderMap {
        named.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn peer(text: &str) -> Peer {
        Peer(text.parse().unwrap())
    }

    #[test]
    fn without_a_token_only_this_machine_reads_and_only_under_its_own_names() {
        let code = |from: &str, host: &str| {
            without_token(peer(from), &headers(&[(HOST, host)])).map(|refusal| refusal.status().as_u16())
        };
        for host in ["127.0.0.1:9187", "localhost:9187", "LOCALHOST", "[::1]:9187", "[::1]", "10.0.0.7"] {
            assert_eq!(code("127.0.0.1:5", host), None, "{host}");
        }
        assert_eq!(code("[::1]:5", "localhost"), None);
        assert_eq!(code("[::ffff:127.0.0.1]:5", "localhost"), None);
        for host in
            ["evil.example", "evil.example:9187", "localhost.evil.example", "127.0.0.1.evil.example", ""]
        {
            assert_eq!(code("127.0.0.1:5", host), Some(403), "{host}");
        }
        for from in ["10.0.0.7:5", "[2001:db8::1]:5", "[::ffff:10.0.0.7]:5"] {
            assert_eq!(code(from, "localhost"), Some(403), "{from}");
        }
        assert!(without_token(peer("127.0.0.1:5"), &HeaderMap::new()).is_none());
    }

    #[test]
    fn a_token_opens_as_a_bearer_token_and_as_any_users_password_and_nothing_else_does() {
        let token = hash(b"a-token-of-the-operator");
        let opens = |value: &str| with_token(token, &headers(&[(AUTHORIZATION, value)])).is_none();
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for right in [
            "Bearer a-token-of-the-operator".to_owned(),
            "bearer  a-token-of-the-operator".to_owned(),
            basic("anybody:a-token-of-the-operator"),
            basic(":a-token-of-the-operator"),
        ] {
            assert!(opens(&right), "{right}");
        }
        for wrong in [
            "Bearer a-token".to_owned(),
            "a-token-of-the-operator".to_owned(),
            "Digest a-token-of-the-operator".to_owned(),
            "Bearer".to_owned(),
            "Basic !".to_owned(),
            basic("a-token-of-the-operator"),
            basic("anybody:a-token-of-the-operator:"),
        ] {
            assert!(!opens(&wrong), "{wrong}");
        }
        let refusal = with_token(token, &HeaderMap::new()).unwrap();
        assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
        assert!(refusal.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
    }

    #[tokio::test]
    async fn a_reader_that_leaves_while_the_token_is_read_lets_nobody_read_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        // Opening a pipe waits for its writer, as a disk that hangs does.
        let file = directory.path().join("token");
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let guard = Guard { token_file: Some(file.clone()), read: Arc::default() };
        assert!(tokio::time::timeout(Duration::from_millis(50), guard.token(&file)).await.is_err());
        let is_read_still = guard.read.try_lock().is_err();
        // Before any assertion, because a read without an end would keep a failed test from ending.
        tokio::task::spawn_blocking({
            let file = file.clone();
            move || std::fs::write(file, "0123456789abcdef").unwrap()
        })
        .await
        .unwrap();
        assert!(is_read_still, "another request could read beside the first one");
        assert_eq!(guard.token(&file).await, Ok(hash(b"0123456789abcdef")));
    }

    #[tokio::test]
    async fn a_token_that_can_be_guessed_or_not_be_typed_is_refused_without_being_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        assert!(read_token(&file).await.unwrap_err().contains("cannot be read"));
        for (text, why) in [
            ("", "is empty"),
            ("geheim", "fewer than 16"),
            ("geheim geheim geheim", "other characters"),
            ("geheimgeheimgeheimä", "other characters"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = read_token(&file).await.unwrap_err();
            assert!(error.contains(why) && !error.contains("geheim"), "{error}");
        }
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        assert_eq!(read_token(&file).await.unwrap().expose_secret(), "0123456789abcdef");
    }
}
