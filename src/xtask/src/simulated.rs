//! The stage of what runs on simulated nodes: a control plane without nodes, the chart's objects without its Deployment, and
//! what is needed to start the operator as a local process with the arguments and the rights that the chart gives it.
//!
//! Invariant: what runs is a copy, so that a build that comes meanwhile does not change it.

use crate::cluster::{self, Cluster};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The operator's namespace, and the name of its objects.
const OPERATOR: &str = "docker-universe";
/// Nobody pulls it: no kubelet is real.
const IMAGE: &str = "registry.example.org/docker-universe@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Installs the chart's objects, and says how the operator is started (`duj_scale::plan::Recipe`).
pub(crate) fn stage(cluster: &Cluster, operator: &Path, results: &Path) -> anyhow::Result<Value> {
    fs::create_dir_all(results)?;
    let copy = results.join("docker-universe");
    fs::copy(operator, &copy).with_context(|| format!("cannot copy {}", operator.display()))?;
    let objects = rendered()?;
    let (deployments, others): (Vec<Value>, Vec<Value>) =
        objects.into_iter().partition(|object| object["kind"] == "Deployment");
    install(cluster, &others)?;
    let container = own_container(&deployments)?;
    Ok(json!({
        "program": copy, "arguments": own_arguments(container)?,
        "variables": own_variables(container), "namespace": OPERATOR,
        "kubeconfig": kubeconfig(cluster, results)?,
    }))
}

/// What the chart renders with its own values.
fn rendered() -> anyhow::Result<Vec<Value>> {
    let chart = crate::repository().join("charts").join(OPERATOR);
    let output = Command::new(cluster::helm()?)
        .args(["template", OPERATOR])
        .arg(chart)
        .args(["--namespace", OPERATOR, "--set", &format!("image.reference={IMAGE}")])
        .output()
        .context("cannot start helm")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm cannot render the chart: {}", words.trim());
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout)?).context("helm renders no YAML")
}

fn install(cluster: &Cluster, objects: &[Value]) -> anyhow::Result<()> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": OPERATOR } });
    let items: Vec<&Value> = [&namespace].into_iter().chain(objects).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    let mut child = cluster
        .command("kubectl")
        .args(["apply", "--server-side", "--force-conflicts", "--filename", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start kubectl")?;
    let mut input = child.stdin.take().context("kubectl has no standard input")?;
    input.write_all(list.as_bytes()).context("kubectl does not read its manifest")?;
    drop(input);
    ensure!(child.wait()?.success(), "the chart's objects cannot be installed");
    let crd = "crd/dockeruniversejobs.dockeruniverse.io";
    let wait = ["wait", "--for=condition=Established", "--timeout=60s", crd];
    let served = cluster.command("kubectl").args(wait).stdout(Stdio::null()).status()?;
    ensure!(served.success(), "the API server does not serve the project's resources");
    Ok(())
}

/// The operator's container as the chart writes it.
fn own_container(deployments: &[Value]) -> anyhow::Result<&Value> {
    let [deployment] = deployments else {
        bail!("the chart has {} Deployments", deployments.len())
    };
    Ok(&deployment["spec"]["template"]["spec"]["containers"][0])
}

/// Its arguments, without its address.
fn own_arguments(container: &Value) -> anyhow::Result<Vec<String>> {
    let arguments: Vec<String> = serde_json::from_value(container["args"].clone())?;
    Ok(arguments.into_iter().filter(|argument| !argument.starts_with("--listen=")).collect())
}

/// Its variables, without those that say where it is.
fn own_variables(container: &Value) -> BTreeMap<&str, &str> {
    let variables = container["env"].as_array().into_iter().flatten();
    variables.filter_map(|it| Some((it["name"].as_str()?, it["value"].as_str()?))).collect()
}

/// A kubeconfig with a token of the operator's own service account: its rights, and its place in the API server's queues.
fn kubeconfig(cluster: &Cluster, results: &Path) -> anyhow::Result<PathBuf> {
    let output = cluster
        .command("kubectl")
        .args(["--namespace", OPERATOR, "create", "token", OPERATOR, "--duration=12h"])
        .output()
        .context("cannot start kubectl")?;
    ensure!(output.status.success(), "the API server gives the operator no token");
    let token = String::from_utf8(output.stdout)?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "scale",
        "clusters": [{ "name": "scale", "cluster": {
            "server": format!("https://{}:6443", cluster.node_address),
            "certificate-authority": cluster.pki("ca.crt"),
        } }],
        "users": [{ "name": "operator", "user": { "token": token.trim() } }],
        "contexts": [{ "name": "scale", "context": { "cluster": "scale", "user": "operator" } }],
    });
    let path = results.join("kubeconfig");
    fs::write(&path, config.to_string())?;
    Ok(path)
}
