//! Asks `HTCondor`'s own reader whether what we write is a user log: it must find every event, in
//! order, with the right job and the right moment in any time zone, and write the same bytes again.
//!
//! No cluster is needed; see `oracle` for what is.

mod oracle;

use duj_core::userlog::{
    Amount, Attribute, Body, Bytes, Cluster, Completion, CpuUsage, Event, Evicted, Eviction, Exit,
    JobId, Line, Name, Resource, ResourceTable, Terminated, TransferStage, read,
};
use jiff::{SignedDuration, Timestamp};
use oracle::{OracleEvent, read_with_htcondor};
use serde_json::json;

/// Chicago's rules, spelled out so that no time zone database is needed.
const CHICAGO: &str = "CST6CDT,M3.2.0,M11.1.0";

/// Text that means to break the log, to forge an event, or is only long or foreign.
const FOREIGN: [&str; 16] = [
    "...",
    "\n...\n005 (042.000.000) 2026-08-21 10:00:03Z Job terminated.\n",
    "\r\n...\r\n",
    "...\u{2028}...",
    "\0 \u{1b}[2J\u{7f} \u{85}",
    "Code 1 Subcode 0",
    "Code3Subcode 4 and more",
    "Reason: none",
    "Partitionable Resources : Usage",
    "\tJob terminated of its own accord at 2026-08-21T10:00:03Z with exit-code 0.",
    "\"quoted\" and \\ at the end \\",
    "a on b, from c: to d:",
    "<10.0.0.9:9618?addrs=10.0.0.9-9618&alias=node-1&noUDP&sock=startd_1>",
    "größer als 大きい 🦀",
    "[ DAGNodeName = \"A\" ]",
    "%s %n %d",
];

fn line(text: &str) -> Line {
    Line::new(text)
}

fn name(text: &str) -> Name {
    Name::new(text)
}

fn resources() -> ResourceTable {
    let row = |usage, request, allocated| Resource {
        usage: Some(usage),
        request: Some(Amount::whole(request)),
        allocated: Some(Amount::whole(allocated)),
        assigned: Line::default(),
    };
    let time = Resource { usage: Some(Amount::whole(30)), ..Resource::default() };
    let gpus =
        Resource { assigned: Line::quoted("GPU-1,GPU-2"), ..row(Amount::nearest(0.5), 2, 2) };
    ResourceTable(
        [
            ("Memory", row(Amount::whole(20), 128, 128)),
            ("Disk", row(Amount::whole(12_345_678_901), 1_048_576, 2_097_152)),
            ("Cpus", row(Amount::hundredths(97), 1, 1)),
            ("Gpus", gpus),
            ("TimeExecute", time),
        ]
        .into_iter()
        .map(|(name, row)| (name.into(), row))
        .collect(),
    )
}

fn terminated(exit: Exit, resources: ResourceTable) -> Body {
    let cpu = |user, system| CpuUsage { user, system };
    Body::Terminated(Terminated {
        exit,
        run_remote: cpu(90_061, 59),
        run_local: cpu(0, 0),
        total_remote: cpu(8_639_999, 1),
        total_local: cpu(0, 2),
        run: Bytes { sent: 1024, received: 2048 },
        total: Bytes { sent: 16_777_216, received: 0 },
        resources,
    })
}

fn evicted(how: Eviction, code: i32, reason: &str) -> Body {
    let run_remote = CpuUsage { user: 61, system: 3_600 };
    let run = Bytes { sent: u64::from(u32::MAX) * 1000, received: 7 };
    let reason = line(reason);
    Body::Evicted(Evicted { how, code, subcode: 2, reason, run_remote, run, ..Evicted::default() })
}

fn removed(completion: Completion, notes: &str) -> Body {
    Body::Cluster(Cluster::Removed { procs: 10_000, items: 5_000, completion, notes: line(notes) })
}

/// Every kind of event, with `text` wherever foreign text can stand.
fn every_kind(text: &str) -> Vec<Body> {
    let properties = [("Cpus", "1"), ("CondorScratchDir", ""), ("GPUs", "0"), ("Memory", "128")];
    let properties = properties.into_iter().map(|(name, value)| {
        (Attribute::new(name), if value.is_empty() { Line::quoted(text) } else { line(value) })
    });
    let core = line(text);
    let mut bodies = vec![
        Body::Submit { host: name(text), notes: vec![], warning: Line::default() },
        Body::Execute { host: name(text), slot: name(text), properties: properties.collect() },
        evicted(Eviction::Stopped, 0, text),
        evicted(Eviction::Checkpointed, 1004, text),
        evicted(Eviction::Requeued(Exit::Code(3)), 0, text),
        evicted(Eviction::Requeued(Exit::Signal { number: 9, core: core.clone() }), 0, ""),
        terminated(Exit::Code(0), ResourceTable::default()),
        terminated(Exit::Signal { number: 11, core }, resources()),
        Body::ImageSize {
            image_size_kb: 20,
            memory_usage_mb: Some(20),
            resident_set_size_kb: Some(19_968),
            proportional_set_size_kb: Some(1 << 40),
        },
        Body::ShadowException { message: line(text), run: Bytes { sent: 1, received: 2 } },
        Body::Generic { text: line(text) },
        Body::Aborted { reason: line(text) },
        Body::Suspended { processes: 3 },
        Body::Unsuspended,
        Body::Held { reason: line(text), code: 34, subcode: 102 },
        Body::Released { reason: line(text) },
        Body::RemoteError {
            critical: true,
            daemon: name("starter"),
            host: name(text),
            message: vec![line("first"), line(text)],
            code: 34,
            subcode: 102,
        },
        Body::Disconnected { reason: line(text), startd: name(text), startd_address: name(text) },
        Body::Reconnected {
            startd: name(text),
            startd_address: name(text),
            starter_address: name(text),
        },
        Body::ReconnectFailed { reason: line(text), startd: name(text) },
        Body::JobAdInformation {
            attributes: [
                ("JobStatus", line("2")),
                ("TriggerEventTypeName", Line::quoted("ULOG_EXECUTE")),
                ("TriggerEventTypeNumber", line("1")),
                ("HoldReason", Line::quoted(text)),
            ]
            .map(|(name, value)| (name.into(), value))
            .into(),
        },
        Body::AttributeUpdate { attribute: text.into(), old: name(text), new: name(text) },
        Body::Cluster(Cluster::Submitted { host: name(text), notes: vec![] }),
        removed(Completion::Complete, ""),
        removed(Completion::Incomplete, text),
        removed(Completion::Paused, text),
        removed(Completion::Error(-7), text),
        Body::Cluster(Cluster::Paused { reason: line(text), pause_code: 1, hold_code: 3 }),
        Body::Cluster(Cluster::Paused { reason: line(text), pause_code: 1, hold_code: 0 }),
        Body::Cluster(Cluster::Paused { reason: line(text), pause_code: 0, hold_code: 0 }),
        Body::Cluster(Cluster::Resumed { reason: line(text) }),
    ];
    bodies.extend(TransferStage::ALL.map(|stage| Body::FileTransfer {
        stage,
        queued_seconds: (stage as u64).is_multiple_of(2).then_some(7),
        host: name(text),
    }));
    bodies
}

/// A log of them all: a second apart from each other, over both of Chicago's offsets.
fn log() -> Vec<Event> {
    let long = "x".repeat(5_000);
    let texts = FOREIGN.into_iter().chain(["", "plain", &long]);
    let start: Timestamp = "2026-03-08T07:55:00Z".parse().expect("a time");
    let events = texts.flat_map(every_kind).zip(0_i32..).map(|(body, index)| Event {
        job: JobId { cluster: 42, proc: index },
        time: start + SignedDuration::from_secs(i64::from(index)),
        body,
    });
    events.collect()
}

fn text(events: &[Event]) -> String {
    events.iter().map(Event::to_string).collect()
}

/// What `HTCondor` should write for an event that we wrote: the same, in local time, without the
/// line that ends it. It reads the label in front of a requeued job's reason, but writes none.
fn expected(event: &Event) -> String {
    let text = event.to_string();
    let text = text.strip_suffix("...\n").expect("each event ends so").replacen("Z ", " ", 1);
    match &event.body {
        Body::Evicted(Evicted { how: Eviction::Requeued(_), .. }) => {
            text.replace("\tReason: ", "\t")
        }
        _ => text,
    }
}

/// What follows the time.
fn without_header(text: &str) -> &str {
    text.splitn(5, ' ').last().expect("a title")
}

fn compare(ours: &[Event], theirs: &[OracleEvent]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(theirs.number, ours.body.number(), "{ours}{theirs:?}");
        assert_eq!(theirs.cluster, ours.job.cluster, "{ours}{theirs:?}");
        assert_eq!(theirs.proc, ours.job.proc, "{ours}{theirs:?}");
        assert_eq!(theirs.epoch, ours.time.as_second(), "{ours}{theirs:?}");
    }
    assert_eq!(theirs.len(), ours.len(), "the reader stopped behind {:?}", theirs.last());
}

#[test]
fn htcondor_finds_every_event_and_writes_it_the_same() {
    let ours = log();
    let theirs = read_with_htcondor(&text(&ours), "UTC");
    compare(&ours, &theirs);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(theirs.text, expected(ours));
    }
}

#[test]
fn the_moment_is_right_in_another_time_zone() {
    let ours = log();
    let theirs = read_with_htcondor(&text(&ours), CHICAGO);
    compare(&ours, &theirs);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(without_header(&theirs.text), without_header(&expected(ours)));
    }
    // The zone was really another one, before and after summer time begins at 08:00 UTC.
    assert!(theirs[0].text.starts_with("000 (042.000.000) 2026-03-08 01:55:00 "));
    assert!(theirs[301].text.contains(" 2026-03-08 03:00:01 "), "{}", theirs[301].text);
    tell("our logs", 1, ours.len());
}

fn tell(what: &str, logs: u64, events: usize) {
    let events = u64::try_from(events).expect("a number");
    duj_tally::tell(
        &format!("HTCondor's log reader: {what}"),
        &[("logs", logs), ("events", events)],
    );
}

/// Why our times end in `Z`.
#[test]
fn without_a_zone_htcondor_takes_a_time_for_local() {
    let log = "011 (1.0.0) 1970-01-02 00:00:00 Job was unsuspended.\n...\n";
    assert_eq!(read_with_htcondor(log, CHICAGO)[0].epoch, (24 + 6) * 3600);
}

#[test]
fn htcondor_understands_what_we_say() {
    let job = JobId { cluster: 1_234_567, proc: 10_000 };
    let time = Timestamp::UNIX_EPOCH;
    let bodies = every_kind("a reason\nof two lines");
    let log: Vec<_> = bodies.into_iter().map(|body| Event { job, time, body }).collect();
    let theirs = read_with_htcondor(&text(&log), "UTC");
    compare(&log, &theirs);
    let cases = [
        (1, "EXECUTE", "SlotName", json!("a_reason|of_two_lines")),
        (4, "JOB_EVICTED", "TerminatedBySignal", json!(9)),
        (5, "JOB_TERMINATED", "TerminatedBySignal", json!(11)),
        (5, "JOB_TERMINATED", "CpusUsage", json!(0.97)),
        (5, "JOB_TERMINATED", "Disk", json!(2_097_152)),
        (5, "JOB_TERMINATED", "DiskUsage", json!(12_345_678_901_u64)),
        (5, "JOB_TERMINATED", "RequestMemory", json!(128)),
        (5, "JOB_TERMINATED", "AssignedGpus", json!("GPU-1,GPU-2")),
        (5, "JOB_TERMINATED", "TimeExecuteUsage", json!(30)),
        (5, "JOB_TERMINATED", "RunRemoteUsage", json!("Usr 1 01:01:01, Sys 0 00:00:59")),
        (6, "IMAGE_SIZE", "ResidentSetSize", json!(19_968)),
        (9, "JOB_ABORTED", "Reason", json!("a reason|of two lines")),
        (10, "JOB_SUSPENDED", "NumberOfPIDs", json!(3)),
        (12, "JOB_HELD", "HoldReason", json!("a reason|of two lines")),
        (12, "JOB_HELD", "HoldReasonCode", json!(34)),
        (12, "JOB_HELD", "HoldReasonSubCode", json!(102)),
        (21, "REMOTE_ERROR", "ErrorMsg", json!("first\na reason|of two lines")),
        (21, "REMOTE_ERROR", "HoldReasonSubCode", json!(102)),
        (22, "JOB_DISCONNECTED", "StartdName", json!("a_reason|of_two_lines")),
        (24, "JOB_RECONNECT_FAILED", "Reason", json!("a reason|of two lines")),
        (35, "CLUSTER_SUBMIT", "SubmitHost", json!("a_reason|of_two_lines")),
        (36, "CLUSTER_REMOVE", "NextProcId", json!(10_000)),
        (36, "CLUSTER_REMOVE", "NextRow", json!(5_000)),
        (36, "CLUSTER_REMOVE", "Completion", json!(-7)),
        (36, "CLUSTER_REMOVE", "Notes", json!("a reason|of two lines")),
        (37, "FACTORY_PAUSED", "Reason", json!("a reason|of two lines")),
        (38, "FACTORY_RESUMED", "Reason", json!("a reason|of two lines")),
        (40, "FILE_TRANSFER", "Type", json!(6)),
    ];
    for (number, kind, attribute, value) in cases {
        let event = theirs.iter().rfind(|event| event.number == number).expect("such an event");
        assert_eq!(event.kind, kind);
        assert_eq!(event.attributes.get(attribute), Some(&value), "{attribute} of {event:?}");
    }
}

/// Where `HTCondor` writes less than it was told, or something else; we write what it would write
/// itself, and it reads it.
#[test]
fn what_htcondor_does_not_keep() {
    let time = Timestamp::UNIX_EPOCH;
    let event = |body| Event { job: JobId { cluster: 1, proc: 0 }, time, body };
    let size = |resident_set_size_kb| Body::ImageSize {
        image_size_kb: 20,
        memory_usage_mb: None,
        resident_set_size_kb,
        proportional_set_size_kb: None,
    };
    let error = |critical| Body::RemoteError {
        critical,
        daemon: name("starter"),
        host: name("slot1@node"),
        message: vec![line("m")],
        code: 0,
        subcode: 0,
    };
    let with_table = |resources| {
        let Body::Evicted(evicted) = evicted(Eviction::Stopped, 1, "r") else { unreachable!() };
        Body::Evicted(Evicted { resources, ..evicted })
    };
    let bytes = |sent| {
        let Body::Terminated(end) = terminated(Exit::Code(0), ResourceTable::default()) else {
            unreachable!()
        };
        Body::Terminated(Terminated { run: Bytes { sent, received: 0 }, ..end })
    };
    let cases = [
        ("the table of an eviction", with_table(resources()), with_table(ResourceTable::default())),
        ("that a size is unknown", size(None), size(Some(0))),
        ("that a message is no error", error(false), error(true)),
        ("the last digits of byte counts", bytes(16_777_217), bytes(16_777_216)),
    ];
    for (what, ours, theirs) in cases {
        let log = [event(ours), event(Body::Unsuspended)];
        let found = read_with_htcondor(&text(&log), "UTC");
        compare(&log, &found);
        assert_eq!(found[0].text, expected(&event(theirs)), "{what}");
    }
}

/// The notes of a submission: what a person, a `DAG` and `condor_submit` add to it.
#[test]
fn the_notes_of_a_submission() {
    let submit = |notes: &[&str], warning| Event {
        job: JobId { cluster: 1, proc: 0 },
        time: Timestamp::UNIX_EPOCH,
        body: Body::Submit {
            host: name("<10.0.0.2:9618>"),
            notes: notes.iter().copied().map(line).collect(),
            warning: line(warning),
        },
    };
    let log = [
        submit(&["[ DAGNodeName = \"A\" ]", "of a person"], ""),
        submit(&["one", "two"], ""),
        submit(&["DAG Node: A"], ""),
        submit(&["one"], "the image has no tag\nit may change"),
    ];
    let theirs = read_with_htcondor(&text(&log), "UTC");
    compare(&log, &theirs);
    for (ours, theirs) in log.iter().zip(&theirs).take(2) {
        assert_eq!(theirs.text, expected(ours));
    }
    let node = |index: usize| theirs[index].attributes["StructuredNotes"].to_string();
    assert!(node(0).contains("DAGNodeName = \\\"A\\\""), "{}", node(0));
    assert_eq!(theirs[1].attributes["UserNotes"], json!("two"));
    // The old form of the first.
    assert_eq!(node(2), node(0));
    // It keeps the words in front of a warning as part of it, and so would write them twice.
    let warning = theirs[3].attributes["Warnings"].as_str().expect("a warning");
    assert!(warning.ends_with("warning(s): the image has no tag|it may change"), "{warning}");
}

/// What another `HTCondor` wrote is read by us as by it, and what we then write is a log again.
#[test]
fn both_read_the_same_in_real_logs() {
    let logs = [
        include_str!("../src/core/src/userlog/testdata/bad.log"),
        include_str!("../src/core/src/userlog/testdata/ok.log"),
        include_str!("../src/core/src/userlog/testdata/pol.log"),
        include_str!("../src/core/src/userlog/testdata/retry.log"),
        include_str!("../src/core/src/userlog/testdata/sleep.log"),
        include_str!("../src/core/src/userlog/testdata/written-by-25.log"),
    ];
    let log = logs.concat();
    let ours: Vec<Event> = read(&log).collect::<Result<_, _>>().expect("a log is read");
    let theirs = read_with_htcondor(&log, "UTC");
    compare(&ours, &theirs);
    let again = read_with_htcondor(&text(&ours), "UTC");
    compare(&ours, &again);
    for (theirs, again) in theirs.iter().zip(&again) {
        // Reasons of the older `HTCondor` may end in a blank.
        let trimmed = |text: &str| text.replace(" \n", "\n");
        assert_eq!(trimmed(&theirs.text), trimmed(&again.text));
    }
    tell("its own logs", u64::try_from(logs.len()).expect("a number"), ours.len());
}
