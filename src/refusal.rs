//! What an API server's refusal to create a pod means, by its words rather than by its code
//! (measured on 1.36: quota is 403 like Pod Security; a full etcd request is a 500 that will never succeed).

use duj_core::observed::{Refusal, RefusalKind};
use jiff::{SignedDuration, Timestamp};
use kube::core::Status;

/// Reads a refusal; `before` is how many there were in a row.
pub fn read(status: &Status, before: u32, now: Timestamp) -> Refusal {
    let kind = kind(status);
    let seconds = match kind {
        RefusalKind::Permanent => 0,
        _ => (2i64 << before.min(5)).min(60),
    };
    let asked = status.details.as_ref().map_or(0, |details| i64::from(details.retry_after_seconds));
    let wait = SignedDuration::from_secs(seconds.max(asked.min(60)));
    Refusal {
        kind,
        message: status.message.clone(),
        retry: now.saturating_add(wait).unwrap_or(now),
    }
}

pub(crate) fn kind(status: &Status) -> RefusalKind {
    let says = |words: &str| status.message.contains(words);
    let terminating = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .any(|cause| cause.reason == "NamespaceTerminating");
    if terminating || says("because it is being terminated") {
        return RefusalKind::NamespaceTerminating;
    }
    match status.code {
        // The quota controller has not counted yet what a new quota limits.
        403 if says("exceeded quota") || says("status unknown for quota") => RefusalKind::Quota,
        // A service account or a limit range may come with the next object that is applied.
        403 if says("error looking up service account") => RefusalKind::Transient,
        400 | 403 | 413 | 422 => RefusalKind::Permanent,
        500 if says("request is too large") || says("larger than max") => RefusalKind::Permanent,
        // An admission webhook that refuses answers with the code it likes, and says so.
        code if (400..500).contains(&code)
            && says("admission webhook")
            && says("denied the request") =>
        {
            RefusalKind::Permanent
        }
        _ => RefusalKind::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_their_words() {
        for (code, message, expected) in [
            (
                403,
                "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1",
                RefusalKind::Quota,
            ),
            (
                403,
                "pods \"a\" is forbidden: status unknown for quota: q, resources: pods",
                RefusalKind::Quota,
            ),
            (
                403,
                "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\"",
                RefusalKind::Permanent,
            ),
            (
                403,
                "error looking up service account n/x: serviceaccount \"x\" not found",
                RefusalKind::Transient,
            ),
            (
                403,
                "namespace n is forbidden: unable to create new content in namespace n because it is being terminated",
                RefusalKind::NamespaceTerminating,
            ),
            (422, "Pod \"a\" is invalid", RefusalKind::Permanent),
            (500, "etcdserver: request is too large", RefusalKind::Permanent),
            (500, "Internal error", RefusalKind::Transient),
            (429, "too many requests", RefusalKind::Transient),
            (418, "admission webhook \"w\" denied the request: no", RefusalKind::Permanent),
        ] {
            let status = Status { code, message: message.into(), ..Status::default() };
            assert_eq!(kind(&status), expected, "{message}");
        }
    }
}
