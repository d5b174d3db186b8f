//! What the kubelet tells of the containers `prepare` and `transfer`.

use super::{Kubelet, kubelet::End, kubelet::record};
use duj_protocol::{
    Outcome,
    transfer::{Failure, Report, State},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

/// A report of a transfer that took two seconds.
pub(crate) fn report(state: State, now: jiff::Timestamp) -> Report {
    let milliseconds = now.as_millisecond();
    Report {
        version: Report::VERSION,
        state,
        started: Some(milliseconds - 2000),
        finished: Some(milliseconds),
        files: 2,
        bytes: 4096,
        round: 1,
        complete: state == State::Done,
        ..Report::default()
    }
}

/// One that failed like this.
pub(crate) fn failure(code: i32, subcode: i32, message: &str) -> Failure {
    Failure { code, subcode, message: message.into() }
}

impl Kubelet<'_> {
    /// `prepare` runs.
    pub(crate) fn prepares(&mut self) {
        self.container("prepare", &json!({ "running": { "startedAt": Time(self.now) } }), false);
        self.waiting("PodInitializing", "");
    }

    /// `prepare` ended with this report.
    pub(crate) fn prepared(&mut self, report: &Report) {
        let code = i32::from(report.state != State::Done);
        let end = json!({
            "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }, "message": report.to_message(),
            "startedAt": Time(self.now - jiff::SignedDuration::from_secs(3)), "finishedAt": Time(self.now),
        });
        self.container("prepare", &json!({ "terminated": end }), code == 0);
        if code != 0 {
            self.patch(&json!({ "phase": "Failed" }));
            self.confirm();
        }
    }

    /// `transfer` runs, beside the job.
    pub(crate) fn transfers(&mut self) {
        self.container("transfer", &json!({ "running": { "startedAt": Time(self.now) } }), true);
    }

    /// The job's process ended, and `transfer` goes on.
    pub(crate) fn outcome_before_transfer(&mut self, outcome: Outcome) {
        let started = self.running_since().unwrap_or(self.now);
        let code = if let Outcome::Exited(code) = outcome { code } else { 1 };
        let reason = if code == 0 { "Completed" } else { "Error" };
        let message = record(started, self.now, outcome).to_message();
        self.end_container(&End { code, reason, message, started: true });
        self.transfers();
    }

    /// `transfer` ended with this message.
    pub(crate) fn transferred(&mut self, code: i32, message: &str) {
        let end = json!({
            "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }, "message": message,
            "startedAt": Time(self.now), "finishedAt": Time(self.now),
        });
        self.container("transfer", &json!({ "terminated": end }), false);
        self.patch(&json!({ "phase": if code == 0 { "Succeeded" } else { "Failed" } }));
        self.confirm();
    }

    /// The runtime tells which image the job's container has.
    pub(crate) fn runs_image(&mut self, id: &str) {
        self.server.change_pod(&self.name.clone(), |pod| {
            let statuses = pod.status.as_mut().and_then(|s| s.container_statuses.as_mut());
            for status in statuses.into_iter().flatten().filter(|status| status.name == "job") {
                status.image_id = id.into();
            }
        });
    }

    /// `transfer` is killed while the job runs.
    pub(crate) fn transfer_killed(&mut self) {
        let end = json!({ "exitCode": 137, "reason": "OOMKilled", "startedAt": Time(self.now), "finishedAt": Time(self.now) });
        self.container("transfer", &json!({ "terminated": end }), false);
    }
}
