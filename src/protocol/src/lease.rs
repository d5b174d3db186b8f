//! What stands in the lease's file, and for how long it is good.
//!
//! Invariant: a token is worth less the longer it was on its way, so that one that a node kept, or that the watch of a
//! node that was cut off tells late, does not count as new. The time of writing and the time of reading are those of two
//! clocks; they may differ by [`TOLERANCE`] without loss.

use std::{fmt, time::Duration};

/// A token that is read within this time after it was written is as good as new: the kubelet takes a second or two, and
/// the clocks of the operator's node and of the job's node differ.
pub const TOLERANCE: Duration = Duration::from_secs(10);

/// The whole content of the lease's file. Times are milliseconds since the epoch, by the operator's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A token, with the time at which it was written.
    Token(i64),
    /// All tokens before this time are void, and no other one is written until the node answers again.
    Revoked(i64),
    /// By this time the job was over, and nobody heard of its end. No token follows.
    Over(i64),
}

/// What comes before the time of a revocation.
const REVOKED: &str = "revoked ";
/// What comes before the time of the end.
const OVER: &str = "over ";

impl Mark {
    /// Stands in a pod from its creation: it renews nothing, for nobody knows when the pod's job begins.
    pub const FIRST: Self = Self::Token(0);

    /// Reads the file; `None` for whatever is neither.
    pub fn read(text: &str) -> Option<Self> {
        let (mark, time): (fn(i64) -> Self, _) = if let Some(time) = text.strip_prefix(REVOKED) {
            (Self::Revoked, time)
        } else if let Some(time) = text.strip_prefix(OVER) {
            (Self::Over, time)
        } else {
            (Self::Token, text)
        };
        time.parse().ok().map(mark)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(time) => write!(f, "{time}"),
            Self::Revoked(time) => write!(f, "{REVOKED}{time}"),
            Self::Over(time) => write!(f, "{OVER}{time}"),
        }
    }
}

/// For how long from `now` on a token is good that was written at `written`, both milliseconds since the epoch: for the
/// lease's whole duration, less what the two differ by beyond [`TOLERANCE`]. A time to come counts as one gone by: the
/// clocks do not agree, and nobody knows how old the token is.
pub fn good_for(written: i64, now: i64, duration: Duration) -> Duration {
    let late = Duration::from_millis(now.abs_diff(written)).saturating_sub(TOLERANCE);
    duration.saturating_sub(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_as_they_were_written() {
        let time = 1_771_502_067_123;
        for mark in [Mark::FIRST, Mark::Token(time), Mark::Revoked(time), Mark::Over(time)] {
            assert_eq!(Mark::read(&mark.to_string()), Some(mark));
        }
    }

    #[test]
    fn what_is_no_mark_is_not_read_as_one() {
        for text in [
            "",
            " ",
            "revoked",
            "revoked ",
            "revoked x",
            "over",
            "12s",
            "1 2",
            "99999999999999999999",
            "a",
        ] {
            assert_eq!(Mark::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_loses_what_it_was_on_its_way() {
        let (written, duration) = (1_000_000_000, Duration::from_mins(1));
        for (seconds, good) in [
            (0, 60),
            (2, 60),
            (10, 60),
            (11, 59),
            (40, 30),
            (70, 0),
            (7000, 0),
            (-3, 60),
            (-30, 40),
        ] {
            let left = good_for(written, written + seconds * 1000, duration);
            assert_eq!(left, Duration::from_secs(good), "{seconds} s later");
        }
        assert_eq!(good_for(0, written, duration), Duration::ZERO, "the first token");
        assert_eq!(good_for(i64::MIN, i64::MAX, duration), Duration::ZERO);
    }
}
