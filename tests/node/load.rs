//! Jobs that are submitted all the time, and what must be true of each of them in the end.
//!
//! Invariant: every pod that ever was is counted by its UID, from a watch that began before the first job.

use crate::world::{World, event_numbers, script};
use duj_api::{DockerUniverseJob, names, status::ProcStatus};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::PostParams,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// Between two jobs.
const PAUSE: Duration = Duration::from_millis(700);

/// Ways to end, in turn: a name, what is run, and the numbers of the log's events that there must be.
const FATES: [(&str, &str, &[u16]); 3] = [
    ("well", "sleep 1", &[0, 1, 6, 5]),
    ("ill", "exit 3", &[0, 1, 6, 5]),
    ("signalled", "sleep 1; kill -9 $$", &[0, 1, 6, 5]),
];

/// Pods by name, and the UIDs that they had.
type Pods = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

/// Jobs on their way.
pub struct Load {
    submitted: Arc<AtomicUsize>,
    enough: watch::Sender<bool>,
    pods: Pods,
    tasks: JoinSet<()>,
}

impl Load {
    /// Begins to submit.
    pub async fn begin(world: &World) -> Self {
        let (submitted, pods) = (Arc::<AtomicUsize>::default(), Pods::default());
        let enough = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let (ready, mut seen) = watch::channel(false);
        tasks.spawn(count_pods(world.api(), pods.clone(), ready));
        seen.wait_for(|seen| *seen).await.expect("pods can be watched");
        tasks.spawn(submit(world.api(), submitted.clone(), enough.subscribe()));
        Self { submitted, enough, pods, tasks }
    }

    /// Waits until so many further jobs are submitted.
    pub async fn jobs(&self, number: usize) {
        let wanted = self.submitted.load(Ordering::Relaxed) + number;
        while self.submitted.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(PAUSE / 4).await;
        }
    }

    /// Submits no more, waits for the ends of all, and judges.
    pub async fn end(mut self, world: &World) {
        self.enough.send_replace(true);
        let number = loop {
            // The submitting task ends by itself, the counting one does not.
            tokio::time::sleep(PAUSE).await;
            if self.tasks.try_join_next().is_some() {
                break self.submitted.load(Ordering::Relaxed);
            }
        };
        for job in 0..number {
            let (name, (fate, _, events)) = (name(job), FATES[job % FATES.len()]);
            let record = world.wait_for(&name, ProcStatus::Completed).await;
            let (code, signal) = (record.exit_code, record.exit_signal);
            let expected = match fate {
                "well" => (Some(0), None),
                "ill" => (Some(3), None),
                _ => (None, Some(9)),
            };
            assert_eq!((code, signal), expected, "{name}");
            let status = world.job(&name).await.status.unwrap();
            assert_eq!(event_numbers(&status), events, "{name}, {fate}");
            assert_eq!(record.num_job_starts, 1, "{name}");
        }
        let pods = self.pods.lock().unwrap().clone();
        let twice: Vec<_> = pods.iter().filter(|(_, uids)| uids.len() != 1).collect();
        assert!(twice.is_empty(), "pods that were made more than once: {twice:?}");
        assert_eq!(pods.len(), number, "one pod a job: {:?}", pods.keys());
        println!("{number} jobs, {} pods, each with each event once", pods.len());
        self.tasks.shutdown().await;
    }
}

fn name(job: usize) -> String {
    format!("load-{job}")
}

async fn submit(
    jobs: Api<DockerUniverseJob>,
    submitted: Arc<AtomicUsize>,
    enough: watch::Receiver<bool>,
) {
    for number in 0.. {
        if *enough.borrow() {
            return;
        }
        let (_, text, _) = FATES[number % FATES.len()];
        let mut spec = script(text, json!({ "requestCpus": "10m" }));
        spec["image"] = json!(crate::world::image("busybox:1.35"));
        let job: Value = json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": name(number) }, "spec": spec,
        });
        let job = serde_json::from_value(job).unwrap();
        jobs.create(&PostParams::default(), &job).await.expect("a job can be submitted");
        submitted.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn count_pods(api: Api<Pod>, pods: Pods, ready: watch::Sender<bool>) {
    let label = format!("{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY);
    let mut events = pin!(watcher(api, watcher::Config::default().labels(&label)));
    while let Some(event) = events.next().await {
        match event.expect("a watch goes on") {
            Event::InitDone => drop(ready.send_replace(true)),
            Event::Init => {}
            Event::InitApply(pod) | Event::Apply(pod) | Event::Delete(pod) => {
                let uid = pod.uid().unwrap_or_default();
                pods.lock().unwrap().entry(pod.name_any()).or_default().insert(uid);
            }
        }
    }
}
