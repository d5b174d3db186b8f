//! Watches: what changed since a version, as lines of JSON, with bookmarks; and what can befall a watch.

use crate::{
    connection::Stop,
    refused::Refused,
    request::{Request, Target},
    selector::Selector,
    store::{Change, Kind},
    world::Site,
};
use axum::body::Body;
use futures::stream;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// What befalls one watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// Each event comes so late.
    pub(crate) delay: Duration,
    /// After so many events the connection is cut.
    pub(crate) cut_after: Option<u64>,
    /// After so many events nothing comes any more, and the connection stays open.
    pub(crate) silent_after: Option<u64>,
    /// After so many events the server says that it has forgotten.
    pub(crate) expired_after: Option<u64>,
    /// Each event comes twice.
    pub(crate) twice: bool,
}

/// A bookmark comes this often.
const BOOKMARK: Duration = Duration::from_secs(100);

struct Watch {
    site: Arc<Site>,
    alive: watch::Receiver<bool>,
    stop: Arc<Stop>,
    version: watch::Receiver<u64>,
    kind: Kind,
    namespace: Option<String>,
    selector: Selector,
    /// The next change of the history to look at.
    position: usize,
    trouble: Trouble,
    told: u64,
    waiting: Vec<Value>,
    bookmark: Instant,
    end: Instant,
    over: bool,
}

/// The object as an event shows it: what is gone, or selected no more, is shown as it was, with the new version.
fn shown(change: &Change, type_: &str) -> Value {
    match &change.before {
        Some(before) if type_ == "DELETED" => {
            let mut object = Value::clone(before);
            object["metadata"]["resourceVersion"] = json!(change.version.to_string());
            object
        }
        _ => Value::clone(&change.last),
    }
}

/// The body of a watch's answer.
pub(crate) fn body(
    site: &Arc<Site>,
    alive: watch::Receiver<bool>,
    stop: &Arc<Stop>,
    request: &Request,
    trouble: Trouble,
) -> Result<Body, Refused> {
    let bad = |what: &str| Refused::new(400, "BadRequest", what);
    let Target::Objects(kind) = request.target else { return Err(bad("events are not watched")) };
    let number = |name: &str| request.asked(name).and_then(|text| text.parse::<u64>().ok());
    let selector = Selector::read(request.asked("labelSelector")).ok_or_else(|| bad("selector"))?;
    if request.asked("sendInitialEvents").is_some() || request.asked("fieldSelector").is_some() {
        return Err(bad("not served by this model"));
    }
    let from = number("resourceVersion").ok_or_else(|| bad("resourceVersion"))?;
    let (position, compacted) = site.with(|world| {
        let position = world.store.history.partition_point(|change| change.version <= from);
        (position, world.store.compacted)
    });
    let mut watch = Watch {
        site: site.clone(),
        alive,
        stop: stop.clone(),
        version: site.version.subscribe(),
        kind,
        namespace: request.namespace.clone(),
        selector,
        position,
        trouble,
        told: 0,
        waiting: Vec::new(),
        bookmark: Instant::now() + BOOKMARK,
        end: Instant::now() + Duration::from_secs(number("timeoutSeconds").unwrap_or(290)),
        over: false,
    };
    if from < compacted {
        watch.expire();
    }
    let lines = stream::unfold(watch, async |mut watch| Some((watch.next().await?, watch)));
    Ok(Body::from_stream(lines))
}

impl Watch {
    fn expire(&mut self) {
        let gone = Refused::new(410, "Expired", "too old resource version");
        self.waiting.push(json!({ "type": "ERROR", "object": gone.body() }));
        self.over = true;
    }

    async fn next(&mut self) -> Option<Result<String, std::io::Error>> {
        loop {
            if !*self.alive.borrow() {
                std::future::pending::<()>().await;
            }
            self.stop.over().await;
            if let Some(line) = self.waiting.pop() {
                return Some(Ok(format!("{line}\n")));
            }
            if self.over {
                return None;
            }
            if self.trouble.silent_after.is_some_and(|after| self.told >= after) {
                std::future::pending::<()>().await;
            }
            self.version.borrow_and_update();
            let change = self.site.with(|world| world.store.history.get(self.position).cloned());
            if let Some(change) = change {
                self.position += 1;
                self.take(&change).await;
                continue;
            }
            tokio::select! {
                biased;
                _ = self.version.changed() => {}
                () = tokio::time::sleep_until(self.end) => return None,
                () = tokio::time::sleep_until(self.bookmark) => {
                    self.bookmark += BOOKMARK;
                    self.mark();
                }
            }
        }
    }

    fn mark(&mut self) {
        let version = self.site.with(|world| world.store.version);
        self.waiting.push(json!({ "type": "BOOKMARK", "object": {
            "apiVersion": self.kind.api_version(), "kind": self.kind.name(),
            "metadata": { "resourceVersion": version.to_string() },
        } }));
    }

    /// Tells of a change, if it concerns this watch.
    async fn take(&mut self, change: &Change) {
        let here =
            self.namespace.as_ref().is_none_or(|namespace| *namespace == change.key.namespace);
        if change.key.kind != self.kind || !here {
            return;
        }
        let selected = |object: &Option<Arc<Value>>| {
            object.as_ref().is_some_and(|object| self.selector.selects(object))
        };
        // An object that does not match any more is told as deleted.
        let type_ = match (selected(&change.before), selected(&change.after)) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return,
        };
        tokio::time::sleep_until(change.at + self.trouble.delay).await;
        let reached = |after: Option<u64>| after.is_some_and(|after| self.told >= after);
        if reached(self.trouble.cut_after) {
            self.over = true;
            return;
        }
        if reached(self.trouble.expired_after) {
            self.site.with(|world| world.store.compacted = world.store.version);
            return self.expire();
        }
        self.told += 1;
        let event = json!({ "type": type_, "object": shown(change, type_) });
        if self.trouble.twice {
            self.waiting.push(event.clone());
        }
        self.waiting.push(event);
    }
}
