//! What an API server answers where it does not do what it is asked, in its own words.

use crate::store::Key;
use serde_json::{Value, json};

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) cause: Option<&'static str>,
    pub(crate) retry_after: Option<u32>,
}

impl Refused {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), cause: None, retry_after: None }
    }

    pub(crate) fn not_found(key: &Key) -> Self {
        let message = format!("{} \"{}\" not found", key.kind.plural(), key.name);
        Self::new(404, "NotFound", message)
    }

    pub(crate) fn already_exists(key: &Key) -> Self {
        let message = format!("{} \"{}\" already exists", key.kind.plural(), key.name);
        Self::new(409, "AlreadyExists", message)
    }

    pub(crate) fn conflict(key: &Key, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{}\": {why}",
            key.kind.plural(),
            key.name
        );
        Self::new(409, "Conflict", message)
    }

    pub(crate) fn invalid(key: &Key, why: &str) -> Self {
        let message = format!("{} \"{}\" is invalid: {why}", key.kind.name(), key.name);
        Self::new(422, "Invalid", message)
    }

    /// The body of the answer: a `Status`.
    pub(crate) fn body(&self) -> Value {
        let causes: Vec<Value> = self
            .cause
            .iter()
            .map(|cause| json!({ "reason": cause, "message": self.message, "field": "" }))
            .collect();
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
            "details": {
                "name": "", "group": "", "kind": "", "uid": "", "causes": causes,
                "retryAfterSeconds": self.retry_after.unwrap_or(0),
            },
        })
    }
}
