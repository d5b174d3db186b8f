//! What can happen in the world, one step at a time.

use crate::{
    stage::{self, End, Fault, Kubelet, Operator, Server},
    witness::Witness,
};
use duj_api::status::ProcStatus;
use duj_core::{facts::PodFacts, observed::RefusalKind};
use duj_protocol::{Outcome, Record};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The operator sees everything and makes three passes without a fault.
    Settle,
    /// The operator makes a pass, with these faults of its writes in order.
    Reconcile(Vec<Fault>),
    /// The operator crashes and starts again.
    Restart,
    /// Its watches tell of the job, of the pods, of the commands.
    Look { job: bool, pods: bool, commands: bool },
    /// Seconds pass.
    Wait(i64),
    /// Something happens to a pod that has not ended.
    Pod([PodStep; 4]),
    /// The owner sets `spec.hold`.
    Hold(bool),
    /// The owner mends the job, where the schema lets them.
    Mend,
    /// Somebody gives a command.
    Command(&'static str),
    /// The server answers the creation of pods like this.
    Refuse(Option<RefusalKind>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PodStep {
    Bind,
    Unschedulable,
    ImageMissing,
    RegistryBusy,
    OurImageMissing,
    SecretMissing,
    StarterRefused,
    Run,
    Exit(i32),
    Die,
    OutOfMemory,
    OverDisk,
    NotStarted,
    StartError,
    StarterMissing,
    KilledSilently,
    Evicted,
    OutOfCpu,
    Unreachable,
    Answers,
    Delete,
    StopAsAsked,
    CollectGarbage,
    /// Its outputs are sent.
    Sent,
    /// They cannot be sent, and are kept.
    Kept,
    /// They are given up.
    GivenUp,
    /// The container that sends them is killed.
    TransferKilled,
}

/// What may happen to a pod without a node, to one that is set up, to one that runs and to one that sends its outputs; that
/// which fits happens.
fn pod_step() -> impl Strategy<Value = [PodStep; 4]> {
    use PodStep::*;
    let unbound = prop_oneof![6 => Just(Bind), 1 => Just(Unschedulable), 1 => Just(Delete)];
    let bound = prop_oneof![
        8 => Just(Run), 4 => Just(StopAsAsked), 1 => Just(Delete), 1 => Just(ImageMissing),
        1 => Just(RegistryBusy), 1 => Just(OurImageMissing), 1 => Just(SecretMissing),
        1 => Just(StarterRefused), 1 => Just(StartError), 1 => Just(StarterMissing), 1 => Just(Evicted),
        1 => Just(OutOfCpu), 1 => Just(CollectGarbage),
    ];
    let running = prop_oneof![
        2 => (0i32..3).prop_map(Exit), 6 => Just(StopAsAsked), 4 => Just(Delete), 1 => Just(Die),
        1 => Just(OutOfMemory), 1 => Just(OverDisk), 1 => Just(NotStarted), 1 => Just(KilledSilently),
        1 => Just(Evicted), 2 => Just(Unreachable), 2 => Just(Answers), 1 => Just(CollectGarbage),
    ];
    let sending = prop_oneof![
        4 => Just(Sent), 6 => Just(Kept), 1 => Just(GivenUp), 1 => Just(TransferKilled), 2 => Just(Delete),
        3 => Just(StopAsAsked), 1 => Just(CollectGarbage),
    ];
    (unbound, bound, running, sending).prop_map(<[PodStep; 4]>::from)
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![8 => Just(Fault::None), 1 => Just(Fault::Lost), 1 => Just(Fault::Unanswered)]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let refusal = prop_oneof![
        3 => Just(None), 1 => Just(Some(RefusalKind::Quota)), 1 => Just(Some(RefusalKind::Permanent)),
        1 => Just(Some(RefusalKind::Transient)),
    ];
    prop_oneof![
        14 => Just(Step::Settle),
        8 => prop::collection::vec(fault(), 4).prop_map(Step::Reconcile),
        2 => Just(Step::Restart),
        4 => Just(Step::Look { job: true, pods: true, commands: true }),
        3 => any::<(bool, bool, bool)>().prop_map(|(job, pods, commands)| Step::Look { job, pods, commands }),
        4 => prop_oneof![Just(1i64), Just(20), Just(130), Just(700)].prop_map(Step::Wait),
        12 => pod_step().prop_map(Step::Pod),
        2 => any::<bool>().prop_map(Step::Hold),
        1 => Just(Step::Mend),
        3 => prop_oneof![
            3 => Just("hold"), 3 => Just("release"), 1 => Just("remove"), 1 => Just("removeForced"),
            2 => Just("suspend"), 2 => Just("continue"), 2 => Just("vacate"), 1 => Just("vacateFast"),
        ].prop_map(Step::Command),
        1 => refusal.prop_map(Step::Refuse),
    ]
}

/// Everything on stage, and who watches it.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) operator: Operator,
    pub(crate) now: Timestamp,
    witness: Witness,
    mended: u32,
}

impl World {
    pub(crate) fn new(on_hold: bool, leased: bool, files: bool) -> Self {
        let lease = leased.then_some(300);
        let mut spec = json!({
            "image": "busybox:1.35", "executable": "sh", "hold": on_hold, "leaseDuration": lease,
        });
        if files {
            spec["outputDestination"] = json!({ "url": "s3://bucket/results/" });
        }
        let server = Server::with(stage::job(spec));
        let mut operator = Operator::default();
        operator.look(&server);
        Self {
            server,
            operator,
            now: stage::curtain() + SignedDuration::from_millis(250),
            witness: Witness::default(),
            mended: 0,
        }
    }

    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Reconcile(faults) => {
                let mut faults = faults.into_iter();
                self.reconcile(&mut || faults.next().unwrap_or(Fault::None));
            }
            Step::Settle => self.settle(),
            Step::Restart => self.operator.restart(&self.server),
            Step::Look { job, pods, commands } => self.look(job, pods, commands),
            Step::Wait(seconds) => self.now += SignedDuration::from_secs(seconds),
            Step::Pod(steps) => {
                let place = |pod: PodFacts| match (&pod.node, pod.job.running) {
                    _ if pod.is_sending() => 3,
                    (None, _) => 0,
                    (Some(_), None) => 1,
                    (Some(_), Some(_)) => 2,
                };
                if let Some(place) = self.live().map(place) {
                    self.take_pod_step(steps[place]);
                }
            }
            Step::Hold(hold) => self.server.edit(|job| job.spec.hold = hold),
            Step::Mend => self.mend(),
            Step::Command(verb) => {
                self.server.command(json!({ "verb": verb, "job": "hello" }), self.now);
            }
            Step::Refuse(kind) => {
                self.server.refuses = kind.map(|kind| (kind, "the server says no".into()));
            }
        }
        self.witness.look(&self.server);
    }

    pub(crate) fn reconcile(&mut self, fault: &mut dyn FnMut() -> Fault) {
        // An interrupted pass is tried again at the next step.
        let _ = self.operator.reconcile(&mut self.server, self.now, fault);
        self.witness.look(&self.server);
    }

    pub(crate) fn settle(&mut self) {
        for _ in 0..3 {
            self.operator.look(&self.server);
            self.reconcile(&mut || Fault::None);
        }
        let status = self.server.job.as_ref().and_then(|job| job.status.clone());
        let Some(record) = status.as_ref().map(stage::proc_record) else { return };
        let kept = |pod: &PodFacts| record.outputs_kept && pod.attempt == record.attempt;
        if let Some(live) = self.live().filter(|pod| pod.deleting.is_none() && !kept(pod)) {
            assert!(
                matches!(
                    record.status,
                    ProcStatus::Idle | ProcStatus::Running | ProcStatus::Suspended
                ) && live.attempt == record.attempt,
                "'{}' lives on while the job is {}",
                live.name,
                stage::in_short(record),
            );
        }
    }

    fn look(&mut self, job: bool, pods: bool, commands: bool) {
        let known = self.operator.clone();
        self.operator.look(&self.server);
        if !job {
            self.operator.job = known.job;
        }
        if !pods {
            self.operator.pods = known.pods;
        }
        if !commands {
            self.operator.commands = known.commands;
        }
    }

    /// The rule of the schema: only while every proc that is left is held.
    fn mend(&mut self) {
        self.mended += 1;
        let image = format!("busybox:1.36.{}", self.mended);
        self.server.edit(|job| {
            let counts = job.status.as_ref().and_then(|status| status.counts).unwrap_or_default();
            if counts.held > 0 && counts.idle + counts.running + counts.suspended == 0 {
                job.spec.image = image;
            }
        });
    }

    /// A pod that has not ended: there is at most one.
    pub(crate) fn live(&self) -> Option<PodFacts> {
        self.server.pods.values().filter_map(PodFacts::read).find(|pod| !pod.ended())
    }

    pub(crate) fn take_pod_step(&mut self, step: PodStep) {
        let Some(pod) = self.live() else { return };
        let (bound, runs) = (pod.node.is_some(), pod.job.running.is_some());
        if pod.is_sending() {
            return self.take_sending_step(&pod, step);
        }
        let now = self.now;
        let mut kubelet = Kubelet { server: &mut self.server, name: pod.name.clone(), now };
        let mut wait = |reason, message: &str| {
            if bound && !runs {
                kubelet.waiting(reason, message);
            }
        };
        match step {
            PodStep::ImageMissing => return wait("ErrImagePull", "busybox: not found"),
            PodStep::RegistryBusy => return wait("ErrImagePull", "503 Service Unavailable"),
            PodStep::OurImageMissing => {
                return wait("ErrImagePull", "registry.example/docker-universe:0: not found");
            }
            PodStep::SecretMissing => {
                return wait("CreateContainerConfigError", "secret \"s\" not found");
            }
            PodStep::StarterRefused => {
                return wait("CreateContainerError", "docker-universe-starter: no image volumes");
            }
            _ => {}
        }
        let start = pod.job.running.unwrap_or(now);
        let recorded = |outcome| stage::record(start, now, outcome);
        let provisional = Record { outcome: None, ended: None, ..recorded(Outcome::Exited(0)) };
        let not_started = |message: &str| End {
            code: 128,
            reason: "StartError",
            message: message.into(),
            started: false,
        };
        match step {
            PodStep::Bind if !bound && pod.deleting.is_none() => kubelet.bind(),
            PodStep::Unschedulable if !bound => kubelet.unschedulable("0/1 nodes are available"),
            PodStep::Run if bound && !runs && pod.deleting.is_none() => {
                kubelet.run();
                if pod.transfer.is_some() {
                    kubelet.transfers();
                }
            }
            PodStep::Exit(code) if runs && pod.transfer.is_some() => {
                kubelet.outcome_before_transfer(Outcome::Exited(code));
            }
            PodStep::Exit(code) if runs => {
                kubelet.outcome(Outcome::Exited(code));
                self.note_result(&pod, code);
            }
            PodStep::Die if runs => kubelet.outcome(Outcome::Signalled(11)),
            PodStep::OverDisk if runs => kubelet.outcome(Outcome::OverDisk { used: 2, limit: 1 }),
            PodStep::NotStarted if runs => {
                kubelet
                    .outcome(Outcome::NotStarted { errno: 2, message: "cannot start 'x'".into() });
            }
            PodStep::OutOfMemory if runs => kubelet.end_with(137, "OOMKilled", &provisional),
            PodStep::KilledSilently if runs => kubelet.end_with(137, "Error", &provisional),
            PodStep::StartError if bound && !runs => {
                kubelet.end(&not_started("error mounting to rootfs at /data"));
            }
            PodStep::StarterMissing if bound && !runs => {
                kubelet.end(&not_started("/.docker-universe/starter: not found"));
            }
            PodStep::Evicted if bound => {
                kubelet.fail("Evicted", "The node was low on resource: memory.");
            }
            PodStep::OutOfCpu if bound && !runs => kubelet.fail("OutOfcpu", "Pod was rejected"),
            PodStep::Unreachable if runs => kubelet.unreachable(),
            PodStep::Answers if runs => kubelet.answers_again(),
            PodStep::Delete => kubelet.delete(),
            PodStep::StopAsAsked if pod.deleting.is_some() && runs => kubelet.stop(),
            PodStep::StopAsAsked if pod.deleting.is_some() && bound => kubelet.end_unstarted(),
            PodStep::CollectGarbage if bound => kubelet.collect_garbage(),
            _ => {}
        }
    }

    /// A job that ended of its own accord, in a pod that the operator knows and has not given up, has ended.
    pub(crate) fn note_result(&mut self, pod: &PodFacts, code: i32) {
        let seen = self.operator.pods.get(&pod.name).and_then(PodFacts::read);
        let given_up = seen.is_none_or(|seen| {
            seen.job.waiting.is_some_and(|(reason, _)| reason == "CreateContainerError")
        });
        if !given_up {
            self.witness.expect(pod.attempt, code);
        }
    }
}
