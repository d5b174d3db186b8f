//! From the caches to `duj_core::Observed`: all facts about one job, with the time.

use crate::{
    hearing,
    index::{Index, JobKey},
    perform::{self, Error},
    run::Context,
    trouble,
};
use duj_api::{
    DockerUniverseCommand, DockerUniverseJob, names,
    policy::Policy,
    status::{ProcRecord, ProcStatus},
};
use duj_core::{facts::PodFacts, observed::Observed, procs};
use kube::ResourceExt;
use std::sync::Arc;

/// All facts about a job.
pub async fn observe(context: &Context, cached: Arc<DockerUniverseJob>) -> Result<Observed, Error> {
    let now = context.clock.now();
    let job = context.memory.newest(cached);
    let uid = job.uid().unwrap_or_default();
    for name in context.index.hidden_pods(&uid) {
        if perform::find_pod(context, &job, &name).await?.is_none() {
            context.index.forget_pod(&uid, &name);
        }
    }
    let commands = open_commands(&context.index, &job);
    let mut pods = context.index.pods(&uid);
    pods.extend(missed(context, &job, &pods, !commands.is_empty()).await?);
    trouble::ask(context, &job, &mut pods, now).await;
    hearing::ask(context, &job, &mut pods, now).await;
    let fresh_cluster_id = fresh_cluster_id(context, &job, &pods, &uid).await?;
    let (refusal, uncommitted_since) =
        context.memory.of(&uid, |memory| (memory.refusal.clone(), memory.uncommitted_since));
    Ok(Observed {
        job: Arc::unwrap_or_clone(job),
        pods,
        commands,
        fresh_cluster_id,
        refusal,
        uncommitted_since,
        now,
    })
}

/// What is known of a job without asking the API server.
pub fn known(context: &Context, cached: Arc<DockerUniverseJob>) -> Observed {
    let job = context.memory.newest(cached);
    let uid = job.uid().unwrap_or_default();
    let cluster_id = context.memory.of(&uid, |memory| memory.cluster_id);
    Observed {
        pods: context.index.pods(&uid),
        job: Arc::unwrap_or_clone(job),
        commands: Vec::new(),
        fresh_cluster_id: cluster_id.unwrap_or_default(),
        refusal: None,
        uncommitted_since: None,
        now: context.clock.now(),
    }
}

/// Pods that the committed status counts on and that no watch tells of: somebody may have taken their label off. A pod is
/// believed to be gone, and another one made, only when the server itself says so. What was made and not committed when this
/// operator came is looked for once.
async fn missed(
    context: &Context,
    job: &DockerUniverseJob,
    pods: &[PodFacts],
    is_commanded: bool,
) -> Result<Vec<PodFacts>, Error> {
    let mut found = Vec::new();
    let uid = job.uid().unwrap_or_default();
    let known = context.memory.of(&uid, |memory| memory.known);
    let records = match &job.status {
        Some(status) => procs::ungroup(&status.procs, job.spec.total_procs()),
        // Its first pod may be there before its first status. Where nothing speaks against that pod it is made anew, which
        // finds it; a job that is being deleted makes none, and cannot go while there is one.
        None if job.metadata.deletion_timestamp.is_some()
            || job.spec.hold
            || is_commanded
            || job.spec.policy != Policy::default() =>
        {
            [(0, ProcRecord::default())].into()
        }
        None => return Ok(found),
    };
    for (proc, record) in records {
        let is_there = pods.iter().any(|pod| (pod.proc, pod.attempt) == (proc, record.attempt));
        let may_have = !known && record.status == ProcStatus::Idle;
        if is_there || !(may_have || has_a_pod(&record)) {
            continue;
        }
        let name = names::pod_name(&job.name_any(), &uid, proc, record.attempt);
        found.extend(perform::find_pod(context, job, &name).await?);
    }
    context.memory.of(&uid, |memory| memory.known = true);
    Ok(found)
}

/// Whether a proc has a pod that has not been seen to end.
fn has_a_pod(record: &ProcRecord) -> bool {
    let stopping = record.hold.as_ref().is_some_and(|hold| hold.stopping)
        || record.remove.as_ref().is_some_and(|remove| remove.stopping);
    stopping || matches!(record.status, ProcStatus::Running | ProcStatus::Suspended)
}

/// A number is taken from the store only for a job that has none, and only once.
async fn fresh_cluster_id(
    context: &Context,
    job: &DockerUniverseJob,
    pods: &[PodFacts],
    uid: &str,
) -> Result<i64, Error> {
    let committed = job.status.as_ref().and_then(|status| status.cluster_id);
    let known = committed
        .or_else(|| pods.iter().find_map(|pod| pod.cluster_id))
        .or_else(|| context.memory.of(uid, |memory| memory.cluster_id));
    if let Some(id) = known {
        return Ok(id);
    }
    let id = context.cluster_ids.next().await?;
    context.memory.of(uid, |memory| memory.cluster_id = Some(id));
    Ok(id)
}

/// Commands that were made for this very job and are not answered.
fn open_commands(index: &Index, job: &DockerUniverseJob) -> Vec<DockerUniverseCommand> {
    let key = JobKey { namespace: job.namespace().unwrap_or_default(), name: job.name_any() };
    let mut commands = index.commands_for(&key, job.metadata.uid.as_deref().unwrap_or_default());
    commands.retain(|command| is_for(command, job) && !command.is_answered());
    commands
}

/// A command is for the job that existed when it was made.
pub fn is_for(command: &DockerUniverseCommand, job: &DockerUniverseJob) -> bool {
    command.metadata.creation_timestamp >= job.metadata.creation_timestamp
}
