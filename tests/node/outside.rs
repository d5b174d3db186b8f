//! What jobs get files from and send them to, as a job sees it by itself: the web server, the volumes and the S3 server of
//! these tests are what the tests of transfers take them for.

use crate::{
    objects::{Objects, endpoint},
    volumes::Volume,
    web::{Fault, Web},
    world::{World, script},
};
use duj_api::status::ProcStatus;
use serde_json::{Value, json};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

/// What a script wrote, that a job ran with these other fields.
async fn says(world: &World, name: &str, text: &str, others: Value) -> String {
    world.submit(name, script(text, others)).await;
    world.wait_for(name, ProcStatus::Completed).await;
    world.output(name).await
}

#[tokio::test]
async fn a_web_server_plays_what_it_is_told() {
    let world = World::new("web").await;
    let web = Web::start().await;
    web.put("/file", "content");
    for path in ["/busy", "/cut", "/stalls", "/halts", "/guarded", "/forbidden"] {
        web.put(path, "0123456789");
    }
    web.times("/busy", 2, Fault::Answer(503, "come back later"));
    web.always("/cut", Fault::Cut);
    web.always("/stalls", Fault::Stall);
    web.always("/halts", Fault::StallMidway);
    web.always("/guarded", Fault::Unless("X-Token", "secret"));
    web.always("/forbidden", Fault::Answer(403, "not for you"));
    web.always("/moved", Fault::Redirect(302, web.url("/file")));
    let get = "get() { timeout 5 wget -q -O - \"$@\" 2>/dev/null; echo \" $?\"; }; cd /tmp";
    let text = format!(
        "{get}; get {base}/file; get {base}/moved; get {base}/none; get {base}/forbidden; get {base}/busy; get {base}/busy
         get {base}/busy; get {base}/guarded; get --header 'X-Token: secret' {base}/guarded
         get --post-data uploaded {base}/new; get {base}/new
         get {base}/stalls | sed 's/143/late/'; get {base}/halts | sed 's/143/late/'; get {base}/cut",
        base = web.url(""),
    );
    let output = says(&world, "asks", &text, json!({})).await;
    let seen: Vec<&str> = output.lines().collect();
    let expected = [
        "content 0",
        "content 0",
        " 1",
        " 1",
        " 1",
        " 1",
        "0123456789 0",
        " 1",
        "0123456789 0",
        " 0",
        "uploaded 0",
        " late",
        "01234 late",
        "012345678 1",
    ];
    assert_eq!(seen, expected);
    assert_eq!(web.get("/new").as_deref(), Some(&b"uploaded"[..]));
    let statuses = |path: &str| -> Vec<u16> {
        web.requests(path).iter().map(|request| request.status).collect()
    };
    assert_eq!(statuses("/busy"), [503, 503, 200]);
    assert_eq!(statuses("/guarded"), [401, 200]);
    assert_eq!(statuses("/stalls"), [0]);
    assert_eq!(web.requests("/guarded")[1].headers["x-token"], "secret");
    assert_eq!(web.requests("/new")[0].received, 8);
    world.end().await;
}

/// What the server says to a client that trusts this certificate alone, or nobody.
async fn ask_over_tls(url: &str, trusted: Option<&str>) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = trusted {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address: SocketAddr = url.strip_prefix("https://").unwrap().parse().unwrap();
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(address.ip().into(), stream).await?;
    stream.write_all(b"GET /file HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_certificate_of_nobody_is_shown() {
    let web = Web::self_signed().await;
    web.put("/file", "content");
    let refusal = ask_over_tls(&web.url(""), None).await.unwrap_err().to_string();
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");
    let answer = ask_over_tls(&web.url(""), web.certificate.as_deref()).await.unwrap();
    assert!(answer.ends_with("\r\n\r\ncontent"), "{answer}");
    assert_eq!(web.requests("/file").len(), 1);
}

#[tokio::test]
async fn a_volume_is_written_by_jobs_or_not() {
    let world = World::new("volumes").await;
    let (open, closed) =
        (Volume::writable(&world, "open").await, Volume::not_writable(&world, "closed").await);
    open.write("inside/given", "from the test\n");
    closed.write("given", "to be read only\n");
    let volume =
        |name: &str| json!({ "name": name, "persistentVolumeClaim": { "claimName": name } });
    let mount = |name: &str| json!({ "name": name, "mountPath": format!("/{name}") });
    let mounts = json!({
        "volumes": [volume("open"), volume("closed")], "volumeMounts": [mount("open"), mount("closed")],
    });
    let text = "cat /open/inside/given /closed/given; echo from the job >/open/made
        { echo never >/closed/made; } 2>/dev/null || echo refused";
    let output = says(&world, "writes", text, mounts).await;
    assert_eq!(output, "from the test\nto be read only\nrefused\n");
    assert_eq!(open.text("made").as_deref(), Some("from the job\n"));
    assert_eq!(open.files(), ["inside/given", "made"]);
    assert_eq!(closed.files(), ["given"]);
    open.end().await;
    closed.end().await;
    world.end().await;
}

#[tokio::test]
async fn objects_are_where_jobs_reach_them() {
    let world = World::new("objects").await;
    let objects = Objects::of(&world);
    objects.put("a/file", "content").await;
    objects.put("other", "").await;
    assert_eq!(objects.keys().await, ["a/file", "other"]);
    assert_eq!(objects.text("a/file").await.as_deref(), Some("content"));
    assert_eq!(objects.get("absent").await, None);
    // The client of a shell signs nothing: that it is refused shows that the server is there.
    let url = objects.url("a/file").replacen("s3:/", &endpoint(), 1);
    let output = says(&world, "asks", &format!("wget -q -O - {url} 2>&1 || true"), json!({})).await;
    assert!(output.contains("403 Forbidden"), "{output}");
    objects.end().await;
    world.end().await;
}
