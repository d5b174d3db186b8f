//! The world calms down: what can finish finishes, and nothing is left behind.

use crate::{
    stage::{self, Fault, Kubelet},
    steps::{PodStep, Step, World},
};
use duj_api::status::ProcStatus;
use jiff::SignedDuration;

impl World {
    /// No more faults, nodes that work, owners who care: the job comes to its end, and leaves nothing behind.
    pub(crate) fn calm_down(&mut self) {
        self.server.refuses = None;
        self.operator.restart(&self.server);
        for round in 0.. {
            assert!(
                round < 100,
                "the job does not finish: {:#?}",
                self.server.job.as_ref().unwrap().status
            );
            self.take(Step::Look { job: true, pods: true, commands: true });
            self.reconcile(&mut || Fault::None);
            if self.is_at_rest() {
                break;
            }
            self.help();
            self.now += SignedDuration::from_secs(400);
        }
        self.nothing_more_is_written();
        self.server.delete_job(self.now);
        for _ in 0..3 {
            self.operator.look(&self.server);
            self.reconcile(&mut || Fault::None);
        }
        // The node of an attempt that was given up comes back, and finds that its pod was to end.
        for name in self.server.pods.keys().cloned().collect::<Vec<_>>() {
            Kubelet { server: &mut self.server, name, now: self.now }.confirm();
        }
        assert!(self.server.pods.is_empty(), "pods are left behind: {:?}", self.server.pods.keys());
    }

    fn help(&mut self) {
        for step in [
            PodStep::Answers,
            PodStep::StopAsAsked,
            PodStep::Sent,
            PodStep::Exit(0),
            PodStep::Run,
            PodStep::Bind,
        ] {
            self.take_pod_step(step);
        }
        let Some(status) = self.server.job.as_ref().unwrap().status.clone() else { return };
        let held = stage::proc_record(&status).status == ProcStatus::Held;
        self.server.edit(|job| job.spec.hold = held && !job.spec.hold);
    }

    fn is_at_rest(&self) -> bool {
        let status = self.server.job.as_ref().unwrap().status.as_ref();
        let finished = status.is_some_and(|status| status.completion_time.is_some());
        let answered = self.server.commands.values().all(|command| command.status.is_some());
        let hold = self.server.job.as_ref().unwrap().spec.hold;
        finished && answered && !hold && self.operator.deeds.is_empty() && self.live().is_none()
    }

    fn nothing_more_is_written(&mut self) {
        for _ in 0..3 {
            // Pods that later ones replaced go after ten minutes; then there is nothing left to do.
            self.now += SignedDuration::from_secs(700);
            self.operator.look(&self.server);
            self.reconcile(&mut || Fault::None);
        }
        let version = self.server.version;
        for _ in 0..10 {
            self.now += SignedDuration::from_secs(1000);
            self.operator.look(&self.server);
            self.reconcile(&mut || Fault::None);
        }
        assert_eq!(self.server.version, version, "{:?}", self.operator.deeds);
    }
}
