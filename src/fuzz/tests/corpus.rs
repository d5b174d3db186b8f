//! Every text of the corpus, every fault that was ever found, and some thousands of texts made of them, without a fuzzer.
//!
//! Invariant: the same texts at each run. What a fuzzer finds is put into `corpus/<target>` and so stays found.

use duj_fuzz::{TARGETS, Target};
use std::{fs, path::Path};

/// Expressions that are also compared with `HTCondor`.
const EXPRESSIONS: &str = include_str!("../../../tests/oracle/classad_expressions.txt");
/// Words of the language, one a line, in quotes: the fuzzer's dictionary.
const WORDS: &str = include_str!("../words.dict");

/// How many texts are made for each target.
const MADE: usize = 2_000;
/// The longest text that is made, in bytes.
const LONGEST: usize = 1_500;

/// Where random numbers come from (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) >> 8).expect("56 bits") % limit.max(1)
    }

    fn of<'a>(&mut self, texts: &'a [String]) -> &'a str {
        &texts[self.below(texts.len())]
    }

    /// A place in a text.
    fn place(&mut self, text: &str) -> usize {
        let at = self.below(text.len() + 1);
        text.floor_char_boundary(at)
    }

    /// A text made of others: cut, joined, repeated, with words put in.
    fn text(&mut self, texts: &[String], words: &[String]) -> String {
        let mut text = self.of(texts).to_owned();
        for _ in 0..=self.below(4) {
            let (a, b) = (self.place(&text), self.place(&text));
            let (start, end) = (a.min(b), a.max(b));
            match self.below(6) {
                0 => text.replace_range(start..end, ""),
                1 => text.insert_str(a, self.of(words)),
                2 => text.replace_range(start..end, self.of(words)),
                3 => text.insert_str(a, self.of(texts)),
                4 => {
                    let times = 1 + self.below(40);
                    let piece = text[start..end].repeat(times);
                    text.insert_str(end, &piece);
                }
                _ => text.extend(["\n", self.of(texts)]),
            }
            text.truncate(text.floor_char_boundary(LONGEST));
        }
        text
    }
}

fn corpus(target: &Target) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let files = fs::read_dir(&directory).expect("a target has a corpus");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read(file).expect("a text"));
    texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

/// What the fuzzer begins with: the corpus, and for expressions those that we have anyway.
fn seeds(target: &Target) -> Vec<String> {
    let mut texts = corpus(target);
    assert!(!texts.is_empty(), "'{}' has no corpus", target.name);
    if matches!(target.name, "classad" | "evaluate" | "policies") {
        let is_expression = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let lines = EXPRESSIONS.lines().filter(is_expression);
        texts.extend(lines.map(|line| line.strip_prefix("ad ").unwrap_or(line).to_owned()));
    }
    texts
}

fn try_all(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let words: Vec<String> = WORDS
        .lines()
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
        .map(|word| word.replace("\\\"", "\"").replace("\\\\", "\\"))
        .collect();
    let seeds = seeds(target);
    let mut random = Random(20_261_122);
    let mut tried = 0;
    let mut check = |text: &str| {
        tried += 1;
        // The text is printed where the check fails, and only there.
        print!("\n--- {name}, text {tried}:\n{text}");
        (target.check)(text);
    };
    for text in &seeds {
        check(text);
    }
    for _ in 0..MADE {
        check(&random.text(&seeds, &words));
    }
    duj_tally::tell(&format!("hostile input: {name}"), &[("texts", tried)]);
}

#[test]
fn classad() {
    try_all("classad");
}

#[test]
fn evaluate() {
    try_all("evaluate");
}

#[test]
fn policies() {
    try_all("policies");
}

#[test]
fn userlog() {
    try_all("userlog");
}

#[test]
fn words() {
    try_all("words");
}
