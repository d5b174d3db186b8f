//! Plots by chance: what somebody may do with a job at any time, in any order.

use crate::{
    REGRESSIONS,
    chance::Chance,
    people::{Do, When},
    scenarios::Scenario,
};
use serde_json::json;

/// What a job may do in one attempt.
const LIVES: [&str; 20] = [
    "exit 0 after 1",
    "exit 0 after 30",
    "exit 7 after 4",
    "signal 9 after 6",
    "oom after 5",
    "disk after 8",
    "missing after 0",
    "killed after 12",
    "evicted after 15",
    "stay",
    "deaf stay",
    "graceful 0 stay",
    "deaf exit 0 after 50",
    "image 20 exit 0 after 2",
    "noimage",
    "noconfig 6 exit 0 after 2",
    "novolume 30 exit 0 after 2",
    "starterror",
    "nostarter",
    "pause 5 100 exit 0 after 20",
];

/// A plot by chance: what somebody may do at any time, in any order.
pub(crate) fn any(seed: u64) -> Scenario {
    let mut chance = Chance::of(seed, "plot");
    let mut lives: Vec<&str> = (0..4).map(|_| *chance.pick(&LIVES)).collect();
    lives.push("exit 0 after 2");
    let mut steps =
        vec![(When::Now, Do::Submit(lives.join(" then "), json!({ "hold": chance.one_in(6) })))];
    for _ in 0..chance.below(8) {
        let times = [chance.below(40), chance.below(3)];
        let wait = match chance.below(4) {
            0 => When::RunsOrAfter(times[0]),
            1 => When::After(times[0]),
            _ => When::After(times[1]),
        };
        let what = match chance.below(16) {
            0..3 => Do::Hold(true),
            3..6 => Do::Hold(false),
            6 => Do::Command("hold"),
            7..9 => Do::Command("release"),
            9 => Do::Command("remove"),
            10 => Do::DeletePod(None),
            11 => Do::DeletePod(Some(0)),
            12 => Do::Unlabel,
            13 => Do::LoseNode(Some(60 + chance.below(500))),
            14 => Do::Quota(chance.one_in(2)),
            _ => Do::Delete(if chance.one_in(2) { "Background" } else { "Foreground" }),
        };
        steps.push((wait, what));
    }
    // What the regressions found has to stay as it was.
    let mut chance = Chance::of(seed, "constraints");
    for (_, what) in steps.iter_mut().filter(|_| !REGRESSIONS.contains(&seed)) {
        if let Do::Command(verb) = what
            && chance.one_in(2)
        {
            *what = Do::CommandAll(verb, "JobStatus >= 1");
        }
    }
    // In the end people care, and what can come to an end does.
    steps.push((When::After(60), Do::Quota(false)));
    for _ in 0..5 {
        steps.extend([
            (When::After(700), Do::Hold(false)),
            (When::After(5), Do::Command("release")),
            (When::After(200), Do::DeletePod(None)),
        ]);
    }
    Scenario { name: "anything", steps, is_a_race: true }
}

/// The same, where the job has a lease and its node falls silent now and then.
pub(crate) fn any_leased(seed: u64) -> Scenario {
    let mut chance = Chance::of(seed, "lease");
    let mut scenario = any(seed);
    for (_, what) in &mut scenario.steps {
        if let Do::Submit(_, spec) = what {
            spec["leaseDuration"] = json!(chance.pick(&[20, 60, 200]));
            spec["maxVacateTime"] = json!(chance.pick(&[1, 30]));
        }
    }
    for _ in 0..=chance.below(2) {
        let place = 1 + usize::try_from(chance.below(3)).unwrap();
        let step =
            (When::RunsOrAfter(chance.below(60)), Do::LoseNode(Some(20 + chance.below(500))));
        scenario.steps.insert(place.min(scenario.steps.len()), step);
    }
    scenario.name = "anything with a lease";
    scenario
}
