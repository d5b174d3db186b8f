//! Wiring: the client, the caches, the reconciler and what runs beside it.
//!
//! Invariant: nothing is detached: every task is in one set, and the end of any of them ends the process, which Kubernetes
//! starts again.

use crate::{
    admin, args,
    clock::Clock,
    cluster_ids::ClusterIds,
    command_answers, hearing,
    index::{Index, JobKey},
    leadership::{self, Candidate, Claim, election},
    memory::Memory,
    metrics::Metrics,
    orphans, perform,
    places::Places,
    reconcile,
    record::Recorder,
    trouble::Spacing,
    watch,
    workqueue::Workqueue,
};
use anyhow::{Context as _, bail};
use duj_api::DockerUniverseJob;
use duj_core::settings::Settings;
use kube::{
    Client, Config,
    client::ClientBuilder,
    runtime::{reflector, reflector::Store},
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{signal::unix, sync::mpsc, task::JoinSet};
use tower::limit::ConcurrencyLimitLayer;

/// Jobs that are reconciled at the same time.
const CONCURRENCY: usize = 32;
/// Requests in flight at the same time; the client opens a connection for each.
const IN_FLIGHT: usize = 64;
/// Pause before an API server that does not answer yet is asked again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// An operator that is told to end is gone after this time, whatever the API server does.
const END: Duration = Duration::from_millis(1800);

/// What the parts of the operator share.
pub struct Context {
    /// The client. It does not retry by itself: a repeated write is a decision. It writes only while this operator leads.
    pub client: Client,
    /// Whether this operator leads.
    pub claim: Claim,
    /// The namespace that is watched, or all.
    pub namespace: Option<String>,
    /// The time of day.
    pub clock: Clock,
    /// The installation's settings.
    pub settings: Settings,
    /// Pods and commands by job.
    pub index: Arc<Index>,
    /// Which job is looked at next.
    pub workqueue: Arc<Workqueue>,
    /// Places for pods, within the installation's limits.
    pub places: Places,
    /// What is remembered between decisions.
    pub memory: Memory,
    /// Between two questions about pods that are long in being set up.
    pub spacing: Spacing,
    /// Between two questions about what transfers say.
    pub log_spacing: Spacing,
    /// Numbers for new jobs.
    pub cluster_ids: ClusterIds,
    /// Kubernetes Events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Which operator this is, and what it serves.
#[derive(Clone)]
pub struct Installation {
    /// The namespace that is watched, or all.
    pub namespace: Option<String>,
    /// The operator's own namespace.
    pub own_namespace: String,
    /// The operator's own name, for Events.
    pub own_name: String,
    /// The time of day.
    pub clock: Clock,
    /// The installation's settings.
    pub settings: Settings,
    /// How it stands for election; without, it leads whoever else does.
    pub candidate: Option<Candidate>,
}

/// Runs the operator until it is told to end.
pub async fn run(arguments: args::Arguments) -> anyhow::Result<()> {
    let mut told = pin!(told_to_end()?);
    let (context, mut tasks) = tokio::select! {
        () = &mut told => return Ok(()),
        started = start(arguments) => started?,
    };
    tokio::select! {
        () = &mut told => {}
        ended = tasks.join_next() => return match ended {
            Some(Ok(Err(error))) => Err(error),
            Some(Err(error)) => bail!("a task of the operator broke: {error}"),
            Some(Ok(Ok(()))) | None => bail!("a task of the operator ended by itself"),
        },
    }
    // What is in flight may stop anywhere: every write is one that a crash may follow. But the next operator begins sooner
    // where it knows that this one has ended.
    context.claim.resign();
    if tokio::time::timeout(END, context.claim.ended()).await.is_err() {
        tracing::warn!("the lease was not given back in time: it runs out by itself");
    }
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
fn told_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate =
        unix::signal(unix::SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt =
        unix::signal(unix::SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to end by SIGTERM"),
            _ = interrupt.recv() => tracing::info!("told to end by SIGINT"),
        }
    })
}

async fn start(
    arguments: args::Arguments,
) -> anyhow::Result<(Arc<Context>, JoinSet<anyhow::Result<()>>)> {
    let arguments = arguments.into_run();
    let client = client().await?;
    let minor = server_minor(&client).await?;
    let settings = arguments.settings(minor);
    tracing::info!(delivery = ?settings.delivery, image = settings.image, "serving jobs on Kubernetes 1.{minor}");
    let candidate = Candidate {
        client: self::client().await?,
        namespace: arguments.own_namespace.clone(),
        lease: arguments.lease.clone(),
        identity: arguments.identity(),
    };
    let installation = Installation {
        namespace: arguments.namespace,
        own_namespace: arguments.own_namespace,
        own_name: candidate.identity.clone(),
        clock: Clock::system(),
        settings,
        candidate: Some(candidate),
    };
    let (context, mut tasks) = operate(client, installation);
    tasks.spawn(admin::serve(arguments.listen, context.clone()));
    Ok((context, tasks))
}

/// Starts to serve jobs. The tasks run until they are aborted; none of them ends by itself, but the election, where the lease
/// goes to somebody else.
pub fn operate(
    client: Client,
    installation: Installation,
) -> (Arc<Context>, JoinSet<anyhow::Result<()>>) {
    let Installation { namespace, own_namespace, own_name, clock, settings, candidate } =
        installation;
    let metrics = Arc::new(Metrics::default());
    let index = Arc::new(Index::default());
    let workqueue = Arc::new(Workqueue::default());
    let claim = if candidate.is_some() { Claim::none(clock) } else { Claim::undisputed(clock) };
    let client = leadership::gated(client, claim.clone(), metrics.clone());
    let (recorder, write_events) = Recorder::new(client.clone(), own_name, clock, metrics.clone());
    let context = Arc::new(Context {
        cluster_ids: ClusterIds::new(client.clone(), &own_namespace),
        client,
        claim,
        namespace,
        clock,
        places: Places::new(settings.limits.clone(), index.clone(), workqueue.clone()),
        settings,
        index,
        workqueue,
        memory: Memory::default(),
        spacing: Spacing::default(),
        log_spacing: hearing::spacing(),
        recorder,
        metrics,
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(ended(write_events));
    spawn_reconciler(&mut tasks, &context);
    if let Some(candidate) = candidate {
        tasks.spawn(stand(context.clone(), candidate));
    }
    (context, tasks)
}

/// Stands for election once the caches are warm: who leads decides from facts.
async fn stand(context: Arc<Context>, candidate: Candidate) -> anyhow::Result<()> {
    let warm = context.index.wait_until_ready();
    let (claim, metrics) = (context.claim.clone(), context.metrics.clone());
    election::stand(candidate, claim, context.clock, metrics, warm).await
}

fn spawn_reconciler(tasks: &mut JoinSet<anyhow::Result<()>>, context: &Arc<Context>) {
    let (store, writer) = reflector::store();
    let (deleted, suspects) = mpsc::unbounded_channel();
    let (places, told) = mpsc::unbounded_channel();
    let cached = store.clone();
    let known = move |key: &JobKey| {
        cached.get(&watch::reference(key)).and_then(|job| job.metadata.uid.clone())
    };
    tasks.spawn(ended(orphans::release(context.clone(), suspects, known)));
    tasks.spawn(ended(command_answers::look_after(context.clone(), store.clone(), told)));
    tasks.spawn(ended(watch::jobs(context, writer, deleted)));
    tasks.spawn(ended(watch::pods(context)));
    tasks.spawn(ended(watch::commands(context, places)));
    let clock = context.clone();
    tasks.spawn(async move {
        clock.workqueue.tell_time().await;
        Ok(())
    });
    for _ in 0..CONCURRENCY {
        tasks.spawn(ended(work(context.clone(), store.clone())));
    }
}

/// Looks at one job after the other, as long as the operator runs.
async fn work(context: Arc<Context>, jobs: Store<DockerUniverseJob>) {
    context.index.wait_until_ready().await;
    loop {
        let key = context.workqueue.next().await;
        let again = match jobs.get(&watch::reference(&key)) {
            Some(job) => match reconcile::reconcile(job.clone(), &context).await {
                Ok(again) => again,
                Err(error) => Some(reconcile::retry(&job, &error, &context)),
            },
            None => None, // it is gone
        };
        context.workqueue.done(key, again);
    }
}

/// A task that cannot fail; its end alone is the news.
async fn ended(task: impl Future<Output = ()>) -> anyhow::Result<()> {
    task.await;
    Ok(())
}

async fn client() -> anyhow::Result<Client> {
    let mut config = Config::infer().await.context("no Kubernetes API server is configured")?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.write_timeout = Some(Duration::from_secs(10));
    let builder = ClientBuilder::try_from(config)
        .context("the configuration of the API server is not usable")?;
    Ok(builder.with_layer(&ConcurrencyLimitLayer::new(IN_FLIGHT)).build())
}

/// The minor version of the API server, which is waited for: an operator that ends because the API server is being started
/// is only started again itself, later and later.
async fn server_minor(client: &Client) -> anyhow::Result<u32> {
    let mut pause = FIRST_PAUSE;
    let version = loop {
        match perform::call("read the API server's version", client.apiserver_version()).await {
            Ok(version) => break version,
            Err(error) => tracing::warn!("the API server does not serve yet: {error}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    let digits: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .with_context(|| format!("the API server's version '{}' is not understood", version.minor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, http::Response};
    use kube::client::Body as KubeBody;
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicU32, Ordering},
    };

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_is_being_started_is_waited_for() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let server = tower::service_fn(move |_: axum::http::Request<KubeBody>| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move {
                if number == 1 {
                    std::future::pending::<()>().await;
                }
                let version = r#"{"major":"1","minor":"36+","gitVersion":"","gitCommit":"","gitTreeState":"",
                    "buildDate":"","goVersion":"","compiler":"","platform":""}"#;
                let (status, body) = if number < 4 { (503, "not yet") } else { (200, version) };
                let answer = Response::builder().status(status).body(Body::from(body));
                Ok::<_, Infallible>(answer.expect("a response"))
            }
        });
        let client = Client::new(server, "default");
        assert_eq!(server_minor(&client).await.expect("a version"), 36);
        assert_eq!(asked.load(Ordering::Relaxed), 5);
    }
}
