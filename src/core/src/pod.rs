//! The pod of one attempt of one proc.
//!
//! Invariant: the pod is a pure function of the job's specification, the installation's settings, the cluster id, proc
//! and attempt; it satisfies Pod Security *restricted*; only the containers that the job needs are in it.

mod environment;
mod resources;

pub use resources::{Requests, requests};

use crate::{
    macros,
    settings::{Delivery, Settings},
};
use duj_api::{
    DockerUniverseJob, DockerUniverseJobSpec, GROUP, VERSION, job::Signal, names,
    quantity::Quantity, volume,
};
use duj_protocol::{control, flags, lease::Mark};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource,
    ImageVolumeSource, LocalObjectReference, ObjectFieldSelector, Pod, PodSecurityContext, PodSpec,
    ResourceRequirements, SeccompProfile, SecurityContext as ContainerSecurityContext, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubeQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;

/// Which attempt a pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `ClusterId`.
    pub cluster_id: i64,
    /// `ProcId`.
    pub proc: u32,
    /// Number of the attempt, from 0.
    pub number: u32,
    /// How often its job began to run in earlier ones (`NumJobStarts`).
    pub starts: u32,
    /// How the starter gets into it.
    pub delivery: Delivery,
}

/// `HTCondor` mounts these under scratch as well (`MOUNT_UNDER_SCRATCH`). They are volumes of their own: a `subPath` of the
/// scratch volume costs the node a mount of its own for each pod, and with it a tenth of its throughput.
const TMP: &str = "/tmp";
const VAR_TMP: &str = "/var/tmp";
impl Attempt {
    /// A user's text with what it says of this proc; the kubelet expands nothing more in it.
    fn text(self, text: &str) -> String {
        unexpanded(&macros::expand(text, self.cluster_id, self.proc))
    }
}

/// Seconds that the kubelet waits longer than the starter, so that the starter is the one that ends the job.
const GRACE_MARGIN: i64 = 5;

/// The pod, or why there cannot be one (hold code 6): one line for the job's owner.
pub fn pod_for(
    job: &DockerUniverseJob,
    settings: &Settings,
    attempt: Attempt,
) -> Result<Pod, String> {
    let spec = &job.spec;
    let requests = requests(spec, settings)?;
    let security = security_context(spec, settings)?;
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let pod = names::pod_name(name, uid, attempt.proc, attempt.number);
    let scheduling = spec.scheduling.clone().unwrap_or_default();
    let grace = max_vacate_time(spec, settings) + GRACE_MARGIN;
    Ok(Pod {
        metadata: metadata(job, &pod, attempt),
        spec: Some(PodSpec {
            restart_policy: Some("Never".into()),
            hostname: Some(format!("htcjob{}-{}", attempt.cluster_id, attempt.proc)),
            termination_grace_period_seconds: Some(grace),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            service_account_name: spec.service_account_name.clone(),
            image_pull_secrets: pull_secrets(spec, settings),
            security_context: Some(security),
            init_containers: (attempt.delivery == Delivery::InitContainer)
                .then(|| vec![prepare_container(settings)]),
            containers: vec![job_container(spec, settings, &requests, attempt, &pod)],
            volumes: Some(volumes(spec, settings, &requests, attempt.delivery)),
            node_selector: Some(scheduling.node_selector).filter(|map| !map.is_empty()),
            affinity: scheduling.affinity,
            tolerations: Some(scheduling.tolerations).filter(|list| !list.is_empty()),
            topology_spread_constraints: Some(scheduling.topology_spread_constraints)
                .filter(|list| !list.is_empty()),
            priority_class_name: scheduling.priority_class_name,
            scheduler_name: scheduling.scheduler_name,
            runtime_class_name: scheduling.runtime_class_name,
            ..PodSpec::default()
        }),
        status: None,
    })
}

/// The job's vacate time in seconds, or the installation's.
pub fn max_vacate_time(spec: &DockerUniverseJobSpec, settings: &Settings) -> i64 {
    spec.max_vacate_time.unwrap_or(settings.default_max_vacate_time).max(0)
}

fn metadata(job: &DockerUniverseJob, pod: &str, attempt: Attempt) -> ObjectMeta {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let Attempt { cluster_id, proc, number, .. } = attempt;
    let labels = [
        (names::LABEL_MANAGED_BY, names::MANAGED_BY.to_owned()),
        (names::LABEL_JOB, name.to_owned()),
        (names::LABEL_JOB_UID, uid.to_owned()),
        (names::LABEL_CLUSTER_ID, cluster_id.to_string()),
        (names::LABEL_PROC_ID, proc.to_string()),
        (names::LABEL_ATTEMPT, number.to_string()),
    ];
    let lease = job.spec.lease_duration.map(|_| (names::ANNOTATION_LEASE, Mark::FIRST.to_string()));
    let annotations = [
        (names::ANNOTATION_GENERATION, job.metadata.generation.unwrap_or_default().to_string()),
        (names::ANNOTATION_CONTAINER_NAME, format!("HTCJob{cluster_id}_{proc}")),
    ];
    let map = |pairs: &[(&str, String)]| {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect::<BTreeMap<_, _>>()
    };
    ObjectMeta {
        name: Some(pod.to_owned()),
        namespace: job.metadata.namespace.clone(),
        labels: Some(map(&labels)),
        annotations: Some(map(&annotations.into_iter().chain(lease).collect::<Vec<_>>())),
        finalizers: Some(vec![names::FINALIZER_ACCOUNTED.to_owned()]),
        owner_references: Some(vec![OwnerReference {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: "DockerUniverseJob".into(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

fn pull_secrets(
    spec: &DockerUniverseJobSpec,
    settings: &Settings,
) -> Option<Vec<LocalObjectReference>> {
    let own = spec.image_pull_secrets.iter().map(|secret| &secret.name);
    let names: Vec<_> = own
        .chain(&settings.starter_pull_secrets)
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    (!names.is_empty()).then_some(names)
}

fn security_context(
    spec: &DockerUniverseJobSpec,
    settings: &Settings,
) -> Result<PodSecurityContext, String> {
    let wanted = spec.security_context.clone().unwrap_or_default();
    let user = wanted.run_as_user.or(settings.run_as_user);
    let group = wanted.run_as_group.or(settings.run_as_group);
    for (field, id) in [("runAsUser", user), ("runAsGroup", group)] {
        if id == Some(0) && !settings.allow_root {
            return Err(format!(
                "securityContext.{field} '0' is refused by this installation: name another id, or leave the field out"
            ));
        }
    }
    // Only volumes of the job's owner need a group to be written to, and the kubelet walks each volume to give it one.
    let fs_group = wanted.fs_group.or(group.filter(|_| !spec.volumes.is_empty()));
    Ok(PodSecurityContext {
        run_as_non_root: Some(user != Some(0)),
        run_as_user: user,
        run_as_group: group,
        fs_group,
        fs_group_change_policy: fs_group.map(|_| "OnRootMismatch".to_owned()),
        supplemental_groups: Some(wanted.supplemental_groups).filter(|list| !list.is_empty()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    })
}

fn container_security() -> ContainerSecurityContext {
    ContainerSecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".into()]) }),
        ..ContainerSecurityContext::default()
    }
}

fn prepare_container(settings: &Settings) -> Container {
    let small = |text: &str| KubeQuantity(text.to_owned());
    Container {
        name: names::CONTAINER_PREPARE.into(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(vec!["/starter".into(), flags::INSTALL.into(), names::STARTER.into()]),
        volume_mounts: Some(vec![mount(names::VOLUME_STARTER, names::STARTER_MOUNT)]),
        security_context: Some(container_security()),
        resources: Some(ResourceRequirements {
            requests: Some(BTreeMap::from([
                ("cpu".into(), small("10m")),
                ("memory".into(), small("16Mi")),
            ])),
            limits: Some(BTreeMap::from([("memory".into(), small("64Mi"))])),
            ..ResourceRequirements::default()
        }),
        ..Container::default()
    }
}

fn job_container(
    spec: &DockerUniverseJobSpec,
    settings: &Settings,
    requests: &Requests,
    attempt: Attempt,
    pod: &str,
) -> Container {
    let mut mounts = vec![
        mount(names::VOLUME_SCRATCH, names::SCRATCH_MOUNT),
        mount(names::VOLUME_TMP, TMP),
        mount(names::VOLUME_VAR_TMP, VAR_TMP),
        VolumeMount { read_only: Some(true), ..mount(names::VOLUME_STARTER, names::STARTER_MOUNT) },
        VolumeMount { read_only: Some(true), ..mount(names::VOLUME_CONTROL, names::CONTROL_MOUNT) },
    ];
    mounts.extend(spec.volume_mounts.iter().map(|wanted| VolumeMount {
        sub_path: wanted.sub_path.clone(),
        read_only: wanted.read_only.then_some(true),
        ..mount(&wanted.name, &wanted.mount_path)
    }));
    Container {
        name: names::CONTAINER_JOB.into(),
        image: Some(spec.image.clone()),
        image_pull_policy: spec.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        command: Some(vec![names::STARTER.into()]),
        args: Some(starter_arguments(spec, settings, requests, attempt)),
        env: Some(environment::of(spec, requests, attempt, pod)),
        resources: Some(requests.resources()),
        volume_mounts: Some(mounts),
        security_context: Some(container_security()),
        ..Container::default()
    }
}

fn starter_arguments(
    spec: &DockerUniverseJobSpec,
    settings: &Settings,
    requests: &Requests,
    attempt: Attempt,
) -> Vec<String> {
    let mut arguments: Vec<String> = vec![
        flags::RUN.into(),
        flags::SCRATCH.into(),
        names::SCRATCH.into(),
        flags::MAX_VACATE_TIME.into(),
        max_vacate_time(spec, settings).to_string(),
        flags::ALSO_COUNT.into(),
        TMP.into(),
        flags::ALSO_COUNT.into(),
        VAR_TMP.into(),
        flags::CONTROL.into(),
        names::CONTROL_MOUNT.into(),
        flags::THREADS.into(),
        requests.threads().to_string(),
    ];
    let given = environment::given(spec);
    if !given.is_empty() {
        arguments.extend([flags::GIVEN.into(), given.join(",")]);
    }
    if let Some(signal) = spec.kill_sig.filter(|signal| *signal != Signal::default()) {
        arguments.extend([flags::KILL_SIGNAL.into(), signal.name().into()]);
    }
    if let Some(duration) = spec.lease_duration {
        arguments.extend([flags::LEASE_DURATION.into(), duration.to_string()]);
    }
    if let Some(limit) = requests.disk_bytes {
        arguments.extend([flags::DISK_LIMIT.into(), limit.to_string()]);
    }
    arguments.push("--".into());
    arguments.push(attempt.text(&spec.executable));
    arguments.extend(spec.arguments.iter().map(|argument| attempt.text(argument)));
    arguments
}

/// Text that the kubelet passes on as it stands: it would expand `$(NAME)` and halve `$$`.
pub fn unexpanded(text: &str) -> String {
    text.replace('$', "$$")
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.into(), mount_path: path.into(), ..VolumeMount::default() }
}

fn volumes(
    spec: &DockerUniverseJobSpec,
    settings: &Settings,
    requests: &Requests,
    delivery: Delivery,
) -> Vec<Volume> {
    let scratch = |name: &str| Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: requests.disk_bytes.map(|bytes| KubeQuantity(backstop(bytes).to_string())),
            medium: None,
        }),
        ..Volume::default()
    };
    let starter = Volume { name: names::VOLUME_STARTER.into(), ..Volume::default() };
    let starter = match delivery {
        Delivery::ImageVolume => Volume {
            image: Some(ImageVolumeSource {
                reference: Some(settings.image.clone()),
                pull_policy: Some("IfNotPresent".into()),
            }),
            ..starter
        },
        Delivery::InitContainer => {
            Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..starter }
        }
    };
    let own = [
        scratch(names::VOLUME_SCRATCH),
        scratch(names::VOLUME_TMP),
        scratch(names::VOLUME_VAR_TMP),
        starter,
        control_volume(spec),
    ];
    own.into_iter().chain(spec.volumes.iter().map(user_volume)).collect()
}

/// The pod's annotations that its starter heeds.
fn control_volume(spec: &DockerUniverseJobSpec) -> Volume {
    let file = |path: &str, annotation: &str| DownwardAPIVolumeFile {
        path: path.into(),
        field_ref: Some(ObjectFieldSelector {
            field_path: format!("metadata.annotations['{annotation}']"),
            api_version: None,
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let suspend = file(control::SUSPEND, names::ANNOTATION_SUSPEND);
    let lease = spec.lease_duration.map(|_| file(control::LEASE, names::ANNOTATION_LEASE));
    Volume {
        name: names::VOLUME_CONTROL.into(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some([suspend].into_iter().chain(lease).collect()),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The kubelet's own limit stands above the starter's, so that the starter, which is faster and says more, acts first.
fn backstop(bytes: i64) -> i64 {
    bytes.saturating_add(bytes / 10).saturating_add(64 << 20)
}

fn user_volume(wanted: &volume::Volume) -> Volume {
    Volume {
        name: wanted.name.clone(),
        persistent_volume_claim: wanted.persistent_volume_claim.clone(),
        config_map: wanted.config_map.clone(),
        secret: wanted.secret.clone(),
        csi: wanted.csi.clone(),
        nfs: wanted.nfs.clone(),
        ..Volume::default()
    }
}

/// A quantity in the types of Kubernetes' API.
fn kube_quantity(quantity: &Quantity) -> KubeQuantity {
    KubeQuantity(quantity.0.clone())
}

#[cfg(test)]
mod tests;
