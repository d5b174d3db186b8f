//! The job's environment: the user's variables, and those of `HTCondor`'s (its §2.3) that only the operator and the kubelet
//! know. The starter sets the others.
//!
//! Invariant: no value is expanded by the kubelet but the ones written here for it.

use super::{Attempt, Requests, unexpanded};
use duj_api::{DockerUniverseJobSpec, names};
use duj_protocol::environment as protocol;
use k8s_openapi::api::core::v1::{
    ConfigMapKeySelector, EnvVar, EnvVarSource, ObjectFieldSelector, SecretKeySelector,
};
use std::fmt::Write as _;

/// The name by which the kubelet hands the node's name to `_CONDOR_SLOT`; the starter takes it out again.
const NODE: &str = "_DOCKER_UNIVERSE_NODE";

/// The environment of container `job`, as far as the starter does not set it. `pod` is the pod's name.
pub(super) fn of(
    spec: &DockerUniverseJobSpec,
    requests: &Requests,
    attempt: Attempt,
    pod: &str,
) -> Vec<EnvVar> {
    let mut variables: Vec<EnvVar> = spec.environment.iter().map(user_variable).collect();
    variables.extend([
        field(NODE, "spec.nodeName"),
        plain("_CONDOR_SLOT", &format!("{pod}@$({NODE})")),
        plain(protocol::JOB_AD, &job_ad(spec, requests, attempt)),
        plain(protocol::MACHINE_AD, &machine_ad(requests)),
    ]);
    variables
}

/// The same for a job without the starter: its scratch directory is the volume itself.
pub(super) fn without_starter(
    spec: &DockerUniverseJobSpec,
    requests: &Requests,
    attempt: Attempt,
    pod: &str,
) -> Vec<EnvVar> {
    let mut variables = of(spec, requests, attempt, pod);
    variables.retain(|variable| {
        variable.name != protocol::JOB_AD && variable.name != protocol::MACHINE_AD
    });
    for name in protocol::SCRATCH.iter().chain(&protocol::PLACES[..1]) {
        if !variables.iter().any(|variable| variable.name == *name) {
            variables.push(plain(name, names::SCRATCH_MOUNT));
        }
    }
    variables
}

/// What the user gave of the variables that the starter sets only where the user did not.
pub(super) fn given(spec: &DockerUniverseJobSpec) -> Vec<&str> {
    let given = spec.environment.iter().map(|variable| variable.name.as_str());
    given
        .filter(|name| protocol::THREAD_COUNTS.contains(name) || protocol::PLACES.contains(name))
        .collect()
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let source = ObjectFieldSelector { api_version: None, field_path: path.into() };
    let source = EnvVarSource { field_ref: Some(source), ..EnvVarSource::default() };
    EnvVar { name: name.into(), value: None, value_from: Some(source) }
}

fn user_variable(variable: &duj_api::job::EnvironmentVariable) -> EnvVar {
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
        value: variable.value.as_deref().map(unexpanded),
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
        string(spec.executable.as_deref().unwrap_or_default()),
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
