//! One namespace of its own for a test, and the words in which a test speaks of jobs.
//!
//! Invariant: a test waits for a state, never for a time; a wait that does not end shows the job, its pods and their Events.

#![allow(dead_code, reason = "each word is for whichever test needs it")]

use duj_api::{
    DockerUniverseCommand, DockerUniverseCommandStatus, DockerUniverseJob, DockerUniverseJobStatus,
    names,
    status::{ProcRecord, ProcStatus},
};
use duj_core::userlog;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::time::Duration;

/// The longest that a test waits for one state. Long, because a loaded machine is slow; a test that passes does not wait.
const PATIENCE: Duration = Duration::from_mins(3);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A namespace that enforces Pod Security *restricted*, with a client.
pub struct World {
    pub client: Client,
    pub namespace: String,
}

/// An environment variable that `cargo xtask cluster env` sets.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test`, or `eval \"$(cargo xtask cluster env)\"` first")
    })
}

/// The registry that the node and its pods use.
pub fn registry() -> String {
    variable("REGISTRY")
}

/// An image of that registry.
pub fn image(name: &str) -> String {
    format!("{}/{name}", registry())
}

/// A specification that runs a shell script, with these other fields.
pub fn script(text: &str, mut others: Value) -> Value {
    others["executable"] = json!("sh");
    others["arguments"] = json!(["-c", text]);
    others
}

impl World {
    /// A new world for the test of this name.
    pub async fn new(test: &str) -> Self {
        Self::with(json!({ "generateName": format!("t-{test}-") }), test).await
    }

    /// A new world in the namespace of this name, once the former one is gone.
    pub async fn named(name: &str) -> Self {
        let client = Client::try_default().await.expect("KUBECONFIG names a cluster");
        let namespaces: Api<Namespace> = Api::all(client);
        let _ = namespaces.delete(name, &DeleteParams::default()).await;
        while namespaces.get_opt(name).await.expect("the API server answers").is_some() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Self::with(json!({ "name": name }), name).await
    }

    async fn with(mut metadata: Value, test: &str) -> Self {
        let client = Client::try_default().await.expect("KUBECONFIG names a cluster");
        let namespaces: Api<Namespace> = Api::all(client.clone());
        metadata["labels"] = json!({
            "pod-security.kubernetes.io/enforce": "restricted", "docker-universe-test": test,
        });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        let namespace: Namespace = serde_json::from_value(namespace).unwrap();
        let made =
            namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace");
        let world = Self { client, namespace: made.name_any() };
        world.wait_for_service_account().await;
        world
    }

    async fn wait_for_service_account(&self) {
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = self.api();
        for _ in 0..400 {
            if accounts.get_opt("default").await.ok().flatten().is_some() {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        panic!("namespace '{}' got no service account", self.namespace);
    }

    /// Deletes the world; to be called at the end of a test that passed, so that a failed one can be looked at.
    pub async fn end(self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let _ = namespaces.delete(&self.namespace, &DeleteParams::default()).await;
    }

    /// Objects of a kind in this world.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates any object from JSON.
    pub async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + serde::Serialize
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let object: K = serde_json::from_value(object).expect("an object of that kind");
        self.api::<K>().create(&PostParams::default(), &object).await.expect("it can be created")
    }

    /// Submits a job: `spec` with an image of busybox where it names none.
    pub async fn submit(&self, name: &str, mut spec: Value) -> DockerUniverseJob {
        if spec.get("image").is_none() {
            spec["image"] = json!(image("busybox:1.35"));
        }
        if spec.get("requestCpus").is_none() {
            spec["requestCpus"] = json!("20m"); // many tests share two cores
        }
        self.create(json!({
            "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseJob",
            "metadata": { "name": name }, "spec": spec,
        }))
        .await
    }

    /// Submits a shell script.
    pub async fn submit_script(&self, name: &str, script: &str) -> DockerUniverseJob {
        self.submit(name, self::script(script, json!({}))).await
    }

    /// Changes a job's specification by a merge patch.
    pub async fn change(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let jobs: Api<DockerUniverseJob> = self.api();
        jobs.patch(name, &PatchParams::default(), &patch).await.expect("the job can be changed");
    }

    /// The job as it is now.
    pub async fn job(&self, name: &str) -> DockerUniverseJob {
        self.api::<DockerUniverseJob>().get(name).await.expect("the job exists")
    }

    /// Waits until the job's status is as described.
    pub async fn wait(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&DockerUniverseJobStatus) -> bool,
    ) -> DockerUniverseJobStatus {
        let jobs: Api<DockerUniverseJob> = self.api();
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let job = jobs.get_opt(name).await.ok().flatten();
            if let Some(status) = job.and_then(|job| job.status).filter(|status| is_so(status)) {
                return status;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.show(name).await;
        panic!("job '{}/{name}' was not seen {what}", self.namespace);
    }

    /// Waits until the job's one proc is in this state, with nothing of it stopping.
    pub async fn wait_for(&self, name: &str, wanted: ProcStatus) -> ProcRecord {
        let what = format!("{wanted:?}");
        let status = self.wait(name, &what, |status| {
            status.procs.first().is_some_and(|group| {
                let record = &group.record;
                record.status == wanted
                    && record.hold.as_ref().is_none_or(|hold| !hold.stopping)
                    && record.remove.as_ref().is_none_or(|remove| !remove.stopping)
            })
        });
        proc(&status.await).clone()
    }

    /// Waits until `because` has this reason.
    pub async fn wait_because(&self, name: &str, reason: &str) -> String {
        let is_so = |status: &DockerUniverseJobStatus| {
            status.because.as_ref().is_some_and(|because| because.reason == reason)
        };
        let status = self.wait(name, &format!("waiting because of '{reason}'"), is_so).await;
        status.because.map(|because| because.message).unwrap_or_default()
    }

    /// Waits until something else is so.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if is_so().await {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        panic!("in namespace '{}' it was not seen that {what}", self.namespace);
    }

    /// The pods of a job, oldest attempt first.
    pub async fn pods(&self, job: &str) -> Vec<Pod> {
        let selector = format!("{}={job}", names::LABEL_JOB);
        let list = self.api::<Pod>().list(&ListParams::default().labels(&selector)).await;
        let mut pods = list.expect("pods can be listed").items;
        pods.sort_by_key(|pod| {
            pod.labels().get(names::LABEL_ATTEMPT).and_then(|a| a.parse::<u32>().ok())
        });
        pods
    }

    /// The pod of the job's latest attempt.
    pub async fn pod(&self, job: &str) -> Pod {
        self.pods(job).await.pop().unwrap_or_else(|| panic!("job '{job}' has no pod"))
    }

    /// What the kubelet finally says of the job's latest pod; its phase follows its container after a moment.
    pub async fn pinned(&self, job: &str) -> Value {
        self.until(&format!("the pod of '{job}' is at its end"), || async {
            let phase = self.pod(job).await.status.and_then(|status| status.phase);
            matches!(phase.as_deref(), Some("Succeeded" | "Failed"))
        })
        .await;
        pinned(&self.pod(job).await)
    }

    /// What the job's container wrote.
    pub async fn output(&self, job: &str) -> String {
        let pod = self.pod(job).await.name_any();
        let parameters =
            kube::api::LogParams { container: Some("job".into()), ..Default::default() };
        self.api::<Pod>().logs(&pod, &parameters).await.unwrap_or_default()
    }

    /// Gives a command (`hold`, `release`, `remove`) and waits for its answer.
    pub async fn command(&self, verb: &str, job: &str) -> DockerUniverseCommandStatus {
        let command: DockerUniverseCommand = self
            .create(json!({
                "apiVersion": "dockeruniverse.io/v1alpha1", "kind": "DockerUniverseCommand",
                "metadata": { "generateName": format!("{verb}-") }, "spec": { "verb": verb, "job": job },
            }))
            .await;
        let name = command.name_any();
        let commands: Api<DockerUniverseCommand> = self.api();
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let seen = commands.get_opt(&name).await.ok().flatten();
            let answered = seen.filter(DockerUniverseCommand::is_answered);
            if let Some(status) = answered.and_then(|command| command.status) {
                return status;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.show(job).await;
        panic!("command '{name}' was not answered");
    }

    /// The node that there is.
    pub async fn node(&self) -> Node {
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.list(&ListParams::default()).await.expect("nodes").items.remove(0)
    }

    /// Kubernetes Events about the job: reason and note.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let list = self.api::<Event>().list(&ListParams::default()).await.expect("events").items;
        list.into_iter()
            .filter(|event| event.involved_object.name.as_deref() == Some(name))
            .map(|event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default()))
            .collect()
    }

    async fn show(&self, name: &str) {
        let job = self.api::<DockerUniverseJob>().get_opt(name).await;
        eprintln!("--- job\n{}", as_yaml(&job.ok().flatten().map(|job| job.status)));
        for pod in self.pods(name).await {
            eprintln!("--- pod {}\n{}", pod.name_any(), as_yaml(&pod.status));
        }
        let events = self.api::<Event>().list(&ListParams::default()).await.map(|list| list.items);
        for event in events.unwrap_or_default() {
            let about = event.involved_object.name.unwrap_or_default();
            eprintln!(
                "--- {about}: {} {}",
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default()
            );
        }
    }
}

fn as_yaml<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// The record of the job's one proc.
pub fn proc(status: &DockerUniverseJobStatus) -> &ProcRecord {
    &status.procs.first().expect("the job has a proc").record
}

/// The numbers of the events in a job's userlog, in order, after a check of `HTCondor`'s rules.
pub fn event_numbers(status: &DockerUniverseJobStatus) -> Vec<u16> {
    let text = &status.user_log.as_ref().expect("the job has a userlog").text;
    let events: Vec<_> =
        userlog::read(text).map(|event| event.expect("every event can be read")).collect();
    let expect = if status.completion_time.is_some() {
        userlog::Expect::Finished
    } else {
        userlog::Expect::Running
    };
    let violations = userlog::check(&events, expect);
    assert!(violations.is_empty(), "{violations:?}\n{text}");
    events.iter().map(|event| event.body.number()).collect()
}

/// A condition's status: `True`, `False` or absent.
pub fn condition<'a>(status: &'a DockerUniverseJobStatus, type_: &str) -> Option<&'a str> {
    let mut conditions = status.conditions.iter();
    conditions.find(|condition| condition.type_ == type_).map(|condition| condition.status.as_str())
}

/// What the kubelet says of a pod, as far as a decision reads it: the truth that the tables of `duj_core` are made from.
pub fn pinned(pod: &Pod) -> Value {
    let status = pod.status.clone().unwrap_or_default();
    let job = status.container_statuses.iter().flatten().find(|c| c.name == names::CONTAINER_JOB);
    let state = job.and_then(|job| job.state.clone()).unwrap_or_default();
    json!({
        "phase": status.phase,
        "reason": status.reason,
        "waiting": state.waiting.and_then(|waiting| waiting.reason),
        "terminated": state.terminated.as_ref().and_then(|end| end.reason.clone()),
        "exitCode": state.terminated.as_ref().map(|end| end.exit_code),
        "disruption": status.conditions.iter().flatten()
            .find(|c| c.type_ == "DisruptionTarget").and_then(|c| c.reason.clone()),
    })
}
