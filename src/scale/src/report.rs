//! What was measured: a table for people, JSON for programs, plots.

use crate::{plan::Plan, plots};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, time::Instant};

/// A MiB in bytes.
pub const MIB: f64 = 1_048_576.0;
/// Points of a plotted line.
const POINTS: usize = 400;

/// What one run of one controller came to.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Whose.
    pub controller: &'static str,
    /// Jobs.
    pub jobs: usize,
    /// Procs of each.
    pub procs: usize,
    /// From the first submission to the last proc's end in a status.
    pub seconds: f64,
    /// Procs a second.
    pub rate: f64,
    /// The controller's writes for each proc.
    pub writes: f64,
    /// The controller's writes, all of them.
    pub writes_by_kind: BTreeMap<String, i64>,
    /// Everybody's writes, Events too.
    pub all_writes: BTreeMap<String, i64>,
    /// The controller's processor time in seconds: the operator's, or the whole controller manager's.
    pub cpu: f64,
    /// Processor seconds of the control plane's parts.
    pub plane: Vec<(&'static str, f64)>,
    /// Resident memory of the controller's process at the end, in bytes.
    pub resident: u64,
    /// The most of it.
    pub peak: u64,
    /// Events in the jobs' logs.
    pub events: u64,
    /// From a pod's end to its job's status, in seconds, the shortest first.
    pub latencies: Vec<f64>,
    /// Seconds since the first submission, and procs done.
    pub times: Vec<(f64, u64)>,
}

impl Run {
    /// It in a line.
    pub fn line(&self) -> String {
        let plane: Vec<String> =
            self.plane.iter().map(|(name, cpu)| format!("{name} {cpu:.1}")).collect();
        format!(
            "{}: {:.1}/s in {:.1} s; writes per proc {:.3} {:?}; cpu {:.2} s ({}); resident {:.1} MiB, peak {:.1} MiB; to status p50 {:.3} s, p99 {:.3} s; {} log events",
            self.controller,
            self.rate,
            self.seconds,
            self.writes,
            self.writes_by_kind,
            self.cpu,
            plane.join(", "),
            mib(self.resident),
            mib(self.peak),
            quantile(&self.latencies, 0.5),
            quantile(&self.latencies, 0.99),
            self.events,
        )
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What.
    pub what: String,
    /// To reach.
    pub goal: String,
    /// Ours.
    pub ours: f64,
    /// What the Job controller came to, where it was asked.
    pub other: Option<f64>,
    /// Whether the goal is reached.
    pub reached: Option<bool>,
}

/// How much processor time and how many writes procs cost as a job grows.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    /// Procs of the job.
    pub procs: usize,
    /// Writes per proc.
    pub writes: f64,
    /// Processor milliseconds per proc.
    pub cpu_ms: f64,
}

/// All that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The table.
    pub rows: Vec<Row>,
    /// Runs of many jobs.
    pub jobs: Vec<Run>,
    /// Runs of one job of many procs.
    pub procs: Vec<Run>,
    /// Cost as jobs grow.
    pub growth: Vec<Growth>,
}

/// A goal that a number is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
    /// Less than so much.
    Below(f64),
}

impl Goal {
    fn is_reached(self, number: f64) -> bool {
        match self {
            Self::AtLeast(least) => number >= least,
            Self::AtMost(most) => number <= most,
            Self::Below(bound) => number < bound,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtLeast(least) => format!("at least {least}"),
            Self::AtMost(most) => format!("at most {most}"),
            Self::Below(bound) => format!("below {bound}"),
        }
    }
}

impl Report {
    /// Adds a line to the table.
    pub fn row(
        &mut self,
        what: impl Into<String>,
        goal: Option<Goal>,
        ours: f64,
        other: Option<f64>,
    ) {
        self.rows.push(Row {
            what: what.into(),
            goal: goal.map(Goal::words).unwrap_or_default(),
            ours,
            other,
            reached: goal.map(|goal| goal.is_reached(ours)),
        });
    }

    /// The table, in Markdown.
    pub fn table(&self) -> String {
        let mut text =
            "| | docker universe | batch/v1 Job | to reach | reached |\n|---|---|---|---|---|\n"
                .to_owned();
        for row in &self.rows {
            let other = row.other.map(figure).unwrap_or_default();
            let reached = match row.reached {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {other} | {} | {reached} |",
                row.what,
                figure(row.ours),
                row.goal
            );
        }
        text
    }
}

/// Writes the results as JSON, and the plots.
pub fn write(report: &Report, plan: &Plan) -> anyhow::Result<()> {
    std::fs::write(plan.results.join("scale.json"), serde_json::to_vec_pretty(report)?)?;
    if let Some(directory) = &plan.plots {
        std::fs::create_dir_all(directory)?;
        plots::draw(report, directory)?;
    }
    Ok(())
}

/// Bytes in MiB.
#[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// This part of sorted numbers is not larger; none where there are no numbers.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index"
)]
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The middle of some numbers.
pub fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    quantile(&numbers, 0.5)
}

/// So few moments that they can be drawn; the last is kept.
pub fn thin(begun: Instant, times: &[(Instant, u64)]) -> Vec<(f64, u64)> {
    let step = times.len().div_ceil(POINTS).max(1);
    let kept = times.iter().rev().step_by(step).rev();
    kept.map(|(at, done)| (at.saturating_duration_since(begun).as_secs_f64(), *done)).collect()
}

fn figure(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_numbers() {
        let numbers: Vec<f64> = (1..=100).map(f64::from).collect();
        for (part, expected) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            assert!((quantile(&numbers, part) - expected).abs() < f64::EPSILON, "{part}");
        }
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_goal_that_is_missed_is_told() {
        let mut report = Report::default();
        report.row("rate", Some(Goal::AtLeast(200.0)), 199.9, Some(94.0));
        report.row("memory", Some(Goal::Below(100.0)), 99.9, None);
        report.row("more", None, 1.0, None);
        let reached: Vec<_> = report.rows.iter().map(|row| row.reached).collect();
        assert_eq!(reached, [Some(false), Some(true), None]);
        assert!(report.table().contains("| rate | 200 | 94.0 | at least 200 | **no** |"));
        // What cannot be measured is not reached.
        report.row("none", Some(Goal::AtMost(1.0)), f64::NAN, None);
        assert_eq!(report.rows[3].reached, Some(false));
    }
}
