//! What the chart makes of its values: the table that the check goes by.
//!
//! Invariant: an argument that a value does not ask for is not there.

/// Values, arguments that the operator must get from them, and beginnings of arguments that it must not get.
pub(super) const RENDERINGS: [(&[&str], &[&str], &[&str]); 8] = [
    (
        &[],
        &[
            "run",
            "--image=registry.example.org/docker-universe@sha256:00",
            "--default-cpus=1",
            "--default-memory=128Mi",
            "--gpu-resource=nvidia.com/gpu",
            "--max-vacate-time=600",
            "--run-as-user=65534",
            "--run-as-group=65534",
            "--starter-delivery=Auto",
            "--image-patience=120",
            "--transfer-patience=300",
            "--transfer-retention=600",
            "--kept-pods=500",
            "--max-running=10000",
            "--max-procs=0",
            "--log-format=json",
            "--listen=0.0.0.0:8080",
            "--lease=docker-universe-operator",
        ],
        &[
            "--default-disk",
            "--allow-root",
            "--starter-pull-secret",
            "--namespace",
            "--event-log",
            "--system-periodic",
            "--ca-bundle",
            "--plain-http-registry",
            "--registry-mirror",
            "--max-running-in",
            "--max-procs-in",
        ],
    ),
    (&["watchNamespace=lab"], &["--namespace=lab"], &[]),
    (
        &[
            "limits.maxRunning=0",
            "limits.maxProcsPerJob=500",
            "limits.namespaces.physics.maxRunning=20",
            "limits.namespaces.lab.maxProcsPerJob=9",
        ],
        &[
            "--max-running=0",
            "--max-procs=500",
            "--max-running-in=physics=20",
            "--max-procs-in=lab=9",
        ],
        &["--max-running-in=lab", "--max-procs-in=physics"],
    ),
    (
        &[
            "transfer.patienceSeconds=20",
            "transfer.retentionSeconds=0",
            "transfer.caBundle.configMap=trust",
            "registries.plainHttp={10.0.0.1:5000,r.example:5000}",
            "registries.mirrors.docker\\.io=mirror.example",
        ],
        &[
            "--transfer-patience=20",
            "--transfer-retention=0",
            "--ca-bundle=trust=ca.crt",
            "--plain-http-registry=10.0.0.1:5000",
            "--plain-http-registry=r.example:5000",
            "--registry-mirror=docker.io=mirror.example",
        ],
        &[],
    ),
    (
        &[
            "eventLog=true",
            "policies.systemPeriodicHold=NumJobStarts > 20",
            "policies.systemPeriodicRemove=NumHolds > 9",
        ],
        &[
            "--event-log",
            "--system-periodic-hold=NumJobStarts > 20",
            "--system-periodic-remove=NumHolds > 9",
        ],
        &["--system-periodic-release", "--system-periodic-vacate"],
    ),
    (
        &["jobs.allowRoot=true", "jobs.runAsUser=null", "jobs.runAsGroup=null"],
        &["--allow-root"],
        &["--run-as-user", "--run-as-group"],
    ),
    (
        &["jobs.runAsUser=2147483647", "imagePatienceSeconds=86400", "defaults.maxVacateTime=0"],
        &["--run-as-user=2147483647", "--image-patience=86400", "--max-vacate-time=0"],
        &[],
    ),
    (
        &[
            "defaults.disk=10Gi",
            "starter.pullSecrets={a,b}",
            "starter.delivery=InitContainer",
            "starter.image=mirror/x:1",
        ],
        &[
            "--default-disk=10Gi",
            "--image=mirror/x:1",
            "--starter-pull-secret=a",
            "--starter-pull-secret=b",
            "--starter-delivery=InitContainer",
        ],
        &[],
    ),
];
