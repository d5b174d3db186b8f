//! Checkpoints of a job that saves its own state: between two runs of its command, the program that transfers takes its files
//! (`HTCondor`'s §2.8).
//!
//! Invariant: each checkpoint has its own number, and an answer counts only with the number that was asked for.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use duj_protocol::transfer::handshake;

use crate::handshake::{put, read};

/// Time between two looks for the answer.
const INTERVAL: Duration = Duration::from_millis(100);
/// What an answer has beyond this many bytes is not looked at.
const MOST: u64 = 4096;

/// What the program that transfers says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The checkpoint is whole at its destination.
    Saved,
    /// It was given up, and why.
    Failed(String),
}

/// The checkpoints of one job.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    code: i32,
    directory: PathBuf,
    /// Of the last one, 0 before the first.
    number: u64,
    /// When to look for its answer, while there is none.
    next: Option<Instant>,
}

impl Checkpoints {
    /// For a command that exits with `code` where it wants one.
    pub(crate) fn new(code: i32, directory: &Path) -> Self {
        Self { code, directory: directory.to_owned(), number: 0, next: None }
    }

    /// The exit code that asks for a checkpoint.
    pub(crate) fn code(&self) -> i32 {
        self.code
    }

    /// Whether an answer is waited for.
    pub(crate) fn is_asked(&self) -> bool {
        self.next.is_some()
    }

    /// When to look for it, if one is waited for.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Asks for the next one.
    pub(crate) fn ask(&mut self, now: Instant) -> io::Result<()> {
        self.number += 1;
        put(&self.directory, handshake::CHECKPOINT_WANTED, &self.number.to_string())?;
        self.next = Some(now + INTERVAL);
        Ok(())
    }

    /// Looks for the answer where it is time to.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Answer> {
        self.next.filter(|next| now >= *next)?;
        self.next = Some(now + INTERVAL);
        let saved = self.read(handshake::CHECKPOINT_SAVED);
        if self.is_meant(saved.trim()) {
            return Some(Answer::Saved);
        }
        let failed = self.read(handshake::CHECKPOINT_FAILED);
        let (number, why) = failed.trim().split_once(' ').unwrap_or((failed.trim(), ""));
        self.is_meant(number).then(|| Answer::Failed(one_line(why)))
    }

    /// The command goes on, or will not.
    pub(crate) fn done(&mut self) {
        self.next = None;
    }

    fn read(&self, name: &str) -> String {
        let content = read(&self.directory, name, MOST).unwrap_or_default();
        String::from_utf8_lossy(&content).into_owned()
    }

    fn is_meant(&self, number: &str) -> bool {
        number.parse() == Ok(self.number)
    }
}

fn one_line(why: &str) -> String {
    why.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let directory =
            std::env::temp_dir().join(format!("starter-checkpoint-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let mut checkpoints = Checkpoints::new(85, &directory);
        let now = Instant::now();
        let later = now + INTERVAL;
        assert_eq!(checkpoints.look(later), None, "nothing was asked");
        checkpoints.ask(now).unwrap();
        checkpoints.ask(now).unwrap();
        assert_eq!(fs::read_to_string(directory.join("checkpoint-wanted")).unwrap(), "2");
        assert_eq!(checkpoints.look(now), None, "it is too early");
        for (file, content, answer) in [
            ("saved", "", None),
            ("saved", "1", None),
            ("saved", "3", None),
            ("saved", "two", None),
            ("failed", "1 no space", None),
            ("failed", "2 no\nspace \n", Some(Answer::Failed("no space".into()))),
            ("failed", "2", Some(Answer::Failed(String::new()))),
            ("saved", "2\n", Some(Answer::Saved)),
        ] {
            fs::write(directory.join(format!("checkpoint-{file}")), content).unwrap();
            assert_eq!(checkpoints.look(later + INTERVAL * 9), answer, "{file} {content:?}");
            checkpoints.next = Some(now);
        }
        checkpoints.done();
        assert_eq!(checkpoints.look(later), None);
        fs::remove_dir_all(directory).unwrap();
    }
}
