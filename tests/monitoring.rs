//! Dashboard and alert rules of the chart name metrics that the operator exposes, with labels and values that those have; every
//! metric is in one of them, and the docs tell of it. Every alert says what to do.
//!
//! Names are found by an own reader of the words of `PromQL`, small enough to be read: the parser on crates.io brings a
//! generator of parsers along.
#![allow(clippy::unwrap_used, reason = "a test that fails shows where")]

#[path = "monitoring/words.rs"]
mod words;

use docker_universe::metrics::Metrics;
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};
use words::{Matcher, read};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What an operator exposes, as a query names it.
fn exposed(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names = types.flat_map(|(name, kind)| {
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            "gauge" => &[""],
            kind => panic!("a metric of the type {kind}"),
        };
        suffixes.iter().map(move |suffix| format!("{name}{suffix}"))
    });
    names.collect()
}

/// Expressions, each with where it stands.
fn expressions() -> Vec<(String, String)> {
    let mut found =
        alerts().iter().map(|alert| (text(alert, "alert"), text(alert, "expr"))).collect();
    let dashboard = file("charts/docker-universe/files/dashboards/docker-universe.json");
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    gather(&dashboard, "dashboard", &mut found);
    found
}

/// All `expr` below a value.
fn gather(value: &Value, place: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let place = fields.get("title").and_then(Value::as_str).unwrap_or(place);
            if let Some(expression) = fields.get("expr") {
                found.push((place.to_owned(), expression.as_str().unwrap().to_owned()));
            }
            fields.values().for_each(|value| gather(value, place, found));
        }
        Value::Array(values) => values.iter().for_each(|value| gather(value, place, found)),
        _ => {}
    }
}

fn alerts() -> Vec<Value> {
    let rules = file("charts/docker-universe/files/alerts/docker-universe.yaml");
    let rules: Value = serde_saphyr::from_str(&rules).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field}: {value}")).to_owned()
}

#[test]
fn expressions_name_metrics_that_exist() {
    let told = Metrics::default().text();
    let exposed = exposed(&told);
    let mut used = BTreeSet::new();
    for (place, expression) in expressions() {
        let names =
            read(&expression).unwrap_or_else(|error| panic!("{place}: {error}: {expression}"));
        assert!(!names.is_empty(), "{place}: no metric in {expression}");
        for name in names {
            assert!(
                exposed.contains(&name.name),
                "{place}: there is no '{}': {expression}",
                name.name
            );
            for matcher in &name.matchers {
                has_label(&told, &name.name, matcher)
                    .unwrap_or_else(|error| panic!("{place}: {error}: {expression}"));
            }
            used.insert(name.name);
        }
    }
    let shown = |name: &String| {
        let base =
            name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        used.iter().any(|used| used == name || used.strip_prefix(base) == Some("_bucket"))
    };
    let unseen: Vec<_> = exposed.iter().filter(|name| !shown(name)).collect();
    assert!(unseen.is_empty(), "neither on the dashboard nor in an alert: {unseen:?}");
}

/// Labels that Prometheus adds to what it scrapes.
const OF_TARGETS: [&str; 3] = ["namespace", "pod", "service"];

/// Whether the metric has the label with each of the values that are asked for.
fn has_label(told: &str, name: &str, matcher: &Matcher) -> Result<(), String> {
    let Matcher { label, value } = matcher;
    if OF_TARGETS.contains(&label.as_str()) {
        return Ok(());
    }
    for word in value.split('|') {
        let wanted = format!("{label}=\"{word}\"");
        let mut lines = told.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        if !lines.any(|line| line.contains(&wanted)) {
            return Err(format!("'{name}' has no {wanted}"));
        }
    }
    Ok(())
}

#[test]
fn every_alert_says_what_to_do() {
    let docs = file("docs/operations.md");
    let sections: BTreeSet<String> =
        docs.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let mut named = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert, "alert");
        assert!(name.starts_with("DockerUniverse") && named.insert(name.clone()), "{name}");
        let severity = text(&alert["labels"], "severity");
        assert!(["critical", "warning", "info"].contains(&severity.as_str()), "{name}: {severity}");
        for field in ["summary", "description"] {
            assert!(!text(&alert["annotations"], field).is_empty(), "{name}: {field}");
        }
        let runbook = text(&alert["annotations"], "runbook");
        let section = runbook
            .strip_prefix("docs/operations.md#")
            .unwrap_or_else(|| panic!("{name}: {runbook}"));
        assert!(sections.contains(section), "{name}: no section '{section}' in {sections:?}");
        assert!(docs.contains(&name), "{name} is not in docs/operations.md");
    }
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|char| char.is_alphanumeric() || *char == '-').collect()
}

#[test]
fn the_docs_tell_of_every_metric_and_of_no_other() {
    let docs = file("docs/operations.md");
    let told = Metrics::default().text();
    let types = told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let exposed: BTreeSet<String> = types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let rows = rows.map(|(name, _)| name.split('{').next().unwrap_or_default().to_owned());
    let documented: BTreeSet<String> = rows
        .filter(|name| name.starts_with("docker_universe_") || name.starts_with("process_"))
        .collect();
    assert_eq!(documented, exposed);
}
