//! Checks of the Helm chart that need no cluster: what it renders for several sets of values, and what it refuses.
//!
//! Invariant: the operator's rights are exactly the list below. Whoever needs one more writes it here, where it is
//! seen in review, and in the chart.

mod monitoring;
mod renderings;
mod replicas;

use anyhow::{Context as _, bail, ensure};
use renderings::RENDERINGS;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Without this the chart refuses to render.
const IMAGE: &str = "image.reference=registry.example.org/docker-universe@sha256:00";

/// Rights in every namespace with jobs: `group/resource: verbs`.
const RIGHTS: [&str; 10] = [
    "/configmaps: create delete get update",
    "/events: list",
    "/pods: create delete deletecollection get list patch watch",
    "/pods/log: get",
    "dockeruniverse.io/dockeruniversecommands: delete get list watch",
    "dockeruniverse.io/dockeruniversecommands/status: patch",
    "dockeruniverse.io/dockeruniversejobs: delete get list watch",
    "dockeruniverse.io/dockeruniversejobs/finalizers: update",
    "dockeruniverse.io/dockeruniversejobs/status: patch",
    "events.k8s.io/events: create patch",
];

/// Rights in the operator's own namespace.
const OWN_RIGHTS: [&str; 2] =
    ["/configmaps: create", "/configmaps docker-universe-cluster-ids: get update"];

/// Rights to the lease by which one of several operators leads.
const LEASE_RIGHTS: [&str; 2] = [
    "coordination.k8s.io/leases: create",
    "coordination.k8s.io/leases docker-universe-operator: get update",
];

/// Values that must be refused, and a part of what is then said.
const REFUSALS: [(&[&str], &str); 17] = [
    (&["image.reference="], "image.reference is required: say --set image.reference="),
    (&["image.refrence=x"], "additional properties 'refrence' not allowed"),
    (&["watchNamespaces=lab"], "additional properties 'watchNamespaces' not allowed"),
    (&["metrics.service.enable=true"], "additional properties 'enable' not allowed"),
    (&["defaults.memory=128"], "/defaults/memory"),
    (&["defaults.cpus=-1"], "/defaults/cpus"),
    (&["defaults.maxVacateTime=-1"], "/defaults/maxVacateTime"),
    (&["starter.delivery=Magic"], "/starter/delivery"),
    (&["watchNamespace=Lab"], "/watchNamespace"),
    (&["jobs.runAsUser=nobody"], "/jobs/runAsUser"),
    (&["crds.keep=maybe"], "/crds/keep"),
    (&["replicas=-1"], "/replicas"),
    (&["terminationGracePeriodSeconds=1"], "/terminationGracePeriodSeconds"),
    (&["podDisruptionBudget.minAvailable=1"], "additional properties 'minAvailable' not allowed"),
    (
        &["metrics.serviceMonitor.enabled=true"],
        "metrics.serviceMonitor.enabled needs metrics.service.enabled",
    ),
    (&["metrics.serviceMonitor.interval=0s"], "/metrics/serviceMonitor/interval"),
    (&["policies.periodicHold=true"], "additional properties 'periodicHold' not allowed"),
];

/// Check the Helm chart, without a cluster
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The helm program
    #[arg(long, default_value = "helm")]
    helm: PathBuf,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    check(&arguments.helm)?;
    println!("the chart is as it should be");
    Ok(())
}

/// Fails with what is wrong with the chart, as `helm` at this path sees it.
pub(crate) fn check(helm: &Path) -> anyhow::Result<()> {
    let root = crate::repository();
    let chart = Chart { helm, path: &root.join("charts/docker-universe") };
    chart.lint()?;
    for (values, wanted, unwanted) in RENDERINGS {
        let objects = chart.render(values)?;
        rights(&objects, values)
            .and_then(|()| pod(&objects, wanted, unwanted))
            .with_context(|| format!("the chart with values {values:?}"))?;
    }
    for (values, words) in REFUSALS {
        chart.refuses(values, words)?;
    }
    definitions(&chart, &root.join("crds"))?;
    monitoring::check(&chart, chart.path)?;
    replicas::check(&chart)?;
    switches(&chart)
}

struct Chart<'a> {
    helm: &'a Path,
    path: &'a Path,
}

impl Chart<'_> {
    fn lint(&self) -> anyhow::Result<()> {
        let output = Command::new(self.helm)
            .args(["lint", "--strict", "--set", IMAGE])
            .arg(self.path)
            .output()
            .with_context(|| format!("cannot run '{}'", self.helm.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "helm lint --strict: {said}");
        Ok(())
    }

    /// What `helm template` says, well or ill.
    fn template(&self, values: &[&str]) -> anyhow::Result<Result<String, String>> {
        let mut helm = Command::new(self.helm);
        helm.args(["template", "docker-universe"]).arg(self.path);
        helm.args(["--namespace", "operators", "--set", IMAGE]);
        for value in values {
            helm.args(["--set", value]);
        }
        let output =
            helm.output().with_context(|| format!("cannot run '{}'", self.helm.display()))?;
        Ok(if output.status.success() {
            Ok(String::from_utf8(output.stdout)?)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        })
    }

    fn render(&self, values: &[&str]) -> anyhow::Result<Vec<Value>> {
        match self.template(values)? {
            Ok(text) => serde_saphyr::from_multiple(&text).context("helm renders no YAML"),
            Err(said) => bail!("helm template with values {values:?}: {said}"),
        }
    }

    fn refuses(&self, values: &[&str], words: &str) -> anyhow::Result<()> {
        match self.template(values)? {
            Ok(_) => bail!("the chart takes the values {values:?}, which it must refuse"),
            Err(said) if said.contains(words) => Ok(()),
            Err(said) => bail!("the chart refuses {values:?} without saying \"{words}\": {said}"),
        }
    }
}

/// The operator's rights are those of the list, where they are to be, and nobody is given Secrets or a wildcard.
fn rights(objects: &[Value], values: &[&str]) -> anyhow::Result<()> {
    for role in objects.iter().filter(|it| is(it, "ClusterRole") || is(it, "Role")) {
        for right in granted(role) {
            ensure!(
                !right.contains('*') && !right.contains("secrets"),
                "'{}' grants '{right}'",
                name(role)
            );
        }
    }
    let namespace = values.iter().find_map(|value| value.strip_prefix("watchNamespace="));
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    grants(objects, kind, "docker-universe", namespace, &RIGHTS)?;
    grants(objects, "Role", "docker-universe-cluster-ids", Some("operators"), &OWN_RIGHTS)?;
    grants(objects, "Role", "docker-universe-lease", Some("operators"), &LEASE_RIGHTS)?;

    let bound: BTreeSet<_> = objects
        .iter()
        .filter(|it| is(it, "ClusterRoleBinding") || is(it, "RoleBinding"))
        .filter_map(|binding| binding["roleRef"]["name"].as_str())
        .collect();
    ensure!(
        bound
            == BTreeSet::from([
                "docker-universe",
                "docker-universe-cluster-ids",
                "docker-universe-lease"
            ]),
        "the chart binds {bound:?}"
    );
    Ok(())
}

fn grants(
    objects: &[Value],
    kind: &str,
    role: &str,
    namespace: Option<&str>,
    list: &[&str],
) -> anyhow::Result<()> {
    let role = find(objects, kind, role)?;
    ensure!(
        role["metadata"]["namespace"].as_str() == namespace,
        "{kind} '{}' is in namespace {}, not in {namespace:?}",
        name(role),
        role["metadata"]["namespace"]
    );
    let granted = granted(role);
    let wanted: BTreeSet<_> = list.iter().map(|right| (*right).to_owned()).collect();
    let missing: Vec<_> = wanted.difference(&granted).collect();
    let excess: Vec<_> = granted.difference(&wanted).collect();
    ensure!(
        missing.is_empty() && excess.is_empty(),
        "{kind} '{}' grants {excess:?} beyond the list in src/xtask/src/chart.rs, and not {missing:?}",
        name(role)
    );
    Ok(())
}

/// A role's rules, one text for each resource.
fn granted(role: &Value) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in list(&role["rules"]) {
        let mut verbs = words(&rule["verbs"]);
        verbs.sort_unstable();
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                let named: Vec<_> =
                    [resource].into_iter().chain(words(&rule["resourceNames"])).collect();
                rights.insert(format!("{group}/{}: {}", named.join(" "), verbs.join(" ")));
            }
        }
    }
    rights
}

/// The operator's pod gets the right arguments and keeps to Pod Security's level "restricted".
fn pod(objects: &[Value], wanted: &[&str], unwanted: &[&str]) -> anyhow::Result<()> {
    let deployment = find(objects, "Deployment", "docker-universe")?;
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments = words(&container["args"]);
    for argument in wanted {
        ensure!(arguments.contains(argument), "'{argument}' is missing in {arguments:?}");
    }
    for argument in unwanted {
        ensure!(
            !arguments.iter().any(|it| it.starts_with(argument)),
            "'{argument}' must not be in {arguments:?}"
        );
    }
    for (what, is, must) in [
        (
            "strategy",
            &deployment["spec"]["strategy"],
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } }),
        ),
        ("runAsNonRoot", &pod["securityContext"]["runAsNonRoot"], json!(true)),
        (
            "seccompProfile",
            &pod["securityContext"]["seccompProfile"]["type"],
            json!("RuntimeDefault"),
        ),
        (
            "container's securityContext",
            &container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            }),
        ),
    ] {
        ensure!(*is == must, "the operator's {what} is {is}, not {must}");
    }
    Ok(())
}

/// The chart's definitions are those of `crds/`, kept on uninstall unless the values say otherwise.
fn definitions(chart: &Chart<'_>, directory: &Path) -> anyhow::Result<()> {
    let mut committed = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        committed.push(
            serde_saphyr::from_str::<Value>(&text)
                .with_context(|| format!("cannot read '{}'", path.display()))?,
        );
    }
    for (values, keep) in [(&[][..], true), (&["crds.keep=false"][..], false)] {
        let objects = chart.render(values)?;
        let rendered = objects.iter().filter(|it| is(it, "CustomResourceDefinition")).count();
        ensure!(
            rendered == committed.len(),
            "the chart has {rendered} definitions and 'crds/' has {}",
            committed.len()
        );
        for wanted in &committed {
            let mut wanted = wanted.clone();
            if keep {
                wanted["metadata"]["annotations"] = json!({ "helm.sh/resource-policy": "keep" });
            }
            let rendered = find(&objects, "CustomResourceDefinition", name(&wanted))?;
            ensure!(
                *rendered == wanted,
                "the chart's definition '{}' is not the one of 'crds/' with keep={keep}: run `cargo xtask crds`",
                name(&wanted)
            );
        }
    }
    Ok(())
}

/// What can be switched on and off is there and not there.
fn switches(chart: &Chart<'_>) -> anyhow::Result<()> {
    for (value, kind, there) in [
        ("crds.install=false", "CustomResourceDefinition", false),
        ("admissionPolicy.enabled=true", "ValidatingAdmissionPolicyBinding", true),
        ("admissionPolicy.enabled=false", "ValidatingAdmissionPolicy", false),
        ("admissionPolicy.enabled=false", "ValidatingAdmissionPolicyBinding", false),
        ("metrics.service.enabled=true", "Service", true),
        ("metrics.service.enabled=false", "Service", false),
    ] {
        let objects = chart.render(&[value])?;
        let found = objects.iter().any(|it| is(it, kind));
        ensure!(found == there, "with {value}, the chart has a {kind}: {found}");
    }
    for aggregate in [true, false] {
        let objects = chart.render(&[&format!("rbac.aggregate={aggregate}")])?;
        let edit = find(&objects, "ClusterRole", "docker-universe-edit")?;
        let label = &edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"];
        ensure!(label.is_string() == aggregate, "rbac.aggregate={aggregate} gives label {label}");
    }
    Ok(())
}

fn find<'a>(objects: &'a [Value], kind: &str, wanted: &str) -> anyhow::Result<&'a Value> {
    objects
        .iter()
        .find(|it| is(it, kind) && name(it) == wanted)
        .with_context(|| format!("the chart has no {kind} '{wanted}'"))
}

fn is(object: &Value, kind: &str) -> bool {
    object["kind"] == kind
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn words(value: &Value) -> Vec<&str> {
    list(value).iter().filter_map(Value::as_str).collect()
}
