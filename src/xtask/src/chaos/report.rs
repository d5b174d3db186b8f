//! What is told of a run. Invariant: every figure was counted, none was planned.

use super::{people::People, stage::Stage, storm::Deeds};
use std::{collections::BTreeMap, time::Duration};

/// One line while it goes on.
pub(super) fn progress(stage: &Stage, people: &People, elapsed: Duration) {
    let (submitted, settled) = people.progress();
    let (runs, open) = stage.witness.total();
    println!(
        "{:4} s  {submitted} of {} jobs submitted, {settled} settled, {runs} runs ({open} now), {} kills, {} faults",
        elapsed.as_secs(),
        people.plays.len(),
        stage.killer.kills().values().sum::<u64>(),
        stage.proxy.counts().values().sum::<u64>(),
    );
}

/// The figures at the end.
pub(super) fn print(
    stage: &Stage,
    people: &People,
    deeds: &Deeds,
    logs: &BTreeMap<String, String>,
    seconds: u64,
) {
    let mut fates: BTreeMap<&str, u64> = BTreeMap::new();
    for play in &people.plays {
        *fates.entry(play.job.fate).or_default() += 1;
    }
    let procs: u32 = people.plays.iter().map(|play| play.job.procs).sum();
    let events: usize = logs.values().map(|log| log.matches("\n...\n").count()).sum();
    let (kills, faults) = (stage.killer.kills(), stage.proxy.counts());
    line("jobs", people.plays.len() as u64, &fates);
    line("procs", procs.into(), &BTreeMap::new());
    line("operator killed", kills.values().sum(), &kills);
    line("API server", deeds.values().sum(), deeds);
    line("faults of the proxy", faults.values().sum(), &BTreeMap::new());
    for (kind, count) in &faults {
        println!("    {count:6}  {kind}");
    }
    line("executions", stage.witness.total().0 as u64, &BTreeMap::new());
    line("events in the logs", events as u64, &BTreeMap::new());
    line("commands given again", people.repeated(), &BTreeMap::new());
    line("calls of people that failed", people.failed, &BTreeMap::new());
    line("seconds until all was settled", seconds, &BTreeMap::new());
}

fn line(what: &str, count: u64, parts: &BTreeMap<&str, u64>) {
    let parts: Vec<_> = parts.iter().map(|(part, count)| format!("{part}: {count}")).collect();
    println!("{what:30} {count:6}  {}", parts.join(", "));
}
