//! `cargo xtask deploy`: the project's image and chart, into a cluster. Invariant: what runs afterwards
//! is what this checkout holds, because the chart is given the image by its digest.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, bail};

use crate::image::{self, Destination, Registry};

/// Name of the Helm release, and of the chart.
const RELEASE: &str = "docker-universe";

/// How long the operator may take to become ready: the pull of a few megabytes, and its first sync.
const PATIENCE: &str = "3m";

/// Arguments of `cargo xtask deploy`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    destination: Destination,
    /// Namespace of the operator; made if it is not there
    #[arg(long, default_value = RELEASE)]
    namespace: String,
    /// Kubeconfig of the cluster (without: KUBECONFIG, else that of --cluster)
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A value for the chart, as for `helm --set`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// A file with values for the chart, as for `helm --values`
    #[arg(long, value_name = "FILE")]
    values: Vec<PathBuf>,
}

/// Publishes the image and installs or upgrades the chart; returns once the operator is ready.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let begin = Instant::now();
    // Everything that may be missing is looked for before the long build.
    let target = Target::find(arguments)?;
    let published = image::publish(&target.registry)?;
    eprintln!(
        "installing chart \"{RELEASE}\" into namespace \"{}\" of the cluster in {}",
        arguments.namespace,
        target.kubeconfig.to_string_lossy()
    );
    let chart = crate::repository().join("charts").join(RELEASE);
    let own = format!("image.reference={}", published.reference_by_digest);
    let plain = target.plain_http.join(",");
    let plain = (!plain.is_empty()).then(|| format!("registries.plainHttp={{{plain}}}"));
    let sets: Vec<String> = [own].into_iter().chain(plain).collect();
    let helm = helm_arguments(&chart, arguments, &sets);
    let status = target.command(&target.helm).args(helm).status().context("cannot start helm")?;
    if !status.success() {
        target.describe(&arguments.namespace);
        bail!(
            "helm ended with {status}: what the operator's pods say stands above; mend it and run `cargo xtask deploy` again"
        );
    }
    eprintln!("docker-universe is ready, {:.1} s after the start", begin.elapsed().as_secs_f64());
    println!("{}", published.reference_by_digest);
    Ok(())
}

/// Deploys as the command line does with these words.
pub(crate) fn with(words: &[&str]) -> anyhow::Result<()> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }
    let line = <Line as clap::Parser>::try_parse_from([&["deploy"], words].concat())?;
    run(&line.arguments)
}

/// Where to, and with what.
#[derive(Debug)]
struct Target {
    /// A file, or a list of files as `KUBECONFIG` may hold.
    kubeconfig: OsString,
    registry: Registry,
    helm: PathBuf,
    kubectl: PathBuf,
    /// Registries that jobs' images come from and that speak plain HTTP.
    plain_http: Vec<String>,
}

impl Target {
    fn find(arguments: &Arguments) -> anyhow::Result<Self> {
        let cluster = arguments.destination.cluster()?;
        let named = arguments.kubeconfig.clone().map(PathBuf::into_os_string);
        let named = named.or_else(|| env::var_os("KUBECONFIG").filter(|value| !value.is_empty()));
        let own = cluster.as_ref().map(|cluster| cluster.kubeconfig.as_os_str());
        let kubeconfig = named.as_deref().or(own).context(
            "there is no cluster to deploy to: start one with `cargo xtask cluster up`, or name one with --kubeconfig or KUBECONFIG",
        )?;
        let registry = match (arguments.destination.registry()?, &cluster) {
            (Some(registry), _) => registry,
            (None, Some(cluster)) if Some(kubeconfig) == own => {
                Registry::of_cluster(&cluster.registry)?
            }
            // Its nodes cannot be expected to reach, or to trust, the registry of a cluster on this machine.
            (None, _) => bail!(
                "the cluster in {} is not one of `cargo xtask cluster` that is up: name a registry that its nodes can pull from with --registry",
                kubeconfig.to_string_lossy()
            ),
        };
        let bin = cluster.as_ref().map(|cluster| cluster.bin.as_path());
        let hosts = cluster.as_ref().filter(|_| Some(kubeconfig) == own).map(|cluster| {
            let host = &cluster.host_address;
            (5001..5010).map(move |port| format!("{host}:{port}"))
        });
        let plain_http = registry.plain_http_host().into_iter().map(str::to_owned);
        let plain_http = plain_http.chain(hosts.into_iter().flatten()).collect();
        Ok(Self {
            registry,
            plain_http,
            helm: tool("helm", bin)?,
            kubectl: tool("kubectl", bin)?,
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// A command that talks to the cluster.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Shows why the operator does not become ready. Best effort: the failure itself is reported in any case.
    fn describe(&self, namespace: &str) {
        let pods = format!("app.kubernetes.io/instance={RELEASE}");
        for question in [
            &["get", "pods", "--output", "wide"][..],
            &["describe", "pods", "--selector", &pods],
            &["logs", "--selector", &pods, "--all-containers", "--prefix", "--tail", "40"],
            // Of a program that ended, the logs that matter are those of the run before.
            &[
                "logs",
                "--selector",
                &pods,
                "--all-containers",
                "--prefix",
                "--tail",
                "40",
                "--previous",
            ],
        ] {
            eprintln!("--- kubectl {}", question.join(" "));
            let mut command = self.command(&self.kubectl);
            command.args(["--namespace", namespace]).args(question).stdout(std::io::stderr());
            if let Err(error) = command.status() {
                eprintln!("cannot start kubectl: {error}");
            }
        }
    }
}

fn helm_arguments(chart: &Path, arguments: &Arguments, own: &[String]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["upgrade".into(), "--install".into(), RELEASE.into()];
    words.push(chart.into());
    words.extend([
        "--namespace".into(),
        (&arguments.namespace).into(),
        "--create-namespace".into(),
    ]);
    // What the chart says goes, whoever scaled or edited the Deployment by hand meanwhile.
    words.push("--force-conflicts".into());
    words.extend(["--wait".into(), "--timeout".into(), PATIENCE.into()]);
    for file in &arguments.values {
        words.extend(["--values".into(), file.into()]);
    }
    // In front of the user's own, so that another image can be tried on purpose (--set-string would win over every --set).
    for set in own.iter().chain(&arguments.sets) {
        words.extend(["--set".into(), set.into()]);
    }
    words
}

/// The cluster tools' program if it was built, else the one on the PATH.
fn tool(name: &str, bin: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = bin.map(Path::to_owned).into_iter().chain(env::split_paths(&path));
    let mut candidates = directories.map(|directory| directory.join(name));
    candidates.find(|candidate| candidate.is_file()).with_context(|| {
        format!("there is no {name}: install it, or let `cargo xtask cluster up` build it")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn helm(words: &[&str]) -> Vec<String> {
        let line = CommandLine::parse_from([&["deploy"][..], words].concat());
        let own = ["image.reference=r/docker-universe@sha256:1".to_owned()];
        helm_arguments(Path::new("/chart"), &line.arguments, &own)
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn helm_is_given_the_image_by_digest() {
        let words = helm(&[]).join(" ");
        assert_eq!(
            words,
            "upgrade --install docker-universe /chart --namespace docker-universe --create-namespace \
             --force-conflicts --wait --timeout 3m --set image.reference=r/docker-universe@sha256:1"
        );
    }

    #[test]
    fn what_the_user_sets_comes_last_and_wins() {
        let words = helm(&["--set", "a=1", "--set", "image.reference=x", "--values", "f.yaml"]);
        let at = |word: &str| words.iter().position(|other| other == word).unwrap();
        assert!(at("f.yaml") < at("image.reference=r/docker-universe@sha256:1"));
        assert!(at("image.reference=r/docker-universe@sha256:1") < at("a=1"));
        assert_eq!(words.last().unwrap(), "image.reference=x");
    }

    #[test]
    fn the_cluster_tools_go_before_the_path() {
        assert!(tool("sh", None).unwrap().ends_with("sh"));
        let bin = Path::new("/bin");
        assert_eq!(tool("sh", Some(bin)).unwrap(), bin.join("sh"));
        let error = tool("no-such-program", Some(bin)).unwrap_err();
        assert!(error.to_string().contains("`cargo xtask cluster up`"));
    }
}
