//! Random lives of a job whose procs materialize late: limits that change, holds, removals, lost writes and crashes.
//!
//! After each write procs came in their order, none over a limit, none while the job was paused, and none after it was
//! removed; and when the world calms, all that are to come do.

use crate::stage::{self, Fault, Kubelet, Operator, Server};
use duj_api::{queue::Queue, status::Materialization};
use duj_core::{
    facts::PodFacts,
    records::Records,
    userlog::{self, Expect},
};
use duj_protocol::Outcome;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

const PROCS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    Settle,
    Reconcile(Vec<Fault>),
    Restart,
    Wait(i64),
    /// The owner changes the limits.
    Limit(Option<i64>, Option<i64>),
    Hold(bool),
    Command(&'static str, Option<u32>),
    /// The pod of this number, of those that live, goes on: it is bound, runs, ends.
    Pod(usize, i32),
    /// It is gone.
    Lose(usize),
}

fn limits() -> impl Strategy<Value = (Option<i64>, Option<i64>)> {
    (prop::option::of(1i64..5), prop::option::weighted(0.6, 0i64..4))
}

fn step() -> impl Strategy<Value = Step> {
    let fault =
        prop_oneof![6 => Just(Fault::None), 1 => Just(Fault::Lost), 1 => Just(Fault::Unanswered)];
    let verb = prop_oneof![4 => Just("hold"), 4 => Just("release"), 1 => Just("remove")];
    prop_oneof![
        8 => Just(Step::Settle),
        6 => prop::collection::vec(fault, 4).prop_map(Step::Reconcile),
        1 => Just(Step::Restart),
        2 => (1i64..40).prop_map(Step::Wait),
        3 => limits().prop_map(|(most, idle)| Step::Limit(most, idle)),
        1 => any::<bool>().prop_map(Step::Hold),
        2 => (verb, prop::option::of(0..PROCS)).prop_map(|(verb, proc)| Step::Command(verb, proc)),
        12 => (0usize..6, 0i32..2).prop_map(|(number, code)| Step::Pod(number, code)),
        1 => (0usize..6).prop_map(Step::Lose),
    ]
}

struct World {
    server: Server,
    operator: Operator,
    now: Timestamp,
    materialized: u32,
    was: Option<Materialization>,
    /// A status was written.
    begun: bool,
}

impl World {
    fn new(on_hold: bool, (most, idle): (Option<i64>, Option<i64>)) -> Self {
        let queue = json!({ "count": PROCS, "maxMaterialize": most.unwrap_or(3), "maxIdle": idle });
        let spec =
            json!({ "image": "busybox:1.35", "executable": "sh", "hold": on_hold, "queue": queue });
        let server = Server::with(stage::job(spec));
        let mut operator = Operator::default();
        operator.look(&server);
        let now = stage::curtain() + SignedDuration::from_millis(250);
        Self { server, operator, now, materialized: 0, was: None, begun: false }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Settle => self.settle(),
            Step::Reconcile(faults) => {
                let mut faults = faults.into_iter();
                self.reconcile(&mut || faults.next().unwrap_or(Fault::None));
            }
            Step::Restart => self.operator.restart(&self.server),
            Step::Wait(seconds) => self.now += SignedDuration::from_secs(seconds),
            Step::Limit(most, idle) => self.limit(most, idle),
            Step::Hold(hold) => self.server.edit(|job| job.spec.hold = hold),
            Step::Command(verb, proc) => {
                let procs = proc.map(|proc| proc.to_string());
                let spec = json!({ "verb": verb, "job": "hello", "procs": procs });
                self.server.command(spec, self.now);
            }
            Step::Pod(number, code) => self.go_on(number, code),
            Step::Lose(number) => {
                if let Some(pod) = self.live(number) {
                    self.server.pods.remove(&pod.name);
                }
            }
        }
    }

    fn limit(&mut self, most: Option<i64>, idle: Option<i64>) {
        self.server.edit(|job| {
            let queue = Queue { max_materialize: most, max_idle: idle, ..Queue::of(PROCS) };
            job.spec.queue = Some(queue);
        });
    }

    fn settle(&mut self) {
        for _ in 0..4 {
            self.operator.look(&self.server);
            self.reconcile(&mut || Fault::None);
            self.now += SignedDuration::from_secs(1);
        }
    }

    fn live(&self, number: usize) -> Option<PodFacts> {
        let live: Vec<_> = self
            .server
            .pods
            .values()
            .filter_map(PodFacts::read)
            .filter(|pod| !pod.ended())
            .collect();
        live.get(number % live.len().max(1)).cloned()
    }

    fn go_on(&mut self, number: usize, code: i32) {
        let Some(pod) = self.live(number) else { return };
        let (bound, runs) = (pod.node.is_some(), pod.job.running.is_some());
        let mut kubelet =
            Kubelet { server: &mut self.server, name: pod.name.clone(), now: self.now };
        match (pod.deleting.is_some(), bound, runs) {
            (true, _, true) => kubelet.stop(),
            (true, true, false) => kubelet.end_unstarted(),
            (true, false, _) => {}
            (false, false, _) => kubelet.bind(),
            (false, true, false) => kubelet.run(),
            (false, true, true) => kubelet.outcome(Outcome::Exited(code)),
        }
    }

    fn reconcile(&mut self, fault: &mut dyn FnMut() -> Fault) {
        let _ = self.operator.reconcile(&mut self.server, self.now, fault);
        self.look();
    }

    /// What must be true of what is committed. A status is written for the specification that it was made from.
    fn look(&mut self) {
        let Some(job) = &self.server.job else { return };
        let Some(status) = &job.status else { return };
        stage::is_sound(job, status);
        let counts = status.counts.unwrap();
        let records = Records::read(&status.procs, PROCS);
        let materialized = u32::try_from(records.len()).unwrap();
        assert!(records.ids().eq(0..materialized), "they come in their order");
        let state = status.noticed.as_ref().unwrap().materialization;
        let fresh = materialized - self.materialized;
        if fresh > 0 {
            // What was wanted before the first status follows the submission in it.
            assert!(state.is_none() || !self.begun, "some came while none were to come");
            let removing = records
                .values()
                .filter(|record| record.remove.as_ref().is_some_and(|remove| remove.stopping))
                .count();
            let idle = counts.idle + counts.held;
            let present = idle + counts.running + i64::try_from(removing).unwrap();
            let queue = job.spec.queue.as_ref().unwrap();
            assert!(
                queue.max_materialize.is_none_or(|most| present <= most),
                "{counts:?} {queue:?}"
            );
            assert!(queue.max_idle.is_none_or(|most| idle <= most), "{counts:?} {queue:?}");
        }
        let ended = Some(Materialization::Ended);
        assert!(self.was != ended || (state == ended && fresh == 0), "what was removed came back");
        let foreign = |pod: &PodFacts| pod.proc >= materialized;
        assert!(!self.server.pods.values().filter_map(PodFacts::read).any(|pod| foreign(&pod)));
        (self.materialized, self.was, self.begun) = (materialized, state, true);
    }

    /// Nobody holds anything any more, the limits are small, and pods end.
    fn calm_down(&mut self) {
        self.operator.restart(&self.server);
        self.limit(Some(2), Some(1));
        self.server.edit(|job| job.spec.hold = false);
        self.settle();
        for round in 0.. {
            assert!(round < 200, "{:#?}", self.server.job.as_ref().unwrap().status);
            self.settle();
            let status = self.server.job.as_ref().unwrap().status.clone().unwrap();
            if status.completion_time.is_some() {
                break;
            }
            let paused = status.noticed.unwrap().materialization == Some(Materialization::Paused);
            if paused || status.counts.unwrap().held > 0 {
                self.server.command(json!({ "verb": "release", "job": "hello" }), self.now);
            }
            (0..6).for_each(|number| self.go_on(number, 0));
            self.now += SignedDuration::from_secs(30);
        }
        let status = self.server.job.as_ref().unwrap().status.clone().unwrap();
        let counts = status.counts.unwrap();
        let all = self.was != Some(Materialization::Ended);
        assert!(!all || counts.total == i64::from(PROCS), "{counts:?}");
        let log: Vec<_> = userlog::read(&self.server.log()).map(Result::unwrap).collect();
        for violation in userlog::check(&log, Expect::Finished) {
            assert!(stage::is_rehold(&log, violation), "{violation}");
        }
        let closed = log.iter().filter(|event| event.body.number() == 36).count();
        // One whose limits went before it was first seen is a job like others.
        assert_eq!(closed, usize::from(status.noticed.unwrap().factory));
        self.nothing_more_is_written();
    }

    fn nothing_more_is_written(&mut self) {
        for _ in 0..4 {
            self.now += SignedDuration::from_secs(700);
            self.settle();
        }
        let version = self.server.version;
        self.now += SignedDuration::from_secs(1000);
        self.settle();
        assert_eq!(self.server.version, version, "{:?}", self.operator.deeds);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn late_lives(on_hold: bool, limits in limits(), plan in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new(on_hold, limits);
        for step in plan {
            world.take(step);
        }
        world.calm_down();
    }
}
