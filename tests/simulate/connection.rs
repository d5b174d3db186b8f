//! One operator's connection to the API server: what it sends takes a while, and may meet a fault.

use crate::{
    faults::{Fault, Plan},
    refused::Refused,
    request::{Request, Target, Verb},
    store::Kind,
    watch,
    world::Site,
};
use axum::{
    body::Body,
    http::{Request as HttpRequest, Response, header},
};
use kube::client::Body as KubeBody;
use serde_json::Value;
use std::{
    future::pending,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tower::{BoxError, Service};

/// A connection over which nothing comes is found to be broken after this time.
const SILENCE: Duration = Duration::from_mins(1);

/// A creation may come so late, and no later (`perform/creation.rs`): before each step of the sending the operator looks
/// whether it still leads.
const UNSURE: Duration = Duration::from_secs(30);

/// What all operators of a run have in common: the numbers of their requests.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) kills: AtomicU64,
}

/// A connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) site: Arc<Site>,
    pub(crate) who: String,
    pub(crate) plan: Plan,
    pub(crate) counters: Arc<Counters>,
    /// `false` once the operator is dead.
    pub(crate) alive: tokio::sync::watch::Sender<bool>,
    /// Where operators are elected: by which name this one is.
    pub(crate) elected: Option<String>,
    pub(crate) stop: Arc<Stop>,
}

/// When an operator's process is stopped, and goes on later as if nothing had been.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// At the write with this number of its own, counted from 0, for so long. That write is on its way already.
    pub(crate) at: Option<(u64, Duration)>,
    writes: AtomicU64,
    stopped: tokio::sync::watch::Sender<bool>,
}

impl Stop {
    pub(crate) fn at(write: u64, length: Duration) -> Self {
        Self { at: Some((write, length)), ..Self::default() }
    }

    fn is_on(&self) -> bool {
        *self.stopped.borrow()
    }

    pub(crate) async fn over(&self) {
        let _ = self.stopped.subscribe().wait_for(|stopped| !stopped).await;
    }
}

impl Service<HttpRequest<KubeBody>> for Connection {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<KubeBody>) -> Self::Future {
        Box::pin(self.clone().serve(request))
    }
}

fn broken() -> BoxError {
    std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()
}

impl Connection {
    async fn serve(self, request: HttpRequest<KubeBody>) -> Result<Response<Body>, BoxError> {
        let request = match Request::read(request).await {
            Ok(request) => request,
            Err(problem) => {
                self.site.with(|world| world.violate(format!("{}: {problem}", self.who)));
                return Err(problem.into());
            }
        };
        let number = self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let mut chance = self.site.with(|world| world.chance(&format!("latency {number}")));
        tokio::time::sleep(chance.millis(1, 8)).await;
        self.while_alive().await;
        let write = request.counts().then(|| self.counters.writes.fetch_add(1, Ordering::Relaxed));
        if self.is_stopped(&request, number) {
            pending::<()>().await;
        }
        self.stop.over().await;
        let time = self.site.with(|world| world.elapsed());
        let fault = self.plan.fault(&request, write, number, time);
        if let Some(fault) = fault {
            self.counters.faults.fetch_add(1, Ordering::Relaxed);
            self.site.with(|world| world.tell(&self.who, &format!("{request} meets {fault:?}")));
        }
        let answer = match fault {
            None => {
                self.has_a_claim(&request);
                self.ask(&request, number)
            }
            Some(fault) => self.suffer(fault, &request, number).await?,
        };
        tokio::time::sleep(chance.millis(1, 8)).await;
        self.while_alive().await;
        self.stop.over().await;
        Ok(answer)
    }

    /// Whether the sender stands still, and this write is none that it makes now. The one at which it was stopped arrives
    /// when it goes on, before it can look at anything: any write that is bound to a version or a UID, and a creation
    /// within the time that creations are expected to come.
    fn is_stopped(&self, request: &Request, number: u64) -> bool {
        if self.stop.is_on() {
            return request.verb.writes();
        }
        let Some((at, length)) = self.stop.at.filter(|_| request.counts()) else { return false };
        if self.stop.writes.fetch_add(1, Ordering::Relaxed) != at {
            return false;
        }
        self.stop.stopped.send_replace(true);
        self.site.with(|world| {
            world.tell(&self.who, &format!("is stopped for {} s at: {request}", length.as_secs()));
        });
        let (late, request) = (self.clone(), request.clone());
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            late.while_alive().await;
            late.site.with(|world| world.tell(&late.who, "goes on"));
            if request.verb != Verb::Create || length <= UNSURE {
                drop(late.ask(&request, number));
            }
            late.stop.stopped.send_replace(false);
        });
        true
    }

    /// I16: only who holds the lease writes, whatever it was that was on its way when the lease went away.
    fn has_a_claim(&self, request: &Request) {
        let Some(name) = self.elected.as_deref().filter(|_| request.counts()) else { return };
        self.site.with(|world| {
            if world.holder() != Some(name) {
                let holder = world.holder().unwrap_or_default().to_owned();
                world.violate(format!("I16: {name} makes {request}, and '{holder}' leads"));
            }
        });
    }

    async fn suffer(
        &self,
        fault: Fault,
        request: &Request,
        number: u64,
    ) -> Result<Response<Body>, BoxError> {
        match fault {
            Fault::KillBefore => {
                self.die();
                pending().await
            }
            Fault::KillAfter => {
                drop(self.ask(request, number));
                self.die();
                pending().await
            }
            Fault::AnswerHangs | Fault::RequestHangs | Fault::Late(_) if !request.verb.writes() => {
                tokio::time::sleep(SILENCE).await;
                Err(broken())
            }
            Fault::AnswerLost => {
                drop(self.ask(request, number));
                Err(broken())
            }
            Fault::RequestLost => Err(broken()),
            Fault::AnswerHangs => {
                drop(self.ask(request, number));
                pending().await
            }
            Fault::RequestHangs => pending().await,
            Fault::Late(millis) => {
                let (late, request) = (self.clone(), request.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    drop(late.ask(&request, number));
                });
                pending().await
            }
            Fault::DoneAndTimeout => {
                drop(self.ask(request, number));
                let message = "Timeout: request did not complete within the allotted timeout";
                Ok(refusal(&Refused::new(504, "Timeout", message)))
            }
            Fault::Code(code, retry_after) => {
                let (reason, message) = match code {
                    409 => (
                        "Conflict",
                        "the object has been modified; please apply your changes to the latest version and try again",
                    ),
                    429 => ("TooManyRequests", "too many requests, please try again later"),
                    503 => (
                        "ServiceUnavailable",
                        "the server is currently unable to handle the request",
                    ),
                    _ => ("InternalError", "Internal error occurred: etcdserver: leader changed"),
                };
                Ok(refusal(&Refused { retry_after, ..Refused::new(code, reason, message) }))
            }
        }
    }

    /// The request arrives.
    fn ask(&self, request: &Request, number: u64) -> Response<Body> {
        if request.verb == Verb::Watch {
            let time = self.site.with(|world| world.elapsed());
            let trouble = self.plan.trouble(number, time);
            return match watch::body(
                &self.site,
                self.alive.subscribe(),
                &self.stop,
                request,
                trouble,
            ) {
                Ok(body) => response(200, body),
                Err(refused) => {
                    self.site.with(|world| world.violate(format!("{request}: {refused:?}")));
                    refusal(&refused)
                }
            };
        }
        let answer = self.site.with(|world| {
            let answer = world.answer(&self.who, request);
            if let Err(refused) = &answer
                && request.target != Target::Objects(Kind::Lease)
            {
                world.tell(&self.who, &format!("{request} is refused: {}", refused.message));
            }
            answer
        });
        match answer {
            Ok(value) => json(if request.verb == Verb::Create { 201 } else { 200 }, &value),
            Err(refused) => refusal(&refused),
        }
    }

    fn die(&self) {
        if self.alive.send_replace(false) {
            self.counters.kills.fetch_add(1, Ordering::Relaxed);
            self.site.with(|world| world.tell(&self.who, "dies"));
        }
    }

    /// The dead hear nothing.
    async fn while_alive(&self) {
        if !*self.alive.borrow() {
            pending::<()>().await;
        }
    }
}

fn response(code: u16, body: Body) -> Response<Body> {
    Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .unwrap()
}

fn json(code: u16, value: &Value) -> Response<Body> {
    response(code, Body::from(value.to_string()))
}

fn refusal(refused: &Refused) -> Response<Body> {
    json(refused.code, &refused.body())
}
