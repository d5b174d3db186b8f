//! Commands for the procs whose ads make an expression true.

use super::*;

#[test]
fn a_constraint_means_the_procs_whose_ads_make_it_true() {
    let mut play = Play::of(json!({ "queue": { "count": 3 }, "batchName": "night" }));
    play.scene("submitted");
    play.pod_of(1).bind();
    play.pod_of(1).run();
    play.scene("one of three runs");
    play.operator.look(&play.server);
    let observed = play.operator.observed(play.now).unwrap();
    for (verb, constraint, meant) in [
        (Verb::Hold, "true", &[0, 1, 2][..]),
        (Verb::Hold, "JobStatus == 2", &[1]),
        (Verb::Hold, "ProcId", &[1, 2]),
        (Verb::Hold, "JobBatchName == \"NIGHT\"", &[0, 1, 2]),
        // As in HTCondor: undefined, an error and a text are no answer.
        (Verb::Hold, "Nobody == 1", &[]),
        (Verb::Hold, "1 / 0", &[]),
        (Verb::Hold, "\"true\"", &[]),
        // Who cannot be meant is not asked.
        (Verb::Release, "true", &[]),
        (Verb::Vacate, "true", &[1]),
        (Verb::Suspend, "true", &[1]),
        (Verb::Continue, "true", &[]),
        (Verb::RemoveForced, "true", &[]),
    ] {
        let expression = Expr::parse(constraint).unwrap();
        let found = select(&observed, &play.operator.settings, verb, &expression);
        assert_eq!(found, meant, "{verb:?} {constraint}");
    }
}

#[test]
fn what_a_constraint_asked_for_is_noted_and_answered_by_nobody_here() {
    let mut play = Play::running();
    let name = send(&mut play, "hold", json!({ "constraint": "true" }));
    play.scene("command by constraint");
    play.is("Held 1/0 stopping", "Stopping", "0 1");
    assert_eq!(answer(&play, &name), "no answer yet");
    let noted = play.status().noticed.unwrap().commands;
    assert_eq!((noted.len(), noted[0].accepted, noted[0].refused), (1, 1, 0));
}
