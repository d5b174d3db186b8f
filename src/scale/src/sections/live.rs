//! Many live jobs: memory, and a restart among them.

use super::jobs::cast;
use crate::{
    bench::Bench,
    board::Board,
    meter::Meter,
    operator::Operator,
    report::{Goal, Report, mib},
    script::Run,
    work::{Controller, Work},
};
use anyhow::bail;
use std::time::{Duration, Instant};

const OURS: Controller = Controller::DockerUniverse;
/// What an operator looks at when it begins, it has looked at when it looks at nothing for so long.
const QUIET: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_mins(5);
/// Time in which a write that was not needed would be made.
const REST: Duration = Duration::from_secs(10);

pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let count = bench.plan.jobs;
    let work = Work { run: Run::UntilTold, ..Work::quick(count, 1) };
    let namespace = bench.namespace().await?;
    let operator = bench.operator().await?;
    let idle = operator.used()?;
    let board = Board::watch(bench.client.clone(), OURS, &namespace);
    let submitted = work.submit(&bench.client, OURS, &namespace);
    let running = board.until("live jobs", |seen| seen.running == count as u64);
    tokio::try_join!(submitted, running)?;
    let meter = Meter::start(bench, Some(&operator)).await?;
    meter.writes(bench, OURS, 0).await?;
    let used = operator.used()?;
    report.row("resident memory when idle, MiB", None, mib(idle.resident), None);
    report.row(
        format!("resident memory at {count} live procs, MiB"),
        Some(Goal::Below(100.0)),
        mib(used.peak),
        None,
    );
    eprintln!("    resident {:.1} MiB, peak {:.1} MiB", mib(used.resident), mib(used.peak));

    let restart = restart(bench, operator, count as u64).await?;
    report.row(
        format!("restart with {count} live procs until caught up, s"),
        Some(Goal::Below(10.0)),
        restart.seconds,
        None,
    );
    report.row("writes meanwhile", Some(Goal::AtMost(0.0)), cast(restart.writes), None);
    report.row(
        "peak memory of the new operator, MiB",
        None,
        mib(restart.operator.used()?.peak),
        None,
    );

    bench.fleet.tell();
    board.until("the jobs' ends", |seen| seen.finished == count).await?;
    drop(board);
    bench.clean(&namespace, OURS).await
}

struct Restart {
    operator: Operator,
    seconds: f64,
    writes: usize,
}

/// Kills the operator and starts it anew; it has caught up when it is ready and has looked at every job.
async fn restart(bench: &Bench, old: Operator, jobs: u64) -> anyhow::Result<Restart> {
    let meter = Meter::start(bench, None).await?;
    old.kill().await?;
    let begun = Instant::now();
    let mut operator = bench.unready_operator()?;
    operator.until_ready().await?;
    let ready = begun.elapsed();
    let (mut looks, mut last) = (0, begun);
    while looks < jobs || last.elapsed() < QUIET {
        let now = operator.looks().await?;
        if now != looks {
            (looks, last) = (now, Instant::now());
        }
        if begun.elapsed() > PATIENCE {
            bail!(
                "after {} s the new operator has looked {looks} times, at {jobs} jobs",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let seconds = last.duration_since(begun).as_secs_f64();
    tokio::time::sleep(REST).await;
    let writes = meter.writes(bench, OURS, 0).await?;
    eprintln!(
        "    ready after {:.2} s, caught up after {seconds:.2} s and {looks} looks, processor time {:.2} s; writes {:?}",
        ready.as_secs_f64(),
        operator.used()?.cpu.as_secs_f64(),
        writes.0,
    );
    let writes = writes.total().try_into()?;
    Ok(Restart { operator, seconds, writes })
}
