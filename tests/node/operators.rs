//! The installed operators, as somebody sees them who updates, stops and kills them.
//!
//! Invariant: a process is signalled only after its own environment said that it is the operator of that pod of this cluster.

use crate::world::World;
use k8s_openapi::{
    api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::json;
use std::{fs, sync::Mutex, time::Duration};

const NAMESPACE: &str = "docker-universe";
const NAME: &str = "docker-universe";
const LEASE: &str = "docker-universe-operator";

/// The operators of the cluster.
pub struct Operators {
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    leases: Api<Lease>,
    /// The last renewal that was seen before the last change of hands.
    renewed: Mutex<Option<Timestamp>>,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub holder: String,
    pub term: i32,
    acquired: Option<Timestamp>,
    renewed: Option<Timestamp>,
}

impl Operators {
    /// The two that are installed, both ready.
    pub async fn find(world: &World) -> Self {
        let client = world.client.clone();
        let operators = Self {
            deployments: Api::namespaced(client.clone(), NAMESPACE),
            pods: Api::namespaced(client.clone(), NAMESPACE),
            leases: Api::namespaced(client, NAMESPACE),
            renewed: Mutex::new(None),
        };
        operators.all_ready().await;
        operators
    }

    /// Waits until both are ready, no other is left, and one leads.
    pub async fn all_ready(&self) {
        for _ in 0..600 {
            let pods = self.all().await;
            let ready = |pod: &&Pod| {
                let conditions = pod.status.iter().flat_map(|status| status.conditions.iter());
                conditions.flatten().any(|it| it.type_ == "Ready" && it.status == "True")
            };
            let holder = self.lease().await.holder;
            let leads = pods.iter().any(|pod| pod.name_any() == holder);
            if pods.len() == 2 && pods.iter().filter(ready).count() == 2 && leads {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("there are not two ready operators: install the chart with replicas=2");
    }

    async fn all(&self) -> Vec<Pod> {
        let selector = format!("app.kubernetes.io/name={NAME}");
        let list = self.pods.list(&ListParams::default().labels(&selector)).await;
        list.expect("pods can be listed").items
    }

    /// The lease as it is.
    pub async fn lease(&self) -> Rule {
        let spec = self.leases.get(LEASE).await.expect("there is a lease").spec.unwrap_or_default();
        let time = |time: Option<MicroTime>| time.map(|time| time.0);
        Rule {
            holder: spec.holder_identity.unwrap_or_default(),
            term: spec.lease_transitions.unwrap_or_default(),
            acquired: time(spec.acquire_time),
            renewed: time(spec.renew_time),
        }
    }

    /// Waits until another term begins.
    pub async fn taken_from(&self, before: &Rule) -> Rule {
        for _ in 0..1200 {
            let now = self.lease().await;
            if now.term > before.term && !now.holder.is_empty() {
                return now;
            }
            *self.renewed.lock().unwrap() = now.renewed;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody took over from {before:?}");
    }

    /// Says what was measured: the operators' own times in the lease.
    pub fn tell(&self, what: &str, after: &Rule) {
        let last = *self.renewed.lock().unwrap();
        let since = last.zip(after.acquired).map(|(last, taken)| taken.duration_since(last));
        let passed = since.map_or_else(String::new, |since| {
            format!(", {} ms after the last word of the one before", since.as_millis())
        });
        println!("{what}: '{}' leads in term {}{passed}", after.holder, after.term);
    }

    /// `kubectl rollout restart`, and `rollout status`.
    pub async fn restart_all(&self) {
        let before = self.lease().await;
        let now = Timestamp::now().to_string();
        let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now });
        let template = json!({ "metadata": { "annotations": annotations } });
        let patch = Patch::Merge(json!({ "spec": { "template": template } }));
        let old: Vec<_> = self.all().await.iter().map(ResourceExt::name_any).collect();
        self.deployments.patch(NAME, &PatchParams::default(), &patch).await.expect("a restart");
        self.taken_from(&before).await;
        for _ in 0..900 {
            let pods = self.all().await;
            if pods.len() == 2 && pods.iter().all(|pod| !old.contains(&pod.name_any())) {
                return self.all_ready().await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("the update does not come to its end");
    }

    /// How often this operator's container was started again.
    pub async fn restarts(&self, pod: &str) -> i32 {
        let status = self.pods.get(pod).await.expect("the pod is there").status.unwrap();
        status.container_statuses.iter().flatten().map(|container| container.restart_count).sum()
    }
}

/// Sends a signal to the operator of this pod.
pub fn signal(pod: &str, signal: Signal) {
    let wanted = format!("POD_NAME={pod}");
    let is_it = |pid: i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        variables.any(|variable| variable == wanted.as_bytes())
            && command.contains("docker-universe")
    };
    let entries = fs::read_dir("/proc").expect("this machine has /proc").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = pids.find(|pid| is_it(*pid)).and_then(Pid::from_raw);
    let pid = pid.unwrap_or_else(|| panic!("no process of pod '{pod}' is on this machine"));
    kill_process(pid, signal).expect("the operator can be signalled");
}
