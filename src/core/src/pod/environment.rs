//! The job's environment: the user's variables, then `HTCondor`'s (its §2.3: the later win), which the schema keeps apart.
//!
//! Invariant: no value is expanded by the kubelet but the ones written here for it.

use super::{Attempt, Requests, unexpanded};
use duj_api::{DockerUniverseJobSpec, names};
use duj_protocol::environment as protocol;
use k8s_openapi::api::core::v1::{
    ConfigMapKeySelector, EnvVar, EnvVarSource, ObjectFieldSelector, SecretKeySelector,
};
use std::fmt::Write as _;

/// Variables that tell libraries how many threads to start (`STARTER_NUM_THREADS_ENV_VARS`), set where the user did not.
const THREAD_COUNTS: [&str; 12] = [
    "OMP_NUM_THREADS",
    "CUBACORES",
    "GOMAXPROCS",
    "JULIA_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OPENBLAS_NUM_THREADS",
    "PYTHON_CPU_COUNT",
    "ROOT_MAX_THREADS",
    "TF_LOOP_PARALLEL_ITERATIONS",
    "TF_NUM_THREADS",
];

/// The name by which the kubelet hands the node's name to [`slot`]; the starter takes it out again.
const NODE: &str = "_DOCKER_UNIVERSE_NODE";
/// As [`NODE`], for the pod's name.
const POD: &str = "_DOCKER_UNIVERSE_POD";

/// The whole environment of container `job`.
pub(super) fn of(
    spec: &DockerUniverseJobSpec,
    requests: &Requests,
    attempt: Attempt,
) -> Vec<EnvVar> {
    let mut variables: Vec<EnvVar> =
        spec.environment.iter().map(|variable| user_variable(variable, attempt)).collect();
    let given = |name: &str| spec.environment.iter().any(|variable| variable.name == name);
    for name in ["HOME", "APPTAINER_CACHEDIR", "SINGULARITY_CACHEDIR"] {
        if !given(name) {
            variables.push(plain(name, names::SCRATCH));
        }
    }
    let threads = requests.threads().to_string();
    variables
        .extend(THREAD_COUNTS.iter().filter(|name| !given(name)).map(|name| plain(name, &threads)));
    variables.extend([
        plain("BATCH_SYSTEM", "HTCondor"),
        plain("_CONDOR_SCRATCH_DIR", names::SCRATCH),
        plain("TMPDIR", names::SCRATCH),
        plain("TEMP", names::SCRATCH),
        plain("TMP", names::SCRATCH),
        plain("_CONDOR_JOB_IWD", names::SCRATCH),
        plain("_CONDOR_JOB_AD", &format!("{}/.job.ad", names::SCRATCH)),
        plain("_CONDOR_MACHINE_AD", &format!("{}/.machine.ad", names::SCRATCH)),
        field(POD, "metadata.name"),
        field(NODE, "spec.nodeName"),
        plain("_CONDOR_SLOT", &format!("$({POD})@$({NODE})")),
        plain(protocol::JOB_AD, &job_ad(spec, requests, attempt)),
        plain(protocol::MACHINE_AD, &machine_ad(requests)),
    ]);
    variables
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let source = ObjectFieldSelector { api_version: None, field_path: path.into() };
    let source = EnvVarSource { field_ref: Some(source), ..EnvVarSource::default() };
    EnvVar { name: name.into(), value: None, value_from: Some(source) }
}

fn user_variable(variable: &duj_api::job::EnvironmentVariable, attempt: Attempt) -> EnvVar {
    let value_from = variable.value_from.as_ref().map(|from| EnvVarSource {
        config_map_key_ref: from.config_map_key_ref.as_ref().map(|key| ConfigMapKeySelector {
            name: key.name.clone(),
            key: key.key.clone(),
            optional: key.optional.then_some(true),
        }),
        secret_key_ref: from.secret_key_ref.as_ref().map(|key| SecretKeySelector {
            name: key.name.clone(),
            key: key.key.clone(),
            optional: key.optional.then_some(true),
        }),
        ..EnvVarSource::default()
    });
    EnvVar {
        name: variable.name.clone(),
        value: variable.value.as_deref().map(|value| attempt.text(value)),
        value_from,
    }
}

/// `.job.ad`: what a program asks about itself, as a `ClassAd` in plain text.
fn job_ad(spec: &DockerUniverseJobSpec, requests: &Requests, attempt: Attempt) -> String {
    let mut ad = format!(
        "ClusterId = {}\nProcId = {}\nJobUniverse = 5\nWantDocker = true\nDockerImage = {}\nCmd = {}\nIwd = {}\nNumJobStarts = {}\nRequestCpus = {}\nRequestMemory = {}\n",
        attempt.cluster_id,
        attempt.proc,
        string(&spec.image),
        string(&spec.executable),
        string(names::SCRATCH),
        attempt.starts,
        requests.cpu_cores,
        requests.memory_mib(),
    );
    if let Some(kib) = requests.disk_kib() {
        let _ = writeln!(ad, "RequestDisk = {kib}"); // a string takes all text
    }
    if requests.gpus() > 0 {
        let _ = writeln!(ad, "RequestGPUs = {}", requests.gpus());
    }
    unexpanded(&ad)
}

/// `.machine.ad`: what was given.
fn machine_ad(requests: &Requests) -> String {
    let mut ad = format!("Cpus = {}\nMemory = {}\n", requests.threads(), requests.memory_mib());
    if let Some(kib) = requests.disk_kib() {
        let _ = writeln!(ad, "Disk = {kib}");
    }
    ad
}

/// A `ClassAd` string literal.
fn string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
