//! Label selectors and patches, as the operator uses them.

use serde_json::Value;

/// Labels that an object must have, each with one of some values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector(Vec<(String, Vec<String>)>);

impl Selector {
    /// Reads `a=b,c in (d,e)`; `None` for what this model does not serve.
    pub(crate) fn read(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::default()) };
        let term = |term: &str| {
            if let Some((name, values)) = term.split_once(" in (") {
                let values = values.strip_suffix(')')?.split(',').map(str::to_owned);
                return Some((name.to_owned(), values.collect()));
            }
            let (name, value) = term.split_once('=')?;
            let plain = !name.ends_with('!') && !value.starts_with('=');
            plain.then(|| (name.to_owned(), vec![value.to_owned()]))
        };
        terms(text).into_iter().map(term).collect::<Option<Vec<_>>>().map(Self)
    }

    /// It asks for one value of this label.
    pub(crate) fn names(&self, label: &str) -> bool {
        self.0.iter().any(|(name, values)| name == label && values.len() == 1)
    }

    pub(crate) fn selects(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|(name, values)| {
            labels[name.as_str()].as_str().is_some_and(|label| values.iter().any(|v| v == label))
        })
    }
}

/// The terms of a selector: commas within brackets do not separate them.
fn terms(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    })
    .collect()
}

#[test]
fn a_set_of_values_selects() {
    use serde_json::json;
    let selector = Selector::read(Some("job=u,proc in (1,22)")).unwrap();
    let pod =
        |job: &str, proc: &str| json!({ "metadata": { "labels": { "job": job, "proc": proc } } });
    assert!(selector.selects(&pod("u", "22")) && selector.names("job"));
    assert!(!selector.selects(&pod("u", "2")) && !selector.selects(&pod("v", "22")));
    assert!(!selector.names("proc"));
}

/// JSON merge patch (RFC 7386).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let fields = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Strategic merge patch, as far as maps and `$deleteFromPrimitiveList` go.
pub(crate) fn merge_strategically(target: &mut Value, patch: &Value) {
    const DELETE: &str = "$deleteFromPrimitiveList/";
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    for (name, value) in fields {
        if let Some(list) = name.strip_prefix(DELETE) {
            if let (Some(items), Some(gone)) = (target[list].as_array_mut(), value.as_array()) {
                items.retain(|item| !gone.contains(item));
            }
        } else if value.is_null() {
            target.as_object_mut().map(|target| target.remove(name));
        } else {
            if !target.is_object() {
                *target = Value::Object(serde_json::Map::new());
            }
            merge_strategically(&mut target[name.as_str()], value);
        }
    }
}

#[test]
fn a_strategic_patch_takes_one_finalizer_and_no_other() {
    use serde_json::json;
    let mut pod =
        json!({ "metadata": { "uid": "u", "finalizers": ["a", "b"], "labels": { "x": "1" } } });
    let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"], "labels": { "y": "2" } } });
    merge_strategically(&mut pod, &patch);
    let expected = json!({ "metadata": { "uid": "u", "finalizers": ["b"], "labels": { "x": "1", "y": "2" } } });
    assert_eq!(pod, expected);
}
