//! Asks `HTCondor`'s own library whether we read, write and evaluate expressions as it does.
//!
//! No cluster is needed; see `oracle` for what is. Where we mean to differ stands in [`known`], and
//! with the reason in `docs/htcondor-differences.md`.

#[path = "oracle/classad.rs"]
mod generate;
mod oracle;

use std::{collections::BTreeMap, time::Instant};

use duj_core::classad::{ClassAd, Context, Expr, Value};
use generate::{Generator, Random, Style};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

const EVALUATE: &str = include_str!("oracle/classad_evaluate.py");
const EXPRESSIONS: &str = include_str!("oracle/classad_expressions.txt");

/// How many random expressions are compared, and over how many random ads.
const RANDOM: usize = 60_000;
const ADS: usize = 600;

/// A text, how its strings are written, and the ad over which it is evaluated.
#[derive(Debug)]
struct Case {
    ad: usize,
    text: String,
    old: bool,
}

/// What `HTCondor` makes of an expression; see `oracle/classad_evaluate.py`.
#[derive(Debug, Deserialize)]
struct Answer {
    new: String,
    old: String,
    value: Option<String>,
}

fn parse(text: &str, old: bool) -> Option<Expr> {
    if old { Expr::parse(text) } else { Expr::parse_new(text) }.ok()
}

/// An ad from its text, `[…]`.
fn ad(text: &str) -> ClassAd {
    let expr = Expr::parse_new(text).unwrap_or_else(|e| panic!("{e}\n{}", e.caret(text)));
    match expr.evaluate(&ClassAd::new(), &context()) {
        Value::Ad(nested) => nested.ad().clone(),
        other => panic!("{text} is {other}"),
    }
}

fn context() -> Context {
    Context { now: Timestamp::from_second(1_700_000_000).expect("a time"), seed: 1 }
}

/// What `HTCondor` says to each case.
fn ask(ads: &[String], cases: &[Case]) -> Vec<Option<Answer>> {
    let mut input = String::new();
    let mut current = None;
    for case in cases {
        if current != Some(case.ad) {
            input += &json!({ "ad": ads[case.ad] }).to_string();
            input.push('\n');
            current = Some(case.ad);
        }
        input += &json!({ "text": case.text, "old": case.old }).to_string();
        input.push('\n');
    }
    let output = oracle::run(EVALUATE, "-", &input, "UTC");
    let answers: Vec<_> =
        output.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect();
    assert_eq!(answers.len(), cases.len(), "HTCondor did not answer all");
    answers
}

/// One thing in which we are not `HTCondor`.
#[derive(Debug)]
struct Difference<'a> {
    case: &'a Case,
    what: &'static str,
    ours: String,
    theirs: String,
}

/// Compares one case; what differs is listed.
fn compare<'a>(case: &'a Case, ad: &ClassAd, theirs: Option<&Answer>) -> Vec<Difference<'a>> {
    let difference = |what, ours: &str, theirs: &str| Difference {
        case,
        what,
        ours: ours.to_owned(),
        theirs: theirs.to_owned(),
    };
    let ours = parse(&case.text, case.old);
    let (ours, theirs) = match (ours, theirs) {
        (None, None) => return vec![],
        (Some(ours), None) => return vec![difference("read", &ours.to_string(), "refused")],
        (None, Some(theirs)) => return vec![difference("read", "refused", &theirs.new)],
        (Some(ours), Some(theirs)) => (ours, theirs),
    };
    if theirs.value.as_deref() == Some("crashed") {
        return vec![difference("life", "", "crashed")];
    }
    let value = ours.evaluate(ad, &context()).new_form().to_string();
    // Where there is no value for HTCondor, it is an error for us.
    let expected = theirs.value.as_deref().unwrap_or("error");
    let all = [
        difference("new form", &ours.new_form().to_string(), &theirs.new),
        difference("old form", &ours.to_string(), &theirs.old),
        difference("value", &value, expected),
    ];
    all.into_iter().filter(|difference| difference.ours != difference.theirs).collect()
}

/// Why a difference is meant, if it is. The headings of `docs/htcondor-differences.md`.
fn known(difference: &Difference<'_>) -> Option<&'static str> {
    let Difference { case, what, ours, theirs } = difference;
    if *what == "life" {
        return Some("HTCondor's process ends");
    }
    if *what == "value" && whole_seconds(ours) == *theirs {
        return Some("the bindings cut the fractions of a duration");
    }
    // `-2147483648` in all parts.
    if theirs.contains("relTime(\"--24855+-3:-14:-8\")") {
        return Some("durations beyond 68 years are written right");
    }
    let expr = if case.old { Expr::parse(&case.text) } else { Expr::parse_new(&case.text) };
    match &expr {
        Err(fault) if fault.message == "this number is too large" => {
            return Some("numbers that are too large are refused");
        }
        Err(fault) if fault.message == "this string is not UTF-8" => {
            return Some("strings are UTF-8");
        }
        Err(_) if case.text.contains("..") => return Some("'..' is refused"),
        Ok(expr) if case.old && is_time(expr) => {
            return Some(
                "the bindings change times that are all of an attribute in the old syntax",
            );
        }
        _ => {}
    }
    if ours.contains(r"\357\277\275") {
        return Some("strings are UTF-8");
    }
    let least = case.text.contains("-9223372036854775808");
    if least && case.text.to_ascii_lowercase().contains("time") {
        return Some("moments are between the years -9999 and 9999");
    }
    if case.text.to_ascii_lowercase().contains("unparse") && theirs.contains("\\n") {
        return Some("unparse() writes lists and ads in one line");
    }
    None
}

/// Whether an expression is a time, or a list in which one stands.
fn is_time(expr: &Expr) -> bool {
    matches!(expr.literal(), Some(Value::RelativeTime(_) | Value::AbsoluteTime { .. }))
        || expr.to_string().starts_with("{ ") && expr.to_string().contains("Time(\"")
}

/// The durations in a text without their fractions.
fn whole_seconds(text: &str) -> String {
    let mut parts = text.split("relTime(\"");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (duration, rest) = part.split_once('"').expect("a duration is closed");
        let duration = match duration.split_once('.') {
            Some((duration, _)) => {
                let at = duration.rfind([':', '-']).map_or(0, |at| at + 1);
                let whole = format!("{}{:0>2}", &duration[..at], &duration[at..]);
                if whole == "-00" { "00".to_owned() } else { whole }
            }
            None => duration.to_owned(),
        };
        whole.extend(["relTime(\"", &duration, "\"", rest]);
    }
    whole
}

/// Compares all cases and fails for what differs without being known.
fn judge(name: &str, ads: &[String], cases: &[Case]) {
    let start = Instant::now();
    let answers = ask(ads, cases);
    let asked = start.elapsed();
    let ads: Vec<ClassAd> = ads.iter().map(|text| ad(text)).collect();
    let mut known_differences: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut unknown, mut excused) = (Vec::new(), 0);
    let mut values: BTreeMap<&str, usize> = BTreeMap::new();
    for (case, theirs) in cases.iter().zip(&answers) {
        *values.entry(kind(theirs.as_ref())).or_default() += 1;
        let differences = compare(case, &ads[case.ad], theirs.as_ref());
        excused += u64::from(!differences.is_empty());
        for difference in differences {
            match known(&difference) {
                Some(reason) => *known_differences.entry(reason).or_default() += 1,
                None => unknown.push(difference),
            }
        }
    }
    println!(
        "{name}: {} expressions compared with HTCondor in {:?} (it took {asked:?}); their values: \
         {values:?}; known differences: {known_differences:?}",
        cases.len(),
        start.elapsed(),
    );
    for Difference { case, what, ours, theirs } in unknown.iter().take(60) {
        println!("{what} of {} (old: {}, ad {})", case.text, case.old, case.ad);
        println!("    ours   {ours}\n    theirs {theirs}");
    }
    assert!(unknown.is_empty(), "{} differences", unknown.len());
    let compared = u64::try_from(cases.len()).expect("a number");
    duj_tally::tell(
        &format!("HTCondor's evaluator: {name}"),
        &[("expressions", compared), ("that differ as documented", excused)],
    );
}

/// What sort of value it is, for the statistics that show whether the comparison means something.
fn kind(answer: Option<&Answer>) -> &'static str {
    match answer.map(|answer| answer.value.as_deref().unwrap_or("failed")) {
        None => "refused",
        Some("failed") => "failed",
        Some("undefined") => "undefined",
        Some("error") => "error",
        Some("true" | "false") => "boolean",
        Some(value) if value.starts_with('"') => "string",
        Some(value) if value.starts_with('{') => "list",
        Some(value) if value.starts_with('[') => "ad",
        Some(value) if value.contains("Time(") => "time",
        Some(_) => "number",
    }
}

#[test]
fn known_expressions() {
    let mut ads = Vec::new();
    let mut cases = Vec::new();
    for line in EXPRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(text) = line.strip_prefix("ad ") {
            ads.push(text.to_owned());
            continue;
        }
        let ad = ads.len().checked_sub(1).expect("an ad stands first");
        cases.push(Case { ad, text: line.to_owned(), old: false });
        // HTCondor does not look at what follows an expression in the old syntax.
        let differs = line.contains(['\\', '\'']) || line.contains("\" \"");
        if parse(line, false).is_some() && !differs {
            cases.push(Case { ad, text: line.to_owned(), old: true });
        }
    }
    judge("known expressions", &ads, &cases);
}

#[test]
fn random_expressions() {
    let mut random = Random(20_261_122);
    let ads: Vec<String> = (0..ADS).map(|_| generate::ad(&mut random)).collect();
    let mut cases = Vec::new();
    for index in 0..RANDOM {
        let old = index % 4 == 3;
        let style = Style { old, simple: false };
        let mut generator = Generator { random: &mut random, style };
        let text = generator.expr(1 + index % 5);
        let text = if index % 29 == 0 && !old { generator.broken(&text) } else { text };
        cases.push(Case { ad: index * ADS / RANDOM, text, old });
    }
    judge("random expressions", &ads, &cases);
}
