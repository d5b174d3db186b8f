//! What the chart makes of several replicas of the operator.
//!
//! Invariant: what keeps replicas apart is there where there are several, gives way to what the values say, and is not there for
//! one, whose node could then not be drained.

use super::{Chart, find, is};
use anyhow::ensure;
use serde_json::{Value, json};

/// Checks it.
pub(super) fn check(chart: &Chart<'_>) -> anyhow::Result<()> {
    for (values, replicas, apart, spread, budget) in [
        (&[][..], 1, false, false, false),
        (&["replicas=0"][..], 0, false, false, false),
        (&["replicas=2"][..], 2, true, true, true),
        (&["replicas=2", "podDisruptionBudget.enabled=false"][..], 2, true, true, false),
        (&["replicas=3", "affinity.podAntiAffinity.own=x"][..], 3, false, true, true),
        (&["replicas=2", "affinity.nodeAffinity.own=x"][..], 2, true, true, true),
        (&["replicas=2", "topologySpreadConstraints[0].maxSkew=7"][..], 2, true, false, true),
    ] {
        let objects = chart.render(values)?;
        let deployment = find(&objects, "Deployment", "docker-universe")?;
        let pod = &deployment["spec"]["template"]["spec"];
        ensure!(deployment["spec"]["replicas"] == json!(replicas), "{values:?}: replicas");
        let term = &pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
            [0]["podAffinityTerm"];
        let selector = &deployment["spec"]["selector"];
        let keeps = |term: &Value, key: &str| {
            term["topologyKey"] == key && term["labelSelector"] == *selector
        };
        ensure!(keeps(term, "kubernetes.io/hostname") == apart, "{values:?}: {}", pod["affinity"]);
        let constraint = &pod["topologySpreadConstraints"][0];
        ensure!(
            keeps(constraint, "topology.kubernetes.io/zone") == spread,
            "{values:?}: {constraint}"
        );
        for value in values.iter().filter_map(|value| value.strip_prefix("affinity.")) {
            let kind = value.split('.').next().unwrap_or_default();
            ensure!(pod["affinity"][kind]["own"] == "x", "{values:?}: {}", pod["affinity"]);
        }
        let found = objects.iter().find(|it| is(it, "PodDisruptionBudget"));
        ensure!(found.is_some() == budget, "{values:?}: a PodDisruptionBudget: {found:?}");
        if let Some(found) = found {
            ensure!(found["spec"]["selector"] == *selector, "{values:?}: {found}");
            ensure!(found["spec"]["maxUnavailable"] == json!(1), "{values:?}: {found}");
        }
        ensure!(
            pod["terminationGracePeriodSeconds"].as_i64().is_some_and(|grace| grace > 2),
            "{values:?}: the operator has no time to hand over"
        );
    }
    Ok(())
}
