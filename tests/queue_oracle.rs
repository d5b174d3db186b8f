//! Asks `HTCondor`'s own submit translator whether we make the same procs of a list, and the same texts of macros.
//!
//! No cluster is needed; see `oracle` for what is. Where we mean to differ stands in [`known`], and with the reason in
//! `docs/htcondor-differences.md`.

#[path = "oracle/queue.rs"]
mod generate;
mod oracle;

use duj_api::queue::{ItemsKey, Queue, QueueItems, Splitting};
use duj_core::{
    macros::{self, Scope},
    queue::Items,
};
use generate::{Random, Statement};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

const SUBMIT: &str = include_str!("oracle/submit_jobs.py");

/// How many random statements and texts are compared.
const RANDOM: usize = 1_500;

/// What the submit files say of variables that are no items: `HTCondor`'s own macros, ours from a row.
const SETTINGS: [(&str, &str); 8] = [
    ("word", "abcdef"),
    ("two", "2"),
    ("real", "3.25"),
    ("path", "/data/run.1/in put.tar.gz"),
    ("file", "plain.txt"),
    ("dir", "a/b/"),
    ("list", "p, q r,s"),
    ("nested", "$(two)x$(word)"),
];

/// A text, the statement behind it, and what `HTCondor` makes of both.
struct Case {
    statement: Statement,
    text: String,
}

impl Case {
    fn submit_file(&self) -> String {
        let settings = SETTINGS.map(|(name, value)| format!("{name} = {value}\n")).concat();
        let Self { statement, text } = self;
        // Between bars, because blanks at the ends of a line are not kept.
        format!(
            "executable = /bin/true\n{settings}description = |{text}|\n{}\n",
            statement.written()
        )
    }

    /// What each of our procs is told. `Err` where we refuse it.
    fn ours(&self) -> Result<Vec<String>, String> {
        let Statement { count, variables, splitting, slice, lines } = &self.statement;
        let items = splitting.map(|splitting| {
            Arc::new(QueueItems {
                config_map_key_ref: Some(ItemsKey::default()),
                splitting: Some(splitting),
                variables: variables.iter().map(|&name| name.to_owned()).collect(),
                slice: slice.clone(),
                ..QueueItems::default()
            })
        });
        let text = lines.join("\n");
        let queue = Queue { count: *count, items, ..Queue::default() };
        let items = Items::read(Some(&queue), Some(&text))?;
        (0..items.total_procs())
            .map(|proc| {
                let mut place = items.place(proc);
                place.variables.extend(SETTINGS);
                let scope = Scope {
                    uid: "0a1b2c3d",
                    cluster_id: 7,
                    proc,
                    place,
                    submitted: "2026-03-01T12:00:00Z".parse().expect("a time"),
                };
                macros::expand(&self.text, "description", &scope).map(|text| format!("|{text}|"))
            })
            .collect()
    }
}

/// What `HTCondor` makes of each case; nothing where it refuses it.
fn ask(cases: &[Case]) -> Vec<Option<Vec<String>>> {
    let input: String =
        cases.iter().map(|case| json!({ "text": case.submit_file() }).to_string() + "\n").collect();
    let output = oracle::run_submit(SUBMIT, &input);
    let answers: Vec<_> =
        output.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect();
    assert_eq!(answers.len(), cases.len(), "HTCondor did not answer all");
    answers
}

/// Why a difference is meant, if it is. The headings of `docs/htcondor-differences.md`.
fn known(
    case: &Case,
    ours: &Result<Vec<String>, String>,
    theirs: Option<&[String]>,
) -> Option<&'static str> {
    let text = &case.text;
    if ours.is_err() && theirs.is_some_and(<[String]>::is_empty) {
        return Some("a list without items holds the job");
    }
    // `queue in ()` is one job of HTCondor's bindings, and none of its condor_submit.
    if ours.is_err() && case.statement.is_empty() {
        return Some("a list without items holds the job");
    }
    if ours.as_ref().is_err_and(|fault| fault.contains("is not the number of an item")) {
        return Some("a choice beyond the list is an error");
    }
    let one_quote =
        |ours: &Vec<String>| ours.iter().map(|text| text.replace("\"\"", "\"")).collect::<Vec<_>>();
    if ours.as_ref().is_ok_and(|ours| theirs == Some(&*one_quote(ours))) {
        return Some("the quotes of an empty part of a path are two");
    }
    if text.starts_with("$$(") {
        return Some("two dollars keep a macro from being replaced");
    }
    None
}

/// Compares all cases and fails for what differs without being known.
fn judge(name: &str, cases: &[Case]) {
    let answers = ask(cases);
    let (mut differ, mut refused, mut procs) = (Vec::new(), 0, 0);
    let mut excused: BTreeMap<&str, u64> = BTreeMap::new();
    for (case, theirs) in cases.iter().zip(&answers) {
        let ours = case.ours();
        refused += u64::from(theirs.is_none());
        procs += theirs.as_ref().map_or(0, Vec::len);
        let same = match (&ours, theirs) {
            (Ok(ours), Some(theirs)) => ours == theirs,
            (Err(_), None) => true,
            _ => false,
        };
        if !same {
            match known(case, &ours, theirs.as_deref()) {
                Some(reason) => *excused.entry(reason).or_default() += 1,
                None => differ.push((case, ours, theirs)),
            }
        }
    }
    println!(
        "{name}: {} submit files with {procs} jobs compared with HTCondor, of which it refused {refused}; known differences: {excused:?}",
        cases.len()
    );
    for (case, ours, theirs) in differ.iter().take(40) {
        println!("{}    ours   {ours:?}\n    theirs {theirs:?}", case.submit_file());
    }
    assert!(differ.is_empty(), "{} differences", differ.len());
    let compared = u64::try_from(cases.len()).expect("a number");
    duj_tally::tell(
        &format!("HTCondor's submit translator: {name}"),
        &[("submit files", compared), ("that differ as documented", excused.values().sum())],
    );
}

/// What tells a proc's place, whatever its variables are.
const PLACE: &str = "$(Process) $(ProcId) $(JobId) $(Step) $(Row) $(ItemIndex) <$(Item)> [$(x:none)] [$(y:none)] [$(z:none)]";

fn place(statement: Statement) -> Case {
    Case { statement, text: PLACE.into() }
}

#[test]
fn known_statements() {
    let list =
        |splitting, variables: &[&'static str], slice: Option<&str>, lines: &[&str]| Statement {
            count: None,
            variables: variables.to_vec(),
            splitting: Some(splitting),
            slice: slice.map(str::to_owned),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
    let (lines, words) = (Splitting::Lines, Splitting::Words);
    let mut cases = vec![
        Statement::default(),
        Statement { count: Some(3), ..Statement::default() },
        list(words, &[], None, &["a b, c,,d", "e ,f"]),
        list(words, &["x"], None, &["a,b", "\"c d\""]),
        list(lines, &[], None, &["a b", "c,d", "  e  "]),
        list(lines, &["x"], None, &[" a b , c "]),
        list(lines, &["x", "y"], None, &["2 baz,qux", "a, b", "c ,d", "e", "f\tg\th", "i  j  k"]),
        list(lines, &["x", "y", "z"], None, &["1 2 3,4", "1,,3", " , ,", "1, 2 3, 4 5", "'1 2' 3"]),
        list(lines, &["x", "y"], None, &["\"a b\" c", "\"a,b\",c"]),
        Statement { count: Some(2), ..list(words, &[], None, &["a b c"]) },
        Statement {
            count: Some(3),
            ..list(lines, &["x", "y"], Some("[1:]"), &["a 1", "b 2", "c 3"])
        },
    ];
    for slice in [
        "[:]", "[1:]", "[:2]", "[-2:]", "[:-1]", "[::2]", "[1:4:2]", "[3:1]", "[9:]", "[+1:]",
        "[1:1]", "[:9]",
    ] {
        cases.push(list(words, &[], Some(slice), &["a b c d e"]));
        cases.push(list(lines, &["x", "y"], Some(slice), &["a 1", "b 2", "c 3", "d 4"]));
    }
    judge("known statements", &cases.into_iter().map(place).collect::<Vec<_>>());
}

#[test]
fn random_statements() {
    let mut random = Random::new(20_261_123);
    let cases: Vec<_> = (0..RANDOM).map(|_| place(random.statement())).collect();
    judge("random statements", &cases);
}

#[test]
fn known_macros() {
    let texts = generate::TEXTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let statement = || Statement {
        count: Some(2),
        variables: vec!["x", "y"],
        splitting: Some(Splitting::Lines),
        slice: None,
        lines: vec!["one/x.txt, two words,three".into(), "-7 3.25".into()],
    };
    let cases: Vec<_> =
        texts.map(|text| Case { statement: statement(), text: text.to_owned() }).collect();
    judge("known macros", &cases);
}

#[test]
fn random_macros() {
    let mut random = Random::new(20_261_124);
    let cases: Vec<_> = (0..RANDOM)
        .map(|_| Case {
            text: random.text(),
            statement: Statement { count: Some(2), ..Statement::default() },
        })
        .collect();
    judge("random macros", &cases);
}
