//! Simulated nodes: node objects with leases, and one watch of all pods that are bound to them.
//!
//! Invariant: of each pod there is one life, told in order, as its kubelet would tell it; writes are made as a kubelet makes
//! them, guarded by the pod's UID. A real kubelet reads the pod before each write, which these do not.

use crate::{
    kubelet::{self, Life, Moment},
    script::{Run, Script},
    slim::{self, Pod},
    witness::{self, Witness},
};
use anyhow::Context as _;
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::Request,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// Room for pods on each node.
pub const PODS: usize = 1000;
/// Label and taint of simulated nodes: what is not of the bench does not come to them.
pub const LABEL: &str = "simulated.dockeruniverse.io/node";

/// Writes at the same time.
const AT_ONCE: usize = 64;
/// How often a kubelet renews its lease.
const RENEW: Duration = Duration::from_secs(10);
/// A kubelet looks at its containers once a second: a container that was quicker is only seen ended.
const RELIST: Duration = Duration::from_secs(1);
/// A write that failed is tried again after this, doubled each time.
const PAUSE: Duration = Duration::from_millis(100);
const TRIES: u32 = 8;

/// The moment when a pod's end was told.
#[derive(Clone, Debug)]
pub struct End {
    /// The pod's job.
    pub job: String,
    /// The API server had the end.
    pub at: Instant,
}

/// Simulated nodes; they are gone from the cluster only when it goes, but nothing runs on them after this is dropped.
pub struct Fleet {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    client: Client,
    permits: Semaphore,
    told: watch::Sender<()>,
    /// By UID: tells a life that its pod is being deleted. It stays until the pod is gone, so that an old version of a pod
    /// does not begin a second life.
    lives: Mutex<HashMap<String, watch::Sender<bool>>>,
    ends: Mutex<Vec<End>>,
    deleted: AtomicU64,
    witness: Option<Witness>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// Brings so many nodes into the cluster; what runs there is written into this book.
    pub async fn start(
        client: Client,
        nodes: usize,
        witness: Option<Witness>,
    ) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let names: Vec<String> = (0..nodes).map(|node| format!("simulated-{node:03}")).collect();
        for name in &names {
            register(&client, name).await.with_context(|| format!("node {name}"))?;
        }
        let shared = Arc::new(Shared {
            client: client.clone(),
            permits: Semaphore::new(AT_ONCE),
            told: watch::Sender::new(()),
            lives: Mutex::default(),
            ends: Mutex::default(),
            deleted: AtomicU64::new(0),
            witness,
        });
        tasks.spawn(renew(client, names));
        tasks.spawn(look_after(shared.clone()));
        Ok(Self { shared, _tasks: tasks })
    }

    /// Every container that runs until it is told, and runs now, exits.
    pub fn tell(&self) {
        self.shared.told.send_replace(());
    }

    /// The ends since the last call.
    pub fn take_ends(&self) -> Vec<End> {
        std::mem::take(&mut *locked(&self.shared.ends))
    }

    /// Pods that the nodes themselves deleted so far: the API server counts these with those of a controller.
    pub fn deleted(&self) -> u64 {
        self.shared.deleted.load(Ordering::Relaxed)
    }
}

/// Makes the node, or finds it, and says that it is ready.
async fn register(client: &Client, name: &str) -> anyhow::Result<()> {
    let apply = PatchParams::apply("simulated-nodes").force();
    let nodes = Request::new("/api/v1/nodes");
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { LABEL: "true", "kubernetes.io/hostname": name } },
        "spec": { "taints": [{ "key": LABEL, "value": "true", "effect": "NoSchedule" }] },
    });
    send(client, nodes.patch(name, &apply, &Patch::Apply(&node))?).await?;
    let now = Timestamp::now().to_string();
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": "simulated",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    let room = json!({
        "pods": PODS.to_string(), "cpu": "4000", "memory": "16Ti", "ephemeral-storage": "16Ti",
    });
    let status = json!({ "status": {
        "capacity": room, "allocatable": room,
        "conditions": [
            condition("Ready", "True", "KubeletReady"),
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        ],
        "addresses": [{ "type": "InternalIP", "address": kubelet::HOST }, { "type": "Hostname", "address": name }],
        "nodeInfo": {
            "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "simulated://1",
            "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "v1.36.3", "machineID": "",
            "operatingSystem": "linux", "osImage": "", "systemUUID": "",
        },
    } });
    let patch = Patch::Strategic(&status);
    send(client, nodes.patch_subresource("status", name, &PatchParams::default(), &patch)?).await?;
    lease(client, name).await
}

async fn lease(client: &Client, name: &str) -> anyhow::Result<()> {
    let leases = Request::new("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases");
    let apply = PatchParams::apply("simulated-nodes").force();
    let now = Timestamp::now();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name },
        "spec": {
            "holderIdentity": name, "leaseDurationSeconds": 40,
            "renewTime": format!("{now:.6}"),
        },
    });
    send(client, leases.patch(name, &apply, &Patch::Apply(&lease))?).await
}

async fn renew(client: Client, nodes: Vec<String>) {
    let mut clock = tokio::time::interval(RENEW);
    loop {
        clock.tick().await;
        for node in &nodes {
            if let Err(error) = lease(&client, node).await {
                eprintln!("node {node} cannot renew its lease: {error:#}");
            }
        }
    }
}

/// Sends a request; the answer is not looked into.
async fn send(client: &Client, request: http::Request<Vec<u8>>) -> anyhow::Result<()> {
    client.request_text(request).await?;
    Ok(())
}

async fn look_after(shared: Arc<Shared>) {
    let pods: Api<Pod> = Api::all_with(shared.client.clone(), &slim::pods());
    let bound = watcher::Config::default().fields("spec.nodeName!=");
    let mut stream = std::pin::pin!(watcher(pods, bound).default_backoff());
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::InitApply(pod) | Event::Apply(pod)) => take_notice(&shared, pod),
            Ok(Event::Delete(pod)) => {
                let uid = pod.metadata.uid.unwrap_or_default();
                // The life's receiver hears of it by the loss of its sender.
                locked(&shared.lives).remove(&uid);
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => eprintln!("the simulated nodes' watch broke and is begun again: {error}"),
        }
    }
}

fn take_notice(shared: &Arc<Shared>, pod: Pod) {
    if !pod.spec.node_name.starts_with("simulated-") {
        return;
    }
    let metadata = &pod.metadata;
    let deleting = metadata.deletion_timestamp.is_some();
    // Confirmed already: only a finalizer keeps it.
    let confirmed = metadata.deletion_grace_period_seconds == Some(0);
    let uid = metadata.uid.clone().unwrap_or_default();
    let mut lives = locked(&shared.lives);
    if let Some(life) = lives.get(&uid) {
        if deleting && !confirmed && !life.send_replace(true) && life.is_closed() {
            tokio::spawn(confirm(shared.clone(), pod));
        }
    } else if !pod.is_over() && !confirmed {
        let (sender, receiver) = watch::channel(deleting);
        lives.insert(uid, sender);
        tokio::spawn(live(shared.clone(), pod, receiver));
    }
}

/// A pod's whole life on its node.
async fn live(shared: Arc<Shared>, pod: Pod, mut deleted: watch::Receiver<bool>) {
    let Some(main) = pod.spec.containers.first() else { return };
    let script = Script::of(main);
    let mut told = shared.told.subscribe();
    let bound = Timestamp::now();
    let mut life = Life { bound, began: bound, ended: bound, starter: script.starter };
    shared.write(&pod, &life, Moment::Creating).await;
    if deleted.has_changed().is_err() {
        return;
    }
    let run = shared.witness.as_ref().map(|witness| witness.begin(&pod));
    life.began = Timestamp::now();
    let quick = matches!(script.run, Run::For(time) if time < RELIST);
    if !quick {
        shared.write(&pod, &life, Moment::Running).await;
    }
    let ran = async {
        match script.run {
            Run::For(time) => tokio::time::sleep(time).await,
            Run::UntilTold => drop(told.changed().await),
        }
    };
    let moment = tokio::select! {
        biased;
        deleted = deleted.wait_for(|deleted| *deleted) => match deleted {
            Ok(_) => Moment::Stopped,
            Err(_) => return,
        },
        () = ran => Moment::Exited(exit(&script, &pod)),
    };
    drop(run);
    life.ended = Timestamp::now();
    shared.write(&pod, &life, moment).await;
    let end = End { job: pod.owner().to_owned(), at: Instant::now() };
    locked(&shared.ends).push(end);
    // Whoever tells of a deletion from here on sees that nobody listens.
    drop(deleted);
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let must_go = locked(&shared.lives).get(uid).is_some_and(|life| *life.borrow());
    if must_go {
        confirm(shared, pod).await;
    }
}

/// What the container exits with in this attempt.
fn exit(script: &Script, pod: &Pod) -> i32 {
    let numbers = witness::numbers(pod.metadata.name.as_deref().unwrap_or_default());
    let fails = numbers.is_some_and(|(_, attempt)| attempt < script.fails);
    if fails { 1 } else { script.exit }
}

/// The kubelet's last word: nothing of the pod is left on the node.
async fn confirm(shared: Arc<Shared>, pod: Pod) {
    let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    let at_once = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let Ok(_permit) = shared.permits.acquire().await else { return };
    for number in 0..TRIES {
        let Ok(request) = pods_of(&pod).delete(name, &at_once) else { return };
        shared.deleted.fetch_add(1, Ordering::Relaxed);
        match shared.client.request_text(request).await {
            Err(error) if !is_final(&error) => tokio::time::sleep(PAUSE * 2u32.pow(number)).await,
            _ => return,
        }
    }
}

impl Shared {
    /// Tells the API server of a moment in a pod's life.
    async fn write(&self, pod: &Pod, life: &Life, moment: Moment) {
        let patch: Value = kubelet::patch(pod, life, moment);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let Ok(_permit) = self.permits.acquire().await else { return };
        for number in 0..TRIES {
            let request = pods_of(pod).patch_subresource(
                "status",
                name,
                &PatchParams::default(),
                &Patch::Strategic(&patch),
            );
            let Ok(request) = request else { return };
            match self.client.request_text(request).await {
                Err(error) if !is_final(&error) => {
                    tokio::time::sleep(PAUSE * 2u32.pow(number)).await;
                }
                _ => return,
            }
        }
        eprintln!("pod {name}: its {moment:?} could not be told");
    }
}

fn pods_of(pod: &Pod) -> Request {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Request::new(format!("/api/v1/namespaces/{namespace}/pods"))
}

/// Gone, or another pod of its name: there is nobody to be told of any more.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 422))
}
