//! Servers that fail: what passes is tried again, what does not ends the transfer at once.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use duj_protocol::transfer::{Place, PreparePlan, S3, State};

use rustix::process::Signal;

use crate::{
    program::{Pod, Told, from_place, from_url, signal, told, wait},
    server::{Answer, Break, Request, Server, answer},
};

/// What came of one input from a server that answers so.
fn get(
    patience: u64,
    respond: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
) -> (Told, Pod, Server) {
    let (pod, server) = (Pod::new(), Server::start(respond));
    let url = format!("http://me:pass@{}/file?sig=secret", server.address);
    let plan = PreparePlan { patience, ..pod.prepare_plan(vec![from_url(&url)]) };
    let told = pod.prepare(&plan);
    (told, pod, server)
}

const FAILURE: &str =
    "Transfer input files failure at the execution point while receiving files. Details: ";

#[test]
fn what_does_not_pass_is_not_tried_again() {
    for (status, subcode) in [(404, 2), (410, 2), (401, 13), (403, 13), (400, 0)] {
        let (told, pod, server) = get(60, move |_, _| answer(status, "<p>no\n\u{7} way</p>"));
        let url = server.url("file");
        let words = format!("{FAILURE}GET {url}: the server answered {status}: no way");
        assert_eq!(told.failure(), (13, subcode, words.as_str()));
        assert_eq!((told.code, server.requests().len()), (1, 1));
        assert_eq!(told.states(), [State::Active, State::Failed]);
        assert_eq!(pod.files("scratch"), [""; 0]);
        assert!(!pod.read("stdout").contains("secret") && !pod.read("stdout").contains("pass"));
    }
}

#[test]
fn the_user_and_password_of_a_url_are_used_and_not_told() {
    let (told, _, server) = get(60, |_, _| answer(200, "x"));
    assert_eq!(told.code, 0);
    assert_eq!(server.requests()[0].header("authorization"), Some("Basic bWU6cGFzcw=="));
}

#[test]
fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let (told, pod, server) = get(60, |_, before| match before {
        0 => answer(503, "busy").with("retry-after", "1"),
        1 => answer(429, "too many"),
        _ => answer(200, "here"),
    });
    assert_eq!((told.code, server.requests().len()), (0, 3));
    assert_eq!(pod.read("scratch/file"), "here");
    let states = told.states();
    assert_eq!(
        states,
        [State::Active, State::Retrying, State::Retrying, State::Active, State::Done]
    );
    let failure = told.reports[1].failure.as_ref().unwrap();
    assert!(failure.message.ends_with("the server answered 503: busy"), "{failure:?}");
}

#[test]
fn patience_ends() {
    let (told, _, server) = get(2, |_, _| answer(502, "bad gateway"));
    assert_eq!((told.code, told.failure().0), (1, 13));
    assert!(told.failure().2.ends_with("the server answered 502: bad gateway"));
    assert!(server.requests().len() > 1, "it was tried again");
    let (told, _, server) = get(0, |_, _| answer(502, "bad gateway"));
    assert_eq!((told.code, server.requests().len()), (1, 1));
}

fn body() -> Vec<u8> {
    (0..3_000_000_u32).flat_map(u32::to_le_bytes).take(5_000_000).collect()
}

#[test]
fn what_is_cut_off_is_taken_up_where_it_ended() {
    let (told, pod, server) = get(60, |request, _| match request.header("range") {
        None => answer(200, body()).with("etag", "\"1\"").breaking(4_999_999, Break::Close),
        Some(range) => {
            let start: usize = range["bytes=".len()..].trim_end_matches('-').parse().unwrap();
            answer(206, &body()[start..])
                .with("etag", "\"1\"")
                .with("content-range", format!("bytes {start}-4999999/5000000"))
        }
    });
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(std::fs::read(pod.at("scratch/file")).unwrap(), body());
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].header("range"), Some("bytes=4999999-"));
    assert_eq!(requests[1].header("if-range"), Some("\"1\""));
}

#[test]
fn a_file_that_changed_meanwhile_comes_anew() {
    let (told, pod, _) = get(60, |_, before| match before {
        0 => answer(200, body()).with("etag", "\"1\"").breaking(4_000_000, Break::Close),
        _ => answer(200, "new").with("etag", "\"2\""),
    });
    assert_eq!((told.code, pod.read("scratch/file").as_str()), (0, "new"));
}

#[test]
fn a_file_that_stays_cut_off_never_has_its_name() {
    let (told, pod, server) = get(1, |_, _| answer(200, body()).breaking(4_999_999, Break::Close));
    assert_eq!((told.code, told.failure().0), (1, 13));
    assert_eq!(pod.files("scratch"), [""; 0]);
    // Nothing says that it is the same file: it is never taken up in the middle.
    assert!(server.requests().iter().all(|request| request.header("range").is_none()));
}

#[test]
fn a_server_that_says_nothing_more_is_left() {
    let (told, pod, _) = get(60, |_, before| match before {
        0 => answer(200, body()).breaking(1_000, Break::Stall),
        _ => answer(200, "here"),
    });
    assert_eq!((told.code, pod.read("scratch/file").as_str()), (0, "here"));
    let message = &told.reports[1].failure.as_ref().unwrap().message;
    assert!(message.ends_with("nothing came for 30 s"), "{message}");
}

#[test]
fn who_brings_files_ends_at_once_when_asked() {
    let server = Server::start(|_, _| answer(200, body()).breaking(2_500_000, Break::Stall));
    let pod = Pod::new();
    let child = pod.start("prepare", &pod.prepare_plan(vec![from_url(&server.url("file"))]));
    wait("a part of the file", || !pod.files("scratch").is_empty());
    signal(&child, Signal::TERM);
    let told = told(&pod, &child.wait_with_output().unwrap());
    assert_eq!((told.code, told.last.state), (143, State::Failed));
    assert_eq!(pod.files("scratch"), [""; 0]);
}

#[test]
fn nobody_there_is_tried_again() {
    let pod = Pod::new();
    // Nothing listens on port 1.
    let plan =
        PreparePlan { patience: 1, ..pod.prepare_plan(vec![from_url("http://127.0.0.1:1/x")]) };
    let told = pod.prepare(&plan);
    assert_eq!(told.states(), [State::Active, State::Retrying, State::Failed]);
    let expected = format!("{FAILURE}GET http://127.0.0.1:1/x: Connection refused (os error 111)");
    assert_eq!(told.failure(), (13, 111, expected.as_str()));
}

#[test]
fn a_name_that_nobody_knows_is_tried_again() {
    let pod = Pod::new();
    let plan =
        PreparePlan { patience: 1, ..pod.prepare_plan(vec![from_url("http://nowhere.invalid/x")]) };
    let told = pod.prepare(&plan);
    assert_eq!(told.failure().1, 113);
    assert!(
        told.failure().2.contains("http://nowhere.invalid/x: the name cannot be resolved"),
        "{told:?}"
    );
    assert_eq!(told.states(), [State::Active, State::Retrying, State::Failed]);
}

/// A server with a certificate of its own making; the certificate.
fn own_authority() -> (String, String) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = vec![key.cert.der().clone()];
    let private = key.signing_key.serialize_der().try_into().unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = std::sync::Arc::new(config.with_single_cert(chain, private).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/x", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::Stream::new(&mut tls, &mut stream);
            // A client that does not trust it goes away.
            if tls.read(&mut [0; 4096]).is_ok() {
                let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
                tls.write_all(text.as_bytes()).unwrap();
            }
        }
    });
    (url, key.cert.pem())
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_tried_again() {
    let (url, certificate) = own_authority();
    let mut pod = Pod::new();
    let plan = PreparePlan { patience: 60, ..pod.prepare_plan(vec![from_url(&url)]) };
    let told = pod.prepare(&plan);
    assert_eq!(told.failure().1, 71);
    assert!(told.failure().2.contains("invalid peer certificate"), "{told:?}");
    assert_eq!(told.states(), [State::Active, State::Failed]);

    pod.write("authorities.pem", certificate);
    pod.environment.push(("SSL_CERT_FILE", pod.text("authorities.pem")));
    let told = pod.prepare(&plan);
    assert_eq!((told.code, pod.read("scratch/x").as_str()), (0, "hello"), "{told:?}");
}

#[test]
fn a_server_that_speaks_no_tls_is_not_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/x", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            drop(stream.read(&mut [0; 4096]));
        }
    });
    let pod = Pod::new();
    let plan = PreparePlan { patience: 60, ..pod.prepare_plan(vec![from_url(&url)]) };
    let told = pod.prepare(&plan);
    assert_eq!(told.failure().1, 71);
    assert!(told.failure().2.contains("TLS: "), "{told:?}");
    assert_eq!(told.states(), [State::Active, State::Failed]);
}

/// The bytes that the request asks for, as S3 gives them.
fn range(request: &Request, all: &[u8]) -> Answer {
    let range = request.header("range").unwrap().strip_prefix("bytes=").unwrap();
    let (start, end) = range.split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
    let end = end.min(all.len() - 1);
    answer(206, &all[start..=end])
        .with("etag", "\"1\"")
        .with("content-range", format!("bytes {start}-{end}/{}", all.len()))
}

/// What came of one object from a service that answers so.
fn get_object(
    respond: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
) -> (Told, Pod, Server) {
    let (pod, server) = (Pod::new(), Server::start(respond));
    pod.write("keys/AWS_ACCESS_KEY_ID", "me");
    pod.write("keys/AWS_SECRET_ACCESS_KEY", "secret");
    let s3 = S3 {
        endpoint: Some(format!("http://{}", server.address)),
        credentials: Some(pod.text("keys")),
        ..S3::default()
    };
    let place = Place::Url { url: "s3://bucket/key".into(), headers: None, s3: Some(s3) };
    let plan = PreparePlan { patience: 60, ..pod.prepare_plan(vec![from_place(place)]) };
    let told = pod.prepare(&plan);
    (told, pod, server)
}

#[test]
fn an_object_is_taken_up_where_it_was_cut_off() {
    let slow =
        "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    let (told, pod, server) = get_object(move |request, before| match before {
        0 => answer(503, slow).with("retry-after", "1"),
        2 => range(request, &body()).breaking(2_000_000, Break::Close),
        _ => range(request, &body()),
    });
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(std::fs::read(pod.at("scratch/key")).unwrap(), body());
    let message = &told.reports[1].failure.as_ref().unwrap().message;
    let expected = "Details: key from s3://bucket/key: the server answered 503: SlowDown Please reduce your request rate.";
    assert!(message.ends_with(expected), "{message}");
    let last = server.requests().pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=2000000-4999999"));
    assert_eq!(last.header("if-match"), Some("\"1\""));
}

#[test]
fn an_object_that_changes_meanwhile_is_not_put_together() {
    let gone = "<Error><Code>PreconditionFailed</Code><Message>It changed</Message></Error>";
    let (told, pod, _) = get_object(move |request, before| match before {
        0 => range(request, &body()),
        1 => range(request, &body()).breaking(2_000_000, Break::Close),
        _ => answer(412, gone),
    });
    assert_eq!((told.code, told.failure().0), (1, 13));
    assert!(told.failure().2.ends_with("412: PreconditionFailed It changed"), "{told:?}");
    assert_eq!(pod.files("scratch"), [""; 0]);
}

#[test]
fn a_place_of_another_kind_is_refused() {
    let pod = Pod::new();
    let told = pod.prepare(&pod.prepare_plan(vec![from_url("ftp://host/x")]));
    assert_eq!(told.failure().1, 22);
}
