//! The merge patch (RFC 7386) that turns one status into the next.
//!
//! Invariant: applied to `before` it gives `after`, whatever fields are left out at any depth: what is absent now is named
//! as null, for a merge patch leaves alone what it does not name. What is equal is not in it.

use serde::Serialize;
use serde_json::{Map, Value};

/// The patch of the field `status` of a job or a command.
pub fn of_status<S: Serialize>(before: Option<&S>, after: &S) -> Value {
    let value = |status| serde_json::to_value(status).unwrap_or_default();
    difference(&before.map(value).unwrap_or_default(), &value(after))
}

fn difference(before: &Value, after: &Value) -> Value {
    let Value::Object(after) = after else { return after.clone() };
    let nothing = Map::new();
    let before = before.as_object().unwrap_or(&nothing);
    let gone =
        before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed =
        after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, value)| {
            (key.clone(), difference(before.get(key).unwrap_or(&Value::Null), value))
        });
    Value::Object(gone.chain(changed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use duj_api::{
        DockerUniverseJobStatus,
        status::{Answer, Noticed},
    };
    use proptest::prelude::*;
    use serde_json::json;

    /// RFC 7386, section 2.
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else { return target.clone_from(patch) };
        if !target.is_object() {
            *target = json!({});
        }
        for (key, value) in patch {
            if value.is_null() {
                target.as_object_mut().unwrap().remove(key);
            } else {
                apply(&mut target[key], value);
            }
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0u8..3).prop_map(Value::from),
            Just(json!([{ "a": 1 }]))
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), ..ProptestConfig::default() })]

        #[test]
        fn before_and_patch_make_after(before in document(), after in document()) {
            let mut patched = before.clone();
            apply(&mut patched, &difference(&before, &after));
            prop_assert_eq!(patched, after);
        }
    }

    #[test]
    fn what_is_taken_back_within_a_field_is_named() {
        let status = |noticed| DockerUniverseJobStatus {
            noticed: Some(noticed),
            ..DockerUniverseJobStatus::default()
        };
        let before = status(Noticed {
            hold: true,
            shape: "a".into(),
            commands: vec![Answer::default()],
            ..Noticed::default()
        });
        let after = status(Noticed { shape: "a".into(), ..Noticed::default() });
        assert_eq!(
            of_status(Some(&before), &after),
            json!({ "noticed": { "hold": null, "commands": null } })
        );
    }

    #[test]
    fn the_same_status_is_no_patch() {
        let status =
            DockerUniverseJobStatus { cluster_id: Some(1), ..DockerUniverseJobStatus::default() };
        assert_eq!(of_status(Some(&status), &status), json!({}));
    }
}
