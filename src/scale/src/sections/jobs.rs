//! Many jobs of one proc, all at once; then few, one after the other.

use crate::{
    bench::Bench,
    report::{Goal, Report, Run, median, quantile},
    work::{BOTH, Controller, Work},
};
use std::time::Duration;

/// Jobs that come one after the other.
const FEW: usize = 30;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let count = bench.plan.jobs;
    for _ in 0..bench.plan.runs {
        for controller in BOTH {
            report.jobs.push(bench.measured(controller, &Work::quick(count, 1)).await?);
        }
    }
    let few = Work { pause: Duration::from_millis(200), ..Work::quick(FEW.min(count), 1) };
    let mut idle = Vec::new();
    for controller in BOTH {
        idle.push(bench.measured(controller, &few).await?);
    }
    let pick = |runs: &[Run], controller: Controller, read: fn(&Run) -> f64| {
        median(runs.iter().filter(|run| run.controller == controller.name()).map(read))
    };
    let [ours, theirs] = BOTH.map(|controller| pick(&report.jobs, controller, |run| run.rate));
    report.row(
        format!("{count} jobs of one proc, jobs/s"),
        Some(Goal::AtLeast(200.0)),
        ours,
        Some(theirs),
    );
    report.row("the same, times batch/v1 Job's", Some(Goal::AtLeast(2.0)), ours / theirs, None);
    let [ours, theirs] = BOTH.map(|controller| pick(&report.jobs, controller, |run| run.writes));
    report.row("writes per job, all at once", Some(Goal::AtMost(4.0)), ours, Some(theirs));
    let [ours, theirs] = BOTH.map(|controller| pick(&idle, controller, |run| run.writes));
    report.row("writes per job, one after the other", Some(Goal::AtMost(3.0)), ours, Some(theirs));
    for (words, part, goal) in [("p50", 0.5, None), ("p99", 0.99, Some(Goal::Below(1.0)))] {
        let [ours, theirs] = BOTH.map(|controller| {
            let runs = report.jobs.iter().filter(|run| run.controller == controller.name());
            median(runs.map(|run| quantile(&run.latencies, part)))
        });
        report.row(
            format!("a pod's end until its job's status says so, {words}, s"),
            goal,
            ours,
            Some(theirs),
        );
    }
    let [ours, theirs] = BOTH
        .map(|controller| pick(&report.jobs, controller, |run| run.cpu / cast(run.jobs) * 1000.0));
    report.row("controller's processor time per job, ms", None, ours, Some(theirs));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a count of at most some hundred thousand")]
pub(super) fn cast(count: usize) -> f64 {
    count as f64
}
