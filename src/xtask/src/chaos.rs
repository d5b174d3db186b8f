//! `cargo xtask chaos`: many short jobs of mixed fates on a real cluster, while the operator is killed every three seconds,
//! the API server is killed, ended and frozen, and a proxy between the two injects faults.
//!
//! Invariant: it ends well only if every job ended as its fate says, ran as often as its log tells, and left nothing. What the
//! operator says of itself proves nothing here. A run that fails leaves the cluster to be looked at.

mod checks;
mod fates;
mod history;
mod htcondor;
mod operator;
mod people;
mod plan;
mod proxy;
mod report;
mod scale;
mod server;
mod stage;
mod storm;
mod witness;

use crate::{
    cluster::{self, Cluster},
    deploy, image,
};
use anyhow::{Context as _, bail};
use checks::Problem;
use people::{People, View};
use stage::Stage;
use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};
use storm::Storm;

/// Arguments of `cargo xtask chaos`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many jobs
    #[arg(long, default_value_t = 500)]
    jobs: usize,
    /// Minutes of killing every three seconds; a fifth of that with the proxy's faults alone follows
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// The plan of faults and fates; a failed run says which it was
    #[arg(long)]
    seed: Option<u64>,
    /// The cluster of `cargo xtask cluster` that is meant; brought up if it is not
    #[arg(long, value_name = "NAME", env = "DOCKER_UNIVERSE_CLUSTER")]
    cluster: Option<String>,
    /// The operator is installed already
    #[arg(long)]
    installed: bool,
    /// On simulated nodes: one job of many procs besides, and two operators that overlap. It brings a cluster of its own and
    /// takes it down, unless one is named
    #[arg(long, conflicts_with = "installed")]
    scale: bool,
    /// With --scale: procs of the one job
    #[arg(long, default_value_t = 2000, requires = "scale")]
    procs: usize,
    /// The form that `cargo xtask test` runs: 60 jobs, half a minute of killing; with --scale a little more
    #[arg(long, conflicts_with_all = ["jobs", "minutes", "procs"])]
    short: bool,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
struct Measure {
    jobs: usize,
    storm: Duration,
    seed: u64,
    /// Time between two troubles of the API server.
    server_every: Duration,
}

impl Measure {
    fn short(seed: Option<u64>) -> Self {
        let storm = Duration::from_secs(30);
        Self { jobs: 60, storm, seed: seed_or_new(seed), server_every: Duration::from_secs(11) }
    }
}

fn seed_or_new(seed: Option<u64>) -> u64 {
    seed.unwrap_or_else(|| fastrand::u64(..100_000))
}

/// How often people look at their jobs.
const LOOK: Duration = Duration::from_millis(1500);
/// How often it is told how far things are.
const TELL: Duration = Duration::from_secs(10);
/// Without chaos, jobs that have not moved for so long are stuck.
const STUCK: Duration = Duration::from_mins(5);
/// The most jobs that are not settled: a node has room for so many pods.
const AT_ONCE: usize = 90;
/// How long nothing is to be written when nothing is left to do, and how often that is tried.
const QUIET: Duration = Duration::from_secs(8);
const QUIET_TRIES: usize = 8;

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.scale {
        let seed = seed_or_new(arguments.seed);
        let measure = if arguments.short {
            scale::Measure::short(seed)
        } else {
            let Arguments { procs, jobs, minutes, .. } = *arguments;
            scale::Measure { procs, jobs, seconds: minutes * 60.0, seed }
        };
        return scale::run(measure, arguments.cluster.as_deref());
    }
    let cluster = cluster::up(arguments.cluster.as_deref().unwrap_or(cluster::DEFAULT_NAME))?;
    image::push_workloads(&image::Registry::of_cluster(&cluster.registry)?)?;
    if !arguments.installed {
        let kubeconfig = cluster.kubeconfig.to_string_lossy();
        let place = ["--cluster", &*cluster.name, "--kubeconfig", &*kubeconfig];
        deploy::with(&[&place[..], &["--set", "imagePatienceSeconds=20"]].concat())?;
    }
    let measure = if arguments.short {
        Measure::short(arguments.seed)
    } else {
        Measure {
            jobs: arguments.jobs,
            storm: Duration::try_from_secs_f64(arguments.minutes * 60.0)
                .context("that is no number of minutes")?,
            seed: seed_or_new(arguments.seed),
            server_every: Duration::from_secs(25),
        }
    };
    on(&cluster, measure)
}

/// The short form, on a cluster where the operator is installed.
pub(crate) fn short(cluster: &Cluster) -> anyhow::Result<()> {
    on(cluster, Measure::short(None))
}

fn on(cluster: &Cluster, measure: Measure) -> anyhow::Result<()> {
    println!("chaos with {} jobs, seed {}", measure.jobs, measure.seed);
    let program = image::operator()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(play(cluster, measure, program));
    runtime.shutdown_background();
    result.with_context(|| {
        format!(
            "chaos with seed {}; the cluster is left as it is, the operator's Deployment without replicas; more in {}",
            measure.seed,
            stage::directory(cluster).display()
        )
    })
}

async fn play(
    cluster: &Cluster,
    measure: Measure,
    program: std::path::PathBuf,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let stage = Stage::set(cluster, measure.seed, program).await?;
    let mut chance = fastrand::Rng::with_seed(measure.seed);
    let jobs = (0..measure.jobs).map(|number| {
        // One job whose log does not fit into the status.
        let many = measure.jobs >= 200 && number == 30;
        fates::job(&stage.ground, number, many, &mut chance)
    });
    let mut people = People::new(
        stage.administrator.clone(),
        &stage.ground.namespace,
        stage.witness.clone(),
        jobs.collect(),
    );
    let (view, storm) = weather(cluster, &stage, measure, &mut people).await?;
    let seconds = begun.elapsed().as_secs();
    let mut problems = stage.operators_problems();
    problems.extend(quiet(&stage).await);
    let logs = checks::logs(&stage.administrator, &stage.ground.namespace, &people, &view).await?;
    problems.extend(checks::judge(&people, &view, &logs, &stage.witness));
    problems.extend(checks::deleted(&people, &stage.witness));
    let concurrent = stage.witness.concurrent().into_iter();
    problems.extend(concurrent.map(|what| ("two runs at a time".to_owned(), what)));
    problems.extend(htcondor::compare(&logs)?);
    if problems.is_empty() {
        let left = people.clean(15).await.context("cannot delete the jobs")?;
        problems.extend(left.into_iter().map(|what| ("left over".to_owned(), what)));
    }
    problems.extend(stage.operators_problems());
    report::print(&stage, &people, &storm, &logs, seconds);
    if problems.is_empty() {
        stage.clear().await?;
        println!("nothing was lost, repeated or left over");
        return Ok(());
    }
    keep(cluster, &logs)?;
    fail(&people, &view, &logs, &problems)
}

/// The storm, the faults alone, and the calm until all is settled. The last view, and what the storm did.
async fn weather(
    cluster: &Cluster,
    stage: &Stage,
    measure: Measure,
    people: &mut People,
) -> anyhow::Result<(View, storm::Deeds)> {
    stage.proxy.inject(true);
    let mut storm = Some(Storm::begin(cluster, stage.killer.clone(), measure.server_every));
    let mut deeds = storm::Deeds::default();
    let (begun, mut told) = (Instant::now(), Instant::now());
    let faults_alone = measure.storm / 5;
    let mut calm_since = None;
    loop {
        let (submitted, settled) = people.progress();
        let elapsed = begun.elapsed();
        people.submit(due(measure, elapsed).min(AT_ONCE + settled).saturating_sub(submitted)).await;
        let view = people.look().await;
        match &view {
            Ok(view) => people.act(view).await,
            Err(_) => people.failed += 1,
        }
        if elapsed >= measure.storm
            && submitted == measure.jobs
            && let Some(storm) = storm.take()
        {
            println!("{:4} s  the operator is killed no more, faults go on", elapsed.as_secs());
            deeds = storm.end().await?;
            calm_since = Some(Instant::now() + faults_alone);
        }
        if calm_since.is_some_and(|since| since <= Instant::now()) {
            stage.proxy.inject(false);
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            report::progress(stage, people, elapsed);
        }
        let calm = calm_since.filter(|since| *since <= Instant::now());
        if let Some(since) = calm {
            match view {
                Ok(view) if people.progress().1 == measure.jobs => return Ok((view, deeds)),
                Ok(view) if since.elapsed() > STUCK && stuck(people) => return Ok((view, deeds)),
                _ => {}
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How many jobs are to be submitted by now: all of them a little before the storm ends.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of some hundreds"
)]
fn due(measure: Measure, elapsed: Duration) -> usize {
    let part = elapsed.as_secs_f64() / (measure.storm.as_secs_f64() * 0.9).max(1.0);
    ((measure.jobs as f64 * part.min(1.0)).ceil() as usize).min(measure.jobs)
}

/// Whether nothing moves any more, although something should.
fn stuck(people: &People) -> bool {
    people.plays.iter().filter(|play| !play.settled()).all(|play| play.moved.elapsed() > STUCK)
}

/// When nothing is left to do, nothing is written.
async fn quiet(stage: &Stage) -> Option<Problem> {
    for _ in 0..QUIET_TRIES {
        let before = stage.proxy.sent();
        tokio::time::sleep(QUIET).await;
        if stage.proxy.sent() == before {
            return None;
        }
    }
    Some(("the operator".to_owned(), "it goes on writing when nothing is left to do".to_owned()))
}

fn keep(cluster: &Cluster, logs: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let directory = stage::directory(cluster).join("logs");
    fs::create_dir_all(&directory)?;
    for (job, log) in logs {
        fs::write(directory.join(format!("{job}.log")), log)?;
    }
    Ok(())
}

/// Shows what is wrong, job by job.
fn fail(
    people: &People,
    view: &View,
    logs: &BTreeMap<String, String>,
    problems: &[Problem],
) -> anyhow::Result<()> {
    let mut by_job: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (job, what) in problems {
        by_job.entry(job).or_default().push(what);
    }
    for (job, wrong) in &by_job {
        println!("\n=== {job}");
        for what in wrong {
            println!("!!! {what}");
        }
        if let Some(play) = people.plays.iter().find(|play| play.job.name == *job) {
            println!("--- {} of its steps are done: {:?}", play.at, play.job.steps);
        }
        if let Some(status) = view.jobs.get(*job).and_then(|job| job.status.as_ref()) {
            println!("--- status {}", serde_json::to_string(&status.procs)?);
        }
        if let Some(log) = logs.get(*job) {
            println!("--- userlog\n{log}");
        }
    }
    bail!("{} things are wrong with {} jobs", problems.len(), by_job.len())
}
