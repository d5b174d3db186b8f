//! `cargo xtask demo`: real jobs run, fail, get held and are released on a real cluster, and a person watches.
//!
//! Invariant: it ends well only if every example ended as its scene says; the cluster stays for the person to play with.

mod progress;
mod scenes;

use crate::{cluster, deploy, image, kubectl::Kubectl};
use anyhow::{Context as _, bail};
use progress::{Counts, MANY, Progress, shortened};
use scenes::{SCENES, Step};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// The namespace of the examples; it enforces Pod Security *restricted*.
const NAMESPACE: &str = "docker-universe-demo";
const JOB: &str = "dockeruniversejob";
/// A job of which nothing has changed for so long does not end as it should.
const PATIENCE: Duration = Duration::from_mins(4);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// An existing cluster in place of the one that `cargo xtask cluster` makes
    #[arg(long, value_name = "FILE", requires = "registry")]
    kubeconfig: Option<PathBuf>,
    /// Registry that the existing cluster's nodes pull from; the images are pushed there
    #[arg(long, value_name = "HOST[:PORT][/PATH]", requires = "kubeconfig")]
    registry: Option<String>,
    /// Talk plain HTTP to --registry
    #[arg(long, requires = "registry")]
    insecure: bool,
    /// The cluster of `cargo xtask cluster` that is meant
    #[arg(long, value_name = "NAME", env = "DOCKER_UNIVERSE_CLUSTER", default_value = cluster::DEFAULT_NAME)]
    cluster: String,
}

/// Runs the demo.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let begun = Instant::now();
    let stage = Stage::set(arguments)?;
    stage.play()?;
    println!(
        "\nevery example ended as it should, {:.0} s after the start",
        begun.elapsed().as_secs_f64()
    );
    if arguments.kubeconfig.is_none() {
        let name = if arguments.cluster == cluster::DEFAULT_NAME {
            String::new()
        } else {
            format!(" --name {}", arguments.cluster)
        };
        println!("the cluster stays; look around in it with");
        println!("  eval \"$(cargo xtask cluster env{name})\"");
        println!("  kubectl --namespace {NAMESPACE} get duj");
        println!("and end it with");
        println!("  cargo xtask cluster down{name}");
    }
    Ok(())
}

/// A cluster with the operator in it.
pub(crate) struct Stage {
    kubectl: Kubectl,
    registry: String,
    /// The cluster's own S3 server; somebody else's cluster has none that is known.
    objects: Option<Objects>,
}

/// What stands in the examples for a service of one's own, and what it is here.
struct Objects {
    endpoint: String,
    keys: cluster::S3Keys,
}

impl Objects {
    const ENDPOINT: &str = "http://s3.example.org:7070";

    fn of(cluster: &cluster::Cluster) -> anyhow::Result<Self> {
        cluster.put_object("in/words.txt", "two\none\ntwo\n")?;
        Ok(Self { endpoint: cluster.s3.clone(), keys: cluster.s3_keys()? })
    }

    fn named_in(&self, manifest: &str) -> String {
        let keys = &self.keys;
        let manifest = manifest.replace(Self::ENDPOINT, &self.endpoint);
        let manifest =
            manifest.replace("_KEY_ID: access-key", &format!("_KEY_ID: {}", keys.access));
        manifest.replace("_ACCESS_KEY: secret-key", &format!("_ACCESS_KEY: {}", keys.secret))
    }
}

impl Stage {
    fn set(arguments: &Arguments) -> anyhow::Result<Self> {
        let Some(kubeconfig) = &arguments.kubeconfig else {
            let cluster = cluster::up(&arguments.cluster)?;
            image::push_workloads(&image::Registry::of_cluster(&cluster.registry)?)?;
            deploy::with(&[
                "--cluster",
                &cluster.name,
                "--kubeconfig",
                &cluster.kubeconfig.to_string_lossy(),
            ])?;
            return Self::on(&cluster);
        };
        let registry = arguments.registry.clone().context("--registry is missing")?;
        let kubeconfig_text = kubeconfig.to_string_lossy();
        let mut words = vec!["--kubeconfig", &*kubeconfig_text, "--registry", &*registry];
        if arguments.insecure {
            words.push("--insecure");
        }
        image::push_workloads(&image::Registry::new(&registry, arguments.insecure)?)?;
        deploy::with(&words)?;
        Ok(Self { kubectl: Kubectl::new(None, kubeconfig), registry, objects: None })
    }

    /// The stage of a cluster where the operator is installed.
    pub(crate) fn on(cluster: &cluster::Cluster) -> anyhow::Result<Self> {
        Ok(Self {
            kubectl: Kubectl::new(Some(&cluster.bin), &cluster.kubeconfig),
            registry: cluster.registry.clone(),
            objects: Some(Objects::of(cluster)?),
        })
    }

    /// Plays every scene in a fresh namespace.
    pub(crate) fn play(&self) -> anyhow::Result<()> {
        self.fresh_namespace()?;
        let mut failures = Vec::new();
        for (title, steps) in SCENES {
            println!("\n=== {title}");
            for step in *steps {
                if let Err(error) = self.act(step) {
                    println!("!!! {error:#}");
                    failures.push(format!("{}: {error:#}", step.file));
                    break;
                }
            }
        }
        println!("\n=== all of them, as condor_q would list them");
        self.show(&["get", "duj"])?;
        if failures.is_empty() {
            return Ok(());
        }
        bail!(
            "{} examples did not end as they should:\n  {}",
            failures.len(),
            failures.join("\n  ")
        );
    }

    fn fresh_namespace(&self) -> anyhow::Result<()> {
        self.kubectl.run(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait"])?;
        let manifest = format!(
            r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{NAMESPACE}","labels":{{"pod-security.kubernetes.io/enforce":"restricted"}}}}}}"#
        );
        self.kubectl.feed(&["create", "--filename", "-"], &manifest)?;
        self.kubectl.until("the namespace has a service account", |kubectl| {
            Ok(kubectl.run(&["--namespace", NAMESPACE, "get", "serviceaccount", "default"]).ok())
        })?;
        Ok(())
    }

    fn act(&self, step: &Step) -> anyhow::Result<()> {
        let path = crate::repository().join("examples").join(step.file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if self.objects.is_none() && text.contains("s3.example.org") {
            println!("examples/{} needs an S3 service and is left out", step.file);
            return Ok(());
        }
        let manifest = text.replace("image: ", &format!("image: {}/", self.registry));
        let manifest = self.objects.as_ref().map_or(manifest.clone(), |o| o.named_in(&manifest));
        // Commands are given once, under a name that the server makes up.
        let verb = if text.contains("generateName") { "create" } else { "apply" };
        println!("$ kubectl {verb} -f examples/{}   (images from {})", step.file, self.registry);
        let told =
            self.kubectl.feed(&["--namespace", NAMESPACE, verb, "--filename", "-"], &manifest)?;
        print!("{told}");
        let status = step.status;
        let found = self.until(step);
        self.show(&["get", "duj", step.job])?;
        let job = match found {
            Ok(job) => job,
            Err(error) => {
                self.show(&["describe", JOB, step.job])?;
                return Err(error);
            }
        };
        self.tell(&job, step.job, status);
        Ok(())
    }

    /// Waits until the job is as it should be, and shows how far it is where it has many procs.
    fn until(&self, step: &Step) -> anyhow::Result<Value> {
        let mut progress = Progress::begin();
        loop {
            let job = self.kubectl.get(&["--namespace", NAMESPACE, JOB, step.job])?;
            let is_at = is_at(&job, step);
            progress.see(Counts::of(&job), is_at);
            if is_at {
                return Ok(job);
            }
            if progress.moved.elapsed() > PATIENCE {
                let Step { job, status, .. } = step;
                bail!(
                    "job '{job}' is {status}: not so, and unchanged for {} s",
                    PATIENCE.as_secs()
                );
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// What a person wants to see of a job in this state.
    fn tell(&self, job: &Value, name: &str, status: &str) {
        match status {
            "Held" => println!("held: {}", text(job, "/status/procs/0/hold/reason")),
            "Completed" | "Removed" => {
                let total = Counts::of(job).total;
                let mut selector = format!("dockeruniverse.io/job={name}");
                if total >= MANY {
                    let _ = write!(selector, ",dockeruniverse.io/proc-id={}", total - 1);
                }
                let words =
                    ["--namespace", NAMESPACE, "logs", "--selector", &selector, "--tail=20"];
                if let Ok(output) = self.kubectl.run(&words)
                    && !output.is_empty()
                {
                    println!("--- output");
                    print!("{output}");
                }
                println!("--- userlog");
                let log = text(job, "/status/userLog/text");
                print!("{}", if total >= MANY { shortened(log, 4, 12) } else { log.to_owned() });
            }
            _ => {}
        }
    }

    fn show(&self, words: &[&str]) -> anyhow::Result<()> {
        println!("$ kubectl {}", words.join(" "));
        print!("{}", self.kubectl.run(&[&["--namespace", NAMESPACE], words].concat())?);
        Ok(())
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The job's procs are in their states for this very specification, nothing of them is stopping, and their records hold the
/// facts.
fn is_at(job: &Value, step: &Step) -> bool {
    let Some(groups) = job.pointer("/status/procs").and_then(Value::as_array) else { return false };
    let is_other =
        |group: &Value| step.but.is_some_and(|(procs, _)| text(group, "/procs") == procs);
    let expected = |group: &Value| match step.but {
        Some((_, status)) if is_other(group) => status,
        _ => step.status,
    };
    let stopping = ["/hold/stopping", "/remove/stopping"];
    job.pointer("/status/observedGeneration") == job.pointer("/metadata/generation")
        && !groups.is_empty()
        && job.pointer("/status/counts/unmaterialized").is_none()
        && (step.but.is_none() || groups.iter().any(is_other))
        && groups.iter().all(|group| {
            text(group, "/status") == expected(group)
                && stopping.iter().all(|pointer| group.pointer(pointer) != Some(&Value::Bool(true)))
                && step.facts.iter().all(|(pointer, number)| {
                    group.pointer(pointer).and_then(Value::as_i64).unwrap_or(0) == *number
                })
        })
}
