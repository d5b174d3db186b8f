//! What must be true of the server at every moment.

use crate::stage::{self, Server};
use duj_api::status::{ProcRecord, ProcStatus};
use duj_core::facts::PodFacts;
use std::collections::BTreeMap;

/// What was seen before.
#[derive(Default)]
pub(crate) struct Witness {
    /// UID of the pod that had a name.
    names: BTreeMap<String, String>,
    log: String,
    record: Option<ProcRecord>,
    /// Attempts whose job ended of its own accord, with its exit code.
    results: BTreeMap<u32, i32>,
}

impl Witness {
    pub(crate) fn look(&mut self, server: &Server) {
        self.one_live_pod(server);
        let Some(job) = &server.job else { return };
        let Some(status) = &job.status else { return };
        stage::is_sound(job, status);
        let log = &status.user_log.as_ref().unwrap().text;
        assert!(log.starts_with(&self.log), "the log was rewritten:\n{}\n->\n{log}", self.log);
        self.log.clone_from(log);
        let record = stage::proc_record(status);
        if let Some(before) = &self.record {
            follows(before, record);
        }
        self.no_result_is_lost(record);
        self.record = Some(record.clone());
    }

    /// This attempt ended with a result. It counts unless the proc has gone on to another attempt.
    pub(crate) fn expect(&mut self, attempt: u32, code: i32) {
        if self.record.as_ref().map_or(0, |record| record.attempt) == attempt {
            self.results.insert(attempt, code);
        }
    }

    fn no_result_is_lost(&self, record: &ProcRecord) {
        for (attempt, code) in &self.results {
            assert!(
                record.attempt <= *attempt,
                "attempt {attempt} ended with {code}, and another one follows"
            );
            let other = record.status == ProcStatus::Completed && record.exit_code != Some(*code);
            assert!(!other, "attempt {attempt} ended with {code}");
        }
    }

    fn one_live_pod(&mut self, server: &Server) {
        for (name, pod) in &server.pods {
            let uid = pod.metadata.uid.clone().unwrap();
            let known = self.names.entry(name.clone()).or_insert_with(|| uid.clone());
            assert_eq!(*known, uid, "attempt '{name}' was made twice");
        }
        let live: Vec<String> = server
            .pods
            .values()
            .filter_map(PodFacts::read)
            .filter(|pod| !pod.ended())
            .map(|pod| pod.name)
            .collect();
        assert!(live.len() <= 1, "more than one pod lives: {live:?}");
    }
}

fn follows(before: &ProcRecord, after: &ProcRecord) {
    let counters = |record: &ProcRecord| {
        [record.attempt, record.num_job_starts, record.num_holds, record.num_vacates]
    };
    for (before, after) in counters(before).into_iter().zip(counters(after)) {
        assert!(before <= after, "a counter went back");
    }
    match before.status {
        ProcStatus::Completed => assert_eq!(before, after, "Completed is for ever"),
        ProcStatus::Removed => {
            assert_eq!(after.status, ProcStatus::Removed);
            let stopping =
                |record: &ProcRecord| record.remove.as_ref().is_some_and(|remove| remove.stopping);
            assert!(
                stopping(before) || !stopping(after),
                "what was removed is being removed again"
            );
        }
        _ => {}
    }
}
