//! An HTTP server that keeps every request, and answers as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A request, with its body as JSON; null for another body.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub body: Value,
    /// Whether the request was answered with success.
    pub taken: bool,
}

/// The answer to the next requests.
#[derive(Clone, Debug)]
pub enum Answer {
    Ok,
    Status(u16, &'static str),
    /// The connection is accepted, and nothing is ever answered.
    Never,
}

/// Ends when dropped.
pub struct WebServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

struct Shared {
    requests: Mutex<Vec<Request>>,
    answer: Mutex<Answer>,
}

impl WebServer {
    pub async fn start() -> WebServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { requests: Mutex::default(), answer: Mutex::new(Answer::Ok) });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        WebServer { address, shared, _serving: AbortOnDropHandle::new(serving) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn answers(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The bodies of the requests that were answered with success.
    pub fn taken(&self) -> Vec<Value> {
        self.requests().into_iter().filter(|request| request.taken).map(|request| request.body).collect()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let answer = shared.answer.lock().unwrap().clone();
    shared.requests.lock().unwrap().push(Request {
        method: method.to_string(),
        target: uri.to_string(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        taken: matches!(answer, Answer::Ok),
    });
    match answer {
        Answer::Ok => "{\"ok\":true}".into_response(),
        Answer::Status(code, body) => (StatusCode::from_u16(code).unwrap(), body).into_response(),
        Answer::Never => std::future::pending().await,
    }
}
