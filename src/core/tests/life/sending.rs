//! What can happen to outputs on their way.

use crate::{
    stage::{Kubelet, transfers},
    steps::{PodStep, World},
};
use duj_core::facts::PodFacts;
use duj_protocol::transfer::{Report, State};

impl World {
    /// Its process has ended, and `transfer` has its outputs.
    pub(crate) fn take_sending_step(&mut self, pod: &PodFacts, step: PodStep) {
        let now = self.now;
        let known = self.server.said.get(&pod.name).cloned();
        let kept = known
            .as_ref()
            .is_some_and(|said| said.state == State::Kept && said.round > u64::from(pod.resends));
        let round = u64::from(pod.resends) + 1;
        let failed = |state| Report {
            failure: Some(transfers::failure(12, 13, "403 Forbidden")),
            round,
            ..transfers::report(state, now)
        };
        let code = pod.job.terminated.as_ref().map_or(0, |end| end.exit_code);
        let mut kubelet = Kubelet { server: &mut self.server, name: pod.name.clone(), now };
        match step {
            PodStep::Kept if !kept => {
                self.server.said.insert(pod.name.clone(), failed(State::Kept));
            }
            // What is kept is not sent unless somebody wants it.
            PodStep::Sent | PodStep::StopAsAsked
                if !kept && (step == PodStep::Sent || pod.deleting.is_some()) =>
            {
                let done = Report { round, ..transfers::report(State::Done, now) };
                kubelet.transferred(0, &done.to_message());
                self.note_result(pod, code);
            }
            PodStep::StopAsAsked if pod.deleting.is_some() => {
                kubelet.transferred(1, &failed(State::Failed).to_message());
            }
            PodStep::GivenUp => kubelet.transferred(1, &failed(State::Failed).to_message()),
            PodStep::TransferKilled => kubelet.transferred(137, ""),
            PodStep::Delete => kubelet.delete(),
            PodStep::CollectGarbage => kubelet.collect_garbage(),
            _ => {}
        }
    }
}
