//! What the installation decides for all jobs (the chart's values), as plain values.

use crate::policy::SystemPolicies;
use duj_api::Quantity;
use std::collections::BTreeMap;

/// How the starter gets into a job's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The operator's image as an image volume: costs a pod nothing.
    ImageVolume,
    /// The init container `prepare` copies it: works everywhere.
    InitContainer,
    /// Not at all: the image's own command runs by itself, because what it is cannot be found out.
    None,
}

/// Limits of the installation, and of single namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Pods of all jobs that may live at the same time (`MAX_JOBS_RUNNING`).
    pub running: Option<u32>,
    /// Procs of one job (`MAX_JOBS_PER_SUBMISSION`).
    pub procs: Option<u32>,
    /// The same for the pods of a namespace.
    pub running_in: BTreeMap<String, u32>,
    /// The same for the jobs of a namespace, in place of `procs`.
    pub procs_in: BTreeMap<String, u32>,
}

impl Limits {
    /// How many pods may live at the same time: of all jobs, and of those of a namespace.
    pub fn running_in(&self, namespace: &str) -> (Option<u32>, Option<u32>) {
        (self.running, self.running_in.get(namespace).copied())
    }

    /// How many procs a job of a namespace may have.
    pub fn procs_in(&self, namespace: &str) -> Option<u32> {
        self.procs_in.get(namespace).copied().or(self.procs)
    }
}

/// The installation's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Reference of the operator's own image, which carries the starter.
    pub image: String,
    /// Secrets, in each job's namespace, with credentials for that image.
    pub starter_pull_secrets: Vec<String>,
    /// How the starter gets into a pod at first.
    pub delivery: Delivery,
    /// A pod for which that failed is made again the other way.
    pub delivery_may_change: bool,
    /// `requestCpus` where a job has none.
    pub default_cpus: Quantity,
    /// `requestMemory` where a job has none.
    pub default_memory: Quantity,
    /// `requestDisk` where a job has none; no limit where this is `None` too.
    pub default_disk: Option<Quantity>,
    /// Name of the extended resource that `requestGpus` asks for.
    pub gpu_resource: String,
    /// `maxVacateTime` where a job has none, seconds.
    pub default_max_vacate_time: i64,
    /// User of jobs that name none; the platform's choice where `None`.
    pub run_as_user: Option<i64>,
    /// Group of jobs that name none.
    pub run_as_group: Option<i64>,
    /// Jobs may run as uid or gid 0.
    pub allow_root: bool,
    /// Every event also goes to the operator's own log (`EVENT_LOG`).
    pub event_log: bool,
    /// Policies for all jobs.
    pub policies: SystemPolicies,
    /// Pods of procs at their end that a job keeps at most.
    pub kept_pods: u32,
    /// What protects the cluster and its users from each other.
    pub limits: Limits,
    /// Seconds that a transient failure to pull an image is borne before the job is held.
    pub image_patience: i64,
    /// Seconds for which transient faults of transfers are retried.
    pub transfer_patience: i64,
    /// `transferRetention` where a job has none, seconds.
    pub transfer_retention: i64,
    /// Registries that speak plain HTTP, `host:port`.
    pub plain_http_registries: Vec<String>,
    /// Registries in whose place others are asked first: (registry, mirror).
    pub registry_mirrors: Vec<(String, String)>,
    /// A `ConfigMap` of each job's namespace, and its key, with further certificates to trust.
    pub ca_bundle: Option<(String, String)>,
}

impl Default for Settings {
    /// The chart's defaults, for tests.
    fn default() -> Self {
        Self {
            image: "registry.example/docker-universe:0".into(),
            starter_pull_secrets: Vec::new(),
            delivery: Delivery::ImageVolume,
            delivery_may_change: true,
            default_cpus: Quantity("1".into()),
            default_memory: Quantity("128Mi".into()),
            default_disk: None,
            gpu_resource: "nvidia.com/gpu".into(),
            default_max_vacate_time: 600,
            run_as_user: Some(65534),
            run_as_group: Some(65534),
            allow_root: false,
            event_log: false,
            policies: SystemPolicies::default(),
            kept_pods: 500,
            limits: Limits::default(),
            image_patience: 120,
            transfer_patience: 300,
            transfer_retention: 600,
            plain_http_registries: Vec::new(),
            registry_mirrors: Vec::new(),
            ca_bundle: None,
        }
    }
}
