//! Condition types and the closed set of reasons. Both are API: stable words, documented, never free text.

/// Every proc has ended: all are Completed or Removed.
pub const FINISHED: &str = "Finished";
/// Finished, and every proc completed with exit code 0.
pub const COMPLETE: &str = "Complete";
/// Finished, but not Complete.
pub const FAILED: &str = "Failed";
/// Some proc is held.
pub const HELD: &str = "Held";
/// Work goes on (kstatus: in progress).
pub const RECONCILING: &str = "Reconciling";
/// Nothing goes on without a person (kstatus: failed).
pub const STALLED: &str = "Stalled";

/// Why a job is where it is. The same value feeds `status.because`, the condition, the Event and the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The pod is about to be made.
    Submitted,
    /// The scheduler has not found a node yet.
    WaitingForScheduler,
    /// No node fits, in the scheduler's words.
    Unschedulable,
    /// As many pods live as the installation, or the namespace, may have; or the job's own `queue.maxIdle` lets no proc come.
    LimitReached,
    /// The API server refused the pod for a quota.
    QuotaExceeded,
    /// The API server refused or did not answer; it is tried again.
    PodNotCreated,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// The pod has a node and its containers are being made.
    Starting,
    /// The image is being pulled, or pulling it failed and is tried again.
    PullingImage,
    /// The operator's own image cannot be pulled.
    StarterImageUnavailable,
    /// A volume or a piece of configuration is not there yet.
    WaitingForConfiguration,
    /// The last attempt was evicted; the next one comes.
    Evicted,
    /// The job's files are being brought.
    TransferringInput,
    /// The job runs.
    Running,
    /// The job has ended, and its outputs are being sent.
    TransferringOutput,
    /// The job is suspended.
    Suspended,
    /// The job's node does not answer.
    NodeNotAnswering,
    /// The job is being stopped.
    Stopping,
    /// The job is held.
    Held,
    /// All procs completed with exit code 0.
    Completed,
    /// Some proc ended otherwise.
    ExitedNonZero,
    /// Some proc was killed by a signal.
    Signalled,
    /// All procs were removed.
    Removed,
}

impl Reason {
    /// The word in status, Events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "Submitted",
            Self::WaitingForScheduler => "WaitingForScheduler",
            Self::Unschedulable => "Unschedulable",
            Self::LimitReached => "LimitReached",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::PodNotCreated => "PodNotCreated",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::Starting => "Starting",
            Self::PullingImage => "PullingImage",
            Self::StarterImageUnavailable => "StarterImageUnavailable",
            Self::WaitingForConfiguration => "WaitingForConfiguration",
            Self::Evicted => "Evicted",
            Self::TransferringInput => "TransferringInput",
            Self::Running => "Running",
            Self::TransferringOutput => "TransferringOutput",
            Self::Suspended => "Suspended",
            Self::NodeNotAnswering => "NodeNotAnswering",
            Self::Stopping => "Stopping",
            Self::Held => "Held",
            Self::Completed => "Completed",
            Self::ExitedNonZero => "ExitedNonZero",
            Self::Signalled => "Signalled",
            Self::Removed => "Removed",
        }
    }
}
