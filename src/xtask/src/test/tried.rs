//! What the tests tried: runs, faults, expressions, inputs, as they told (`duj_tally`).
//!
//! Invariant: each run of the tests has a file of its own; a tally that is expected and not there is an error.

use crate::image;
use anyhow::Context as _;
use duj_tally::Counts;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The file in which tests tell what they tried. It goes with this value.
pub(super) struct Tried(PathBuf);

impl Tried {
    /// A fresh file in the target directory.
    pub(super) fn nothing_yet() -> anyhow::Result<Self> {
        let directory = image::target_directory();
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let file = directory.join(format!("tried-{}.txt", std::process::id()));
        fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self(file))
    }

    pub(super) fn file(&self) -> &Path {
        &self.0
    }

    /// Who tried what: the sum of each group, and its parts below it.
    pub(super) fn table(&self) -> anyhow::Result<String> {
        let text = fs::read_to_string(&self.0)
            .with_context(|| format!("cannot read {}", self.0.display()))?;
        let told = duj_tally::read(&text)?;
        let mut groups: Vec<(&str, Counts, Vec<String>)> = Vec::new();
        for who in duj_tally::EXPECTED {
            let (group, part) = who.split_once(": ").unwrap_or((who, ""));
            let counts = told.get(*who).cloned().unwrap_or_default();
            if groups.last().is_none_or(|(last, ..)| *last != group) {
                groups.push((group, Counts::new(), Vec::new()));
            }
            if let Some((_, sum, parts)) = groups.last_mut() {
                parts.push(format!("    {part}: {}\n", in_words(&counts)));
                for (what, number) in &counts {
                    duj_tally::add(sum, what, *number);
                }
            }
        }
        let mut table = String::from("tried:\n");
        for (group, sum, parts) in groups {
            writeln!(table, "  {group}: {}", in_words(&sum))?;
            if parts.len() > 1 {
                for part in &parts {
                    table.push_str(part);
                }
            }
        }
        Ok(table)
    }
}

impl Drop for Tried {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

fn in_words(counts: &Counts) -> String {
    let words: Vec<_> = counts.iter().map(|(what, number)| format!("{number} {what}")).collect();
    words.join(", ")
}
