//! Where it happens: a namespace, the operator's child process behind the proxy, the witness. Invariant: the operator in the
//! cluster does not run meanwhile, and the one outside has its arguments and its rights.

use super::{
    checks::Problem,
    fates::Ground,
    operator::{Keeper, Killer, Recipe},
    plan::Plan,
    proxy::{Certificate, Proxy},
    server::{Administrator, Server},
    witness::{self, Witness},
};
use crate::cluster::Cluster;
use anyhow::{Context as _, bail};
use hyper::Method;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::task::JoinHandle;

/// The operator's namespace and the name of its objects.
const OPERATOR: &str = "docker-universe";
/// Label of the namespaces that runs make.
const LABEL: &str = "docker-universe-chaos";
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Looks until something must be so.
const LOOKS: usize = 240;

/// The stage of a run.
pub(super) struct Stage {
    /// Who may do everything.
    pub(super) administrator: Administrator,
    /// What the jobs need.
    pub(super) ground: Ground,
    /// Who sees the runs.
    pub(super) witness: Witness,
    /// Who kills the operator.
    pub(super) killer: Killer,
    /// What is between the operator and the API server.
    pub(super) proxy: Proxy,
    keeper: Keeper,
    log: PathBuf,
    tasks: [JoinHandle<()>; 2],
}

/// Where a run's files are.
pub(super) fn directory(cluster: &Cluster) -> PathBuf {
    cluster.state.join("chaos")
}

impl Stage {
    /// Sets the stage; the operator begins to run.
    pub(super) async fn set(
        cluster: &Cluster,
        seed: u64,
        program: PathBuf,
    ) -> anyhow::Result<Self> {
        let directory = directory(cluster);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let administrator = Administrator::new(cluster)?;
        let arguments = arguments(&administrator).await?;
        scale(&administrator, 0).await?;
        let namespace = namespace(&administrator).await?;
        let host = cluster.host_address.parse().context("the host's address")?;
        let (witness, place, listening) = Witness::listen(host).await?;
        let killer = Killer::default();
        let certificate = Certificate::new()?;
        let (proxy, serving) =
            Proxy::listen(Plan::new(seed), Server::new(cluster)?, killer.clone(), &certificate)
                .await?;
        let token = token(&administrator).await?;
        let kubeconfig = certificate.kubeconfig(&directory, proxy.address.port(), &token)?;
        let log = directory.join("operator.log");
        let recipe = Recipe {
            program: program_copy(&program, &directory)?,
            arguments,
            kubeconfig,
            namespace: OPERATOR.to_owned(),
            log: log.clone(),
        };
        let ground = Ground {
            namespace,
            registry: cluster.registry.clone(),
            preamble: witness::preamble(place),
        };
        let keeper = Keeper::start(recipe, killer.clone());
        Ok(Self {
            administrator,
            ground,
            witness,
            killer,
            proxy,
            keeper,
            log,
            tasks: [listening, serving],
        })
    }

    /// What the operator did that it must not, whatever happens to it.
    pub(super) fn operators_problems(&self) -> Vec<Problem> {
        let says = |what: String| ("the operator".to_owned(), what);
        let mut problems: Vec<_> = self
            .killer
            .own_ends()
            .into_iter()
            .map(|how| says(format!("it ended by itself ({how})")))
            .collect();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let panics = log.lines().filter(|line| line.contains("panicked"));
        problems.extend(panics.map(|line| says(line.to_owned())));
        problems.dedup();
        problems
    }

    /// Ends the operator outside, and lets the one in the cluster run again.
    pub(super) async fn clear(self) -> anyhow::Result<()> {
        self.keeper.end()?;
        for task in self.tasks {
            task.abort();
        }
        self.administrator.delete(&format!("/api/v1/namespaces/{}", self.ground.namespace)).await?;
        scale(&self.administrator, 1).await
    }
}

/// A build that comes meanwhile must not change what runs.
fn program_copy(program: &Path, directory: &Path) -> anyhow::Result<PathBuf> {
    let copy = directory.join("docker-universe");
    fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
    Ok(copy)
}

fn deployment() -> String {
    format!("/apis/apps/v1/namespaces/{OPERATOR}/deployments/{OPERATOR}")
}

/// The arguments of the installed operator, except for its address.
async fn arguments(administrator: &Administrator) -> anyhow::Result<Vec<String>> {
    let deployment = administrator.get(&deployment()).await;
    let deployment =
        deployment.context("the operator is not installed: run `cargo xtask deploy`")?;
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let mut arguments: Vec<String> = serde_json::from_value(arguments.clone())?;
    for argument in &mut arguments {
        if argument.starts_with("--listen=") {
            "--listen=127.0.0.1:0".clone_into(argument);
        }
    }
    Ok(arguments)
}

/// Gives the installed operator so many replicas, and waits until they are there, or gone.
async fn scale(administrator: &Administrator, replicas: usize) -> anyhow::Result<()> {
    let patch = json!({ "spec": { "replicas": replicas } });
    let kind = "application/merge-patch+json";
    administrator.call(Method::PATCH, &deployment(), kind, Some(&patch)).await?.good()?;
    let pods = format!(
        "/api/v1/namespaces/{OPERATOR}/pods?labelSelector=app.kubernetes.io%2Finstance%3D{OPERATOR}"
    );
    for _ in 0..LOOKS {
        let list = administrator.get(&pods).await?;
        let pods: Vec<&Value> = list["items"].as_array().into_iter().flatten().collect();
        let ready = |pod: &&&Value| {
            pod["metadata"]["deletionTimestamp"].is_null()
                && pod["status"]["containerStatuses"][0]["ready"] == true
        };
        if pods.len() == replicas && pods.iter().filter(ready).count() == replicas {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("the operator in the cluster does not come to {replicas} replicas")
}

/// A namespace that enforces Pod Security *restricted*. Those of earlier runs that failed go.
async fn namespace(administrator: &Administrator) -> anyhow::Result<String> {
    let all = administrator.get(&format!("/api/v1/namespaces?labelSelector={LABEL}")).await?;
    for old in all["items"].as_array().into_iter().flatten() {
        let name = old["metadata"]["name"].as_str().unwrap_or_default();
        administrator.delete(&format!("/api/v1/namespaces/{name}")).await?;
    }
    let new = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "generateName": "chaos-",
            "labels": { LABEL: "", "pod-security.kubernetes.io/enforce": "restricted" },
        },
    });
    let made =
        administrator.call(Method::POST, "/api/v1/namespaces", "application/json", Some(&new));
    let made = made.await?.good()?;
    let name = made["metadata"]["name"].as_str().context("a namespace without a name")?;
    for _ in 0..LOOKS {
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        if administrator.get(&account).await.is_ok() {
            return Ok(name.to_owned());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("namespace '{name}' got no service account")
}

/// A token of the operator's service account.
async fn token(administrator: &Administrator) -> anyhow::Result<String> {
    let path = format!("/api/v1/namespaces/{OPERATOR}/serviceaccounts/{OPERATOR}/token");
    let wish = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": { "expirationSeconds": 6 * 3600 },
    });
    let made = administrator.call(Method::POST, &path, "application/json", Some(&wish)).await?;
    let token = made.good()?["status"]["token"].as_str().map(str::to_owned);
    token.context("the API server gives no token")
}
