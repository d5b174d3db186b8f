//! Inputs from servers and volumes, and what a job's owner hears where they cannot be had.

use crate::{
    objects::{Objects, endpoint},
    volumes::Volume,
    web::{Fault, Web},
    world::{World, event_numbers, proc, script},
};
use duj_api::status::ProcStatus;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

/// The S3 service with the keys of a Secret.
pub(crate) fn s3(secret: &str) -> Value {
    json!({ "endpoint": endpoint(), "credentials": { "name": secret } })
}

#[tokio::test]
async fn files_come_from_everywhere_at_once() {
    let world = World::new("files-in").await;
    let objects = Objects::of(&world);
    objects.secret(&world, "keys").await;
    objects.put("one.txt", "from S3\n").await;
    objects.put("tree/a.txt", "a").await;
    objects.put("tree/deep/b c.txt", "b").await;
    let web = Web::start().await;
    web.put("/data/two.txt", "from the web\n");
    web.always("/secret/three.txt", Fault::Unless("authorization", "Bearer let-me-in"));
    web.put("/secret/three.txt", "from behind a header\n");
    world
        .create::<Secret>(json!({
            "metadata": { "name": "header" }, "stringData": { "Authorization": "Bearer let-me-in" },
        }))
        .await;
    let volume = Volume::writable(&world, "data").await;
    volume.write("four.txt", "from a volume\n");
    volume.make_directory("set");
    volume.write("set/five.txt", "5");
    let inputs = json!([
        { "url": objects.url("one.txt") },
        { "url": objects.url("tree/"), "name": "tree" },
        { "url": web.url("/data/two.txt") },
        { "url": web.url("/secret/three.txt"), "headersFrom": { "name": "header" } },
        { "persistentVolumeClaim": { "claimName": "data", "path": "four.txt" } },
        { "persistentVolumeClaim": { "claimName": "data", "path": "set" } },
        { "persistentVolumeClaim": { "claimName": "data", "path": "set/" } },
        { "secret": { "name": "header" }, "name": "keys" },
    ]);
    let look = "cat one.txt two.txt three.txt four.txt; find . -type f ! -name '.*' | sort; ls /volumes 2>/dev/null; env | grep -c PLAN";
    world
        .submit("files-in", script(look, json!({ "transferInput": inputs, "s3": s3("keys") })))
        .await;
    world.wait_for("files-in", ProcStatus::Completed).await;
    let output = world.output("files-in").await;
    for expected in [
        "from S3\nfrom the web\nfrom behind a header\nfrom a volume\n",
        "./five.txt\n./four.txt\n",
        "./keys/Authorization\n./one.txt\n./set/five.txt\n./three.txt\n",
        "./tree/a.txt\n./tree/deep/b c.txt\n./two.txt\n",
    ] {
        assert!(output.contains(expected), "'{expected}' is not in\n{output}");
    }
    assert!(output.ends_with("0\n"), "neither plans nor credentials are in the job: {output}");
    let status = world.job("files-in").await.status.unwrap_or_default();
    assert_eq!(event_numbers(&status), [0, 40, 40, 40, 1, 6, 5]);
    let log = status.user_log.unwrap_or_default().text;
    assert!(!log.contains("\t0  -  Run Bytes Received By Job"), "{log}");
    objects.end().await;
    volume.end().await;
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_had_holds_the_job_with_the_servers_words() {
    let world = World::new("no-files").await;
    let objects = Objects::of(&world);
    objects.wrong_secret(&world, "wrong").await;
    objects.secret(&world, "keys").await;
    let web = Web::start().await;
    let tls = Web::self_signed().await;
    web.always("/forbidden", Fault::Answer(403, "not for you"));
    web.put("/large", vec![b'x'; 3 << 20]);
    let volume = Volume::writable(&world, "data").await;
    let url = |url: String| json!([{ "url": url }]);
    let unknown = json!([{ "url": "http://no-such-host.invalid/x?token=hidden" }]);
    let claim = json!([{ "persistentVolumeClaim": { "claimName": "data", "path": "absent" } }]);
    // Name, input, service, limit; code, subcode, words.
    let cases = [
        ("absent", url(web.url("/absent")), "keys", json!({}), (13, 2), "404"),
        ("forbidden", url(web.url("/forbidden")), "keys", json!({}), (13, 13), "not for you"),
        ("certificate", url(tls.url("/x")), "keys", json!({}), (13, 71), "certificate"),
        ("unknown-host", unknown, "keys", json!({}), (13, 113), "no-such-host.invalid"),
        ("wrong-keys", url(objects.url("x")), "wrong", json!({}), (13, 13), "/x"),
        ("no-object", url(objects.url("x")), "keys", json!({}), (13, 2), "/x"),
        ("no-path", claim, "keys", json!({}), (13, 2), "absent"),
        (
            "too-big",
            url(web.url("/large")),
            "keys",
            json!({ "maxTransferInputMb": 2 }),
            (32, 0),
            "max",
        ),
        (
            "full",
            url(web.url("/large")),
            "keys",
            json!({ "requestDisk": "2Mi" }),
            (13, 28),
            "requestDisk",
        ),
    ];
    for (name, input, secret, more, ..) in &cases {
        let mut spec = script("ls", more.clone());
        spec["transferInput"] = input.clone();
        if input[0]["url"].as_str().is_some_and(|url| url.starts_with("s3:")) {
            spec["s3"] = s3(secret);
        }
        world.submit(name, spec).await;
    }
    for (name, _, _, _, (code, subcode), words) in &cases {
        let record = world.wait_for(name, ProcStatus::Held).await;
        let hold = record.hold.clone().unwrap_or_default();
        assert_eq!((hold.code, hold.subcode), (*code, *subcode), "{name}: {hold:?}");
        assert!(
            hold.reason.contains("Transfer input files failure at the execution point"),
            "{hold:?}"
        );
        assert!(hold.reason.contains(words), "{name}: {hold:?}");
        assert!(!hold.reason.contains("hidden"), "no secrets of a URL: {hold:?}");
        assert_eq!(record.num_job_starts, 0, "{name}");
    }
    // Mended, it runs.
    web.mend("/forbidden");
    web.put("/forbidden", "now for you\n");
    world.command("release", "forbidden").await;
    let record = world.wait_for("forbidden", ProcStatus::Completed).await;
    assert_eq!((record.exit_code, record.num_job_starts), (Some(0), 1));
    volume.end().await;
    world.end().await;
}

#[tokio::test]
async fn faults_that_pass_are_borne_and_seen() {
    let world = World::new("input-faults").await;
    let web = Web::start().await;
    web.put("/busy", "busy\n");
    web.times("/busy", 3, Fault::Answer(503, "come back later"));
    web.put("/cut", vec![b'y'; 1 << 20]);
    web.times("/cut", 1, Fault::Cut);
    web.put("/moved", "moved\n");
    web.times("/old", 1, Fault::Redirect(302, web.url("/moved")));
    web.put("/old", "not this");
    let inputs = json!([
        { "url": web.url("/busy") }, { "url": web.url("/cut") }, { "url": web.url("/old"), "name": "moved" },
    ]);
    let look = "cat busy moved; wc -c < cut";
    world.submit("borne", script(look, json!({ "transferInput": inputs }))).await;
    let record = world.wait_for("borne", ProcStatus::Completed).await;
    assert_eq!(record.exit_code, Some(0), "{record:?}");
    assert_eq!(world.output("borne").await, "busy\nmoved\n1048576\n");

    web.always("/down", Fault::Answer(503, "out of order"));
    let inputs = json!([{ "url": web.url("/down") }]);
    world.submit("down", script("ls", json!({ "transferInput": inputs }))).await;
    world
        .wait("down", "that it is tried again", |status| {
            let because = status.because.clone();
            because.is_some_and(|because| {
                because.reason == "TransferringInput" && because.message.contains("out of order")
            })
        })
        .await;
    let hold = world.wait_for("down", ProcStatus::Held).await.hold.unwrap_or_default();
    assert_eq!(hold.code, 13, "{hold:?}");
    assert!(hold.reason.contains("503") && hold.reason.contains("out of order"), "{hold:?}");
    let status = world.job("down").await.status.unwrap_or_default();
    assert_eq!(proc(&status).num_job_starts, 0);
    world.end().await;
}

#[tokio::test]
async fn an_authority_of_the_installation_is_trusted() {
    let world = World::new("authority").await;
    let tls = Web::self_signed().await;
    tls.put("/data", "behind TLS\n");
    let bundle = tls.certificate.clone().expect("it has a certificate");
    world
        .create::<ConfigMap>(
            json!({ "metadata": { "name": "trust" }, "data": { "ca.crt": bundle } }),
        )
        .await;
    let inputs = json!([{ "url": tls.url("/data") }]);
    world.submit("trusts", script("cat data", json!({ "transferInput": inputs }))).await;
    let record = world.wait_for("trusts", ProcStatus::Completed).await;
    assert_eq!(record.exit_code, Some(0), "{record:?}");
    assert_eq!(world.output("trusts").await, "behind TLS\n");
    world.end().await;
}
