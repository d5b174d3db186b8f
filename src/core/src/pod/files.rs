//! The containers that move a job's files: `prepare`, before the job, and `transfer`, beside it.
//!
//! Invariant: only a job that needs one has it; credentials are mounted in the one that uses them, and never in `job`.

mod places;

use super::{
    Attempt, Requests, command, kube_quantity_of, max_vacate_time, security::container_security,
    unexpanded, volumes::mount,
};
use crate::settings::{Delivery, Settings};
use duj_api::{
    DockerUniverseJob,
    files::{Files, OutputRemap, TransferInput, WhenToTransferOutput},
    names,
};
use duj_protocol::transfer as protocol;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, EnvVar, KeyToPath, ResourceRequirements, SecretVolumeSource,
    Volume, VolumeMount,
};
use std::collections::BTreeMap;

/// Where the program stands in our image.
const TRANSFER: &str = "/transfer";
/// The starter in our image.
const STARTER_IN_IMAGE: &str = "/starter";
/// Where a bundle of certificates of the installation is mounted.
const CA_BUNDLE: &str = "ca";
/// Memory that a transfer may have. It needs less than 64 MiB; pages of files that the kernel keeps count too.
const MEMORY_LIMIT: i64 = 256 << 20;
const MEMORY_REQUEST: i64 = 32 << 20;

/// What a job's files add to its pod.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) prepare: Option<Container>,
    pub(super) transfer: Option<Container>,
    pub(super) volumes: Vec<Volume>,
}

/// Whether outputs have somewhere to go when the job has ended.
pub(crate) fn has_destination(files: &Files) -> bool {
    let placed =
        |remap: &OutputRemap| remap.url.is_some() || remap.persistent_volume_claim.is_some();
    files.output_destination.is_some() || files.transfer_output_remaps.iter().any(placed)
}

/// Whether the job's pod has a container `transfer`.
pub(crate) fn sends(files: &Files) -> bool {
    has_destination(files) || files.checkpoint_destination.is_some()
}

/// Whether its container `prepare` does more than to copy the starter.
pub(crate) fn prepares(job: &DockerUniverseJob, delivery: Delivery) -> bool {
    let files = &job.spec.files;
    !files.transfer_input.is_empty()
        || files.checkpoint_destination.is_some()
        || command::asks_for_image(job, delivery)
}

/// Whether the job's files name claims, which have to be writable for its group.
pub(super) fn names_claims(files: &Files) -> bool {
    files.transfer_input.iter().any(|input| input.persistent_volume_claim.is_some())
        || [&files.output_destination, &files.checkpoint_destination]
            .into_iter()
            .flatten()
            .any(|place| place.persistent_volume_claim.is_some())
        || files.transfer_output_remaps.iter().any(|remap| remap.persistent_volume_claim.is_some())
}

/// Seconds that a pod that is deleted waits for its outputs to be sent.
pub(super) fn grace(files: &Files, settings: &Settings) -> i64 {
    if sends(files) { settings.transfer_patience } else { 0 }
}

/// The containers and volumes.
pub(super) fn of(
    job: &DockerUniverseJob,
    settings: &Settings,
    requests: &Requests,
    attempt: Attempt,
) -> Parts {
    let mut plans =
        Plans { job, settings, attempt, volumes: BTreeMap::new(), mounts: BTreeMap::new() };
    let prepare = prepares(job, attempt.delivery).then(|| {
        let plan = plans.prepare(requests);
        plans.container(names::CONTAINER_PREPARE, "prepare", protocol::to_variables(&plan))
    });
    let transfer = sends(&job.spec.files).then(|| {
        let plan = plans.send();
        plans.container(names::CONTAINER_TRANSFER, "send", protocol::to_variables(&plan))
    });
    Parts { prepare, transfer, volumes: plans.volumes.into_values().collect() }
}

/// Two plans in the making, with the volumes that they need.
struct Plans<'a> {
    job: &'a DockerUniverseJob,
    settings: &'a Settings,
    attempt: Attempt,
    /// By what they hold.
    volumes: BTreeMap<String, Volume>,
    /// Of the container that is being made, by the volume's name.
    mounts: BTreeMap<String, VolumeMount>,
}

impl Plans<'_> {
    fn input(&mut self, input: &TransferInput) -> Option<protocol::Input> {
        let name = input.name.clone();
        let keyed = |kind: &str, name: &str, key: Option<&str>| match key {
            Some(key) => format!("key '{key}' of {kind} '{name}'"),
            None => format!("{kind} '{name}'"),
        };
        let items = |key: Option<&String>| {
            key.map(|key| vec![KeyToPath { key: key.clone(), path: key.clone(), mode: None }])
        };
        let source = if let Some(text) = &input.text {
            protocol::Source::Text(text.clone())
        } else if let Some(bytes) = &input.base64 {
            protocol::Source::Base64(bytes.clone())
        } else if let Some(map) = &input.config_map {
            let source = ConfigMapVolumeSource {
                name: map.name.clone(),
                items: items(map.key.as_ref()),
                ..ConfigMapVolumeSource::default()
            };
            let what = keyed("ConfigMap", &map.name, map.key.as_deref());
            let root = self.mounted(names::VOLUME_INPUT, what.clone(), true, |volume| Volume {
                config_map: Some(source),
                ..volume
            });
            let path = map.key.clone().unwrap_or_default();
            protocol::Source::Place(protocol::Place::Volume { root, path, what })
        } else if let Some(secret) = &input.secret {
            let source = SecretVolumeSource {
                secret_name: Some(secret.name.clone()),
                items: items(secret.key.as_ref()),
                ..SecretVolumeSource::default()
            };
            let what = keyed("Secret", &secret.name, secret.key.as_deref());
            let root = self.mounted(names::VOLUME_INPUT, what.clone(), true, |volume| Volume {
                secret: Some(source),
                ..volume
            });
            let path = secret.key.clone().unwrap_or_default();
            protocol::Source::Place(protocol::Place::Volume { root, path, what })
        } else if let Some(claim) = &input.persistent_volume_claim {
            protocol::Source::Place(self.claim(claim, true))
        } else {
            let url = input.url.as_ref()?;
            let place = self.url(url, input.headers_from.as_ref(), input.s3.as_ref());
            protocol::Source::Place(place)
        };
        Some(protocol::Input { name, source })
    }

    fn prepare(&mut self, requests: &Requests) -> protocol::PreparePlan {
        let job = self.job;
        let files = &job.spec.files;
        let copies = self.attempt.delivery == Delivery::InitContainer;
        if copies {
            let starter = mount(names::VOLUME_STARTER, names::STARTER_MOUNT);
            self.mounts.insert(starter.name.clone(), starter);
        }
        let image = command::asks_for_image(job, self.attempt.delivery).then(|| {
            let own = job.spec.image_pull_secrets.iter();
            let secrets =
                own.map(|secret| self.secret(names::VOLUME_PULL_SECRET, &secret.name, true));
            protocol::ImageQuestion {
                image: job.spec.image.clone(),
                pull_secrets: secrets.collect(),
                plain_http: self.settings.plain_http_registries.clone(),
                mirrors: self.settings.registry_mirrors.clone(),
            }
        });
        let brought = job.spec.executable.as_deref().and_then(|name| name.strip_prefix("./"));
        let stdin = files.input.as_deref().filter(|input| !input.starts_with('/'));
        protocol::PreparePlan {
            install: copies.then(|| (STARTER_IN_IMAGE.into(), names::STARTER.into())),
            scratch: names::SCRATCH.into(),
            handshake: names::HANDSHAKE.into(),
            image,
            restore: self.checkpoint(),
            inputs: files.transfer_input.iter().filter_map(|input| self.input(input)).collect(),
            preserve_relative_paths: files.preserve_relative_paths,
            max_input_bytes: files.max_transfer_input_mb.and_then(bytes),
            executable: brought.map(str::to_owned),
            stdin: stdin.map(str::to_owned),
            disk_limit: requests.disk_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            patience: self.settings.transfer_patience.unsigned_abs(),
        }
    }

    fn remap(&mut self, remap: &OutputRemap) -> Option<(String, protocol::Remap)> {
        let to = if let Some(name) = &remap.to {
            protocol::Remap::Name(name.clone())
        } else if let Some(claim) = &remap.persistent_volume_claim {
            protocol::Remap::Place(self.claim(claim, false))
        } else {
            let url = remap.url.as_ref()?;
            let place = self.url(url, remap.headers_from.as_ref(), remap.s3.as_ref());
            protocol::Remap::Place(place)
        };
        Some((remap.name.clone(), to))
    }

    fn send(&mut self) -> protocol::SendPlan {
        let job = self.job;
        let files = &job.spec.files;
        let control = VolumeMount {
            read_only: Some(true),
            ..mount(names::VOLUME_CONTROL, names::CONTROL_MOUNT)
        };
        self.mounts.insert(control.name.clone(), control);
        let destination = files.output_destination.clone();
        protocol::SendPlan {
            scratch: names::SCRATCH.into(),
            handshake: names::HANDSHAKE.into(),
            control: names::CONTROL_MOUNT.into(),
            attempt: self.attempt.number,
            output: files.output.clone(),
            error: files.error.clone(),
            files: files.transfer_output.clone(),
            destination: destination.and_then(|place| self.place(&place, false)),
            remaps: files
                .transfer_output_remaps
                .iter()
                .filter_map(|remap| self.remap(remap))
                .collect(),
            preserve_relative_paths: files.preserve_relative_paths,
            when: match files.when_to_transfer_output.unwrap_or_default() {
                WhenToTransferOutput::OnExit => protocol::When::OnExit,
                WhenToTransferOutput::OnExitOrEvict => protocol::When::OnExitOrEvict,
                WhenToTransferOutput::OnSuccess => protocol::When::OnSuccess,
            },
            success_exit_code: job.spec.policy.success_exit_code.unwrap_or(0),
            max_output_bytes: files.max_transfer_output_mb.and_then(bytes),
            checkpoint: self.checkpoint(),
            checkpoint_files: files.transfer_checkpoint.clone(),
            patience: self.settings.transfer_patience.unsigned_abs(),
            retention: files
                .transfer_retention
                .unwrap_or(self.settings.transfer_retention)
                .unsigned_abs(),
        }
    }

    /// The container that has just been planned.
    fn container(
        &mut self,
        name: &str,
        subcommand: &str,
        plan: Vec<(String, String)>,
    ) -> Container {
        let mut environment: Vec<EnvVar> = plan
            .into_iter()
            .map(|(name, value)| EnvVar { name, value: Some(unexpanded(&value)), value_from: None })
            .collect();
        if let Some((map, key)) = self.settings.ca_bundle.clone() {
            let source = ConfigMapVolumeSource {
                name: map.clone(),
                items: Some(vec![KeyToPath { key: key.clone(), path: key.clone(), mode: None }]),
                optional: Some(true),
                ..ConfigMapVolumeSource::default()
            };
            let holds = format!("{CA_BUNDLE} {map}");
            let root = self.mounted(names::VOLUME_CA, holds, true, |volume| Volume {
                config_map: Some(source),
                ..volume
            });
            environment.push(EnvVar {
                name: "SSL_CERT_FILE".into(),
                value: Some(format!("{root}/{key}")),
                value_from: None,
            });
        }
        let mut mounts = vec![mount(names::VOLUME_SCRATCH, names::SCRATCH_MOUNT)];
        mounts.extend(std::mem::take(&mut self.mounts).into_values());
        let memory = |bytes| ("memory".to_owned(), kube_quantity_of(bytes));
        let cpu = ("cpu".to_owned(), super::KubeQuantity("10m".into()));
        Container {
            name: name.into(),
            image: Some(self.settings.image.clone()),
            image_pull_policy: Some("IfNotPresent".into()),
            command: Some(vec![TRANSFER.into(), subcommand.into()]),
            env: Some(environment),
            volume_mounts: Some(mounts),
            security_context: Some(container_security()),
            resources: Some(ResourceRequirements {
                requests: Some(BTreeMap::from([cpu, memory(MEMORY_REQUEST)])),
                limits: Some(BTreeMap::from([memory(MEMORY_LIMIT)])),
                ..ResourceRequirements::default()
            }),
            ..Container::default()
        }
    }
}

/// Bytes of so many MiB.
fn bytes(mebibytes: i64) -> Option<u64> {
    u64::try_from(mebibytes).ok()?.checked_mul(1 << 20)
}

/// Seconds that a job's pod may take to end: the job's own time, its outputs', and a little more.
pub(super) fn termination_grace(job: &DockerUniverseJob, settings: &Settings) -> i64 {
    max_vacate_time(&job.spec, settings) + grace(&job.spec.files, settings) + super::GRACE_MARGIN
}
