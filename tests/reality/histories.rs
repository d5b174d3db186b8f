//! Histories of a pod's status: what was recorded of the real node, and whether another history is one of the same kind.
//!
//! A history is the sequence of a pod's lines ([`crate::reality::look`]), without repetitions. The record of a case has every
//! history that was seen, pod by pod. Two things differ from run to run, in all cases alike: in which order those who do not
//! wait for each other write (kubelet, operator, people), and what the kubelet, which tells its state of the moment, does not
//! tell because it was short. So the steps from a line to the next are taken from all cases together, with the way in which a
//! container ended left out, on which no order depends, and without the operator's own finalizer: when that goes is the
//! operator's doing, and that a pod stays while it is kept shows in the steps of people. A history agrees with the record when
//!
//! * it begins, goes on and ends by recorded steps only; a step may jump over lines that were seen to be missed,
//! * it has no word that its case was never recorded with: each way of ending, each reason and condition is a word,
//! * it has each word that all histories of its case have, but for words that are missed now and then.
//!
//! As a line is all that the operator reads of a version, a field that comes one write too early or too late, an order
//! that reality never had, a wrong exit code, or an end without what comes before it is another step or another word.

use super::look::{ENDED, GONE, KEPT};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, iter,
    path::PathBuf,
};

/// The lines of one pod, oldest first.
pub type History = Vec<String>;

/// What one run of a case gave: a history for each pod, in the order in which they were made.
pub type Run = Vec<History>;

/// A step from a line to the next; no line is before the first one, and after the last one.
type Step = (String, String);

/// All that was seen of a case, by the pod's number.
type Recorded = BTreeMap<usize, BTreeSet<History>>;

/// The records of all cases.
#[derive(Clone, Debug, Default)]
pub struct Book {
    cases: BTreeMap<String, Recorded>,
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reality/pods")
}

/// A line without the way in which the container ended, and without the operator's finalizer.
fn general(line: &str) -> String {
    let word = |word: &str| match word {
        "Succeeded" | "Failed" => "Over".to_owned(),
        word if word.starts_with(ENDED) => ENDED.to_owned(),
        word => word.to_owned(),
    };
    let words = line.split(", ").filter(|word| *word != KEPT);
    words.map(word).collect::<Vec<_>>().join(", ")
}

fn steps(history: &History) -> BTreeSet<Step> {
    let mut lines: Vec<String> = history.iter().map(|line| general(line)).collect();
    lines.dedup();
    let from = iter::once(String::new()).chain(lines.clone());
    from.zip(lines.iter().cloned().chain([String::new()])).collect()
}

fn words(history: &History) -> BTreeSet<&str> {
    history.iter().flat_map(|line| line.split(", ")).collect()
}

/// The words of all of these, and the words of any of these.
fn words_of_all(histories: &BTreeSet<History>) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let each = || histories.iter().map(words);
    let all = each().reduce(|all, some| &all & &some).unwrap_or_default();
    (all, each().flatten().collect())
}

fn told((from, to): &Step) -> String {
    let line = |line: &String, none: &str| if line.is_empty() { none.into() } else { line.clone() };
    format!("from '{}'\n      to '{}'", line(from, "(nothing)"), line(to, "(the end)"))
}

impl Book {
    /// All that was recorded.
    pub fn read() -> Self {
        let mut cases = BTreeMap::new();
        for entry in fs::read_dir(directory()).unwrap() {
            let path = entry.unwrap().path();
            let case = path.file_stem().unwrap().to_str().unwrap().to_owned();
            cases.insert(case, read(&fs::read_to_string(path).unwrap()));
        }
        Self { cases }
    }

    /// Adds what a run gave to the record of its case.
    pub fn add(&mut self, case: &str, run: &Run) {
        let recorded = self.cases.entry(case.to_owned()).or_default();
        for (pod, history) in (1..).zip(run) {
            recorded.entry(pod).or_default().insert(history.clone());
        }
        let mut text = String::from(
            "# What was seen of the pods of this case on a real node: see tests/reality/mod.rs. Written by the test.\n",
        );
        for (pod, histories) in recorded {
            for history in histories.iter() {
                writeln!(text, "\npod {pod}").unwrap();
                for line in history {
                    writeln!(text, "  {line}").unwrap();
                }
            }
        }
        fs::write(directory().join(format!("{case}.txt")), text).unwrap();
    }

    fn histories(&self) -> impl Iterator<Item = &History> {
        self.cases.values().flat_map(Recorded::values).flatten()
    }

    /// The steps that were recorded of any case.
    pub fn steps(&self) -> Steps {
        Steps::of(self.histories())
    }

    /// Words that one history of a case has, and another one of the same case has not.
    fn missed_at_times(&self) -> BTreeSet<&str> {
        let recorded = self.cases.values().flat_map(Recorded::values);
        let some = recorded.flat_map(|histories| {
            let (all, any) = words_of_all(histories);
            &any - &all
        });
        some.collect()
    }

    /// What a run gave that was not recorded; empty where it agrees.
    pub fn objections(&self, case: &str, run: &Run) -> Vec<String> {
        let Some(recorded) = self.cases.get(case) else { return vec!["never recorded".into()] };
        let mut objections = Vec::new();
        if run.len() != recorded.len() {
            objections.push(format!("{} pods, and not {}", run.len(), recorded.len()));
        }
        let (known, may_be_missed) = (self.steps(), self.missed_at_times());
        for ((pod, histories), history) in recorded.iter().zip(run) {
            let (all, any) = words_of_all(histories);
            let here = words(history);
            for word in &here - &any {
                objections.push(format!("pod {pod}: never recorded '{word}'"));
            }
            for word in &(&all - &may_be_missed) - &here {
                objections.push(format!("pod {pod}: without '{word}'"));
            }
            for step in steps(history).iter().filter(|step| !known.explain(step)) {
                objections
                    .push(format!("pod {pod}: a step that was never recorded {}", told(step)));
            }
        }
        objections
    }

    /// Steps that reality took and that none of these runs took, not even by way of one other line.
    pub fn never_taken<'a>(&self, runs: impl IntoIterator<Item = &'a Run>) -> Vec<String> {
        let model = Steps::of(runs.into_iter().flatten());
        let ours = |step: &&Step| !model.0.contains(step) && !model.goes_by_way(step);
        self.steps().0.iter().filter(ours).map(told).collect()
    }
}

fn read(text: &str) -> Recorded {
    let mut recorded = Recorded::new();
    let mut history: Option<(usize, History)> = None;
    for line in text.lines().chain([""]) {
        if let Some(line) = line.strip_prefix("  ") {
            history.as_mut().unwrap().1.push(line.to_owned());
            continue;
        }
        if let Some((pod, history)) = history.take() {
            recorded.entry(pod).or_default().insert(history);
        }
        if let Some(number) = line.strip_prefix("pod ") {
            history = Some((number.parse().unwrap(), Vec::new()));
        }
    }
    recorded
}

/// Steps, as a graph of lines.
#[derive(Clone, Debug)]
pub struct Steps(BTreeSet<Step>);

impl Steps {
    fn of<'a>(histories: impl Iterator<Item = &'a History>) -> Self {
        Self(histories.flat_map(steps).collect())
    }

    fn after<'a>(&'a self, line: &'a str) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(move |(from, _)| from == line).map(|(_, to)| to)
    }

    fn goes_by_way(&self, (from, to): &Step) -> bool {
        self.after(from).any(|way| self.0.contains(&(way.clone(), to.clone())))
    }

    /// Somebody went over this line, and somebody else from the same line to the same line without it.
    fn is_missed_at_times(&self, line: &str) -> bool {
        let mut before = self.0.iter().filter(|(_, to)| to == line).map(|(from, _)| from);
        before.any(|from| {
            self.after(line)
                .any(|to| !to.is_empty() && self.0.contains(&(from.clone(), to.clone())))
        })
    }

    /// Whether a step is a recorded one, or several over lines that are missed at times.
    fn explain(&self, (from, to): &Step) -> bool {
        if self.0.contains(&(from.clone(), to.clone())) {
            return true;
        }
        let mut reached = BTreeSet::from([from]);
        let mut todo = vec![from];
        while let Some(place) = todo.pop() {
            for next in self.after(place) {
                if next == to {
                    return true;
                }
                let passes = !next.is_empty() && next != GONE && self.is_missed_at_times(next);
                if passes && reached.insert(next) {
                    todo.push(next);
                }
            }
        }
        false
    }
}

#[test]
fn another_order_and_another_word_are_objected_to() {
    let book = Book::read();
    let mut tried = 0;
    for (case, recorded) in &book.cases {
        let run: Run = recorded.values().filter_map(BTreeSet::first).cloned().collect();
        let objects = |pod: usize, history: History| {
            let mut other = run.clone();
            other[pod] = history;
            assert!(!book.objections(case, &other).is_empty(), "{case} may be {other:#?}");
        };
        assert_eq!(book.objections(case, &run), Vec::<String>::new(), "{case}");
        for (pod, history) in run.iter().enumerate() {
            for index in 1..history.len() {
                let (before, after) = (general(&history[index - 1]), general(&history[index]));
                // What is tried again comes in turns; a suspension is told by people, as soon as the start is.
                let both = |word: &str| before.contains(word) && after.contains(word);
                if before != after && !both("waits: ") && !both("runs, ready") {
                    let mut other = history.clone();
                    other.swap(index - 1, index);
                    objects(pod, other);
                    tried += 1;
                }
            }
            // The phase before the container's end, another exit code, no binding, an end without a finish.
            for (from, to) in [
                (
                    "Running, bound, scheduled, with address, runs",
                    "Failed, bound, scheduled, with address, runs",
                ),
                ("ended with ", "ended with 1"),
                ("bound, scheduled", "bound"),
                ("at no time; ", ""),
            ] {
                let other: History = history.iter().map(|line| line.replace(from, to)).collect();
                if other != *history {
                    objects(pod, other);
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 200, "only {tried} others were tried");
}
