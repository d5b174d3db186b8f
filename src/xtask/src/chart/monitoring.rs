//! What the chart makes of dashboard, alert rules and `ServiceMonitor`. Whether their expressions name metrics that exist is the
//! operator's own test (`tests/monitoring.rs`).
//!
//! Invariant: nothing of them is there unless it is asked for, since most clusters lack the definitions.

use super::{Chart, find, is, list};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// The names of the group of what needs somebody else's definitions.
const FOREIGN: &str = "monitoring.coreos.com/v1";

/// Checks it.
pub(super) fn check(chart: &Chart<'_>, directory: &Path) -> anyhow::Result<()> {
    let objects = chart.render(&[])?;
    for object in &objects {
        ensure!(object["apiVersion"] != FOREIGN, "unasked, the chart has {object}");
        ensure!(
            object["metadata"]["labels"]["grafana_dashboard"].is_null(),
            "unasked, the chart has a dashboard"
        );
    }
    dashboard(chart, directory)?;
    rules(chart, directory)?;
    service_monitor(chart)
}

fn dashboard(chart: &Chart<'_>, directory: &Path) -> anyhow::Result<()> {
    let objects = chart.render(&["metrics.dashboard.enabled=true"])?;
    let map = find(&objects, "ConfigMap", "docker-universe-dashboard")?;
    ensure!(map["metadata"]["labels"]["grafana_dashboard"] == "1", "{}", map["metadata"]);
    let text = map["data"]["docker-universe.json"].as_str().context("no dashboard")?;
    let rendered: Value = serde_json::from_str(text).context("the dashboard is no JSON")?;
    let path = directory.join("files/dashboards/docker-universe.json");
    let wanted: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    ensure!(rendered == wanted, "the chart changes the dashboard");
    Ok(())
}

fn rules(chart: &Chart<'_>, directory: &Path) -> anyhow::Result<()> {
    let values = ["metrics.rules.enabled=true", "metrics.rules.labels.release=prometheus"];
    let objects = chart.render(&values)?;
    let rule = find(&objects, "PrometheusRule", "docker-universe")?;
    ensure!(rule["apiVersion"] == FOREIGN, "{rule}");
    ensure!(rule["metadata"]["labels"]["release"] == "prometheus", "{}", rule["metadata"]);
    let path = directory.join("files/alerts/docker-universe.yaml");
    let wanted: Value = serde_saphyr::from_str(&fs::read_to_string(path)?)?;
    ensure!(rule["spec"] == wanted, "the chart changes the alert rules");
    ensure!(!list(&wanted["groups"]).is_empty(), "there are no alert rules");
    Ok(())
}

fn service_monitor(chart: &Chart<'_>) -> anyhow::Result<()> {
    let values = [
        "metrics.service.enabled=true",
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.interval=5s",
        "metrics.serviceMonitor.labels.release=prometheus",
    ];
    let objects = chart.render(&values)?;
    let monitor = find(&objects, "ServiceMonitor", "docker-universe")?;
    ensure!(monitor["apiVersion"] == FOREIGN, "{monitor}");
    ensure!(monitor["metadata"]["labels"]["release"] == "prometheus", "{}", monitor["metadata"]);
    let endpoint = json!([{ "port": "http", "path": "/metrics", "interval": "5s" }]);
    ensure!(monitor["spec"]["endpoints"] == endpoint, "{monitor}");
    ensure!(
        monitor["spec"]["namespaceSelector"] == json!({ "matchNames": ["operators"] }),
        "{monitor}"
    );
    let service = objects.iter().find(|it| is(it, "Service")).context("no Service")?;
    let selected = monitor["spec"]["selector"]["matchLabels"].as_object().context("no selector")?;
    ensure!(!selected.is_empty(), "it selects everything");
    for (label, value) in selected {
        ensure!(service["metadata"]["labels"][label] == *value, "the Service is not selected");
    }
    ensure!(service["spec"]["ports"][0]["name"] == "http", "{service}");
    Ok(())
}
