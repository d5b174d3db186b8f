//! Jobs with items: what each proc is told, and where the items come from.

use crate::play::Play;
use duj_core::records::Records;
use serde_json::{Value, json};

/// The last argument of the first pod of a proc.
fn argument(play: &mut Play, proc: u32) -> String {
    let pod = play.pod_of(proc).pod().unwrap().spec.clone().unwrap();
    pod.containers[0].args.clone().unwrap().pop().unwrap()
}

/// The first pod of a proc runs, and then it is gone.
fn lose(play: &mut Play, proc: u32) {
    play.pod_of(proc).bind();
    play.pod_of(proc).run();
    play.scene("a pod runs");
    play.wait(10);
    play.server.pods.remove(&format!("hello-0a1b2c3d-{proc}-0"));
    play.scene("and is gone");
}

fn of_key(fields: Value) -> Play {
    let mut items = json!({ "configMapKeyRef": { "name": "list", "key": "lines" } });
    items.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Play::of(json!({ "arguments": ["$(ProcId):$(Item)"], "queue": { "items": items } }))
}

#[test]
fn each_row_is_a_proc_with_its_variables() {
    let mut play = Play::of(json!({
        "arguments": ["$(ProcId).$(Row).$(Step) $(alpha)/$(beta:none) $(date) $$(alpha) $INT($(Step) * 10,%03d)"],
        "queue": { "count": 2, "items": { "slice": "[1:]", "rows": [
            { "alpha": "1", "beta": "x" }, { "alpha": "2", "beta": "$(ProcId)" }, { "alpha": "3", "beta": "" },
        ] } },
    }));
    let deeds = play.scene("submitted");
    assert_eq!(
        deeds,
        ["Status", "CreatePod 0-0", "CreatePod 1-0", "CreatePod 2-0", "CreatePod 3-0"]
    );
    // What the kubelet reads: its own `$(alpha)` is written `$$(alpha)`.
    let told = [0, 1, 2, 3].map(|proc| argument(&mut play, proc));
    assert_eq!(
        told,
        [
            "0.1.0 2/0 $$(date) $$(alpha) 000",
            "1.1.1 2/1 $$(date) $$(alpha) 010",
            "2.2.0 3/none $$(date) $$(alpha) 000",
            "3.2.1 3/none $$(date) $$(alpha) 010",
        ]
    );
}

#[test]
fn items_are_in_files_and_destinations() {
    let mut play = Play::of(json!({
        "executable": "./$(Item)", "output": "$Fn(Item).out",
        "environment": [{ "name": "ITEM", "value": "$(Item) $(HOME)" }],
        "transferInput": [{ "name": "$(Item)", "url": "https://host/in/$(Item)" }],
        "outputDestination": { "url": "s3://bucket/$(ClusterId)/$Fn(Item)/" },
        "queue": { "items": { "values": ["run.sh"] } },
    }));
    play.scene("submitted");
    let pod = play.pod().pod().unwrap().spec.clone().unwrap();
    let of = |containers: &[k8s_openapi::api::core::v1::Container], name: &str| {
        let container = containers.iter().find(|container| container.name == name).unwrap();
        serde_json::to_string(container).unwrap()
    };
    let (prepare, job, transfer) = (
        of(pod.init_containers.as_ref().unwrap(), "prepare"),
        of(&pod.containers, "job"),
        of(&pod.containers, "transfer"),
    );
    assert!(prepare.contains("https://host/in/run.sh"), "{prepare}");
    assert!(job.contains(r#""--output","run.out""#) && job.contains("./run.sh"), "{job}");
    assert!(job.contains(r#""value":"run.sh $$(HOME)""#), "{job}");
    assert!(transfer.contains("s3://bucket/7/run/"), "{transfer}");
}

#[test]
fn what_a_function_cannot_use_holds_that_proc() {
    let mut play = Play::of(json!({
        "arguments": ["$INT(Item)"], "queue": { "items": { "values": ["1", "abc"] } },
    }));
    assert_eq!(play.scene("submitted"), ["Status", "CreatePod 0-0", "Event Warning Held"]);
    let status = play.status();
    let group = status.procs.iter().find(|group| group.procs == "1").unwrap();
    let hold = group.record.hold.clone().unwrap();
    assert_eq!((hold.code, hold.subcode), (6, 0));
    assert_eq!(
        hold.reason,
        "Error creating the job's pod: arguments[0] '$INT(Item)': $INT(Item): 'abc' is not a number: write a number, an expression such as '$(Step) * 2', or the name of a variable that has one"
    );
}

#[test]
fn an_item_does_not_lead_out_of_the_scratch_directory() {
    let mut play = Play::of(json!({
        "output": "out/$(Item)", "queue": { "items": { "values": ["../../etc/passwd"] } },
    }));
    play.scene("submitted");
    play.is("Held 6/0", "Held", "0 12");
    assert!(
        play.hold().reason.starts_with(
            "Error creating the job's pod: output 'out/$(Item)' comes to 'out/../../etc/passwd' in this proc: "
        ),
        "{}",
        play.hold().reason
    );
}

#[test]
fn lines_of_a_config_map_are_kept_as_they_were() {
    let mut play = of_key(json!({}));
    play.server.list = Some("a b\n\nc\n".into());
    assert_eq!(play.scene("submitted"), ["Status", "CreatePod 0-0", "CreatePod 1-0"]);
    let noticed = play.status().noticed.unwrap();
    assert!(noticed.items.is_some());
    assert_eq!([argument(&mut play, 0), argument(&mut play, 1)], ["0:a b", "1:c"]);
    play.server.list = Some("another\nthing\naltogether".into());
    lose(&mut play, 0);
    let again = play.pod().pod().unwrap().spec.clone().unwrap();
    assert_eq!(again.containers[0].args.clone().unwrap().pop().unwrap(), "0:a b");
    assert_eq!(play.status().counts.unwrap().total, 2);
    assert_eq!(play.status().noticed.unwrap(), noticed);
}

#[test]
fn a_list_that_is_missing_is_waited_for_then_holds_and_goes_on_once_it_is_there() {
    let mut play = of_key(json!({}));
    assert_eq!(play.scene("submitted without the list"), ["Status"]);
    play.is("Idle", "WaitingForConfiguration", "0");
    play.wait(29);
    play.scene("29 seconds");
    play.is("Idle", "WaitingForConfiguration", "0");
    play.wait(2);
    assert_eq!(play.scene("31 seconds"), ["Status", "Event Warning Held"]);
    play.is("Held 6/0", "Held", "0 12");
    assert_eq!(
        play.hold().reason,
        "Error reading queue.items: the ConfigMap 'list' does not exist"
    );
    play.server.list = Some("a\nb\nc".into());
    play.wait(60);
    let deeds = play.scene("the list comes");
    assert_eq!(
        deeds,
        ["Status", "CreatePod 0-1", "CreatePod 1-0", "CreatePod 2-0", "Event Normal Released"]
    );
    let counts = play.status().counts.unwrap();
    assert_eq!((counts.total, counts.held, counts.idle), (3, 0, 3));
    assert_eq!(argument(&mut play, 2), "2:c");
    play.is_remembered("items that come late");
}

#[test]
fn procs_are_not_forgotten_where_the_items_are_lost() {
    let mut play = of_key(json!({}));
    play.server.list = Some("a\nb".into());
    play.scene("submitted");
    let before = Records::read(&play.status().procs, 2);
    (play.server.list, play.server.kept) = (None, None);
    play.wait(5);
    assert_eq!(play.scene("somebody deletes both"), [""; 0]);
    assert_eq!(Records::read(&play.status().procs, 2), before);
    lose(&mut play, 0);
    lose(&mut play, 1);
    play.wait(30);
    play.scene("it waits for the items, too long");
    let status = play.status();
    let counts = status.counts.unwrap();
    assert_eq!((counts.total, counts.held), (2, 2));
}
