//! One job of very many procs: memory, and a small job that is submitted behind it.

use crate::{
    bench::Bench,
    board::Board,
    report::{Goal, Report, mib},
    script::Run,
    slim::{self, Pod},
    work::{Controller, Work},
};
use anyhow::Context as _;
use futures::TryStreamExt as _;
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use std::time::{Duration, Instant};

const OURS: Controller = Controller::DockerUniverse;
/// Small jobs are submitted so often while the large one is being worked on.
const TRIES: usize = 5;
const BETWEEN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_mins(5);

pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let plan = &bench.plan;
    let live = plan.live.min(plan.large);
    let work = Work {
        run: Run::UntilTold,
        live: (live < plan.large).then_some(live),
        ..Work::quick(1, plan.large)
    };
    let (namespace, beside) = (bench.namespace().await?, bench.namespace().await?);
    let operator = bench.operator().await?;
    let board = Board::watch(bench.client.clone(), OURS, &namespace);
    work.submit(&bench.client, OURS, &namespace).await?;
    let mut longest = Duration::ZERO;
    for number in 0..TRIES {
        let took = small_job(bench, &beside, number).await?;
        eprintln!("    small job {number}: its pod is there after {:.2} s", took.as_secs_f64());
        longest = longest.max(took);
        tokio::time::sleep(BETWEEN).await;
    }
    report.row(
        format!("a job of one proc behind {} procs until its pod is there, s", plan.large),
        Some(Goal::Below(5.0)),
        longest.as_secs_f64(),
        None,
    );
    board.until("live procs", |seen| seen.running >= live as u64).await?;
    let used = operator.used()?;
    report.row(
        format!("resident memory at {} procs of one job, {live} live, MiB", plan.large),
        Some(Goal::Below(150.0)),
        mib(used.peak),
        None,
    );
    eprintln!("    resident {:.1} MiB, peak {:.1} MiB", mib(used.resident), mib(used.peak));
    drop(board);
    // What runs is not waited for: the operator lets go of the pods of a job that is gone.
    bench.clean(&namespace, OURS).await?;
    bench.clean(&beside, OURS).await
}

/// From a small job's submission to its pod's existence.
async fn small_job(bench: &Bench, namespace: &str, number: usize) -> anyhow::Result<Duration> {
    let pods: Api<Pod> = Api::namespaced_with(bench.client.clone(), namespace, &slim::pods());
    let mut events = std::pin::pin!(watcher(pods, watcher::Config::default()).applied_objects());
    let begun = Instant::now();
    Work::quick(1, 1).submit_as(&bench.client, OURS, namespace, &format!("small-{number}")).await?;
    let there = async {
        while let Some(pod) = events.try_next().await? {
            if pod.owner() == format!("small-{number}-0") {
                return Ok(begun.elapsed());
            }
        }
        anyhow::bail!("the watch of pods ended")
    };
    tokio::time::timeout(PATIENCE, there).await.context("the small job gets no pod")?
}
