//! The proxy between the operator and the API server: it speaks TLS with a certificate of its own, passes the operator's own
//! token on, so that its rights stay real, and injects the plan's faults.
//!
//! Invariant: without a fault an answer is the API server's own, byte for byte; a call that was sent on is carried out
//! whether or not the operator still waits.

mod asked;
mod certificate;
mod stream;

use super::{
    operator::Killer,
    plan::{Plan, Read, Write},
    server::{Sender, Server},
};
use anyhow::Context as _;
use asked::{Asked, Kind};
pub(super) use certificate::Certificate;
use futures::stream::BoxStream;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::Mutex as AsyncMutex, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// Longer than the operator waits for any answer.
const HANG: Duration = Duration::from_secs(13);

/// The connection ends here: on purpose, or because the API server's did.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the connection ends here")
    }
}

impl std::error::Error for Cut {}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Cut>>>;
type Answer = Result<Response<Body>, Cut>;

/// What all connections share.
struct Shared {
    plan: Plan,
    server: Server,
    killer: Killer,
    on: AtomicBool,
    writes: AtomicU64,
    reads: AtomicU64,
    watches: AtomicU64,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// Statuses that meet more conflicts, and how many.
    conflicts: Mutex<BTreeMap<String, u32>>,
    /// Writes other than Events that were sent on.
    sent: AtomicU64,
}

/// The running proxy.
#[derive(Clone)]
pub(super) struct Proxy {
    shared: Arc<Shared>,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Proxy {
    /// Listens on loopback; faults are off.
    pub(super) async fn listen(
        plan: Plan,
        server: Server,
        killer: Killer,
        certificate: &Certificate,
    ) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr().context("the proxy has no address")?;
        let acceptor = certificate.acceptor()?;
        let shared = Arc::new(Shared {
            plan,
            server,
            killer,
            on: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            watches: AtomicU64::new(0),
            counts: Mutex::default(),
            conflicts: Mutex::default(),
            sent: AtomicU64::new(0),
        });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(connection(serving.clone(), acceptor.clone(), stream));
                }
            }
        });
        Ok((Self { shared, address }, task))
    }

    /// Turns faults on or off.
    pub(super) fn inject(&self, on: bool) {
        self.shared.on.store(on, Ordering::Relaxed);
    }

    /// Faults by kind.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many writes, Events apart, the API server was sent.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

async fn connection(shared: Arc<Shared>, acceptor: TlsAcceptor, stream: tokio::net::TcpStream) {
    // An operator that is killed ends its connections anywhere, in the handshake too.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let upstream =
        Arc::new(Upstream { server: shared.server.clone(), sender: AsyncMutex::default() });
    let service = service_fn(move |request| {
        let (shared, upstream) = (shared.clone(), upstream.clone());
        async move { serve(&shared, upstream, request).await }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The other side of a connection; made when it is needed, and again when it broke.
struct Upstream {
    server: Server,
    sender: AsyncMutex<Option<Sender>>,
}

impl Upstream {
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Cut> {
        let mut sender = self.sender.lock().await;
        if sender.as_ref().is_none_or(Sender::is_closed) {
            *sender = Some(self.server.connect().await.map_err(|_| Cut)?);
        }
        let Some(open) = sender.as_mut() else { return Err(Cut) };
        let ready = open.ready().await;
        let answer = match ready {
            Ok(()) => open.send_request(request).await,
            Err(error) => Err(error),
        };
        answer.map_err(|_| {
            *sender = None;
            Cut
        })
    }
}

async fn serve(
    shared: &Arc<Shared>,
    upstream: Arc<Upstream>,
    request: Request<Incoming>,
) -> Answer {
    let asked = Asked::read(&request);
    let on = shared.on.load(Ordering::Relaxed);
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let authority = shared.server.authority().parse().map_err(|_| Cut)?;
    parts.headers.insert(header::HOST, authority);
    let call = Call {
        shared: shared.clone(),
        upstream,
        request: Request::from_parts(parts, Full::from(body)),
    };
    if asked.kind.writes() {
        let number = shared.writes.fetch_add(1, Ordering::Relaxed);
        let conflict = shared.next_conflict(&asked);
        let fault = shared.plan.write(number).filter(|_| on);
        let fault = if conflict { Some(Write::Conflicts(0)) } else { fault };
        return write(call, &asked, fault).await;
    }
    let number = shared.reads.fetch_add(1, Ordering::Relaxed);
    let fault = shared.plan.read(number, asked.kind == Kind::NextPage).filter(|_| on);
    read(call, &asked, fault).await
}

impl Shared {
    fn count(&self, fault: &'static str) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_default() += 1;
    }

    /// Whether this write is one of a row of conflicts.
    fn next_conflict(&self, asked: &Asked) -> bool {
        let mut conflicts = self.conflicts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = conflicts.get_mut(&asked.path) else { return false };
        *left -= 1;
        if *left == 0 {
            conflicts.remove(&asked.path);
        }
        true
    }

    fn more_conflicts(&self, asked: &Asked, row: u32) {
        if row > 1 {
            let mut conflicts = self.conflicts.lock().unwrap_or_else(PoisonError::into_inner);
            conflicts.insert(asked.path.clone(), row - 1);
        }
    }
}

/// A call on its way.
struct Call {
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    request: Request<Full<Bytes>>,
}

impl Call {
    /// Sends it on, and goes on doing so if the operator goes away.
    async fn send(self) -> Result<Response<Incoming>, Cut> {
        let Self { upstream, request, .. } = self;
        tokio::spawn(async move { upstream.send(request).await }).await.map_err(|_| Cut)?
    }

    /// Sends it on; the answer with its whole body.
    async fn whole(self) -> Result<(Response<()>, Bytes), Cut> {
        let Self { upstream, request, .. } = self;
        let send = async move {
            let (parts, body) = upstream.send(request).await?.into_parts();
            let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
            Ok((Response::from_parts(parts, ()), body))
        };
        tokio::spawn(send).await.map_err(|_| Cut)?
    }
}

async fn write(call: Call, asked: &Asked, fault: Option<Write>) -> Answer {
    let shared = call.shared.clone();
    let fault =
        fault.filter(|fault| !matches!(fault, Write::Conflicts(_)) || asked.kind == Kind::Status);
    if let Some(fault) = fault {
        shared.count(fault.name());
    }
    let sent = || {
        if asked.kind != Kind::Event {
            shared.sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    match fault {
        None => {
            sent();
            Ok(complete(call.whole().await?))
        }
        Some(Write::KillBefore) => {
            shared.killer.kill("before a write left");
            Err(Cut)
        }
        Some(Write::KillUnanswered) => {
            let answer = call.whole().await;
            shared.killer.kill("before a write was answered");
            answer.and(Err(Cut))
        }
        Some(Write::KillAnswered) => {
            let answer = call.whole().await?;
            let killer = shared.killer.clone();
            tokio::spawn(async move {
                // The answer has time to arrive, and what follows from it to begin.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..10))).await;
                killer.kill("after a write");
            });
            Ok(complete(answer))
        }
        Some(Write::LostReply) => call.whole().await.and(Err(Cut)),
        Some(Write::HalfReply) => Ok(half(call.whole().await?)),
        Some(Write::Conflicts(row)) => {
            shared.more_conflicts(asked, row);
            Ok(status(409, "Conflict", None))
        }
        Some(Write::TooMany(wait)) => Ok(status(429, "TooManyRequests", wait)),
        Some(Write::Refused(code)) => Ok(server_error(code)),
        Some(Write::TimedOut) => call.whole().await.and(Ok(server_error(504))),
        Some(Write::Reset) => Err(Cut),
        Some(Write::Hang) => hang().await,
        Some(Write::Late(wait)) => {
            let late = tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                call.whole().await
            });
            Ok(complete(late.await.map_err(|_| Cut)??))
        }
    }
}

async fn read(mut call: Call, asked: &Asked, fault: Option<Read>) -> Answer {
    let shared = call.shared.clone();
    let fault = fault.filter(|fault| match fault {
        Read::Expired => asked.kind == Kind::NextPage,
        Read::ShortPages(_) => asked.kind == Kind::List,
        _ => true,
    });
    if let Some(fault) = fault {
        shared.count(fault.name());
    }
    match fault {
        Some(Read::Expired) => return Ok(status(410, "Expired", None)),
        Some(Read::TooMany(wait)) => return Ok(status(429, "TooManyRequests", wait)),
        Some(Read::Refused(code)) => return Ok(server_error(code)),
        Some(Read::Reset) => return Err(Cut),
        Some(Read::Hang) => return hang().await,
        Some(Read::HalfReply) if asked.kind != Kind::Watch => return Ok(half(call.whole().await?)),
        Some(Read::ShortPages(limit)) => {
            let shorter = asked.with_limit(limit);
            *call.request.uri_mut() = shorter.parse().map_err(|_| Cut)?;
        }
        Some(Read::HalfReply) | None => {}
    }
    if asked.kind != Kind::Watch {
        return Ok(complete(call.whole().await?));
    }
    let number = shared.watches.fetch_add(1, Ordering::Relaxed);
    let fault = shared.plan.watch(number).filter(|_| shared.on.load(Ordering::Relaxed));
    let answer = call.send().await?;
    Ok(stream::through(answer, fault, move |fault| shared.count(fault)))
}

async fn hang() -> Answer {
    tokio::time::sleep(HANG).await;
    Err(Cut)
}

fn body(frames: Vec<Result<Bytes, Cut>>) -> Body {
    let frames = frames.into_iter().map(|frame| frame.map(Frame::data));
    StreamBody::new(Box::pin(futures::stream::iter(frames)))
}

fn complete((answer, whole): (Response<()>, Bytes)) -> Response<Body> {
    answer.map(|()| body(vec![Ok(whole)]))
}

/// The head says how long the body is, and the connection ends before.
fn half((answer, whole): (Response<()>, Bytes)) -> Response<Body> {
    let part = whole.slice(..whole.len() / 2);
    answer.map(|()| body(vec![Ok(part), Err(Cut)]))
}

fn server_error(code: u16) -> Response<Body> {
    let reason = match code {
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "Timeout",
    };
    status(code, reason, None)
}

/// An answer in the API server's form.
fn status(code: u16, reason: &str, retry_after: Option<u32>) -> Response<Body> {
    let details = retry_after.map(|seconds| serde_json::json!({ "retryAfterSeconds": seconds }));
    let text = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the proxy says so", "reason": reason, "code": code, "details": details,
    })
    .to_string();
    let mut answer = Response::new(body(vec![Ok(Bytes::from(text))]));
    *answer.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}
