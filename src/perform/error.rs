//! How a call to the API server fails.
//!
//! Invariant: an error says what was tried and what the server answered. None but [`Error::NotLeading`] says that nothing
//! happened.

use crate::refusal;
use duj_core::observed::RefusalKind;
use kube::core::Status;
use std::time::Duration;
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
    #[error("cannot {0}: no answer from the API server in time")]
    NoAnswer(&'static str),
    /// This operator does not lead. Nothing was sent.
    #[error("cannot {0}: this operator does not lead")]
    NotLeading(&'static str),
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
    /// What is known of some procs is in a page that is not there.
    #[error(
        "cannot read what is known of some procs: the ConfigMap '{0}' is gone or was changed; restore it, or delete the job"
    )]
    NoRecords(String),
    /// Records could not be written as JSON.
    #[error("cannot write records: {0}")]
    Json(serde_json::Error),
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

    /// Another operator leads, or none: it is no failure, and nothing happened.
    pub fn is_not_leading(&self) -> bool {
        matches!(self, Self::NotLeading(_))
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
            | Self::NotLeading(_)
            | Self::Outdated
            | Self::ClusterIds(_)
            | Self::ForeignPage(_)
            | Self::NoRecords(_)
            | Self::Json(_)
            | Self::Gzip(_) => None,
        }
    }

    /// The object has another UID than the patch, which would change it.
    pub(super) fn is_of_another_uid(&self) -> bool {
        let about_uid =
            |status: &Status| status.code == 422 && status.message.contains("metadata.uid");
        self.status().is_some_and(about_uid)
    }

    /// It is about this one object and stays until somebody mends something: the API server is there, and refuses.
    pub fn is_lasting(&self) -> bool {
        let refused = |status: &Status| (400..500).contains(&status.code) && status.code != 429;
        matches!(self, Self::ForeignPage(_) | Self::NoRecords(_) | Self::Json(_) | Self::Gzip(_))
            || self.status().is_some_and(refused)
    }

    /// How long the API server wants to be left alone (`Retry-After`), a minute at most.
    pub fn retry_after(&self) -> Duration {
        let details = self.status().and_then(|status| status.details.as_ref());
        let seconds = details.map_or(0, |details| u64::from(details.retry_after_seconds));
        Duration::from_secs(seconds.min(60))
    }

    /// Nothing is created any more in a namespace that is being deleted. Its pods go before anything else of it, and wait for
    /// us to account for them: what cannot be kept beside the job is not waited for.
    pub fn is_of_ending_namespace(&self) -> bool {
        self.status()
            .is_some_and(|status| refusal::kind(status) == RefusalKind::NamespaceTerminating)
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is wrong with all jobs at once is not told to the owner of each.
    #[test]
    fn an_outage_is_no_lasting_refusal() {
        let answered = |code| {
            let status = Status { code, ..Status::default() };
            Error::Api { attempt: "try", source: Box::new(kube::Error::Api(Box::new(status))) }
        };
        for (code, lasting) in [
            (400, true),
            (403, true),
            (404, true),
            (422, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            assert_eq!(answered(code).is_lasting(), lasting, "{code}");
        }
        let status =
            serde_json::from_value(json!({ "code": 429, "details": { "retryAfterSeconds": 7 } }));
        let status: Status = status.unwrap();
        let busy =
            Error::Api { attempt: "try", source: Box::new(kube::Error::Api(Box::new(status))) };
        assert_eq!((busy.retry_after().as_secs(), answered(429).retry_after().as_secs()), (7, 0));
        let ending = Status {
            code: 403,
            message: "configmaps \"a-userlog-1\" is forbidden: unable to create new content in namespace n because it is being terminated".into(),
            ..Status::default()
        };
        let ending =
            Error::Api { attempt: "try", source: Box::new(kube::Error::Api(Box::new(ending))) };
        assert!(ending.is_of_ending_namespace() && !answered(403).is_of_ending_namespace());
        assert!(Error::ForeignPage("x-userlog-1".into()).is_lasting());
        assert!(!Error::NoAnswer("try").is_lasting());
        assert!(!Error::NotLeading("try").is_lasting());
    }
}
