//! What `prepare` and `transfer` say while they work: a line of their log for each change. A container's termination message
//! comes only with its end, and one that keeps outputs for another try does not end.
//!
//! Invariant: only a pod whose files are long on their way is asked, seldom, and never more often for more pods; without
//! an answer the end of the container tells the same later.

use crate::{memory::Memory, run::Context, trouble::Spacing};
use duj_api::{DockerUniverseJob, names};
use duj_core::{facts::PodFacts, observed::Observed};
use duj_protocol::transfer::{Report, State};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::LogParams};
use std::{sync::Arc, time::Duration};

/// A transfer that takes longer is asked about.
const SHORT: SignedDuration = SignedDuration::from_secs(2);
/// "Waiting" is believed of a job that has ended when it is said so long after.
const SETTLED: SignedDuration = SignedDuration::from_secs(10);
/// It is asked about again after this time.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// And one that takes longer than a minute after this.
const ASK_SELDOM: SignedDuration = SignedDuration::from_secs(15);
/// A job that saves checkpoints is asked about as often while it runs.
const CHECKPOINTS: SignedDuration = SignedDuration::from_secs(30);
/// The time between two questions of all jobs together.
pub const SPACING: SignedDuration = SignedDuration::from_millis(50);
/// Who was not let through by the spacing comes again after this time; so does who has got no answer about what is young: a
/// kubelet may be busy, but one that is gone is not to keep workers waiting.
const COME_AGAIN: SignedDuration = SignedDuration::from_secs(2);
/// A kubelet that does not answer in this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest line that is read.
const LINE: i64 = 4096;
/// Lines that are read: what is written for people may come behind the last report, even if it was written before it, for a
/// runtime keeps no order between a container's two streams.
const LINES: i64 = 10;

/// What was last heard of a pod's transfers.
#[derive(Clone, Debug)]
pub struct Told {
    asked: Timestamp,
    next: Timestamp,
    report: Option<Report>,
}

/// Lets each pod whose files are long on their way tell how far they are.
pub async fn ask(
    context: &Context,
    job: &DockerUniverseJob,
    pods: &mut [Arc<PodFacts>],
    now: Timestamp,
) {
    let uid = job.uid().unwrap_or_default();
    for pod in pods.iter_mut() {
        let Some(question) = Question::of(pod, job) else { continue };
        let told = told(&context.memory, &uid, pod);
        Arc::make_mut(pod).heard =
            told.as_ref().and_then(|told| question.answer(told)).map(Box::new);
        let due = told.as_ref().map_or(question.first, |told| told.next);
        if due > now || question.is_answered(pod) {
            continue;
        }
        let admitted = context.log_spacing.admits(now);
        let report =
            if admitted { last_report(context, job, pod, question.container).await } else { None };
        let soon = !admitted || (report.is_none() && question.is_young(now));
        let wait = if soon { COME_AGAIN } else { question.again(now) };
        let asked = match (&report, &told) {
            (None, Some(told)) => told.asked,
            _ => now,
        };
        let report = report.or_else(|| told.and_then(|told| told.report));
        let next = now.saturating_add(wait).unwrap_or(now);
        let told = Told { asked, next, report };
        Arc::make_mut(pod).heard = question.answer(&told).map(Box::new);
        context.memory.of(&uid, |memory| memory.told.insert(pod.uid.clone(), told));
    }
    let is_there = |uid: &String| pods.iter().any(|pod| pod.uid == *uid);
    context.memory.of(&uid, |memory| memory.told.retain(|uid, _| is_there(uid)));
}

/// When to ask next about a job's pods: a line in a log changes no pod, so that nothing else would wake anybody.
pub fn ask_again(memory: &Memory, observed: &Observed) -> Option<Timestamp> {
    let uid = observed.job.uid().unwrap_or_default();
    let next = |pod: &Arc<PodFacts>| {
        let question = Question::of(pod, &observed.job).filter(|it| !it.is_answered(pod))?;
        Some(told(memory, &uid, pod).map_or(question.first, |told| told.next.max(question.first)))
    };
    observed.pods.iter().filter_map(next).min()
}

fn told(memory: &Memory, job: &str, pod: &PodFacts) -> Option<Told> {
    memory.of(job, |memory| memory.told.get(&pod.uid).cloned())
}

/// What is worth asking of a pod.
struct Question {
    container: &'static str,
    since: Timestamp,
    first: Timestamp,
    seldom: bool,
}

impl Question {
    fn of(pod: &PodFacts, job: &DockerUniverseJob) -> Option<Self> {
        if pod.ended() || pod.node.is_none() {
            return None;
        }
        let transfer = pod.transfer.as_ref().and_then(|transfer| transfer.running);
        let (container, since, seldom) = if let (Some(ended), Some(_)) = (pod.finished(), transfer)
        {
            (names::CONTAINER_TRANSFER, ended, false)
        } else if let Some(begun) = pod.prepare.as_ref().and_then(|prepare| prepare.running) {
            (names::CONTAINER_PREPARE, begun, false)
        } else {
            job.spec.files.checkpoint_exit_code?;
            (names::CONTAINER_TRANSFER, transfer.and(pod.job.running)?, true)
        };
        let first = since.checked_add(if seldom { CHECKPOINTS } else { SHORT }).ok()?;
        Some(Self { container, since, first, seldom })
    }

    /// What was said since the question arose. Of a job that has ended, one that is still waited for has never begun; but
    /// who looks for its beginning looks now and then, and clocks differ.
    fn answer(&self, told: &Told) -> Option<Report> {
        let report = told.report.clone()?;
        let since = told.asked.duration_since(self.since);
        let settled = self.seldom || report.state != State::Waiting || since >= SETTLED;
        (since >= SignedDuration::ZERO && settled).then_some(report)
    }

    /// What is kept stays so until somebody wants it sent again.
    fn is_answered(&self, pod: &PodFacts) -> bool {
        let kept =
            |report: &Report| report.state == State::Kept && report.round > u64::from(pod.resends);
        !self.seldom && pod.heard.as_deref().is_some_and(kept)
    }

    /// Whether the question has just arisen.
    fn is_young(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) < SETTLED
    }

    fn again(&self, now: Timestamp) -> SignedDuration {
        if self.seldom {
            CHECKPOINTS
        } else if now.duration_since(self.since) > SignedDuration::from_mins(1) {
            ASK_SELDOM
        } else {
            ASK_AGAIN
        }
    }
}

async fn last_report(
    context: &Context,
    job: &DockerUniverseJob,
    pod: &PodFacts,
    container: &str,
) -> Option<Report> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &job.namespace()?);
    let parameters = LogParams {
        container: Some(container.to_owned()),
        tail_lines: Some(LINES),
        limit_bytes: Some(LINE * LINES),
        ..LogParams::default()
    };
    let answer = tokio::time::timeout(PATIENCE, pods.logs(&pod.name, &parameters)).await;
    report_in(&answer.ok()?.ok()?)
}

/// The last report among lines of other kinds.
fn report_in(log: &str) -> Option<Report> {
    log.lines().rev().find_map(Report::from_message)
}

/// The bound of all questions together.
pub fn spacing() -> Spacing {
    Spacing::new(SPACING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_for_people_hides_no_report() {
        let active = r#"{"version":1,"state":"active","files":0,"bytes":0,"round":1}"#;
        let kept = r#"{"version":1,"state":"kept","files":0,"bytes":0,"round":1}"#;
        let words = "no certificate can be read from '/volumes/ca-0/ca.crt', which is left out";
        for (log, state) in [
            (format!("{active}\n{kept}\n"), Some(State::Kept)),
            (format!("{active}\n{kept}\n{words}\n"), Some(State::Kept)),
            (format!("{words}\n{active}\n{words}\n{words}"), Some(State::Active)),
            (format!("{words}\n"), None),
            (String::new(), None),
        ] {
            assert_eq!(report_in(&log).map(|report| report.state), state, "{log}");
        }
    }

    #[test]
    fn what_was_said_before_the_end_is_no_answer_to_what_came_after() {
        let end = Timestamp::from_second(1_000_000).unwrap();
        let question = |seldom| Question { container: "transfer", since: end, first: end, seldom };
        let at = |seconds: i64| end + SignedDuration::from_secs(seconds);
        for (state, asked, seldom, heard) in [
            (State::Waiting, -5, false, false),
            (State::Waiting, 2, false, false),
            (State::Waiting, 12, false, true),
            (State::Kept, -5, false, false),
            (State::Kept, 2, false, true),
            (State::Waiting, 5, true, true),
        ] {
            let report = Some(Report { version: 1, state, ..Report::default() });
            let told = Told { asked: at(asked), next: at(asked), report };
            assert_eq!(
                question(seldom).answer(&told).is_some(),
                heard,
                "{state:?} {asked} s later"
            );
        }
    }
}
