//! `cargo xtask image`: the project's image and the images its tests run, without Docker.
//! Invariant: the same input gives the same digest, so an image is pushed once and named by its digest.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use anyhow::Context as _;
use oci_client::config::Config;

pub(crate) use self::binaries::target_directory;
pub(crate) use self::registry::{Published, Registry};
use self::{binaries::Binaries, layer::Tree, oci::Image};
use crate::cluster::{self, Cluster};

mod binaries;
mod elf;
mod layer;
mod oci;
mod registry;
mod workloads;

/// The user and group the operator runs as: "nonroot" in the images that others build without a distribution.
const USER: u32 = 65532;

/// Where Debian's and most other programs look for certificates of authorities.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where images go to, on the command line.
#[derive(clap::Args)]
pub(crate) struct Destination {
    /// Registry for the image, such as "registry.example.org/team" (without: the cluster's own)
    #[arg(long, value_name = "HOST[:PORT][/PATH]")]
    registry: Option<String>,
    /// Talk plain HTTP to --registry
    #[arg(long, requires = "registry")]
    insecure: bool,
    /// The cluster of `cargo xtask cluster` that is meant
    #[arg(long, value_name = "NAME", env = "DOCKER_UNIVERSE_CLUSTER", default_value = cluster::DEFAULT_NAME)]
    cluster: String,
}

impl Destination {
    /// The registry that was named.
    pub(crate) fn registry(&self) -> anyhow::Result<Option<Registry>> {
        self.registry.as_deref().map(|name| Registry::new(name, self.insecure)).transpose()
    }

    /// The project's own cluster, if it is up.
    pub(crate) fn cluster(&self) -> anyhow::Result<Option<Cluster>> {
        cluster::find(&self.cluster)
    }
}

/// Arguments of `cargo xtask image`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    destination: Destination,
    /// Write an OCI image layout into this directory; pushes only if --registry is given too
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Also the images that tests and examples run (implied by a cluster's own registry)
    #[arg(long)]
    workloads: bool,
}

/// Builds the images, and writes or pushes them; the references by digest go to standard output.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Found first: nobody should wait for a build that has nowhere to go.
    let named = arguments.destination.registry()?;
    let to_cluster = named.is_none() && arguments.layout.is_none();
    let registry = if to_cluster { Some(cluster_registry(&arguments.destination)?) } else { named };
    let mut images = vec![own()?];
    if arguments.workloads || to_cluster {
        images.extend(workloads::all()?);
    }
    if let Some(directory) = &arguments.layout {
        let directory = oci::write_layout(directory, &images)?;
        for image in &images {
            eprintln!("wrote {}:{} into {}", image.name, image.tag, directory.display());
        }
    }
    if let Some(registry) = registry {
        for image in &images {
            println!("{}", push(&registry, image)?.reference_by_digest);
        }
    }
    Ok(())
}

/// Builds the project's image and puts it into the registry.
pub(crate) fn publish(registry: &Registry) -> anyhow::Result<Published> {
    push(registry, &own()?)
}

/// Builds the project's programs; the starter's path.
pub(crate) fn starter() -> anyhow::Result<PathBuf> {
    binaries::build()?;
    Ok(binaries::starter())
}

/// Builds the program that moves a job's files; its path.
pub(crate) fn transfer() -> anyhow::Result<PathBuf> {
    binaries::build_transfer()?;
    Ok(binaries::transfer())
}

/// Builds the project's programs; the operator's path. It is the one in the image.
pub(crate) fn operator() -> anyhow::Result<PathBuf> {
    binaries::build()?;
    Ok(binaries::operator())
}

/// Builds the operator's program and nothing else; its path. It is the one in the image.
pub(crate) fn operator_alone() -> anyhow::Result<PathBuf> {
    binaries::build_operator()?;
    Ok(binaries::operator())
}

/// Builds the operator for profilers, with symbols and frame pointers; its path.
pub(crate) fn operator_with_symbols() -> anyhow::Result<PathBuf> {
    binaries::build_operator_with_symbols()
}

/// Builds the program that measures on simulated nodes; its path.
pub(crate) fn scale() -> anyhow::Result<PathBuf> {
    binaries::build_scale()?;
    Ok(binaries::scale())
}

/// Puts `busybox:1.35` into the registry of a cluster at `host:port`, unless it is there.
pub(crate) fn ensure_busybox(registry: &str) -> anyhow::Result<()> {
    push(&Registry::of_cluster(registry)?, &workloads::busybox()?).map(|_| ())
}

/// Puts the images that tests and examples run into the registry.
pub(crate) fn push_workloads(registry: &Registry) -> anyhow::Result<()> {
    for image in workloads::all()? {
        push(registry, &image)?;
    }
    Ok(())
}

fn cluster_registry(destination: &Destination) -> anyhow::Result<Registry> {
    let cluster = destination.cluster()?.context(
        "there is no registry to push into: start a cluster with `cargo xtask cluster up`, or name one with --registry",
    )?;
    Registry::of_cluster(&cluster.registry)
}

fn push(registry: &Registry, image: &Image) -> anyhow::Result<Published> {
    let begin = Instant::now();
    let published = registry.push(image)?;
    eprintln!(
        "pushed {} ({}) in {:.1} s",
        published.tag_reference,
        megabytes(image.size()),
        begin.elapsed().as_secs_f64()
    );
    Ok(published)
}

/// The project's image: the operator, the starter, the program that moves files with the authorities that it trusts, and
/// nothing else that could have a hole.
fn own() -> anyhow::Result<Image> {
    let begin = Instant::now();
    eprintln!("building docker-universe, starter and transfer: the first time takes some minutes");
    let binaries = binaries::build()?;
    eprintln!(
        "built docker-universe ({}), starter ({}) and transfer ({}) in {:.1} s",
        megabytes(binaries.operator.len()),
        megabytes(binaries.starter.len()),
        megabytes(binaries.transfer.len()),
        begin.elapsed().as_secs_f64()
    );
    image_of(binaries)
}

fn image_of(programs: Binaries) -> anyhow::Result<Image> {
    let layer = Tree::default()
        .file("/docker-universe", 0o755, programs.operator)
        .file("/starter", 0o755, programs.starter)
        .file("/transfer", 0o755, programs.transfer)
        .file(AUTHORITIES, 0o644, authorities())
        .directory("/tmp", 0o1777)
        .file(
            "/etc/passwd",
            0o644,
            format!(
                "root:x:0:0:root:/:/nonexistent\ndocker-universe:x:{USER}:{USER}:docker-universe:/:/nonexistent\n"
            ),
        )
        .file("/etc/group", 0o644, format!("root:x:0:\ndocker-universe:x:{USER}:\n"))
        .layer()?;
    let config = Config {
        // By number: a pod's `runAsNonRoot` cannot be checked against a name.
        user: Some(format!("{USER}:{USER}")),
        entrypoint: Some(vec!["/docker-universe".to_owned()]),
        ..Config::default()
    };
    let annotations = [
        ("title", "docker-universe"),
        ("description", "HTCondor's docker universe as a Kubernetes operator"),
        ("licenses", "Apache-2.0"),
        ("version", env!("CARGO_PKG_VERSION")),
    ]
    .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()));
    let (name, version) = ("docker-universe", env!("CARGO_PKG_VERSION"));
    Image::new(name, version, vec![layer], config, BTreeMap::from(annotations))
}

/// The certificates of the authorities that Mozilla trusts, in PEM: from a crate, so that the lock file fixes them and not
/// the machine that builds.
fn authorities() -> String {
    let certificates: Vec<_> = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|certificate| pem::Pem::new("CERTIFICATE", certificate.as_ref()))
        .collect();
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_many_config(&certificates, lines)
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Binaries {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Binaries {
            operator: bytes("operator"),
            starter: bytes("starter"),
            transfer: bytes("transfer"),
        }
    }

    #[test]
    fn the_same_programs_give_the_same_image() {
        let digest = |programs| image_of(programs).unwrap().manifest.digest;
        assert_eq!(digest(programs()), digest(programs()));
        let another = Binaries { transfer: b"another".to_vec(), ..programs() };
        assert_ne!(digest(programs()), digest(another));
    }

    #[test]
    fn the_authorities_are_certificates() {
        let read = pem::parse_many(authorities()).unwrap();
        assert!(read.len() > 100, "{}", read.len());
        assert!(read.iter().all(|one| one.tag() == "CERTIFICATE" && one.contents()[0] == 0x30));
    }

    #[test]
    fn it_runs_the_operator_as_a_user_with_no_rights() {
        let image = image_of(programs()).unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&image.config.as_ref().unwrap().content).unwrap();
        assert_eq!(
            config["config"],
            serde_json::json!({"User": "65532:65532", "Entrypoint": ["/docker-universe"]})
        );
    }
}
