//! Puts images into a registry. Invariant: the manifest goes last, so a tag never names an image whose
//! blobs are missing; pushing what is there already moves nothing.
//!
//! `oci-client` speaks the distribution API, because registries differ in how they ask for tokens and
//! take uploads, and it knows those ways. It costs some 55 s of a cold build on two cores (most of it
//! `aws-lc-rs` and `hyper`, the operator's own TLS and HTTP); a leaner HTTP client would save about 45 s
//! and leave the token dance, and with it every registry that people really use, to us.

use std::{env, fs::File, io::BufReader, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow, bail, ensure};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    secrets::RegistryAuth,
};

use super::oci::Image;

/// How Docker's configuration calls the registry that an image without a host comes from.
const DOCKER_HUB: (&str, &str) = ("index.docker.io", "https://index.docker.io/v1/");

/// Where images go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registry {
    /// `HOST[:PORT][/PATH]`.
    name: String,
    plain_http: bool,
}

/// An image that stands in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// `registry/name@sha256:…`: what a pod should name, because it can never mean another image.
    pub(crate) reference_by_digest: String,
    /// `registry/name:tag`.
    pub(crate) tag_reference: String,
    /// `sha256:…`.
    pub(crate) digest: String,
}

impl Registry {
    /// Its `host:port`, where it speaks plain HTTP.
    pub(crate) fn plain_http_host(&self) -> Option<&str> {
        self.plain_http.then(|| self.name.split('/').next()).flatten()
    }

    /// A registry with TLS, or in plain HTTP where that is asked for; on this machine's loopback it always is, as with Docker.
    pub(crate) fn new(name: &str, insecure: bool) -> anyhow::Result<Self> {
        ensure!(
            !name.contains("://"),
            "registry \"{name}\" must be a host and port without a scheme; plain HTTP is --insecure"
        );
        let name = name.trim_end_matches('/');
        let host = name.split('/').next().unwrap_or_default();
        // The rule by which every reader of a reference tells a host from a folder on Docker Hub.
        ensure!(
            host.contains(['.', ':']) || host == "localhost",
            "registry \"{name}\" does not begin with a host: write it like \"registry.example.org/team\", or \"docker.io/{name}\" for Docker Hub"
        );
        let plain_http = insecure || is_loopback(host);
        let registry = Self { name: name.to_owned(), plain_http };
        registry.reference("x", "x")?;
        Ok(registry)
    }

    /// The registry of a cluster that `cargo xtask cluster` runs, at its `host:port`: plain HTTP, on this machine's own network.
    pub(crate) fn of_cluster(address: &str) -> anyhow::Result<Self> {
        Self::new(address, true)
    }

    /// Puts the image there, unless it is there already.
    pub(super) fn push(&self, image: &Image) -> anyhow::Result<Published> {
        let reference = self.reference(&image.name, &image.tag)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.upload(&reference, image)).map_err(|error| self.explain(error))?;
        let digest = image.manifest.digest.clone();
        Ok(Published {
            reference_by_digest: format!("{}/{}@{digest}", self.name, image.name),
            tag_reference: format!("{}/{}:{}", self.name, image.name, image.tag),
            digest,
        })
    }

    async fn upload(&self, reference: &Reference, image: &Image) -> anyhow::Result<()> {
        let auth = credentials(reference.resolve_registry())?;
        let client = Client::try_from(self.client_config())?;
        // Whatever goes wrong with these two looks is told better by the push itself.
        let there = client.fetch_manifest_digest(reference, &auth).await;
        if there.is_ok_and(|digest| digest == image.manifest.digest) {
            return Ok(());
        }
        client.auth(reference, &auth, RegistryOperation::Push).await?;
        for part in image.parts() {
            for blob in part.blobs() {
                if !client.blob_exists(reference, &blob.digest).await.unwrap_or(false) {
                    client.push_blob(reference, blob.content.clone(), &blob.digest).await?;
                }
            }
            let own = part.manifest.digest == image.manifest.digest;
            let member = reference.clone_with_digest(part.manifest.digest.clone());
            let name = if own { reference } else { &member };
            let media_type = part.media_type.parse()?;
            client.push_manifest_raw(name, part.manifest.content.clone(), media_type).await?;
        }
        Ok(())
    }

    fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig {
            protocol: ClientProtocol::Https,
            connect_timeout: Some(Duration::from_secs(10)),
            read_timeout: Some(Duration::from_mins(2)),
            ..ClientConfig::default()
        };
        if self.plain_http {
            config.protocol = ClientProtocol::Http;
            // Plain HTTP is for registries nearby, which a proxy in the environment could not reach:
            // naming one, and excepting every host from it, makes the environment's be ignored.
            config.http_proxy = Some("http://127.0.0.1:9".to_owned());
            config.no_proxy = Some("*,0.0.0.0/0,::/0".to_owned());
        }
        config
    }

    fn reference(&self, name: &str, tag: &str) -> anyhow::Result<Reference> {
        format!("{}/{name}:{tag}", self.name).parse().with_context(|| {
            format!("registry \"{}\" is not possible in an image's name", self.name)
        })
    }

    /// Adds what to do about it.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let name = &self.name;
        let remedy = match error.downcast_ref() {
            Some(error) if is_refusal(error) => {
                let host = name.split('/').next().unwrap_or(name);
                format!("registry \"{name}\" does not let you push: `docker login {host}` first")
            }
            Some(OciDistributionError::RequestError(_)) if self.plain_http => {
                format!("cannot talk to registry \"{name}\" in plain HTTP: is it running?")
            }
            Some(OciDistributionError::RequestError(_)) => format!(
                "cannot talk to registry \"{name}\": is it running? if it has no TLS, say --insecure; if its certificate is of an authority of your own, name that in SSL_CERT_FILE"
            ),
            _ => format!("cannot push to registry \"{name}\""),
        };
        error.context(remedy)
    }
}

/// Whether the registry knows who asks and says no, or does not know and wants to.
fn is_refusal(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::ServerError { code: 401 | 403, .. } => true,
        OciDistributionError::RegistryError { envelope, .. } => envelope
            .errors
            .iter()
            .any(|one| matches!(one.code, OciErrorCode::Unauthorized | OciErrorCode::Denied)),
        _ => false,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What `docker login` left for this registry: in `$DOCKER_CONFIG`, else `~/.docker`.
fn credentials(server: &str) -> anyhow::Result<RegistryAuth> {
    let directory = env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".docker")));
    match directory.map(|directory| File::open(directory.join("config.json"))) {
        Some(Ok(file)) => credentials_in(BufReader::new(file), server),
        None | Some(Err(_)) => Ok(RegistryAuth::Anonymous),
    }
}

fn credentials_in(config: impl std::io::Read, server: &str) -> anyhow::Result<RegistryAuth> {
    let server = if server == DOCKER_HUB.0 { DOCKER_HUB.1 } else { server };
    match docker_credential::get_credential_from_reader(config, server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(RegistryAuth::Basic(user, password))
        }
        Ok(DockerCredential::IdentityToken(_)) => bail!(
            "the login for registry \"{server}\" is an identity token, which this program cannot use: log in with a user name and an access token"
        ),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(RegistryAuth::Anonymous),
        Err(error) => Err(anyhow!("{error}").context(format!(
            "cannot read the login for registry \"{server}\" from Docker's config.json"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_and_perhaps_a_path() {
        for (name, plain_http) in [
            ("10.0.0.1:5000", false),
            ("ghcr.io/team", false),
            ("docker.io/team/", false),
            ("registry:5000", false),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
        ] {
            let registry = Registry::new(name, false).unwrap();
            assert_eq!(registry.plain_http, plain_http, "{name}");
            assert_eq!(
                registry.reference("busybox", "1").unwrap().whole(),
                format!("{}/busybox:1", name.trim_end_matches('/'))
            );
        }
        assert!(Registry::new("10.0.0.1:5000", true).unwrap().plain_http);
    }

    #[test]
    fn a_name_that_would_end_up_elsewhere_is_refused() {
        for (name, says) in [
            ("http://10.0.0.1:5000", "without a scheme"),
            ("team", "\"docker.io/team\""),
            ("", "does not begin with a host"),
            ("ghcr.io/Team", "not possible"),
        ] {
            let error = format!("{:#}", Registry::new(name, false).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn logins_are_dockers_own() {
        // "user:secret" in base64, as `docker login` writes it.
        let config = r#"{"auths": {
            "registry.example.org:5000": {"auth": "dXNlcjpzZWNyZXQ="},
            "https://index.docker.io/v1/": {"auth": "dXNlcjpzZWNyZXQ="},
            "broken.example.org": {"auth": "?"}
        }}"#;
        let login = RegistryAuth::Basic("user".to_owned(), "secret".to_owned());
        let read = |server: &str| credentials_in(config.as_bytes(), server);
        assert!(read("registry.example.org:5000").unwrap() == login);
        assert!(read("index.docker.io").unwrap() == login);
        assert!(read("other.example.org").unwrap() == RegistryAuth::Anonymous);
        assert!(read("broken.example.org").is_err());
    }
}
