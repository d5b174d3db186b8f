//! One run of the bench: the stage, the sections in order, the report.

use crate::{
    board::Board,
    counts::Writes,
    fleet::Fleet,
    meter::{Finished, Meter},
    operator::Operator,
    plan::{Plan, Section},
    processes::ControlPlane,
    profile::Profile,
    report::{self, Report, Run},
    sections,
    work::{Controller, Work},
};
use anyhow::{Context as _, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{
        Request,
        params::{DeleteParams, ListParams, PostParams, PropagationPolicy},
    },
};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const LOOK_AGAIN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_mins(5);
/// Nobody tidies up any more when nothing was written to pods for so long.
const QUIET: Duration = Duration::from_secs(1);

/// What all sections use.
pub struct Bench {
    /// The administrator's client.
    pub client: Client,
    /// What is measured.
    pub plan: Plan,
    /// The nodes.
    pub fleet: Fleet,
    /// The control plane's processes.
    pub plane: ControlPlane,
    namespaces: AtomicUsize,
}

/// Runs the sections, prints the table, and writes results and plots.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    std::fs::create_dir_all(&plan.results)?;
    let bench = Bench::new(plan).await?;
    let mut report = Report::default();
    for section in [Section::Jobs, Section::Procs, Section::Live, Section::Large, Section::Growth] {
        if bench.plan.wants(section) {
            eprintln!("==> {section:?}");
            let done = sections::run(&bench, section, &mut report).await;
            done.with_context(|| format!("section {section:?}"))?;
            report::write(&report, &bench.plan)?;
        }
    }
    print!("{}", report.table());
    bench.leave().await
}

impl Bench {
    async fn new(plan: Plan) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::read_from(&plan.kubeconfig)?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let plane = ControlPlane::find(&plan.cluster)?;
        let fleet = Fleet::start(client.clone(), plan.nodes, None).await?;
        Ok(Self { client, plan, fleet, plane, namespaces: AtomicUsize::new(0) })
    }

    /// Starts the operator, and waits until it is ready.
    pub async fn operator(&self) -> anyhow::Result<Operator> {
        let mut operator = self.unready_operator()?;
        operator.until_ready().await?;
        Ok(operator)
    }

    /// Starts the operator.
    pub fn unready_operator(&self) -> anyhow::Result<Operator> {
        Operator::start(&self.plan.operator, &self.plan.results.join("operator.log"))
    }

    /// Does this work from its submission to its end, and says what it cost.
    pub async fn measured(&self, controller: Controller, work: &Work) -> anyhow::Result<Run> {
        let namespace = self.namespace().await?;
        let operator = match controller {
            Controller::DockerUniverse => Some(self.operator().await?),
            Controller::BatchJob => None,
        };
        let board = Board::watch(self.client.clone(), controller, &namespace);
        let meter = Meter::start(self, operator.as_ref()).await?;
        self.fleet.take_ends();
        let number = self.namespaces.load(Ordering::Relaxed);
        let profile =
            Profile::start(&self.client, &self.plan, controller, operator.as_ref(), number)?;
        let begun = Instant::now();
        let submitted = work.submit(&self.client, controller, &namespace);
        let what = format!("{} x {} of {}", work.jobs, work.procs, controller.name());
        let finished = board.until(&what, |seen| seen.finished == work.jobs);
        tokio::try_join!(submitted, finished)?;
        let done = board.read(|seen| seen.done);
        if done != work.all() {
            bail!("{what}: all jobs are finished, but only {done} procs completed");
        }
        let finished =
            Finished { controller, work, board: &board, begun, operator: operator.as_ref() };
        let run = meter.run(self, &finished).await?;
        eprintln!("    {}", run.line());
        if let Some(profile) = profile {
            profile.end().await?;
        }
        drop(board);
        self.clean(&namespace, controller).await?;
        Ok(run)
    }

    /// A new namespace that enforces Pod Security *restricted*, as the product's users are advised.
    pub async fn namespace(&self) -> anyhow::Result<String> {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let name = name_of(number);
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
        });
        let namespaces = Request::new("/api/v1/namespaces");
        let request = namespaces.create(&PostParams::default(), serde_json::to_vec(&namespace)?)?;
        self.client.request_text(request).await?;
        // What others make in every new namespace is not to be counted.
        for object in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
            let path = format!("/api/v1/namespaces/{name}/{object}");
            self.until(object, async || Ok(self.get(&path).await.is_ok())).await?;
        }
        Ok(name)
    }

    /// Deletes all work of this namespace, and waits until the pods are gone.
    pub async fn clean(&self, namespace: &str, controller: Controller) -> anyhow::Result<()> {
        let background = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        for (path, how) in [(controller.path(namespace), background), (pods.clone(), at_once)] {
            let request = Request::new(path).delete_collection(&how, &ListParams::default())?;
            self.client.request_text(request).await.context("cannot clean up")?;
        }
        self.until("the pods are gone", async || {
            let list = self.get(&format!("{pods}?limit=1")).await?;
            Ok(list["items"].as_array().is_some_and(Vec::is_empty))
        })
        .await?;
        // Controllers tidy up after pods that are gone; that is not the next run's either.
        let mut before = Writes::now(&self.client).await?;
        self.until("nobody writes to pods", async || {
            tokio::time::sleep(QUIET).await;
            let now = Writes::now(&self.client).await?;
            let quiet = now.since(&before).0.keys().all(|name| !name.ends_with(" pods"));
            before = now;
            Ok(quiet)
        })
        .await
    }

    /// Deletes the namespaces, at the very end: their end is writes of others, which would be counted with a run's.
    async fn leave(&self) -> anyhow::Result<()> {
        for number in 0..self.namespaces.load(Ordering::Relaxed) {
            let namespaces = Request::new("/api/v1/namespaces");
            let request = namespaces.delete(&name_of(number), &DeleteParams::default())?;
            self.client.request_text(request).await?;
        }
        Ok(())
    }

    /// Reads an object or a list.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.client.request(http::Request::get(path).body(Vec::new())?).await?)
    }

    /// Waits until this is so.
    pub async fn until(
        &self,
        what: &str,
        mut so: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !so().await? {
            if begun.elapsed() > PATIENCE {
                bail!("{what}: not so after {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

fn name_of(number: usize) -> String {
    format!("scale-{}-{number}", std::process::id())
}
