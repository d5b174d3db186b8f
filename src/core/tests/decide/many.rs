//! Jobs of several procs: each has a life of its own, and they share one status and one log.

use crate::play::Play;
use duj_core::{facts::PodFacts, observed::Effect, userlog};
use duj_protocol::Outcome;
use serde_json::json;

/// A job of four procs, all running.
fn four() -> Play {
    let mut play =
        Play::of(json!({ "queue": { "count": 4 }, "arguments": ["$(ClusterId).$(ProcId)"] }));
    let deeds = play.scene("submitted");
    assert_eq!(
        deeds,
        ["Status", "CreatePod 0-0", "CreatePod 1-0", "CreatePod 2-0", "CreatePod 3-0"],
        "what is no pure function of the job comes after its status"
    );
    for proc in 0..4 {
        play.pod_of(proc).bind();
        play.wait(1);
        play.pod_of(proc).run();
    }
    play.scene("all run");
    play.wait(10);
    play
}

#[test]
fn each_proc_has_its_own_end() {
    let mut play = four();
    let arguments = |play: &mut Play, proc| {
        let pod = play.pod_of(proc);
        pod.pod().unwrap().spec.as_ref().unwrap().containers[0].args.clone().unwrap().pop().unwrap()
    };
    assert_eq!([arguments(&mut play, 0), arguments(&mut play, 3)], ["7.0", "7.3"]);
    play.pod_of(0).outcome(Outcome::Exited(0));
    play.pod_of(2).outcome(Outcome::Exited(5));
    play.scene("0 and 2 end");
    let counts = play.status().counts.unwrap();
    assert_eq!((counts.completed, counts.running, counts.total), (2, 2, 4));
    assert!(play.status().completion_time.is_none());
    play.pod_of(1).outcome(Outcome::Exited(0));
    play.wait(7);
    play.pod_of(3).outcome(Outcome::Exited(0));
    play.scene("the others end");
    let status = play.status();
    assert!(status.completion_time.is_some());
    let procs: Vec<_> =
        status.procs.iter().map(|group| (group.procs.as_str(), group.record.exit_code)).collect();
    assert_eq!(procs, [("0-1,3", Some(0)), ("2", Some(5))]);
    let because = status.because.unwrap();
    assert_eq!(
        (because.reason.as_str(), because.message.as_str()),
        ("ExitedNonZero", "job 7.2 exited with code 5")
    );
    play.is_remembered("four procs");
}

#[test]
fn a_command_is_for_the_procs_it_names() {
    let mut play = four();
    play.wait(1);
    let now = play.now;
    let name = play.server.command(json!({ "verb": "hold", "job": "hello", "procs": "1-2" }), now);
    let deeds = play.scene("hold 1-2");
    assert!(deeds.contains(&"DeletePod 1-0".into()) && deeds.contains(&"DeletePod 2-0".into()));
    assert!(!deeds.contains(&"DeletePod 0-0".into()));
    let answer = play.server.commands[&name].status.clone().unwrap();
    assert_eq!((answer.accepted, answer.refused), (2, 0));
    assert_eq!(answer.message, "Job 7.1 held; Job 7.2 held");
    play.pod_of(1).stop();
    play.pod_of(2).stop();
    play.scene("stopped");
    let counts = play.status().counts.unwrap();
    assert_eq!((counts.held, counts.running), (2, 2));
    assert!(play.status().because.unwrap().message.ends_with("(1 more are held)"));
}

/// Three hundred procs write more than a status holds: nothing of the log is lost, and nothing stands in it twice.
#[test]
fn a_long_log_goes_to_pages() {
    let mut play = Play::of(json!({ "queue": { "count": 300 } }));
    play.scene("submitted");
    for proc in 0..300 {
        play.pod_of(proc).bind();
        play.pod_of(proc).run();
    }
    play.scene("all run");
    play.wait(10);
    let mut largest = 0;
    for proc in 0..300 {
        play.pod_of(proc).outcome(Outcome::Exited(0));
    }
    for round in 0.. {
        assert!(round < 60, "it does not come to rest");
        // Every fifth status is lost after its pages were written: they are found there the next time.
        let lost = round % 5 == 4;
        if lost {
            for effect in play.decision().before {
                let Effect::AppendPages(parts) = effect else { panic!("{effect:?}") };
                for part in &parts {
                    play.server.append_page(part);
                }
            }
            continue;
        }
        let decision = play.decide();
        let status = play.status();
        largest = largest.max(serde_json::to_vec(&status).unwrap().len());
        play.wait(1);
        if play.operator.deeds.is_empty() && decision.is_some_and(|decision| !decision.deferred) {
            break;
        }
    }
    let status = play.status();
    assert_eq!(status.counts.unwrap().completed, 300);
    assert!(largest < 256 * 1024, "{largest} bytes");
    let log = status.user_log.as_ref().unwrap();
    assert!(
        log.text.len() <= 64 * 1024 && log.parts > 4,
        "{} bytes, {} parts",
        log.text.len(),
        log.parts
    );
    assert_eq!(log.pages, (log.parts + 47) / 48);
    let whole: Vec<_> = userlog::read(&play.server.log()).map(Result::unwrap).collect();
    assert_eq!(i64::try_from(whole.len()).unwrap(), log.events);
    assert_eq!(userlog::check(&whole, userlog::Expect::Finished), []);
    let count = |number| whole.iter().filter(|event| event.body.number() == number).count();
    assert_eq!([count(0), count(1), count(5)], [300, 300, 300]);
}

/// Each look that makes pods has room for some of the ends only: whoever made pods as fast as they can be made would know
/// ever less of how they ended.
#[test]
fn no_more_pods_are_made_than_can_be_heard_of() {
    let mut play = Play::of(json!({ "queue": { "count": 800 } }));
    let mut unaccounted = 0;
    for round in 0.. {
        assert!(round < 100, "it does not come to its end");
        play.decide();
        if play.status().completion_time.is_some() {
            break;
        }
        play.wait(1);
        let pods: Vec<_> = play.server.pods.values().filter_map(PodFacts::read).collect();
        unaccounted = pods.iter().filter(|pod| pod.unaccounted).count().max(unaccounted);
        for pod in pods.iter().filter(|pod| !pod.ended()) {
            play.pod_of(pod.proc).bind();
            play.pod_of(pod.proc).run();
            play.pod_of(pod.proc).outcome(Outcome::Exited(0));
        }
    }
    assert_eq!(play.status().counts.unwrap().completed, 800);
    assert!(unaccounted <= 200, "{unaccounted} pods wait to be heard of");
}

/// More procs end than one decision hears, and a hold comes in the same moment: what has ended has ended.
#[test]
fn no_result_is_lost_to_a_hold_while_there_is_more_to_hear() {
    // At its exit a job can still be caught by its periodic hold (§6.2 of the semantics), which keeps what it exited with;
    // a periodic removal lets it go as it ended.
    let wishes = [
        (json!({ "hold": true }), (250, 0, 0)),
        (json!({ "periodicHold": "JobStatus == 2 && time() - QDate > 60" }), (0, 250, 0)),
        (json!({ "periodicRemove": "time() - QDate > 60" }), (250, 0, 0)),
    ];
    for (wish, expected) in wishes {
        let mut play = Play::of(json!({ "queue": { "count": 250 } }));
        play.scene("submitted");
        for proc in 0..250 {
            play.pod_of(proc).bind();
            play.pod_of(proc).run();
        }
        play.scene("all run");
        play.wait(120);
        for proc in 0..250 {
            play.pod_of(proc).outcome(Outcome::Exited(0));
        }
        play.edit(wish.clone());
        play.scene("all have ended, and a hold is wanted");
        let counts = play.status().counts.unwrap();
        assert_eq!((counts.completed, counts.held, counts.removed), expected, "{wish}");
        for group in &play.status().procs {
            assert_eq!(group.record.exit_code, Some(0), "{wish}: {}", group.procs);
        }
    }
}

/// A job of two thousand procs, all of which wait for a place.
fn two_thousand() -> Play {
    let mut play = Play::of(json!({ "queue": { "count": 2000 } }));
    play.scene("submitted");
    let counts = play.status().counts.unwrap();
    assert_eq!((counts.total, counts.idle, counts.unmaterialized), (2000, 2000, 0));
    play
}

/// The events of one kind in the whole log, which is sound.
fn count(play: &Play, number: u16) -> usize {
    let whole: Vec<_> = userlog::read(&play.server.log()).map(Result::unwrap).collect();
    assert_eq!(i64::try_from(whole.len()).unwrap(), play.status().user_log.unwrap().events);
    whole.iter().filter(|event| event.body.number() == number).count()
}

#[test]
fn a_wish_for_more_procs_than_a_status_can_tell_of_is_fulfilled_for_each_once() {
    let mut play = two_thousand();
    assert_eq!(count(&play, 0), 2000);
    play.edit(json!({ "hold": true }));
    play.scene("hold is wanted");
    assert_eq!(play.status().counts.unwrap().held, 2000);
    assert_eq!(count(&play, 12), 2000);
    play.edit(json!({ "hold": false }));
    play.scene("released");
    assert_eq!(play.status().counts.unwrap().idle, 2000);
    assert_eq!(count(&play, 13), 2000);
}

#[test]
fn a_command_for_more_procs_than_a_status_can_tell_of_is_answered_once_for_all() {
    let mut play = two_thousand();
    let now = play.now;
    let hold = play.server.command(json!({ "verb": "hold", "job": "hello" }), now);
    let release =
        play.server.command(json!({ "verb": "release", "job": "hello", "procs": "5-1999" }), now);
    play.scene("hold all, then release most");
    let answer = play.server.commands[&hold].status.clone().unwrap();
    assert_eq!((answer.accepted, answer.refused), (2000, 0));
    assert!(answer.message.starts_with("Job 7.0 held; Job 7.1 held"), "{}", answer.message);
    let answer = play.server.commands[&release].status.clone().unwrap();
    assert_eq!((answer.accepted, answer.refused), (1995, 0));
    let counts = play.status().counts.unwrap();
    assert_eq!((counts.held, counts.idle), (5, 1995));
    assert_eq!((count(&play, 12), count(&play, 13)), (2000, 1995));
}
