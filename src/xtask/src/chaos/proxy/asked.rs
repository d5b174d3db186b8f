//! What a call asks for, read from its method and path alone.

use hyper::{Method, Request};

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Method and path without the query.
    pub(super) path: String,
    /// It changes something.
    pub(super) writes: bool,
    /// It is for a job's or a command's status.
    pub(super) status: bool,
    /// It tells a Kubernetes Event.
    pub(super) event: bool,
    /// It watches.
    pub(super) watches: bool,
    /// It is for the first page of a list, and says how long that may be.
    pub(super) lists: bool,
    /// It is for a list's next page.
    pub(super) continues: bool,
    whole: String,
}

impl Asked {
    /// Reads a request.
    pub(super) fn read<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| {
            query
                .split('&')
                .any(|pair| pair.split('=').next() == Some(name) && !pair.ends_with("=false"))
        };
        let (watches, continues) = (has("watch"), has("continue"));
        Self {
            path: format!("{} {path}", request.method()),
            writes: request.method() != Method::GET,
            status: path.contains("/apis/dockeruniverse.io/") && path.ends_with("/status"),
            event: path.contains("/events"),
            watches,
            lists: has("limit") && !watches && !continues,
            continues,
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
        let list = asked("GET", "/api/v1/pods?&limit=500&labelSelector=a%3Db");
        assert!(list.lists && !list.writes && !list.watches && !list.continues);
        assert_eq!(list.with_limit(7), "/api/v1/pods?&limit=7&labelSelector=a%3Db");
        assert!(asked("GET", "/api/v1/pods?limit=500&continue=abc").continues);
        assert!(asked("GET", "/api/v1/pods?&watch=true&timeoutSeconds=290").watches);
        let jobs = "/apis/dockeruniverse.io/v1alpha1/namespaces/a/dockeruniversejobs";
        let status = asked("PATCH", &format!("{jobs}/x/status?"));
        assert!(status.writes && status.status && !status.event);
        assert!(!asked("DELETE", &format!("{jobs}/status")).event);
        assert!(asked("POST", "/apis/events.k8s.io/v1/namespaces/a/events?").event);
    }
}
