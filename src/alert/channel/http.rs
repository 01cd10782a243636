//! The client of Telegram, webhook and ping: TLS with the system's CA certificates, and the proxy of the configuration.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, Proxy, RequestBuilder, Response, StatusCode, Url, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret as _;

use super::{Failure, TRY_LIMIT, causes, is_tls, secret};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const LONGEST: usize = 16 << 10;

/// A client made for each request: requests are rare, and the proxy's file may have changed.
pub struct Web {
    proxy_url_file: Option<PathBuf>,
    /// Read at the first request.
    roots: OnceLock<Arc<RootCertStore>>,
}

impl Web {
    pub fn new(proxy_url_file: Option<PathBuf>) -> Self {
        Web { proxy_url_file, roots: OnceLock::new() }
    }

    /// # Errors
    /// The proxy's file cannot be read or holds no URL.
    pub async fn client(&self) -> Result<Client, Failure> {
        let builder = Client::builder()
            .tls_backend_preconfigured(self.tls()?)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .timeout(TRY_LIMIT)
            .user_agent(concat!("leadbridge/", env!("CARGO_PKG_VERSION")));
        // The environment's proxy is not meant for alerts.
        let builder = match &self.proxy_url_file {
            None => builder.no_proxy(),
            Some(file) => {
                let url = secret::read(file, "proxy_url_file").await?;
                let bad = || Failure::passing("proxy_url_file: the file holds no URL of a proxy");
                // Without a scheme the library takes any word for a host.
                let url = Url::parse(url.expose_secret()).map_err(|_| bad())?;
                if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
                    return Err(bad());
                }
                let proxy = Proxy::all(url).map_err(|_| bad())?;
                builder.proxy(proxy)
            }
        };
        builder.build().map_err(|_| Failure::passing("the HTTP client cannot be set up"))
    }

    fn tls(&self) -> Result<ClientConfig, Failure> {
        let roots = self.roots.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            // A certificate that cannot be read is left out: a server that needs it is then not trusted.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        });
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| Failure::passing("TLS cannot be set up"))?;
        Ok(config.with_root_certificates(Arc::clone(roots)).with_no_client_auth())
    }
}

/// Parses the address of a receiver.
///
/// # Errors
/// It is no URL; the text does not repeat it.
pub fn parse(url: &str, key: &str) -> Result<Url, Failure> {
    match Url::parse(url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(Failure::passing(format!("{key}: the file holds no http or https URL"))),
    }
}

/// Sends the request, and reads the answer's beginning.
///
/// # Errors
/// Nobody answers.
pub async fn send(request: RequestBuilder) -> Result<(StatusCode, String), Failure> {
    let mut response = request.send().await.map_err(|error| unanswered(&error))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(more) = next(&mut response).await? {
        body.extend_from_slice(&more);
        if body.len() > LONGEST {
            break;
        }
    }
    body.truncate(LONGEST);
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn next(response: &mut Response) -> Result<Option<bytes::Bytes>, Failure> {
    response.chunk().await.map_err(|error| unanswered(&error))
}

/// The library's own text would show the URL.
fn unanswered(error: &reqwest::Error) -> Failure {
    let what = match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "cannot connect",
        _ => "the connection broke",
    };
    let io = causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>()).last();
    let kind = match is_tls(error) {
        true => Some("TLS failed".to_owned()),
        false => io.map(|io| io.kind().to_string()),
    };
    Failure::passing(kind.map_or_else(|| what.to_owned(), |kind| format!("{what}: {kind}")))
}
