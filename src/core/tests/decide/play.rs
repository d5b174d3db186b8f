//! A play: one job on stage, an operator that sees everything at once, and a protocol of what happens.

use crate::stage::{self, Fault, Kubelet, Operator, Server, in_short};
use duj_api::{DockerUniverseJobStatus, status::ProcRecord};
use duj_core::{decide::decide, observed::Decision, userlog::Event};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One job's life, step by step.
pub(crate) struct Play {
    pub(crate) server: Server,
    pub(crate) operator: Operator,
    pub(crate) now: Timestamp,
    protocol: String,
    told: usize,
}

impl Play {
    /// A job that runs `sh` in `busybox`.
    pub(crate) fn of_a_plain_job() -> Self {
        Self::of(json!({}))
    }

    /// The plain job with these fields of the specification.
    pub(crate) fn of(fields: Value) -> Self {
        let mut spec =
            json!({ "image": "busybox:1.35", "executable": "sh", "requestDisk": "100Mi" });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Self {
            server: Server::with(stage::job(spec)),
            operator: Operator::default(),
            now: stage::curtain(),
            protocol: String::new(),
            told: 0,
        }
    }

    /// A plain job that runs since ten seconds.
    pub(crate) fn running() -> Self {
        Self::running_with(json!({}))
    }

    /// As [`Self::running`], with these fields of the specification.
    pub(crate) fn running_with(fields: Value) -> Self {
        let mut play = Self::of(fields);
        play.scene("submitted");
        play.pod().bind();
        play.scene("bound to node1");
        play.wait(5);
        play.pod().run();
        play.scene("its container runs");
        play.wait(10);
        play
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// The pod that was made last.
    pub(crate) fn pod(&mut self) -> Kubelet<'_> {
        let created = |name: &&String| {
            let uid = self.server.pods[*name].metadata.uid.clone().unwrap();
            uid.trim_start_matches("pod-").parse::<u64>().unwrap()
        };
        let name = self.server.pods.keys().max_by_key(created).expect("there is a pod").clone();
        Kubelet { server: &mut self.server, name, now: self.now }
    }

    /// The first pod of a proc.
    pub(crate) fn pod_of(&mut self, proc: u32) -> Kubelet<'_> {
        let name = format!("hello-0a1b2c3d-{proc}-0");
        Kubelet { server: &mut self.server, name, now: self.now }
    }

    /// The owner edits the specification.
    pub(crate) fn edit(&mut self, fields: Value) {
        self.server.edit(|job| {
            let mut spec = serde_json::to_value(&job.spec).unwrap();
            spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            job.spec = serde_json::from_value(spec).unwrap();
        });
    }

    /// One decision, with everything in view; what it says is done.
    pub(crate) fn decide(&mut self) -> Option<Decision> {
        self.operator.look(&self.server);
        self.operator.reconcile(&mut self.server, self.now, &mut || Fault::None).unwrap_or_default()
    }

    /// Decides until nothing is left to do, and writes down what was done. Returns all deeds.
    pub(crate) fn scene(&mut self, title: &str) -> Vec<String> {
        let mut deeds = Vec::new();
        for round in 0.. {
            assert!(round < 400, "'{title}' does not come to rest: {deeds:?}");
            let decision = self.decide();
            deeds.extend(self.operator.deeds.clone());
            match decision {
                Some(decision) if decision.deferred => self.wait(1),
                Some(_) if self.operator.deeds.is_empty() => break,
                None if self.server.job.is_none() => break,
                _ => {}
            }
        }
        self.tell(title, &deeds);
        if let (Some(job), Some(status)) =
            (&self.server.job, self.server.job.as_ref().and_then(|job| job.status.as_ref()))
        {
            stage::is_sound(job, status);
        }
        deeds
    }

    fn tell(&mut self, title: &str, deeds: &[String]) {
        let seconds = self.now.duration_since(stage::curtain()).as_secs();
        writeln!(self.protocol, "== {title} ({seconds} s)").unwrap();
        for deed in deeds {
            writeln!(self.protocol, "   -> {deed}").unwrap();
        }
        let Some(status) = self.server.job.as_ref().and_then(|job| job.status.clone()) else {
            return;
        };
        let because = status.because.clone().unwrap();
        writeln!(
            self.protocol,
            "   {}: {}: {}",
            in_short(stage::proc_record(&status)),
            because.reason,
            because.message
        )
        .unwrap();
        let true_ones: Vec<&str> = status
            .conditions
            .iter()
            .filter(|c| c.status == "True")
            .map(|c| c.type_.as_str())
            .collect();
        writeln!(self.protocol, "   {}", true_ones.join(" ")).unwrap();
        let events = stage::events(&status);
        for event in events.iter().skip(self.told) {
            for line in event.to_string().lines().filter(|line| *line != "...") {
                writeln!(self.protocol, "   | {line}").unwrap();
            }
        }
        self.told = events.len();
    }

    pub(crate) fn status(&self) -> DockerUniverseJobStatus {
        self.server.job.as_ref().unwrap().status.clone().expect("there is a status")
    }

    pub(crate) fn record(&self) -> ProcRecord {
        stage::proc_record(&self.status()).clone()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        stage::events(&self.status())
    }

    /// Numbers of the log's events, e.g. `0 1 5`.
    pub(crate) fn log(&self) -> String {
        let numbers: Vec<String> =
            self.events().iter().map(|event| event.body.number().to_string()).collect();
        numbers.join(" ")
    }

    /// State, reason and log in one.
    #[track_caller]
    pub(crate) fn is(&self, state: &str, because: &str, log: &str) {
        let status = self.status();
        let told =
            (in_short(stage::proc_record(&status)), status.because.unwrap().reason, self.log());
        assert_eq!(told, (state.into(), because.into(), log.into()), "\n{}", self.protocol);
    }

    /// What is decided without doing it.
    pub(crate) fn decision(&mut self) -> Decision {
        self.operator.look(&self.server);
        decide(&self.operator.observed(self.now).unwrap(), &self.operator.settings)
    }

    pub(crate) fn hold(&self) -> duj_api::status::Hold {
        self.record().hold.expect("it is held")
    }

    /// The whole play as a snapshot.
    pub(crate) fn is_remembered(&self, name: &str) {
        let name = name.replace(", ", " ").replace(' ', "_");
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, self.protocol.as_str()));
    }
}
