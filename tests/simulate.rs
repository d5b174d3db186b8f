//! The whole operator above a model API server, scheduler and kubelet, in simulated time: it is killed before and after
//! every write, its answers are lost, its watches break, two of it run at a time, with an election and without; and at each step
//! what must be true is true.
//!
//! `DOCKER_UNIVERSE_SEEDS=500` asks for so many random runs, `DOCKER_UNIVERSE_SEEDS=406..407` for these; both also for every
//! fault of every write. A run that fails prints its story; its seed belongs into [`REGRESSIONS`].
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that fails shows where, and nobody else reads its modules"
)]

#[path = "simulate/chance.rs"]
mod chance;
#[path = "simulate/connection.rs"]
mod connection;
#[path = "simulate/controllers.rs"]
mod controllers;
#[path = "simulate/ending.rs"]
mod ending;
#[path = "simulate/faults.rs"]
mod faults;
#[path = "simulate/kubelet.rs"]
mod kubelet;
#[path = "simulate/lease.rs"]
mod lease;
#[path = "simulate/life.rs"]
mod life;
#[path = "simulate/operator.rs"]
mod operator;
#[path = "simulate/pair.rs"]
mod pair;
#[path = "simulate/people.rs"]
mod people;
#[path = "simulate/random.rs"]
mod random;
#[path = "reality/mod.rs"]
mod reality;
#[path = "simulate/recorded.rs"]
mod recorded;
#[path = "simulate/refused.rs"]
mod refused;
#[path = "simulate/request.rs"]
mod request;
#[path = "simulate/run.rs"]
mod run;
#[path = "simulate/scenarios.rs"]
mod scenarios;
#[path = "simulate/selector.rs"]
mod selector;
#[path = "simulate/server.rs"]
mod server;
#[path = "simulate/starting.rs"]
mod starting;
#[path = "simulate/status.rs"]
mod status;
#[path = "simulate/store.rs"]
mod store;
#[path = "simulate/watch.rs"]
mod watch;
#[path = "simulate/witness.rs"]
mod witness;
#[path = "simulate/world.rs"]
mod world;

use faults::{Fault, Plan};
use run::{Outcome, Shift};
use scenarios::Scenario;
use std::{fmt::Write as _, ops::Range, sync::LazyLock};

/// Seeds of weather that once found a fault.
const REGRESSIONS: &[u64] = &[52, 128, 150, 170, 207, 337, 406, 436, 600];

/// The seed by which scheduler and kubelet take their time where nothing else is to differ.
const CALM: u64 = 1;

/// What was tried, for the record.
#[derive(Default)]
struct Tally {
    runs: u64,
    writes: u64,
    faults: u64,
    kills: u64,
    /// Runs in which two operators serve at a time.
    pairs: u64,
    wrong: String,
    failed: u64,
}

impl Tally {
    /// Plays a plot with a plan; it has to end as it does without one. In any weather the operator may miss what is
    /// short, but not how it ends.
    fn play(&mut self, scenario: &Scenario, plan: &Plan, shift: Shift, undisturbed: &Outcome) {
        let outcome = run::run(CALM, scenario.people(), plan, shift);
        let case = format!("'{}' with {plan:?}, {shift:?}", scenario.name);
        self.count(&case, shift, &outcome);
        let (expected, found) = match plan {
            Plan::Weather { .. } => (&undisturbed.gist, &outcome.gist),
            // While nobody leads, what is short may be missed as well.
            Plan::Nothing if matches!(shift, Shift::Elected { .. }) => {
                (&undisturbed.gist, &outcome.gist)
            }
            _ => (&undisturbed.end, &outcome.end),
        };
        if outcome.violations.is_empty() && !scenario.is_a_race && expected != found {
            self.fail(&case, &outcome, &difference(expected, found));
        }
    }

    fn count(&mut self, case: &str, shift: Shift, outcome: &Outcome) {
        self.runs += 1;
        self.pairs += u64::from(shift != Shift::One);
        self.writes += outcome.writes;
        self.faults += outcome.faults;
        self.kills += outcome.kills;
        if !outcome.violations.is_empty() {
            self.fail(case, outcome, &outcome.violations.join("\n"));
        }
    }

    fn fail(&mut self, case: &str, outcome: &Outcome, what: &str) {
        self.failed += 1;
        // One story is read; of the others it is enough to know that they are.
        if self.failed == 1 {
            writeln!(self.wrong, "{}", outcome.story).unwrap();
        }
        writeln!(self.wrong, "--- {case}:\n{what}").unwrap();
    }

    fn conclude(self, what: &str) {
        let Self { runs, writes, faults, kills, pairs, wrong, failed } = self;
        println!("{what}: {runs} runs, {writes} writes, {faults} faults, {kills} deaths");
        assert!(failed == 0, "{failed} of {runs} runs failed\n{wrong}");
        duj_tally::tell(
            &format!("simulation: {what}"),
            &[
                ("runs", runs),
                ("writes", writes),
                ("faults", faults),
                ("deaths", kills),
                ("runs of two operators", pairs),
            ],
        );
    }
}

/// The lines that differ.
fn difference(expected: &serde_json::Value, found: &serde_json::Value) -> String {
    let lines = |value| serde_json::to_string_pretty(value).unwrap().replace("\\n", "\n    ");
    let (expected, found) = (lines(expected), lines(found));
    let mut text = String::from("it ends in another way:\n");
    for line in expected.lines().filter(|line| !found.lines().any(|other| other == *line)) {
        writeln!(text, "  - {line}").unwrap();
    }
    for line in found.lines().filter(|line| !expected.lines().any(|other| other == *line)) {
        writeln!(text, "  + {line}").unwrap();
    }
    if text.lines().count() == 1 { format!("{text}{expected}\n{found}") } else { text }
}

/// Each plot with its end where nothing goes wrong.
fn undisturbed() -> &'static [(Scenario, Outcome)] {
    static UNDISTURBED: LazyLock<Vec<(Scenario, Outcome)>> = LazyLock::new(|| {
        let play = |scenario: Scenario| {
            let outcome = run::run(CALM, scenario.people(), &Plan::Nothing, Shift::One);
            (scenario, outcome)
        };
        scenarios::all().into_iter().map(play).collect()
    });
    &UNDISTURBED
}

/// The seeds of random runs, where somebody asks for other ones than the usual.
fn seeds() -> Option<Range<u64>> {
    let told = std::env::var("DOCKER_UNIVERSE_SEEDS").ok()?;
    let number = |text: &str| text.parse().unwrap();
    let range = told.split_once("..").map(|(first, end)| number(first)..number(end));
    Some(range.unwrap_or_else(|| 0..number(&told)))
}

#[test]
fn what_nobody_disturbs_ends_as_it_should() {
    let mut tally = Tally::default();
    for (scenario, outcome) in undisturbed() {
        tally.count(scenario.name, Shift::One, outcome);
        tally.play(scenario, &Plan::Nothing, Shift::One, outcome);
    }
    tally.conclude("undisturbed");
}

#[test]
fn the_operator_may_die_before_and_after_every_write() {
    let mut tally = Tally::default();
    for (scenario, calm) in undisturbed() {
        for write in 0..calm.writes {
            tally.play(scenario, &Plan::ToWrite(write, Fault::KillAfter), Shift::One, calm);
            // To die before a write leaves the same behind as to die after the one before it, a moment later.
            if write == 0 || seeds().is_some() {
                tally.play(scenario, &Plan::ToWrite(write, Fault::KillBefore), Shift::One, calm);
            }
        }
    }
    tally.conclude("dead before and after every write");
}

#[test]
fn every_write_may_meet_every_fault() {
    let mut tally = Tally::default();
    let mut turn = faults::TO_WRITES.iter().cycle();
    for (scenario, calm) in undisturbed() {
        // Each write with each fault is for those who ask for it; here every other write has one of them.
        let (step, some) = if seeds().is_some() { (1, faults::TO_WRITES.len()) } else { (2, 1) };
        for write in (0..calm.writes).step_by(step) {
            for fault in turn.by_ref().take(some) {
                tally.play(scenario, &Plan::ToWrite(write, *fault), Shift::One, calm);
            }
        }
    }
    tally.conclude("faults of every write");
}

#[test]
fn two_operators_may_serve_at_a_time() {
    let mut tally = Tally::default();
    for (scenario, calm) in undisturbed() {
        let shift = Shift::Overlapping { every: 4, stays: 5 };
        tally.play(scenario, &Plan::Nothing, shift, calm);
    }
    tally.conclude("two operators at a time");
}

#[test]
fn one_of_two_operators_leads_whatever_becomes_of_it() {
    let mut tally = Tally::default();
    for seed in seeds().unwrap_or(0..1) {
        for (scenario, calm) in undisturbed() {
            tally.play(scenario, &Plan::Nothing, Shift::Elected { seed }, calm);
        }
    }
    tally.conclude("one of two operators leads");
}

#[test]
fn one_of_two_operators_leads_in_any_weather() {
    let mut tally = Tally::default();
    for seed in seeds().unwrap_or(0..24) {
        let scenario = random::any(seed);
        let plan = Plan::Weather { seed, seconds: 200 };
        let shift = Shift::Elected { seed };
        let outcome = run::run(seed, scenario.people(), &plan, shift);
        tally.count(&format!("seed {seed}, {:?}", scenario.steps), shift, &outcome);
    }
    tally.conclude("one of two operators leads in any weather");
}

#[test]
fn what_ends_in_one_way_does_so_in_any_weather() {
    let mut tally = Tally::default();
    let all = undisturbed();
    for seed in seeds().unwrap_or(0..60) {
        let (scenario, calm) = &all[usize::try_from(seed).unwrap() % all.len()];
        tally.play(scenario, &Plan::Weather { seed, seconds: 100 }, Shift::One, calm);
    }
    tally.conclude("plots in any weather");
}

#[test]
fn anything_may_happen_in_any_weather() {
    let all = REGRESSIONS.iter().copied().chain(seeds().unwrap_or(0..60));
    anything(all, random::any, "anything in any weather");
}

#[test]
fn anything_may_happen_to_a_job_with_a_lease() {
    anything(seeds().unwrap_or(0..60), random::any_leased, "anything with a lease");
}

fn anything(seeds: impl Iterator<Item = u64>, plot: fn(u64) -> Scenario, what: &str) {
    let mut tally = Tally::default();
    for seed in seeds {
        let scenario = plot(seed);
        let plan = Plan::Weather { seed, seconds: 200 };
        let shift =
            if seed % 3 == 0 { Shift::Overlapping { every: 15, stays: 10 } } else { Shift::One };
        let outcome = run::run(seed, scenario.people(), &plan, shift);
        tally.count(&format!("seed {seed}, {:?}", scenario.steps), shift, &outcome);
    }
    tally.conclude(what);
}
