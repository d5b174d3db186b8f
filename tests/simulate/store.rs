//! What an API server keeps, by Kubernetes' rules: versions, UIDs, generations, finalizers, graceful deletion, preconditions,
//! subresources, and the history that watches tell.

use crate::refused::Refused;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, sync::Arc};
use tokio::time::Instant;

/// The kinds of objects that the operator has to do with; Events apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Job,
    Command,
    Pod,
    ConfigMap,
    Lease,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Job, Self::Command, Self::Pod, Self::ConfigMap, Self::Lease];

    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Job => "dockeruniversejobs",
            Self::Command => "dockeruniversecommands",
            Self::Pod => "pods",
            Self::ConfigMap => "configmaps",
            Self::Lease => "leases",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Job => "DockerUniverseJob",
            Self::Command => "DockerUniverseCommand",
            Self::Pod => "Pod",
            Self::ConfigMap => "ConfigMap",
            Self::Lease => "Lease",
        }
    }

    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Job | Self::Command => "dockeruniverse.io/v1alpha1",
            Self::Pod | Self::ConfigMap => "v1",
            Self::Lease => "coordination.k8s.io/v1",
        }
    }

    fn has_status(self) -> bool {
        !matches!(self, Self::ConfigMap | Self::Lease)
    }
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}'", self.kind.name(), self.name)
    }
}

/// One version of the store.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) after: Option<Arc<Value>>,
    /// The object as the last change left it, also where that was its end.
    pub(crate) last: Arc<Value>,
    pub(crate) at: Instant,
}

/// Which part of an object a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Status,
    /// The scheduler's: a pod's node and its condition in one write.
    Binding,
}

/// How an object is to be deleted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletion {
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) grace: Option<i64>,
    pub(crate) propagation: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) version: u64,
    /// The version of the last change of anything but the operators' lease, which is renewed all the time.
    pub(crate) work_version: u64,
    /// Watches cannot begin before this version.
    pub(crate) compacted: u64,
    pub(crate) history: Vec<Change>,
    objects: BTreeMap<Key, Arc<Value>>,
    /// How often an object of a name was made, for UIDs that do not depend on what else happened.
    made: BTreeMap<Key, u32>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            version: 1000,
            work_version: 1000,
            compacted: 1000,
            history: Vec::new(),
            objects: BTreeMap::new(),
            made: BTreeMap::new(),
        }
    }
}

impl Store {
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    pub(crate) fn find(&self, key: &Key) -> Result<Arc<Value>, Refused> {
        self.get(key).cloned().ok_or_else(|| Refused::not_found(key))
    }

    /// All objects of a kind, in a namespace or in all.
    pub(crate) fn list(&self, kind: Kind, namespace: Option<&str>) -> Vec<(&Key, &Arc<Value>)> {
        let here = |key: &Key| {
            key.kind == kind && namespace.is_none_or(|namespace| namespace == key.namespace)
        };
        self.objects.iter().filter(|(key, _)| here(key)).collect()
    }

    /// All objects of a kind as they were at an older version.
    pub(crate) fn list_at(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        version: u64,
    ) -> Vec<Arc<Value>> {
        let mut objects: BTreeMap<Key, Arc<Value>> = BTreeMap::new();
        for change in self.history.iter().take_while(|change| change.version <= version) {
            let here = namespace.is_none_or(|namespace| namespace == change.key.namespace);
            if change.key.kind == kind && here {
                match &change.after {
                    Some(after) => objects.insert(change.key.clone(), after.clone()),
                    None => objects.remove(&change.key),
                };
            }
        }
        objects.into_values().collect()
    }

    fn commit(&mut self, key: &Key, mut object: Value, removed: bool) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let last = Arc::new(object);
        let after = (!removed).then(|| last.clone());
        let before = match &after {
            Some(after) => self.objects.insert(key.clone(), after.clone()),
            None => self.objects.remove(key),
        };
        if key.kind == Kind::Lease {
            return last; // nobody watches it
        }
        self.work_version = self.version;
        self.history.push(Change {
            version: self.version,
            key: key.clone(),
            before,
            after,
            last: last.clone(),
            at: Instant::now(),
        });
        last
    }

    pub(crate) fn create(
        &mut self,
        key: &Key,
        mut object: Value,
        now: &str,
    ) -> Result<Arc<Value>, Refused> {
        if self.objects.contains_key(key) {
            return Err(Refused::already_exists(key));
        }
        let made = self.made.entry(key.clone()).or_default();
        *made += 1;
        let uid = crate::chance::Chance::of(u64::from(*made), &format!("{key:?}")).next();
        object["apiVersion"] = json!(key.kind.api_version());
        object["kind"] = json!(key.kind.name());
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(key.name);
        metadata["namespace"] = json!(key.namespace);
        metadata["uid"] =
            json!(format!("{:08x}-0000-4000-8000-{:012x}", uid >> 32, uid & 0xffff_ffff));
        metadata["creationTimestamp"] = json!(now);
        metadata["generation"] = json!(1);
        let fields = object.as_object_mut().unwrap();
        if key.kind.has_status() {
            fields.remove("status");
        }
        if key.kind == Kind::Pod {
            fields.insert("status".into(), json!({ "phase": "Pending", "qosClass": "Burstable" }));
        }
        Ok(self.commit(key, object, false))
    }

    /// Changes an object. What `change` makes of its resource version and UID are the write's preconditions.
    pub(crate) fn update(
        &mut self,
        key: &Key,
        part: Part,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, Refused> {
        let old = self.find(key)?;
        let mut new = Value::clone(&old);
        change(&mut new);
        let said =
            |object: &Value, field: &str| object["metadata"][field].as_str().map(str::to_owned);
        let other =
            |field: &str| said(&new, field).is_some_and(|new| Some(new) != said(&old, field));
        if other("resourceVersion") {
            return Err(Refused::conflict(
                key,
                "the object has been modified; please apply your changes to the latest version and try again",
            ));
        }
        if other("uid") {
            return Err(Refused::invalid(key, "metadata.uid: Invalid value: field is immutable"));
        }
        let mut merged = Value::clone(&old);
        match part {
            Part::Status => merged["status"] = new["status"].take(),
            Part::Binding => merged = new,
            Part::Main => {
                for (field, value) in new.as_object_mut().unwrap() {
                    if field != "status" && field != "metadata" {
                        merged[field] = value.take();
                    }
                }
                for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
                    merged["metadata"][field] = new["metadata"][field].take();
                }
            }
        }
        prune(&mut merged);
        if merged["spec"] != old["spec"] {
            let generation = merged["metadata"]["generation"].as_i64().unwrap_or_default();
            merged["metadata"]["generation"] = json!(generation + 1);
        }
        if merged == *old {
            return Ok(old); // what changes nothing is no new version
        }
        let removed = is_deleting(&merged) && is_free(&merged) && grace(&merged).unwrap_or(0) == 0;
        Ok(self.commit(key, merged, removed))
    }

    /// Deletes an object, or begins to.
    pub(crate) fn delete(
        &mut self,
        key: &Key,
        how: &Deletion,
        now: jiff::Timestamp,
    ) -> Result<Arc<Value>, Refused> {
        let old = self.find(key)?;
        let differs = |wanted: &Option<String>, field: &str| {
            wanted.as_deref().is_some_and(|wanted| old["metadata"][field].as_str() != Some(wanted))
        };
        if differs(&how.uid, "uid") || differs(&how.version, "resourceVersion") {
            return Err(Refused::conflict(
                key,
                "Precondition failed: UID in precondition is another",
            ));
        }
        let mut new = Value::clone(&old);
        let wanted = if key.kind == Kind::Pod { graceful(&old, how.grace) } else { 0 };
        if key.kind != Kind::Pod {
            let held = match how.propagation.as_deref() {
                Some("Foreground") => Some("foregroundDeletion"),
                Some("Orphan") => Some("orphan"),
                _ => None,
            };
            if let Some(held) = held {
                let mut finalizers =
                    new["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
                finalizers.push(json!(held));
                new["metadata"]["finalizers"] = json!(finalizers);
            }
        }
        if is_deleting(&old) && grace(&old).unwrap_or(0) <= wanted {
            let removed = is_free(&old) && wanted == 0;
            return Ok(if removed { self.commit(key, new, true) } else { old });
        }
        let end = jiff::Timestamp::from_second(now.as_second() + wanted).unwrap();
        new["metadata"]["deletionTimestamp"] = json!(end.to_string());
        new["metadata"]["deletionGracePeriodSeconds"] = json!(wanted);
        let removed = wanted == 0 && is_free(&new);
        if removed && key.kind == Kind::Pod {
            // A watch tells of the deletion without grace first, and then of the end.
            self.commit(key, new.clone(), false);
        }
        Ok(self.commit(key, new, removed))
    }
}

/// A pod that no kubelet has to end goes at once.
fn graceful(pod: &Value, asked: Option<i64>) -> i64 {
    let bound = pod["spec"]["nodeName"].is_string();
    let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !bound || over {
        return 0;
    }
    asked.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30)
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn is_free(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
}

fn grace(object: &Value) -> Option<i64> {
    object["metadata"]["deletionGracePeriodSeconds"].as_i64()
}

/// Fields without a value are not there.
fn prune(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.retain(|_, value| !value.is_null());
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null() && *value != json!([]) && *value != json!({}));
    }
}
