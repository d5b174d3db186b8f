//! What is to become of a job by itself: retries, policies, limits on its time.
//!
//! Invariant: expressions are `ClassAd` text as in a submit file. The API server knows their length only; one that cannot be
//! read holds the job at once.

use crate::{Quantity, rules};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An expression in `HTCondor`'s `ClassAd` language, such as `NumJobStarts > 3`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expression(pub Box<str>);

impl JsonSchema for Expression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expression".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 4096,
            // Some text, and no control characters but tab and newline.
            "pattern": r"^[^\x00-\x08\x0b-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x08\x0b-\x1f\x7f]*$",
        })
    }
}

/// What may change at any time in a job's life: it shapes no pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// How often a job that did not succeed is run again (`max_retries`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_retries: Option<i64>,
    /// The exit code that means success (`success_exit_code`); 0 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub success_exit_code: Option<i32>,
    /// Ends the retries: an exit code or an expression, as a string (`retry_until`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_until: Option<Expression>,
    /// Holds a job that has ended (`on_exit_hold`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exit_hold: Option<Expression>,
    /// The reason of that hold, an expression: a text stands in double quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exit_hold_reason: Option<Expression>,
    /// The subcode of that hold, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exit_hold_subcode: Option<Expression>,
    /// `false` runs a job that has ended again (`on_exit_remove`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exit_remove: Option<Expression>,
    /// Holds a job (`periodic_hold`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periodic_hold: Option<Expression>,
    /// The reason of that hold, an expression: a text stands in double quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periodic_hold_reason: Option<Expression>,
    /// The subcode of that hold, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periodic_hold_subcode: Option<Expression>,
    /// Releases a held job, unless a person holds it (`periodic_release`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periodic_release: Option<Expression>,
    /// The reason of that release, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periodic_release_reason: Option<Expression>,
    /// Removes a job (`periodic_remove`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periodic_remove: Option<Expression>,
    /// The reason of that removal, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periodic_remove_reason: Option<Expression>,
    /// Stops a running job and puts it back to Idle (`periodic_vacate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periodic_vacate: Option<Expression>,
    /// The reason of that, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periodic_vacate_reason: Option<Expression>,
    /// Seconds that an attempt may take before the job is held, code 46 (`allowed_job_duration`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647i64))]
    pub allowed_job_duration: Option<i64>,
    /// Seconds that a job may execute before it is held, code 47 (`allowed_execute_duration`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647i64))]
    pub allowed_execute_duration: Option<i64>,
    /// Memory for the attempts after one that had too little, one after the other; the job is held (34/102) when none is
    /// left (`retry_request_memory`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new(rules::RETRY_MEMORY).message(rules::RETRY_MEMORY_MESSAGE))]
    pub retry_request_memory: Vec<Quantity>,
    /// How much more memory follows: a size that is added (`500Mi`), or an expression for the new number of MiB
    /// (`RequestMemory * 2`). Once; with `retryRequestMemoryMax` again and again up to that
    /// (`retry_request_memory_increase`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_request_memory_increase: Option<Expression>,
    /// The most that such an increase comes to; alone, what follows at once (`retry_request_memory_max`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::RETRY_MEMORY_MAX).message(rules::RETRY_MEMORY_MAX_MESSAGE))]
    pub retry_request_memory_max: Option<Quantity>,
    /// Attributes of the job that the log tells after each event, in an event 028 (`job_ad_information_attrs`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")))]
    pub job_ad_information_attrs: Vec<String>,
}
