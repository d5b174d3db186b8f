//! Plots as SVG.

use crate::report::{Report, Run};
use plotters::{
    backend::SVGBackend,
    chart::ChartBuilder,
    drawing::IntoDrawingArea as _,
    element::PathElement,
    series::LineSeries,
    style::{BLACK, Color as _, RGBColor, WHITE},
};
use std::path::Path;

const SIZE: (u32, u32) = (720, 400);
const OURS: RGBColor = RGBColor(0, 114, 178);
const THEIRS: RGBColor = RGBColor(213, 94, 0);

/// A line with its name.
struct Line {
    name: String,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws what was measured into this directory.
pub fn draw(report: &Report, directory: &Path) -> anyhow::Result<()> {
    let done = |runs: &[Run]| -> Vec<Line> {
        let line = |run: &Run| {
            let points = run.times.iter().map(|(at, done)| (*at, float(*done)));
            Line { points: [(0.0, 0.0)].into_iter().chain(points).collect(), ..line_of(run) }
        };
        runs.iter().map(line).collect()
    };
    if !report.jobs.is_empty() {
        let words = ["jobs of one proc", "seconds since the first submission", "jobs done"];
        plot(&directory.join("scale-jobs.svg"), words, &done(&report.jobs))?;
        let words = ["from a pod's end to its job's status", "percent of the jobs", "seconds"];
        let lines: Vec<Line> = report.jobs.iter().map(delays).collect();
        plot(&directory.join("scale-latency.svg"), words, &lines)?;
    }
    if !report.procs.is_empty() {
        let words = ["one job of many procs", "seconds since the submission", "procs done"];
        plot(&directory.join("scale-procs.svg"), words, &done(&report.procs))?;
    }
    if !report.growth.is_empty() {
        let grown = |read: fn(&crate::report::Growth) -> f64, name: &str, color| Line {
            name: name.to_owned(),
            color,
            points: report
                .growth
                .iter()
                .map(|it| (float(it.procs as u64).log10(), read(it)))
                .collect(),
        };
        let lines = [
            grown(|it| it.writes, "writes", OURS),
            grown(|it| it.cpu_ms, "operator's processor time, ms", THEIRS),
        ];
        let words = ["what a proc costs", "procs of the job, decimal logarithm", "for each proc"];
        plot(&directory.join("scale-growth.svg"), words, &lines)?;
    }
    Ok(())
}

fn line_of(run: &Run) -> Line {
    let color = if run.controller == "docker universe" { OURS } else { THEIRS };
    Line { name: run.controller.to_owned(), color, points: Vec::new() }
}

fn delays(run: &Run) -> Line {
    let last = run.latencies.len().saturating_sub(1).max(1);
    let step = (run.latencies.len() / 400).max(1);
    let points = run.latencies.iter().enumerate();
    let points = points.filter(|(at, _)| at % step == 0 || *at == last);
    let points = points.map(|(at, delay)| (float(at as u64) * 100.0 / float(last as u64), *delay));
    Line { points: points.collect(), ..line_of(run) }
}

fn plot(path: &Path, [title, across, up]: [&str; 3], lines: &[Line]) -> anyhow::Result<()> {
    let all = || lines.iter().flat_map(|line| &line.points);
    let least = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let right = all().map(|point| point.0).fold(0.0, f64::max);
    let top = all().map(|point| point.1).fold(0.0, f64::max) * 1.1;
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let broken = |error: &dyn std::fmt::Display| anyhow::anyhow!("{}: {error}", path.display());
    area.fill(&WHITE).map_err(|error| broken(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(least.min(right)..right.max(least + 0.001), 0.0..top.max(0.001))
        .map_err(|error| broken(&error))?;
    let mut mesh = chart.configure_mesh();
    let mesh = mesh.x_desc(across).y_desc(up).light_line_style(WHITE);
    mesh.draw().map_err(|error| broken(&error))?;
    let mut named: Vec<&str> = Vec::new();
    for line in lines {
        let color = line.color;
        let series = LineSeries::new(line.points.iter().copied(), color.stroke_width(2));
        let drawn = chart.draw_series(series).map_err(|error| broken(&error))?;
        // Runs of one kind share a name.
        if !named.contains(&line.name.as_str()) {
            named.push(&line.name);
            drawn.label(line.name.as_str()).legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2))
            });
        }
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
        .map_err(|error| broken(&error))?;
    area.present().map_err(|error| broken(&error))
}

#[expect(clippy::cast_precision_loss, reason = "it is drawn")]
fn float(number: u64) -> f64 {
    number as f64
}
