//! How the parts of the control plane differ between clusters for tests and clusters for measuring.

use super::state::Kind;

/// What each part is told beside what all clusters need. A node in trouble must be noticed in seconds: that is what the tests
/// wait for. What is measured beside others must not be throttled where the others are not.
pub(super) struct Manner {
    /// etcd.
    pub(super) etcd: &'static [&'static str],
    /// The API server.
    pub(super) api_server: &'static [&'static str],
    /// The controller manager.
    pub(super) controller_manager: &'static [&'static str],
    /// The scheduler.
    pub(super) scheduler: &'static [&'static str],
}

impl Manner {
    /// Of a cluster of this kind.
    pub(super) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Whole => Self {
                etcd: &["--quota-backend-bytes=4294967296"],
                api_server: &[
                    "--default-not-ready-toleration-seconds=3",
                    "--default-unreachable-toleration-seconds=3",
                ],
                controller_manager: &[
                    "--node-monitor-period=1s",
                    "--node-monitor-grace-period=10s",
                    "--kube-api-qps=100",
                    "--kube-api-burst=200",
                ],
                scheduler: &[],
            },
            // A hundred thousand pods with all their versions are some gigabytes until they are compacted.
            Kind::ControlPlane => Self {
                etcd: &["--quota-backend-bytes=8589934592"],
                api_server: &["--etcd-compaction-interval=1m", "--delete-collection-workers=8"],
                controller_manager: &[
                    "--kube-api-qps=100000",
                    "--kube-api-burst=100000",
                    "--concurrent-job-syncs=32",
                ],
                scheduler: &["--kube-api-qps=100000", "--kube-api-burst=100000"],
            },
        }
    }
}
