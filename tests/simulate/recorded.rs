//! The model plays the cases of `tests/reality`, and gives the pod statuses that a real node gave.

use crate::{
    people::{Do, Person, When},
    reality::{
        cases::{self, Case, Fate, Step},
        histories::{Book, Run},
        look,
    },
    run,
    store::{Key, Kind, Part},
    world::World,
};
use duj_core::settings::Settings;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// So often each case is played, with other times each time.
const SEEDS: u64 = 6;
const KEEP: &str = "docker-universe.test/keep";

/// The job's arguments, in the words of `life.rs`, and what else its specification has.
fn job(fate: Fate) -> (String, Value) {
    let (words, spec) = match fate {
        Fate::Exits(code) => (format!("exit {code} after 3"), json!({})),
        Fate::ExitsLate => ("exit 0 after 20".into(), json!({})),
        Fate::DiesBy(signal) => (format!("signal {signal} after 3"), json!({})),
        Fate::OutOfMemory => ("oom after 3".into(), json!({})),
        Fate::ChildOutOfMemory => ("oomchild after 3".into(), json!({})),
        Fate::OverDisk => ("disk after 3".into(), json!({ "requestDisk": "10Mi" })),
        Fate::Missing => ("missing after 1".into(), json!({})),
        Fate::Stays => ("stay".into(), json!({ "maxVacateTime": 4 })),
        Fate::StaysDeaf => ("deaf stay".into(), json!({ "maxVacateTime": 4 })),
        Fate::StaysAndExits(code) => {
            (format!("graceful {code} stay"), json!({ "maxVacateTime": 4 }))
        }
        Fate::NoImage => ("noimage".into(), json!({})),
        Fate::NoRegistry => ("noregistry".into(), json!({})),
        Fate::NoConfiguration => ("noconfig 10000".into(), json!({})),
        Fate::NoVolume => ("lostvolume".into(), json!({})),
        Fate::CannotStart => ("starterror".into(), json!({})),
        Fate::TooBig => ("toobig".into(), json!({})),
        Fate::Misplaced => ("misplaced".into(), json!({})),
    };
    // What is wrong with a specification is wrong with each attempt.
    let lasts = matches!(fate, Fate::TooBig | Fate::Misplaced);
    (if lasts { words } else { format!("{words} then exit 0 after 3") }, spec)
}

impl World {
    /// The oldest pod of a job that is there.
    pub(crate) fn oldest_pod(&self, job: &str) -> Option<&Value> {
        let uid = self.pods_of(job).into_iter().next()?;
        self.store.get(&self.bodies[&uid].key).map(AsRef::as_ref)
    }

    pub(crate) fn take_recorded_step(&mut self, person: &mut Person, step: Step) {
        match step {
            Step::DeleteJob => return self.take_step(person, Do::Delete("Background")),
            Step::Command(verb) => return self.take_step(person, Do::Command(verb)),
            _ => {}
        }
        let Some(uid) = self.pods_of(&person.job).into_iter().next() else { return };
        let key = self.bodies[&uid].key.clone();
        match step {
            Step::DeletePod => self.delete_pod("person", &key, &uid, None),
            Step::DeletePodAtOnce => self.delete_pod("person", &key, &uid, Some(0)),
            Step::EvictPod => {
                let reason = "EvictionByEvictionAPI";
                self.condition("person", &key, "DisruptionTarget", true, reason);
                self.delete_pod("person", &key, &uid, None);
            }
            Step::KeepPod => self.edit_finalizers(&key, |list| list.push(json!(KEEP))),
            Step::LetPodGo => self.edit_finalizers(&key, |list| list.retain(|name| name != KEEP)),
            Step::BindPod => self.bind_to_node("person", &uid),
            Step::KillStarter => self.killed(&uid, "Error"),
            Step::DeleteJob | Step::Command(_) => {}
        }
    }

    fn edit_finalizers(&mut self, key: &Key, edit: impl FnOnce(&mut Vec<Value>)) {
        let edited = self.write("person", |store| {
            store.update(key, Part::Main, |pod| {
                let mut list =
                    pod["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
                edit(&mut list);
                pod["metadata"]["finalizers"] = json!(list);
            })
        });
        edited.unwrap();
    }

    /// The latest version of each pod that there was, by UID, oldest pod first.
    fn all_pods(&self) -> Vec<Option<Value>> {
        let mut pods: BTreeMap<u64, Option<Value>> = BTreeMap::new();
        let mut made: BTreeMap<&str, u64> = BTreeMap::new();
        for change in self.store.history.iter().filter(|change| change.key.kind == Kind::Pod) {
            let uid = change.last["metadata"]["uid"].as_str().unwrap();
            let first = *made.entry(uid).or_insert(change.version);
            pods.insert(first, change.after.as_ref().map(|pod| Value::clone(pod)));
        }
        pods.into_values().collect()
    }

    /// What a watcher sees of the pods.
    fn pod_histories(&self) -> Run {
        let mut made: Vec<&str> = Vec::new();
        let mut run = Run::new();
        for change in self.store.history.iter().filter(|change| change.key.kind == Kind::Pod) {
            let uid = change.last["metadata"]["uid"].as_str().unwrap();
            let index = made.iter().position(|known| *known == uid).unwrap_or_else(|| {
                made.push(uid);
                run.push(Vec::new());
                made.len() - 1
            });
            let line = match &change.after {
                Some(pod) => look::of(pod).expect("a pod of ours"),
                None => look::GONE.to_owned(),
            };
            if run[index].last() != Some(&line) {
                run[index].push(line);
            }
        }
        run
    }
}

/// Plays a case; the pods' histories, and what was wrong besides.
fn play(case: &Case, seed: u64) -> (Run, Vec<String>) {
    let (words, spec) = job(case.fate);
    let mut steps = vec![(When::Now, Do::Submit(words, spec))];
    steps.extend(case.steps.iter().map(|(until, step)| {
        let step = Do::Recorded(*step);
        (When::Recorded(*until), step)
    }));
    // As `cargo xtask test` installs the chart.
    let settings = Settings { image_patience: 20, ..Settings::default() };
    let at_rest = |world: &World| {
        world.people.iter().all(Person::is_done)
            && cases::is_at_rest(world.object(Kind::Job, "job"), &world.all_pods())
    };
    let show = |world: &World| (world.pod_histories(), world.witness.violations.clone());
    run::run_until(seed, vec![Person::new("job", steps)], settings, at_rest, show)
}

#[test]
fn the_model_tells_of_pods_what_a_real_node_told() {
    let (book, mut runs, mut wrong) = (Book::read(), Vec::new(), String::new());
    for case in cases::all() {
        let mut agrees = true;
        for seed in 0..SEEDS {
            let (run, violations) = play(&case, seed);
            let objections = [book.objections(case.name, &run), violations].concat();
            if agrees && !objections.is_empty() {
                agrees = false;
                let what = objections.join("\n    ");
                writeln!(wrong, "--- {}, seed {seed}:\n    {what}\n  of {run:#?}", case.name)
                    .unwrap();
            }
            runs.push(run);
        }
    }
    for step in book.never_taken(&runs) {
        writeln!(wrong, "--- only a real node goes {step}").unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}
