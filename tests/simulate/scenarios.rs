//! What people do with jobs: the plots that are played with every fault.

use crate::people::{Do, Person, When};
use serde_json::{Value, json};

/// A plot: its name, and what its person does with the job `job`.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<(When, Do)>,
    /// Its end depends on how fast the operator is.
    pub(crate) is_a_race: bool,
}

impl Scenario {
    pub(crate) fn people(&self) -> Vec<Person> {
        vec![Person::new("job", self.steps.clone())]
    }
}

fn submit(words: &'static str) -> (When, Do) {
    (When::Now, Do::Submit(words.into(), json!({})))
}

fn submit_with(words: &'static str, spec: Value) -> (When, Do) {
    (When::Now, Do::Submit(words.into(), spec))
}

/// All plots.
pub(crate) fn all() -> Vec<Scenario> {
    [of_people(), of_items(), of_commands(), of_pods(), of_nodes(), of_leases(), of_deletions()]
        .into_iter()
        .flatten()
        .collect()
}

fn scenario(name: &'static str, steps: Vec<(When, Do)>) -> Scenario {
    Scenario { name, steps, is_a_race: false }
}

fn race(name: &'static str, steps: Vec<(When, Do)>) -> Scenario {
    Scenario { is_a_race: true, ..scenario(name, steps) }
}

fn completed() -> (When, Do) {
    (When::Is("Completed"), Do::Nothing)
}

fn held(then: Do) -> (When, Do) {
    (When::Is("Held"), then)
}

/// A job whose items are the lines of the `ConfigMap` `list`: how it exits, and after how many seconds.
fn submit_of_list() -> (When, Do) {
    let source = json!({ "name": "list", "key": "items" });
    let items = json!({ "configMapKeyRef": source, "variables": ["code", "seconds"] });
    submit_with("exit $(code) after $(seconds)", json!({ "queue": { "items": items } }))
}

fn of_items() -> Vec<Scenario> {
    vec![
        scenario(
            "a job for each line of a list",
            vec![(When::Now, Do::List("0 3\n0 5")), submit_of_list(), completed()],
        ),
        scenario(
            "a list that comes late",
            vec![submit_of_list(), held(Do::List("0 3")), completed()],
        ),
    ]
}

fn of_people() -> Vec<Scenario> {
    vec![
        scenario("a job exits with 0", vec![submit("exit 0 after 3"), completed()]),
        scenario("a long job exits with 3", vec![submit("exit 3 after 40"), completed()]),
        scenario("a job dies by a signal", vec![submit("signal 11 after 8"), completed()]),
        scenario(
            "held by its specification while it runs, and released",
            vec![
                submit("stay then exit 0 after 2"),
                (When::Runs, Do::Hold(true)),
                held(Do::Hold(false)),
                completed(),
            ],
        ),
        scenario(
            "submitted on hold, and released",
            vec![
                submit_with("exit 0 after 9", json!({ "hold": true })),
                held(Do::Hold(false)),
                completed(),
            ],
        ),
        scenario(
            "held and released by commands",
            vec![
                submit("deaf stay then exit 0 after 2"),
                (When::Runs, Do::Command("hold")),
                held(Do::Command("release")),
                completed(),
            ],
        ),
        scenario(
            "removed by a command while it runs",
            vec![
                submit("stay"),
                (When::Runs, Do::Command("remove")),
                (When::Is("Removed"), Do::Nothing),
            ],
        ),
        scenario(
            "an image that is not there, mended",
            vec![
                submit("noimage then exit 0 after 2"),
                held(Do::Mend("noimage then exit 1 after 2")),
                completed(),
            ],
        ),
    ]
}

/// What commands do to a job that runs.
fn of_commands() -> Vec<Scenario> {
    vec![
        scenario(
            "vacated by a command",
            vec![
                submit("stay then exit 0 after 2"),
                (When::Is("Running"), Do::Command("vacate")),
                (When::Answered, Do::Nothing),
                completed(),
            ],
        ),
        scenario(
            "held and released by constraints",
            vec![
                submit("stay then exit 0 after 2"),
                (When::Is("Running"), Do::CommandAll("hold", "JobStatus == 2")),
                (When::Answered, Do::Nothing),
                held(Do::CommandAll("release", "HoldReasonCode == 1")),
                (When::Answered, Do::Nothing),
                completed(),
            ],
        ),
        scenario(
            "suspended and continued by commands",
            vec![
                submit("exit 0 after 100"),
                (When::Is("Running"), Do::Command("suspend")),
                (When::Is("Suspended"), Do::Command("continue")),
                completed(),
            ],
        ),
    ]
}

fn of_pods() -> Vec<Scenario> {
    vec![
        scenario("an image that comes late", vec![submit("image 50 exit 0 after 2"), completed()]),
        scenario(
            "out of memory, released",
            vec![
                submit("oom after 4 then exit 0 after 2"),
                held(Do::Command("release")),
                completed(),
            ],
        ),
        scenario(
            "evicted by its node",
            vec![submit("evicted after 10 then exit 0 after 2"), completed()],
        ),
        scenario(
            "killed without a word",
            vec![submit("killed after 10 then exit 0 after 2"), completed()],
        ),
        scenario(
            "its pod is deleted while it runs",
            vec![
                submit("stay then exit 0 after 2"),
                (When::Runs, Do::DeletePod(None)),
                completed(),
            ],
        ),
        scenario(
            "its pod is deleted by force while it runs",
            vec![
                submit("stay then exit 0 after 2"),
                (When::Runs, Do::DeletePod(Some(0))),
                completed(),
            ],
        ),
        scenario(
            "its pod loses its label when its start is told",
            vec![submit("exit 0 after 30"), (When::Is("Running"), Do::Unlabel), completed()],
        ),
        scenario(
            "its pod loses its label",
            vec![submit("exit 0 after 30"), (When::Runs, Do::Unlabel), completed()],
        ),
    ]
}

fn of_nodes() -> Vec<Scenario> {
    vec![
        scenario(
            "its node is silent for a while",
            vec![submit("pause 10 200 exit 0 after 400"), completed()],
        ),
        scenario(
            "it ends while its node is silent",
            vec![submit("pause 10 200 exit 0 after 60"), completed()],
        ),
        race(
            "its node comes back after the taint",
            vec![submit("pause 10 600 exit 0 after 2000 then exit 0 after 2"), completed()],
        ),
        scenario(
            "its node never comes back",
            vec![submit("stay then exit 0 after 2"), (When::Runs, Do::LoseNode(None)), completed()],
        ),
        scenario(
            "a quota that is used up, and freed",
            vec![
                (When::Now, Do::Quota(true)),
                submit("exit 0 after 3"),
                (When::After(40), Do::Quota(false)),
                completed(),
            ],
        ),
        scenario(
            "no image volumes on its node",
            vec![submit("nostarter then exit 0 after 2"), completed()],
        ),
        scenario(
            "a volume that comes late",
            vec![submit("novolume 90 exit 0 after 2"), completed()],
        ),
        scenario(
            "its container cannot start, and it is released",
            vec![
                submit("starterror then exit 0 after 2"),
                held(Do::Command("release")),
                completed(),
            ],
        ),
    ]
}

fn of_leases() -> Vec<Scenario> {
    let lease = |words, seconds: i64| {
        submit_with(words, json!({ "leaseDuration": seconds, "maxVacateTime": 30 }))
    };
    vec![
        scenario("a lease is renewed", vec![lease("exit 0 after 200", 60), completed()]),
        scenario(
            "its node is silent for longer than its lease",
            vec![lease("pause 10 400 stay then exit 0 after 2", 60), completed()],
        ),
        scenario(
            "its node is silent for longer than its lease, and it is deaf",
            vec![lease("deaf pause 30 600 stay then exit 0 after 2", 60), completed()],
        ),
        scenario(
            "its node is silent, and overhears a token that it missed",
            vec![lease("deaf pause 95 900 stay then exit 0 after 2", 300), completed()],
        ),
        scenario(
            "its node comes back within its lease",
            vec![lease("pause 10 60 exit 0 after 250", 300), completed()],
        ),
        scenario(
            "its node comes back, and its lease is over",
            vec![lease("pause 10 120 stay then exit 0 after 2", 60), completed()],
        ),
        scenario(
            "its node never comes back, and it has a lease",
            vec![
                lease("stay then exit 0 after 2", 60),
                (When::Runs, Do::LoseNode(None)),
                completed(),
            ],
        ),
        scenario(
            "it ends before its lease does, while its node is silent",
            vec![lease("pause 10 120 exit 5 after 30", 120), completed()],
        ),
        scenario(
            "held while its node is silent, with a lease",
            vec![
                lease("pause 10 500 stay then exit 0 after 2", 60),
                (When::Is("Running"), Do::Nothing),
                (When::After(60), Do::Hold(true)),
                held(Do::Hold(false)),
                completed(),
            ],
        ),
        race(
            "its node starts it after it fell silent",
            vec![
                lease("novolume 90 stay then exit 0 after 2", 20),
                (When::HasPod, Do::Nothing),
                (When::After(10), Do::LoseNode(Some(250))),
                completed(),
            ],
        ),
    ]
}

fn of_deletions() -> Vec<Scenario> {
    vec![
        scenario(
            "deleted while it runs",
            vec![submit("stay"), (When::Runs, Do::Delete("Background")), (When::Gone, Do::Nothing)],
        ),
        scenario(
            "deleted while it runs, pods first",
            vec![
                submit("deaf stay"),
                (When::Runs, Do::Delete("Foreground")),
                (When::Gone, Do::Nothing),
            ],
        ),
        scenario(
            "deleted as soon as it has a pod, and submitted again",
            vec![
                submit("stay"),
                (When::HasPod, Do::Delete("Background")),
                submit("exit 0 after 2"),
                completed(),
            ],
        ),
        scenario(
            "deleted some time after its end",
            vec![
                submit_with("exit 0 after 2", json!({ "ttlSecondsAfterFinished": 60 })),
                (When::HasPod, Do::Nothing),
                (When::Gone, Do::Nothing),
            ],
        ),
        race(
            "its pods go some time after their end",
            vec![
                submit_with(
                    "exit 0 after 2",
                    json!({ "queue": { "count": 2 }, "removePods": "OnEnd" }),
                ),
                (When::HasPod, Do::Nothing),
                (When::IsForgotten, Do::Nothing),
            ],
        ),
        race(
            "held and released again and again",
            vec![
                submit("stay then stay then stay then exit 0 after 2"),
                (When::Runs, Do::Hold(true)),
                (When::After(1), Do::Hold(false)),
                (When::After(1), Do::Hold(true)),
                (When::After(1), Do::Command("hold")),
                (When::After(1), Do::Command("release")),
                held(Do::Hold(false)),
                (When::After(30), Do::Command("remove")),
                (When::Answered, Do::Nothing),
            ],
        ),
    ]
}
