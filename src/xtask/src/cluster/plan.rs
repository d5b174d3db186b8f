//! What runs in a cluster and how. Invariant: a plan says everything the supervisor needs, so the
//! supervisor reads nothing else, and two equal fingerprints mean the same running cluster.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    address::{Addresses, PODS, REGISTRY_PORT, S3_PORT, SERVICES},
    machine::which,
    manner::Manner,
    s3,
    state::{Kind, State, hex, write},
    tools::Tools,
};

/// Everything the supervisor needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The state directory.
    pub(super) state: PathBuf,
    /// The host's end of the cable.
    pub(super) host: Ipv4Addr,
    /// The node's end of the cable.
    pub(super) node: Ipv4Addr,
    /// The components, each after those it needs.
    pub(super) components: Vec<Component>,
}

/// One process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Component {
    /// The name people use for it.
    pub(super) name: String,
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// A file with variables for its environment, one `NAME=value` a line: what nobody is to see among the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) variables: Option<PathBuf>,
    /// Components that must be ready before it is started.
    pub(super) after: Vec<String>,
    /// When it counts as ready.
    pub(super) ready: Ready,
}

/// When a component counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ready {
    /// It has ended successfully: it is a task rather than a service.
    Done,
    /// Something accepts connections there.
    Tcp(SocketAddr),
    /// Something accepts connections there.
    Unix(PathBuf),
    /// This command ends successfully.
    Command(Vec<String>),
}

impl Plan {
    /// The plan of a cluster of this kind with these addresses and tools.
    pub(super) fn new(
        state: &State,
        addresses: Addresses,
        kind: Kind,
        tools: &Tools,
    ) -> anyhow::Result<Self> {
        let programs: BTreeMap<_, _> = tools.programs().collect();
        let mut plan = Self {
            state: state.dir.clone(),
            host: addresses.host(),
            node: addresses.node(),
            components: Vec::new(),
        };
        let program = |name: &str| -> anyhow::Result<String> {
            let path = programs.get(name).cloned().or_else(|| which(name));
            let path = path.with_context(|| format!("program \"{name}\" was not found"))?;
            Ok(path.to_string_lossy().into_owned())
        };
        for component in components(state, addresses, kind) {
            plan.components.push(component.resolve(&program)?);
        }
        Ok(plan)
    }

    /// Changes when a component would have to be started differently.
    pub(super) fn fingerprint(&self, files: &BTreeMap<PathBuf, String>) -> anyhow::Result<String> {
        let everything = serde_json::to_vec(&(self, files))?;
        Ok(hex(&Sha256::digest(everything)))
    }

    /// Writes the plan and the configuration files.
    pub(super) fn keep(&self, files: &BTreeMap<PathBuf, String>) -> anyhow::Result<()> {
        for (path, content) in files {
            write(&self.state.join(path), content.as_bytes())?;
        }
        write(&self.state.join("plan.json"), &serde_json::to_vec_pretty(self)?)
    }
}

impl Component {
    fn new(name: &str, after: &[&str], ready: Ready, command: &[&str]) -> Self {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (command, after) = (own(command), own(after));
        Self { name: name.to_owned(), command, variables: None, after, ready }
    }

    /// Replaces the names of programs by their paths.
    fn resolve(
        mut self,
        program: &impl Fn(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        self.command[0] = program(&self.command[0])?;
        if let Ready::Command(command) = &mut self.ready {
            command[0] = program(&command[0])?;
        }
        Ok(self)
    }
}

fn local(port: u16) -> Ready {
    Ready::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn components(state: &State, addresses: Addresses, kind: Kind) -> Vec<Component> {
    let mut all = control_plane(state, addresses, kind);
    if kind == Kind::Whole {
        all.extend(node(state, addresses));
    }
    all
}

fn control_plane(state: &State, addresses: Addresses, kind: Kind) -> Vec<Component> {
    let manner = Manner::of(kind);
    let pki = |file: &str| state.text(&format!("pki/{file}"));
    let config = |client: &str| state.text(&format!("kubeconfigs/{client}"));
    let mut kcm = vec!["kube-controller-manager".to_owned()];
    kcm.extend(
        ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
            .map(|flag| format!("--{flag}={}", config("kube-controller-manager"))),
    );
    kcm.extend([
        format!("--service-account-private-key-file={}", pki("service-accounts.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        "--use-service-account-credentials".to_owned(),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
    ]);
    let with = |own: &[String], manner: &[&str]| -> Vec<String> {
        own.iter().cloned().chain(manner.iter().map(|&word| word.to_owned())).collect()
    };
    let kcm = with(&kcm, manner.controller_manager);
    let api = with(&api_server(state, addresses), manner.api_server);
    let etcd = with(&etcd(state), manner.etcd);
    let scheduler = with(&scheduler(&config("kube-scheduler")), manner.scheduler);
    let admin = state.kubeconfig();
    let admin = admin.to_string_lossy();
    let readyz = ["kubectl", "--kubeconfig", &admin, "get", "--raw", "/readyz"].map(str::to_owned);
    let component = |name: &str, after: &[&str], ready: Ready, command: &[String]| {
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        Component::new(name, after, ready, &command)
    };
    vec![
        component("etcd", &[], local(2379), &etcd),
        component("kube-apiserver", &["etcd"], Ready::Command(readyz.to_vec()), &api),
        component("kube-controller-manager", &["kube-apiserver"], local(10257), &kcm),
        component("kube-scheduler", &["kube-apiserver"], local(10259), &scheduler),
    ]
}

fn etcd(state: &State) -> Vec<String> {
    let data = state.text("etcd");
    [
        "etcd",
        "--data-dir",
        &data,
        // Nothing in a test cluster must survive a power cut, and waiting for disks is slow.
        "--unsafe-no-fsync",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=default=http://127.0.0.1:2380",
        "--log-level=warn",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn scheduler(config: &str) -> Vec<String> {
    vec![
        "kube-scheduler".to_owned(),
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
    ]
}

fn api_server(state: &State, addresses: Addresses) -> Vec<String> {
    let pki = |file: &str| state.text(&format!("pki/{file}"));
    vec![
        "kube-apiserver".to_owned(),
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--bind-address=0.0.0.0".to_owned(),
        "--secure-port=6443".to_owned(),
        format!("--advertise-address={}", addresses.node()),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", pki("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", pki("service-accounts.key")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        // Logs and exec go to the node's address: nothing here can look its name up.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet-client.key")),
    ]
}

fn node(state: &State, addresses: Addresses) -> Vec<Component> {
    let socket = state.path("containerd.sock");
    let config =
        |client: &str| format!("--kubeconfig={}", state.text(&format!("kubeconfigs/{client}")));
    let at = |port: u16| Ready::Tcp(SocketAddr::from((addresses.node(), port)));
    vec![
        Component::new(
            "registry",
            &[],
            at(REGISTRY_PORT),
            &["docker-registry", "serve", &state.text("config/registry.yaml")],
        ),
        s3_server(state, addresses),
        Component::new(
            "containerd",
            &[],
            Ready::Unix(socket.clone()),
            &["containerd", "--config", &state.text("config/containerd.toml")],
        ),
        Component::new(
            "pause-image",
            &["containerd"],
            Ready::Done,
            &[
                "ctr",
                "--address",
                &socket.to_string_lossy(),
                "--namespace=k8s.io",
                "images",
                "import",
                &state.text("pause.tar"),
            ],
        ),
        Component::new(
            "kube-proxy",
            &["kube-apiserver"],
            local(10256),
            &[
                "kube-proxy",
                &config("kube-proxy"),
                &format!("--hostname-override={}", state.node_name()),
                "--proxy-mode=nftables",
                &format!("--cluster-cidr={PODS}"),
                "--conntrack-max-per-core=0",
                "--healthz-bind-address=127.0.0.1:10256",
                "--metrics-bind-address=127.0.0.1:10249",
            ],
        ),
        Component::new(
            "kubelet",
            &["kube-apiserver", "containerd", "pause-image"],
            at(10250),
            &[
                "kubelet",
                &format!("--config={}", state.text("config/kubelet.yaml")),
                &config("kubelet"),
                &format!("--hostname-override={}", state.node_name()),
                &format!("--node-ip={}", addresses.node()),
                &format!("--root-dir={}", state.text("kubelet")),
            ],
        ),
    ]
}

fn s3_server(state: &State, addresses: Addresses) -> Component {
    let command = [
        "versitygw",
        "--port",
        &addresses.s3(),
        // As others' S3 services do: without, each request would be a connection.
        "--keep-alive",
        "--quiet",
        "posix",
        &state.text(s3::DIRECTORY),
    ];
    let ready = Ready::Tcp(SocketAddr::from((addresses.node(), S3_PORT)));
    let server = Component::new("s3", &[], ready, &command);
    Component { variables: Some(state.path(s3::KEYS)), ..server }
}

#[cfg(test)]
mod tests {
    use super::{super::configuration, *};

    fn all() -> Vec<Component> {
        of(Kind::Whole)
    }

    fn of(kind: Kind) -> Vec<Component> {
        components(&State::of("dev").unwrap(), Addresses::new(0).unwrap(), kind)
    }

    #[test]
    fn each_component_comes_after_those_it_needs() {
        let mut seen = Vec::new();
        for component in all() {
            for needed in &component.after {
                assert!(seen.contains(needed), "{} before {needed}", component.name);
            }
            seen.push(component.name);
        }
    }

    #[test]
    fn a_control_plane_alone_is_the_first_part_of_a_whole_cluster() {
        let names = |components: Vec<Component>| -> Vec<String> {
            components.into_iter().map(|component| component.name).collect()
        };
        let (alone, whole) = (names(of(Kind::ControlPlane)), names(of(Kind::Whole)));
        assert!(whole.starts_with(&alone), "{alone:?}");
        assert!(!alone.contains(&"kubelet".to_owned()), "{alone:?}");
    }

    #[test]
    fn the_fingerprint_changes_with_an_argument_and_with_a_file() {
        let mut plan = Plan {
            state: "/s".into(),
            host: Ipv4Addr::LOCALHOST,
            node: Ipv4Addr::LOCALHOST,
            components: all(),
        };
        let mut files =
            configuration::files(&State::of("dev").unwrap(), Addresses::new(0).unwrap());
        let first = plan.fingerprint(&files).unwrap();
        assert_eq!(first, plan.fingerprint(&files).unwrap());
        plan.components[0].command.push("--more".to_owned());
        let second = plan.fingerprint(&files).unwrap();
        files.insert("x".into(), String::new());
        let third = plan.fingerprint(&files).unwrap();
        assert!(first != second && second != third);
    }

    #[test]
    fn a_plan_survives_its_file() {
        let plan = Plan {
            state: "/s".into(),
            host: Ipv4Addr::LOCALHOST,
            node: Ipv4Addr::LOCALHOST,
            components: all(),
        };
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
