//! Jobs of `true` beside bare pods of `true`, on the real node.

use super::{median, starter};
use crate::{cluster, deploy, image, kubectl::Kubectl};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

const NAMESPACE: &str = "docker-universe-bench";

/// Arguments of `cargo xtask bench node`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Jobs, and pods, of one run
    #[arg(long, default_value_t = 60)]
    count: usize,
    /// Runs of each kind; they alternate
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The cluster of `cargo xtask cluster` that is meant
    #[arg(long, value_name = "NAME", env = "DOCKER_UNIVERSE_CLUSTER", default_value = cluster::DEFAULT_NAME)]
    cluster: String,
}

/// Writes to the API server by verb and resource, as it counts them.
type Writes = BTreeMap<String, i64>;

struct Bench {
    kubectl: Kubectl,
    registry: String,
    count: usize,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let cluster = cluster::up(&arguments.cluster)?;
    deploy::with(&[
        "--cluster",
        &cluster.name,
        "--kubeconfig",
        &cluster.kubeconfig.to_string_lossy(),
    ])?;
    let bench = Bench {
        kubectl: Kubectl::new(Some(&cluster.bin), &cluster.kubeconfig),
        registry: cluster.registry.clone(),
        count: arguments.count,
    };
    bench.fresh_namespace()?;
    eprintln!("warming up");
    bench.one_run(true)?;
    bench.clean("dockeruniversejobs");
    bench.one_run(false)?;
    bench.clean("pods");
    let idle = bench.operator_memory()?;
    let (mut jobs, mut pods, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=arguments.runs {
        let before = bench.writes()?;
        jobs.push(bench.one_run(true)?);
        writes.push(difference(&before, &bench.writes()?));
        bench.clean("dockeruniversejobs");
        pods.push(bench.one_run(false)?);
        bench.clean("pods");
        eprintln!("run {run}: {:.2} jobs/s, {:.2} pods/s", jobs[run - 1], pods[run - 1]);
    }
    bench.kubectl.run(&["delete", "namespace", NAMESPACE, "--wait=false"])?;
    let starter = starter::measure(&image::starter()?)?;
    report(&jobs, &pods, &writes, arguments.count);
    println!("starter, exec to exec         {:.2} ms", starter.overhead_ms);
    println!("starter, resident             {} KiB", starter.resident_kib);
    println!("operator, resident when idle  {:.1} MiB", idle / f64::from(1 << 20));
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "counts of a few hundred")]
fn report(jobs: &[f64], pods: &[f64], writes: &[Writes], count: usize) {
    let (jobs, pods) = (median(jobs.to_vec()), median(pods.to_vec()));
    println!("jobs of `true`                {jobs:.2} /s");
    println!("bare pods of `true`           {pods:.2} /s");
    println!("ratio                         {:.2}", jobs / pods);
    for (which, writes) in writes.iter().enumerate() {
        let total: i64 = writes.values().sum();
        let per_job = total as f64 / count as f64;
        println!("operator's writes per job     {per_job:.2}  (run {}: {writes:?})", which + 1);
    }
}

impl Bench {
    fn fresh_namespace(&self) -> anyhow::Result<()> {
        self.kubectl.run(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait"])?;
        self.kubectl.run(&["create", "namespace", NAMESPACE])?;
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl.run(&["label", "namespace", NAMESPACE, restricted])?;
        self.kubectl.until("the namespace has a service account", |kubectl| {
            Ok(kubectl.run(&["--namespace", NAMESPACE, "get", "serviceaccount", "default"]).ok())
        })?;
        Ok(())
    }

    /// Things ended per second, from the first creation to the last end.
    #[allow(clippy::cast_precision_loss, reason = "counts of a few hundred")]
    fn one_run(&self, jobs: bool) -> anyhow::Result<f64> {
        let items: Vec<Value> = (0..self.count)
            .map(|number| if jobs { self.job(number) } else { self.pod(number) })
            .collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
        let kind = if jobs { "dockeruniversejobs" } else { "pods" };
        // Asking again and again would cost the API server more than the one watch that a person has running.
        let ended = if jobs {
            ".status.completionTime"
        } else {
            ".status.containerStatuses[*].state.terminated.finishedAt"
        };
        let path = format!("jsonpath={{.metadata.name}} {{{ended}}}{{\"\\n\"}}");
        let watch = ["--namespace", NAMESPACE, "get", kind, "--watch", "--output", &path];
        let watch = self.kubectl.lines(&watch)?;
        let begun = Instant::now();
        self.kubectl.feed(&["--namespace", NAMESPACE, "create", "--filename", "-"], &list)?;
        let mut names = BTreeSet::new();
        while names.len() < self.count {
            let line = watch.next().with_context(|| format!("not all {kind} ended"))?;
            if let [name, _] = line.split_whitespace().collect::<Vec<_>>()[..] {
                names.insert(name.to_owned());
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        // The last writes are on their way; they are counted with the others.
        std::thread::sleep(std::time::Duration::from_secs(3));
        Ok(self.count as f64 / seconds)
    }

    fn clean(&self, kind: &str) {
        // Waiting for each deletion would be measured by nobody, and the next run must not share the node with it.
        let _ = self.kubectl.run(&["--namespace", NAMESPACE, "delete", kind, "--all", "--wait"]);
        let _ = self.kubectl.until("the pods are gone", |kubectl| {
            let pods =
                kubectl.run(&["--namespace", NAMESPACE, "get", "pods", "--output", "name"])?;
            Ok(pods.is_empty().then_some(()))
        });
    }

    fn job(&self, number: usize) -> Value {
        json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": format!("true-{number}") },
            "spec": {
                "image": format!("{}/busybox:1.35", self.registry), "executable": "true",
                "requestCpus": "10m", "requestMemory": "16Mi",
            },
        })
    }

    /// A bare pod as `kubectl run` makes it, with what the namespace asks for: it enforces Pod Security *restricted*, for jobs
    /// and pods alike. Whatever else a pod has by default, it has.
    fn pod(&self, number: usize) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": format!("true-{number}") },
            "spec": {
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [{
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                    },
                    "name": "job", "image": format!("{}/busybox:1.35", self.registry), "command": ["true"],
                    "resources": { "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "16Mi" } },
                }],
            },
        })
    }

    /// The writes that only the operator makes: pods created and patched (the kubelet patches `pods/status`), statuses
    /// of jobs, and whatever it deletes.
    fn writes(&self) -> anyhow::Result<Writes> {
        let text = self.kubectl.run(&["get", "--raw", "/metrics"])?;
        let mut writes = Writes::new();
        for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |name: &str| {
                line.split(&format!("{name}=\""))
                    .nth(1)
                    .and_then(|rest| rest.split('"').next())
                    .unwrap_or("")
            };
            let write = (label("verb"), label("resource"), label("subresource"));
            let operators = matches!(
                write,
                ("POST" | "PATCH" | "DELETE", "pods", "")
                    | ("PATCH", "dockeruniversejobs", "status")
                    | ("POST" | "PUT", "configmaps", "")
            );
            if operators {
                let count: f64 =
                    line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0.0);
                #[allow(clippy::cast_possible_truncation, reason = "a count")]
                let count = count as i64;
                *writes
                    .entry(format!(
                        "{} {}{}",
                        write.0,
                        write.1,
                        if write.2.is_empty() { "" } else { "/status" }
                    ))
                    .or_default() += count;
            }
        }
        Ok(writes)
    }

    fn operator_memory(&self) -> anyhow::Result<f64> {
        let pod = self.kubectl.run(&[
            "--namespace",
            "docker-universe",
            "get",
            "pods",
            "--selector",
            "app.kubernetes.io/name=docker-universe",
            "--output",
            "jsonpath={.items[0].metadata.name}",
        ])?;
        let path = format!("/api/v1/namespaces/docker-universe/pods/{pod}:8080/proxy/metrics");
        let text = self.kubectl.run(&["get", "--raw", &path])?;
        let line = text.lines().find(|line| line.starts_with("process_resident_memory_bytes "));
        let line = line.context("the operator does not tell its resident memory")?;
        line.rsplit(' ')
            .next()
            .and_then(|bytes| bytes.parse().ok())
            .context("its memory is not a number")
    }
}

fn difference(before: &Writes, after: &Writes) -> Writes {
    let grown = |(name, count): (&String, &i64)| {
        let grown = count - before.get(name).copied().unwrap_or(0);
        (grown > 0).then(|| (name.clone(), grown))
    };
    after.iter().filter_map(grown).collect()
}
