//! The command line: what was typed, and what it means. The only place that reads the environment.

use crate::telemetry::LogFormat;
use clap::{Parser, Subcommand, ValueEnum};
use duj_api::Quantity;
use duj_core::{
    classad::Expr,
    policy::SystemPolicies,
    quantity::Amount,
    settings::{Delivery, Limits, Settings},
};
use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::SocketAddr,
};

/// The operator of docker universe jobs.
#[derive(Debug, Parser)]
#[command(name = "docker-universe", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch jobs and run them
    Run(Box<RunArguments>),
}

/// Arguments of `run`, as the chart writes them.
#[derive(Debug, clap::Args)]
pub struct RunArguments {
    /// The operator's own image, which carries the starter; by digest
    #[arg(long)]
    image: String,
    /// Secret in each job's namespace with credentials for that image
    #[arg(long = "starter-pull-secret")]
    starter_pull_secrets: Vec<String>,
    /// How the starter gets into a job's pod
    #[arg(long, value_enum, default_value = "Auto")]
    starter_delivery: StarterDelivery,
    /// requestCpus where a job has none
    #[arg(long, default_value = "1", value_parser = quantity)]
    default_cpus: Quantity,
    /// requestMemory where a job has none
    #[arg(long, default_value = "128Mi", value_parser = quantity)]
    default_memory: Quantity,
    /// requestDisk where a job has none; no limit where this is absent too
    #[arg(long, value_parser = quantity)]
    default_disk: Option<Quantity>,
    /// Extended resource that requestGpus asks for
    #[arg(long, default_value = "nvidia.com/gpu")]
    gpu_resource: String,
    /// maxVacateTime where a job has none, seconds
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(i64).range(0..=86_400))]
    max_vacate_time: i64,
    /// User of jobs that name none; the platform's choice where absent
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=2_147_483_647))]
    run_as_user: Option<i64>,
    /// Group of jobs that name none
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=2_147_483_647))]
    run_as_group: Option<i64>,
    /// Let jobs run as uid or gid 0
    #[arg(long)]
    allow_root: bool,
    /// Seconds that a transient failure to pull a job's image is borne before the job is held
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(i64).range(0..=86_400))]
    image_patience: i64,
    /// Seconds for which transient faults of a job's transfers are retried
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(i64).range(1..=86_400))]
    transfer_patience: i64,
    /// transferRetention where a job has none, seconds
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(i64).range(0..=604_800))]
    transfer_retention: i64,
    /// `host:port` of a registry that speaks plain HTTP
    #[arg(long = "plain-http-registry")]
    plain_http_registries: Vec<String>,
    /// `registry=mirror`: the mirror, a `host:port`, is asked first
    #[arg(long = "registry-mirror", value_parser = pair)]
    registry_mirrors: Vec<(String, String)>,
    /// `name=key` of a `ConfigMap` in each job's namespace with further certificates that transfers trust
    #[arg(long, value_parser = pair)]
    ca_bundle: Option<(String, String)>,
    /// Write every event of every userlog to the operator's own log as well (`EVENT_LOG`)
    #[arg(long)]
    event_log: bool,
    /// Pods of all jobs that may live at the same time (`MAX_JOBS_RUNNING`); 0: no limit
    #[arg(long, default_value_t = 10_000)]
    max_running: u32,
    /// Procs that one job may have (`MAX_JOBS_PER_SUBMISSION`); 0: no limit
    #[arg(long, default_value_t = 0)]
    max_procs: u32,
    /// `namespace=number`: pods of a namespace's jobs that may live at the same time
    #[arg(long = "max-running-in", value_parser = limit)]
    max_running_in: Vec<(String, u32)>,
    /// `namespace=number`: procs that one job of a namespace may have, in place of `--max-procs`
    #[arg(long = "max-procs-in", value_parser = limit)]
    max_procs_in: Vec<(String, u32)>,
    /// Pods of procs at their end that a job keeps at most, for their logs
    #[arg(long, default_value_t = 500)]
    kept_pods: u32,
    /// `SYSTEM_PERIODIC_HOLD`: holds every job for which it becomes true
    #[arg(long, value_parser = expression)]
    system_periodic_hold: Option<String>,
    /// `SYSTEM_PERIODIC_RELEASE`
    #[arg(long, value_parser = expression)]
    system_periodic_release: Option<String>,
    /// `SYSTEM_PERIODIC_REMOVE`
    #[arg(long, value_parser = expression)]
    system_periodic_remove: Option<String>,
    /// `SYSTEM_PERIODIC_VACATE`
    #[arg(long, value_parser = expression)]
    system_periodic_vacate: Option<String>,
    /// Watch this namespace only
    #[arg(long)]
    pub namespace: Option<String>,
    /// Address of probes and metrics
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Form of the log lines
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// The operator's own namespace
    #[arg(long, env = "POD_NAMESPACE", default_value = "docker-universe")]
    pub own_namespace: String,
    /// Lease in the operator's own namespace: of all operators that name it, one leads
    #[arg(long, default_value = "docker-universe-operator")]
    pub lease: String,
    /// The operator's own name, for the Lease and for Events, which no two processes have at the same time; made up where
    /// this is absent
    #[arg(long, env = "POD_NAME")]
    own_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum StarterDelivery {
    /// An image volume where the server has them, else the init container
    Auto,
    /// An image volume
    ImageVolume,
    /// The init container `prepare`
    InitContainer,
}

/// The first minor version of Kubernetes 1.x that has image volumes on by default.
const IMAGE_VOLUMES_SINCE: u32 = 35;

fn quantity(text: &str) -> Result<Quantity, String> {
    let quantity = Quantity(text.to_owned());
    Amount::parse(&quantity).map_err(|error| error.to_string())?;
    Ok(quantity)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(left, right)| !left.is_empty() && !right.is_empty());
    let (left, right) = pair.ok_or("write it as 'a=b'")?;
    Ok((left.to_owned(), right.to_owned()))
}

fn limit(text: &str) -> Result<(String, u32), String> {
    let (namespace, number) = pair(text)?;
    let number = number.parse().map_err(|_| format!("'{number}' is not a number"))?;
    Ok((namespace, number))
}

/// An installation's policy that cannot be read keeps the operator from starting, rather than hold every job.
fn expression(text: &str) -> Result<String, String> {
    Expr::parse(text).map_err(|error| format!("{error}\n{}", error.caret(text)))?;
    Ok(text.to_owned())
}

impl Arguments {
    /// Form of the log lines.
    pub fn log_format(&self) -> LogFormat {
        let Command::Run(run) = &self.command;
        run.log_format
    }

    /// The arguments of `run`.
    pub fn into_run(self) -> RunArguments {
        let Command::Run(run) = self.command;
        *run
    }
}

impl RunArguments {
    /// The operator's own name. In a pod it is the pod's: a container that is started again there follows the one before it, and
    /// need not wait for that one's lease.
    pub fn identity(&self) -> String {
        let made_up = || {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let number = RandomState::new().build_hasher().finish();
            format!("{}-{}-{number:016x}", host.trim(), std::process::id())
        };
        self.own_name.clone().unwrap_or_else(made_up)
    }

    /// What the arguments mean on a server of version 1.`server_minor`.
    pub fn settings(&self, server_minor: u32) -> Settings {
        let delivery = match self.starter_delivery {
            StarterDelivery::InitContainer => Delivery::InitContainer,
            StarterDelivery::Auto if server_minor < IMAGE_VOLUMES_SINCE => Delivery::InitContainer,
            StarterDelivery::Auto | StarterDelivery::ImageVolume => Delivery::ImageVolume,
        };
        Settings {
            image: self.image.clone(),
            starter_pull_secrets: self.starter_pull_secrets.clone(),
            delivery,
            delivery_may_change: self.starter_delivery == StarterDelivery::Auto,
            default_cpus: self.default_cpus.clone(),
            default_memory: self.default_memory.clone(),
            default_disk: self.default_disk.clone(),
            gpu_resource: self.gpu_resource.clone(),
            default_max_vacate_time: self.max_vacate_time,
            run_as_user: self.run_as_user,
            run_as_group: self.run_as_group,
            allow_root: self.allow_root,
            event_log: self.event_log,
            policies: SystemPolicies {
                hold: self.system_periodic_hold.clone(),
                release: self.system_periodic_release.clone(),
                remove: self.system_periodic_remove.clone(),
                vacate: self.system_periodic_vacate.clone(),
            },
            kept_pods: self.kept_pods,
            limits: Limits {
                running: Some(self.max_running).filter(|limit| *limit > 0),
                procs: Some(self.max_procs).filter(|limit| *limit > 0),
                running_in: self.max_running_in.iter().cloned().collect(),
                procs_in: self.max_procs_in.iter().cloned().collect(),
            },
            image_patience: self.image_patience,
            transfer_patience: self.transfer_patience,
            transfer_retention: self.transfer_retention,
            plain_http_registries: self.plain_http_registries.clone(),
            registry_mirrors: self.registry_mirrors.clone(),
            ca_bundle: self.ca_bundle.clone(),
        }
    }
}
