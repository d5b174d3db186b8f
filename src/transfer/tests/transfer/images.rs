//! What an image runs by itself, asked of a registry that a test plays.

use duj_protocol::transfer::{ImageCommand, ImageQuestion, PreparePlan};

use crate::{
    program::{Pod, Told},
    server::{Answer, Request, Server, answer},
};

const CONFIG: &str = r#"{"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/run", "a b"], "Cmd": ["-x"]}, "rootfs": {"type": "layers", "diff_ids": []}}"#;

fn digest(text: &str) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(text);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn manifest() -> String {
    format!(
        r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "{}", "size": {}}}, "layers": []}}"#,
        digest(CONFIG),
        CONFIG.len()
    )
}

/// An index with another machine's image first.
fn index() -> String {
    let entry = |digest: &str, architecture: &str| {
        let size = manifest().len();
        format!(
            r#"{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "{digest}", "size": {size}, "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#
        )
    };
    let (this, other) = match std::env::consts::ARCH {
        "aarch64" => ("arm64", "amd64"),
        _ => ("amd64", "s390x"),
    };
    let (own, none) = (digest(&manifest()), digest("other"));
    format!(
        r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{}, {}]}}"#,
        entry(&none, other),
        entry(&own, this)
    )
}

fn registry(request: &Request) -> Answer {
    let own = digest(&manifest());
    let oci = |kind: &str, text: String| {
        answer(200, text.clone())
            .with("content-type", format!("application/vnd.oci.image.{kind}.v1+json"))
            .with("docker-content-digest", digest(&text))
    };
    match request.path.split('?').next().unwrap() {
        "/v2/" => answer(200, "{}"),
        "/v2/team/app/manifests/1" => oci("index", index()),
        "/v2/team/app/manifests/single" => oci("manifest", manifest()),
        path if path == format!("/v2/team/app/manifests/{own}") => oci("manifest", manifest()),
        path if path == format!("/v2/team/app/blobs/{}", digest(CONFIG)) => answer(200, CONFIG),
        _ => answer(
            404,
            r#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}"#,
        ),
    }
}

fn ask(pod: &Pod, server: &Server, image: &str, patience: u64) -> Told {
    let question = ImageQuestion {
        image: format!("{}/{image}", server.address),
        plain_http: vec![server.address.clone()],
        pull_secrets: vec![pod.text("secret"), pod.text("missing")],
        ..ImageQuestion::default()
    };
    pod.prepare(&PreparePlan { image: Some(question), patience, ..pod.prepare_plan(vec![]) })
}

fn digest_of_ours() -> String {
    digest(&manifest())
}

fn expected(digest: String) -> ImageCommand {
    ImageCommand {
        digest,
        manifest: digest_of_ours(),
        entrypoint: vec!["/run".into(), "a b".into()],
        command: vec!["-x".into()],
        too_long: false,
    }
}

#[test]
fn the_command_is_this_machines_and_the_digest_that_of_the_reference() {
    let server = Server::start(|request, _| registry(request));
    let own = digest(&manifest());
    let by_digest = format!("team/app@{own}");
    let cases =
        [("team/app:1", digest(&index())), ("team/app:single", own.clone()), (&by_digest, own)];
    for (image, digest) in cases {
        let pod = Pod::new();
        let told = ask(&pod, &server, image, 0);
        assert_eq!(told.code, 0, "{told:?}");
        assert_eq!(told.last.image, Some(expected(digest.clone())));
        let written: ImageCommand =
            serde_json::from_str(&pod.read("handshake/image-command")).unwrap();
        assert_eq!(written, expected(digest));
    }
}

#[test]
fn an_image_that_cannot_be_had_ends_with_a_code_of_its_own_and_does_nothing() {
    let server = Server::start(|request, _| registry(request));
    let pod = Pod::new();
    let told = ask(&pod, &server, "team/app:2", 60);
    assert_eq!((told.code, told.last.failure.clone()), (3, None));
    assert!(told.last.image_unknown.unwrap().contains("manifest unknown"));
    assert!(!pod.at("handshake/brought").exists());
    assert_eq!(told.reports.len(), 2, "what does not pass is not tried again");
}

#[test]
fn a_registry_that_is_busy_is_asked_again() {
    let server = Server::start(|request, before| match before {
        0..=2 => answer(503, "busy"),
        _ => registry(request),
    });
    let pod = Pod::new();
    let told = ask(&pod, &server, "team/app:1", 60);
    assert_eq!(told.code, 0, "{told:?}");
    let nobody = ImageQuestion {
        image: "127.0.0.1:1/team/app:1".into(),
        plain_http: vec!["127.0.0.1:1".into()],
        ..ImageQuestion::default()
    };
    let plan = PreparePlan { image: Some(nobody), patience: 1, ..pod.prepare_plan(vec![]) };
    let told = pod.prepare(&plan);
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.last.image_unknown.unwrap().contains("Connection refused"));
}

#[test]
fn the_pull_secrets_credentials_are_used() {
    let server = Server::start(|request, _| match request.header("authorization") {
        Some("Basic bWU6cHc=") => registry(request),
        _ => answer(401, "").with("www-authenticate", "Basic realm=\"r\""),
    });
    let pod = Pod::new();
    assert_eq!(ask(&pod, &server, "team/app:1", 0).code, 3);
    let auths =
        format!(r#"{{"auths": {{"http://{}/v1/": {{"auth": "bWU6cHc="}}}}}}"#, server.address);
    pod.write("secret/.dockerconfigjson", auths);
    let told = ask(&pod, &server, "team/app:1", 0);
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_where_it_has_nothing() {
    let registry = Server::start(|request, _| registry(request));
    let mirror = Server::start(|_, _| answer(500, "broken"));
    let good = Server::start(|request, _| self::registry(request));
    let ask = |mirror: &Server| {
        let question = ImageQuestion {
            image: format!("{}/team/app:1", registry.address),
            plain_http: vec![registry.address.clone(), mirror.address.clone()],
            mirrors: vec![(registry.address.clone(), mirror.address.clone())],
            ..ImageQuestion::default()
        };
        let pod = Pod::new();
        let told = pod.prepare(&PreparePlan { image: Some(question), ..pod.prepare_plan(vec![]) });
        assert_eq!(told.last.image, Some(expected(digest(&index()))));
    };
    ask(&good);
    assert!(registry.requests().is_empty() && !good.requests().is_empty());
    ask(&mirror);
    assert!(!registry.requests().is_empty() && !mirror.requests().is_empty());
}

#[test]
fn a_bundle_that_is_not_there_is_left_out() {
    let server = Server::start(|request, _| registry(request));
    for bundle in ["absent.crt", "empty.crt"] {
        let mut pod = Pod::new();
        pod.write("empty.crt", "");
        pod.environment = vec![("SSL_CERT_FILE", pod.text(bundle))];
        let told = ask(&pod, &server, "team/app:1", 0);
        assert_eq!(told.code, 0, "{bundle}: {told:?}");
    }
}
