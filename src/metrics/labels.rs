//! The values that labels may have.
//!
//! Invariant: every label's value is a constant of this file, or of a set that a type closes. What is in no set is `other`: a
//! name, a path or an error's text never becomes a label.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use std::fmt::{Error, Write as _};

/// An enum whose words are the values of a label.
macro_rules! closed {
    ($(#[$meta:meta])* $vis:vis $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the words say it")]
        $vis enum $name {
            $($variant,)+
        }

        impl $name {
            /// All of them.
            #[allow(dead_code, reason = "a test compares all that is told with this")]
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The label's value.
            pub(super) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
                encoder.write_str(self.as_str())
            }
        }
    };
}

closed! {
    /// What a decision had done, by its purpose. Several of them are the same request to the API server.
    pub Verb {
        CreatePod = "CreatePod",
        PatchStatus = "PatchStatus",
        ReleasePod = "ReleasePod",
        DeletePod = "DeletePod",
        ForgetPods = "ForgetPods",
        SuspendPod = "SuspendPod",
        Resend = "Resend",
        AnnounceStop = "AnnounceStop",
        MarkLease = "MarkLease",
        AppendPage = "AppendPage",
        MakeRecords = "MakeRecords",
        DropRecords = "DropRecords",
        KeepItems = "KeepItems",
        AnswerCommand = "AnswerCommand",
        DeleteCommand = "DeleteCommand",
        DeleteJob = "DeleteJob",
    }
}

closed! {
    /// What a request asks for, in Kubernetes' words.
    pub(super) Method {
        Get = "get",
        List = "list",
        Watch = "watch",
        Create = "create",
        Update = "update",
        Patch = "patch",
        Delete = "delete",
        DeleteCollection = "deletecollection",
        Other = "other",
    }
}

closed! {
    /// What a request is about.
    pub(super) Resource {
        Jobs = "dockeruniversejobs",
        JobsStatus = "dockeruniversejobs/status",
        Commands = "dockeruniversecommands",
        CommandsStatus = "dockeruniversecommands/status",
        Pods = "pods",
        PodsLog = "pods/log",
        ConfigMaps = "configmaps",
        Events = "events",
        Other = "other",
    }
}

closed! {
    /// What the API server answered.
    pub(super) Outcome {
        Ok = "ok",
        Absent = "absent",
        Conflict = "conflict",
        Throttled = "throttled",
        Refused = "refused",
        Failed = "failed",
        Unanswered = "unanswered",
    }
}

closed! {
    /// What is cached.
    pub Kind {
        Jobs = "jobs",
        Pods = "pods",
        Commands = "commands",
    }
}

closed! {
    /// Where a proc is: `HTCondor`'s words, and those that are not in the queue yet.
    pub(super) ProcState {
        Idle = "idle",
        Running = "running",
        Held = "held",
        Suspended = "suspended",
        Completed = "completed",
        Removed = "removed",
        Unmaterialized = "unmaterialized",
    }
}

closed! {
    /// Where a job is: each is in one of them.
    pub(super) JobState {
        New = "new",
        Idle = "idle",
        Running = "running",
        Suspended = "suspended",
        Held = "held",
        Complete = "complete",
        Failed = "failed",
    }
}

/// One label and its value.
macro_rules! label {
    ($name:ident, $label:ident: $type:ty) => {
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name {
            pub(super) $label: $type,
        }
    };
}

label!(Purpose, effect: Verb);
label!(Verbs, verb: Method);
label!(Cache, cache: Kind);
label!(OfProc, state: ProcState);
label!(OfJob, state: JobState);
label!(Condition, condition: &'static str);
label!(Because, reason: &'static str);
label!(Code, code: &'static str);
label!(Number, event: &'static str);
label!(Version, version: &'static str);

/// A request and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    pub(super) verb: Method,
    pub(super) resource: Resource,
    pub(super) outcome: Outcome,
}

/// What stands for all that is in no set.
pub(super) const OTHER: &str = "other";

/// `HTCondor`'s hold codes that this operator gives (`duj_core::hold`).
pub(super) const HOLD_CODES: [(i32, &str); 16] = [
    (1, "1"),
    (3, "3"),
    (5, "5"),
    (6, "6"),
    (12, "12"),
    (13, "13"),
    (15, "15"),
    (26, "26"),
    (32, "32"),
    (33, "33"),
    (34, "34"),
    (35, "35"),
    (36, "36"),
    (46, "46"),
    (47, "47"),
    (-1, OTHER),
];

/// `HTCondor`'s numbers of the events that this operator writes (`duj_core::userlog::Body`).
pub(super) const EVENT_NUMBERS: [(u16, &str); 21] = [
    (0, "000"),
    (1, "001"),
    (3, "003"),
    (4, "004"),
    (5, "005"),
    (6, "006"),
    (7, "007"),
    (8, "008"),
    (9, "009"),
    (10, "010"),
    (11, "011"),
    (12, "012"),
    (13, "013"),
    (21, "021"),
    (22, "022"),
    (23, "023"),
    (24, "024"),
    (28, "028"),
    (33, "033"),
    (40, "040"),
    (u16::MAX, OTHER),
];

/// The label of a number, or [`OTHER`].
pub(super) fn word<N: PartialEq>(set: &[(N, &'static str)], number: &N) -> &'static str {
    set.iter().find(|(known, _)| known == number).map_or(OTHER, |(_, word)| word)
}

/// The very word out of a set, or [`OTHER`].
pub(super) fn known(set: &[&'static str], word: &str) -> &'static str {
    set.iter().find(|known| **known == word).copied().unwrap_or(OTHER)
}
