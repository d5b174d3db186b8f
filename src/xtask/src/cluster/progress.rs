//! What a long command says while it works. Invariant: lines go to standard error, so that standard
//! output stays what the command was asked for.

use std::time::{Duration, Instant};

/// Lines with the time since the command began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    begin: Instant,
}

impl Progress {
    /// Begins now.
    pub(super) fn begin() -> Self {
        Self { begin: Instant::now() }
    }

    /// Says what happens next, or what was found.
    pub(super) fn say(self, text: impl AsRef<str>) {
        eprintln!("[{:>8}] {}", spell(self.begin.elapsed()), text.as_ref());
    }
}

/// `1.2 s` below a minute, `2 m 05 s` above.
pub(super) fn spell(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} m {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(spell(Duration::from_millis(4_560)), "4.6 s");
        assert_eq!(spell(Duration::from_secs(125)), "2 m 05 s");
    }
}
