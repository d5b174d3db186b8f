//! Policies, retries, several procs and commands on the real node, compared with the logs that a real `HTCondor` wrote for
//! the same submit files.

use crate::{
    oracle::read_with_htcondor,
    people::{self, UNTIL_KNOCK, knock_at},
    world::{World, event_numbers, proc, script},
};
use duj_api::{names, status::ProcStatus};
use duj_core::{records::Records, userlog};
use flate2::read::MultiGzDecoder;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;
use std::{collections::BTreeMap, io::Read as _};

/// The events of a log, by proc, without those that only measure (006), which come when they come.
fn by_proc(log: &str) -> BTreeMap<i32, Vec<u16>> {
    let mut procs: BTreeMap<i32, Vec<u16>> = BTreeMap::new();
    for event in userlog::read(log).map(|event| event.expect("our log can be read")) {
        if event.body.number() != 6 {
            procs.entry(event.job.proc).or_default().push(event.body.number());
        }
    }
    procs
}

async fn log(world: &World, job: &str) -> String {
    world.job(job).await.status.and_then(|status| status.user_log).expect("a log").text
}

/// Gives a command for some procs of the job 'sleep' and waits until it is answered.
async fn tell(world: &World, name: &str, verb: &str, procs: &str) -> String {
    let spec = json!({ "verb": verb, "job": "sleep", "procs": procs });
    people::tell(world, name, spec).await.message
}

async fn states(world: &World, job: &str) -> BTreeMap<u32, ProcStatus> {
    let job = world.job(job).await;
    let groups = job.status.map(|status| status.procs).unwrap_or_default();
    let records = Records::read(&groups, job.spec.steps());
    records.iter().map(|(proc, record)| (proc, record.status)).collect()
}

async fn wait_for_states(world: &World, job: &str, wanted: [ProcStatus; 3]) {
    world
        .until(&format!("procs are {wanted:?}"), || async {
            states(world, job).await.into_values().eq(wanted)
        })
        .await;
}

/// `retry.sub` of the reference logs.
#[tokio::test]
async fn retries_are_logged_as_htcondor_logs_them() {
    let world = World::new("retries").await;
    world.submit("retry", script("exit 3", json!({ "maxRetries": 2 }))).await;
    let record = world.wait_for("retry", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_job_completions, record.attempt), (Some(3), 3, 2));
    let log = log(&world, "retry").await;
    assert_eq!(by_proc(&log), BTreeMap::from([(0, vec![0, 1, 4, 1, 4, 1, 5])]));
    let requeued = "\t(0) Job terminated and was requeued\n";
    assert_eq!(log.matches(requeued).count(), 2, "{log}");
    let reason = "\tThe job attribute OnExitRemove expression 'NumJobCompletions > JobMaxRetries || ExitCode =?= 0' evaluated to FALSE\n";
    assert_eq!(log.matches(reason).count(), 2, "{log}");
    world.end().await;
}

/// `pol.sub` of the reference logs.
#[tokio::test]
async fn a_bad_exit_is_held_and_a_release_runs_it_again() {
    let world = World::new("on-exit-hold").await;
    let policy = json!({
        "onExitHold": "ExitCode == 7", "onExitHoldReason": "\"bad exit\"", "onExitHoldSubcode": "42",
    });
    world.submit("pol", script("exit 7", policy)).await;
    let record = world.wait_for("pol", ProcStatus::Held).await;
    let hold = record.hold.unwrap();
    assert_eq!((hold.code, hold.subcode, hold.reason.as_str()), (3, 42, "bad exit"));
    let text = log(&world, "pol").await;
    assert_eq!(by_proc(&text)[&0], [0, 1, 12]);
    assert!(text.ends_with("Job was held.\n\tbad exit\n\tCode 3 Subcode 42\n...\n"), "{text}");
    let answer = world.command("remove", "pol").await;
    assert_eq!(answer.accepted, 1, "{answer:?}");
    world.wait_for("pol", ProcStatus::Removed).await;
    assert_eq!(by_proc(&log(&world, "pol").await)[&0], [0, 1, 12, 9]);
    world.end().await;
}

/// `sleep.sub` of the reference logs, and what was done to it: hold 0, suspend 1, vacate 2, continue, release, remove all.
#[tokio::test]
async fn three_procs_are_commanded_as_by_htcondors_tools() {
    use ProcStatus::{Held, Removed, Running, Suspended};
    let world = World::new("commanded").await;
    let spec = json!({ "executable": "sleep", "arguments": ["600"], "queue": { "count": 3 } });
    world.submit("sleep", spec).await;
    wait_for_states(&world, "sleep", [Running; 3]).await;
    let cluster = world.job("sleep").await.status.unwrap().cluster_id.unwrap();
    assert_eq!(
        tell(&world, "suspend-1", "suspend", "1").await,
        format!("Job {cluster}.1 suspended")
    );
    assert_eq!(tell(&world, "hold-0", "hold", "0").await, format!("Job {cluster}.0 held"));
    assert_eq!(tell(&world, "vacate-2", "vacate", "2").await, format!("Job {cluster}.2 vacated"));
    wait_for_states(&world, "sleep", [Held, Suspended, Running]).await;
    tell(&world, "release-0", "release", "0").await;
    tell(&world, "continue-1", "continue", "1").await;
    wait_for_states(&world, "sleep", [Running; 3]).await;
    tell(&world, "remove-all", "remove", "0-2").await;
    wait_for_states(&world, "sleep", [Removed; 3]).await;
    world
        .until("the log is whole", || async {
            world.job("sleep").await.status.unwrap().completion_time.is_some()
        })
        .await;
    let expected = BTreeMap::from([
        (0, vec![0, 1, 4, 12, 13, 1, 4, 9]),
        (1, vec![0, 1, 10, 11, 4, 9]),
        (2, vec![0, 1, 4, 1, 4, 9]),
    ]);
    assert_eq!(by_proc(&log(&world, "sleep").await), expected);
    world.end().await;
}

/// A suspended job really stands still, keeps its memory, and goes on where it stopped.
#[tokio::test]
async fn a_suspended_job_stands_still() {
    let world = World::new("suspended").await;
    let count = "trap 'exit 0' TERM; i=0; while true; do i=$((i+1)); echo $i; sleep 0.2; done";
    world.submit("sleep", script(count, json!({}))).await;
    world.wait_for("sleep", ProcStatus::Running).await;
    tell(&world, "suspend", "suspend", "0").await;
    // The kubelet brings the word to the starter; from then on two looks see the same.
    let last = || async { world.output("sleep").await.lines().last().map(str::to_owned) };
    world
        .until("the job stands still", || async {
            let before = last().await;
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            before.is_some() && before == last().await
        })
        .await;
    let still: u64 = last().await.unwrap().parse().unwrap();
    tell(&world, "continue", "continue", "0").await;
    world
        .until("it goes on", || async {
            last().await.is_some_and(|line| line.parse().is_ok_and(|number: u64| number > still))
        })
        .await;
    let lines: Vec<u64> =
        world.output("sleep").await.lines().map(|line| line.parse().unwrap()).collect();
    assert!(lines.iter().zip(1..).all(|(line, expected)| *line == expected), "{lines:?}");
    let record = world.job("sleep").await;
    let record = proc(record.status.as_ref().unwrap()).clone();
    assert_eq!(record.total_suspensions, 1);
    world.end().await;
}

#[tokio::test]
async fn more_memory_after_too_little() {
    let world = World::new("more-memory").await;
    let hungry = "grep -q 'RequestMemory = 64' .job.ad && exit 0; exec tail /dev/zero";
    let spec =
        script(hungry, json!({ "requestMemory": "16Mi", "retryRequestMemory": ["32Mi", "64Mi"] }));
    world.submit("grows", spec).await;
    let record = world.wait_for("grows", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.memory_step, record.attempt), (Some(0), 2, 2));
    let status = world.job("grows").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 4, 1, 4, 1, 6, 5]);
    let text = status.user_log.unwrap().text;
    assert_eq!(text.matches("Job was evicted. Code 34 Subcode 102\n").count(), 2, "{text}");
    world.end().await;
}

#[tokio::test]
async fn a_policy_holds_and_releases_by_itself() {
    let world = World::new("periodic").await;
    let policy = json!({
        "allowedExecuteDuration": 3,
        "periodicRelease": "HoldReasonCode == 47 && NumHolds == 1",
    });
    world
        .submit(
            "periodic",
            script("grep -q 'NumJobStarts = 0' .job.ad && exec sleep 600; exit 0", policy),
        )
        .await;
    world.wait_for("periodic", ProcStatus::Completed).await;
    let status = world.job("periodic").await.status.unwrap();
    assert_eq!(event_numbers(&status), [0, 1, 4, 12, 13, 1, 6, 5]);
    let text = status.user_log.unwrap().text;
    assert!(
        text.contains(
            "\tThe job exceeded allowed execute duration of 00:03\n\tCode 47 Subcode 0\n"
        ),
        "{text}"
    );
    world.end().await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_is_a_hold_with_a_caret() {
    let world = World::new("unreadable").await;
    world
        .submit("unreadable", script("exit 0", json!({ "periodicHold": "NumJobStarts > > 3" })))
        .await;
    let hold = world.wait_for("unreadable", ProcStatus::Held).await.hold.unwrap();
    assert_eq!(hold.code, 5);
    assert!(hold.reason.starts_with("periodicHold cannot be read: "), "{}", hold.reason);
    assert!(hold.reason.ends_with("\nNumJobStarts > > 3\n               ^"), "{}", hold.reason);
    assert!(world.pods("unreadable").await.is_empty());
    world.change("unreadable", json!({ "periodicHold": "NumJobStarts > 3" })).await;
    world.wait_for("unreadable", ProcStatus::Completed).await;
    world.end().await;
}

/// Each proc has its own pod, its own end, and what it knows of itself.
#[tokio::test]
async fn procs_end_each_in_its_own_way() {
    let world = World::new("procs").await;
    let text = "test $(ProcId) -lt 2 && exit $(ProcId); echo | nc -l -p 7777; exit 9";
    assert!(UNTIL_KNOCK.starts_with("echo | nc -l -p 7777"), "the door that is knocked at");
    world.submit("procs", script(text, json!({ "queue": { "count": 3 } }))).await;
    world
        .until("two have ended and one runs", || async {
            let counts = world.job("procs").await.status.and_then(|status| status.counts);
            counts.is_some_and(|counts| (counts.completed, counts.running) == (2, 1))
        })
        .await;
    let pods = world.pods("procs").await;
    assert_eq!(pods.len(), 3);
    let of_proc = |proc: &str| {
        let label = |pod: &&k8s_openapi::api::core::v1::Pod| {
            pod.labels().get(names::LABEL_PROC_ID).map(String::as_str) == Some(proc)
        };
        pods.iter().find(label).expect("a pod for each proc").name_any()
    };
    knock_at(&world, &of_proc("2")).await;
    world
        .until("all have ended", || async {
            world.job("procs").await.status.is_some_and(|status| status.completion_time.is_some())
        })
        .await;
    let job = world.job("procs").await;
    let records = Records::read(&job.status.unwrap().procs, 3);
    let codes: Vec<_> = records.values().map(|record| record.exit_code).collect();
    assert_eq!(codes, [Some(0), Some(1), Some(9)]);
    world.end().await;
}

/// The whole log: its pages, in their order, then the text in the status.
async fn whole_log(world: &World, job: &str) -> String {
    let log = world.job(job).await.status.and_then(|status| status.user_log).expect("a log");
    let mut whole = String::new();
    for page in 1..=log.pages {
        let page = world.api::<ConfigMap>().get(&format!("{job}-userlog-{page}")).await.unwrap();
        let content = &page.binary_data.unwrap()["log.gz"].0;
        MultiGzDecoder::new(content.as_slice()).read_to_string(&mut whole).unwrap();
    }
    whole + &log.text
}

/// More events than a status holds: the older ones are in a page, each once, and `HTCondor` reads the whole. Where somebody
/// else has the page's name, the job's owner is told, and all goes on once it is free.
#[tokio::test]
async fn a_log_that_is_too_long_for_the_status_is_whole_with_its_pages() {
    let world = World::new("pages").await;
    let spec = json!({ "queue": { "count": 70 }, "requestMemory": "8Mi", "requestCpus": "1m" });
    let foreign = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "pages-userlog-1" } });
    world.create::<ConfigMap>(foreign).await;
    world.submit("pages", script("exit $(ProcId)", spec)).await;
    world
        .until("the owner is told", || async {
            let told = |(reason, note): &(String, String)| {
                reason == "CannotGoOn" && note.contains("'pages-userlog-1' is not this job's")
            };
            world.events("pages").await.iter().any(told)
        })
        .await;
    let pages = world.api::<ConfigMap>();
    pages.delete("pages-userlog-1", &DeleteParams::default()).await.unwrap();
    world
        .until("all have ended", || async {
            world.job("pages").await.status.is_some_and(|status| status.completion_time.is_some())
        })
        .await;
    let log = world.job("pages").await.status.unwrap().user_log.unwrap();
    assert!(
        log.text.len() <= 64 * 1024 && log.pages == 1,
        "{} bytes, {} pages",
        log.text.len(),
        log.pages
    );
    let text = whole_log(&world, "pages").await;
    let events: Vec<_> = userlog::read(&text).map(Result::unwrap).collect();
    assert_eq!(i64::try_from(events.len()).unwrap(), log.events);
    assert_eq!(userlog::check(&events, userlog::Expect::Finished), []);
    let ends: Vec<_> = events.iter().filter(|event| event.body.number() == 5).collect();
    assert_eq!(ends.len(), 70);
    assert_eq!(read_with_htcondor(&text, "UTC").len(), events.len());
    world.end().await;
}
