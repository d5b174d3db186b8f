//! An API server with one job, its pods and its commands.
//!
//! Invariant: each change gives the object a new version; an object with a `deletionTimestamp` goes when it has no
//! finalizer left and its kubelet (if it has one) has confirmed its end.

use duj_api::{DockerUniverseCommand, DockerUniverseCommandStatus, DockerUniverseJob, names};
use duj_core::{
    observed::{LogPart, RefusalKind},
    spill::Page,
};
use duj_protocol::lease::Mark;
use duj_protocol::transfer::Report;
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// What is stored, and how creations of pods are answered.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) job: Option<DockerUniverseJob>,
    pub(crate) pods: BTreeMap<String, Pod>,
    /// Pages of records, by name.
    pub(crate) records: BTreeMap<String, Arc<Page>>,
    pub(crate) commands: BTreeMap<String, DockerUniverseCommand>,
    /// The text of the `ConfigMap` that its items come from.
    pub(crate) list: Option<String>,
    /// What was kept of it.
    pub(crate) kept: Option<String>,
    /// Pages of the log: the parts that each holds.
    pub(crate) pages: BTreeMap<i64, Vec<String>>,
    /// The last line of the log of each pod's container `transfer`.
    pub(crate) said: BTreeMap<String, Report>,
    /// Answer to the creation of pods, if not 201.
    pub(crate) refuses: Option<(RefusalKind, String)>,
    /// Changes so far.
    pub(crate) version: u64,
}

/// The answers that an operator tells apart.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    AlreadyExists,
    Conflict,
    Refused(RefusalKind, String),
}

impl Server {
    pub(crate) fn with(mut job: DockerUniverseJob) -> Self {
        job.metadata.resource_version = Some("1".into());
        Self {
            job: Some(job),
            pods: BTreeMap::new(),
            records: BTreeMap::new(),
            commands: BTreeMap::new(),
            list: None,
            kept: None,
            pages: BTreeMap::new(),
            said: BTreeMap::new(),
            refuses: None,
            version: 1,
        }
    }

    fn next(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// The operator makes a page of records, unless it is there.
    pub(crate) fn make_records(&mut self, page: &Arc<Page>) {
        let there = self.records.entry(page.name.clone()).or_insert_with(|| page.clone());
        assert_eq!(there, page, "the same name is the same page");
    }

    /// The operator deletes a page of records.
    pub(crate) fn drop_records(&mut self, name: &str) {
        self.records.remove(name);
    }

    /// The operator puts a part of the log into its page, unless it is there.
    pub(crate) fn append_page(&mut self, part: &LogPart) {
        let held = self.pages.entry(part.page()).or_default();
        let place = usize::try_from(part.place()).unwrap();
        if held.len() > place {
            assert_eq!(held[place], part.text, "the same part is the same text");
        } else {
            assert_eq!(held.len(), place, "no part is left out");
            held.push(part.text.clone());
        }
    }

    /// The whole log: the pages in their order, then the text.
    pub(crate) fn log(&self) -> String {
        let status = self.job.as_ref().and_then(|job| job.status.as_ref());
        let text = status.and_then(|status| status.user_log.as_ref()).map(|log| log.text.as_str());
        // A part whose status was not written stands in both.
        let parts = status.and_then(|status| status.user_log.as_ref()).map_or(0, |log| log.parts);
        let pages = self.pages.values().flatten().map(String::as_str);
        pages.take(usize::try_from(parts).unwrap()).chain(text).collect()
    }

    /// The job's owner edits the specification.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut DockerUniverseJob)) {
        let version = self.next();
        let Some(job) = &mut self.job else { return };
        let before = job.spec.clone();
        change(job);
        job.metadata.resource_version = Some(version);
        if job.spec != before {
            job.metadata.generation = job.metadata.generation.map(|generation| generation + 1);
        }
    }

    /// A merge patch, as the real server applies and stores it: what it does not name stays, times are cut to seconds.
    pub(crate) fn write_status(
        &mut self,
        resource_version: Option<&str>,
        patch: &Value,
    ) -> Result<DockerUniverseJob, Answer> {
        let version = self.next();
        let job = self.job.as_mut().ok_or(Answer::Conflict)?;
        if job.metadata.resource_version.as_deref() != resource_version {
            return Err(Answer::Conflict);
        }
        let mut stored = serde_json::to_value(&job.status).unwrap();
        merge(&mut stored, patch);
        job.status = serde_json::from_value(stored).unwrap();
        job.metadata.resource_version = Some(version);
        Ok(job.clone())
    }

    pub(crate) fn create_pod(&mut self, mut pod: Pod, now: Timestamp) -> Result<Pod, Answer> {
        let name = pod.metadata.name.clone().unwrap();
        if let Some((kind, message)) = self.refuses.clone() {
            return Err(Answer::Refused(kind, message)); // before it looks whether the name is taken
        }
        if self.pods.contains_key(&name) {
            return Err(Answer::AlreadyExists);
        }
        let version = self.next();
        pod.metadata.uid = Some(format!("pod-{version}"));
        pod.metadata.resource_version = Some(version);
        pod.metadata.creation_timestamp = Some(Time(now));
        self.pods.insert(name, pod.clone());
        Ok(pod)
    }

    /// Anybody changes a pod.
    pub(crate) fn change_pod(&mut self, name: &str, change: impl FnOnce(&mut Pod)) {
        let version = self.next();
        let Some(pod) = self.pods.get_mut(name) else { return };
        change(pod);
        pod.metadata.resource_version = Some(version);
        let confirmed = pod.metadata.deletion_timestamp.is_some()
            && pod.metadata.deletion_grace_period_seconds == Some(0);
        if confirmed && pod.metadata.finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.pods.remove(name);
        }
    }

    /// A pod without a node, or one that is over, needs nobody's confirmation.
    pub(crate) fn delete_pod(&mut self, name: &str, uid: &str, now: Timestamp) {
        self.delete_pod_within(name, uid, now, None);
    }

    /// The operator writes the annotation that the starter reads.
    pub(crate) fn suspend_pod(&mut self, name: &str, uid: &str, suspended: bool) {
        if self.pods.get(name).is_some_and(|pod| pod.metadata.uid.as_deref() == Some(uid)) {
            self.change_pod(name, |pod| {
                let annotations = pod.metadata.annotations.get_or_insert_default();
                if suspended {
                    annotations.insert(names::ANNOTATION_SUSPEND.into(), "true".into());
                } else {
                    annotations.remove(names::ANNOTATION_SUSPEND);
                }
            });
        }
    }

    /// The operator writes an annotation that `transfer` reads.
    pub(crate) fn annotate(&mut self, name: &str, uid: &str, annotation: &str, value: String) {
        if self.pods.get(name).is_some_and(|pod| pod.metadata.uid.as_deref() == Some(uid)) {
            self.change_pod(name, |pod| {
                let annotations = pod.metadata.annotations.get_or_insert_default();
                annotations.insert(annotation.into(), value);
            });
        }
    }

    /// The operator writes the lease that the starter reads, if the pod is still as it saw it.
    pub(crate) fn mark_lease(
        &mut self,
        name: &str,
        uid: &str,
        version: &str,
        mark: Mark,
    ) -> Result<(), Answer> {
        let Some(pod) = self.pods.get(name).filter(|pod| pod.metadata.uid.as_deref() == Some(uid))
        else {
            return Ok(());
        };
        if pod.metadata.resource_version.as_deref() != Some(version) {
            return Err(Answer::Conflict);
        }
        self.change_pod(name, |pod| {
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(names::ANNOTATION_LEASE.into(), mark.to_string());
        });
        Ok(())
    }

    /// A pod is deleted with this grace instead of its own.
    pub(crate) fn delete_pod_within(
        &mut self,
        name: &str,
        uid: &str,
        now: Timestamp,
        wanted: Option<i64>,
    ) {
        if self.pods.get(name).is_some_and(|pod| pod.metadata.uid.as_deref() == Some(uid)) {
            self.change_pod(name, |pod| {
                let spec = pod.spec.as_ref().unwrap();
                let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                let at_once =
                    spec.node_name.is_none() || matches!(phase, Some("Failed" | "Succeeded"));
                let grace = if at_once {
                    Some(0)
                } else {
                    wanted.or(spec.termination_grace_period_seconds)
                };
                let asked = pod.metadata.deletion_grace_period_seconds;
                pod.metadata.deletion_grace_period_seconds = asked.or(grace).min(grace);
                pod.metadata.deletion_timestamp.get_or_insert(Time(now));
            });
        }
    }

    pub(crate) fn release_pod(&mut self, name: &str, uid: &str) {
        if self.pods.get(name).is_some_and(|pod| pod.metadata.uid.as_deref() == Some(uid)) {
            self.change_pod(name, |pod| {
                if let Some(finalizers) = &mut pod.metadata.finalizers {
                    finalizers.retain(|finalizer| finalizer != names::FINALIZER_ACCOUNTED);
                }
            });
        }
    }

    /// The job goes, and the garbage collector deletes its pods.
    pub(crate) fn delete_job(&mut self, now: Timestamp) {
        self.version += 1;
        self.job = None;
        let pods: Vec<(String, String)> = self
            .pods
            .iter()
            .map(|(name, pod)| (name.clone(), pod.metadata.uid.clone().unwrap()))
            .collect();
        for (name, uid) in pods {
            self.delete_pod(&name, &uid, now);
        }
    }

    /// A person gives a command.
    pub(crate) fn command(&mut self, spec: Value, now: Timestamp) -> String {
        let version = self.next();
        let name = format!("command-{version}");
        let command: DockerUniverseCommand = serde_json::from_value(json!({
            "apiVersion": "dockeruniverse.io/v1alpha1",
            "kind": "DockerUniverseCommand",
            "metadata": {
                "name": name, "namespace": "physics", "uid": name, "resourceVersion": version,
                "creationTimestamp": Time(now),
            },
            "spec": spec,
        }))
        .unwrap();
        self.commands.insert(name.clone(), command);
        name
    }

    /// Somebody deletes a command and makes another one of its name.
    pub(crate) fn replace_command(&mut self, name: &str, spec: Value, now: Timestamp) {
        let made = self.command(spec, now);
        let mut command = self.commands.remove(&made).unwrap();
        command.metadata.name = Some(name.to_owned());
        self.commands.insert(name.to_owned(), command);
    }

    pub(crate) fn answer(
        &mut self,
        name: &str,
        version: &str,
        status: DockerUniverseCommandStatus,
    ) {
        let is_it = |command: &&mut DockerUniverseCommand| {
            command.metadata.resource_version.as_deref() == Some(version)
        };
        if let Some(command) = self.commands.get_mut(name).filter(is_it) {
            command.status = Some(status);
            self.version += 1;
            command.metadata.resource_version = Some(self.version.to_string());
        }
    }
}

/// RFC 7386, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}
