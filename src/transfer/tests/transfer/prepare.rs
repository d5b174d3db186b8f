//! `transfer prepare` where nothing fails but what should.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use duj_protocol::transfer::{
    Brought, Input, Place, PreparePlan, Report, Source, State, handshake,
};

use crate::{
    program::{Pod, from_place, from_text, from_url},
    server::{Server, answer},
};

#[test]
fn a_plan_without_inputs_makes_the_directories_and_installs_the_starter() {
    let pod = Pod::new();
    pod.write("starter", "the starter");
    let plan = PreparePlan {
        install: Some((pod.text("starter"), pod.text("installed"))),
        ..pod.prepare_plan(vec![])
    };
    let told = pod.prepare(&plan);
    assert_eq!((told.code, told.states()), (0, vec![State::Done]));
    assert_eq!((told.last.files, told.last.started), (0, None));
    assert_eq!((pod.mode("scratch"), pod.mode("handshake")), (0o700, 0o700));
    assert_eq!((pod.read("installed").as_str(), pod.mode("installed")), ("the starter", 0o555));
    assert_eq!(pod.files("handshake"), [handshake::BROUGHT]);
}

#[test]
fn inputs_land_as_htcondor_lands_them() {
    let pod = Pod::new();
    for file in ["a.txt", "d/b.txt", "d/e/c.txt", "f/g.txt"] {
        pod.write(&format!("volume/{file}"), file);
    }
    fs::set_permissions(pod.at("volume/a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(pod.at("volume/d/empty")).unwrap();
    let renamed =
        |place, name: &str| Input { name: Some(name.into()), source: Source::Place(place) };
    let all = |preserve_relative_paths| {
        let inputs = vec![
            from_place(pod.volume("a.txt")),
            from_place(pod.volume("d/b.txt")),
            from_place(pod.volume("d")),
            from_place(pod.volume("f/")),
            renamed(pod.volume("f/"), "into"),
            renamed(pod.volume("a.txt"), "x/y.txt"),
            from_text("ü b.txt", "text"),
            Input { name: Some("bytes".into()), source: Source::Base64("AP9h".into()) },
        ];
        let plan = PreparePlan { preserve_relative_paths, ..pod.prepare_plan(inputs) };
        let told = pod.prepare(&plan);
        assert_eq!(told.code, 0, "{told:?}");
        (told, pod.files("scratch"))
    };
    let (told, files) = all(false);
    let expected = [
        "a.txt",
        "b.txt",
        "bytes",
        "d/b.txt",
        "d/e/c.txt",
        "g.txt",
        "into/g.txt",
        "x/y.txt",
        "ü b.txt",
    ];
    assert_eq!(files, expected);
    assert!(pod.at("scratch/d/empty").is_dir());
    assert_eq!(fs::read(pod.at("scratch/bytes")).unwrap(), b"\x00\xffa");
    assert_eq!((pod.read("scratch/ü b.txt").as_str(), pod.mode("scratch/a.txt")), ("text", 0o755));
    assert_eq!((told.last.files, told.states()), (9, vec![State::Active, State::Done]));
    assert_eq!(told.last.bytes, 5 + 7 + 3 + 7 + 9 + 7 + 7 + 5 + 4);
    assert!(told.last.started.is_some() && told.last.started <= told.last.finished);

    fs::remove_dir_all(pod.at("scratch")).unwrap();
    let (_, files) = all(true);
    let expected =
        ["a.txt", "bytes", "d/b.txt", "d/e/c.txt", "f/g.txt", "into/g.txt", "x/y.txt", "ü b.txt"];
    assert_eq!(files, expected);
}

#[test]
fn what_was_brought_is_written_down() {
    let pod = Pod::new();
    pod.write("volume/d/x", "1");
    let inputs = vec![from_text("a", "12345"), from_text("b\\c", ""), from_place(pod.volume("d"))];
    assert_eq!(pod.prepare(&pod.prepare_plan(inputs)).code, 0);
    let brought: Brought = serde_json::from_str(&pod.read("handshake/brought")).unwrap();
    let entries: Vec<_> =
        brought.entries.iter().map(|entry| (entry.name.as_str(), entry.size)).take(2).collect();
    assert_eq!(entries, [("a", 5), (r"b\\c", 0)]);
    assert_eq!((brought.entries.len(), brought.entries[2].name.as_str()), (3, "d"));
    assert!(brought.entries.iter().all(|entry| entry.modified > 1_000_000_000_000_000_000));
}

#[test]
fn a_mounted_config_map_gives_its_files_only() {
    let pod = Pod::new();
    pod.write("volume/..2026_01_01/run.sh", "#!/bin/sh\n");
    pod.write("volume/..2026_01_01/data", "x");
    symlink("..2026_01_01", pod.at("volume/..data")).unwrap();
    symlink("..data/run.sh", pod.at("volume/run.sh")).unwrap();
    symlink("..data/data", pod.at("volume/data")).unwrap();
    let told = pod.prepare(&pod.prepare_plan(vec![from_place(pod.volume(""))]));
    assert_eq!((told.code, pod.files("scratch")), (0, vec!["data".into(), "run.sh".into()]));
    assert!(fs::symlink_metadata(pod.at("scratch/data")).unwrap().is_file());
    let told = pod.prepare(&pod.prepare_plan(vec![from_place(pod.volume("run.sh"))]));
    assert_eq!(told.code, 0);
}

#[test]
fn a_link_out_of_a_volume_is_refused() {
    let pod = Pod::new();
    pod.write("secret", "s");
    pod.write("volume/inside", "i");
    symlink("../secret", pod.at("volume/relative")).unwrap();
    symlink(pod.at("secret"), pod.at("volume/absolute")).unwrap();
    symlink("..", pod.at("volume/up")).unwrap();
    for path in ["relative", "absolute", "up/secret", "up", ""] {
        let told = pod.prepare(&pod.prepare_plan(vec![from_place(pod.volume(path))]));
        let (code, subcode, message) = told.failure();
        assert_eq!((told.code, code, subcode), (1, 13, 40), "{path}: {message}");
        assert!(
            message.contains("of the volume 'v': (errno 40) a symbolic link leads out"),
            "{message}"
        );
        assert_eq!(pod.files("scratch"), [""; 0]);
    }
}

#[test]
fn names_that_lead_out_of_scratch_are_refused() {
    let pod = Pod::new();
    for name in ["../x", "/x", "a/../../x", "", "a//b", "."] {
        let told = pod.prepare(&pod.prepare_plan(vec![from_text(name, "x")]));
        assert_eq!((told.code, told.failure().0, told.failure().1), (1, 13, 22), "{name:?}");
    }
    assert!(!pod.at("x").exists());
}

#[test]
fn the_program_is_made_executable_and_a_script_must_say_what_runs_it() {
    let script = |content: &str| {
        let pod = Pod::new();
        let executable = Some("bin/run".to_owned());
        let inputs = vec![from_text("bin/run", content)];
        let told = pod.prepare(&PreparePlan { executable, ..pod.prepare_plan(inputs) });
        (told, pod)
    };
    for good in ["#!/bin/sh\necho\n", "\u{7f}ELF..."] {
        let (told, pod) = script(good);
        assert_eq!((told.code, pod.mode("scratch/bin/run")), (0, 0o755));
    }
    for bad in ["echo hello\n", "", "\u{feff}#!/bin/sh"] {
        let (told, pod) = script(bad);
        let expected = "the script './bin/run' has no '#!' line: write for example '#!/bin/sh' as its first line";
        assert_eq!(told.failure(), (6, 8, expected), "{bad:?}");
        assert!(!pod.at("handshake/brought").exists());
    }
}

#[test]
fn a_program_or_input_that_was_not_brought_is_named() {
    let pod = Pod::new();
    let plan = pod.prepare_plan(vec![from_text("a", "#!/bin/sh")]);
    let missing = [
        PreparePlan { executable: Some("run".into()), ..plan.clone() },
        PreparePlan { stdin: Some("run".into()), ..plan.clone() },
    ];
    for plan in missing {
        let told = pod.prepare(&plan);
        let message = format!(
            "Transfer input files failure at the execution point while receiving files. Details: reading from file {}: (errno 2) No such file or directory",
            pod.text("scratch/run")
        );
        assert_eq!(told.failure(), (13, 2, message.as_str()));
    }
    assert_eq!(pod.prepare(&PreparePlan { stdin: Some("a".into()), ..plan }).code, 0);
}

#[test]
fn inputs_that_are_too_big_are_refused_before_they_are_there() {
    let pod = Pod::new();
    pod.write("volume/big", vec![0; 3 << 20]);
    let server = Server::start(|_, _| answer(200, vec![0; 3 << 20]));
    for input in [from_place(pod.volume("big")), from_url(&server.url("big"))] {
        let plan = pod.prepare_plan(vec![input]);
        let max = PreparePlan { max_input_bytes: Some(2 << 20), ..plan.clone() };
        let told = pod.prepare(&max);
        let (code, subcode, message) = told.failure();
        assert_eq!((code, subcode), (32, 0), "{message}");
        assert!(
            message.ends_with("big: max total upload bytes exceeded (max=2 MB, this file=3 MB)"),
            "{message}"
        );
        let full = PreparePlan { disk_limit: Some(2 << 20), ..plan };
        let told = pod.prepare(&full);
        let (code, subcode, message) = told.failure();
        assert_eq!((code, subcode), (13, 28), "{message}");
        assert!(
            message.ends_with("the scratch directory is full (it has 2 MB): raise requestDisk"),
            "{message}"
        );
        assert_eq!(pod.files("scratch"), [""; 0]);
    }
}

#[test]
fn a_missing_volume_and_a_missing_file_are_named() {
    let pod = Pod::new();
    fs::create_dir(pod.at("volume")).unwrap();
    let told = pod.prepare(&pod.prepare_plan(vec![from_place(pod.volume("data/x"))]));
    let expected = "Transfer input files failure at the execution point while receiving files. Details: reading from file 'data/x' of the volume 'v': (errno 2) No such file or directory";
    assert_eq!(told.failure(), (13, 2, expected));
    let gone =
        Place::Volume { root: pod.text("gone"), path: String::new(), what: "Secret 's'".into() };
    let told = pod.prepare(&pod.prepare_plan(vec![from_place(gone)]));
    assert_eq!(told.failure().1, 2);
    assert!(told.failure().2.contains("Secret 's'"));
}

#[test]
fn files_come_by_http_with_the_headers_they_need() {
    let pod = Pod::new();
    pod.write("headers/Authorization", "Bearer t0ken\n");
    pod.write("headers/..data/x", "not a header");
    let server = Server::start(|request, _| match request.header("authorization") {
        Some("Bearer t0ken") => answer(200, request.path.clone()),
        _ => answer(401, "who are you"),
    });
    let place = Place::Url {
        url: server.url("a/b%20c.txt?sig=1"),
        headers: Some(pod.text("headers")),
        s3: None,
    };
    let told = pod.prepare(&pod.prepare_plan(vec![from_place(place)]));
    assert_eq!((told.code, pod.read("scratch/b c.txt").as_str()), (0, "/a/b%20c.txt?sig=1"));
    let told = pod.prepare(&pod.prepare_plan(vec![from_url(&server.url("x"))]));
    let (code, subcode, message) = told.failure();
    assert_eq!((code, subcode), (13, 13));
    assert!(message.ends_with("the server answered 401: who are you"), "{message}");
    let told = pod.prepare(&pod.prepare_plan(vec![from_url(&server.url("dir/"))]));
    assert_eq!(told.failure().1, 22);
}

#[test]
fn headers_do_not_follow_a_redirect_to_another_server() {
    let pod = Pod::new();
    pod.write("headers/X-Token", "secret");
    let other = Server::start(|_, _| answer(200, "other"));
    let url = other.url("moved");
    let server = Server::start(move |request, _| match request.path.as_str() {
        "/a" => answer(302, "").with("location", "/b"),
        "/b" => answer(307, "").with("location", url.clone()),
        _ => answer(302, "").with("location", "/loop"),
    });
    let from = |path| {
        let (url, headers) = (server.url(path), Some(pod.text("headers")));
        pod.prepare(&pod.prepare_plan(vec![from_place(Place::Url { url, headers, s3: None })]))
    };
    assert_eq!((from("a").code, pod.read("scratch/a").as_str()), (0, "other"));
    let tokens: Vec<_> = server.requests().iter().map(|r| r.header("x-token").is_some()).collect();
    assert_eq!(tokens, [true, true]);
    assert_eq!(other.requests()[0].header("x-token"), None);
    let told = from("loop");
    assert!(told.failure().2.contains("redirects"), "{told:?}");
}

#[test]
fn without_a_plan_the_last_words_say_so() {
    let pod = Pod::new();
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_transfer"))
        .args(["send", "--record", &pod.text("record")])
        .env_clear()
        .status()
        .unwrap();
    let report = Report::from_message(&pod.read("record")).unwrap();
    assert_eq!((status.code(), report.state), (Some(1), State::Failed));
    assert_eq!(report.failure.unwrap().code, 12);
}
