//! The end of each job: its records, its log, what really ran, and what the commands came to. Invariant: nothing here is the
//! operator's word alone; each number is compared with one that somebody else counted.

use super::{
    fates::Job,
    history::Seen,
    people::{Answers, Given, get},
};
use crate::witness::Witness;
use anyhow::Context as _;
use duj_api::{
    DockerUniverseJobStatus, Verb,
    status::{ProcRecord, ProcStatus},
};
use duj_core::{
    records::Records,
    spill::{self, Page},
    userlog::{Body, Event, Exit, Expect, Fault, check, read},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use std::{collections::BTreeMap, io::Read as _, sync::Arc};

/// What a job left.
pub(super) struct Left {
    /// The whole log: its pages, and the status's text.
    pub(super) log: String,
    records: Records,
    /// Pages of the log.
    pub(super) pages: i64,
}

impl Left {
    /// Reads it.
    pub(super) async fn by(
        client: &Client,
        namespace: &str,
        job: &Job,
        status: &DockerUniverseJobStatus,
    ) -> anyhow::Result<Self> {
        let user_log = status.user_log.clone().unwrap_or_default();
        let mut log = String::new();
        for number in 1..=user_log.pages {
            let page = page(client, namespace, &format!("{}-userlog-{number}", job.name)).await?;
            let data = page.binary_data.and_then(|mut data| data.remove("log.gz"));
            let data = data.context("a page of a log without its data")?;
            flate2::read::MultiGzDecoder::new(&data.0[..]).read_to_string(&mut log)?;
        }
        log.push_str(&user_log.text);
        let mut pages = Vec::new();
        for named in &status.procs_pages {
            let page = page(client, namespace, &named.name).await?;
            let text = page.data.and_then(|mut data| data.remove("procs"));
            let groups = serde_json::from_str(&text.context("a page without its records")?)?;
            pages.push(Arc::new(Page::new(named.name.clone(), groups)));
        }
        let records = spill::read(status, &pages, job.procs).context("a page is missing")?;
        Ok(Self { log, records, pages: user_log.pages })
    }
}

async fn page(client: &Client, namespace: &str, name: &str) -> anyhow::Result<ConfigMap> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
    let page = get(client, &path).await.with_context(|| format!("page '{name}'"))?;
    Ok(serde_json::from_value(page)?)
}

/// What is compared with what a job left.
pub(super) struct Facts<'a> {
    /// What ran.
    pub(super) witness: &'a Witness,
    /// What was said to the jobs.
    pub(super) given: &'a [Given],
    /// What was answered.
    pub(super) answers: &'a Answers,
}

/// What is wrong with a job.
pub(super) fn job(job: &Job, seen: &Seen, left: &Left, facts: &Facts<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let status = &seen.status;
    let user_log = status.user_log.clone().unwrap_or_default();
    if left.log != format!("{}{}", seen.moved, user_log.text) {
        problems.push("its pages are not what left the status".to_owned());
    }
    let mut events: Vec<Event> = Vec::new();
    for event in read(&left.log) {
        match event {
            Ok(event) => events.push(event),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if i64::try_from(events.len()) != Ok(user_log.events) {
        let counted = user_log.events;
        problems.push(format!("its log has {} events, its status counts {counted}", events.len()));
    }
    // As in HTCondor, a person may hold what is held for another reason; then no policy releases it.
    let by_a_person = |at: usize| {
        events.get(at).is_some_and(|event| matches!(event.body, Body::Held { code: 1, .. }))
    };
    let order = check(&events, Expect::Finished).into_iter();
    let order = order.filter(|found| found.fault != Fault::HeldTwice || !by_a_person(found.index));
    problems.extend(order.map(|found| found.to_string()));
    let mut by_proc: BTreeMap<i32, Vec<&Event>> = BTreeMap::new();
    for event in &events {
        if Some(i64::from(event.job.cluster)) != status.cluster_id {
            problems.push(format!("its log has an event of cluster {}", event.job.cluster));
        }
        by_proc.entry(event.job.proc).or_default().push(event);
    }
    if by_proc.len() != job.procs as usize || left.records.len() != job.procs as usize {
        problems.push(format!(
            "{} procs in its log, {} records",
            by_proc.len(),
            left.records.len()
        ));
    }
    for (id, record) in left.records.iter() {
        let own = by_proc.get(&id.cast_signed()).map_or(&[][..], Vec::as_slice);
        let runs = facts.witness.runs(&seen.uid, id);
        let wrong = proc(job, id, record, own, runs);
        problems.extend(wrong.into_iter().map(|what| format!("proc {id}: {what}")));
    }
    let given = facts.given.iter().filter(|given| given.job == job.name);
    for given in given {
        problems.extend(command(given, facts.answers, &events, &left.records));
    }
    problems
}

/// What is wrong with a proc.
fn proc(job: &Job, id: u32, record: &ProcRecord, events: &[&Event], runs: u32) -> Vec<String> {
    let mut problems = Vec::new();
    let count = |is: fn(&Body) -> bool| events.iter().filter(|event| is(&event.body)).count();
    let starts = count(|body| matches!(body, Body::Execute { .. }));
    if (starts, runs as usize) != (record.num_job_starts as usize, starts) {
        let recorded = record.num_job_starts;
        let numbers: Vec<u16> = events.iter().map(|event| event.body.number()).collect();
        problems.push(format!(
            "it ran {runs} times, its log tells of {starts} runs, its record of {recorded}: {numbers:?}"
        ));
    }
    let holds = count(|body| matches!(body, Body::Held { .. }));
    if holds != record.num_holds as usize {
        problems
            .push(format!("its log tells of {holds} holds, its record of {}", record.num_holds));
    }
    let ends: Vec<_> = events.iter().filter(|event| event.body.is_end()).collect();
    let as_it_should = match (&ends[..], record.status) {
        ([event], ProcStatus::Completed) => {
            let code = Exit::Code(job.exit(id));
            matches!(&event.body, Body::Terminated(end) if end.exit == code)
                && record.exit_code == Some(job.exit(id))
        }
        ([event], ProcStatus::Removed) => matches!(event.body, Body::Aborted { .. }),
        _ => false,
    };
    if !as_it_should {
        problems.push(format!("it ended as {:?} with {ends:?}", record.status));
    }
    problems
}

/// A command is carried out as often as it was accepted: so often its reason stands in the log.
fn command(
    given: &Given,
    answers: &Answers,
    events: &[Event],
    records: &Records,
) -> Option<String> {
    let Given { name, verb, .. } = given;
    let Some(answer) = answers.get(name) else {
        return Some(format!("command '{name}' ({verb:?}) has no answer"));
    };
    let said = |event: &&Event| match (&event.body, verb) {
        (Body::Held { reason, .. }, Verb::Hold)
        | (Body::Aborted { reason }, Verb::Remove)
        | (Body::Released { reason }, Verb::Release) => reason.as_str() == name,
        _ => false,
    };
    let told = events.iter().filter(said).count();
    let accepted = usize::try_from(answer.accepted).unwrap_or_default();
    let wrong = match verb {
        // What ends by itself while it is to be stopped has ended.
        Verb::Vacate => false,
        // What is removed while it is being stopped to be held is removed, and what ends by itself meanwhile has ended.
        Verb::Hold => {
            let overtaken = records.values().filter(|record| {
                record.status == ProcStatus::Removed
                    || record.status == ProcStatus::Completed
                        && record.last_status == Some(ProcStatus::Held)
            });
            told > accepted || told + overtaken.count() < accepted
        }
        _ => told != accepted,
    };
    wrong.then(|| {
        format!("command '{name}' ({verb:?}) was accepted {accepted} times and told {told} times")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice;

    const LOG: &str = "\
000 (007.003.000) 2026-11-23 02:00:00Z Job submitted from host: <docker-universe:0?alias=chaos/great>
...
001 (007.003.000) 2026-11-23 02:00:01Z Job executing on host: <192.0.2.1:10250?alias=simulated-000>
...
012 (007.003.000) 2026-11-23 02:00:02Z Job was held.
\tchaos-5
\tCode 1 Subcode 0
...
013 (007.003.000) 2026-11-23 02:00:03Z Job was released.
\tvia condor_release
...
009 (007.003.000) 2026-11-23 02:00:04Z Job was aborted.
\tchaos-6
...
";

    fn events() -> Vec<Event> {
        read(LOG).map(Result::unwrap).collect()
    }

    fn removed() -> ProcRecord {
        ProcRecord {
            status: ProcStatus::Removed,
            num_job_starts: 1,
            num_holds: 1,
            ..ProcRecord::default()
        }
    }

    #[test]
    fn a_proc_is_what_its_log_and_the_nodes_say() {
        let (job, events) = (Job::great(10), events());
        let events: Vec<&Event> = events.iter().collect();
        let wrong = |record: &ProcRecord, events: &[&Event], runs| {
            proc(&job, 3, record, events, runs).len()
        };
        assert_eq!(wrong(&removed(), &events, 1), 0);
        assert_eq!(wrong(&removed(), &events, 2), 1, "it ran twice");
        assert_eq!(wrong(&removed(), &events[..4], 1), 1, "its end is lost");
        assert_eq!(wrong(&ProcRecord { num_job_starts: 2, ..removed() }, &events, 1), 1);
        assert_eq!(wrong(&ProcRecord { num_holds: 0, ..removed() }, &events, 1), 1);
        let completed =
            ProcRecord { status: ProcStatus::Completed, exit_code: Some(7), ..removed() };
        assert_eq!(wrong(&completed, &events, 1), 1, "it was removed");
    }

    #[test]
    fn a_command_is_told_as_often_as_it_was_accepted() {
        let (events, mut records) = (events(), Records::default());
        let wrong = |verb, name: &str, accepted, records: &Records| {
            let given = Given { name: name.to_owned(), verb, job: "great".to_owned() };
            let answer = duj_api::DockerUniverseCommandStatus { accepted, ..Default::default() };
            let answers = Answers::from([(name.to_owned(), answer)]);
            command(&given, &answers, &events, records).is_some()
        };
        assert!(!wrong(Verb::Hold, "chaos-5", 1, &records));
        assert!(wrong(Verb::Hold, "chaos-5", 2, &records));
        assert!(wrong(Verb::Hold, "chaos-5", 0, &records));
        assert!(!wrong(Verb::Remove, "chaos-6", 1, &records));
        assert!(wrong(Verb::Remove, "chaos-6", 2, &records));
        records.put(3, Arc::new(removed()));
        assert!(!wrong(Verb::Hold, "chaos-5", 2, &records), "one was removed on its way");
        let given = Given { name: "chaos-9".to_owned(), verb: Verb::Hold, job: "great".to_owned() };
        let facts = command(&given, &Answers::new(), slice::from_ref(&events[0]), &records);
        assert!(facts.is_some(), "it has no answer");
    }
}
