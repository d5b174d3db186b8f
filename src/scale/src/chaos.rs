//! Chaos of the operator's life at scale: one job of thousands of procs and hundreds of small ones on simulated nodes, while
//! two operators are killed, stopped, woken and overlap; and then whether anything was lost, repeated or left over.
//!
//! Invariant: it ends well only if every proc ended as it should, ran as often as its record and its log tell, and every log is
//! whole. What really ran is told by the nodes ([`witness`](crate::witness)), not by the operator.

mod fates;
mod history;
mod judge;
mod people;
mod stage;
mod storm;
mod watches;

use crate::{fleet::Fleet, plan::Recipe, witness::Witness};
use anyhow::{Context as _, bail};
use fates::Job;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use people::{People, Tidy};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};
use storm::Storm;
use tokio::task::JoinSet;
use watches::{Seen, locked};

const NAMESPACE: &str = "chaos";
/// How often people do something.
const LOOK: Duration = Duration::from_millis(400);
const TELL: Duration = Duration::from_secs(10);
/// In calm, what has not moved for so long is stuck.
const STUCK: Duration = Duration::from_mins(3);

/// What is done, and where: written by `cargo xtask chaos --scale`, which brings the stage.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// How the operator is started.
    pub operator: Recipe,
    /// Where logs go.
    pub results: PathBuf,
    /// Simulated nodes.
    pub nodes: usize,
    /// Procs of the great job.
    pub procs: u32,
    /// Small jobs.
    pub jobs: u32,
    /// How long the operators are under attack, in seconds.
    pub seconds: f64,
    /// What chance is made of.
    pub seed: u64,
}

impl Plan {
    /// Reads it.
    pub fn read(path: &std::path::Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no plan", path.display()))
    }
}

/// Runs it.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    println!("chaos: {} procs and {} jobs, seed {}", plan.procs, plan.jobs, plan.seed);
    let kubeconfig = Kubeconfig::read_from(&plan.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let witness = Witness::default();
    let _fleet = Fleet::start(client.clone(), plan.nodes, Some(witness.clone())).await?;
    stage::fresh_namespace(&client).await?;
    stage::allow_a_second_lease(&client, &plan.operator.namespace).await?;
    let (seen, mut watches) = (Seen::default(), JoinSet::new());
    seen.watch(&client, &mut watches);
    let small = (0..plan.jobs).map(Job::small);
    let jobs = [Job::great(plan.procs)].into_iter().chain(small).collect();
    let mut people = People::new(client.clone(), NAMESPACE, witness.clone(), jobs, plan.seed);
    let mut storm = Storm::begin(&plan.operator, &plan.results, plan.seed)?;
    let begun = Instant::now();
    let raging = Duration::try_from_secs_f64(plan.seconds).context("that is no time")?;
    tokio::select! {
        raged = storm.rage(begun + raging) => raged?,
        ended = live(&mut people, &seen, begun, Some(raging)) => drop(ended?),
    }
    println!("{:4} s  the operators are left alone", begun.elapsed().as_secs());
    let mut problems: Vec<(String, String)> = Vec::new();
    tokio::select! {
        calm = storm.calm() => calm?,
        ended = live(&mut people, &seen, begun, None) => {
            problems.extend(ended?.map(|what| ("all".to_owned(), what)));
        }
    }
    let seconds = begun.elapsed().as_secs();
    let tally = tokio::select! {
        calm = storm.calm() => calm.map(|()| Tally::default())?,
        judged = judge_all(&client, &people, &seen, &witness, &mut problems) => judged?,
    };
    let operators = |what| ("the operators".to_owned(), what);
    if Duration::from_secs(storm.hits() * 20) < raging {
        problems.push(operators("they were hardly hit".to_owned()));
    }
    problems.extend(storm.problems.drain(..).map(operators));
    problems.extend(panics(&plan)?.into_iter().map(operators));
    tally.print(&storm, &people, &seen, &witness, seconds);
    if problems.is_empty() {
        println!("nothing was lost, repeated or left over");
        return Ok(());
    }
    let mut told = 0;
    for (job, what) in &problems {
        told += 1;
        if told <= 60 {
            println!("!!! {job}: {what}");
        }
    }
    bail!(
        "{} things are wrong; the operators' logs are in {}",
        problems.len(),
        plan.results.display()
    )
}

/// People do what they do until the end of the storm, or, without, until all is done; what is stuck.
async fn live(
    people: &mut People,
    seen: &Seen,
    begun: Instant,
    raging: Option<Duration>,
) -> anyhow::Result<Option<String>> {
    let (mut told, mut moved, mut last) = (Instant::now(), Instant::now(), [0; 4]);
    loop {
        if let Some(raging) = raging {
            people.submit(due(people.jobs.len(), begun.elapsed(), raging)).await?;
            people.disturb().await?;
        } else {
            people.submit(usize::MAX).await?;
        }
        let tidy = Tidy::of(&locked(&seen.history));
        people.tidy(&tidy).await?;
        if told.elapsed() >= TELL {
            told = Instant::now();
            let [idle, running, held, ended] = tidy.procs;
            println!(
                "{:4} s  {} jobs submitted, {} finished; procs: {ended} done, {running} run, {idle} idle, {held} held",
                begun.elapsed().as_secs(),
                people.submitted,
                tidy.finished
            );
        }
        if tidy.procs != last {
            (last, moved) = (tidy.procs, Instant::now());
        }
        if raging.is_none() {
            if tidy.finished + people.deleted.len() == people.jobs.len() {
                return Ok(None);
            }
            if moved.elapsed() > STUCK {
                return Ok(Some(format!("nothing has moved for {} s", STUCK.as_secs())));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The great job at once, the others until a little before the storm ends.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of some hundreds"
)]
fn due(jobs: usize, elapsed: Duration, raging: Duration) -> usize {
    let part = elapsed.as_secs_f64() / (raging.as_secs_f64() * 0.9).max(1.0);
    ((jobs as f64 * part.min(1.0)).ceil() as usize).max(1)
}

/// What was there to be judged.
#[derive(Default)]
struct Tally {
    events: usize,
    pages: i64,
}

impl Tally {
    fn print(&self, storm: &Storm, people: &People, seen: &Seen, witness: &Witness, seconds: u64) {
        for (what, times) in storm.deeds.iter().chain(&people.deeds) {
            println!("{times:8}  {what}");
        }
        println!("{:8}  runs, as the nodes count them", witness.all());
        println!("{:8}  events in the logs, {} pages", self.events, self.pages);
        println!("{:8}  versions of jobs seen", locked(&seen.history).versions);
        println!("{seconds:8}  seconds until all was done");
    }
}

async fn judge_all(
    client: &Client,
    people: &People,
    seen: &Seen,
    witness: &Witness,
    problems: &mut Vec<(String, String)>,
) -> anyhow::Result<Tally> {
    problems.extend(stage::quiet(client).await?.map(|what| ("the operators".to_owned(), what)));
    let mut tally = Tally::default();
    let answers = locked(&seen.answers).clone();
    let facts = judge::Facts { witness, given: &people.given, answers: &answers };
    let history = std::mem::take(&mut *locked(&seen.history));
    let mut clusters = BTreeMap::new();
    for job in people.jobs.iter().filter(|job| !people.deleted.contains(&job.name)) {
        let mut say = |what: String| problems.push((job.name.clone(), what));
        let Some(seen) = history.jobs.get(&job.name) else {
            say("it is gone".to_owned());
            continue;
        };
        let status = &seen.status;
        if let Some(other) = clusters.insert(status.cluster_id, &job.name) {
            say(format!("it has the cluster id of job '{other}'"));
        }
        let left = judge::Left::by(client, NAMESPACE, job, status).await?;
        tally.events += left.log.matches("\n...\n").count();
        tally.pages += left.pages;
        judge::job(job, seen, &left, &facts).into_iter().for_each(&mut say);
    }
    problems.extend(history.problems.iter().cloned());
    let versions = history.versions;
    locked(&seen.history).versions = versions;
    problems.extend(witness.breaches().into_iter().map(|what| ("the nodes".to_owned(), what)));
    if problems.is_empty() {
        problems.extend(stage::clean(client).await?.map(|what| ("left over".to_owned(), what)));
    }
    Ok(tally)
}

/// What the operators' logs tell of panics.
fn panics(plan: &Plan) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&plan.results)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = std::fs::read_to_string(&path)?;
            let panics = text.lines().filter(|line| line.contains("panicked"));
            found.extend(panics.map(str::to_owned));
        }
    }
    Ok(found)
}
