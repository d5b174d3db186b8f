//! What goes wrong between the operator and the API server, and when.

use crate::{chance::Chance, request::Request, request::Verb, store::Part, watch::Trouble};
use std::time::Duration;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The operator dies before the request arrives.
    KillBefore,
    /// It dies before the answer arrives.
    KillAfter,
    /// The request is carried out; its answer is a broken connection.
    AnswerLost,
    /// The request is lost, and the connection breaks.
    RequestLost,
    /// It is carried out and never answered.
    AnswerHangs,
    /// It never arrives, and is never answered.
    RequestHangs,
    /// It arrives so many milliseconds later, when nobody waits for it any more.
    Late(u64),
    /// It is refused with this code; seconds of `Retry-After`.
    Code(u16, Option<u32>),
    /// It is carried out, and answered with 504.
    DoneAndTimeout,
}

/// All that can happen to a write apart from the operator's death.
pub(crate) const TO_WRITES: [Fault; 12] = [
    Fault::AnswerLost,
    Fault::RequestLost,
    Fault::AnswerHangs,
    Fault::RequestHangs,
    Fault::Late(5_500),
    Fault::Late(12_000),
    Fault::Code(409, None),
    Fault::Code(429, Some(1)),
    Fault::Code(429, None),
    Fault::Code(500, None),
    Fault::Code(503, Some(2)),
    Fault::DoneAndTimeout,
];

impl Fault {
    /// The fault as it can befall this request: a conflict is answered to guarded changes only.
    fn befalling(self, request: &Request) -> Option<Self> {
        match self {
            Self::Code(409, _) => {
                let guarded = !request.body["metadata"]["resourceVersion"].is_null()
                    || request.part == Part::Status && request.verb == Verb::MergePatch
                    || matches!(request.verb, Verb::StrategicPatch | Verb::Replace);
                guarded.then_some(self)
            }
            fault => Some(fault),
        }
    }
}

/// When which fault happens.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Nothing,
    /// To the write with this number, counted from 0 over all operators.
    ToWrite(u64, Fault),
    /// Whatever comes, until the weather changes after so many seconds.
    Weather {
        seed: u64,
        seconds: u64,
    },
}

impl Plan {
    /// What happens to a request: `write` is its number among the writes, where it is one.
    pub(crate) fn fault(
        &self,
        request: &Request,
        write: Option<u64>,
        number: u64,
        time: Duration,
    ) -> Option<Fault> {
        let fault = match *self {
            Self::Nothing => None,
            Self::ToWrite(at, fault) => (write == Some(at)).then_some(fault),
            Self::Weather { seconds, .. } if time > Duration::from_secs(seconds) => None,
            Self::Weather { seed, .. } => {
                let mut chance = Chance::of(seed, &format!("request {number}"));
                let storm = Chance::of(seed, &format!("storm {}", time.as_secs() / 20)).one_in(4);
                if !chance.one_in(if storm { 3 } else { 12 }) {
                    None
                } else if write.is_some() && chance.one_in(6) {
                    Some(*chance.pick(&[Fault::KillBefore, Fault::KillAfter]))
                } else {
                    Some(*chance.pick(&TO_WRITES))
                }
            }
        };
        fault?.befalling(request)
    }

    /// What befalls a watch.
    pub(crate) fn trouble(&self, number: u64, time: Duration) -> Trouble {
        let Self::Weather { seed, seconds } = *self else {
            return Trouble { delay: Duration::from_millis(3), ..Trouble::default() };
        };
        let mut chance = Chance::of(seed, &format!("watch {number}"));
        let mut trouble = Trouble { delay: chance.millis(1, 50), ..Trouble::default() };
        if time > Duration::from_secs(seconds) {
            return trouble;
        }
        let after = Some(chance.below(8));
        match chance.below(8) {
            0 => trouble.cut_after = after,
            1 => trouble.silent_after = after,
            2 => trouble.expired_after = after,
            3 => trouble.twice = true,
            4 | 5 => trouble.delay = chance.millis(1000, 8000),
            _ => {}
        }
        trouble
    }
}
