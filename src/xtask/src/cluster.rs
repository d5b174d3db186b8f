//! `cargo xtask cluster`: a real Kubernetes on this machine, from package registries only.
//! Invariant: everything of a cluster lives in its state directory, in namespaces of its own, in one
//! cgroup and at one end of a cable, so that ending one process and removing four things removes it.

mod address;
mod cgroup;
mod configuration;
mod control;
mod down;
mod environment;
mod machine;
mod manner;
mod pause;
mod pki;
mod plan;
mod process;
mod progress;
mod s3;
mod state;
mod status;
mod supervisor;
mod tools;
mod up;

use std::{
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Subcommand;

pub(crate) use self::{
    control::Change,
    down::down,
    s3::Keys as S3Keys,
    state::Kind,
    up::{of_kind, up},
};
use self::{
    control::{Condition, Request},
    state::State,
};

/// The cluster that is meant where no other is named.
pub(crate) const DEFAULT_NAME: &str = "dev";

/// How long a component may take to do what it was told.
const CHANGE_LIMIT: Duration = Duration::from_mins(1);

/// Arguments of `cargo xtask cluster`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which cluster; several live side by side
    #[arg(long, global = true, env = "DOCKER_UNIVERSE_CLUSTER", default_value = DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Bring the cluster up, or repair it; the first time builds Kubernetes, which takes about 12 minutes
    Up {
        /// No node and no registry, and nobody throttled: the cluster of `bench scale`
        #[arg(long)]
        control_plane: bool,
    },
    /// Remove the cluster and everything it left on this machine
    Down,
    /// Print what a shell needs: eval "$(cargo xtask cluster env)"
    Env,
    /// Show the components, the node, the registry and the S3 server
    Status,
    /// Stop, start, freeze, thaw or kill one component, such as "kubelet" or "registry"
    Component {
        /// What to do with it
        change: Change,
        /// The component, as `status` names it
        component: String,
    },
    /// Inside a cluster: supervise it
    #[command(hide = true)]
    Supervise {
        /// The cluster's state directory
        state: PathBuf,
    },
}

/// Does what was asked on the command line.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let name = &arguments.name;
    match &arguments.verb {
        Verb::Up { control_plane: true } => of_kind(name, Kind::ControlPlane).map(|_| ()),
        Verb::Up { control_plane: false } => {
            let cluster = up(name)?;
            eprintln!(
                "cluster \"{name}\" is up: eval \"$(cargo xtask cluster env{})\" && kubectl get nodes",
                option(name)
            );
            eprintln!(
                "registry {}, S3 {} (bucket \"jobs\"), host seen from pods {}",
                cluster.registry, cluster.s3, cluster.host_address
            );
            Ok(())
        }
        Verb::Down => down(name),
        Verb::Env => {
            print!("{}", environment::script(&require(name)?));
            Ok(())
        }
        Verb::Status => status::print(&State::of(name)?),
        Verb::Component { change, component } => require(name)?.change(*change, component),
        Verb::Supervise { state } => supervisor::run(state),
    }
}

/// A cluster that is up.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// Its name.
    pub(crate) name: String,
    /// The administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// A directory with `kubectl`, `helm`, `ctr` and all components' programs.
    pub(crate) bin: PathBuf,
    /// The registry's `host:port` for the host, the node and pods alike; plain HTTP.
    pub(crate) registry: String,
    /// The S3 server's URL for the host, the node and pods alike; plain HTTP. Its bucket is `jobs`.
    pub(crate) s3: String,
    /// The host's address as the node and the pods see it. Ports 5001 to 5009 there are plain HTTP registries to the node.
    pub(crate) host_address: String,
    /// The node's address: the API server's, too.
    pub(crate) node_address: String,
    /// Name of its only node.
    pub(crate) node_name: String,
    /// The state directory; the components' logs are in `logs/` below it.
    pub(crate) state: PathBuf,
}

impl Cluster {
    fn of(state: &State, addresses: address::Addresses) -> Self {
        Self {
            name: state.name.clone(),
            kubeconfig: state.kubeconfig(),
            bin: state.path("bin"),
            registry: addresses.registry(),
            s3: format!("http://{}", addresses.s3()),
            host_address: addresses.host().to_string(),
            node_address: addresses.node().to_string(),
            node_name: state.node_name(),
            state: state.dir.clone(),
        }
    }

    /// Who a client of the S3 server says it is.
    pub(crate) fn s3_keys(&self) -> anyhow::Result<s3::Keys> {
        s3::Keys::read(&self.state)
    }

    /// Puts an object into the S3 server's bucket `jobs`.
    pub(crate) fn put_object(&self, key: &str, content: &str) -> anyhow::Result<()> {
        s3::put(&self.state, key, content)
    }

    /// A command that works on this cluster, such as `kubectl`, with `KUBECONFIG` and `PATH` set.
    pub(crate) fn command(&self, program: &str) -> Command {
        let own = self.bin.join(program);
        let mut command = if own.exists() { Command::new(own) } else { Command::new(program) };
        command.envs(self.variables());
        command
    }

    /// What `cluster env` sets in a shell: `PATH`, `KUBECONFIG`, `REGISTRY` and the like.
    pub(crate) fn variables(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        environment::variables(self)
    }

    /// A file of the cluster's keys and certificates, such as `ca.crt`, or `admin.crt` and `admin.key`.
    pub(crate) fn pki(&self, file: &str) -> PathBuf {
        self.state.join("pki").join(file)
    }

    /// Stops, starts, freezes, thaws or kills a component, and waits until that is so; a killed one is started again.
    pub(crate) fn change(&self, change: Change, component: &str) -> anyhow::Result<()> {
        let socket = self.state.join("control.sock");
        let before = control::ask(&socket, &Request::Status)?;
        let before = before.component(component).and_then(|found| found.pid);
        let mut report = control::ask(&socket, &Request::Change(change, component.to_owned()))?;
        let begin = Instant::now();
        loop {
            let (condition, pid) = report
                .component(component)
                .map(|found| (found.condition, found.pid))
                .with_context(|| format!("component \"{component}\" has vanished"))?;
            let reached = match change {
                Change::Stop => condition == Condition::Stopped || condition == Condition::Done,
                Change::Freeze => condition == Condition::Frozen,
                Change::Thaw => condition != Condition::Frozen,
                Change::Start => condition.good(),
                Change::Kill => condition.good() && pid != before,
            };
            if reached {
                eprintln!("component \"{component}\" of cluster \"{}\" is {condition}", self.name);
                return Ok(());
            }
            if change == Change::Start && condition == Condition::Frozen {
                bail!("component \"{component}\" is frozen: thaw it");
            }
            if begin.elapsed() > CHANGE_LIMIT {
                bail!(
                    "component \"{component}\" is still {condition}: its log is {}",
                    self.state.join(format!("logs/{component}.log")).display()
                );
            }
            thread::sleep(Duration::from_millis(100));
            report = control::ask(&socket, &Request::Status)?;
        }
    }
}

/// The cluster with this name, if it is up; whether all its components are well is `status`' business.
pub(crate) fn find(name: &str) -> anyhow::Result<Option<Cluster>> {
    let state = State::of(name)?;
    let Some(record) = state.record()? else { return Ok(None) };
    if record.fingerprint.is_empty() || control::ask(&state.control(), &Request::Status).is_err() {
        return Ok(None);
    }
    Ok(Some(Cluster::of(&state, record.index)))
}

/// The project's own Helm, built if it is not there; for checks that need no cluster.
pub(crate) fn helm() -> anyhow::Result<PathBuf> {
    tool("helm")
}

/// A program that is built when it is asked for; its tool family has its name.
pub(crate) fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let tools = machine::check(&tools::cache()?)?;
    Ok(tools.ensure_family(name, progress::Progress::begin())?.join(name))
}

fn require(name: &str) -> anyhow::Result<Cluster> {
    find(name)?.with_context(|| {
        format!("cluster \"{name}\" is not up: run `cargo xtask cluster up{}` first", option(name))
    })
}

/// What has to be added to a command for this cluster.
fn option(name: &str) -> String {
    if name == DEFAULT_NAME { String::new() } else { format!(" --name {name}") }
}
