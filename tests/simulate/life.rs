//! What a job does, as its arguments tell the model kubelet: attempt by attempt, in words.
//!
//! `exit 3 after 5` runs five seconds and exits with 3; `stay then exit 0` runs until it is stopped, and its next attempt
//! ends at once. The words: `exit N`, `signal N`, `oom`, `oomchild`, `oomwhole`, `disk`, `missing`, `killed`, `evicted`, `stay`; how it takes
//! SIGTERM: `deaf`, `graceful N`; what comes before: `image SECONDS`, `noimage`, `noconfig SECONDS`, `novolume SECONDS`,
//! `starterror`, `nostarter`, `lostvolume`, `toobig`, `misplaced`; `pause A B`: its node does not answer from second A on, for B seconds.

use duj_protocol::Outcome;
use std::time::Duration;

/// How a job ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Exit(i32),
    Signal(i32),
    OutOfMemory,
    /// A child was killed for memory, and the command exited with 0.
    ChildOutOfMemory,
    /// The kernel killed all of the container, its starter included.
    WholeOutOfMemory,
    OverDisk,
    NotStarted,
    /// The whole container was killed; only the provisional record is there.
    Killed,
    /// The kubelet evicts its pod.
    Evicted,
    Never,
}

/// How it takes SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    Obeys,
    Deaf,
    Exits(i32),
}

/// What keeps its container from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    ImageBusy,
    ImageMissing,
    ConfigMissing,
    /// Told in Events only.
    VolumeMissing,
    /// The same, and the reason is that something is not there.
    VolumeLost,
    StarterMissing,
    /// No node has room for it.
    TooBig,
    /// It is for nobody to schedule, and its node has no room for it.
    Misplaced,
}

#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) ending: Ending,
    pub(crate) after: Duration,
    pub(crate) manners: Manners,
    /// What troubles it, and for how long; for ever where that is `None`.
    pub(crate) trouble: Option<(Trouble, Option<Duration>)>,
    pub(crate) start_error: bool,
    pub(crate) pause: Option<(Duration, Duration)>,
}

impl Life {
    /// What becomes of it when it is asked to end, and when; it is killed after so many seconds.
    pub(crate) fn when_asked(&self, vacate: u64) -> (Outcome, Duration) {
        match self.manners {
            Manners::Obeys => (Outcome::Signalled(15), Duration::from_millis(300)),
            Manners::Exits(code) => (Outcome::Exited(code), Duration::from_secs(2)),
            Manners::Deaf => (Outcome::Signalled(9), Duration::from_secs(vacate)),
        }
    }

    /// The life of an attempt; the last one that is told repeats.
    pub(crate) fn of(words: &[String], attempt: usize) -> Self {
        let lives: Vec<&[String]> = words.split(|word| word == "then").collect();
        Self::read(lives[attempt.min(lives.len() - 1)])
    }

    fn read(words: &[String]) -> Self {
        let mut life = Self {
            ending: Ending::Exit(0),
            after: Duration::from_secs(3),
            manners: Manners::Obeys,
            trouble: None,
            start_error: false,
            pause: None,
        };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).unwrap();
            let seconds = |number: u32| Duration::from_secs(u64::from(number));
            match word {
                "exit" => life.ending = Ending::Exit(number().cast_signed()),
                "signal" => life.ending = Ending::Signal(number().cast_signed()),
                "after" => life.after = seconds(number()),
                "oom" => life.ending = Ending::OutOfMemory,
                "oomchild" => life.ending = Ending::ChildOutOfMemory,
                "oomwhole" => life.ending = Ending::WholeOutOfMemory,
                "disk" => life.ending = Ending::OverDisk,
                "missing" => life.ending = Ending::NotStarted,
                "killed" => life.ending = Ending::Killed,
                "evicted" => life.ending = Ending::Evicted,
                "stay" => life.ending = Ending::Never,
                "deaf" => life.manners = Manners::Deaf,
                "graceful" => life.manners = Manners::Exits(number().cast_signed()),
                "image" => life.trouble = Some((Trouble::ImageBusy, Some(seconds(number())))),
                "noimage" => life.trouble = Some((Trouble::ImageMissing, None)),
                "noconfig" => {
                    life.trouble = Some((Trouble::ConfigMissing, Some(seconds(number()))));
                }
                "novolume" => {
                    life.trouble = Some((Trouble::VolumeMissing, Some(seconds(number()))));
                }
                "noregistry" => life.trouble = Some((Trouble::ImageBusy, None)),
                "lostvolume" => life.trouble = Some((Trouble::VolumeLost, None)),
                "toobig" => life.trouble = Some((Trouble::TooBig, None)),
                "misplaced" => life.trouble = Some((Trouble::Misplaced, None)),
                "nostarter" => life.trouble = Some((Trouble::StarterMissing, None)),
                "starterror" => life.start_error = true,
                "pause" => life.pause = Some((seconds(number()), seconds(number()))),
                word => panic!("a job does not know how to '{word}'"),
            }
        }
        life
    }
}
