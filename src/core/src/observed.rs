//! What a decision is made from, and what it comes to.
//!
//! Invariant: [`Observed`] is complete (it holds every fact that `decide` reads, the time included), and a
//! [`Decision`] is plain data: nothing happens by making one.

use crate::{facts::PodFacts, queue::Items, spill::Page, userlog::Event};
use duj_api::{
    DockerUniverseCommand, DockerUniverseCommandStatus, DockerUniverseJob, DockerUniverseJobStatus,
    status::Because,
};
use duj_protocol::lease::Mark;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// All facts about one job.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The job with its committed status.
    pub job: DockerUniverseJob,
    /// The pages of records that its status names.
    pub pages: Vec<Arc<Page>>,
    /// The items of its `queue`, or in one line why they are not known.
    pub items: Result<Arc<Items>, String>,
    /// Its pods, of any attempt.
    pub pods: Vec<Arc<PodFacts>>,
    /// Commands for it that are not answered yet, oldest first.
    pub commands: Vec<DockerUniverseCommand>,
    /// The cluster id for a job that has none yet.
    pub fresh_cluster_id: i64,
    /// The API server's last refusal to create the pod that is due.
    pub refusal: Option<Refusal>,
    /// Since when a change has been waiting to be committed.
    pub uncommitted_since: Option<Timestamp>,
    /// When the policies of all procs are to be evaluated again, where that was remembered.
    pub policies_due: Option<Timestamp>,
    /// Since when this operator alone decides.
    pub leading_since: Timestamp,
    /// How many pods may be made now.
    pub room: Room,
    /// Now.
    pub now: Timestamp,
}

/// How many pods a job may have more of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// So many.
    pub pods: u32,
    /// What keeps it from having more.
    pub why: String,
}

impl Default for Room {
    /// Where nothing is limited.
    fn default() -> Self {
        Self { pods: u32::MAX, why: String::new() }
    }
}

impl Observed {
    /// How many procs the job has.
    pub fn total_procs(&self) -> u32 {
        total_procs(&self.job, &self.items)
    }
}

/// How many procs a job with these items has. As long as they are not known, one stands for all: it waits for them, and is held
/// where they do not come, so that a person sees it. What was committed counts before that: a job that has ended has the
/// procs that it ended with, and procs are not forgotten where the items cannot be read any more.
pub fn total_procs(job: &DockerUniverseJob, items: &Result<Arc<Items>, String>) -> u32 {
    let status = job.status.as_ref();
    let committed = status.and_then(|status| status.counts).map_or(0, |counts| counts.total);
    let committed = u32::try_from(committed).unwrap_or(0);
    let ended = status.is_some_and(|status| status.completion_time.is_some());
    match items {
        Ok(items) if !(ended && committed > 0) => items.total_procs(),
        _ => committed.max(1),
    }
}

/// Why the API server did not create a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of answer it was.
    pub kind: RefusalKind,
    /// The server's words.
    pub message: String,
    /// When to try again.
    pub retry: Timestamp,
}

/// Kinds of refusals, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A quota is used up: wait until something else ends.
    Quota,
    /// The namespace is being deleted: end quietly.
    NamespaceTerminating,
    /// The server will say the same again until job or cluster change: hold.
    Permanent,
    /// The server was busy or did not answer: try again.
    Transient,
}

/// What to do.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Effects that may come before the status is written: only what is a pure function of the job.
    pub before: Vec<Effect>,
    /// The status to write now, if any.
    pub status: Option<DockerUniverseJobStatus>,
    /// The events that this status adds to the log.
    pub events: Vec<Event>,
    /// A change is due, but may wait for more of them.
    pub deferred: bool,
    /// Effects that depend on the written status.
    pub after: Vec<Effect>,
    /// When to decide again if nothing happens.
    pub wake: Option<Timestamp>,
    /// What the job waits for, or how it ended.
    pub because: Option<Because>,
    /// When the policies of all procs are to be evaluated again: they were now.
    pub policies_due: Option<Timestamp>,
}

/// A part of the log that leaves the status: whole events, as gzip has them in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// Which of all parts, from 0.
    pub number: i64,
    /// Its text. It depends on nothing but the committed text, so that a part that is put there twice is the same.
    pub text: String,
}

impl LogPart {
    /// Parts in one page: at most 16 KiB each, so that a page stays below the API server's limit even where nothing can be
    /// compressed.
    pub const IN_A_PAGE: i64 = 48;

    /// The page it belongs to, from 1.
    pub const fn page(&self) -> i64 {
        self.number / Self::IN_A_PAGE + 1
    }

    /// Its place in that page, from 0.
    pub const fn place(&self) -> i64 {
        self.number % Self::IN_A_PAGE
    }
}

/// A pod that has ended, of a proc at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedPod {
    /// Its name.
    pub name: String,
    /// Its UID: a pod of that name with another UID is not touched.
    pub uid: String,
    /// Its proc.
    pub proc: u32,
}

/// One thing to do to the cluster. Each is idempotent, and keyed by UID.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make the pod of an attempt; one that is there already is adopted if it is ours. Where the creation of another pod
    /// of this job was never answered, that one is looked for first, at the server itself: if it is there, it has to be
    /// seen and stopped before this one may be made.
    CreatePod(Box<Pod>),
    /// Stop a pod.
    DeletePod {
        /// Its name.
        name: String,
        /// Its UID: a pod of that name with another UID is not touched.
        uid: String,
        /// Seconds until it is killed; those it was made with where absent.
        grace: Option<u32>,
    },
    /// Tell the starter in a pod to stop its job where it stands, or to let it go on.
    SuspendPod {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Which of the two.
        suspended: bool,
    },
    /// Tell the container `transfer` of a pod to send the outputs again that it keeps.
    Resend {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// How often it has been told, this time included.
        number: u32,
    },
    /// Tell the container `transfer` of a pod why its job is about to be stopped.
    AnnounceStop {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// One of `duj_protocol::transfer::stop`'s words.
        why: &'static str,
        /// When this was decided.
        at: Timestamp,
    },
    /// Write the lease of a pod's job: a token, its revocation or its end. It counts on what stood there before, so it is
    /// not written where somebody else has changed the pod meanwhile.
    MarkLease {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Its resource version.
        version: String,
        /// What is written.
        mark: Mark,
    },
    /// Take our finalizer off a pod whose end is accounted.
    ReleasePod {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// Delete pods that have ended and whose ends are accounted, all of procs at their end.
    ForgetPods(Vec<EndedPod>),
    /// Put parts of the committed log, in their order, into the pages they belong to, unless they are there already.
    AppendPages(Vec<LogPart>),
    /// Make a page of records, unless it is there.
    MakeRecords(Arc<Page>),
    /// Delete the page of records of this name, which no status names any more.
    DropRecords(String),
    /// Answer a command.
    Answer {
        /// Its name.
        name: String,
        /// The resource version that it was read at: another command of that name is not touched.
        version: String,
        /// The answer.
        status: DockerUniverseCommandStatus,
    },
    /// Delete the job: its time after the end is over.
    DeleteJob,
    /// Tell a person by a Kubernetes Event, best effort.
    Event {
        /// `Warning` rather than `Normal`.
        warning: bool,
        /// One word.
        reason: &'static str,
        /// One line.
        note: String,
    },
}

impl Effect {
    /// The pod that it is about. Effects on different pods do not wait for each other; those on the same one keep their order.
    pub fn pod(&self) -> Option<&str> {
        match self {
            Self::CreatePod(pod) => pod.metadata.name.as_deref(),
            Self::DeletePod { name, .. }
            | Self::SuspendPod { name, .. }
            | Self::Resend { name, .. }
            | Self::AnnounceStop { name, .. }
            | Self::MarkLease { name, .. }
            | Self::ReleasePod { name, .. } => Some(name),
            Self::ForgetPods(_)
            | Self::AppendPages(_)
            | Self::MakeRecords(_)
            | Self::DropRecords(_)
            | Self::Answer { .. }
            | Self::DeleteJob
            | Self::Event { .. } => None,
        }
    }
}
