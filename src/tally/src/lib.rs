//! How tests tell `cargo xtask test` what they tried: how many runs, faults, expressions, inputs.
//!
//! A test calls [`tell`] after its last assertion; where [`VARIABLE`] names a file, a line is appended to it, and where it
//! is not set, nothing happens. Invariant: only what is named in [`EXPECTED`] can be told, so that a count that is missing
//! at the end is seen to be missing.

use std::{collections::BTreeMap, env, fs::OpenOptions, io, io::Write as _};

/// The environment variable that names the file.
pub const VARIABLE: &str = "DOCKER_UNIVERSE_TALLY";

/// Everything that tells what it tried: a group, and after the colon its part.
pub const EXPECTED: &[&str] = &[
    "simulation: undisturbed",
    "simulation: dead before and after every write",
    "simulation: faults of every write",
    "simulation: two operators at a time",
    "simulation: one of two operators leads",
    "simulation: one of two operators leads in any weather",
    "simulation: plots in any weather",
    "simulation: anything in any weather",
    "simulation: anything with a lease",
    "HTCondor's evaluator: known expressions",
    "HTCondor's evaluator: random expressions",
    "HTCondor's submit translator: known statements",
    "HTCondor's submit translator: random statements",
    "HTCondor's submit translator: known macros",
    "HTCondor's submit translator: random macros",
    "HTCondor's log reader: our logs",
    "HTCondor's log reader: its own logs",
    "hostile input: classad",
    "hostile input: evaluate",
    "hostile input: policies",
    "hostile input: userlog",
    "hostile input: words",
    PROPERTIES,
];

/// Where the cases of all properties are counted.
const PROPERTIES: &str = "properties: random cases";

/// Numbers with what they count, in the order in which they were told.
pub type Counts = Vec<(String, u64)>;

/// Tells what was tried.
///
/// # Panics
/// Where nobody expects it, or it cannot be written: a test that cannot tell has failed.
pub fn tell(who: &str, counts: &[(&str, u64)]) {
    assert!(EXPECTED.contains(&who), "'{who}' is not in `duj_tally::EXPECTED`");
    let Some(path) = env::var_os(VARIABLE) else { return };
    let line = counts
        .iter()
        .fold(who.to_owned(), |line, (what, number)| format!("{line}\t{number} {what}"));
    // One write, so that the lines of processes at the same time stay whole.
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    assert!(written.is_ok(), "cannot tell what was tried: {written:?}");
}

/// The number of cases of one property, which is also told. A property that fails ends the run, so it may tell first.
pub fn cases(cases: u32) -> u32 {
    tell(PROPERTIES, &[("properties", 1), ("cases", cases.into())]);
    cases
}

/// Reads what was told; who told more than once is summed.
///
/// # Errors
/// Where a line is none of ours, or somebody in [`EXPECTED`] said nothing.
pub fn read(text: &str) -> io::Result<BTreeMap<String, Counts>> {
    let mut told: BTreeMap<String, Counts> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let counts = told.entry(fields.next().unwrap_or_default().to_owned()).or_default();
        for field in fields {
            let parsed = field.split_once(' ').and_then(|(n, what)| Some((n.parse().ok()?, what)));
            let (number, what) =
                parsed.ok_or_else(|| io::Error::other(format!("'{line}' is no tally")))?;
            add(counts, what, number);
        }
    }
    let silent: Vec<_> = EXPECTED.iter().filter(|who| !told.contains_key(**who)).collect();
    if silent.is_empty() {
        Ok(told)
    } else {
        Err(io::Error::other(format!("these tests did not tell what they tried: {silent:?}")))
    }
}

/// Adds a number to the one that counts the same.
pub fn add(counts: &mut Counts, what: &str, number: u64) {
    match counts.iter_mut().find(|(known, _)| known == what) {
        Some((_, sum)) => *sum += number,
        None => counts.push((what.to_owned(), number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> String {
        let lines: Vec<_> =
            EXPECTED.iter().map(|who| format!("{who}\t2 runs\t3 faults\n")).collect();
        lines.concat()
    }

    #[test]
    fn who_tells_twice_is_summed() {
        let told = read(&format!("{}{}\t5 faults\n", all(), EXPECTED[0])).expect("tallies");
        assert_eq!(told[EXPECTED[0]], [("runs".to_owned(), 2), ("faults".to_owned(), 8)]);
        assert_eq!(told[EXPECTED[1]], [("runs".to_owned(), 2), ("faults".to_owned(), 3)]);
    }

    #[test]
    fn who_is_silent_is_named() {
        let text = all().replace(EXPECTED[3], EXPECTED[2]);
        let error = read(&text).expect_err("one is missing").to_string();
        assert!(error.contains(EXPECTED[3]) && !error.contains(EXPECTED[2]), "{error}");
    }

    #[test]
    fn what_is_no_tally_is_refused() {
        assert!(read(&format!("{}{}\tmany runs\n", all(), EXPECTED[0])).is_err());
    }
}
