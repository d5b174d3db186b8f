//! What a proc costs as jobs grow.

use super::{jobs::cast, procs::is_logged};
use crate::{
    bench::Bench,
    report::{Goal, Growth, Report},
    work::{Controller, Work},
};

pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let largest = bench.plan.large;
    for procs in [largest / 100, largest / 10, largest] {
        if procs == 0 {
            continue;
        }
        let run = bench.measured(Controller::DockerUniverse, &Work::quick(1, procs)).await?;
        is_logged(&run)?;
        let cpu_ms = run.cpu / cast(procs) * 1000.0;
        report.growth.push(Growth { procs, writes: run.writes, cpu_ms });
    }
    let spread = |read: fn(&Growth) -> f64| {
        let numbers = report.growth.iter().map(read);
        let (least, most) = numbers.fold((f64::INFINITY, 0f64), |(least, most), number| {
            (least.min(number), most.max(number))
        });
        (most / least - 1.0) * 100.0
    };
    let (writes, cpu) = (spread(|growth| growth.writes), spread(|growth| growth.cpu_ms));
    report.row(
        format!("writes per proc, {} to {largest} procs: most over least, %", largest / 100),
        Some(Goal::AtMost(20.0)),
        writes,
        None,
    );
    report.row("processor time per proc, likewise, %", Some(Goal::AtMost(20.0)), cpu, None);
    Ok(())
}
