//! Holds and removals of a job whose procs have not all come.

use super::*;
use duj_api::status::Materialization;

#[test]
fn a_hold_of_the_whole_job_pauses_and_a_release_resumes() {
    let mut play = ten(json!({ "maxMaterialize": 3 }));
    run(&mut play, 0..1);
    assert_eq!(
        command(&mut play, json!({ "verb": "hold", "by": "alice" })),
        "+3 -0 Cluster 7 paused; Job 7.0 held; Job 7.1 held; Job 7.2 held"
    );
    play.pod_of(0).stop();
    play.scene("stopped");
    assert_eq!(are(&play), [0, 0, 3, 0, 7]);
    assert_eq!(play.status().noticed.unwrap().materialization, Some(Materialization::Paused));
    let (_, message) = because(&play);
    assert!(
        message.ends_with("(2 more are held) (7 more procs wait for that: materialization is paused until the job is released)"),
        "{message}"
    );
    assert_eq!(
        command(&mut play, json!({ "verb": "remove", "procs": "0-2" })),
        "+3 -0 Job 7.0 marked for removal; Job 7.1 marked for removal; Job 7.2 marked for removal"
    );
    assert_eq!(are(&play), [0, 0, 0, 3, 7], "paused");
    assert_eq!(
        because(&play),
        ("Held".into(), "7 procs wait: materialization is paused until the job is released".into())
    );
    assert_eq!(
        command(&mut play, json!({ "verb": "release", "by": "alice" })),
        "+0 -3 Job 7.0 already removed; Job 7.1 already removed; Job 7.2 already removed; Cluster 7 resumed"
    );
    assert_eq!(are(&play), [3, 0, 0, 3, 4]);
    let told = of_cluster(&play, Expect::Running);
    let reason = "via condor_hold (by user alice)".into();
    assert_eq!(told[1], Cluster::Paused { reason, pause_code: 1, hold_code: 1 });
    assert_eq!(
        told[2..],
        [Cluster::Resumed { reason: "via condor_release (by user alice)".into() }]
    );
}

#[test]
fn a_hold_of_some_procs_does_not_pause() {
    let mut play = ten(json!({ "maxMaterialize": 3 }));
    command(&mut play, json!({ "verb": "hold", "procs": "0-2" }));
    assert_eq!(are(&play), [0, 0, 3, 0, 7]);
    assert_eq!(play.status().noticed.unwrap().materialization, None);
    command(&mut play, json!({ "verb": "remove", "procs": "1" }));
    assert_eq!(are(&play), [1, 0, 2, 1, 6]);
}

#[test]
fn spec_hold_pauses_and_resumes() {
    let mut play = ten(json!({ "maxMaterialize": 3 }));
    play.edit(json!({ "hold": true }));
    play.scene("hold is true");
    assert_eq!(are(&play), [0, 0, 3, 0, 7]);
    limit(&mut play, json!({ "maxMaterialize": 5 }));
    assert_eq!(are(&play), [0, 0, 3, 0, 7]);
    play.edit(json!({ "hold": false }));
    play.scene("hold is false");
    assert_eq!(are(&play), [5, 0, 0, 0, 5]);
    let numbers: Vec<_> = of_cluster(&play, Expect::Running).iter().map(Cluster::number).collect();
    assert_eq!(numbers, [35, 37, 38]);
}

#[test]
fn a_job_that_is_submitted_on_hold_fills_its_queue_with_held_procs() {
    let mut play = Play::of(json!({ "hold": true, "queue": { "count": 5, "maxMaterialize": 2 } }));
    play.scene("submitted on hold");
    assert_eq!((are(&play), play.log().as_str()), ([0, 0, 2, 0, 3], "35 0 12 0 12"));
    play.edit(json!({ "hold": false }));
    play.scene("hold is false");
    assert_eq!(are(&play), [2, 0, 0, 0, 3]);
    command(&mut play, json!({ "verb": "remove", "procs": "0-1" }));
    assert_eq!(are(&play), [2, 0, 0, 2, 1], "the others are not on hold");
    assert_eq!(of_cluster(&play, Expect::Running).len(), 1);
}

#[test]
fn what_was_removed_before_it_materialized_never_comes() {
    let mut play = ten(json!({ "maxMaterialize": 2 }));
    run(&mut play, 0..2);
    end(&mut play, 0..1, 0);
    assert_eq!(
        command(&mut play, json!({ "verb": "remove" })),
        "+2 -1 Cluster 7 marked for removal; Job 7.0 already completed: delete the job to forget it; Job 7.1 marked for removal; Job 7.2 marked for removal"
    );
    assert_eq!((counts(&play).total, counts(&play).unmaterialized), (3, 0));
    assert!(play.status().completion_time.is_none(), "one is being stopped");
    limit(&mut play, json!({ "maxMaterialize": 9 }));
    play.pod_of(1).stop();
    play.scene("stopped");
    assert_eq!(are(&play), [0, 0, 0, 3, 0]);
    assert!(holds(&play, "Failed"));
    assert_eq!(removed(&play), (3, 0, Completion::Incomplete));
    assert_eq!(play.scene("and nothing more"), [""; 0]);
    play.is_remembered("removed while procs were to come");
}

#[test]
fn a_job_can_be_removed_before_any_proc_came_and_while_it_is_paused() {
    for (hold, numbers) in [(false, &[35, 36][..]), (true, &[35, 37, 36])] {
        let mut play = ten(json!({ "maxIdle": 0 }));
        if hold {
            assert_eq!(command(&mut play, json!({ "verb": "hold" })), "+0 -0 Cluster 7 paused");
        }
        assert_eq!(
            command(&mut play, json!({ "verb": "remove" })),
            "+0 -0 Cluster 7 marked for removal"
        );
        assert_eq!(
            because(&play),
            ("Removed".into(), "job 7 was removed before all of its procs materialized".into())
        );
        assert_eq!((counts(&play).total, holds(&play, "Failed")), (0, true));
        assert_eq!(removed(&play), (0, 0, Completion::Incomplete));
        let told: Vec<_> =
            of_cluster(&play, Expect::Finished).iter().map(Cluster::number).collect();
        assert_eq!(told, numbers);
        assert_eq!(play.scene("and nothing more"), [""; 0]);
    }
}

#[test]
fn a_large_job_is_removed_while_it_is_being_submitted() {
    let mut play = Play::of(json!({ "queue": { "count": 20_000 }, "hold": true }));
    play.decide();
    play.wait(1);
    play.decide();
    let there = 20_000 - counts(&play).unmaterialized;
    assert!(there < 2000, "{there}");
    let answer = command(&mut play, json!({ "verb": "remove" }));
    assert!(answer.contains(" Cluster 7 marked for removal; Job 7.0 marked"), "{answer}");
    let ended = counts(&play);
    assert_eq!((ended.unmaterialized, ended.removed), (0, ended.total));
    assert!(ended.total < 2000, "{}", ended.total);
    assert!(holds(&play, "Finished"));
    assert_eq!(of_cluster(&play, Expect::Finished), [], "it is no cluster that materializes late");
}

/// `condor_hold` of a cluster is for all of its procs, whatever has become of its submission.
#[test]
fn a_hold_waits_until_a_large_job_is_submitted() {
    let mut play = Play::of(json!({ "queue": { "count": 2000 } }));
    play.operator.room.pods = 0;
    play.decide();
    play.wait(1);
    play.decide();
    assert!(counts(&play).unmaterialized > 0);
    let answer = command(&mut play, json!({ "verb": "hold" }));
    assert!(answer.starts_with("+2000 -0 Job 7.0 held"), "{answer}");
    assert_eq!(are(&play), [0, 0, 2000, 0, 0]);
}
