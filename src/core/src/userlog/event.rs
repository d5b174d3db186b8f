//! What a user log says, as values: one [`Event`] for each entry, with the fields of its kind.
//!
//! The kinds are those that this operator writes, with the numbers and fields of `HTCondor`'s
//! `condor_event.h`. Invariant: every value can be written, and is read back as it was.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;

use super::{Attribute, Cluster, Line, Name, ResourceTable};

/// `ClusterId.ProcId`: what an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId {
    /// `ClusterId`.
    pub cluster: u32,
    /// `ProcId`; -1 where `HTCondor` speaks of the whole cluster.
    pub proc: i32,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.cluster, self.proc)
    }
}

/// One entry of the log. Its `Display` is the whole entry with the terminating `...` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The job it is about.
    pub job: JobId,
    /// When it happened; written to the second.
    pub time: Timestamp,
    /// What happened.
    pub body: Body,
}

impl Event {
    /// Appends the entry to a log's text.
    pub fn append_to(&self, log: &mut String) {
        use fmt::Write as _;
        write!(log, "{self}").expect("a String takes all text");
    }
}

/// What happened; the number in front is `HTCondor`'s event number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// 000: the job was put in the queue.
    Submit {
        /// Who took it, e.g. `<10.0.0.2:9618?alias=…>`.
        host: Name,
        /// Notes, e.g. `[ DAGNodeName = "A" ]`; `HTCondor`'s reader keeps two.
        notes: Vec<Line>,
        /// What the submitter was warned of; empty for nothing.
        warning: Line,
    },
    /// 001: the job runs.
    Execute {
        /// Where, as an address.
        host: Name,
        /// Where, as a slot; empty for none.
        slot: Name,
        /// Attributes of the slot and their values as `ClassAd` text, e.g. `Cpus` and `1`. Values
        /// that are strings come from [`Line::quoted`]; `HTCondor`'s reader drops what is no
        /// `ClassAd` expression.
        properties: BTreeMap<Attribute, Line>,
    },
    /// 003: the job's files were saved, and it goes on.
    Checkpointed {
        /// CPU time of this run, in the job.
        run_remote: CpuUsage,
        /// CPU time of this run, beside the job.
        run_local: CpuUsage,
        /// Bytes of the checkpoint.
        sent: u64,
    },
    /// 004: the job stopped running before its end, and is idle (or about to be held or removed).
    Evicted(Evicted),
    /// 005: the job ran to its end.
    Terminated(Terminated),
    /// 006: the job's size changed.
    ImageSize {
        /// KiB.
        image_size_kb: u64,
        /// `MemoryUsage`, MiB.
        memory_usage_mb: Option<u64>,
        /// `ResidentSetSize`, KiB. `HTCondor`'s reader takes an absent one for 0.
        resident_set_size_kb: Option<u64>,
        /// `ProportionalSetSize`, KiB.
        proportional_set_size_kb: Option<u64>,
    },
    /// 007: the infrastructure failed, not the job.
    ShadowException {
        /// How.
        message: Line,
        /// Moved in this run.
        run: Bytes,
    },
    /// 008: anything else.
    Generic {
        /// What.
        text: Line,
    },
    /// 009: the job was removed.
    Aborted {
        /// Why; empty for none.
        reason: Line,
    },
    /// 010: the job's processes were stopped.
    Suspended {
        /// How many.
        processes: u32,
    },
    /// 011: they go on.
    Unsuspended,
    /// 012: the job waits for somebody.
    Held {
        /// Why; empty is written `Reason unspecified`.
        reason: Line,
        /// `HoldReasonCode`.
        code: i32,
        /// `HoldReasonSubCode`.
        subcode: i32,
    },
    /// 013: it waits no longer.
    Released {
        /// Why; empty for none.
        reason: Line,
    },
    /// 021: a daemon on the execute side reports a failure; a hold with the same codes may follow.
    RemoteError {
        /// `Error`, or only a `Message` (`HTCondor`'s reader takes both for an error).
        critical: bool,
        /// Which daemon, e.g. `starter`.
        daemon: Name,
        /// Where, e.g. `slot1_1@node1`.
        host: Name,
        /// What it said.
        message: Vec<Line>,
        /// `HoldReasonCode` and `HoldReasonSubCode` if it makes the job held; code 0 says no.
        code: i32,
        /// See `code`.
        subcode: i32,
    },
    /// 022: the job's machine does not answer.
    Disconnected {
        /// Why one thinks so; empty is written `Reason unspecified`.
        reason: Line,
        /// The machine's name; empty is written `unknown`, here and below.
        startd: Name,
        /// The machine's address.
        startd_address: Name,
    },
    /// 023: it answers again, and the job ran on.
    Reconnected {
        /// The machine's name.
        startd: Name,
        /// The machine's address.
        startd_address: Name,
        /// The address of the job's starter.
        starter_address: Name,
    },
    /// 024: it is given up, and the job is idle.
    ReconnectFailed {
        /// Why; empty is written `Reason unspecified`.
        reason: Line,
        /// The machine's name.
        startd: Name,
    },
    /// 028: what its owner wants to know of the job at each event (`job_ad_information_attrs`).
    JobAdInformation {
        /// Attributes of the job and of the event before, and their values as `ClassAd` text; at least one. Strings come
        /// from [`Line::quoted`].
        attributes: BTreeMap<Attribute, Line>,
    },
    /// 033: an attribute of the job was changed.
    AttributeUpdate {
        /// Which.
        attribute: Attribute,
        /// Its value before; empty is written `undefined`.
        old: Name,
        /// Its value now.
        new: Name,
    },
    /// 035 to 038: of a cluster whose procs materialize late; its `ProcId` is -1.
    Cluster(Cluster),
    /// 040: the job's files are on their way.
    FileTransfer {
        /// Which way, and how far.
        stage: TransferStage,
        /// Waited for the transfer to begin.
        queued_seconds: Option<u64>,
        /// With whom; empty for none.
        host: Name,
    },
}

impl Body {
    /// `HTCondor`'s event number.
    pub const fn number(&self) -> u16 {
        match self {
            Self::Submit { .. } => 0,
            Self::Execute { .. } => 1,
            Self::Checkpointed { .. } => 3,
            Self::Evicted(_) => 4,
            Self::Terminated(_) => 5,
            Self::ImageSize { .. } => 6,
            Self::ShadowException { .. } => 7,
            Self::Generic { .. } => 8,
            Self::Aborted { .. } => 9,
            Self::Suspended { .. } => 10,
            Self::Unsuspended => 11,
            Self::Held { .. } => 12,
            Self::Released { .. } => 13,
            Self::RemoteError { .. } => 21,
            Self::Disconnected { .. } => 22,
            Self::Reconnected { .. } => 23,
            Self::ReconnectFailed { .. } => 24,
            Self::JobAdInformation { .. } => 28,
            Self::AttributeUpdate { .. } => 33,
            Self::Cluster(event) => event.number(),
            Self::FileTransfer { .. } => 40,
        }
    }

    /// `HTCondor`'s names for the event (`ULogEventNumberNames`) and for its ad (`MyType`).
    pub const fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Submit { .. } => ("ULOG_SUBMIT", "SubmitEvent"),
            Self::Execute { .. } => ("ULOG_EXECUTE", "ExecuteEvent"),
            Self::Checkpointed { .. } => ("ULOG_CHECKPOINTED", "CheckpointedEvent"),
            Self::Evicted(_) => ("ULOG_JOB_EVICTED", "JobEvictedEvent"),
            Self::Terminated(_) => ("ULOG_JOB_TERMINATED", "JobTerminatedEvent"),
            Self::ImageSize { .. } => ("ULOG_IMAGE_SIZE", "JobImageSizeEvent"),
            Self::ShadowException { .. } => ("ULOG_SHADOW_EXCEPTION", "ShadowExceptionEvent"),
            Self::Generic { .. } => ("ULOG_GENERIC", "GenericEvent"),
            Self::Aborted { .. } => ("ULOG_JOB_ABORTED", "JobAbortedEvent"),
            Self::Suspended { .. } => ("ULOG_JOB_SUSPENDED", "JobSuspendedEvent"),
            Self::Unsuspended => ("ULOG_JOB_UNSUSPENDED", "JobUnsuspendedEvent"),
            Self::Held { .. } => ("ULOG_JOB_HELD", "JobHeldEvent"),
            Self::Released { .. } => ("ULOG_JOB_RELEASED", "JobReleaseEvent"),
            Self::RemoteError { .. } => ("ULOG_REMOTE_ERROR", "RemoteErrorEvent"),
            Self::Disconnected { .. } => ("ULOG_JOB_DISCONNECTED", "JobDisconnectedEvent"),
            Self::Reconnected { .. } => ("ULOG_JOB_RECONNECTED", "JobReconnectedEvent"),
            Self::ReconnectFailed { .. } => {
                ("ULOG_JOB_RECONNECT_FAILED", "JobReconnectFailedEvent")
            }
            Self::JobAdInformation { .. } => ("ULOG_JOB_AD_INFORMATION", "JobAdInformationEvent"),
            Self::AttributeUpdate { .. } => ("ULOG_ATTRIBUTE_UPDATE", "AttributeUpdateEvent"),
            Self::Cluster(event) => event.names(),
            Self::FileTransfer { .. } => ("ULOG_FILE_TRANSFER", "FileTransferEvent"),
        }
    }

    /// Whether this is a proc's last event.
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Terminated(_) | Self::Aborted { .. })
    }
}

/// 004: see [`Body::Evicted`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evicted {
    /// How the run ended.
    pub how: Eviction,
    /// Vacate or hold code; 0 is not written.
    pub code: i32,
    /// Its subcode.
    pub subcode: i32,
    /// Why; empty for none.
    pub reason: Line,
    /// CPU time of this run, in the job.
    pub run_remote: CpuUsage,
    /// CPU time of this run, beside the job.
    pub run_local: CpuUsage,
    /// Moved in this run.
    pub run: Bytes,
    /// What the job used of what it had. `HTCondor` writes it, and its reader ignores it.
    pub resources: ResourceTable,
}

/// How an evicted run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Eviction {
    /// It was stopped.
    #[default]
    Stopped,
    /// It was stopped, and can go on from its checkpoint.
    Checkpointed,
    /// It ended by itself, and the job's policy wants it again.
    Requeued(Exit),
}

/// 005: see [`Body::Terminated`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminated {
    /// How the job ended.
    pub exit: Exit,
    /// CPU time of the last run, in the job.
    pub run_remote: CpuUsage,
    /// CPU time of the last run, beside the job.
    pub run_local: CpuUsage,
    /// CPU time of all runs, in the job.
    pub total_remote: CpuUsage,
    /// CPU time of all runs, beside the job.
    pub total_local: CpuUsage,
    /// Moved in the last run. `HTCondor`'s reader rounds numbers above 16 MiB, here and below.
    pub run: Bytes,
    /// Moved in all runs.
    pub total: Bytes,
    /// What the job used of what it had; empty for unknown.
    pub resources: ResourceTable,
}

/// How the job's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It ended itself.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Where its core is; empty for nowhere.
        core: Line,
    },
}

/// CPU time, whole seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
}

/// Bytes moved, seen from the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// By the job.
    pub sent: u64,
    /// By the job.
    pub received: u64,
}

/// Which way files go, and how far they are; in the order of `HTCondor`'s numbers, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferStage {
    /// Inputs wait for their turn.
    InputQueued,
    /// Inputs are on their way.
    InputStarted,
    /// Inputs are there.
    InputFinished,
    /// Outputs wait for their turn.
    OutputQueued,
    /// Outputs are on their way.
    OutputStarted,
    /// Outputs are there.
    OutputFinished,
}

impl TransferStage {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::InputQueued,
        Self::InputStarted,
        Self::InputFinished,
        Self::OutputQueued,
        Self::OutputStarted,
        Self::OutputFinished,
    ];

    /// `HTCondor`'s words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InputQueued => "Entered queue to transfer input files",
            Self::InputStarted => "Started transferring input files",
            Self::InputFinished => "Finished transferring input files",
            Self::OutputQueued => "Entered queue to transfer output files",
            Self::OutputStarted => "Started transferring output files",
            Self::OutputFinished => "Finished transferring output files",
        }
    }
}
