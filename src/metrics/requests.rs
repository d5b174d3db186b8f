//! Requests to the API server, counted where all of them pass.
//!
//! Invariant: every request that is sent is counted once, with what became of it: one whose caller stopped waiting, too.

use super::labels::{Method, Outcome, Request, Resource, Verbs};
use axum::http::{self, Uri};
use prometheus_client::metrics::{
    counter::Counter,
    family::{Family, MetricConstructor},
    histogram::{Histogram, exponential_buckets},
};
use tokio::time::Instant;

/// Makes the histograms of requests: 1 ms to 16 s.
#[derive(Clone, Debug)]
pub(super) struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 2.0, 15))
    }
}

/// Counts and times of requests.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) answers: Family<Request, Counter>,
    pub(super) times: Family<Verbs, Histogram, Buckets>,
}

impl Default for Requests {
    fn default() -> Self {
        let requests =
            Self { answers: Family::default(), times: Family::new_with_constructor(Buckets) };
        for verb in Method::ALL.iter().copied().filter(|verb| is_timed(*verb)) {
            drop(requests.times.get_or_create(&Verbs { verb }));
        }
        // A count that begins at one hides its first step from `rate()`.
        for (verb, resource) in USUAL {
            requests.known(verb, resource);
        }
        requests
    }
}

/// What this operator asks for again and again.
const USUAL: [(Method, Resource); 9] = [
    (Method::Create, Resource::Pods),
    (Method::Patch, Resource::Pods),
    (Method::Delete, Resource::Pods),
    (Method::DeleteCollection, Resource::Pods),
    (Method::Patch, Resource::JobsStatus),
    (Method::Patch, Resource::CommandsStatus),
    (Method::Create, Resource::Events),
    (Method::Create, Resource::ConfigMaps),
    (Method::Update, Resource::ConfigMaps),
];

impl Requests {
    fn known(&self, verb: Method, resource: Resource) {
        for outcome in Outcome::ALL.iter().copied() {
            drop(self.answers.get_or_create(&Request { verb, resource, outcome }));
        }
    }

    /// A request is sent.
    pub(super) fn sent(&self, method: &http::Method, uri: &Uri) -> Sent {
        let (verb, resource) = read(method, uri);
        Sent { requests: self.clone(), verb, resource, since: Instant::now(), outcome: None }
    }
}

/// The answer to a watch is its stream's beginning: its time says nothing.
fn is_timed(verb: Method) -> bool {
    !matches!(verb, Method::Watch | Method::Other)
}

/// A request on its way; counted when this is dropped.
#[derive(Debug)]
pub struct Sent {
    requests: Requests,
    verb: Method,
    resource: Resource,
    since: Instant,
    outcome: Option<Outcome>,
}

impl Sent {
    /// The API server answered with this code.
    pub fn answered(&mut self, code: u16) {
        self.outcome = Some(match code {
            200..400 => Outcome::Ok,
            404 | 410 => Outcome::Absent,
            409 => Outcome::Conflict,
            429 => Outcome::Throttled,
            400..500 => Outcome::Refused,
            _ => Outcome::Failed,
        });
    }

    /// The connection failed.
    pub fn broke(&mut self) {
        self.outcome = Some(Outcome::Failed);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let Self { verb, resource, .. } = *self;
        let outcome = self.outcome.unwrap_or(Outcome::Unanswered);
        let label = Request { verb, resource, outcome };
        let counted = self.requests.answers.get(&label).map(|counter| counter.inc()).is_some();
        if !counted {
            self.requests.known(verb, resource);
            self.requests.answers.get_or_create(&label).inc();
        }
        if is_timed(verb) {
            let time = self.since.elapsed().as_secs_f64();
            self.requests.times.get_or_create(&Verbs { verb }).observe(time);
        }
    }
}

/// What a request asks for, and of what.
fn read(method: &http::Method, uri: &Uri) -> (Method, Resource) {
    let mut path = uri.path().split('/').filter(|part| !part.is_empty()).peekable();
    let skipped = match path.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => usize::MAX,
    };
    let mut path: Vec<&str> =
        if skipped == usize::MAX { Vec::new() } else { path.skip(skipped).collect() };
    if path.len() > 2 && path.first() == Some(&"namespaces") {
        path.drain(..2);
    }
    let is_named = path.len() > 1;
    let resource = match (path.first().copied(), path.get(2).copied()) {
        (Some("dockeruniversejobs"), Some("status")) => Resource::JobsStatus,
        (Some("dockeruniversejobs"), None) => Resource::Jobs,
        (Some("dockeruniversecommands"), Some("status")) => Resource::CommandsStatus,
        (Some("dockeruniversecommands"), None) => Resource::Commands,
        (Some("pods"), Some("log")) => Resource::PodsLog,
        (Some("pods"), None) => Resource::Pods,
        (Some("configmaps"), None) => Resource::ConfigMaps,
        (Some("events"), None) => Resource::Events,
        _ => Resource::Other,
    };
    let watches = || {
        let query = uri.query().unwrap_or_default();
        query.split('&').any(|part| matches!(part, "watch=true" | "watch=1"))
    };
    let verb = match method.as_str() {
        "GET" if path.is_empty() => Method::Other,
        "GET" if is_named => Method::Get,
        "GET" if watches() => Method::Watch,
        "GET" => Method::List,
        "POST" => Method::Create,
        "PUT" => Method::Update,
        "PATCH" => Method::Patch,
        "DELETE" if is_named => Method::Delete,
        "DELETE" => Method::DeleteCollection,
        _ => Method::Other,
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_its_method_and_path() {
        let group = "/apis/dockeruniverse.io/v1alpha1";
        for (method, uri, verb, resource) in [
            ("GET", "/api/v1/pods?&labelSelector=x&watch=true", Method::Watch, Resource::Pods),
            ("GET", "/api/v1/pods?&limit=500", Method::List, Resource::Pods),
            ("GET", "/api/v1/namespaces/watch/pods/watch", Method::Get, Resource::Pods),
            ("GET", "/api/v1/namespaces/lab/pods/x/log?tail=1", Method::Get, Resource::PodsLog),
            ("POST", "/api/v1/namespaces/lab/pods?", Method::Create, Resource::Pods),
            ("DELETE", "/api/v1/namespaces/lab/pods/x", Method::Delete, Resource::Pods),
            (
                "DELETE",
                "/api/v1/namespaces/lab/pods?&labelSelector=x",
                Method::DeleteCollection,
                Resource::Pods,
            ),
            ("PUT", "/api/v1/namespaces/lab/configmaps/x", Method::Update, Resource::ConfigMaps),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/a/events",
                Method::Create,
                Resource::Events,
            ),
            (
                "PATCH",
                &format!("{group}/namespaces/lab/dockeruniversejobs/x/status"),
                Method::Patch,
                Resource::JobsStatus,
            ),
            (
                "PATCH",
                &format!("{group}/namespaces/lab/dockeruniversecommands/x/status"),
                Method::Patch,
                Resource::CommandsStatus,
            ),
            ("GET", &format!("{group}/dockeruniversejobs?watch=1"), Method::Watch, Resource::Jobs),
            ("GET", "/version", Method::Other, Resource::Other),
            ("GET", "/api/v1/namespaces/lab", Method::Get, Resource::Other),
            ("BREW", "/api/v1/namespaces/lab/teapots/x", Method::Other, Resource::Other),
        ] {
            let method = http::Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(read(&method, &uri.parse().unwrap()), (verb, resource), "{method} {uri}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_counted_once_with_its_answer() {
        let requests = Requests::default();
        let uri: Uri = "/api/v1/namespaces/lab/pods".parse().unwrap();
        for (code, outcome) in [
            (Some(201), Outcome::Ok),
            (Some(404), Outcome::Absent),
            (Some(409), Outcome::Conflict),
            (Some(429), Outcome::Throttled),
            (Some(403), Outcome::Refused),
            (Some(422), Outcome::Refused),
            (Some(503), Outcome::Failed),
            (None, Outcome::Unanswered),
        ] {
            let label = Request { verb: Method::Create, resource: Resource::Pods, outcome };
            let before = requests.answers.get_or_create(&label).get();
            let mut sent = requests.sent(&http::Method::POST, &uri);
            if let Some(code) = code {
                sent.answered(code);
            }
            drop(sent);
            assert_eq!(requests.answers.get_or_create(&label).get(), before + 1, "{code:?}");
        }
    }
}
