//! The end of each job against its fate. Invariant: what is compared comes from the API server, from the witness and from the
//! readers of logs, never from the operator's own word that all is well.

use super::{
    fates::{End, Job},
    people::{People, View},
    server::Administrator,
    witness::Witness,
};
use anyhow::Context as _;
use duj_api::status::{ProcRecord, ProcStatus, UserLog};
use duj_core::userlog::{Event, Expect, check, read};
use std::{collections::BTreeMap, io::Read as _};

/// Something that is not as it must be: which job, and what.
pub(super) type Problem = (String, String);

/// The whole logs by job, from their pages and the newest part.
pub(super) async fn logs(
    administrator: &Administrator,
    namespace: &str,
    people: &People,
    view: &View,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut logs = BTreeMap::new();
    for job in people.kept() {
        let status = view.jobs.get(&job.name).and_then(|job| job.status.as_ref());
        let Some(log) = status.and_then(|status| status.user_log.as_ref()) else { continue };
        let mut text = pages(administrator, namespace, &job.name, log).await?;
        text.push_str(&log.text);
        logs.insert(job.name.clone(), text);
    }
    Ok(logs)
}

async fn pages(
    administrator: &Administrator,
    namespace: &str,
    job: &str,
    log: &UserLog,
) -> anyhow::Result<String> {
    let mut text = String::new();
    for page in 1..=log.pages {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{job}-userlog-{page}");
        let page: k8s_openapi::api::core::v1::ConfigMap =
            serde_json::from_value(administrator.get(&path).await?)?;
        let data = page.binary_data.and_then(|mut data| data.remove("log.gz"));
        let data = data.context("a page of a log without its data")?;
        flate2::read::MultiGzDecoder::new(&data.0[..]).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// What is wrong with the jobs' ends and logs.
pub(super) fn judge(
    people: &People,
    view: &View,
    logs: &BTreeMap<String, String>,
    witness: &Witness,
) -> Vec<Problem> {
    let mut problems = people.history.problems.clone();
    for job in people.kept() {
        let mut say = |what: String| problems.push((job.name.clone(), what));
        let records = view.records(job);
        for proc in 0..job.procs {
            match records.get(&proc) {
                Some(record) => end(job, proc, record).into_iter().for_each(&mut say),
                None => say(format!("proc {proc} has no record")),
            }
        }
        let log = view.jobs.get(&job.name).and_then(|job| job.status.as_ref()?.user_log.clone());
        let events = log.map_or(0, |log| log.events);
        let text = logs.get(&job.name).map_or("", String::as_str);
        self::log(job, text, events, &records, witness).into_iter().for_each(&mut say);
    }
    problems
}

fn end(job: &Job, proc: u32, record: &ProcRecord) -> Option<String> {
    let (status, code, signal, codes) = match job.end {
        End::Code(code) => (ProcStatus::Completed, Some(code), None, None),
        End::CodePlusProc(code) => {
            (ProcStatus::Completed, Some(code + proc.cast_signed()), None, None)
        }
        End::Signal(signal) => (ProcStatus::Completed, None, Some(signal), None),
        End::Held(code, subcode) => {
            (ProcStatus::Held, record.exit_code, record.exit_signal, Some((code, subcode)))
        }
        End::Removed => (ProcStatus::Removed, None, None, None),
        End::Deleted => return None,
    };
    let wanted = (status, code, signal, codes);
    let held = record.hold.as_ref().map(|hold| (hold.code, hold.subcode));
    let found = (record.status, record.exit_code, record.exit_signal, held);
    (wanted != found).then(|| format!("proc {proc} ended as {found:?}, not as {wanted:?}"))
}

fn log(
    job: &Job,
    text: &str,
    counted: i64,
    records: &BTreeMap<u32, ProcRecord>,
    witness: &Witness,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut events: Vec<Event> = Vec::new();
    for event in read(text) {
        match event {
            Ok(event) => events.push(event),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if i64::try_from(events.len()) != Ok(counted) {
        problems.push(format!("the log has {} events, the status counts {counted}", events.len()));
    }
    let expect = if matches!(job.end, End::Held(..)) { Expect::Running } else { Expect::Finished };
    problems.extend(check(&events, expect).iter().map(ToString::to_string));
    for proc in 0..job.procs {
        let own = events.iter().filter(|event| event.job.proc == proc.cast_signed());
        let numbers: Vec<u16> = own.map(|event| event.body.number()).collect();
        let plain = without_outages(&numbers);
        if !job.logs.contains(&plain.as_slice()) {
            problems
                .push(format!("proc {proc} has the events {numbers:?}, not one of {:?}", job.logs));
        }
        let starts = numbers.iter().filter(|number| **number == 1).count();
        let (runs, recorded) = (
            witness.runs(&job.name, proc),
            records.get(&proc).map_or(0, |record| record.num_job_starts),
        );
        let unmarked = starts.saturating_sub(runs);
        if runs > starts || !job.unmarked.contains(&unmarked) || recorded as usize != starts {
            problems.push(format!(
                "proc {proc} ran {runs} times in {:?}, its log tells of {starts} runs, its record of {recorded}",
                witness.places(&job.name, proc)
            ));
        }
    }
    problems
}

/// A node that the API server has not heard of for long is told of (022). It comes back (023), or tells only that the run
/// was stopped as it was to be (024, 004): so it is when the API server was away.
fn without_outages(numbers: &[u16]) -> Vec<u16> {
    let (mut rest, mut away) = (Vec::new(), false);
    for number in numbers {
        match number {
            22 if !away => away = true,
            23 | 24 if away => away = false,
            4 | 5 => {
                away = false;
                rest.push(*number);
            }
            _ => rest.push(*number),
        }
    }
    rest
}

/// Deleted jobs ran once at most.
pub(super) fn deleted(people: &People, witness: &Witness) -> Vec<Problem> {
    let deleted = people.plays.iter().map(|play| &play.job).filter(|job| job.end == End::Deleted);
    deleted
        .filter(|job| witness.runs(&job.name, 0) != 1)
        .map(|job| {
            (
                job.name.clone(),
                format!("it was deleted and ran in {:?}", witness.places(&job.name, 0)),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_came_back_is_no_event_of_the_job() {
        assert_eq!(without_outages(&[0, 1, 22, 23, 6, 5]), [0, 1, 6, 5]);
        assert_eq!(without_outages(&[0, 1, 22, 4, 12]), [0, 1, 4, 12]);
        assert_eq!(without_outages(&[0, 1, 22, 24, 4, 1, 6, 5]), [0, 1, 4, 1, 6, 5]);
        assert_eq!(without_outages(&[0, 1, 24, 5]), [0, 1, 24, 5]);
        assert_eq!(without_outages(&[0, 1, 23, 5]), [0, 1, 23, 5]);
    }
}
