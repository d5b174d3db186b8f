//! What must be true of the cluster at every moment. It knows only what anybody could see, and what really ran.

use crate::{
    kubelet::State,
    store::{Change, Key, Kind},
    world::World,
};
use duj_api::names;
use duj_core::userlog::{self, Body, Event, Expect, Fault};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The largest status, in bytes (I15).
const LARGEST_STATUS: usize = 256 * 1024;

/// What was seen before.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) violations: Vec<String>,
    /// How often a pod of this name was made.
    pub(crate) made: BTreeMap<String, u32>,
    /// Pods that a node was given: what ran there may not run again under this name.
    bound: BTreeSet<String>,
    /// By the job's UID.
    jobs: BTreeMap<String, Seen>,
}

#[derive(Default)]
struct Seen {
    status: Value,
    /// The log's events so far, each with its text.
    log: Vec<String>,
    /// What attempts of a proc ended with of their own accord, and how often the proc had been held by then.
    results: BTreeMap<(String, u64), (String, u64)>,
}

impl Witness {
    /// Looks at a change; tells what is wrong.
    pub(crate) fn look(world: &mut World, change: &Change) -> Vec<String> {
        let mut wrong = Vec::new();
        match (change.key.kind, &change.before, &change.after) {
            (Kind::Pod, None, Some(pod)) => {
                let made = world.witness.made.entry(change.key.name.clone()).or_default();
                *made += 1;
                // Of two operators one may take back what never had a node, and the other one make it anew.
                if world.witness.bound.contains(&change.key.name) {
                    wrong.push(format!("I1: {} is made for the {made}th time", change.key));
                }
                wrong.extend(one_live_pod(world, change));
                wrong.extend(no_result_is_lost(world, pod));
            }
            (Kind::Pod, Some(_), Some(pod)) => {
                if pod["spec"]["nodeName"].is_string() {
                    world.witness.bound.insert(change.key.name.clone());
                }
                note_result(world, pod);
            }
            (Kind::Job, Some(_), Some(job)) => {
                let seen = world.witness.jobs.entry(uid(job)).or_default();
                if seen.status != job["status"] {
                    wrong.extend(status(&change.key, seen, job));
                    seen.status = job["status"].clone();
                }
            }
            _ => {}
        }
        wrong
    }
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

fn owner(pod: &Value) -> String {
    pod["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default().to_owned()
}

/// I1: attempt n + 1 only after attempt n has really ended.
fn one_live_pod(world: &World, change: &Change) -> Option<String> {
    let new = world.bodies.get(&uid(&change.last))?;
    let other = world.bodies.values().find(|body| {
        body.lives() && (&body.owner, &body.proc) == (&new.owner, &new.proc) && body.key != new.key
    })?;
    Some(format!("I1: '{}' is made while '{}' lives", new.key.name, other.key.name))
}

/// The group of a status that a proc is in.
fn group<'a>(status: &'a Value, proc: &str) -> Option<&'a Value> {
    let proc: u64 = proc.parse().ok()?;
    let holds = |range: &str| match range.split_once('-') {
        Some((first, last)) => {
            first.parse().is_ok_and(|first: u64| first <= proc)
                && last.parse().is_ok_and(|last: u64| proc <= last)
        }
        None => range.parse() == Ok(proc),
    };
    let groups = status["procs"].as_array()?;
    groups
        .iter()
        .find(|group| group["procs"].as_str().is_some_and(|text| text.split(',').any(holds)))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// A job that ended of its own accord while its proc counted on it has a result, once the API server knows.
fn note_result(world: &mut World, pod: &Value) {
    if pod["status"]["containerStatuses"][0]["state"]["terminated"].is_null() {
        return;
    }
    let Some(body) = world.bodies.get(&uid(pod)) else { return };
    let State::Ended(end) = &body.state else { return };
    let (Some(outcome), owner, proc) = (&end.own, body.owner.clone(), body.proc.clone()) else {
        return;
    };
    let (result, attempt) = (format!("{outcome:?}"), u64::from(body.attempt));
    let seen = world.witness.jobs.entry(owner).or_default();
    let record = group(&seen.status, &proc).cloned().unwrap_or_default();
    let counts = number(&record["attempt"]) == attempt
        && matches!(record["status"].as_str(), None | Some("Idle" | "Running"));
    if counts {
        seen.results.entry((proc, attempt)).or_insert((result, number(&record["numHolds"])));
    }
}

/// A result counts, unless somebody held the proc: then another attempt is its owner's will.
fn no_result_is_lost(world: &World, pod: &Value) -> Option<String> {
    let label = |name: &str| pod["metadata"]["labels"][name].as_str();
    let (proc, attempt) =
        (label(names::LABEL_PROC_ID)?, label(names::LABEL_ATTEMPT)?.parse::<u64>().ok()?);
    let seen = world.witness.jobs.get(&owner(pod))?;
    let holds = number(&group(&seen.status, proc)?["numHolds"]);
    let ((_, lost), (result, _)) = seen
        .results
        .iter()
        .find(|((of, n), (_, held))| of == proc && *n < attempt && *held == holds)?;
    Some(format!("attempt {lost} ended with {result}, and attempt {attempt} follows"))
}

/// What must be true of a job's status and of its change.
fn status(key: &Key, seen: &mut Seen, job: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let (before, after) = (&seen.status, &job["status"]);
    let size = after.to_string().len();
    if size > LARGEST_STATUS {
        wrong.push(format!("I15: the status of {key} has {size} bytes"));
    }
    let (observed, generation) = (&after["observedGeneration"], &job["metadata"]["generation"]);
    if number(observed) > number(generation) {
        wrong.push(format!("I14: {key} observed generation {observed} of {generation}"));
    }
    if !before["clusterId"].is_null() && before["clusterId"] != after["clusterId"] {
        wrong.push(format!("I4: {key} got another cluster id"));
    }
    wrong.extend(partition(key, after));
    for old in before["procs"].as_array().into_iter().flatten() {
        let first =
            old["procs"].as_str().unwrap_or_default().split([',', '-']).next().unwrap_or_default();
        match group(after, first) {
            Some(new) => wrong.extend(follows(key, old, new)),
            None => wrong.push(format!("I4: {key} forgot proc {first}")),
        }
    }
    wrong.extend(log(key, seen, after));
    wrong
}

/// The counts are those of the groups.
fn partition(key: &Key, status: &Value) -> Option<String> {
    let counts = &status["counts"];
    let sum: u64 = ["idle", "running", "held", "suspended", "completed", "removed"]
        .iter()
        .map(|state| number(&counts[state]))
        .sum();
    (sum != number(&counts["total"])).then(|| format!("I4: the counts of {key} are {counts}"))
}

/// I4: counters never go back, and an end is an end.
fn follows(key: &Key, old: &Value, new: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for counter in ["attempt", "numJobStarts", "numHolds", "numVacates"] {
        if number(&old[counter]) > number(&new[counter]) {
            wrong.push(format!(
                "I4: '{counter}' of {key} went back from {} to {}",
                old[counter], new[counter]
            ));
        }
    }
    let absorbing = matches!(old["status"].as_str(), Some("Completed" | "Removed"));
    if absorbing && old["status"] != new["status"] {
        wrong.push(format!("I4: {key} went from {} to {}", old["status"], new["status"]));
    }
    if old["status"] == "Completed"
        && (&old["exitCode"], &old["exitSignal"]) != (&new["exitCode"], &new["exitSignal"])
    {
        wrong.push(format!("I4: {key} ended twice"));
    }
    wrong
}

/// I5: the log only grows, each event is readable, and their order is `HTCondor`'s.
fn log(key: &Key, seen: &mut Seen, status: &Value) -> Vec<String> {
    let text = status["userLog"]["text"].as_str().unwrap_or_default();
    let mut wrong = Vec::new();
    let mut told: Vec<String> = text.split_inclusive("\n...\n").map(str::to_owned).collect();
    let count = usize::try_from(number(&status["userLog"]["events"])).unwrap();
    // What is older may have gone to pages.
    let first = count.saturating_sub(told.len());
    if count < told.len() || first > seen.log.len() {
        wrong.push(format!("I5: the log of {key} tells of {count} events and has {}", told.len()));
        return wrong;
    }
    let same = seen.log[first..].iter().zip(&told).all(|(old, new)| old == new);
    if !same || count < seen.log.len() {
        wrong.push(format!("I5: the log of {key} was rewritten:\n{}->\n{text}", seen.log.concat()));
    }
    seen.log.truncate(first);
    seen.log.append(&mut told);
    let whole = seen.log.concat();
    let events: Vec<Event> = match userlog::read(&whole).collect() {
        Ok(events) => events,
        Err(error) => {
            wrong.push(format!("I5: the log of {key} cannot be read: {error}\n{whole}"));
            return wrong;
        }
    };
    let over = status["procs"].as_array().is_some_and(|procs| {
        procs.iter().all(|proc| match proc["status"].as_str() {
            Some("Completed") => true,
            Some("Removed") => proc["remove"]["stopping"] != true,
            _ => false,
        })
    });
    let expect = if over { Expect::Finished } else { Expect::Running };
    let breaches = userlog::check(&events, expect);
    let breaches = breaches.iter().filter(|breach| !is_rehold(&events, breach.index, breach.fault));
    wrong.extend(breaches.map(|breach| format!("I5: the log of {key}: {breach}\n{whole}")));
    wrong
}

/// A person may hold what something else holds already (§5.2 of the semantics).
fn is_rehold(events: &[Event], index: usize, fault: Fault) -> bool {
    let code = |event: &Event| match event.body {
        Body::Held { code, .. } => Some(code),
        _ => None,
    };
    let before = events[..index].iter().rev().find_map(code);
    fault == Fault::HeldTwice
        && code(&events[index]) == Some(1)
        && before.is_some_and(|code| code != 1)
}

/// What must be true when nothing goes on any more.
pub(crate) fn at_rest(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, job) in world.store.list(Kind::Job, None) {
        for group in job["status"]["procs"].as_array().into_iter().flatten() {
            let held = group["status"] == "Held";
            if held && (group["hold"]["stopping"] == true || group["hold"]["reason"] == "") {
                wrong.push(format!("I13: {key} is not quite held: {group}"));
            }
        }
    }
    for (key, pod) in world.store.list(Kind::Pod, None) {
        let Some(body) = world.bodies.get(&uid(pod)) else { continue };
        let unaccounted = pod["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| *one == names::FINALIZER_ACCOUNTED));
        let seen = world.witness.jobs.get(&body.owner);
        let state =
            seen.and_then(|seen| group(&seen.status, &body.proc)).map(|group| &group["status"]);
        if body.lives() {
            wrong.push(format!("I13: {key} lives on while its proc is {state:?}"));
        } else if unaccounted {
            wrong.push(format!("{key} was never let go; its proc is {state:?}"));
        }
    }
    wrong
}
