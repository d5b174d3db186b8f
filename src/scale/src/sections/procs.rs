//! One job of many procs.

use super::jobs::cast;
use crate::{
    bench::Bench,
    report::{Goal, Report, Run, median},
    work::{BOTH, Controller, Work},
};
use anyhow::ensure;

/// Submitted and terminated; a start that is soon followed by its end is told with it.
const EVENTS: u64 = 2;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let count = bench.plan.procs;
    for _ in 0..bench.plan.runs {
        for controller in BOTH {
            let run = bench.measured(controller, &Work::quick(1, count)).await?;
            if controller == Controller::DockerUniverse {
                is_logged(&run)?;
            }
            report.procs.push(run);
        }
    }
    let pick = |read: fn(&Run) -> f64| {
        BOTH.map(|controller| {
            let runs = report.procs.iter().filter(|run| run.controller == controller.name());
            median(runs.map(read))
        })
    };
    let (rates, writes) = (pick(|run| run.rate), pick(|run| run.writes));
    let cpu = pick(|run| run.cpu / cast(run.procs) * 1000.0);
    let [ours, theirs] = rates;
    report.row(
        format!("one job of {count} procs, procs/s"),
        Some(Goal::AtLeast(250.0)),
        ours,
        Some(theirs),
    );
    report.row("the same, times batch/v1 Job's", Some(Goal::AtLeast(1.3)), ours / theirs, None);
    report.row("writes per proc", Some(Goal::AtMost(2.1)), writes[0], Some(writes[1]));
    report.row("controller's processor time per proc, ms", None, cpu[0], Some(cpu[1]));
    Ok(())
}

/// Whether each proc's end stands in the job's log.
pub(super) fn is_logged(run: &Run) -> anyhow::Result<()> {
    let least = EVENTS * run.procs as u64;
    ensure!(
        run.events >= least,
        "the log of {} procs has {} events, not at least {least}",
        run.procs,
        run.events
    );
    Ok(())
}
