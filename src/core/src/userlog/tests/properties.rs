//! What holds for every log: it is read back as it was written, and no text in it forges an event.

use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*};

use super::*;

/// Text as users and clusters make it, with a taste for what a log is made of.
fn foreign_text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        ".{0,20}",
        any::<String>(),
        Just("\n...\n".to_owned()),
        Just("\r\n...\r\n005 (042.000.000) 2026-08-21 10:00:03Z Job terminated.\n".to_owned()),
        Just("\u{2028}009 (042.000.000) ".to_owned()),
        Just("\tCode 1 Subcode 0".to_owned()),
        Just("Reason: ".to_owned()),
        Just("Partitionable Resources : ".to_owned()),
        Just("\u{1b}]0;\u{7}\u{0}".to_owned()),
        Just(" from a on b, to c:".to_owned()),
        "[x ]{900,1100}",
    ];
    vec(pieces, 0..5).prop_map(|pieces| pieces.concat())
}

fn line() -> impl Strategy<Value = Line> {
    // The one text that stands for no text.
    foreign_text().prop_map(Line::from).prop_filter("unspecified", |line| {
        line.as_str() != "Reason unspecified" && line.as_str() != "..."
    })
}

/// A text that says something.
fn some_line() -> impl Strategy<Value = Line> {
    line().prop_map(|text| if text.is_empty() { "x".into() } else { text })
}

fn name() -> impl Strategy<Value = Name> {
    foreign_text().prop_map(Name::from)
}

fn some_name() -> impl Strategy<Value = Name> {
    name().prop_map(|name| if name.is_empty() { "x".into() } else { name })
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![foreign_text(), "Memory|Disk|Cpus|GPUs|Gpus|TimeExecute".prop_map(String::from)]
        .prop_map(Attribute::from)
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![(0_u64..1_000).prop_map(Amount::whole), any::<u64>().prop_map(Amount::hundredths)]
}

fn resources() -> impl Strategy<Value = ResourceTable> {
    let cell = || option::of(amount());
    let row = (cell(), cell(), cell(), prop_oneof![Just(Line::default()), line()]);
    let row = row.prop_map(|(usage, request, allocated, assigned)| Resource {
        usage,
        request,
        allocated,
        assigned,
    });
    vec((attribute(), row), 0..5).prop_map(|rows| ResourceTable(rows.into_iter().collect()))
}

fn cpu() -> impl Strategy<Value = CpuUsage> {
    (any::<u32>(), any::<u32>())
        .prop_map(|(user, system)| CpuUsage { user: user.into(), system: system.into() })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    (any::<u64>(), any::<u64>()).prop_map(|(sent, received)| Bytes { sent, received })
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        any::<i32>().prop_map(Exit::Code),
        (any::<i32>(), line()).prop_map(|(number, core)| Exit::Signal { number, core }),
    ]
}

fn evicted() -> impl Strategy<Value = Evicted> {
    let how = prop_oneof![
        Just(Eviction::Stopped),
        Just(Eviction::Checkpointed),
        exit().prop_map(Eviction::Requeued),
    ];
    // Without a code there is no subcode.
    let codes = prop_oneof![Just((0, 0)), (1..2_000_i32, any::<i32>())];
    (how, codes, line(), cpu(), cpu(), bytes(), resources()).prop_map(
        |(how, (code, subcode), reason, run_remote, run_local, run, resources)| Evicted {
            how,
            code,
            subcode,
            reason,
            run_remote,
            run_local,
            run,
            resources,
        },
    )
}

fn terminated() -> impl Strategy<Value = Terminated> {
    (exit(), cpu(), cpu(), cpu(), cpu(), bytes(), bytes(), resources()).prop_map(
        |(exit, run_remote, run_local, total_remote, total_local, run, total, resources)| {
            Terminated {
                exit,
                run_remote,
                run_local,
                total_remote,
                total_local,
                run,
                total,
                resources,
            }
        },
    )
}

fn remote_error() -> impl Strategy<Value = Body> {
    // A line that reads like codes is guarded, and so does not come back as it was.
    let message = some_line().prop_filter("codes", |line| !line.as_str().starts_with("Code"));
    let codes = prop_oneof![Just((0, 0)), (1..2_000_i32, any::<i32>())];
    (any::<bool>(), some_name(), some_name(), vec(message, 0..3), codes).prop_map(
        |(critical, daemon, host, message, (code, subcode))| Body::RemoteError {
            critical,
            daemon,
            host,
            message,
            code,
            subcode,
        },
    )
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let completion = prop_oneof![
        Just(Completion::Complete),
        Just(Completion::Incomplete),
        Just(Completion::Paused),
        (i32::MIN..0).prop_map(Completion::Error),
    ];
    prop_oneof![
        (name(), vec(some_line(), 0..3))
            .prop_map(|(host, notes)| Cluster::Submitted { host, notes }),
        (any::<u32>(), any::<u32>(), completion, line()).prop_map(
            |(procs, items, completion, notes)| Cluster::Removed {
                procs,
                items,
                completion,
                notes
            }
        ),
        (line(), any::<i32>(), any::<i32>()).prop_map(|(reason, pause_code, hold_code)| {
            Cluster::Paused { reason, pause_code, hold_code }
        }),
        line().prop_map(|reason| Cluster::Resumed { reason }),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let early =
        prop_oneof![
            (name(), vec(some_line(), 0..3), line())
                .prop_map(|(host, notes, warning)| Body::Submit { host, notes, warning }),
            (name(), name(), vec((attribute(), some_line()), 0..4)).prop_map(
                |(host, slot, properties)| {
                    Body::Execute { host, slot, properties: properties.into_iter().collect() }
                }
            ),
            evicted().prop_map(Body::Evicted),
            terminated().prop_map(Body::Terminated),
            (
                any::<u64>(),
                option::of(any::<u64>()),
                option::of(any::<u64>()),
                option::of(any::<u64>())
            )
                .prop_map(
                    |(
                        image_size_kb,
                        memory_usage_mb,
                        resident_set_size_kb,
                        proportional_set_size_kb,
                    )| {
                        Body::ImageSize {
                            image_size_kb,
                            memory_usage_mb,
                            resident_set_size_kb,
                            proportional_set_size_kb,
                        }
                    }
                ),
            (line(), bytes()).prop_map(|(message, run)| Body::ShadowException { message, run }),
            line().prop_map(|text| Body::Generic { text }),
        ];
    let states = prop_oneof![
        line().prop_map(|reason| Body::Aborted { reason }),
        any::<u32>().prop_map(|processes| Body::Suspended { processes }),
        Just(Body::Unsuspended),
        (line(), any::<i32>(), any::<i32>()).prop_map(|(reason, code, subcode)| Body::Held {
            reason,
            code,
            subcode
        }),
        line().prop_map(|reason| Body::Released { reason }),
    ];
    let remote = prop_oneof![
        remote_error(),
        (line(), some_name(), some_name()).prop_map(|(reason, startd, startd_address)| {
            Body::Disconnected { reason, startd, startd_address }
        }),
        (some_name(), some_name(), some_name()).prop_map(
            |(startd, startd_address, starter_address)| {
                Body::Reconnected { startd, startd_address, starter_address }
            }
        ),
        (line(), some_name()).prop_map(|(reason, startd)| Body::ReconnectFailed { reason, startd }),
        vec((attribute(), some_line()), 1..4).prop_map(|attributes| {
            Body::JobAdInformation { attributes: attributes.into_iter().collect() }
        }),
        (attribute(), some_name(), some_name())
            .prop_map(|(attribute, old, new)| Body::AttributeUpdate { attribute, old, new }),
        (proptest::sample::select(&TransferStage::ALL[..]), option::of(any::<u64>()), name())
            .prop_map(|(stage, queued_seconds, host)| Body::FileTransfer {
                stage,
                queued_seconds,
                host
            }),
    ];
    prop_oneof![early, states, remote, cluster().prop_map(Body::Cluster)]
}

fn any_event() -> impl Strategy<Value = Event> {
    // From 1970 to 2100.
    (any::<u32>(), -1..200_000_i32, 0..4_102_444_800_i64, body()).prop_map(
        |(cluster, proc, second, body)| Event {
            job: JobId { cluster, proc },
            time: Timestamp::from_second(second).unwrap(),
            body,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), failure_persistence: None, ..ProptestConfig::default() })]

    /// Each event comes back as it was, and its text is the one text for it.
    #[test]
    fn a_log_is_read_back_as_it_was_written(log in vec(any_event(), 0..6)) {
        let text = written(&log);
        let found = events(&text);
        prop_assert_eq!(&found, &log);
        prop_assert_eq!(written(&found), text);
    }

    /// The text of an event has exactly one line that ends an event, its last; no line but the
    /// first can be taken for the beginning of one; and no character in it plays tricks.
    #[test]
    fn no_text_forges_an_event(event in any_event()) {
        let text = event.to_string();
        prop_assert!(text.ends_with("\n...\n"));
        // What any editor or terminal takes for the end of a line.
        let breaks = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
        let lines: Vec<_> = text.trim_end_matches('\n').split(breaks).collect();
        prop_assert_eq!(lines.iter().filter(|line| line.trim() == "...").count(), 1);
        // More does not fit the buffer of `HTCondor`'s reader.
        prop_assert!(lines[0].len() < 1_023);
        // Attributes of 028 are not indented: a name in front of ` = ` begins no event and ends none.
        let is_attribute = |line: &str| {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            let name = line.split_once(" = ").map(|(name, _)| name);
            name.is_some_and(|name| name.chars().all(legal) && !name.starts_with('.'))
        };
        let ad = matches!(event.body, Body::JobAdInformation { .. });
        let fits = |line: &&str| line.starts_with(['\t', ' ']) || (ad && is_attribute(line));
        prop_assert!(lines[1..lines.len() - 1].iter().all(fits));
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        let reordered = text.contains(['\u{202e}', '\u{2066}']);
        prop_assert!(!reordered);
    }

    /// What was made safe once is not changed again, and keeps its bound.
    #[test]
    fn texts_are_made_safe_once(text in foreign_text()) {
        let line = Line::new(&text);
        prop_assert!(line.as_str().len() <= Line::MAX_BYTES);
        prop_assert_eq!(&Line::new(line.as_str()), &line);
        let name = Name::new(&text);
        prop_assert!(name.as_str().len() <= Name::MAX_BYTES);
        prop_assert_eq!(&Name::new(name.as_str()), &name);
        let attribute = Attribute::new(&text);
        prop_assert_eq!(&Attribute::new(attribute.as_str()), &attribute);
        let quoted = Line::quoted(&text);
        prop_assert!(quoted.as_str().len() <= Line::MAX_BYTES);
        prop_assert_eq!(&Line::new(quoted.as_str()), &quoted);
    }

    /// No text at all makes the reader panic.
    #[test]
    fn anything_can_be_read(
        text in foreign_text(),
        log in vec(any_event(), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut log = written(&log);
        let mut at = cut.index(log.len() + 1);
        while !log.is_char_boundary(at) {
            at -= 1;
        }
        log.insert_str(at, &text);
        prop_assert!(read(&log).in_year(2026).count() <= log.len());
    }

    /// Pages and what stays are the log, and each is a log by itself.
    #[test]
    fn paging_never_cuts_an_event(
        log in vec(any_event(), 1..8),
        bound in 0..4_000_usize,
        page in 0..4_000_usize,
    ) {
        let whole = written(&log);
        let (mut rest, mut found) = (whole.as_str(), Vec::new());
        while let Some(end) = overflow(rest, bound, page) {
            let (head, tail) = rest.split_at(end);
            found.extend(events(head));
            rest = tail;
            prop_assert!(end > 0);
        }
        prop_assert!(rest.len() <= bound);
        found.extend(events(rest));
        prop_assert_eq!(found, log);
    }
}
