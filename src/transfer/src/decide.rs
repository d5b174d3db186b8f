//! What becomes of the files when the job has ended.
//!
//! Invariant: what an attempt leaves that does not count is never sent under the names of one that does.

use duj_protocol::{
    Outcome, Record,
    transfer::{SendPlan, When, stop},
};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The standard streams, and the other files if `files`; they are kept where they cannot be sent.
    Outputs {
        /// Also the file set.
        files: bool,
    },
    /// The standard streams that are there, with the attempt's number after their names.
    Remains,
    /// The file set, as a checkpoint; and then the standard streams as remains, if `remains`.
    Checkpoint {
        /// Also the standard streams.
        remains: bool,
    },
    /// Nothing.
    Nothing,
}

/// For a job that left this record, if any, and that was stopped for this, if anybody said so ([`stop`]).
pub(crate) fn decide(plan: &SendPlan, record: Option<&Record>, why: Option<&str>) -> Decision {
    let Some(record) = record else { return Decision::Remains };
    // Another attempt may have begun by now, and goes by the same names.
    if record.lease_expired {
        return Decision::Nothing;
    }
    if record.stopped_by.is_some() {
        let saved = plan.when == When::OnExitOrEvict && plan.checkpoint.is_some();
        let remains = why == Some(stop::HOLD);
        return match why {
            Some(stop::REMOVE) => Decision::Nothing,
            _ if saved => Decision::Checkpoint { remains },
            _ if remains => Decision::Remains,
            _ => Decision::Nothing,
        };
    }
    if record.oom_kills > 0 {
        return Decision::Remains;
    }
    match record.outcome {
        Some(Outcome::Exited(code)) => {
            let success = code == plan.success_exit_code;
            Decision::Outputs { files: success || plan.when != When::OnSuccess }
        }
        Some(Outcome::Signalled(_)) => Decision::Outputs { files: plan.when != When::OnSuccess },
        _ => Decision::Remains,
    }
}

#[cfg(test)]
mod tests {
    use duj_protocol::transfer::Place;

    use super::*;

    fn plan(when: When, checkpoint: bool) -> SendPlan {
        let place = Place::Url { url: "s3://b/c".into(), headers: None, s3: None };
        SendPlan { when, checkpoint: checkpoint.then_some(place), ..SendPlan::default() }
    }

    fn ended(outcome: Outcome) -> Record {
        Record { version: 1, outcome: Some(outcome), ..Record::default() }
    }

    #[test]
    fn what_is_sent_follows_from_how_the_job_ended() {
        use Decision::{Checkpoint, Nothing, Outputs, Remains};
        use When::{OnExit, OnExitOrEvict, OnSuccess};
        let exited = |code| ended(Outcome::Exited(code));
        let stopped = Record { stopped_by: Some(15), ..exited(0) };
        let lost = Record { lease_expired: true, ..exited(0) };
        let killed = Record { oom_kills: 1, ..ended(Outcome::Signalled(9)) };
        let full = ended(Outcome::OverDisk { used: 2, limit: 1 });
        let unstarted = ended(Outcome::NotStarted { errno: 2, message: String::new() });
        let unsaved = ended(Outcome::CheckpointFailed("x".into()));
        let saved = Checkpoint { remains: false };
        let all = Outputs { files: true };
        let streams = Outputs { files: false };
        let cases = [
            (OnExit, true, Some(exited(0)), all),
            (OnExit, true, Some(exited(3)), all),
            (OnExit, true, Some(ended(Outcome::Signalled(11))), all),
            (OnExitOrEvict, true, Some(exited(3)), all),
            (OnSuccess, true, Some(exited(0)), all),
            (OnSuccess, true, Some(exited(3)), streams),
            (OnSuccess, true, Some(ended(Outcome::Signalled(11))), streams),
            (OnExit, true, Some(stopped.clone()), Nothing),
            (OnSuccess, true, Some(stopped.clone()), Nothing),
            (OnExitOrEvict, true, Some(stopped.clone()), saved),
            (OnExitOrEvict, false, Some(stopped), Nothing),
            (OnExitOrEvict, true, Some(lost.clone()), Nothing),
            (OnExit, true, Some(lost), Nothing),
            (OnExit, true, Some(killed), Remains),
            (OnExit, true, Some(full), Remains),
            (OnExit, true, Some(unstarted), Remains),
            (OnExit, true, Some(unsaved), Remains),
            (OnExit, true, Some(Record::default()), Remains),
            (OnExitOrEvict, true, None, Remains),
        ];
        for (when, checkpoint, record, expected) in cases {
            let decision = decide(&plan(when, checkpoint), record.as_ref(), None);
            assert_eq!(decision, expected, "{when:?} {record:?}");
        }
        for (when, why, expected) in [
            (OnExit, "hold", Remains),
            (OnExit, "remove", Nothing),
            (OnExitOrEvict, "hold", Checkpoint { remains: true }),
            (OnExitOrEvict, "remove", Nothing),
        ] {
            let stopped = Record { stopped_by: Some(15), ..exited(0) };
            assert_eq!(decide(&plan(when, true), Some(&stopped), Some(why)), expected, "{why}");
            // It ended before the stop reached it.
            assert_eq!(decide(&plan(when, true), Some(&exited(0)), Some(why)), all, "{why}");
        }
    }
}
