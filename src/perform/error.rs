//! How a call to the API server fails.
//!
//! Invariant: an error says what was tried and what the server answered. Not one of them says that nothing happened.

use kube::core::Status;
use thiserror::Error;

/// A call that did not come to its end. Whether it happened is found out by the next observation.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server answered with an error.
    #[error("cannot {attempt}: {message}", message = describe(source))]
    Api {
        /// What was tried.
        attempt: &'static str,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("cannot {0}: no answer from the API server in 10 s")]
    NoAnswer(&'static str),
    /// The job changed after the decision's facts were read.
    #[error("cannot create the job's pod: the job has changed meanwhile")]
    Outdated,
    /// The store of cluster ids holds something else.
    #[error("cannot read the next cluster id: {0}")]
    ClusterIds(String),
    /// Somebody else's object has the name of a page of the log.
    #[error(
        "cannot write the userlog: the ConfigMap '{0}' is not this job's; delete it or rename it"
    )]
    ForeignPage(String),
    /// A part of the log could not be compressed.
    #[error("cannot compress the userlog: {0}")]
    Gzip(std::io::Error),
}

fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Error {
    /// Somebody else wrote first: our facts were old.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Outdated) || self.status().is_some_and(Status::is_conflict)
    }

    /// The object is there already.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    pub(super) fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::NoAnswer(_)
            | Self::Outdated
            | Self::ClusterIds(_)
            | Self::ForeignPage(_)
            | Self::Gzip(_) => None,
        }
    }

    /// The object has another UID than the patch, which would change it.
    pub(super) fn is_of_another_uid(&self) -> bool {
        let about_uid =
            |status: &Status| status.code == 422 && status.message.contains("metadata.uid");
        self.status().is_some_and(about_uid)
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }
}
