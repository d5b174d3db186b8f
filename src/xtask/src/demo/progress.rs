//! How far a job of many procs is, shown while it runs: one line that changes on a terminal, else a line every few seconds.

use serde_json::Value;
use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// From so many procs on it is shown.
pub(super) const MANY: i64 = 20;
/// How often it is told where nothing can be written over.
const TELL: Duration = Duration::from_secs(5);
/// Characters of the bar.
const BAR: usize = 40;

/// The counts of a job's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    done: i64,
    running: i64,
    idle: i64,
    held: i64,
    pub(super) total: i64,
}

impl Counts {
    /// As the job has them.
    pub(super) fn of(job: &Value) -> Self {
        let count = |name: &str| job["status"]["counts"][name].as_i64().unwrap_or_default();
        Self {
            done: count("completed") + count("removed"),
            running: count("running") + count("suspended"),
            idle: count("idle") + count("unmaterialized"),
            held: count("held"),
            total: count("total"),
        }
    }

    fn line(&self) -> String {
        let Self { done, running, idle, held, total } = self;
        let part = usize::try_from(*done).unwrap_or_default() * BAR
            / usize::try_from(*total).unwrap_or_default().max(1);
        let bar = format!("{}{}", "#".repeat(part), ".".repeat(BAR.saturating_sub(part)));
        format!("[{bar}] {done:4} done {running:4} run {idle:4} idle {held:4} hold, of {total}")
    }
}

/// What was shown so far.
pub(super) struct Progress {
    begun: Instant,
    /// When the counts changed last.
    pub(super) moved: Instant,
    last: Counts,
    told: Option<Instant>,
    terminal: bool,
}

impl Progress {
    /// Nothing yet.
    pub(super) fn begin() -> Self {
        let (begun, last) = (Instant::now(), Counts::default());
        let terminal = std::io::stdout().is_terminal();
        Self { begun, moved: begun, last, told: None, terminal }
    }

    /// The job as it is now; `ended` where it will not change any more.
    pub(super) fn see(&mut self, counts: Counts, ended: bool) {
        let changed = counts != self.last;
        if changed {
            (self.last, self.moved) = (counts, Instant::now());
        }
        if counts.total < MANY {
            return;
        }
        let due = self.told.is_none_or(|told| told.elapsed() >= TELL);
        if !(ended || changed && (self.terminal || due)) {
            return;
        }
        self.told = Some(Instant::now());
        let line = format!("{:4} s  {}", self.begun.elapsed().as_secs(), counts.line());
        if self.terminal {
            print!("\r{line}{}", if ended { "\n" } else { "" });
            // It is only shown.
            let _ = std::io::stdout().flush();
        } else {
            println!("{line}");
        }
    }
}

/// A text of many lines, without those in the middle.
pub(super) fn shortened(text: &str, first: usize, last: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let left_out = lines.len().saturating_sub(first + last);
    if left_out == 0 {
        return text.to_owned();
    }
    let head = lines.iter().take(first).map(|line| format!("{line}\n"));
    let tail = lines.iter().skip(first + left_out).map(|line| format!("{line}\n"));
    head.chain([format!("[... {left_out} lines ...]\n")]).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_are_read_as_people_speak_of_them() {
        let counts = json!({
            "completed": 80, "removed": 20, "running": 30, "suspended": 1, "idle": 2,
            "unmaterialized": 66, "held": 1, "total": 200,
        });
        let counts = Counts::of(&json!({ "status": { "counts": counts } }));
        assert_eq!(
            counts.line(),
            "[####################....................]  100 done   31 run   68 idle    1 hold, of 200"
        );
        assert_eq!(Counts::of(&json!({})), Counts::default());
    }

    #[test]
    fn the_middle_is_left_out() {
        assert_eq!(shortened("a\nb\nc\n", 2, 1), "a\nb\nc\n");
        assert_eq!(shortened("a\nb\nc\nd\ne\n", 2, 1), "a\nb\n[... 2 lines ...]\ne\n");
    }
}
