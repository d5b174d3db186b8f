//! The status that is written: counts, conditions, `because` and the log's text, all derived from the procs' records.
//!
//! Invariant: the same records, the same status: no time in it ticks by itself, so nothing new is no write.

use crate::{
    decide::Work,
    observed::LogPart,
    pod,
    spill::{self, Page},
    userlog,
};
use duj_api::{
    DockerUniverseJobStatus,
    condition::{self, Reason},
    status::{Because, Counts, Image, ProcRecord, ProcStatus, UserLog},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use std::{fmt::Write as _, sync::Arc};

/// The log text in the status stays below this many bytes.
const LOG_BOUND: usize = 64 * 1024;
/// What leaves the status in one part when the bound is reached.
const LOG_PART: usize = 16 * 1024;

/// The status as of this decision, with what goes before it and after it.
pub(crate) struct Summary {
    pub(crate) status: DockerUniverseJobStatus,
    /// Parts of the log that have to be in their pages before it is written.
    pub(crate) parts: Vec<LogPart>,
    /// Pages of records that have to be there before.
    pub(crate) written: Vec<Arc<Page>>,
    /// Names of pages of records that nobody needs after.
    pub(crate) dropped: Vec<String>,
}

/// The status as of this decision.
pub(crate) fn status(work: &Work<'_>) -> Summary {
    let committed = work.observed.job.status.clone().unwrap_or_default();
    let mut counts = work.records.count();
    counts.unmaterialized = work.unmaterialized();
    counts.total += counts.unmaterialized;
    let mut because = because(work, &counts);
    // Each condition repeats it, so it has a bound.
    because.message = String::from(userlog::Line::new(&because.message).as_str());
    keep_since(&mut because, committed.because.as_ref(), &work.now());
    let finished = work.is_finished();
    let job = &work.observed.job.metadata;
    // No two statuses are made from the same version of the job, so that a name is never used again.
    let (name, version) = (job.name.as_deref(), job.resource_version.as_deref());
    let prefix = format!("{}-procs-{}", name.unwrap_or_default(), version.unwrap_or_default());
    let partition = spill::partition(&work.records, &committed, &work.observed.pages, &prefix);
    let (user_log, parts) = log(work, committed.user_log);
    let status = DockerUniverseJobStatus {
        observed_generation: work.observed.job.metadata.generation,
        cluster_id: Some(work.cluster_id),
        conditions: conditions(work, &committed.conditions, &counts, &because, finished),
        counts: Some(counts),
        procs: partition.groups,
        procs_pages: partition.pages,
        user_log: Some(user_log),
        noticed: Some(work.noticed.clone()),
        completion_time: finished.then(|| {
            let last = work.records.values().filter_map(|record| record.entered_status.clone());
            let last = last.max().max(work.last_end.clone());
            committed.completion_time.clone().or(last).unwrap_or_else(|| work.now())
        }),
        image: image(work, committed.image),
        because: Some(because),
    };
    Summary { status, parts, written: partition.written, dropped: partition.dropped }
}

/// What the image runs by itself, where the job needs it: as it was found out for the job as it is now.
fn image(work: &Work<'_>, committed: Option<Image>) -> Option<Image> {
    let spec = &work.observed.job.spec;
    if !pod::needs_image(spec) {
        return None;
    }
    committed.filter(|image| image.name == spec.image).or_else(|| {
        work.pods().find_map(|pod| {
            let found = pod.found(&spec.image).filter(|found| !found.too_long)?;
            let (name, digest) = (spec.image.clone(), found.digest.clone());
            let (entrypoint, command) = (found.entrypoint.clone(), found.command.clone());
            Some(Image { name, digest, entrypoint, command })
        })
    })
}

/// Whether the log waits to be moved to pages, or new events fill it.
pub(crate) fn is_full(status: &DockerUniverseJobStatus) -> bool {
    status.user_log.as_ref().is_some_and(|log| log.text.len() > LOG_BOUND)
}

/// Whether nothing more will happen to the job.
pub(crate) fn is_final(status: &DockerUniverseJobStatus) -> bool {
    status.completion_time.is_some()
}

fn removing(work: &Work<'_>) -> bool {
    let stopping =
        |record: &ProcRecord| record.remove.as_ref().is_some_and(|remove| remove.stopping);
    work.records.values().any(stopping)
}

fn keep_since(because: &mut Because, committed: Option<&Because>, now: &Time) {
    let same = committed.filter(|known| known.reason == because.reason);
    if let Some(since) = same.and_then(|known| known.since.clone()) {
        because.since = Some(since);
    }
    if because.since.is_none() {
        because.since = Some(now.clone());
    }
}

/// What most concerns the job's owner: first what waits for them, then what waits by itself, then how it ended.
fn because(work: &Work<'_>, counts: &Counts) -> Because {
    let tell = |reason: Reason, message: String, since: Option<Time>| Because {
        reason: reason.as_str().into(),
        message,
        since,
    };
    let first =
        |status: ProcStatus| work.records.iter().find(|(_, record)| record.status == status);
    if let Some((id, record)) = first(ProcStatus::Held) {
        let hold = record.hold.clone().unwrap_or_default();
        let others = others(counts.held, "held");
        let (reason, stopping) = if hold.stopping {
            let silent = work
                .current_pod(id)
                .is_some_and(|pod| pod.unreachable.is_some() && pod.lease.is_some());
            let outlook = if silent { work.outlook(id) } else { String::new() };
            let join = if silent { "; its node does not answer: " } else { "" };
            (Reason::Stopping, format!("; its pod is being stopped{join}{outlook}"))
        } else {
            (Reason::Held, String::new())
        };
        let goes_on = counts.idle + counts.running + counts.suspended > 0;
        let waiting = work.kept_back().filter(|_| !goes_on).map_or_else(String::new, |why| {
            format!(" ({} more procs wait for that: {why})", counts.unmaterialized)
        });
        let message = format!(
            "job {}.{id} is held (code {} subcode {}): {}{stopping}{others}{waiting}",
            work.cluster_id, hold.code, hold.subcode, hold.reason
        );
        return tell(reason, message, record.entered_status.clone());
    }
    if let Some(because) = &work.wait {
        return because.clone();
    }
    if let Some((id, record)) = work.records.iter().find(|(_, record)| record.disconnected) {
        let message = format!(
            "the node of job {}.{id} does not answer; the job may still run there, and {}",
            work.cluster_id,
            work.outlook(id)
        );
        return tell(
            Reason::NodeNotAnswering,
            message,
            record.entered_status.clone().map(|_| work.now()),
        );
    }
    if let Some((id, record)) = work.records.iter().find(|(_, record)| record.vacating.is_some()) {
        let reason = record.vacating.as_ref().map_or("", |vacating| vacating.reason.as_str());
        let message = format!(
            "job {}.{id} is being stopped and runs again afterwards: {reason}",
            work.cluster_id
        );
        return tell(Reason::Stopping, message, record.entered_status.clone());
    }
    if let Some((id, record)) = first(ProcStatus::Suspended).filter(|_| counts.running == 0) {
        let message = format!(
            "job {}.{id} is suspended: it goes on with the command 'continue'{}",
            work.cluster_id,
            others(counts.suspended, "suspended")
        );
        return tell(Reason::Suspended, message, record.entered_status.clone());
    }
    let sending = |id: u32| work.current_pod(id).filter(|pod| pod.is_sending());
    let running = work.records.iter().filter(|(_, record)| record.status == ProcStatus::Running);
    let mut all = running.map(|(id, record)| (sending(id), record)).peekable();
    if counts.suspended == 0
        && let Some((Some(pod), _)) = all.peek()
        && counts.running == 1
    {
        let retried = pod.heard.as_ref().and_then(|report| report.failure.as_ref());
        let message = retried.map_or_else(
            || "the job has ended, and its outputs are being sent".to_owned(),
            |failure| {
                format!("sending the job's outputs failed and is tried again: {}", failure.message)
            },
        );
        return tell(Reason::TransferringOutput, message, pod.finished().map(Time));
    }
    if counts.running + counts.suspended > 0 {
        let since =
            first(ProcStatus::Running).and_then(|(_, record)| record.entered_status.clone());
        return tell(Reason::Running, "the job is running".into(), since);
    }
    if counts.idle == 0
        && let Some(why) = work.kept_back()
    {
        let paused = work.noticed.materialization.is_some();
        let reason = if paused { Reason::Held } else { Reason::LimitReached };
        return tell(reason, format!("{} procs wait: {why}", counts.unmaterialized), None);
    }
    if counts.idle + counts.unmaterialized > 0 {
        return tell(Reason::Submitted, "the job's pod is about to be made".into(), None);
    }
    ended(work, counts)
}

/// The exit code that means success.
fn success(work: &Work<'_>) -> i32 {
    work.observed.job.spec.policy.success_exit_code.unwrap_or(0)
}

fn others(count: i64, state: &str) -> String {
    if count > 1 { format!(" ({} more are {state})", count - 1) } else { String::new() }
}

fn ended(work: &Work<'_>, counts: &Counts) -> Because {
    let cluster = work.cluster_id;
    let tell = |reason: Reason, message: String, record: &ProcRecord| Because {
        reason: reason.as_str().into(),
        message,
        since: record.entered_status.clone().or(work.last_end.clone()),
    };
    for (id, record) in work.records.iter() {
        if let Some(signal) = record.exit_signal.filter(|_| record.status == ProcStatus::Completed)
        {
            return tell(
                Reason::Signalled,
                format!("job {cluster}.{id} died by signal {signal}"),
                record,
            );
        }
        if let Some(code) = record.exit_code.filter(|code| *code != success(work)) {
            return tell(
                Reason::ExitedNonZero,
                format!("job {cluster}.{id} exited with code {code}"),
                record,
            );
        }
    }
    let removed = work.records.iter().find(|(_, record)| record.status == ProcStatus::Removed);
    if let Some((id, record)) = removed {
        let remove = record.remove.clone().unwrap_or_default();
        let (reason, words) = if remove.stopping {
            (Reason::Stopping, "is being removed")
        } else {
            (Reason::Removed, "was removed")
        };
        return tell(reason, format!("job {cluster}.{id} {words}: {}", remove.reason), record);
    }
    if work.is_ended() {
        let message = format!("job {cluster} was removed before all of its procs materialized");
        return tell(Reason::Removed, message, &ProcRecord::default());
    }
    let last = work.records.values().max_by_key(|record| record.entered_status.clone());
    let message = format!(
        "{} of {} completed with exit code {}",
        counts.completed,
        counts.total,
        success(work)
    );
    tell(Reason::Completed, message, last.unwrap_or(&ProcRecord::default()))
}

fn conditions(
    work: &Work<'_>,
    committed: &[Condition],
    counts: &Counts,
    because: &Because,
    finished: bool,
) -> Vec<Condition> {
    let good = |record: &ProcRecord| {
        record.status == ProcStatus::Completed && record.exit_code == Some(success(work))
    };
    let complete = finished && !work.is_ended() && work.records.values().all(good);
    let coming = if work.kept_back().is_some() { 0 } else { counts.unmaterialized };
    let unfinished = counts.idle + counts.running + counts.suspended + coming;
    let stalled = (finished && !complete)
        || (!finished && unfinished == 0 && !stopping(work) && !removing(work));
    let reconciling = !finished && !stalled;
    [
        (condition::FINISHED, finished),
        (condition::COMPLETE, complete),
        (condition::FAILED, finished && !complete),
        (condition::HELD, counts.held > 0),
        (condition::RECONCILING, reconciling),
        (condition::STALLED, stalled),
    ]
    .into_iter()
    .filter_map(|(type_, holds)| {
        let known = committed.iter().find(|condition| condition.type_ == type_);
        // Reconciling and Stalled are abnormal-true: absent when fine, for kstatus. The others appear when they become true,
        // as those of a batch/v1 Job do, and tell later that they are so no more.
        let optional = type_ == condition::RECONCILING || type_ == condition::STALLED;
        if !holds && (optional || known.is_none()) {
            return None;
        }
        let status = if holds { "True" } else { "False" };
        let same = known.filter(|condition| condition.status == status);
        Some(Condition {
            type_: type_.into(),
            status: status.into(),
            reason: because.reason.clone(),
            message: because.message.clone(),
            observed_generation: work.observed.job.metadata.generation,
            last_transition_time: same
                .map_or_else(|| work.now(), |condition| condition.last_transition_time.clone()),
        })
    })
    .collect()
}

fn stopping(work: &Work<'_>) -> bool {
    work.records.values().any(crate::decide::is_stopping)
}

/// The log with the new events, and the parts of the committed text that go to pages.
fn log(work: &Work<'_>, committed: Option<UserLog>) -> (UserLog, Vec<LogPart>) {
    let mut log = committed.unwrap_or_default();
    let mut committed = log.text.len();
    let mut parts = Vec::new();
    for event in &work.journal.events {
        // Writing to a string cannot fail.
        let _ = write!(log.text, "{event}");
        log.events += 1;
    }
    // Only a full part of what is committed leaves: the same one, whoever moves it and however often.
    while log.text.len() > LOG_BOUND
        && committed >= LOG_PART
        && let Some(end) = userlog::overflow(&log.text, LOG_BOUND, LOG_PART)
        && end <= committed
    {
        let text = log.text.drain(..end).collect();
        committed -= end;
        parts.push(LogPart { number: log.parts, text });
        log.parts += 1;
    }
    log.pages = (log.parts + LogPart::IN_A_PAGE - 1) / LogPart::IN_A_PAGE;
    (log, parts)
}
