//! The pod of one attempt of one proc.
//!
//! Invariant: the pod is a pure function of the job's specification and items, the installation's settings, the cluster id,
//! proc and attempt; it satisfies Pod Security *restricted*; only the containers that the job needs are in it.

mod command;
mod environment;
mod files;
mod resources;
mod security;
mod texts;
mod volumes;

pub(crate) use command::{asks_for_image, needs_image};
pub(crate) use files::{has_destination, sends};
pub use resources::{Requests, requests};

use crate::{
    queue::Items,
    settings::{Delivery, Settings},
};
use duj_api::{
    DockerUniverseJob, DockerUniverseJobSpec, GROUP, VERSION, names, quantity::Quantity,
};
use duj_protocol::{flags, lease::Mark};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, Pod, PodSpec, ResourceRequirements, VolumeMount,
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

/// Seconds that the kubelet waits longer than the starter, so that the starter is the one that ends the job.
const GRACE_MARGIN: i64 = 5;

/// The pod, or why there cannot be one (hold code 6): one line for the job's owner.
pub fn pod_for(
    job: &DockerUniverseJob,
    items: &Items,
    settings: &Settings,
    attempt: Attempt,
) -> Result<Pod, String> {
    let job = &texts::of_proc(job, items, attempt)?;
    let spec = &job.spec;
    let requests = requests(spec, settings)?;
    let security = security::security_context(spec, settings)?;
    let parts = files::of(job, settings, &requests, attempt);
    let copies = attempt.delivery == Delivery::InitContainer;
    let prepare = parts.prepare.or_else(|| copies.then(|| install_container(settings)));
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let pod = names::pod_name(name, uid, attempt.proc, attempt.number);
    let scheduling = spec.scheduling.clone().unwrap_or_default();
    Ok(Pod {
        metadata: metadata(job, &pod, attempt),
        spec: Some(PodSpec {
            restart_policy: Some("Never".into()),
            hostname: Some(format!("htcjob{}-{}", attempt.cluster_id, attempt.proc)),
            termination_grace_period_seconds: Some(files::termination_grace(job, settings)),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            service_account_name: spec.service_account_name.clone(),
            image_pull_secrets: security::pull_secrets(spec, settings),
            security_context: Some(security),
            init_containers: prepare.map(|container| vec![container]),
            containers: [job_container(job, settings, &requests, attempt, &pod)]
                .into_iter()
                .chain(parts.transfer)
                .collect(),
            volumes: Some(
                volumes::volumes(spec, settings, &requests, attempt.delivery)
                    .into_iter()
                    .chain(parts.volumes)
                    .collect(),
            ),
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

/// `prepare` of a job without files: it copies the starter.
fn install_container(settings: &Settings) -> Container {
    let cpu = ("cpu".to_owned(), KubeQuantity("10m".into()));
    let memory = |bytes| ("memory".to_owned(), kube_quantity_of(bytes));
    Container {
        name: names::CONTAINER_PREPARE.into(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(vec!["/starter".into(), flags::INSTALL.into(), names::STARTER.into()]),
        volume_mounts: Some(vec![volumes::mount(names::VOLUME_STARTER, names::STARTER_MOUNT)]),
        security_context: Some(security::container_security()),
        resources: Some(ResourceRequirements {
            requests: Some(BTreeMap::from([cpu, memory(16 << 20)])),
            limits: Some(BTreeMap::from([memory(64 << 20)])),
            ..ResourceRequirements::default()
        }),
        ..Container::default()
    }
}

fn job_container(
    job: &DockerUniverseJob,
    settings: &Settings,
    requests: &Requests,
    attempt: Attempt,
    pod: &str,
) -> Container {
    let spec = &job.spec;
    let read_only =
        |volume, path| VolumeMount { read_only: Some(true), ..volumes::mount(volume, path) };
    let mut mounts = vec![
        volumes::mount(names::VOLUME_SCRATCH, names::SCRATCH_MOUNT),
        volumes::mount(names::VOLUME_TMP, TMP),
        volumes::mount(names::VOLUME_VAR_TMP, VAR_TMP),
    ];
    if attempt.delivery != Delivery::None {
        mounts.push(read_only(names::VOLUME_STARTER, names::STARTER_MOUNT));
        mounts.push(read_only(names::VOLUME_CONTROL, names::CONTROL_MOUNT));
    }
    mounts.extend(spec.volume_mounts.iter().map(|wanted| VolumeMount {
        sub_path: wanted.sub_path.clone(),
        read_only: wanted.read_only.then_some(true),
        ..volumes::mount(&wanted.name, &wanted.mount_path)
    }));
    let (command, arguments) = command::of(job, settings, requests, attempt);
    let environment: Vec<EnvVar> = match attempt.delivery {
        Delivery::None => environment::without_starter(spec, requests, attempt, pod),
        _ => environment::of(spec, requests, attempt, pod),
    };
    Container {
        name: names::CONTAINER_JOB.into(),
        image: Some(command::image(job)),
        image_pull_policy: spec.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        command,
        args: arguments,
        env: Some(environment),
        resources: Some(requests.resources()),
        volume_mounts: Some(mounts),
        working_dir: (attempt.delivery == Delivery::None).then(|| names::SCRATCH_MOUNT.to_owned()),
        security_context: Some(security::container_security()),
        ..Container::default()
    }
}

/// Text that the kubelet passes on as it stands: it would expand `$(NAME)` and halve `$$`.
pub fn unexpanded(text: &str) -> String {
    text.replace('$', "$$")
}

/// So many bytes, in the types of Kubernetes' API: in MiB where they are whole.
fn kube_quantity_of(bytes: i64) -> KubeQuantity {
    KubeQuantity(bytes.to_string())
}

/// A quantity in the types of Kubernetes' API.
fn kube_quantity(quantity: &Quantity) -> KubeQuantity {
    KubeQuantity(quantity.0.clone())
}

#[cfg(test)]
mod tests;
