//! From the caches to `duj_core::Observed`: all facts about one job, with the time.

use crate::{
    hearing,
    index::{Index, JobKey},
    items,
    perform::{self, Error},
    records_pages,
    run::Context,
    trouble,
};
use duj_api::{
    DockerUniverseCommand, DockerUniverseJob, names,
    policy::Policy,
    status::{ProcRecord, ProcStatus},
};
use duj_core::{
    facts::PodFacts,
    observed::{Observed, Room, total_procs},
    spill::{self, Page},
};
use kube::ResourceExt;
use std::{collections::HashSet, sync::Arc};

/// So many pods are looked for by their names; more of them by one list.
const LOOKED_FOR: usize = 16;

/// All facts about a job, as it is known and with the room that its pods have.
pub async fn observe(
    context: &Context,
    job: Arc<DockerUniverseJob>,
    room: Room,
) -> Result<Observed, Error> {
    let now = context.clock.now();
    let uid = job.uid().unwrap_or_default();
    for name in context.index.hidden_pods(&uid) {
        if perform::find_pod(context, &job, &name).await?.is_none() {
            context.index.forget_pod(&uid, &name);
        }
    }
    let pages = records_pages::of(context, &job).await?;
    let commands = open_commands(&context.index, &job);
    let items = items::of(context, &job).await?;
    let mut pods = context.index.pods(&uid);
    let counted = Counted { pages: &pages, total: total_procs(&job, &items) };
    pods.extend(missed(context, &job, counted, &pods, !commands.is_empty()).await?);
    trouble::ask(context, &job, &mut pods, now).await;
    hearing::ask(context, &job, &mut pods, now).await;
    let fresh_cluster_id = fresh_cluster_id(context, &job, &pods, &uid).await?;
    let (refusal, uncommitted_since, policies_due) = context
        .memory
        .of(&uid, |memory| (memory.refusal.clone(), memory.uncommitted_since, memory.policies_due));
    Ok(Observed {
        job: Arc::unwrap_or_clone(job),
        pages,
        items,
        pods,
        commands,
        fresh_cluster_id,
        refusal,
        uncommitted_since,
        policies_due,
        leading_since: context.claim.since(),
        room,
        now,
    })
}

/// What is known of a job without asking the API server.
pub fn known(context: &Context, cached: Arc<DockerUniverseJob>) -> Observed {
    let job = context.memory.newest(cached);
    let uid = job.uid().unwrap_or_default();
    let cluster_id = context.memory.of(&uid, |memory| memory.cluster_id);
    Observed {
        pages: records_pages::known(context, &job),
        pods: context.index.pods(&uid),
        items: items::known(context, &job),
        job: Arc::unwrap_or_clone(job),
        commands: Vec::new(),
        fresh_cluster_id: cluster_id.unwrap_or_default(),
        refusal: None,
        uncommitted_since: None,
        policies_due: None,
        leading_since: context.claim.since(),
        room: Room::default(),
        now: context.clock.now(),
    }
}

/// What the procs of a job are.
#[derive(Clone, Copy)]
struct Counted<'a> {
    /// The pages of their records.
    pages: &'a [Arc<Page>],
    total: u32,
}

/// Pods that the committed status counts on and that no watch tells of: somebody may have taken their label off. A pod is
/// believed to be gone, and another one made, only when the server itself says so. What was made and not committed when this
/// operator came is looked for once.
async fn missed(
    context: &Context,
    job: &DockerUniverseJob,
    Counted { pages, total }: Counted<'_>,
    pods: &[Arc<PodFacts>],
    is_commanded: bool,
) -> Result<Vec<Arc<PodFacts>>, Error> {
    let mut found = Vec::new();
    let uid = job.uid().unwrap_or_default();
    let known = context.memory.of(&uid, |memory| memory.known);
    let may_have_one =
        |record: &ProcRecord| has_a_pod(record) || (!known && record.status == ProcStatus::Idle);
    let mut lacking = match &job.status {
        Some(status) => spill::select(status, pages, total, may_have_one).unwrap_or_default(),
        // Its first pod may be there before its first status. Where nothing speaks against that pod it is made anew, which
        // finds it; a job that is being deleted makes none, and cannot go while there is one.
        None if job.metadata.deletion_timestamp.is_some()
            || job.spec.hold
            || is_commanded
            || job.spec.policy != Policy::default() =>
        {
            let first: Arc<ProcRecord> = Arc::default();
            if may_have_one(&first) { vec![(0, first)] } else { Vec::new() }
        }
        None => return Ok(found),
    };
    let mut there = HashSet::new();
    if !lacking.is_empty() {
        there.extend(pods.iter().map(|pod| (pod.proc, pod.attempt)));
        lacking.retain(|(proc, record)| !there.contains(&(*proc, record.attempt)));
    }
    let mut listed = HashSet::new();
    let lacking_few = lacking.len() <= LOOKED_FOR;
    if !lacking_few {
        found.extend(perform::find_pods(context, job).await?.into_iter().map(Arc::new));
        found.retain(|pod| !there.contains(&(pod.proc, pod.attempt)));
        listed.extend(found.iter().map(|pod| (pod.proc, pod.attempt)));
    }
    for (proc, record) in lacking {
        // The list has what still says whose it is; of what has run, the server's word on its very name is asked for.
        let by_name = has_a_pod(&record) || lacking_few;
        if by_name && !listed.contains(&(proc, record.attempt)) {
            let name = names::pod_name(&job.name_any(), &uid, proc, record.attempt);
            found.extend(perform::find_pod(context, job, &name).await?.map(Arc::new));
        }
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
    pods: &[Arc<PodFacts>],
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
