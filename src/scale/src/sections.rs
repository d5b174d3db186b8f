//! The parts of the bench.

mod growth;
mod jobs;
mod large;
mod live;
mod procs;

use crate::{bench::Bench, plan::Section, report::Report};

/// Runs one, and adds what it came to.
pub async fn run(bench: &Bench, section: Section, report: &mut Report) -> anyhow::Result<()> {
    match section {
        Section::Jobs => jobs::run(bench, report).await,
        Section::Procs => procs::run(bench, report).await,
        Section::Live => live::run(bench, report).await,
        Section::Large => large::run(bench, report).await,
        Section::Growth => growth::run(bench, report).await,
    }
}
