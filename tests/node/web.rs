//! A web server of a test's own, on the address of this machine that the node and its pods reach: it serves and takes
//! files, plays faults, and remembers who asked for what.
//!
//! Invariant: nothing goes wrong unless a test said so, and a fault that is told to happen `n` times happens `n` times.

#![allow(dead_code, reason = "each word is for whichever test needs it")]

use crate::world::variable;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Response, StatusCode,
    body::{Body as _, Bytes, Frame, Incoming},
    header::{self, HeaderMap},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::CertifiedKey;
use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    future::pending,
    hash::{Hash as _, Hasher as _},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, rustls};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What happens in place of an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status with these words.
    Answer(u16, &'static str),
    /// This status and a `Location`: 302 is followed by a GET, 307 by the same request.
    Redirect(u16, String),
    /// Without this header and value it is 401.
    Unless(&'static str, &'static str),
    /// The request is taken, and never answered.
    Stall,
    /// Half of the content comes, and never the rest.
    StallMidway,
    /// All of the content comes but its last byte, and the connection ends; of an upload, its beginning is taken.
    Cut,
}

/// A request as it was answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `PUT` and the like.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What stands behind the `?`, or nothing.
    pub query: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Bytes of its body that were taken.
    pub received: u64,
    /// The status of the answer; 0 where there was none.
    pub status: u16,
}

/// The server; it ends with this value.
pub struct Web {
    base: String,
    /// The certificate that it shows, in PEM; signed by itself, so nobody trusts it unasked.
    pub certificate: Option<String>,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    files: Mutex<HashMap<String, Bytes>>,
    plays: Mutex<HashMap<String, Play>>,
    requests: Mutex<Vec<Request>>,
}

struct Play {
    fault: Fault,
    /// How often still; always, where it has no number.
    times: Option<u32>,
}

impl Web {
    /// Serves plain HTTP on a port of its own.
    pub async fn start() -> Self {
        Self::serve(None).await
    }

    /// Serves HTTPS with a certificate that no authority signed.
    pub async fn self_signed() -> Self {
        let names = vec![variable("HOST_ADDRESS")];
        Self::serve(Some(rcgen::generate_simple_self_signed(names).expect("a certificate"))).await
    }

    async fn serve(tls: Option<CertifiedKey<rcgen::KeyPair>>) -> Self {
        let listener = TcpListener::bind((variable("HOST_ADDRESS"), 0)).await.expect("a free port");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{}", listener.local_addr().expect("it is bound"));
        let certificate = tls.as_ref().map(|tls| tls.cert.pem());
        let acceptor = tls.map(|tls| acceptor(&tls));
        let state = Arc::new(State::default());
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&state)));
        Self { base, certificate, state, task }
    }

    /// The URL of this path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Serves this content at the path from now on.
    pub fn put(&self, path: &str, content: impl Into<Bytes>) {
        lock(&self.state.files).insert(path.to_owned(), content.into());
    }

    /// The content at the path, be it served or uploaded.
    pub fn get(&self, path: &str) -> Option<Bytes> {
        lock(&self.state.files).get(path).cloned()
    }

    /// The paths that have content, sorted.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = lock(&self.state.files).keys().cloned().collect();
        paths.sort();
        paths
    }

    /// Plays this fault at the path, until it is mended.
    pub fn always(&self, path: &str, fault: Fault) {
        lock(&self.state.plays).insert(path.to_owned(), Play { fault, times: None });
    }

    /// Plays this fault at the path so often; then all is well.
    pub fn times(&self, path: &str, times: u32, fault: Fault) {
        lock(&self.state.plays).insert(path.to_owned(), Play { fault, times: Some(times) });
    }

    /// From now on all is well at the path.
    pub fn mend(&self, path: &str) {
        lock(&self.state.plays).remove(path);
    }

    /// The requests for this path so far, in order.
    pub fn requests(&self, path: &str) -> Vec<Request> {
        lock(&self.state.requests).iter().filter(|request| request.path == path).cloned().collect()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn acceptor(tls: &CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
    let key = rustls::pki_types::PrivateKeyDer::try_from(tls.signing_key.serialize_der())
        .expect("a key that was made a moment ago");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the versions that there are")
        .with_no_client_auth()
        .with_single_cert(vec![tls.cert.der().clone()], key)
        .expect("a key that fits its certificate");
    TlsAcceptor::from(Arc::new(config))
}

/// Connections end with this future: they are its own.
async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            match acceptor {
                None => talk(stream, state).await,
                Some(acceptor) => {
                    // A client that does not like the certificate goes away.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        talk(stream, state).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let service = service_fn(|request| answer(Arc::clone(&state), request));
    // A client that goes away, and a fault that ends the connection, are what the test is about.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    state: Arc<State>,
    request: hyper::Request<Incoming>,
) -> io::Result<Response<Body>> {
    let (parts, mut body) = request.into_parts();
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut record = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        received: 0,
        status: 0,
    };
    let fault = state.play(&record);
    match fault {
        Some(Fault::Stall) => {
            state.remember(record);
            return pending().await;
        }
        Some(Fault::Cut) if !body.is_end_stream() => {
            let begun = body.frame().await.and_then(Result::ok).and_then(|it| it.into_data().ok());
            record.received = begun.map_or(0, |data| data.len() as u64);
            state.remember(record);
            return Err(io::Error::other("cut, as the test said"));
        }
        _ => {}
    }
    let content = body.collect().await.map_err(io::Error::other)?.to_bytes();
    record.received = content.len() as u64;
    let response = match fault {
        Some(Fault::Answer(status, words)) => says(status, words),
        Some(Fault::Unless(..)) => says(401, "who are you?"),
        Some(Fault::Redirect(status, location)) => {
            let mut response = says(status, "elsewhere");
            let location = location.parse().expect("a URL is possible as a header");
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        fault => state.files(&parts.method, &record.path, &parts.headers, content, fault.as_ref()),
    };
    record.status = response.status().as_u16();
    state.remember(record);
    Ok(response)
}

impl State {
    fn remember(&self, request: Request) {
        lock(&self.requests).push(request);
    }

    /// The fault to play now.
    fn play(&self, request: &Request) -> Option<Fault> {
        let mut plays = lock(&self.plays);
        let play = plays.get_mut(&request.path)?;
        if let Fault::Unless(name, value) = play.fault
            && request.headers.get(&name.to_lowercase()).is_some_and(|given| given == value)
        {
            return None;
        }
        match &mut play.times {
            Some(0) => return None,
            Some(times) => *times -= 1,
            None => {}
        }
        Some(play.fault.clone())
    }

    fn files(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        content: Bytes,
        fault: Option<&Fault>,
    ) -> Response<Body> {
        let mut files = lock(&self.files);
        match *method {
            Method::PUT | Method::POST => {
                let new = files.insert(path.to_owned(), content).is_none();
                says(if new { 201 } else { 200 }, "")
            }
            Method::GET | Method::HEAD => match files.get(path) {
                Some(content) => give(content, headers, *method == Method::HEAD, fault),
                None => says(404, "there is no such file"),
            },
            _ => says(405, "only GET, HEAD, PUT and POST"),
        }
    }
}

fn says(status: u16, words: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(words.as_bytes())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status of HTTP");
    response
}

/// The content, or the part of it from `Range: bytes=N-` on, where it is still the same content.
fn give(content: &Bytes, asked: &HeaderMap, head: bool, fault: Option<&Fault>) -> Response<Body> {
    let text = |name| asked.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let etag = etag(content);
    let from = text(header::RANGE)
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .filter(|from| *from < content.len())
        .filter(|_| text(header::IF_RANGE).is_none_or(|known| known == etag));
    let part = content.slice(from.unwrap_or(0)..);
    let length = part.len();
    let body = if head { Empty::new().map_err(never).boxed_unsync() } else { body(part, fault) };
    let mut response = Response::new(body);
    let mut set = |name, value: String| {
        response.headers_mut().insert(name, value.parse().expect("plain text"));
    };
    set(header::CONTENT_LENGTH, length.to_string());
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::ETAG, etag);
    if let Some(from) = from {
        let (last, whole) = (content.len() - 1, content.len());
        set(header::CONTENT_RANGE, format!("bytes {from}-{last}/{whole}"));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

fn etag(content: &Bytes) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:x}\"", hasher.finish())
}

fn never(never: std::convert::Infallible) -> io::Error {
    match never {}
}

fn body(content: Bytes, fault: Option<&Fault>) -> Body {
    let frame = |content| Ok(Frame::data(content));
    match fault {
        Some(Fault::Cut) => {
            let but_one = content.slice(..content.len().saturating_sub(1));
            let end = stream::once(async {
                // The end of a connection overtakes what was not sent yet.
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err(io::Error::other("cut, as the test said"))
            });
            StreamBody::new(stream::iter([frame(but_one)]).chain(end)).boxed_unsync()
        }
        Some(Fault::StallMidway) => {
            let half = content.slice(..content.len() / 2);
            let rest = stream::once(pending());
            StreamBody::new(stream::iter([frame(half)]).chain(rest)).boxed_unsync()
        }
        _ => Full::new(content).map_err(never).boxed_unsync(),
    }
}
