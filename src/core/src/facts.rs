//! One pod as the decision sees it: only the facts that a decision reads, in `HTCondor`-neutral words.
//!
//! Whatever others wrote on a pod (labels, annotations, statuses) is read here, once, without panic: what cannot be
//! understood is absent. Invariant: a pod is ours only by its controller owner's UID and by the name that its proc and
//! attempt give it: both are immutable or guarded, while anybody may edit labels.

use crate::lease::Lease;
use duj_api::names;
use duj_protocol::{
    Outcome, Record, control,
    transfer::{ImageCommand, Report, State},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "Kubernetes' own words")]
pub enum Phase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

/// A container's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Why it waits: reason and message.
    pub waiting: Option<(String, String)>,
    /// Since when it runs.
    pub running: Option<Timestamp>,
    /// How it ended.
    pub terminated: Option<Terminated>,
    /// The kubelet's last word on its readiness.
    pub ready: bool,
    /// The runtime's identifier of the image.
    pub image_id: String,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terminated {
    /// Exit status as the runtime reports it.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …
    pub reason: String,
    /// The termination message.
    pub message: String,
    /// When it began to run; absent where the runtime never started it.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// What is known about one pod of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its resource version: what may only be written if nobody else wrote meanwhile is guarded by it.
    pub version: String,
    /// UID of the job that controls it.
    pub owner: String,
    /// `ProcId`.
    pub proc: u32,
    /// Number of the attempt.
    pub attempt: u32,
    /// `ClusterId` that it was made with.
    pub cluster_id: Option<i64>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its node, once bound.
    pub node: Option<String>,
    /// Its node's address.
    pub host_ip: Option<String>,
    /// When it was bound to its node.
    pub scheduled: Option<Timestamp>,
    /// The scheduler's words why it is not bound.
    pub unschedulable: Option<String>,
    /// Set where its deletion was asked for.
    pub deleting: Option<Timestamp>,
    /// Its deletion was confirmed by its kubelet, or forced.
    pub deleted_at_once: bool,
    /// Our finalizer is on it.
    pub unaccounted: bool,
    /// Its starter was told to stop the job where it stands.
    pub suspended: bool,
    /// Its job's lease, where it has one.
    pub lease: Option<Lease>,
    /// Its phase.
    pub phase: Phase,
    /// The pod's own reason and message (`Evicted`, `OutOfcpu`, …).
    pub reason: String,
    /// See `reason`.
    pub message: String,
    /// Condition `DisruptionTarget`: reason and message.
    pub disruption: Option<(String, String)>,
    /// Condition `Ready` is false although the kubelet's last word was that the job's container is ready: the node
    /// controller wrote it, because the node does not answer. Since when.
    pub unreachable: Option<Timestamp>,
    /// The user's container.
    pub job: ContainerFacts,
    /// The init container that brings what the job needs, where there is one.
    pub prepare: Option<Box<ContainerFacts>>,
    /// The container that sends its outputs, where there is one.
    pub transfer: Option<Box<ContainerFacts>>,
    /// What `prepare` came to, where it brought something.
    pub prepared: Option<Box<Report>>,
    /// What `transfer` came to.
    pub sent: Option<Box<Report>>,
    /// What `prepare` or `transfer` last said while it ran, where the shell has asked.
    pub heard: Option<Box<Report>>,
    /// The image that the job runs in, where `prepare` may have looked at it.
    pub image: Option<String>,
    /// What its `transfer` was told of why the job is about to be stopped, and when.
    pub stop_told: Option<(String, Timestamp)>,
    /// How often it was told to send its outputs again.
    pub resends: u32,
    /// Reference of the image that carries its starter, while its job has not begun.
    pub starter_image: Option<String>,
    /// The kubelet's last warning about volumes that it cannot mount, where the shell has looked.
    pub trouble: Option<String>,
}

impl PodFacts {
    /// Reads a pod. `None` for one that is not a job's: no controller, or not the name that this operator gives.
    pub fn read(pod: &Pod) -> Option<Self> {
        let owner =
            pod.metadata.owner_references.iter().flatten().find(|owner| {
                owner.controller == Some(true) && owner.kind == "DockerUniverseJob"
            })?;
        let label = |name: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(name));
        let annotation = |name: &str| pod.metadata.annotations.as_ref()?.get(name);
        let name = pod.metadata.name.clone()?;
        let (proc, attempt) = proc_and_attempt(&name, owner)?;
        let spec_node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let mut facts = Self {
            name,
            uid: pod.metadata.uid.clone()?,
            version: pod.metadata.resource_version.clone().unwrap_or_default(),
            owner: owner.uid.clone(),
            proc,
            attempt,
            cluster_id: label(names::LABEL_CLUSTER_ID).and_then(|text| text.parse().ok()),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            node: spec_node.filter(|name| !name.is_empty()),
            deleting: pod.metadata.deletion_timestamp.as_ref().map(|time| time.0),
            deleted_at_once: pod.metadata.deletion_timestamp.is_some()
                && pod.metadata.deletion_grace_period_seconds == Some(0),
            unaccounted: pod
                .metadata
                .finalizers
                .iter()
                .flatten()
                .any(|finalizer| finalizer == names::FINALIZER_ACCOUNTED),
            suspended: annotation(names::ANNOTATION_SUSPEND)
                .is_some_and(|value| value == control::SUSPENDED),
            lease: Lease::read(pod),
            transfer: container_spec(pod, names::CONTAINER_TRANSFER).map(|_| Box::default()),
            image: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.init_containers.as_ref())
                .and_then(|_| container_spec(pod, names::CONTAINER_JOB)?.image.clone()),
            resends: annotation(names::ANNOTATION_RESEND)
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
            stop_told: annotation(names::ANNOTATION_STOP).and_then(|text| {
                let (why, time) = text.split_once(' ')?;
                Some((why.to_owned(), Timestamp::from_millisecond(time.parse().ok()?).ok()?))
            }),
            ..Self::default()
        };
        if let Some(status) = &pod.status {
            facts.read_status(status);
        }
        if facts.job.running.is_none() && facts.job.terminated.is_none() {
            facts.starter_image = pod.spec.as_ref().and_then(starter_image);
        }
        Some(facts)
    }

    fn read_status(&mut self, status: &PodStatus) {
        self.phase = match status.phase.as_deref() {
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            Some("Unknown") => Phase::Unknown,
            _ => Phase::Pending,
        };
        self.reason = status.reason.clone().unwrap_or_default();
        self.message = status.message.clone().unwrap_or_default();
        self.host_ip.clone_from(&status.host_ip);
        let of = |name: &str| {
            let status = status.container_statuses.iter().flatten().find(|c| c.name == name);
            status.map(container)
        };
        self.job = of(names::CONTAINER_JOB).unwrap_or_default();
        if self.transfer.is_some() {
            self.transfer = Some(Box::new(of(names::CONTAINER_TRANSFER).unwrap_or_default()));
        }
        self.prepare = status
            .init_container_statuses
            .iter()
            .flatten()
            .find(|c| c.name == names::CONTAINER_PREPARE)
            .map(|status| Box::new(container(status)));
        // Read once: a decision asks for them of each pod.
        self.prepared = self.prepare.as_deref().and_then(report);
        self.sent = self.transfer.as_deref().and_then(report);
        for condition in status.conditions.iter().flatten() {
            let holds = condition.status == "True";
            let since = condition.last_transition_time.as_ref().map(|time| time.0);
            let words = || {
                let reason = condition.reason.clone().unwrap_or_default();
                (reason, condition.message.clone().unwrap_or_default())
            };
            match condition.type_.as_str() {
                "PodScheduled" if holds => self.scheduled = since,
                "PodScheduled" => {
                    self.unschedulable = Some(words().1).filter(|text| !text.is_empty());
                }
                "DisruptionTarget" if holds => self.disruption = Some(words()),
                "Ready"
                    if !holds
                        && !is_kubelets(&words().0)
                        && self.job.ready
                        && self.job.running.is_some() =>
                {
                    self.unreachable = since.or(self.created);
                }
                _ => {}
            }
        }
    }

    /// What is left to know of a pod that has ended and whose end is accounted: whose it is, and since when it has ended. Of
    /// a job of many procs most pods are such.
    #[must_use]
    pub fn folded(self) -> Self {
        if !self.ended() || self.unaccounted || self.deleting.is_some() {
            return self;
        }
        let end = self.job.terminated.map(|end| Terminated {
            message: String::new(),
            reason: String::new(),
            ..end
        });
        Self {
            job: ContainerFacts { terminated: end, ..ContainerFacts::default() },
            name: self.name,
            uid: self.uid,
            version: self.version,
            owner: self.owner,
            proc: self.proc,
            attempt: self.attempt,
            cluster_id: self.cluster_id,
            created: self.created,
            node: self.node,
            phase: self.phase,
            ..Self::default()
        }
    }

    /// The attempt is over: nothing of it runs, or can run again (rule 2 of the design's `decide()`).
    pub fn ended(&self) -> bool {
        (self.job.terminated.is_some() && !self.is_sending())
            || matches!(self.phase, Phase::Succeeded | Phase::Failed)
            || (self.deleting.is_some() && self.node.is_none())
            || (self.deleted_at_once && self.unreachable.is_some())
            || self.is_lost()
    }

    /// The job's process has ended, and its outputs are on their way, or are kept.
    pub fn is_sending(&self) -> bool {
        // What was never begun has nothing to send, and `transfer` waits in vain for its beginning.
        let began = self.job.terminated.as_ref().is_some_and(|end| end.started.is_some());
        let idle = self.heard.as_ref().is_some_and(|report| report.state == State::Waiting);
        began && !idle && self.transfer.as_ref().is_some_and(|c| c.terminated.is_none())
    }

    /// What its `prepare` found out about this image.
    pub fn found(&self, image: &str) -> Option<&ImageCommand> {
        let found = self.prepared.as_ref()?.image.as_ref()?;
        (self.image.as_deref() == Some(image)).then_some(found)
    }

    /// Its starter says that the job did not begin, or nothing at all.
    pub fn has_no_outputs(&self) -> bool {
        let message = self.job.terminated.as_ref().map_or("", |end| &end.message);
        Record::from_message(message)
            .is_none_or(|record| matches!(record.outcome, None | Some(Outcome::NotStarted { .. })))
    }

    /// Its lease is over, and nobody heard of its end: whatever its node tells later, this attempt is over.
    pub fn is_lost(&self) -> bool {
        let over = self.lease.as_ref().is_some_and(|lease| lease.ended().is_some());
        over && self.job.terminated.is_none()
    }

    /// When the lease of a job whose node does not answer is over, once its tokens are revoked.
    ///
    /// A container that starts late, from a kubelet that was cut off, begins its lease then; so only a job that was seen
    /// running when its node fell silent, which is what `unreachable` says, has one that can be counted from here.
    pub fn lease_over_at(&self) -> Option<Timestamp> {
        self.lease.as_ref()?.over_at(self.unreachable?)
    }

    /// The user's container is running, or ran.
    pub fn started(&self) -> Option<Timestamp> {
        let recorded = self.job.terminated.as_ref().and_then(|end| end.started);
        self.job.running.or(recorded)
    }

    /// When it ended, as far as somebody said so.
    pub fn finished(&self) -> Option<Timestamp> {
        self.job.terminated.as_ref().and_then(|end| end.finished)
    }

    /// `HTCondor`'s name for where it runs: `<slot>@<machine>`; our slots are pods.
    pub fn slot(&self) -> String {
        format!("{}@{}", self.name, self.node.as_deref().unwrap_or("unknown"))
    }

    /// Address of its machine, in `HTCondor`'s notation.
    pub fn address(&self) -> String {
        let host = self.host_ip.as_deref().unwrap_or("0.0.0.0");
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("<{host}:10250?alias={}>", self.node.as_deref().unwrap_or("unknown"))
    }
}

/// Proc and attempt of a pod with this name, if this operator would name it so.
fn proc_and_attempt(name: &str, owner: &OwnerReference) -> Option<(u32, u32)> {
    let mut parts = name.rsplitn(3, '-');
    let attempt = parts.next()?.parse().ok()?;
    let proc = parts.next()?.parse().ok()?;
    (names::pod_name(&owner.name, &owner.uid, proc, attempt) == name).then_some((proc, attempt))
}

/// Whether a false `Ready` is the kubelet's own word (a foreign container or a readiness gate is not ready). The node
/// controller, which writes it when the node does not answer, gives none of these reasons.
fn is_kubelets(reason: &str) -> bool {
    matches!(
        reason,
        "ContainersNotReady"
            | "ContainersNotInitialized"
            | "ReadinessGatesNotReady"
            | "UnknownContainerStatuses"
            | "PodCompleted"
            | "PodFailed"
    )
}

/// The report that a container left as its last words.
fn report(container: &ContainerFacts) -> Option<Box<Report>> {
    Report::from_message(&container.terminated.as_ref()?.message).map(Box::new)
}

fn container_spec<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    pod.spec.as_ref()?.containers.iter().find(|container| container.name == name)
}

fn starter_image(spec: &PodSpec) -> Option<String> {
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == names::VOLUME_STARTER);
    let by_volume = volume.and_then(|volume| volume.image.as_ref()?.reference.clone());
    let copied = spec.init_containers.iter().flatten().find(|c| c.name == names::CONTAINER_PREPARE);
    by_volume.or_else(|| copied?.image.clone())
}

fn container(status: &ContainerStatus) -> ContainerFacts {
    // A runtime that never started the container reports the epoch.
    let real =
        |time: &Option<Time>| time.as_ref().map(|time| time.0).filter(|time| time.as_second() > 0);
    let state = status.state.as_ref();
    ContainerFacts {
        waiting: state.and_then(|state| state.waiting.as_ref()).map(|waiting| {
            (
                waiting.reason.clone().unwrap_or_default(),
                waiting.message.clone().unwrap_or_default(),
            )
        }),
        running: state.and_then(|state| state.running.as_ref()).and_then(|r| real(&r.started_at)),
        terminated: state.and_then(|state| state.terminated.as_ref()).map(|end| Terminated {
            exit_code: end.exit_code,
            reason: end.reason.clone().unwrap_or_default(),
            message: end.message.clone().unwrap_or_default(),
            started: real(&end.started_at),
            finished: real(&end.finished_at),
        }),
        ready: status.ready,
        image_id: status.image_id.clone(),
    }
}
