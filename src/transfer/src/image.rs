//! What an image runs by itself, asked of its registry.
//!
//! Invariant: the command is that of the image for this machine, and the digest is the one that the reference led to.

use std::time::Duration;

use duj_protocol::transfer::{ImageCommand, ImageQuestion};
use oci_client::{
    Client, Reference,
    client::{
        Certificate, CertificateEncoding, ClientConfig, ClientProtocol, current_platform_resolver,
    },
    errors::{OciDistributionError, OciErrorCode},
    secrets::RegistryAuth,
};
use serde::Deserialize;

use crate::{
    fault::Fault,
    net,
    place::Context,
    pull_secrets,
    retry::{STALL, persist},
};

const CONNECT: Duration = Duration::from_secs(10);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Configuration {
    config: Command,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Command {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
}

/// Asks the registry's mirrors, then the registry itself.
pub(crate) async fn ask(
    context: &Context,
    question: &ImageQuestion,
) -> Result<ImageCommand, Fault> {
    let image: Reference = question.image.parse().map_err(|error| {
        Fault::permanent(22, format!("the image '{}': {error}", question.image))
    })?;
    let client = Client::new(configuration(question));
    let mirrors = question.mirrors.iter().filter(|(registry, _)| registry == image.registry());
    let mirrored: Vec<_> = mirrors.map(|(_, mirror)| elsewhere(&image, mirror)).collect();
    persist(context.retry(), async || {
        for mirror in &mirrored {
            // Whatever is wrong with a mirror, the registry has the last word.
            if let Ok(command) = ask_one(&client, question, mirror).await {
                return Ok(command);
            }
        }
        ask_one(&client, question, &image).await
    })
    .await
}

fn configuration(question: &ImageQuestion) -> ClientConfig {
    let certificates = net::roots().into_iter();
    ClientConfig {
        protocol: ClientProtocol::HttpsExcept(question.plain_http.clone()),
        platform_resolver: Some(Box::new(current_platform_resolver)),
        tls_certs_only: certificates
            .map(|data| Certificate { encoding: CertificateEncoding::Der, data })
            .collect(),
        connect_timeout: Some(CONNECT),
        read_timeout: Some(STALL),
        ..ClientConfig::default()
    }
}

fn elsewhere(image: &Reference, mirror: &str) -> Reference {
    let (mirror, repository) = (mirror.to_owned(), image.repository().to_owned());
    match (image.digest(), image.tag()) {
        (Some(digest), _) => Reference::with_digest(mirror, repository, digest.to_owned()),
        (None, tag) => Reference::with_tag(mirror, repository, tag.unwrap_or("latest").to_owned()),
    }
}

/// With each of the credentials that fit, until one is good.
async fn ask_one(
    client: &Client,
    question: &ImageQuestion,
    image: &Reference,
) -> Result<ImageCommand, Fault> {
    let mut last = None;
    for auth in pull_secrets::find(&question.pull_secrets, image) {
        match ask_with(client, image, &auth).await {
            Err(fault) if fault.subcode == 13 => last = Some(fault),
            answered => return answered,
        }
    }
    Err(last.unwrap_or_else(|| Fault::permanent(13, format!("the image '{image}': not allowed"))))
}

async fn ask_with(
    client: &Client,
    image: &Reference,
    auth: &RegistryAuth,
) -> Result<ImageCommand, Fault> {
    let what = format!("the image '{image}'");
    let asked = client.pull_manifest_and_config_and_list_digest(image, auth).await;
    let (_, digest, text, list) = asked.map_err(|error| fault(&error, &what))?;
    let read: Configuration = serde_json::from_str(&text)
        .map_err(|error| Fault::permanent(0, format!("{what}: its configuration: {error}")))?;
    Ok(ImageCommand {
        digest: list.unwrap_or_else(|| digest.clone()),
        manifest: digest,
        too_long: false,
        entrypoint: read.config.entrypoint.unwrap_or_default(),
        command: read.config.cmd.unwrap_or_default(),
    })
}

/// What a registry said, and whether it may say something else later.
fn fault(error: &OciDistributionError, what: &str) -> Fault {
    match error {
        OciDistributionError::RequestError(error) => match error.status() {
            Some(status) => Fault::status(status.as_u16(), what, ""),
            None => Fault::network(error, what),
        },
        OciDistributionError::ServerError { code, message, .. } => {
            Fault::status(*code, what, &net::words(message.as_bytes()))
        }
        OciDistributionError::UnauthorizedError { .. } => {
            Fault::permanent(13, format!("{what}: {error}"))
        }
        // The service that gives tokens; its status is not told.
        OciDistributionError::AuthenticationFailure(words) => {
            let words = net::words(words.as_bytes());
            let lower = words.to_lowercase();
            let refused = ["unauthorized", "denied", "incorrect", "invalid", "forbidden"];
            let detail = format!("{what}: authentication failed: {words}");
            let fault = Fault::permanent(13, detail);
            Fault { transient: !refused.iter().any(|word| lower.contains(word)), ..fault }
        }
        OciDistributionError::ImageManifestNotFoundError(_) => {
            Fault::permanent(2, format!("{what}: {error}"))
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            let words: Vec<_> =
                envelope.errors.iter().map(|e| format!("{:?} {}", e.code, e.message)).collect();
            let (words, is) =
                (words.join(", "), |code| envelope.errors.iter().any(|e| e.code == code));
            let detail = format!("{what}: the registry answered: {words}");
            if is(OciErrorCode::Toomanyrequests) {
                Fault::transient(0, detail)
            } else if is(OciErrorCode::Unauthorized) || is(OciErrorCode::Denied) {
                Fault::permanent(13, detail)
            } else {
                Fault::permanent(2, detail)
            }
        }
        _ => Fault::permanent(0, format!("{what}: {error}")),
    }
}
