//! What a proc asks for: the job's requests, else the installation's defaults.
//!
//! Invariant: memory limit equals memory request; there is no CPU limit (`HTCondor` never throttles); a scratch limit is
//! there only where the job or the installation gives one.

use super::kube_quantity;
use crate::{quantity::Amount, settings::Settings};
use duj_api::{DockerUniverseJobSpec, Quantity};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubeQuantity;
use std::collections::BTreeMap;

/// The requests of one proc.
#[derive(Clone, Debug, PartialEq)]
pub struct Requests {
    cpus: Quantity,
    memory: Quantity,
    disk: Option<Quantity>,
    gpus: Option<(String, i64)>,
    /// Cores, for the log and the thread-count variables.
    pub cpu_cores: f64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Scratch limit in bytes.
    pub disk_bytes: Option<i64>,
}

/// Reads the requests; an error is one line for the job's owner.
pub fn requests(spec: &DockerUniverseJobSpec, settings: &Settings) -> Result<Requests, String> {
    let cpus = spec.request_cpus.as_ref().unwrap_or(&settings.default_cpus);
    let memory = spec.request_memory.as_ref().unwrap_or(&settings.default_memory);
    let disk = spec.request_disk.as_ref().or(settings.default_disk.as_ref());
    let read = |field: &str, quantity: &Quantity| {
        Amount::parse(quantity).map_err(|error| format!("{field}: {error}"))
    };
    let disk_bytes = disk.map(|quantity| read("requestDisk", quantity)).transpose()?;
    Ok(Requests {
        cpu_cores: read("requestCpus", cpus)?.as_f64(),
        memory_bytes: read("requestMemory", memory)?.units(),
        disk_bytes: disk_bytes.map(Amount::units),
        cpus: cpus.clone(),
        memory: memory.clone(),
        disk: disk.cloned(),
        gpus: spec
            .request_gpus
            .filter(|count| *count > 0)
            .map(|count| (settings.gpu_resource.clone(), count)),
    })
}

impl Requests {
    /// The same with so many MiB of memory.
    pub(crate) fn with_memory_mib(&self, mebibytes: i64) -> Self {
        let memory = Quantity(format!("{mebibytes}Mi"));
        Self { memory, memory_bytes: mebibytes << 20, ..self.clone() }
    }

    /// Whole cores for programs that ask how many threads to start, at least one.
    #[allow(clippy::cast_possible_truncation, reason = "the API bounds it to 100,000")]
    pub fn threads(&self) -> i64 {
        (self.cpu_cores.floor() as i64).max(1)
    }

    /// Memory in MiB, as `HTCondor` counts it, rounded up.
    pub fn memory_mib(&self) -> i64 {
        (self.memory_bytes + (1 << 20) - 1) >> 20
    }

    /// Scratch limit in KiB, rounded up.
    pub fn disk_kib(&self) -> Option<i64> {
        self.disk_bytes.map(|bytes| (bytes + 1023) >> 10)
    }

    /// GPUs asked for.
    pub fn gpus(&self) -> i64 {
        self.gpus.as_ref().map_or(0, |(_, count)| *count)
    }

    pub(super) fn resources(&self) -> ResourceRequirements {
        let mut requests = BTreeMap::from([
            ("cpu".to_owned(), kube_quantity(&self.cpus)),
            ("memory".to_owned(), kube_quantity(&self.memory)),
        ]);
        let mut limits = BTreeMap::from([("memory".to_owned(), kube_quantity(&self.memory))]);
        if let Some(disk) = &self.disk {
            requests.insert("ephemeral-storage".to_owned(), kube_quantity(disk));
        }
        if let Some((resource, count)) = &self.gpus {
            requests.insert(resource.clone(), KubeQuantity(count.to_string()));
            limits.insert(resource.clone(), KubeQuantity(count.to_string()));
        }
        ResourceRequirements {
            requests: Some(requests),
            limits: Some(limits),
            ..ResourceRequirements::default()
        }
    }
}
