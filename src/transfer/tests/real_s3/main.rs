//! The built program against a real S3 service: `versitygw`, whose path stands in `VERSITYGW`, on a directory of the disk.

#![allow(clippy::unwrap_used, reason = "all of this is test code")]

#[path = "../support/program.rs"]
mod program;
mod service;

use std::{fs, thread, time::Duration};

use duj_protocol::{
    Record,
    transfer::{Input, Place, PreparePlan, Remap, S3, SendPlan, Source, When},
};
use program::{Pod, exited, from_place};
use service::Service;

/// Bytes that are the same nowhere.
fn pattern(bytes: usize) -> Vec<u8> {
    let words = (0_u64..).flat_map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes());
    words.take(bytes).collect()
}

#[test]
fn files_of_all_sizes_come_back_as_they_were() {
    const MIB: usize = 1 << 20;
    let service = Service::start();
    let sizes = [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 8 * MIB, 8 * MIB + 1, 40 * MIB + 12_345];
    let pod = Pod::new();
    let plan = SendPlan { destination: Some(service.place("out")), ..pod.send_plan() };
    for size in sizes {
        pod.write(&format!("scratch/f{size}"), pattern(size));
    }
    let told = pod.send(&plan, Some(&exited(0)));
    assert_eq!((told.code, told.last.files), (0, sizes.len() as u64), "{told:?}");
    assert!(service.unfinished_uploads().is_empty());

    let other = Pod::new();
    let inputs = sizes.map(|size| Input {
        name: Some(format!("single/{size}")),
        source: Source::Place(service.place(&format!("out/f{size}"))),
    });
    let mut inputs: Vec<_> = inputs.into();
    inputs.push(from_place(service.place("out/")));
    let told = other.prepare(&other.prepare_plan(inputs));
    assert_eq!(told.code, 0, "{told:?}");
    for size in sizes {
        for name in [format!("scratch/single/{size}"), format!("scratch/f{size}")] {
            assert!(fs::read(other.at(&name)).unwrap() == pattern(size), "{name} differs");
        }
    }
}

#[test]
fn names_are_keys_as_they_are() {
    let service = Service::start();
    let pod = Pod::new();
    let names = ["a b+c%d", "ü/日本", "x#y?z&=", "[1]*", "~'\"\\"];
    for name in names {
        pod.write(&format!("scratch/d/{name}"), name);
    }
    let plan = SendPlan {
        files: Some(vec!["d/".into()]),
        destination: Some(service.place("p/")),
        remaps: vec![("[1]*".into(), Remap::Place(service.place("q/r s")))],
        ..pod.send_plan()
    };
    let told = pod.send(&plan, Some(&exited(0)));
    assert_eq!(told.code, 0, "{told:?}");
    let other = Pod::new();
    let inputs = vec![from_place(service.place("p/")), from_place(service.place("q/r s"))];
    let told = other.prepare(&other.prepare_plan(inputs));
    assert_eq!(told.code, 0, "{told:?}");
    for name in names {
        let landed = if name == "[1]*" { "r s" } else { name };
        assert_eq!(other.read(&format!("scratch/{landed}")), name);
    }
    pod.write("scratch/line\nbreak", "x");
    let told = pod.send(&SendPlan { files: None, ..plan }, Some(&exited(0)));
    assert_eq!((told.failure().0, told.failure().1), (12, 84), "{told:?}");
}

#[test]
fn what_is_wrong_is_told_in_the_services_words() {
    let service = Service::start();
    let pod = Pod::new();
    let get = |place| {
        pod.prepare(&PreparePlan { patience: 60, ..pod.prepare_plan(vec![from_place(place)]) })
    };
    let told = get(service.place("none"));
    assert_eq!((told.failure().0, told.failure().1), (13, 2), "{told:?}");
    assert!(
        told.failure().2.contains("s3://bucket/none: the server answered 404: NoSuchKey"),
        "{told:?}"
    );
    assert_eq!(get(service.place("none/")).failure().1, 2);

    pod.write("wrong/AWS_ACCESS_KEY_ID", "tester");
    pod.write("wrong/AWS_SECRET_ACCESS_KEY", "not the secret");
    let Place::Url { url, s3, .. } = service.place("x") else { unreachable!() };
    let s3 = Some(S3 { credentials: Some(pod.text("wrong")), ..s3.unwrap() });
    let told = get(Place::Url { url, headers: None, s3 });
    assert_eq!((told.failure().0, told.failure().1), (13, 13), "{told:?}");
    assert!(told.failure().2.contains("403: SignatureDoesNotMatch"), "{told:?}");
    let Place::Url { s3, .. } = service.place("x") else { unreachable!() };
    let told = get(Place::Url { url: "s3://nobucket/x".into(), headers: None, s3 });
    assert_eq!(told.failure().1, 2, "{told:?}");
    assert!(told.failure().2.contains("NoSuchBucket"), "{told:?}");
}

#[test]
fn a_file_that_shrinks_leaves_no_object() {
    let service = Service::start();
    let pod = Pod::new();
    let plan = SendPlan { destination: Some(service.place("out")), ..pod.send_plan() };
    // A hole is as long as it says until it is read.
    let file = fs::File::create(pod.at("scratch/big")).unwrap();
    file.set_len(4 << 30).unwrap();
    let shrinking = thread::spawn({
        let (file, upload) = (file.try_clone().unwrap(), service.uploads());
        move || {
            program::wait("an upload", || {
                upload.read_dir().is_ok_and(|mut all| all.next().is_some())
            });
            file.set_len(1 << 20).unwrap();
        }
    });
    let told = pod.send(&plan, Some(&exited(0)));
    shrinking.join().unwrap();
    assert_eq!((told.code, told.failure().0), (1, 12), "{told:?}");
    assert!(told.failure().2.contains("it became shorter meanwhile"), "{told:?}");
    assert_eq!(service.objects(), [""; 0]);
    assert!(service.unfinished_uploads().is_empty());
}

#[test]
fn a_service_that_comes_later_is_waited_for() {
    let mut service = Service::start();
    let pod = Pod::new();
    let plan =
        SendPlan { destination: Some(service.place("out")), patience: 60, ..pod.send_plan() };
    pod.write("scratch/result", pattern(30 << 20));
    service.stop();
    let job = program::Job::start(&pod);
    let child = pod.start("send", &plan);
    job.end(Some(&exited(0)));
    pod.wait_for(duj_protocol::transfer::State::Retrying);
    thread::sleep(Duration::from_millis(100));
    service.resume();
    let told = program::told(&pod, &child.wait_with_output().unwrap());
    assert_eq!((told.code, told.last.bytes), (0, 30 << 20), "{told:?}");
    assert_eq!(service.objects(), ["out/result"]);
}

#[test]
fn a_checkpoint_goes_to_s3_and_comes_back() {
    let service = Service::start();
    let (first, second) = (Pod::new(), Pod::new());
    let plan = SendPlan {
        when: When::OnExitOrEvict,
        checkpoint: Some(service.place("c/1.0")),
        ..first.send_plan()
    };
    let stopped = Record { stopped_by: Some(15), ..exited(0) };
    for content in ["one", "two"] {
        first.write("scratch/state", content);
        first.write("scratch/big", pattern(6 << 20));
        let told = first.send(&plan, Some(&stopped));
        assert_eq!((told.code, told.last.checkpoint_count), (0, 1), "{told:?}");
    }
    assert_eq!(service.objects(), ["c/1.0/2/MANIFEST", "c/1.0/2/files/big", "c/1.0/2/files/state"]);
    let restore =
        PreparePlan { restore: Some(service.place("c/1.0")), ..second.prepare_plan(vec![]) };
    assert_eq!(second.prepare(&restore).code, 0);
    assert_eq!(second.read("scratch/state"), "two");
    assert!(fs::read(second.at("scratch/big")).unwrap() == pattern(6 << 20));
}
