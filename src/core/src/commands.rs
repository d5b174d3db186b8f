//! Commands: accepted or refused proc by proc, in `HTCondor`'s words (§5.2 of the semantics).
//!
//! Invariant: a command is carried out and its answer noted in one status patch; the answer is then written to the command,
//! again and again until it is seen there. So it is carried out once, whatever crashes in between.

use crate::{
    decide::{Work, is_stopping},
    fate::vacate,
    hold,
    observed::Effect,
    procs,
};
use duj_api::{
    DockerUniverseCommand, DockerUniverseCommandStatus, Verb,
    status::{Answer, Hold, ProcRecord, ProcStatus},
};

/// Commands that are carried out and not yet answered, at most: the status that notes them has a bound.
const AT_ONCE: usize = 32;

/// The words of so many procs are told.
const TOLD: i64 = 5;

/// Carries out what has come in, in its order; returns the answers that are to be written.
pub(crate) fn heed(work: &mut Work<'_>) -> Vec<Effect> {
    let commands = &work.observed.commands;
    let uid = |command: &DockerUniverseCommand| command.metadata.uid.clone().unwrap_or_default();
    // An answer whose command is answered or gone has done its work.
    let open: Vec<String> = commands.iter().map(uid).collect();
    let mut noted: Vec<Answer> =
        work.noticed.commands.iter().filter(|answer| open.contains(&answer.uid)).cloned().collect();
    let mut effects = Vec::new();
    let (mut waits, mut news) = (false, false);
    for command in commands {
        let uid = uid(command);
        let known = noted.iter().find(|answer| answer.uid == uid).cloned();
        // Behind a command that has to wait the others wait too: the last wish wins, not the one that could be done first.
        waits |= known.is_none() && noted.len() >= AT_ONCE;
        let answer = known.clone().filter(|answer| answer.next.is_none()).or_else(|| {
            let answer = if waits { None } else { carry_out(work, command, &uid, known) };
            noted.retain(|known| answer.as_ref().is_none_or(|answer| answer.uid != known.uid));
            noted.extend(answer.clone());
            news |= answer.is_some();
            answer
        });
        let Some(answer) = answer.filter(|answer| answer.next.is_none()) else {
            waits = true;
            continue;
        };
        // What a constraint came to is summed up by whoever asked the jobs; it reads the notes.
        if command.spec.constraint.is_some() {
            continue;
        }
        effects.push(Effect::Answer {
            name: command.metadata.name.clone().unwrap_or_default(),
            version: command.metadata.resource_version.clone().unwrap_or_default(),
            status: DockerUniverseCommandStatus {
                accepted: answer.accepted,
                refused: answer.refused,
                message: answer.message,
                answered: Some(work.now()),
                ..DockerUniverseCommandStatus::default()
            },
        });
    }
    // Answered commands leave with the next change, not with a write of their own.
    if news || !effects.is_empty() {
        work.noticed.commands = noted;
    }
    effects
}

/// `None` where the command has to wait for a pod that is still stopping. `begun` is what it came to so far, where the log had
/// no room for all procs at once.
fn carry_out(
    work: &mut Work<'_>,
    command: &DockerUniverseCommand,
    uid: &str,
    begun: Option<Answer>,
) -> Option<Answer> {
    let spec = &command.spec;
    let total = work.total();
    let answer = |accepted, refused, message: String| {
        Some(Answer { uid: uid.to_owned(), accepted, refused, message, next: None })
    };
    let ids: Vec<u32> = match spec.procs.as_deref() {
        None => work.records.ids().collect(),
        Some(text) => {
            let Some(ids) = procs::parse_ranges(text, total) else {
                let text = format!("procs '{text}' not found: the job has procs 0-{}", total - 1);
                return answer(0, 1, text);
            };
            ids
        }
    };
    if spec.verb == Verb::Release {
        if work.observed.job.spec.hold {
            let text = "the job is held by its own spec.hold: set it to false to release it";
            return answer(0, i64::try_from(ids.len()).unwrap_or(i64::MAX), text.into());
        }
        if begun.is_none() && ids.iter().any(|id| work.records.get(*id).is_some_and(is_stopping)) {
            return None;
        }
    }
    let whole = spec.procs.is_none();
    if whole && spec.verb != Verb::Remove && work.is_being_submitted() {
        return None; // a job is submitted as a whole
    }
    let mut answer = begun.unwrap_or_else(|| Answer { uid: uid.to_owned(), ..Answer::default() });
    let first = answer.next.take().unwrap_or_default();
    if whole {
        let cluster = work.cluster_id;
        match spec.verb {
            Verb::Hold if work.pause(&hold_of(command)) => {
                add(&mut answer, &format!("Cluster {cluster} paused"));
            }
            Verb::Remove if work.end_materialization() => {
                add(&mut answer, &format!("Cluster {cluster} marked for removal"));
            }
            _ => {}
        }
    }
    for id in ids.into_iter().filter(|id| *id >= first) {
        if work.is_full() {
            answer.next = Some(id);
            break;
        }
        work.hear(id);
        let cluster = work.cluster_id;
        let (taken, words) =
            work.with(id, |proc| act(proc, command)).unwrap_or((false, "not found".into()));
        *(if taken { &mut answer.accepted } else { &mut answer.refused }) += 1;
        if answer.accepted + answer.refused <= TOLD {
            add(&mut answer, &format!("Job {cluster}.{id} {words}"));
        }
    }
    let done = answer.next.is_none();
    if whole
        && done
        && spec.verb == Verb::Release
        && work.resume_materialization(&release_of(command))
    {
        add(&mut answer, &format!("Cluster {} resumed", work.cluster_id));
    }
    Some(answer)
}

/// Adds words to an answer.
fn add(answer: &mut Answer, words: &str) {
    if !answer.message.is_empty() {
        answer.message.push_str("; ");
    }
    answer.message.push_str(words);
}

/// The hold that a command asks for.
fn hold_of(command: &DockerUniverseCommand) -> Hold {
    let spec = &command.spec;
    hold::by_user(spec.reason.as_deref(), spec.subcode.unwrap_or(0), spec.by.as_deref())
}

/// Why a command releases.
fn release_of(command: &DockerUniverseCommand) -> String {
    let (reason, by) = (command.spec.reason.as_ref(), command.spec.by.as_deref());
    reason.map_or_else(|| hold::via("condor_release", by), String::clone)
}

/// One proc's answer: whether it accepts, and `HTCondor`'s words after `Job c.p `.
fn act(proc: &mut crate::life::Proc<'_>, command: &DockerUniverseCommand) -> (bool, String) {
    let spec = &command.spec;
    let by = spec.by.as_deref();
    let reason = spec.reason.as_deref();
    let no = |words: &str| (false, words.to_owned());
    match (spec.verb, proc.record.status) {
        (Verb::Hold | Verb::Release | Verb::Prio, ProcStatus::Completed) => no("already completed"),
        (Verb::Remove, ProcStatus::Completed) => {
            no("already completed: delete the job to forget it")
        }
        (Verb::Hold | Verb::Release | Verb::Prio, ProcStatus::Removed) => no("already removed"),
        (Verb::Remove, ProcStatus::Removed) => no("already marked for removal"),
        (Verb::RemoveForced, ProcStatus::Removed) => {
            proc.forget();
            (true, "removed locally (remote state unknown)".into())
        }
        (Verb::RemoveForced, _) => no("not in `X' state to be forcibly removed"),
        (Verb::Vacate | Verb::VacateFast, ProcStatus::Running | ProcStatus::Suspended)
            if proc.record.vacating.is_none() =>
        {
            let words = reason.map_or_else(|| hold::via("condor_vacate_job", by), str::to_owned);
            proc.vacate(vacate::USER_VACATE_JOB, &words, spec.verb == Verb::VacateFast);
            (true, "vacated".into())
        }
        (Verb::Vacate | Verb::VacateFast, _) => no("not running to be vacated"),
        (Verb::Suspend, ProcStatus::Running) if proc.record.vacating.is_none() => {
            proc.suspend();
            (true, "suspended".into())
        }
        (Verb::Suspend, ProcStatus::Suspended) => no("already suspended"),
        (Verb::Suspend, _) => no("not running to be suspended"),
        (Verb::Continue, ProcStatus::Suspended) => {
            proc.go_on();
            (true, "continued".into())
        }
        (Verb::Continue, ProcStatus::Running) => no("already running"),
        (Verb::Continue, _) => no("not suspended to be continued"),
        (Verb::Hold, ProcStatus::Held) if held_by_user(proc.record) => no("already held"),
        (Verb::Hold, _) => {
            proc.hold(hold_of(command));
            (true, "held".into())
        }
        (Verb::Release, ProcStatus::Held) => {
            proc.release(&release_of(command));
            (true, "released".into())
        }
        (Verb::Release, ProcStatus::Idle | ProcStatus::Running | ProcStatus::Suspended) => {
            no("not held to be released")
        }
        (Verb::Prio, _) => {
            let change = spec.priority_change.unwrap_or(0);
            let prio = spec.priority.unwrap_or(proc.record.job_prio.saturating_add(change));
            proc.prioritize(prio);
            (true, format!("has priority {prio}"))
        }
        (Verb::Remove, _) => {
            proc.remove(&reason.map_or_else(|| hold::via("condor_rm", by), str::to_owned));
            (true, "marked for removal".into())
        }
    }
}

fn held_by_user(record: &ProcRecord) -> bool {
    record.hold.as_ref().is_some_and(|hold| hold.code == hold::USER_REQUEST)
}
