//! How many procs a job has, and what each of them is told: `HTCondor`'s `queue` (§1.11 of the semantics).
//!
//! Invariant: but for the limits of its materialization it never changes in a job's life, so a proc has the same values in
//! each of its attempts.

use crate::rules;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// How many procs a job has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::QUEUE_TOTAL).message(rules::QUEUE_TOTAL_MESSAGE))]
pub struct Queue {
    /// Procs 0 to `count - 1` (`queue N`); with items, so many of each. One where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub count: Option<u32>,
    /// `count` procs for each item of a list (`queue … in`, `queue … from`).
    // Shared, because a job is copied for each pod that is made of it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "shared")]
    #[schemars(with = "Option<QueueItems>")]
    pub items: Option<Arc<QueueItems>>,
    /// Procs that are in the queue at a time, held ones included (`max_materialize`): as they leave it others come, in their
    /// order. All at once where absent. It can change at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::MAX_MATERIALIZE).message(rules::MAX_MATERIALIZE_MESSAGE))]
    pub max_materialize: Option<i64>,
    /// Procs that are in the queue and do not run at a time, idle or held (`max_idle`): as they start others come. 0: no more
    /// for now. Without limit where absent. It can change at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::MAX_IDLE).message(rules::MAX_IDLE_MESSAGE))]
    pub max_idle: Option<i64>,
}

/// Reads and writes what is shared as if it were not.
mod shared {
    use super::{Arc, Deserialize, QueueItems, Serialize};
    use serde::{Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "serde gives it so")]
    pub(super) fn serialize<S: Serializer>(
        items: &Option<Arc<QueueItems>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        items.as_deref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<QueueItems>>, D::Error> {
        Ok(Option::<QueueItems>::deserialize(deserializer)?.map(Arc::new))
    }
}

impl Queue {
    /// `count` procs without items.
    pub const fn of(count: u32) -> Self {
        Self { count: Some(count), items: None, max_materialize: None, max_idle: None }
    }

    /// Whether its procs may come one after the other (`HTCondor`'s late materialization).
    pub const fn is_late(&self) -> bool {
        self.max_materialize.is_some() || self.max_idle.is_some()
    }

    /// Procs of each item; of the job, where it has none.
    pub fn steps(&self) -> u32 {
        self.count.unwrap_or(1).max(1)
    }
}

/// A list, and what its items are called in the job: `$(name)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::ITEMS_SOURCE).message(rules::ITEMS_SOURCE_MESSAGE))]
#[x_kube(validation = Rule::new(rules::ITEMS_VARIABLES).message(rules::ITEMS_VARIABLES_MESSAGE))]
#[x_kube(validation = Rule::new(rules::ITEMS_SPLITTING).message(rules::ITEMS_SPLITTING_MESSAGE))]
pub struct QueueItems {
    /// The items. With several variables each is split over them, as a line of `queue … from` is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 10_000), inner(length(max = 4096), regex(pattern = rules::ITEM_TEXT)))]
    pub values: Vec<String>,
    /// The items, each with all of its variables by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 5_000))]
    #[x_kube(validation = Rule::new(rules::ROWS_ALIKE).message(rules::ROWS_ALIKE_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::ROW_NAMES).message(rules::ROW_NAMES_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::ROW_RESERVED).message(rules::VARIABLE_RESERVED_MESSAGE))]
    pub rows: Vec<Row>,
    /// The items are the lines of a key of a `ConfigMap`. It is read once, when the job is submitted: what becomes of it
    /// later changes no proc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ItemsKey>,
    /// What an item of that key is; `Lines` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splitting: Option<Splitting>,
    /// The names of an item's parts; `Item` where absent. A line is split over several at commas and white space, and the
    /// last takes the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 64), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))
    )]
    #[x_kube(validation = Rule::new(rules::VARIABLE_RESERVED).message(rules::VARIABLE_RESERVED_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::VARIABLE_TWICE).message(rules::VARIABLE_TWICE_MESSAGE))]
    pub variables: Vec<String>,
    /// Which of the items, as Python writes it, from the first on: `[:100]`, `[-10:]`, `[1::2]`. `$(Row)` stays what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = rules::SLICE))]
    pub slice: Option<String>,
}

/// The variables of one item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Row(pub BTreeMap<String, String>);

impl JsonSchema for Row {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Row".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "minProperties": 1,
            "maxProperties": 16,
            "additionalProperties": { "type": "string", "maxLength": 4096, "pattern": rules::ITEM_TEXT },
        })
    }
}

/// A key of a `ConfigMap` in the job's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemsKey {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// What an item of a text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Splitting {
    /// Each line that is not empty (`queue … from`).
    #[default]
    Lines,
    /// Each word; commas and white space stand between them (`queue … in`).
    Words,
}
