//! What to do about the lease, from what is seen of it. Pure: no clock, no client.
//!
//! Invariant: a lease that somebody else holds is taken only when it was seen unchanged for its whole duration; one that we
//! held and that anybody else has had since is lost for good.

use super::DURATION;
use std::time::Duration;

/// A duration beyond this was not written by an operator.
const LONGEST: Duration = Duration::from_mins(1);

/// The lease as the API server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when it was given back.
    pub holder: String,
    /// How often it was taken. One number is one unbroken rule of one process.
    pub term: i32,
    /// How long its holder wants the others to wait.
    pub duration: Duration,
}

/// What a candidate knows.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The candidate's own name.
    pub me: &'a str,
    /// The term in which it leads, or led last.
    pub term: Option<i32>,
    /// Its claim has not run out.
    pub current: bool,
    /// The lease, where there is one.
    pub record: Option<&'a Record>,
    /// For how long it has been so, since we first saw it so.
    pub unchanged: Duration,
    /// It was there before.
    pub known: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make it, for this term.
    Create(i32),
    /// Take it, for this term.
    Take(i32),
    /// Renew it.
    Renew,
    /// Look again, at the latest after this time.
    Wait(Duration),
    /// Somebody else may have led since: what is remembered is worth nothing.
    Lost,
}

/// Decides.
pub fn evaluate(sight: Sight<'_>) -> Step {
    match (sight.term, sight.record) {
        (Some(term), Some(record)) if record.holder == sight.me && record.term == term => {
            // Also when the claim ran out meanwhile: nobody took it, so nobody else has written.
            Step::Renew
        }
        // Somebody deleted it. While the claim lasts nobody else leads by right.
        (Some(term), None) if sight.current => Step::Create(term),
        (Some(_), _) => Step::Lost,
        (None, None) if sight.known => after(sight.unchanged, DURATION, Step::Create(1)),
        (None, None) => Step::Create(1),
        (None, Some(record)) => {
            let take = Step::Take(record.term.saturating_add(1));
            // A name is used by one process after the other, never by two at a time.
            if record.holder.is_empty() || record.holder == sight.me {
                return take;
            }
            after(sight.unchanged, record.duration.clamp(DURATION, LONGEST), take)
        }
    }
}

fn after(passed: Duration, wanted: Duration, then: Step) -> Step {
    match wanted.checked_sub(passed) {
        None | Some(Duration::ZERO) => then,
        Some(left) => Step::Wait(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(holder: &str, term: i32) -> Record {
        Record { holder: holder.into(), term, duration: DURATION }
    }

    fn step(
        term: Option<i32>,
        current: bool,
        record: Option<&Record>,
        seconds: u64,
        known: bool,
    ) -> Step {
        let unchanged = Duration::from_secs(seconds);
        evaluate(Sight { me: "me", term, current, record, unchanged, known })
    }

    #[test]
    fn whoever_does_not_lead() {
        let wait = |seconds| Step::Wait(Duration::from_secs(seconds));
        for (case, record, seconds, known, wanted) in [
            ("there never was one", None, 0, false, Step::Create(1)),
            ("it was deleted just now", None, 0, true, wait(10)),
            ("it was deleted long ago", None, 10, true, Step::Create(1)),
            ("it was given back", Some(held("", 4)), 0, true, Step::Take(5)),
            (
                "it is our name's, from before a restart",
                Some(held("me", 4)),
                0,
                true,
                Step::Take(5),
            ),
            ("somebody holds it, just seen", Some(held("you", 4)), 0, false, wait(10)),
            ("somebody holds it, seen for a while", Some(held("you", 4)), 9, true, wait(1)),
            ("nobody renewed it", Some(held("you", 4)), 10, true, Step::Take(5)),
        ] {
            assert_eq!(step(None, false, record.as_ref(), seconds, known), wanted, "{case}");
        }
    }

    #[test]
    fn whoever_leads_or_led() {
        for (case, current, record, wanted) in [
            ("it is ours", true, Some(held("me", 4)), Step::Renew),
            ("the claim ran out, and nobody took it", false, Some(held("me", 4)), Step::Renew),
            ("somebody took it", false, Some(held("you", 5)), Step::Lost),
            ("somebody took it from under us", true, Some(held("you", 5)), Step::Lost),
            ("somebody took it and gave it back", false, Some(held("", 5)), Step::Lost),
            ("another process of our name took it", true, Some(held("me", 5)), Step::Lost),
            ("somebody emptied it by hand", true, Some(held("", 4)), Step::Lost),
            ("somebody deleted it", true, None, Step::Create(4)),
            ("somebody deleted it while we were cut off", false, None, Step::Lost),
        ] {
            assert_eq!(step(Some(4), current, record.as_ref(), 0, true), wanted, "{case}");
        }
    }

    #[test]
    fn a_duration_that_no_operator_wrote_is_bounded() {
        for (written, wanted) in [(0, 10), (1, 10), (30, 30), (86_400, 60)] {
            let record = Record { duration: Duration::from_secs(written), ..held("you", 1) };
            let wait = Step::Wait(Duration::from_secs(wanted));
            assert_eq!(step(None, false, Some(&record), 0, true), wait, "{written}");
        }
    }
}
