//! Queue statements and texts with macros, written and random.
//!
//! Invariant: the same seed, the same cases.

use duj_api::queue::Splitting;
use fastrand::Rng;

/// Texts with macros that are compared, one a line.
pub(crate) const TEXTS: &str = include_str!("queue_texts.txt");

/// A queue statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statement {
    pub(crate) count: Option<u32>,
    pub(crate) variables: Vec<&'static str>,
    /// None: without a list.
    pub(crate) splitting: Option<Splitting>,
    pub(crate) slice: Option<String>,
    pub(crate) lines: Vec<String>,
}

impl Statement {
    /// As a submit file has it.
    pub(crate) fn written(&self) -> String {
        let mut text = "queue".to_owned();
        if let Some(count) = self.count {
            text.extend([" ", &count.to_string()]);
        }
        let Some(splitting) = self.splitting else { return text };
        if !self.variables.is_empty() {
            text.extend([" ", &self.variables.join(",")]);
        }
        text += if splitting == Splitting::Words { " in" } else { " from" };
        if let Some(slice) = &self.slice {
            text.extend([" ", slice]);
        }
        format!("{text} (\n{}\n)", self.lines.join("\n"))
    }

    /// Whether its list has no items, slices apart.
    pub(crate) fn is_empty(&self) -> bool {
        self.splitting.is_some()
            && self.lines.iter().all(|line| line.trim_matches([' ', '\t', ',']).is_empty())
    }
}

/// Chance with a seed.
pub(crate) struct Random(Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    fn one<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.0.usize(..list.len())]
    }

    pub(crate) fn statement(&mut self) -> Statement {
        let words = self.0.bool();
        let variables: &[&'static str] = if words {
            self.one(&[&[], &["x"]])
        } else {
            self.one(&[&[], &["x"], &["x", "y"], &["x", "y", "z"]])
        };
        let lines: Vec<_> = (0..self.0.usize(1..6)).map(|_| self.line()).collect();
        // Numbers beyond the list name items that are not there, in HTCondor.
        let most = i32::try_from(lines.len()).expect("a few lines");
        let slice = self.0.bool().then(|| {
            let (begin, end) = (self.place(most), self.place(most));
            let step = self.one(&["", ":", ":1", ":2", ":3"]);
            format!("[{begin}:{end}{step}]")
        });
        let count = self.0.bool().then(|| self.0.u32(1..4));
        let splitting = Some(if words { Splitting::Words } else { Splitting::Lines });
        Statement { count, variables: variables.to_vec(), splitting, slice, lines }
    }

    /// A number in a slice, or none.
    fn place(&mut self, most: i32) -> String {
        if self.0.u8(..4) == 0 { String::new() } else { self.0.i32(-1..=most).to_string() }
    }

    /// A line of an inline list: not empty, for there `HTCondor` repeats the one before, and no comment.
    fn line(&mut self) -> String {
        const PARTS: [&str; 12] =
            ["a", "b.c", "1", ",", ",", " ", "  ", "\t", "'", "\"", "é", "x=y"];
        let first = self.one(&["a", "7", "b/c", "'d", "\"e", "é"]);
        let rest = (0..self.0.usize(..8)).map(|_| self.one(&PARTS));
        let rest: String = rest.collect();
        format!("{first}{rest}")
    }

    /// A text with macros that `HTCondor` reads as we do.
    pub(crate) fn text(&mut self) -> String {
        (0..self.0.usize(1..6)).map(|_| self.part()).collect()
    }

    fn part(&mut self) -> String {
        const NAMES: [&str; 14] = [
            "word",
            "two",
            "real",
            "path",
            "file",
            "dir",
            "nested",
            "ProcId",
            "Process",
            "Step",
            "Row",
            "ClusterId",
            "JobId",
            "WORD",
        ];
        let name = self.one(&NAMES);
        match self.0.u8(..13) {
            0 => self
                .one(&["plain", " ", "-", ".", "$ ", "$$ ", "${x}", "$HOME", "(", ")", "%"])
                .into(),
            1 | 2 => format!("$({name})"),
            3 => format!("$({name}:other)"),
            4 => {
                let default = self.one(&["", "a b", "a,b", "(a)", "$(two)", "$(unknown:$(word))"]);
                format!("$(unknown:{default})")
            }
            5 => self
                .one(&[
                    "$(date +%s)",
                    "$(( 1 + 2 ))",
                    "$( two )",
                    "$(a-b)",
                    "$(a b)",
                    "$(DOLLAR)(two)",
                ])
                .into(),
            6 => format!("$$$({name})"),
            _ => self.call(),
        }
    }

    /// A call of a function.
    fn call(&mut self) -> String {
        match self.0.u8(..6) {
            0 => {
                let (number, format) = (
                    self.one(&[
                        "two", "Step", "ProcId", "7", "3+4", "-5", "7.9", "2*3.5", "1<2", "17%5",
                    ]),
                    self.one(&[
                        "", "", ",%d", ",%04d", ",%x", ",%-5d|", ",%+d", ",a%3dz", ",%o", ",%#x",
                        ",%08.3d", ",%i",
                    ]),
                );
                format!("$INT({number}{format})")
            }
            1 => {
                let (number, format) = (
                    self.one(&[
                        "two",
                        "real",
                        "Step",
                        "7",
                        "3.25",
                        "1/8.0",
                        "2.5e-10",
                        "1e300",
                        "100000000",
                        "1234567.125",
                        "0.1",
                        "-1/3.0",
                    ]),
                    self.one(&[
                        "", "", ",%f", ",%.3f", ",%e", ",%.2E", ",%g", ",%10.1f|", ",%G", ",%+.1f",
                        ",%08.2f",
                    ]),
                );
                // A long one is cut by HTCondor.
                let format = if number == "1e300" { "" } else { format };
                format!("$REAL({number}{format})")
            }
            2 => {
                let (start, length) = (self.0.i32(-7..8), self.0.i32(-7..8));
                let text = self.one(&["word", "two", "path", "nested"]);
                if self.0.bool() {
                    format!("$SUBSTR({text},{start})")
                } else {
                    format!("$SUBSTR({text},{start},{length})")
                }
            }
            3 => {
                let (index, list) = (
                    self.one(&["0", "1", "two", "Step"]),
                    self.one(&["a,b,c", "a, b b ,c", "list", "x,,y,z"]),
                );
                format!("$CHOICE({index},{list})")
            }
            _ => {
                let parts = self.one(&[
                    "", "p", "n", "x", "nx", "pn", "pnx", "d", "dn", "dnx", "db", "pb", "xb",
                    "nxb", "u", "w", "q", "qa", "nxq", "Nx", "b",
                ]);
                let path = self.one(&[
                    "path",
                    "file",
                    "dir",
                    "word",
                    "/a/b.c",
                    "a b/c.d",
                    ".hidden",
                    "x.",
                    "unknown:/q/r.s",
                ]);
                format!("$F{parts}({path})")
            }
        }
    }
}
