//! Which call meets which fault. Invariant: a function of the seed and of the call's number alone, so that a plan can be
//! played again; which call gets which number is a matter of timing.
//!
//! The faults are those that a real API server, or the network before it, can produce. A frame of a watch is never lost on a
//! stream that goes on: TCP and the API server do not do that, and no client could notice it. It is lost with the stream's
//! end, and the client's next watch begins behind the last frame that it saw.

use std::time::Duration;

/// A fault of a call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// The operator is killed, and the call never leaves (F1).
    KillBefore,
    /// The call is carried out, and the operator killed before it is answered (F1).
    KillUnanswered,
    /// The operator is killed when it has the answer (F1).
    KillAnswered,
    /// The call is carried out, and the connection is reset (F2).
    LostReply,
    /// The call is carried out, and the connection ends in the middle of the answer (F6).
    HalfReply,
    /// So many calls to this object in a row meet a conflict, where it is a status (F3).
    Conflicts(u32),
    /// 429, with these seconds to wait, or without (F5).
    TooMany(Option<u32>),
    /// Not carried out: 500, 503 or 504 (F6).
    Refused(u16),
    /// 504, and yet it was carried out (F6).
    TimedOut,
    /// The connection is reset before the call leaves (F6).
    Reset,
    /// No answer, and never carried out; longer than the operator waits (F6).
    Hang,
    /// Carried out after this time, whether or not the operator still lives (F6).
    Late(Duration),
}

/// A fault of a question, or of the beginning of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// 410, where a list is continued (F4).
    Expired,
    /// A list comes in pages of so many objects, so that there is something to continue (F4).
    ShortPages(u32),
    /// 429, with these seconds to wait, or without (F5).
    TooMany(Option<u32>),
    /// 500, 503 or 504 (F6).
    Refused(u16),
    /// The connection is reset (F6).
    Reset,
    /// No answer for longer than the operator waits (F6).
    Hang,
    /// The connection ends in the middle of the answer (F6).
    HalfReply,
}

/// A fault of a watch, when some frames have come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// The stream is cut between two frames (F8).
    Cut,
    /// The stream is cut in the middle of a frame (F8).
    CutInFrame,
    /// So many frames are lost, and then the stream is cut (F8).
    DropAndCut(u32),
    /// A frame comes twice (F8).
    Repeat,
    /// All frames from here on come so much later (F8).
    Delay(Duration),
    /// Nothing more comes on the open socket for this time, and then the stream is cut (F8).
    Silence(Duration),
    /// 410 in the stream (F4).
    Expired,
    /// No bookmarks at all (F9).
    NoBookmarks,
}

/// A plan of faults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    seed: u64,
}

impl Plan {
    /// The plan of this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    fn chance(self, stream: u64, number: u64) -> fastrand::Rng {
        let mix = self.seed ^ stream.rotate_left(32) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut chance = fastrand::Rng::with_seed(mix);
        // The first numbers of neighbouring seeds are alike.
        chance.u64(..);
        chance.u64(..);
        chance
    }

    /// The fault of the write with this number: about one in nine has one.
    pub(super) fn write(self, number: u64) -> Option<Write> {
        let mut chance = self.chance(1, number);
        Some(match chance.u32(..1000) {
            0..7 => Write::KillBefore,
            7..14 => Write::KillUnanswered,
            14..21 => Write::KillAnswered,
            21..36 => Write::LostReply,
            36..44 => Write::HalfReply,
            44..60 => Write::Conflicts(if chance.u32(..4) == 0 { 3 } else { 1 }),
            60..75 => Write::TooMany(retry_after(&mut chance)),
            75..87 => Write::Refused(server_error(&mut chance)),
            87..93 => Write::TimedOut,
            93..105 => Write::Reset,
            105..108 => Write::Hang,
            108..116 => Write::Late(Duration::from_millis(chance.u64(50..2000))),
            _ => return None,
        })
    }

    /// The fault of the question with this number; `continues`: it is for the next page of a list.
    pub(super) fn read(self, number: u64, continues: bool) -> Option<Read> {
        let mut chance = self.chance(2, number);
        let lot = chance.u32(..1000);
        if continues && lot < 100 {
            return Some(Read::Expired);
        }
        Some(match lot {
            0..300 => Read::ShortPages(chance.u32(10..120)),
            300..310 => Read::TooMany(retry_after(&mut chance)),
            310..330 => Read::Refused(server_error(&mut chance)),
            330..350 => Read::Reset,
            350..355 => Read::Hang,
            355..370 => Read::HalfReply,
            _ => return None,
        })
    }

    /// The fault of the watch with this number, and after how many frames; half of the watches have one.
    pub(super) fn watch(self, number: u64) -> Option<(Watch, u32)> {
        let mut chance = self.chance(3, number);
        let after = chance.u32(..12);
        let fault = match chance.u32(..20) {
            0 | 1 => Watch::Cut,
            2 => Watch::CutInFrame,
            3 | 4 => Watch::DropAndCut(chance.u32(1..4)),
            5 => Watch::Repeat,
            6 => Watch::Delay(Duration::from_millis(chance.u64(100..2000))),
            7 => Watch::Silence(Duration::from_secs(chance.u64(2..20))),
            8 => Watch::Expired,
            9 => Watch::NoBookmarks,
            _ => return None,
        };
        Some((fault, after))
    }
}

fn retry_after(chance: &mut fastrand::Rng) -> Option<u32> {
    [Some(0), Some(1), None][chance.usize(..3)]
}

fn server_error(chance: &mut fastrand::Rng) -> u16 {
    [500, 503, 504][chance.usize(..3)]
}

impl Write {
    /// What it is counted as.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KillBefore => "F1 killed before a write left",
            Self::KillUnanswered => "F1 killed before a write was answered",
            Self::KillAnswered => "F1 killed after a write",
            Self::LostReply => "F2 answer lost",
            Self::HalfReply => "F6 half an answer to a write",
            Self::Conflicts(_) => "F3 conflict",
            Self::TooMany(_) => "F5 429 for a write",
            Self::Refused(_) => "F6 500, 503, 504 for a write",
            Self::TimedOut => "F6 504 for a write that was made",
            Self::Reset => "F6 connection reset before a write",
            Self::Hang => "F6 write without answer",
            Self::Late(_) => "F6 write made late",
        }
    }
}

impl Read {
    /// What it is counted as.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Expired => "F4 410 for a list's next page",
            Self::ShortPages(_) => "list in short pages",
            Self::TooMany(_) => "F5 429 for a read",
            Self::Refused(_) => "F6 500, 503, 504 for a read",
            Self::Reset => "F6 connection reset before a read",
            Self::Hang => "F6 read without answer",
            Self::HalfReply => "F6 half an answer to a read",
        }
    }
}

impl Watch {
    /// What it is counted as.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cut => "F8 watch cut",
            Self::CutInFrame => "F8 watch cut in a frame",
            Self::DropAndCut(_) => "F8 frames lost, watch cut",
            Self::Repeat => "F8 frame repeated",
            Self::Delay(_) => "F8 watch delayed",
            Self::Silence(_) => "F8 watch silent",
            Self::Expired => "F4 410 in a watch",
            Self::NoBookmarks => "F9 no bookmarks",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_plan_can_be_played_again_and_another_seed_is_another_plan() {
        let faults = |seed| (0..500).map(move |number| Plan::new(seed).write(number));
        assert!(faults(7).eq(faults(7)));
        assert!(faults(7).ne(faults(8)));
    }

    #[test]
    fn every_kind_of_fault_comes_soon() {
        for seed in 0..20 {
            let plan = Plan::new(seed);
            let writes: BTreeSet<_> =
                (0..3000).filter_map(|number| plan.write(number)).map(Write::name).collect();
            let reads: BTreeSet<_> = (0..2000)
                .filter_map(|number| plan.read(number, number % 2 == 0))
                .map(Read::name)
                .collect();
            let watches: BTreeSet<_> = (0..300)
                .filter_map(|number| plan.watch(number))
                .map(|(fault, _)| fault.name())
                .collect();
            assert_eq!((writes.len(), reads.len(), watches.len()), (12, 7, 8), "seed {seed}");
        }
    }
}
