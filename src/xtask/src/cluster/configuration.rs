//! The configuration files of the components. Invariant: a pure function of the cluster's paths and
//! addresses, so that a repaired cluster gets exactly the files it had.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    address::{Addresses, PODS, TEST_REGISTRY_PORTS},
    machine::{CNI_PLUGINS, which},
    state::State,
};

/// The pause image's name. It is imported, never pulled, so that pods start without any registry.
pub(super) const PAUSE: &str = "docker-universe.local/pause:1";

/// Every configuration file, by its path below the state directory.
pub(super) fn files(state: &State, addresses: Addresses) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::from([
        ("config/kubelet.yaml".into(), kubelet(state, addresses)),
        ("config/containerd.toml".into(), containerd(state)),
        ("config/cni/10-docker-universe.conflist".into(), cni(state)),
        ("config/registry.yaml".into(), registry(state, addresses)),
        ("config/nftables".into(), nftables()),
        // A name server that refuses at once, instead of the host's, which nobody in here can reach.
        (
            "config/resolv.conf".into(),
            "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n".into(),
        ),
    ]);
    let tests = TEST_REGISTRY_PORTS.map(|port| format!("{}:{port}", addresses.host()));
    for registry in tests.chain([addresses.registry()]) {
        files.insert(
            format!("config/registries/{registry}/hosts.toml").into(),
            format!("server = \"http://{registry}\"\n\n[host.\"http://{registry}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"),
        );
    }
    files
}

fn kubelet(state: &State, addresses: Addresses) -> String {
    let text = |relative| state.text(relative);
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": addresses.node(),
        "port": 10250,
        "healthzPort": 0,
        "tlsCertFile": text("pki/kubelet-serving.crt"),
        "tlsPrivateKeyFile": text("pki/kubelet-serving.key"),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": text("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", text("containerd.sock")),
        "cgroupDriver": "cgroupfs",
        // Its own, so that two kubelets on one machine do not take each other's pods for orphans.
        "cgroupRoot": format!("/{}", state.cgroup()),
        "enforceNodeAllocatable": ["pods"],
        // From 1.35 on the kubelet refuses version 1 hosts unless it is told not to.
        "failCgroupV1": false,
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        "maxPods": 250,
        // Nothing listens there, so looking a name up fails at once. Without an address the kubelet
        // would put a warning into the events of every pod.
        "clusterDNS": [addresses.node()],
        "clusterDomain": "cluster.local",
        // Limits of speed are for clusters that share an API server.
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        // Zero is not "no limit" here: the client's own limit, five a second, would hold.
        "eventRecordQPS": 100,
        "eventBurst": 200,
        "registryPullQPS": 0,
        "serializeImagePulls": false,
        // Trouble must be seen quickly; the lease is renewed every quarter of this, and the
        // controller manager waits 10 s for it.
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusUpdateFrequency": "4s",
        "evictionPressureTransitionPeriod": "10s",
        // The disk belongs to the developer: how full it is says nothing about the cluster.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "podLogsDir": text("pod-logs"),
        "resolvConf": text("config/resolv.conf"),
        "volumePluginDir": text("kubelet/volume-plugins"),
    });
    format!("{configuration:#}\n")
}

fn containerd(state: &State) -> String {
    let runc = which("runc").unwrap_or_else(|| Path::new("/usr/sbin/runc").to_owned());
    format!(
        r#"version = 3
root = "{root}"
state = "{state}"
# It would make a directory below /opt, and the others need programs or kernels that are not there.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{socket}"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{PAUSE}"

[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "{registries}"

[plugins.'io.containerd.cri.v1.runtime']
  # A container asks for a score below its parent's, which needs a capability that not every root has.
  restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{CNI_PLUGINS}"]
  conf_dir = "{cni}"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  SystemdCgroup = false

[plugins.'io.containerd.nri.v1.nri']
  disable = true
"#,
        root = state.text("containerd"),
        state = state.text("run/containerd"),
        socket = state.text("containerd.sock"),
        registries = state.text("config/registries"),
        cni = state.text("config/cni"),
        runc = runc.display(),
    )
}

fn cni(state: &State) -> String {
    let configuration = json!({
        "cniVersion": "0.4.0",
        "name": "docker-universe",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": true,
                // The table in `nftables` masquerades; the plugin would need iptables for it.
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": state.text("run/addresses"),
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "loopback"},
        ],
    });
    format!("{configuration:#}\n")
}

fn registry(state: &State, addresses: Addresses) -> String {
    let configuration = json!({
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": state.text("registry")},
            "delete": {"enabled": true},
        },
        "http": {"addr": addresses.registry()},
    });
    format!("{configuration:#}\n")
}

/// Pods appear as the node to everybody outside, so the host needs no route to them.
fn nftables() -> String {
    format!(
        "table ip docker-universe {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {PODS} ip daddr != {PODS} masquerade
    # An answer from a pod on the same bridge would go straight to the asking pod, past the service.
    ip saddr {PODS} ip daddr {PODS} ct status dnat masquerade
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registry_of_a_cluster_is_plain_http() {
        let (state, addresses) = (State::of("dev").unwrap(), Addresses::new(1).unwrap());
        let files = files(&state, addresses);
        for registry in ["10.245.255.6:5000", "10.245.255.5:5001", "10.245.255.5:5009"] {
            let hosts = &files[Path::new(&format!("config/registries/{registry}/hosts.toml"))];
            assert!(hosts.starts_with(&format!("server = \"http://{registry}\"\n")), "{hosts}");
        }
        assert_eq!(files, super::files(&state, addresses));
    }
}
