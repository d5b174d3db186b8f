//! The API server's answers to requests, by the store's rules.

use crate::{
    refused::Refused,
    request::{Request, Target, Verb},
    selector::{self, Selector},
    store::{Deletion, Key, Kind, Part},
    world::{NAMESPACE, OWN_NAMESPACE, World},
};
use duj_api::names;
use serde_json::{Value, json};
use std::sync::Arc;

/// Objects that a list gives at a time, at most: less than any test has, so that continue tokens are used.
const PAGE: usize = 3;
/// What selects pods that have ended.
const ENDED: &str = "status.phase!=Pending,status.phase!=Running";

impl World {
    /// Answers a request of `who`; a watch is answered elsewhere.
    pub(crate) fn answer(&mut self, who: &str, request: &Request) -> Result<Value, Refused> {
        let Target::Objects(kind) = request.target else {
            return self.answer_about_events(request);
        };
        if request.verb == Verb::List {
            return self.answer_list(kind, request);
        }
        if request.verb == Verb::DeleteCollection {
            return self.answer_delete_collection(who, kind, request);
        }
        let namespace = request.namespace.clone().unwrap_or_default();
        let named = |name: &str| Key::new(kind, &namespace, name);
        if kind == Kind::Lease {
            return self.answer_about_lease(who, &namespace, request);
        }
        if request.verb == Verb::Create {
            return self.answer_create(who, kind, &namespace, request);
        }
        let key = named(request.name.as_deref().unwrap_or_default());
        let object = match request.verb {
            Verb::Get => self.store.find(&key)?,
            Verb::MergePatch if kind == Kind::Pod || request.part == Part::Status => {
                self.write(who, |store| {
                    store
                        .update(&key, request.part, |object| selector::merge(object, &request.body))
                })?
            }
            Verb::StrategicPatch if kind == Kind::Pod => self.write(who, |store| {
                store.update(&key, request.part, |object| {
                    selector::merge_strategically(object, &request.body);
                })
            })?,
            Verb::Replace if kind == Kind::ConfigMap => self.write(who, |store| {
                store.update(&key, request.part, |object| *object = request.body.clone())
            })?,
            Verb::Delete => return self.answer_delete(who, &key, request),
            _ => {
                self.violate(format!("{who} asks for what this model does not serve: {request}"));
                return Err(Refused::new(405, "MethodNotAllowed", "not served by this model"));
            }
        };
        if request.metadata_only {
            return Ok(json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": object["metadata"],
            }));
        }
        Ok(Value::clone(&object))
    }

    fn answer_create(
        &mut self,
        who: &str,
        kind: Kind,
        namespace: &str,
        request: &Request,
    ) -> Result<Value, Refused> {
        let name = request.body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if name.is_empty() || ![NAMESPACE, OWN_NAMESPACE].contains(&namespace) {
            self.violate(format!("{who} creates without a name or in no namespace: {request}"));
        }
        let key = Key::new(kind, namespace, &name);
        if kind == Kind::Pod && self.quota_is_full {
            // As measured: the quota answers before anybody looks whether the name exists.
            let message = format!(
                "pods \"{name}\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"
            );
            return Err(Refused::new(403, "Forbidden", message));
        }
        let now = self.stamp();
        let made = self.write(who, |store| store.create(&key, request.body.clone(), &now))?;
        Ok(Value::clone(&made))
    }

    fn answer_delete(&mut self, who: &str, key: &Key, request: &Request) -> Result<Value, Refused> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let preconditions = &request.body["preconditions"];
        let how = Deletion {
            uid: text(&preconditions["uid"]),
            version: text(&preconditions["resourceVersion"]),
            grace: request.body["gracePeriodSeconds"].as_i64(),
            propagation: text(&request.body["propagationPolicy"]),
        };
        if how.uid.is_none() {
            self.violate(format!("I8: {who} deletes {key} whatever its UID is"));
        }
        let now = self.now();
        let deleted = self.write(who, |store| store.delete(key, &how, now))?;
        if key.kind == Kind::Pod || self.store.get(key).is_some() {
            return Ok(Value::clone(&deleted));
        }
        Ok(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": { "name": key.name, "kind": key.kind.plural(), "uid": deleted["metadata"]["uid"] },
        }))
    }

    /// Deletes one after the other what is selected, and answers with what that was before.
    fn answer_delete_collection(
        &mut self,
        who: &str,
        kind: Kind,
        request: &Request,
    ) -> Result<Value, Refused> {
        let ended = request.asked("fieldSelector") == Some(ENDED);
        let selector = Selector::read(request.asked("labelSelector"));
        let Some(selector) = selector.filter(|_| ended && kind == Kind::Pod) else {
            self.violate(format!("a selector that this model does not serve: {:?}", request.query));
            return Err(Refused::new(400, "BadRequest", "unknown selector"));
        };
        if !selector.names(names::LABEL_JOB_UID) {
            self.violate(format!("I8: {who} deletes pods whatever their job's UID is"));
        }
        let over =
            |pod: &Value| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let pods = self.store.list(kind, request.namespace.as_deref()).into_iter();
        let selected = pods.filter(|(_, pod)| selector.selects(pod) && over(pod));
        let selected: Vec<(Key, Arc<Value>)> =
            selected.map(|(key, pod)| (key.clone(), pod.clone())).collect();
        let now = self.now();
        let mut items = Vec::new();
        for (key, pod) in selected {
            self.write(who, |store| store.delete(&key, &Deletion::default(), now))?;
            items.push(json!({ "metadata": pod["metadata"] }));
        }
        Ok(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {}, "items": items,
        }))
    }

    fn answer_list(&mut self, kind: Kind, request: &Request) -> Result<Value, Refused> {
        let Some(selector) = Selector::read(request.asked("labelSelector"))
            .filter(|_| request.asked("fieldSelector").is_none())
        else {
            self.violate(format!("a selector that this model does not serve: {:?}", request.query));
            return Err(Refused::new(400, "BadRequest", "unknown selector"));
        };
        let namespace = request.namespace.as_deref();
        let token = request.asked("continue").and_then(|token| token.split_once('-'));
        let (version, from) = match token {
            Some((version, from)) => {
                let version: u64 = version.parse().unwrap_or_default();
                if version < self.store.compacted {
                    return Err(Refused::new(
                        410,
                        "Expired",
                        "The provided continue parameter is too old",
                    ));
                }
                (version, from.parse::<usize>().unwrap_or_default())
            }
            None => (self.store.version, 0),
        };
        let all: Vec<Arc<Value>> = self.store.list_at(kind, namespace, version);
        let all: Vec<&Arc<Value>> = all.iter().filter(|object| selector.selects(object)).collect();
        let limit =
            request.asked("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let page: Vec<&Arc<Value>> = all.iter().skip(from).take(limit.min(PAGE)).copied().collect();
        let next = from + page.len();
        let more = if next < all.len() { format!("{version}-{next}") } else { String::new() };
        Ok(json!({
            "apiVersion": kind.api_version(), "kind": format!("{}List", kind.name()),
            "metadata": { "resourceVersion": version.to_string(), "continue": more },
            "items": page.into_iter().map(Arc::as_ref).collect::<Vec<&Value>>(),
        }))
    }

    /// The operators' lease; who takes it and gives it back is told, renewals are not.
    fn answer_about_lease(
        &mut self,
        who: &str,
        namespace: &str,
        request: &Request,
    ) -> Result<Value, Refused> {
        let before = self.holder().map(str::to_owned);
        let name = request.name.as_deref().or(request.body["metadata"]["name"].as_str());
        let key = Key::new(Kind::Lease, namespace, name.unwrap_or_default());
        let lease = match request.verb {
            Verb::Get => self.store.find(&key)?,
            Verb::Create => {
                let now = self.stamp();
                self.store.create(&key, request.body.clone(), &now)?
            }
            Verb::Replace => {
                self.store.update(&key, Part::Main, |lease| *lease = request.body.clone())?
            }
            _ => {
                self.violate(format!("{who} asks for what this model does not serve: {request}"));
                return Err(Refused::new(405, "MethodNotAllowed", "not served by this model"));
            }
        };
        if self.holder() != before.as_deref() {
            let spec = &lease["spec"];
            let (holder, term) = (&spec["holderIdentity"], &spec["leaseTransitions"]);
            self.tell(who, &format!("lets the lease be of {holder}, term {term}"));
        }
        Ok(Value::clone(&lease))
    }

    /// Events are written and forgotten; what the kubelet warned of is told.
    fn answer_about_events(&mut self, request: &Request) -> Result<Value, Refused> {
        match request.verb {
            Verb::Create => {
                let mut event = request.body.clone();
                event["metadata"]["name"] = json!("event-1");
                Ok(event)
            }
            Verb::List => {
                let fields = request.asked("fieldSelector").unwrap_or_default();
                let about =
                    |uid: &str| fields.contains(&format!("involvedObject.uid={uid},type=Warning"));
                let items: Vec<Value> = self
                    .warnings
                    .iter()
                    .filter(|(uid, _)| about(uid))
                    .map(|(uid, message)| json!({
                        "metadata": { "name": "warning", "namespace": NAMESPACE },
                        "involvedObject": { "uid": uid }, "type": "Warning", "reason": "FailedMount",
                        "message": message, "lastTimestamp": self.stamp(),
                    }))
                    .collect();
                Ok(
                    json!({ "apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": items }),
                )
            }
            _ => Err(Refused::new(405, "MethodNotAllowed", "not served by this model")),
        }
    }
}
