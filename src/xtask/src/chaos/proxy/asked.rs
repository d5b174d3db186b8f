//! What a call asks for, read from its method and path alone.

use hyper::{Method, Request};

/// What kind of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Writes the status of a job or a command.
    Status,
    /// Tells a Kubernetes Event, or keeps the operator's own lease: what goes on when nothing is left to do.
    Event,
    /// Writes anything else.
    Write,
    /// Watches.
    Watch,
    /// Asks for a list's first page, and says how long that may be.
    List,
    /// Asks for a list's next page.
    NextPage,
    /// Asks for anything else.
    Read,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Method and path without the query.
    pub(super) path: String,
    /// Of which kind it is.
    pub(super) kind: Kind,
    whole: String,
}

impl Kind {
    /// Whether it changes something.
    pub(super) fn writes(self) -> bool {
        matches!(self, Self::Status | Self::Event | Self::Write)
    }
}

impl Asked {
    /// Reads a request.
    pub(super) fn read<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| {
            let is = |pair: &str| pair.split('=').next() == Some(name) && !pair.ends_with("=false");
            query.split('&').any(is)
        };
        let kind = if request.method() != Method::GET {
            match path {
                _ if path.contains("/events") || path.contains("/leases") => Kind::Event,
                _ if path.contains("/apis/dockeruniverse.io/") && path.ends_with("/status") => {
                    Kind::Status
                }
                _ => Kind::Write,
            }
        } else if has("watch") {
            Kind::Watch
        } else if has("continue") {
            Kind::NextPage
        } else if has("limit") {
            Kind::List
        } else {
            Kind::Read
        };
        Self {
            path: format!("{} {path}", request.method()),
            kind,
            whole: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// The same list in shorter pages: a server may give less than was asked for.
    pub(super) fn with_limit(&self, limit: u32) -> String {
        let (path, query) = self.whole.split_once('?').unwrap_or((&self.whole, ""));
        let pairs = query.split('&').map(|pair| {
            if pair.starts_with("limit=") { format!("limit={limit}") } else { pair.to_owned() }
        });
        format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str) -> Asked {
        Asked::read(&Request::builder().method(method).uri(uri).body(()).unwrap())
    }

    #[test]
    fn lists_watches_and_statuses_are_told_apart() {
        let jobs = "/apis/dockeruniverse.io/v1alpha1/namespaces/a/dockeruniversejobs";
        for (method, uri, kind) in [
            ("GET", "/api/v1/pods?&limit=500&labelSelector=a%3Db", Kind::List),
            ("GET", "/api/v1/pods?limit=500&continue=abc", Kind::NextPage),
            ("GET", "/api/v1/pods?&watch=true&timeoutSeconds=290", Kind::Watch),
            ("GET", "/api/v1/namespaces/a/pods/x", Kind::Read),
            ("PATCH", &format!("{jobs}/x/status?"), Kind::Status),
            ("DELETE", &format!("{jobs}/x"), Kind::Write),
            ("POST", "/api/v1/namespaces/a/pods?", Kind::Write),
            ("POST", "/apis/events.k8s.io/v1/namespaces/a/events?", Kind::Event),
        ] {
            assert_eq!(asked(method, uri).kind, kind, "{method} {uri}");
            assert_eq!(kind.writes(), method != "GET");
        }
        let list = asked("GET", "/api/v1/pods?&limit=500&labelSelector=a%3Db");
        assert_eq!(list.with_limit(7), "/api/v1/pods?&limit=7&labelSelector=a%3Db");
    }
}
