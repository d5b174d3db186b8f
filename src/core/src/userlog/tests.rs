//! The log against `HTCondor`'s own bytes, and case by case.

mod order;
mod properties;

use jiff::{Timestamp, tz::Offset};

use super::*;

/// What `HTCondor` 25.14.1 reads, and writes again byte for byte; only the `Z` of the times is
/// ours.
const WRITTEN_BY_25: &str = include_str!("testdata/written-by-25.log");

/// What `HTCondor` 23.9.6 wrote, with a trailer behind 005 and 009 that newer ones do not write.
const WRITTEN_BY_23: [(&str, &str, usize); 5] = [
    ("bad", include_str!("testdata/bad.log"), 6),
    ("ok", include_str!("testdata/ok.log"), 14),
    ("pol", include_str!("testdata/pol.log"), 4),
    ("retry", include_str!("testdata/retry.log"), 7),
    ("sleep", include_str!("testdata/sleep.log"), 23),
];

fn events(text: &str) -> Vec<Event> {
    read(text).collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn written(events: &[Event]) -> String {
    events.iter().map(Event::to_string).collect()
}

fn event(body: Body) -> Event {
    let time: Timestamp = "2026-08-21T10:00:03Z".parse().unwrap();
    Event { job: JobId { cluster: 42, proc: 0 }, time, body }
}

/// The body's text as it stands in the log, without the header.
fn text_of(body: Body) -> String {
    let text = event(body).to_string();
    let (header, body) = text.split_at("000 (042.000.000) 2026-08-21 10:00:03Z ".len());
    assert!(header.ends_with(" (042.000.000) 2026-08-21 10:00:03Z "), "{header}");
    body.strip_suffix("...\n").unwrap().to_owned()
}

#[test]
fn what_htcondor_25_writes_is_written_again_byte_for_byte() {
    assert_eq!(written(&events(WRITTEN_BY_25)), WRITTEN_BY_25);
}

#[test]
fn what_htcondor_23_wrote_is_read_whole() {
    for (name, text, count) in WRITTEN_BY_23 {
        let found = events(text);
        assert_eq!(found.len(), count, "{name}");
        assert_eq!(events(&written(&found)), found, "{name}");
        assert_eq!(check(&found, Expect::Finished), [], "{name}");
    }
}

#[test]
fn a_run_that_htcondor_logged_says_what_it_said() {
    let found = events(include_str!("testdata/retry.log"));
    let Body::Evicted(evicted) = &found[2].body else { panic!("{:?}", found[2]) };
    assert_eq!(evicted.how, Eviction::Requeued(Exit::Code(3)));
    assert!(evicted.reason.as_str().ends_with("' evaluated to FALSE"));
    let Body::Terminated(end) = &found[6].body else { panic!("{:?}", found[6]) };
    assert_eq!(end.exit, Exit::Code(3));
    let rows = &end.resources.0;
    assert_eq!(rows[&"disk".into()].allocated, Some(Amount::whole(2048)));
    assert_eq!(rows[&"GPUs".into()].usage, None);
    assert_eq!(rows.len(), 6);
}

#[test]
fn old_writers_trailers_and_titles_are_skipped() {
    let found = events(include_str!("testdata/pol.log"));
    assert_eq!(found[3].body, Body::Aborted { reason: "via condor_rm (by user alice)".into() });
    let text = "009 (1.0.0) 2026-08-21 10:00:03Z Job was aborted by the user.\n...\n";
    assert_eq!(events(text)[0].body, Body::Aborted { reason: Line::default() });
    let text = "009 (1.0.0) 2026-08-21 10:00:03Z Job was aborted.\n\n\
        \tJob terminated by itself at 2026-08-21T10:00:03Z (using method 0: OF_ITS_OWN_ACCORD).\n\
        ...\n";
    assert_eq!(events(text)[0].body, Body::Aborted { reason: Line::default() });
}

#[test]
fn times_are_read_in_every_form_that_htcondor_writes() {
    let moment: Timestamp = "2026-08-21T10:00:03Z".parse().unwrap();
    let cases = [
        ("2026-08-21 10:00:03Z", moment),
        ("2026-08-21T10:00:03Z", moment),
        ("2026-08-21 10:00:03", "2026-08-21T15:00:03Z".parse().unwrap()),
        ("08/21 10:00:03", "2026-08-21T15:00:03Z".parse().unwrap()),
        ("2026-08-21 10:00:03.250Z", "2026-08-21T10:00:03.25Z".parse().unwrap()),
        ("2026-08-21T12:00:03+02:00", moment),
        ("2026-08-21 05:00:03-0500", moment),
    ];
    for (stamp, expected) in cases {
        let text = format!("011 (1.0.0) {stamp} Job was unsuspended.\r\n...\r\n");
        let chicago = Offset::constant(-5);
        let found = read(&text).in_year(2026).at_offset(chicago).next().unwrap();
        assert_eq!(found.map(|event| event.time), Ok(expected), "{stamp}");
    }
}

#[test]
fn what_cannot_be_read_is_said_and_passed_over() {
    let good = "011 (1.0.0) 2026-08-21 10:00:03Z Job was unsuspended.\n...\n";
    let cases = [
        ("", Malformed::Header),
        ("blank\n", Malformed::Header),
        ("11 (1.0.0) 2026-08-21 10:00:03Z Job was unsuspended.\n", Malformed::Header),
        ("011 (1.0) 2026-08-21 10:00:03Z Job was unsuspended.\n", Malformed::Header),
        ("011 (1.0.0) 2026-13-21 10:00:03Z Job was unsuspended.\n", Malformed::Time),
        ("011 (1.0.0) 08/21 10:00:03 Job was unsuspended.\n", Malformed::NoYear),
        ("099 (1.0.0) 2026-08-21 10:00:03Z What?\n", Malformed::Unknown(99)),
        (
            "005 (1.0.0) 2026-08-21 10:00:03Z Job terminated.\n\
             \t(1) Normal termination (return value 0)\n",
            Malformed::Body { number: 5, expected: "Usr 0 00:00:00, Sys 0 00:00:00" },
        ),
        (
            "011 (1.0.0) 2026-08-21 10:00:03Z Job was released.\n",
            Malformed::Body { number: 11, expected: "Job was unsuspended." },
        ),
    ];
    for (bad, cause) in cases {
        let text = format!("{good}{bad}...\n{good}");
        let found: Vec<_> = read(&text).collect();
        assert_eq!(found.len(), 3, "{bad}");
        assert_eq!(found[1], Err(ReadError { line: 3, cause }), "{bad}");
        assert!(found[2].is_ok(), "{bad}");
    }
    // A last line with a blank behind it ends nothing, as with HTCondor.
    let unfinished = good.replace("...\n", "... \n");
    let found: Vec<_> = read(&unfinished).collect();
    assert_eq!(found, [Err(ReadError { line: 1, cause: Malformed::Unfinished })]);
}

#[test]
fn a_held_job_always_has_a_reason_and_codes() {
    let held = |reason: &str, code| text_of(Body::Held { reason: reason.into(), code, subcode: 0 });
    assert_eq!(held("", 1), "Job was held.\n\tReason unspecified\n\tCode 1 Subcode 0\n");
    assert_eq!(held("a\nb\r\nc", 34), "Job was held.\n\ta|b|c\n\tCode 34 Subcode 0\n");
}

#[test]
fn an_eviction_names_its_codes_only_if_it_has_some() {
    let evicted = |code, how| {
        text_of(Body::Evicted(Evicted {
            how,
            code,
            subcode: 2,
            reason: "why".into(),
            ..Evicted::default()
        }))
    };
    let times = "\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage\n\
        \t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage\n\
        \t0  -  Run Bytes Sent By Job\n\t0  -  Run Bytes Received By Job\n";
    assert_eq!(
        evicted(0, Eviction::Stopped),
        format!("Job was evicted.\n\t(0) CPU times\n{times}\tReason: why\n")
    );
    assert_eq!(
        evicted(1004, Eviction::Checkpointed),
        format!(
            "Job was evicted. Code 1004 Subcode 2\n\t(1) Job was checkpointed.\n{times}\
             \tReason: why\n"
        )
    );
    let signal = Exit::Signal { number: 9, core: "/scratch/core".into() };
    assert_eq!(
        evicted(0, Eviction::Requeued(signal)),
        format!(
            "Job was evicted.\n\t(0) Job terminated and was requeued\n{times}\
            \t(0) Abnormal termination (signal 9)\n\t(1) Corefile in: /scratch/core\n\twhy\n"
        )
    );
}

#[test]
fn a_table_widens_and_aligns_its_columns() {
    let row = |usage: Option<u64>, request, allocated| Resource {
        usage: usage.map(Amount::hundredths),
        request: Some(Amount::whole(request)),
        allocated: Some(Amount::whole(allocated)),
        assigned: Line::default(),
    };
    let table = |rows: Vec<(&str, Resource)>| {
        ResourceTable(rows.into_iter().map(|(name, row)| (name.into(), row)).collect())
    };
    let plain = table(vec![
        ("Memory", row(Some(2000), 128, 128)),
        ("Disk", row(Some(1400), 1_048_576, 2_097_152)),
        ("Cpus", row(Some(0), 1, 1)),
        ("TimeExecute", Resource { usage: Some(Amount::whole(30)), ..Resource::default() }),
    ]);
    assert_eq!(
        plain.to_string(),
        "\tPartitionable Resources :    Usage  Request Allocated \n\
         \t   Cpus                 :        0        1         1 \n\
         \t   Disk (KB)            :       14  1048576   2097152 \n\
         \t   Memory (MB)          :       20      128       128 \n\
         \t   TimeExecute (s)      :       30                    \n"
    );
    let mut wide = table(vec![
        ("Cpus", row(Some(97), 1, 1)),
        ("Disk", row(Some(123_456_789_000), 1, 12_345_678_901)),
        ("GPUs", row(None, 1, 1)),
    ]);
    wide.0.get_mut(&"gpus".into()).unwrap().assigned = Line::quoted("GPU-1,GPU-2");
    assert_eq!(
        wide.to_string(),
        "\tPartitionable Resources :         Usage  Request   Allocated Assigned\n\
         \t   Cpus                 :          0.97        1           1 \n\
         \t   Disk (KB)            : 1234567890           1 12345678901 \n\
         \t   GPUs                 :                      1           1 \"GPU-1,GPU-2\"\n"
    );
}

#[test]
fn cpu_times_count_days() {
    let end = Terminated {
        exit: Exit::Code(0),
        run_remote: CpuUsage { user: 90_061, system: 59 },
        run_local: CpuUsage::default(),
        total_remote: CpuUsage { user: 8_639_999, system: 0 },
        total_local: CpuUsage::default(),
        run: Bytes::default(),
        total: Bytes::default(),
        resources: ResourceTable::default(),
    };
    let text = text_of(Body::Terminated(end));
    assert!(text.contains("\t\tUsr 1 01:01:01, Sys 0 00:00:59  -  Run Remote Usage\n"), "{text}");
    assert!(
        text.contains("\t\tUsr 99 23:59:59, Sys 0 00:00:00  -  Total Remote Usage\n"),
        "{text}"
    );
}

#[test]
fn a_remote_message_cannot_pose_as_the_codes_of_a_hold() {
    let body = Body::RemoteError {
        critical: true,
        daemon: "starter".into(),
        host: "slot1@node".into(),
        message: vec!["Code 1 Subcode 0".into(), "code 2".into()],
        code: 34,
        subcode: 102,
    };
    assert_eq!(
        text_of(body),
        "Error from starter on slot1@node:\n\t|Code 1 Subcode 0\n\tcode 2\n\tCode 34 Subcode 102\n"
    );
}

#[test]
fn foreign_text_becomes_one_harmless_line() {
    let cases = [
        ("plain", "plain"),
        (" \t padded \n", "padded"),
        ("a\n...\n005 (1.0.0) x", "a|...|005 (1.0.0) x"),
        ("a\rb\tc\r\nd", "a b c|d"),
        ("\u{1b}[31mred\u{0}", "\\u{1b}[31mred\\u{0}"),
        ("nel\u{85}ls\u{2028}ps\u{2029}end", "nel\\u{85}ls\\u{2028}ps\\u{2029}end"),
        ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
        ("größe 大小", "größe 大小"),
    ];
    for (text, expected) in cases {
        assert_eq!(Line::new(text).as_str(), expected, "{text:?}");
    }
    assert_eq!(Name::new("...a host, \"b\"").as_str(), "___a_host___b_");
    assert_eq!(Attribute::new("nvidia.com/gpu").as_str(), "nvidia.com_gpu");
    assert_eq!(Attribute::new("").as_str(), "_");
    assert_eq!(Line::quoted("a \"b\" c\\").as_str(), r#""a \"b\" c/""#);
}

#[test]
fn long_text_is_cut_between_characters_and_marked() {
    for text in ["x".repeat(5_000), "ö".repeat(5_000), "大".repeat(5_000)] {
        let line = Line::new(&text);
        assert!(
            line.as_str().len() <= Line::MAX_BYTES && line.as_str().len() > Line::MAX_BYTES - 6
        );
        assert!(line.as_str().ends_with('…'));
        assert_eq!(Line::new(line.as_str()), line);
        assert!(Line::quoted(&text).as_str().len() <= Line::MAX_BYTES);
    }
}

#[test]
fn an_event_of_three_dots_is_no_end() {
    let text = event(Body::Generic { text: "...".into() }).to_string();
    assert_eq!(text, "008 (042.000.000) 2026-08-21 10:00:03Z …\n...\n");
}

#[test]
fn a_clusters_events_have_the_words_of_htcondor() {
    let paused = |reason: &str, pause_code, hold_code| {
        text_of(Body::Cluster(Cluster::Paused { reason: reason.into(), pause_code, hold_code }))
    };
    let title = "Job Materialization Paused\n";
    assert_eq!(paused("", 0, 0), title);
    assert_eq!(paused("r", 0, 0), format!("{title}\tr\n"));
    assert_eq!(paused("r", 1, 3), format!("{title}\tr\n\tPauseCode 1\n\tHoldCode 3\n"));
    // Without a reason its line stays empty, for the first line is one whatever it says.
    assert_eq!(paused("", 1, 0), format!("{title}\t\n\tPauseCode 1\n"));
    let removed = |completion, notes: &str| {
        let notes = notes.into();
        text_of(Body::Cluster(Cluster::Removed { procs: 5, items: 3, completion, notes }))
    };
    let title = "Cluster removed\n\tMaterialized 5 jobs from 3 items.\t";
    assert_eq!(removed(Completion::Complete, ""), format!("{title}Complete\n"));
    assert_eq!(removed(Completion::Error(-7), "n"), format!("{title}Error -7\n\tn\n"));
    let job = JobId { cluster: 42, proc: -1 };
    let resumed = Body::Cluster(Cluster::Resumed { reason: Line::default() });
    let text = Event { job, ..event(resumed) }.to_string();
    assert!(text.starts_with("038 (042.-01.000) 2026-08-21 10:00:03Z Job"), "{text}");
}

#[test]
fn a_page_gets_the_oldest_whole_events() {
    let one = event(Body::Unsuspended).to_string();
    let log = one.repeat(10);
    let size = one.len();
    let cases = [
        (log.len(), 3 * size, None),
        (log.len() - 1, 3 * size, Some(3 * size)),
        (0, 3 * size + 1, Some(3 * size)),
        (0, 3 * size - 1, Some(2 * size)),
        (0, 100 * size, Some(10 * size)),
        // An event that is longer than a page gets one for itself.
        (0, size - 1, Some(size)),
        (0, 0, Some(size)),
    ];
    for (bound, page, expected) in cases {
        assert_eq!(overflow(&log, bound, page), expected, "{bound} {page}");
    }
    assert_eq!(overflow("011 (1.0.0) an event that has not ended", 0, 100), None);
}
