//! The real node plays the cases of `tests/reality`, and gives the pod statuses that are recorded there.
//!
//! `DOCKER_UNIVERSE_RECORD=1` adds to the record what is new, for a new version of Kubernetes or a new case. Before a change
//! of a record is committed it is read: each line is what an operator's decision has to understand.

use crate::{
    evictions::bind,
    inside,
    reality::{
        cases::{self, Case, Fate, Step, Until},
        histories::{Book, Run},
        look,
    },
    world::{World, image, script},
};
use duj_api::{DockerUniverseJob, names};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    ResourceExt,
    api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

const KEEP: &str = "docker-universe.test/keep";
/// Nothing more is told of a pod at rest; so long is it looked at.
const LINGER: Duration = Duration::from_secs(2);
/// People are quick here: some cases are about moments.
const SOON: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_mins(3);
/// So often a case may go otherwise than recorded, less one.
const ROUNDS: usize = 3;

/// The job's specification.
fn spec(fate: Fate) -> Value {
    let runs = |first: &str, others: Value| {
        let text = format!("grep -q 'NumJobStarts = 0' .job.ad || {{ sleep 3; exit 0; }}\n{first}");
        script(&text, others)
    };
    let plain = |first: &str| runs(first, json!({ "maxVacateTime": 4 }));
    match fate {
        Fate::Exits(code) => plain(&format!("sleep 3; exit {code}")),
        Fate::ExitsLate => plain("sleep 20"),
        Fate::DiesBy(signal) => plain(&format!("sleep 3; kill -{signal} $$")),
        Fate::OutOfMemory => {
            runs("sleep 3; exec tail /dev/zero", json!({ "requestMemory": "16Mi" }))
        }
        Fate::ChildOutOfMemory => {
            runs("sleep 3; tail /dev/zero; exit 0", json!({ "requestMemory": "16Mi" }))
        }
        Fate::OverDisk => runs(
            "sleep 2; dd if=/dev/zero of=big bs=1M count=30; sleep 1000",
            json!({ "requestDisk": "10Mi" }),
        ),
        Fate::Missing => json!({ "executable": "/no/such/program" }),
        Fate::Stays => plain("exec sleep 3600"),
        Fate::StaysDeaf => plain("trap '' TERM; while :; do sleep 1; done"),
        Fate::StaysAndExits(code) => {
            plain(&format!("trap 'sleep 2; exit {code}' TERM; while :; do sleep 0.2; done"))
        }
        Fate::NoImage => json!({ "image": image("absent:1"), "executable": "true" }),
        // Nobody listens there.
        Fate::NoRegistry => json!({ "image": "127.0.0.1:9/busybox:1.35", "executable": "true" }),
        Fate::NoConfiguration => json!({
            "executable": "true",
            "environment": [{ "name": "WORD", "valueFrom": { "secretKeyRef": { "name": "never", "key": "word" } } }],
        }),
        Fate::NoVolume => json!({
            "executable": "true",
            "volumes": [{ "name": "v", "configMap": { "name": "never" } }],
            "volumeMounts": [{ "name": "v", "mountPath": "/data" }],
        }),
        // The runtime cannot mount a file over a directory.
        Fate::CannotStart => json!({
            "executable": "true",
            "volumes": [{ "name": "v", "configMap": { "name": "there" } }],
            "volumeMounts": [{ "name": "v", "mountPath": "/etc", "subPath": "word" }],
        }),
        Fate::TooBig => json!({ "executable": "true", "requestCpus": 1000 }),
        Fate::Misplaced => json!({
            "executable": "true", "requestCpus": 64, "scheduling": { "schedulerName": "nobody" },
        }),
    }
}

/// What a watcher has seen so far of a job's pods: name and UID, versions as lines, the latest version.
#[derive(Default)]
struct Seen(Vec<(String, Vec<String>, Option<Value>)>);

impl Seen {
    fn take(&mut self, event: WatchEvent<Pod>) {
        let (pod, gone) = match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => (pod, false),
            WatchEvent::Deleted(pod) => (pod, true),
            _ => return,
        };
        let uid = pod.uid().unwrap_or_default();
        let pod = serde_json::to_value(&pod).unwrap();
        let Some(line) = look::of(&pod) else { return };
        let index = self.0.iter().position(|(known, ..)| *known == uid).unwrap_or_else(|| {
            self.0.push((uid, Vec::new(), None));
            self.0.len() - 1
        });
        let (_, lines, latest) = &mut self.0[index];
        if lines.last() != Some(&line) {
            lines.push(line);
        }
        if gone {
            lines.push(look::GONE.to_owned());
        }
        *latest = (!gone).then_some(pod);
    }

    /// The oldest pod that is there.
    fn oldest(&self) -> Option<&Value> {
        self.0.iter().find_map(|(.., latest)| latest.as_ref())
    }
}

/// Watches the job's pods from now on.
async fn watch(world: &World, job: &str) -> Arc<Mutex<Seen>> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let label = format!("{}={job}", names::LABEL_JOB);
    let pods = world.api::<Pod>();
    let from = pods.list(&ListParams::default().labels(&label)).await.expect("pods can be listed");
    let version = from.metadata.resource_version.unwrap();
    let parameters = WatchParams::default().labels(&label);
    let notes = seen.clone();
    tokio::spawn(async move {
        let stream = pods.watch(&parameters, &version).await.expect("pods can be watched");
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            notes.lock().unwrap().take(event.expect("a watch goes on"));
        }
    });
    seen
}

async fn take(world: &World, job: &str, pod: Option<&str>, step: Step) {
    let (pods, name) = (world.api::<Pod>(), pod.unwrap_or_default());
    let finalizers = |patch: Value| Patch::Strategic(json!({ "metadata": patch }));
    let parameters = PatchParams::default();
    match step {
        Step::DeletePod => drop(pods.delete(name, &DeleteParams::default()).await.unwrap()),
        Step::DeletePodAtOnce => {
            drop(pods.delete(name, &DeleteParams::default().grace_period(0)).await.unwrap());
        }
        Step::EvictPod => drop(pods.evict(name, &EvictParams::default()).await.unwrap()),
        Step::KeepPod => {
            let keep = finalizers(json!({ "finalizers": [KEEP] }));
            drop(pods.patch(name, &parameters, &keep).await.unwrap());
        }
        Step::LetPodGo => {
            let free = finalizers(json!({ "$deleteFromPrimitiveList/finalizers": [KEEP] }));
            drop(pods.patch(name, &parameters, &free).await.unwrap());
        }
        Step::BindPod => bind(world, name, &world.node().await.name_any()).await,
        Step::DeleteJob => {
            let jobs = world.api::<DockerUniverseJob>();
            drop(jobs.delete(job, &DeleteParams::default()).await.unwrap());
        }
        Step::KillStarter => inside::kill(inside::starter_of(world, job).await),
        Step::Command(verb) => drop(world.command(verb, job).await),
    }
}

async fn play(world: &World, case: &Case) -> Run {
    let seen = watch(world, case.name).await;
    world.submit(case.name, spec(case.fate)).await;
    let jobs = world.api::<DockerUniverseJob>();
    let job = || async {
        let job = jobs.get_opt(case.name).await.expect("the server answers");
        job.map(|job| serde_json::to_value(job).unwrap())
    };
    let pod = || seen.lock().unwrap().oldest().cloned();
    for (until, step) in &case.steps {
        let time = async {
            loop {
                let job = if matches!(until, Until::Is(_)) { job().await } else { None };
                if until.is_met(pod().as_ref(), job.as_ref()) {
                    break;
                }
                tokio::time::sleep(SOON).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, time).await;
        assert!(in_time.is_ok(), "'{}' was not at {until:?}: {:?}", case.name, lines(&seen));
        let name = pod().and_then(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned()));
        take(world, case.name, name.as_deref(), *step).await;
    }
    world
        .until(&format!("'{}' is at rest", case.name), || async {
            let job = job().await;
            let seen = seen.lock().unwrap();
            let latest: Vec<_> = seen.0.iter().map(|(.., latest)| latest.clone()).collect();
            cases::is_at_rest(job.as_ref(), &latest)
        })
        .await;
    tokio::time::sleep(LINGER).await;
    lines(&seen)
}

fn lines(seen: &Mutex<Seen>) -> Run {
    seen.lock().unwrap().0.iter().map(|(_, lines, _)| without_full_node(lines)).collect()
}

/// Whether there was room on the node at once depends on what else is tested; a pod that has got a node has got it.
fn without_full_node(lines: &[String]) -> Vec<String> {
    let bound = lines.iter().any(|line| line.contains(", bound"));
    let lines = lines.iter().filter(|line| !bound || !line.contains("unschedulable"));
    lines.cloned().collect()
}

/// Plays cases; what does not go as recorded is played again. A node that has changed its ways shows it each time; an order of
/// two writes that a busy node takes once in a hundred times is nobody's mistake, and not in the record.
async fn compare(group: &str, mut cases: Vec<Case>) {
    let mut wrong = String::new();
    for _ in 0..ROUNDS {
        wrong.clear();
        let world = World::new(group).await;
        let there = json!({ "metadata": { "name": "there" }, "data": { "word": "a file" } });
        world.create::<ConfigMap>(there).await;
        let runs = futures::future::join_all(cases.iter().map(|case| play(&world, case))).await;
        let records = std::env::var_os("DOCKER_UNIVERSE_RECORD").is_some();
        let mut book = Book::read();
        let mut runs = runs.into_iter();
        cases.retain(|case| {
            let run = runs.next().expect("a run for each case");
            let objections = book.objections(case.name, &run);
            if records {
                book.add(case.name, &run);
            } else if !objections.is_empty() {
                let what = objections.join("\n  ");
                writeln!(wrong, "--- {}: {what}\nof {run:#?}", case.name).unwrap();
            }
            !records && !objections.is_empty()
        });
        world.end().await;
        if cases.is_empty() {
            return;
        }
        eprintln!("once more, for reality is not as recorded\n{wrong}");
    }
    panic!("reality is not as recorded, {ROUNDS} times\n{wrong}");
}

#[tokio::test]
async fn recorded_statuses_of_jobs_that_end_by_themselves() {
    compare("recorded-ends", cases::ends()).await;
}

#[tokio::test]
async fn recorded_statuses_of_jobs_that_cannot_start() {
    compare("recorded-starts", cases::starts()).await;
}

#[tokio::test]
async fn recorded_statuses_of_what_is_deleted() {
    compare("recorded-deleted", cases::deleted()).await;
}

#[tokio::test]
async fn recorded_statuses_of_what_commands_do() {
    compare("recorded-commands", cases::by_commands()).await;
}
