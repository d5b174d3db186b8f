//! What a run has cost: the difference of what stands on the meters before and after.
//!
//! Invariant: writes are counted until the controller has stopped to write, so that none is missed that comes a moment late.

use crate::{
    bench::Bench,
    board::Board,
    counts::Writes,
    fleet::End,
    operator::Operator,
    processes::Use,
    report::{self, Run},
    work::{Controller, Work},
};
use anyhow::bail;
use std::time::{Duration, Instant};

/// Nobody writes any more when nothing was written for so long.
const SETTLED: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_mins(5);
/// Part of the control plane that the Job controller is in.
const MANAGER: &str = "kube-controller-manager";

/// Work that is done.
pub struct Finished<'a> {
    /// Who did it.
    pub controller: Controller,
    /// The work.
    pub work: &'a Work,
    /// What was seen of it.
    pub board: &'a Board,
    /// When it was submitted.
    pub begun: Instant,
    /// The operator, where it did it.
    pub operator: Option<&'a Operator>,
}

/// What stood on the meters when something began.
pub struct Meter {
    writes: Writes,
    deleted: u64,
    plane: Vec<(&'static str, Use)>,
    operator: Use,
}

impl Meter {
    /// Reads them.
    pub async fn start(bench: &Bench, operator: Option<&Operator>) -> anyhow::Result<Self> {
        Ok(Self {
            writes: Writes::now(&bench.client).await?,
            deleted: bench.fleet.deleted(),
            plane: bench.plane.used(),
            operator: operator.map(Operator::used).transpose()?.unwrap_or_default(),
        })
    }

    /// The controller's writes since, `jobs` submissions apart.
    pub async fn writes_now(
        &self,
        bench: &Bench,
        controller: Controller,
        jobs: usize,
    ) -> anyhow::Result<Writes> {
        let deleted = bench.fleet.deleted() - self.deleted;
        let all = Writes::now(&bench.client).await?.since(&self.writes);
        Ok(all.of(controller, jobs.try_into()?, deleted.try_into()?))
    }

    /// The same, once it has stopped to write.
    pub async fn writes(
        &self,
        bench: &Bench,
        controller: Controller,
        jobs: usize,
    ) -> anyhow::Result<Writes> {
        let begun = Instant::now();
        let mut writes = self.writes_now(bench, controller, jobs).await?;
        loop {
            tokio::time::sleep(SETTLED).await;
            let now = self.writes_now(bench, controller, jobs).await?;
            if now == writes {
                return Ok(now);
            }
            if begun.elapsed() > PATIENCE {
                bail!("the controller goes on writing: {:?}", now.since(&writes));
            }
            writes = now;
        }
    }

    /// Processor seconds of the control plane's parts since, by name.
    pub fn plane(&self, bench: &Bench) -> Vec<(&'static str, f64)> {
        let before = |name: &str| {
            let mut all = self.plane.iter();
            all.find(|(known, _)| *known == name).map(|(_, used)| used.cpu).unwrap_or_default()
        };
        let now = bench.plane.used().into_iter();
        now.map(|(name, used)| (name, used.cpu.saturating_sub(before(name)).as_secs_f64()))
            .collect()
    }

    /// Processor seconds of the operator since.
    pub fn operator(&self, operator: &Operator) -> anyhow::Result<f64> {
        Ok(operator.used()?.cpu.saturating_sub(self.operator.cpu).as_secs_f64())
    }

    /// All that work has cost that began with this.
    #[expect(clippy::cast_precision_loss, reason = "counts of at most some hundred thousand")]
    pub async fn run(&self, bench: &Bench, finished: &Finished<'_>) -> anyhow::Result<Run> {
        let Finished { controller, work, board, begun, operator } = *finished;
        let writes = self.writes(bench, controller, work.jobs).await?;
        let plane = self.plane(bench);
        let (cpu, used) = if let Some(operator) = operator {
            (self.operator(operator)?, operator.used()?)
        } else {
            let cpu = plane.iter().find(|(name, _)| *name == MANAGER).map(|(_, cpu)| *cpu);
            let used = bench.plane.used().into_iter().find(|(name, _)| *name == MANAGER);
            (cpu.unwrap_or_default(), used.map(|(_, used)| used).unwrap_or_default())
        };
        let (times, events) = board.read(|seen| (seen.times.clone(), seen.events()));
        let last = times.last().map_or(begun, |(at, _)| *at);
        let seconds = last.duration_since(begun).as_secs_f64();
        let procs = work.all() as f64;
        Ok(Run {
            controller: controller.name(),
            jobs: work.jobs,
            procs: work.procs,
            seconds,
            rate: procs / seconds,
            writes: writes.total() as f64 / procs,
            writes_by_kind: writes.0,
            all_writes: Writes::now(&bench.client).await?.since(&self.writes).0,
            cpu,
            plane,
            resident: used.resident,
            peak: used.peak,
            events,
            latencies: latencies(bench, work, board),
            times: report::thin(begun, &times),
        })
    }
}

/// From the moment when the API server had a pod's end to the moment when the job's status was seen to say so, in seconds,
/// the shortest first; for jobs of one proc.
fn latencies(bench: &Bench, work: &Work, board: &Board) -> Vec<f64> {
    let ends = bench.fleet.take_ends();
    if work.procs > 1 {
        return Vec::new();
    }
    let mut found: Vec<f64> = board.read(|seen| {
        let of = |end: &End| {
            let visible = seen.jobs.get(&end.job)?.first_end?;
            Some(visible.saturating_duration_since(end.at).as_secs_f64())
        };
        ends.iter().filter_map(of).collect()
    });
    found.sort_by(f64::total_cmp);
    found
}
