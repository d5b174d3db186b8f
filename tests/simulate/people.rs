//! People: what they do with their jobs, step by step, each when they see what they wait for.

use crate::{
    kubelet::{Act, State},
    reality::cases::{Step, Until},
    store::{Deletion, Key, Kind, Part},
    world::{NAMESPACE, World},
};
use serde_json::{Value, json};
use std::time::Duration;

/// What somebody waits for.
#[derive(Clone, Debug)]
pub(crate) enum When {
    Now,
    /// The time since the last step.
    After(u64),
    /// The job's status says so, or that it is over, and none of its pods is being stopped.
    Is(&'static str),
    /// The job's process runs.
    Runs,
    /// There is an unfinished pod.
    HasPod,
    /// The job's process runs, or does not for so many seconds.
    RunsOrAfter(u64),
    /// The last command was answered.
    Answered,
    /// The job is over and no pod of it is there.
    IsForgotten,
    /// Neither the job nor a pod is there.
    Gone,
    /// A recorded case waits for it.
    Recorded(Until),
}

/// What somebody does.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    /// Submits the job: its arguments, in words, and whatever else its specification has.
    Submit(String, Value),
    /// Makes the `ConfigMap` `list`, with this text as `items`.
    List(&'static str),
    Hold(bool),
    /// Gives the job other arguments and another image.
    Mend(&'static str),
    Command(&'static str),
    /// Gives a command to every job that matches a constraint.
    CommandAll(&'static str, &'static str),
    /// Deletes the job, with this propagation policy.
    Delete(&'static str),
    /// Deletes its pod, with a grace if need be.
    DeletePod(Option<i64>),
    /// Takes the label off its pod by which the operator selects.
    Unlabel,
    /// The quota is used up, or free.
    Quota(bool),
    /// Its node stops answering, for so long; for ever where that is `None`, and then is removed.
    LoseNode(Option<u64>),
    /// A recorded case has this step.
    Recorded(Step),
    Nothing,
}

/// Somebody with a job.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) job: String,
    steps: Vec<(When, Do)>,
    done: usize,
    since: Duration,
    commands: u32,
}

impl Person {
    pub(crate) fn new(job: &str, steps: Vec<(When, Do)>) -> Self {
        Self { job: job.to_owned(), steps, done: 0, since: Duration::ZERO, commands: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done == self.steps.len()
    }

    /// What they wait for, for the story.
    pub(crate) fn next(&self) -> Option<&(When, Do)> {
        self.steps.get(self.done)
    }
}

impl World {
    /// People look whether it is time for their next step.
    pub(crate) fn look_around(&mut self) {
        for index in 0..self.people.len() {
            loop {
                let person = self.people[index].clone();
                let Some((when, what)) = person.next() else { break };
                if !self.is_time(&person, when) {
                    break;
                }
                self.people[index].done += 1;
                self.people[index].since = self.elapsed();
                let mut person = person.clone();
                self.take_step(&mut person, what.clone());
                self.people[index].commands = person.commands;
                if let Some((When::After(seconds) | When::RunsOrAfter(seconds), _)) =
                    self.people[index].next()
                {
                    self.plan(Duration::from_secs(*seconds), Act::People);
                }
            }
        }
    }

    fn is_time(&self, person: &Person, when: &When) -> bool {
        let job = self.object(Kind::Job, &person.job);
        let mut states = self.pods_of(&person.job).into_iter().map(|uid| &self.bodies[&uid].state);
        match when {
            When::Now => true,
            When::After(seconds) => self.elapsed() >= person.since + Duration::from_secs(*seconds),
            When::Is(wanted) => {
                let Some(procs) = job.and_then(|job| job["status"]["procs"].as_array()) else {
                    return false;
                };
                let is_there = |status: &Value| {
                    *status == *wanted || *status == "Completed" || *status == "Removed"
                };
                let stopping = |proc: &Value| {
                    proc["hold"]["stopping"] == true || proc["remove"]["stopping"] == true
                };
                procs.iter().all(|proc| is_there(&proc["status"]) && !stopping(proc))
            }
            When::Runs => states.any(|state| *state == State::Running),
            When::HasPod => states.any(|state| !matches!(state, State::Ended(_))),
            When::RunsOrAfter(seconds) => {
                let late = self.elapsed() >= person.since + Duration::from_secs(*seconds);
                late || states.any(|state| *state == State::Running)
            }
            When::Answered => {
                let name = format!("{}-command-{}", person.job, person.commands);
                let answer = self.object(Kind::Command, &name).map(|c| &c["status"]["answered"]);
                answer.is_none_or(Value::is_string) // an answered command goes after a while
            }
            When::Recorded(until) => until.is_met(self.oldest_pod(&person.job), job),
            When::IsForgotten => {
                self.is_time(person, &When::Is("Completed")) && self.pods_of(&person.job).is_empty()
            }
            When::Gone => job.is_none() && states.next().is_none(),
        }
    }

    /// UIDs of the pods of a job's name that are there, oldest attempt first.
    pub(crate) fn pods_of(&self, job: &str) -> Vec<String> {
        let is_its = |pod: &Value| pod["metadata"]["labels"][duj_api::names::LABEL_JOB] == *job;
        let pods = self.store.list(Kind::Pod, Some(NAMESPACE)).into_iter();
        pods.filter(|(_, pod)| is_its(pod))
            .map(|(_, pod)| pod["metadata"]["uid"].as_str().unwrap().to_owned())
            .filter(|uid| self.bodies.contains_key(uid))
            .collect()
    }

    pub(crate) fn take_step(&mut self, person: &mut Person, what: Do) {
        self.tell("person", &format!("'{}': {what:?}", person.job));
        let job = Key::new(Kind::Job, NAMESPACE, &person.job);
        let now = self.stamp();
        let live = self.pods_of(&person.job).into_iter().rfind(|uid| self.bodies[uid].lives());
        let result = match what {
            Do::Submit(words, mut spec) => {
                spec["image"] = json!("registry.example/sim:1");
                spec["executable"] = json!("sim");
                spec["arguments"] = words.split(' ').collect();
                let object = json!({ "metadata": { "labels": { "team": "x" } }, "spec": spec });
                self.write("person", |store| store.create(&job, object, &now)).map(drop)
            }
            Do::List(text) => {
                let list = Key::new(Kind::ConfigMap, NAMESPACE, "list");
                let object = json!({ "metadata": {}, "data": { "items": text } });
                self.write("person", |store| store.create(&list, object, &now)).map(drop)
            }
            Do::Hold(hold) => self.edit(&job, |spec| spec["hold"] = json!(hold)),
            Do::Mend(words) => self.edit(&job, |spec| {
                spec["image"] = json!("registry.example/sim:2");
                spec["arguments"] = words.split(' ').collect();
            }),
            Do::Command(verb) => self.command(person, &json!({ "verb": verb, "job": person.job })),
            Do::CommandAll(verb, constraint) => {
                self.command(person, &json!({ "verb": verb, "constraint": constraint }))
            }
            Do::Delete(policy) => {
                let time = self.now();
                let how = Deletion { propagation: Some(policy.into()), ..Deletion::default() };
                self.write("person", |store| store.delete(&job, &how, time)).map(drop)
            }
            Do::Quota(full) => {
                self.quota_is_full = full;
                Ok(())
            }
            Do::Nothing => Ok(()),
            Do::Recorded(step) => {
                self.take_recorded_step(person, step);
                Ok(())
            }
            Do::DeletePod(grace) => {
                if let Some(uid) = live {
                    let key = self.bodies[&uid].key.clone();
                    self.delete_pod("person", &key, &uid, grace);
                }
                Ok(())
            }
            Do::Unlabel => {
                if let Some(uid) = live {
                    let key = self.bodies[&uid].key.clone();
                    let label = duj_api::names::LABEL_MANAGED_BY;
                    let unlabel = |pod: &mut Value| {
                        drop(pod["metadata"]["labels"].as_object_mut().unwrap().remove(label));
                    };
                    self.write("person", |store| store.update(&key, Part::Main, unlabel)).map(drop)
                } else {
                    Ok(())
                }
            }
            Do::LoseNode(length) => {
                if let Some(uid) = live {
                    self.act(Act::Pause(uid.clone()));
                    match length {
                        Some(seconds) => self.plan(Duration::from_secs(seconds), Act::Return(uid)),
                        None => self.plan(Duration::from_mins(7), Act::CollectGarbage(uid)),
                    }
                }
                Ok(())
            }
        };
        if let Err(refused) = result {
            self.tell("person", &format!("is told: {}", refused.message));
        }
    }

    fn command(
        &mut self,
        person: &mut Person,
        spec: &Value,
    ) -> Result<(), crate::refused::Refused> {
        person.commands += 1;
        let name = format!("{}-command-{}", person.job, person.commands);
        let key = Key::new(Kind::Command, NAMESPACE, &name);
        let object = json!({ "metadata": {}, "spec": spec });
        let now = self.stamp();
        self.write("person", |store| store.create(&key, object, &now)).map(drop)
    }

    fn edit(
        &mut self,
        job: &Key,
        edit: impl FnOnce(&mut Value),
    ) -> Result<(), crate::refused::Refused> {
        self.write("person", |store| store.update(job, Part::Main, |job| edit(&mut job["spec"])))
            .map(drop)
    }
}
