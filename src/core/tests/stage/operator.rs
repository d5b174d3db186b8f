//! The operator's shell in small: a view of the server that may be old, `decide`, and the effects in their order.
//!
//! Invariant: the view is never older than what the operator itself was answered; everything but the view can be lost.

use super::{CLUSTER, Server, server::Answer};
use duj_api::{DockerUniverseCommand, DockerUniverseJob, names};
use duj_core::{
    decide::decide,
    facts::PodFacts,
    observed::{Decision, Effect, Observed, Refusal, RefusalKind, Room},
    patch,
    queue::Items,
    settings::Settings,
    spill::Page,
};
use duj_protocol::{lease::Mark, transfer::Report};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use std::{collections::BTreeMap, sync::Arc};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It does not arrive.
    Lost,
    /// It is carried out, and nobody hears of it.
    Unanswered,
}

/// The operator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operator {
    pub(crate) settings: Settings,
    pub(crate) job: Option<DockerUniverseJob>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) commands: BTreeMap<String, DockerUniverseCommand>,
    /// What was kept of the text of the job's items.
    kept: Option<String>,
    refusal: Option<Refusal>,
    uncommitted_since: Option<Timestamp>,
    policies_due: Option<Timestamp>,
    /// Pages of records: what is in them does not change, so they are looked up when they are needed.
    pages: BTreeMap<String, Arc<Page>>,
    pub(crate) leading_since: Timestamp,
    pub(crate) room: Room,
    /// A pod whose creation was never answered.
    unsure: Option<String>,
    /// What it heard of transfers, by pod.
    pub(crate) heard: BTreeMap<String, Report>,
    /// What the last reconciliation did to the server, in order.
    pub(crate) deeds: Vec<String>,
}

/// The pass is over: an answer is missing, or says that the facts were old.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl Operator {
    /// Sees everything as it is.
    pub(crate) fn look(&mut self, server: &Server) {
        self.job.clone_from(&server.job);
        self.pods.clone_from(&server.pods);
        self.commands.clone_from(&server.commands);
        self.heard.clone_from(&server.said);
    }

    /// The watch tells of one pod.
    pub(crate) fn look_at_pod(&mut self, server: &Server, name: &str) {
        match server.pods.get(name) {
            Some(pod) => self.pods.insert(name.to_owned(), pod.clone()),
            None => self.pods.remove(name),
        };
    }

    /// A new process: it remembers nothing and lists everything.
    pub(crate) fn restart(&mut self, server: &Server) {
        *self = Self { settings: self.settings.clone(), ..Self::default() };
        self.pages = server.records.clone();
        self.look(server);
    }

    /// All facts about the job, as far as they are known.
    pub(crate) fn observed(&self, now: Timestamp) -> Option<Observed> {
        let job = self.job.clone()?;
        Some(Observed {
            items: self.items(&job),
            job,
            pods: self
                .pods
                .values()
                .filter_map(PodFacts::read)
                .map(|pod| Arc::new(self.hear(pod)))
                .collect(),
            commands: self
                .commands
                .values()
                .filter(|command| command.status.is_none())
                .cloned()
                .collect(),
            fresh_cluster_id: CLUSTER,
            refusal: self.refusal.clone(),
            uncommitted_since: self.uncommitted_since,
            pages: self.pages.values().cloned().collect(),
            policies_due: self.policies_due,
            leading_since: self.leading_since,
            room: self.room.clone(),
            now,
        })
    }

    /// What can be read of the items is kept before anything is decided.
    fn keep_items(&mut self, server: &mut Server) {
        let queue = self.job.as_ref().and_then(|job| job.spec.queue.as_ref());
        let items = queue.and_then(|queue| queue.items.as_ref());
        let of_key = items.is_some_and(|items| items.config_map_key_ref.is_some());
        if of_key && server.kept.is_none() && Items::read(queue, server.list.as_deref()).is_ok() {
            server.kept.clone_from(&server.list);
        }
        self.kept.clone_from(&server.kept);
    }

    /// The items, as far as they are kept.
    fn items(&self, job: &DockerUniverseJob) -> Result<Arc<Items>, String> {
        let queue = job.spec.queue.as_ref();
        let items = queue.and_then(|queue| queue.items.as_ref());
        match items.and_then(|items| items.config_map_key_ref.as_ref()) {
            Some(source) if self.kept.is_none() => {
                Err(format!("the ConfigMap '{}' does not exist", source.name))
            }
            _ => Items::read(queue, self.kept.as_deref()).map(Arc::new),
        }
    }

    fn hear(&self, pod: PodFacts) -> PodFacts {
        PodFacts { heard: self.heard.get(&pod.name).cloned().map(Box::new), ..pod }
    }

    /// One pass: observe, decide, perform.
    pub(crate) fn reconcile(
        &mut self,
        server: &mut Server,
        now: Timestamp,
        fault: &mut dyn FnMut() -> Fault,
    ) -> Result<Option<Decision>, Interrupted> {
        self.deeds.clear();
        self.keep_items(server);
        let Some(observed) = self.observed(now) else {
            self.release_orphans(server);
            return Ok(None);
        };
        let decision = decide(&observed, &self.settings);
        self.policies_due = decision.policies_due.or(self.policies_due);
        for effect in decision.before.clone() {
            self.perform(server, effect, now, fault())?;
        }
        if decision.deferred {
            self.uncommitted_since.get_or_insert(now);
        } else {
            self.uncommitted_since = None;
        }
        if let Some(status) = decision.status.clone() {
            self.deeds.push("Status".into());
            let version = observed.job.metadata.resource_version.as_deref();
            let patch = patch::of_status(observed.job.status.as_ref(), &status);
            let written =
                request(fault(), || server.write_status(version, &patch)).ok_or(Interrupted)?;
            self.job = Some(written.map_err(|_| Interrupted)?);
            self.refusal.take_if(|refusal| refusal.kind == RefusalKind::Permanent);
        }
        for effect in decision.after.clone() {
            self.perform(server, effect, now, fault())?;
        }
        Ok(Some(decision))
    }

    fn release_orphans(&mut self, server: &mut Server) {
        for pod in self.pods.values().filter_map(PodFacts::read).filter(|pod| pod.unaccounted) {
            if server.job.is_none() {
                server.release_pod(&pod.name, &pod.uid);
            }
        }
    }

    fn perform(
        &mut self,
        server: &mut Server,
        effect: Effect,
        now: Timestamp,
        fault: Fault,
    ) -> Result<(), Interrupted> {
        self.deeds.push(name_of(&effect));
        match effect {
            Effect::CreatePod(pod) => self.create_pod(server, *pod, now, fault)?,
            Effect::DeletePod { name, uid, grace } => {
                let delete = || server.delete_pod_within(&name, &uid, now, grace.map(i64::from));
                request(fault, delete).ok_or(Interrupted)?;
            }
            Effect::SuspendPod { name, uid, suspended } => {
                request(fault, || server.suspend_pod(&name, &uid, suspended)).ok_or(Interrupted)?;
            }
            Effect::AnnounceStop { name, uid, why, at } => {
                let value = format!("{why} {}", at.as_millisecond());
                request(fault, || server.annotate(&name, &uid, names::ANNOTATION_STOP, value))
                    .ok_or(Interrupted)?;
            }
            Effect::Resend { name, uid, number } => {
                request(fault, || {
                    server.annotate(&name, &uid, names::ANNOTATION_RESEND, number.to_string());
                })
                .ok_or(Interrupted)?;
            }
            Effect::MarkLease { name, uid, version, mark } => {
                let marked = request(fault, || server.mark_lease(&name, &uid, &version, mark));
                marked.ok_or(Interrupted)?.map_err(|_| Interrupted)?;
            }
            Effect::ReleasePod { name, uid } => {
                request(fault, || server.release_pod(&name, &uid)).ok_or(Interrupted)?;
            }
            Effect::ForgetPods(pods) => {
                for pod in &pods {
                    let delete = || server.delete_pod_within(&pod.name, &pod.uid, now, None);
                    request(fault, delete).ok_or(Interrupted)?;
                }
            }
            Effect::AppendPages(parts) => {
                for part in &parts {
                    request(fault, || server.append_page(part)).ok_or(Interrupted)?;
                }
            }
            Effect::Answer { name, version, status } => {
                request(fault, || server.answer(&name, &version, status)).ok_or(Interrupted)?;
            }
            Effect::MakeRecords(page) => {
                request(fault, || server.make_records(&page)).ok_or(Interrupted)?;
                self.pages.insert(page.name.clone(), page);
            }
            Effect::DropRecords(name) => {
                request(fault, || server.drop_records(&name)).ok_or(Interrupted)?;
            }
            Effect::DeleteJob => request(fault, || server.delete_job(now)).ok_or(Interrupted)?,
            Effect::Event { .. } => {}
        }
        Ok(())
    }

    fn create_pod(
        &mut self,
        server: &mut Server,
        pod: Pod,
        now: Timestamp,
        fault: Fault,
    ) -> Result<(), Interrupted> {
        let name = pod.metadata.name.clone().unwrap();
        if let Some(unsure) = self.unsure.take_if(|unsure| *unsure != name) {
            self.look_at_pod(server, &unsure);
            if self.pods.contains_key(&unsure) {
                return Err(Interrupted);
            }
        }
        self.unsure = Some(name.clone());
        let answer = request(fault, || server.create_pod(pod, now)).ok_or(Interrupted)?;
        self.unsure = None;
        match answer {
            Ok(made) => {
                self.refusal = None;
                self.room.pods = self.room.pods.saturating_sub(1);
                self.pods.insert(name, made);
                Ok(())
            }
            Err(Answer::Refused(kind, message)) => {
                let wait = if kind == RefusalKind::Permanent { 0 } else { 5 };
                let retry = now + SignedDuration::from_secs(wait);
                self.refusal = Some(Refusal { kind, message, retry });
                Err(Interrupted)
            }
            Err(_) => {
                self.look_at_pod(server, &name);
                Err(Interrupted)
            }
        }
    }
}

fn request<T>(fault: Fault, act: impl FnOnce() -> T) -> Option<T> {
    match fault {
        Fault::Lost => None,
        Fault::None => Some(act()),
        Fault::Unanswered => {
            act();
            None
        }
    }
}

fn name_of(effect: &Effect) -> String {
    let attempt = |name: &str| name.trim_start_matches("hello-0a1b2c3d-").to_owned();
    match effect {
        Effect::CreatePod(pod) => {
            let copied = pod.spec.as_ref().is_some_and(|spec| spec.init_containers.is_some());
            let how = if copied { " with init container" } else { "" };
            format!("CreatePod {}{how}", attempt(pod.metadata.name.as_deref().unwrap_or_default()))
        }
        Effect::DeletePod { name, grace, .. } => {
            let within = grace.map_or_else(String::new, |grace| format!(" within {grace} s"));
            format!("DeletePod {}{within}", attempt(name))
        }
        Effect::SuspendPod { name, suspended, .. } => {
            format!("{} {}", if *suspended { "SuspendPod" } else { "ContinuePod" }, attempt(name))
        }
        Effect::AnnounceStop { name, why, .. } => format!("AnnounceStop {} {why}", attempt(name)),
        Effect::Resend { name, number, .. } => format!("Resend {} number {number}", attempt(name)),
        Effect::MarkLease { name, mark, .. } => {
            let what = match mark {
                Mark::Token(_) => "RenewLease",
                Mark::Revoked(_) => "RevokeLease",
                Mark::Over(_) => "EndLease",
            };
            format!("{what} {}", attempt(name))
        }
        Effect::ReleasePod { name, .. } => format!("ReleasePod {}", attempt(name)),
        Effect::ForgetPods(pods) => {
            format!("ForgetPods {:?}", pods.iter().map(|pod| pod.proc).collect::<Vec<_>>())
        }
        Effect::MakeRecords(page) => format!("MakeRecords {}", page.name),
        Effect::DropRecords(name) => format!("DropRecords {name}"),
        Effect::AppendPages(parts) => {
            format!("AppendPages {:?}", parts.iter().map(|part| part.number).collect::<Vec<_>>())
        }
        Effect::Answer { status, .. } => {
            format!("Answer +{} -{} '{}'", status.accepted, status.refused, status.message)
        }
        Effect::DeleteJob => "DeleteJob".into(),
        Effect::Event { warning, reason, .. } => {
            format!("Event {} {reason}", if *warning { "Warning" } else { "Normal" })
        }
    }
}
