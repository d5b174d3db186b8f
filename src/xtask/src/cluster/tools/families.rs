//! The programs that a cluster consists of, and where each comes from.
//!
//! Invariant: a version stands here and in the family's `go.mod` alike.

use super::Family;

macro_rules! module {
    ($family:literal, $file:literal) => {
        include_str!(concat!("../../../tools/", $family, "/", $file))
    };
}

/// All of them, the quickest to build first.
pub(super) static FAMILIES: [Family; 6] = [
    Family {
        name: "etcd",
        version: "v3.6.16",
        module: module!("etcd", "go.mod"),
        sums: module!("etcd", "go.sum"),
        packages: &["go.etcd.io/etcd/server/v3"],
        output: Some("etcd"),
        variables: &[],
        cold_seconds: 31,
        on_demand: false,
    },
    Family {
        name: "s5cmd",
        version: "v2.3.0",
        module: module!("s5cmd", "go.mod"),
        sums: module!("s5cmd", "go.sum"),
        packages: &["github.com/peak/s5cmd/v2"],
        output: Some("s5cmd"),
        variables: &[("github.com/peak/s5cmd/v2/version.Version", "v2.3.0")],
        cold_seconds: 20,
        on_demand: true,
    },
    Family {
        name: "versitygw",
        version: "v1.8.0",
        module: module!("versitygw", "go.mod"),
        sums: module!("versitygw", "go.sum"),
        packages: &["github.com/versity/versitygw/cmd/versitygw"],
        output: None,
        variables: &[("main.Version", "v1.8.0")],
        cold_seconds: 65,
        on_demand: false,
    },
    Family {
        name: "containerd",
        version: "v2.4.2",
        module: module!("containerd", "go.mod"),
        sums: module!("containerd", "go.sum"),
        packages: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/ctr",
        ],
        output: None,
        variables: &[("github.com/containerd/containerd/v2/version.Version", "v2.4.2")],
        cold_seconds: 68,
        on_demand: false,
    },
    Family {
        name: "kubernetes",
        version: "v1.36.3",
        module: module!("kubernetes", "go.mod"),
        sums: module!("kubernetes", "go.sum"),
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-proxy",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubectl",
            "k8s.io/kubernetes/cmd/kubelet",
        ],
        output: None,
        // Without these the server calls itself v0.0.0-master, which no chart's `kubeVersion` allows.
        variables: &[
            ("k8s.io/component-base/version.gitVersion", "v1.36.3"),
            ("k8s.io/component-base/version.gitMajor", "1"),
            ("k8s.io/component-base/version.gitMinor", "36"),
            ("k8s.io/component-base/version.gitTreeState", "clean"),
            ("k8s.io/client-go/pkg/version.gitVersion", "v1.36.3"),
            ("k8s.io/client-go/pkg/version.gitMajor", "1"),
            ("k8s.io/client-go/pkg/version.gitMinor", "36"),
            ("k8s.io/client-go/pkg/version.gitTreeState", "clean"),
        ],
        cold_seconds: 418,
        on_demand: false,
    },
    Family {
        name: "helm",
        version: "v4.3.1",
        module: module!("helm", "go.mod"),
        sums: module!("helm", "go.sum"),
        packages: &["helm.sh/helm/v4/cmd/helm"],
        output: None,
        variables: &[("helm.sh/helm/v4/internal/version.version", "v4.3.1")],
        cold_seconds: 130,
        on_demand: false,
    },
];
