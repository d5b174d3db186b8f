//! The order of events, proc by proc and with their cluster.

use super::*;

#[test]
fn a_broken_order_is_found() {
    let submit = || Body::Submit { host: "<h>".into(), notes: vec![], warning: Line::default() };
    let execute =
        || Body::Execute { host: "<h>".into(), slot: Name::default(), properties: [].into() };
    let evict = || Body::Evicted(Evicted::default());
    let hold = || Body::Held { reason: "r".into(), code: 1, subcode: 0 };
    let release = || Body::Released { reason: Line::default() };
    let end = || Body::Aborted { reason: Line::default() };
    let cases = [
        (vec![submit(), execute(), evict(), hold(), release(), execute(), end()], vec![]),
        (vec![submit(), hold(), end()], vec![]),
        (vec![submit(), execute(), hold(), release(), execute()], vec![(4, Fault::NoEnd)]),
        (vec![execute(), submit(), end()], vec![(0, Fault::NotSubmitted)]),
        (
            vec![submit(), submit(), end(), end()],
            vec![(1, Fault::SubmittedTwice), (3, Fault::AfterEnd)],
        ),
        (vec![submit(), execute(), execute(), end()], vec![(2, Fault::ExecutesTwice)]),
        (vec![submit(), hold(), execute(), end()], vec![(2, Fault::ExecutesHeld)]),
        (vec![submit(), hold(), hold(), end()], vec![(2, Fault::HeldTwice)]),
        (vec![submit(), release(), end()], vec![(1, Fault::ReleasedNotHeld)]),
    ];
    for (bodies, expected) in cases {
        let log: Vec<_> = bodies.into_iter().map(event).collect();
        let faults: Vec<_> =
            check(&log, Expect::Finished).iter().map(|v| (v.index, v.fault)).collect();
        assert_eq!(faults, expected, "{}", written(&log));
        let running = check(&log, Expect::Running);
        assert!(running.iter().all(|violation| violation.fault != Fault::NoEnd));
    }
}

#[test]
fn a_cluster_is_checked_together_with_its_procs() {
    let at = |proc, body| Event { job: JobId { cluster: 42, proc }, ..event(body) };
    let cluster = |body| at(-1, Body::Cluster(body));
    let open = || cluster(Cluster::Submitted { host: "<h>".into(), notes: vec![] });
    let pause = || cluster(Cluster::Paused { reason: "r".into(), pause_code: 1, hold_code: 1 });
    let resume = || cluster(Cluster::Resumed { reason: Line::default() });
    let close = || {
        let (completion, notes) = (Completion::Complete, Line::default());
        cluster(Cluster::Removed { procs: 1, items: 0, completion, notes })
    };
    let submit = |proc| {
        at(proc, Body::Submit { host: "<h>".into(), notes: vec![], warning: Line::default() })
    };
    let end = |proc| at(proc, Body::Aborted { reason: Line::default() });
    let cases = [
        (vec![open(), submit(0), pause(), end(0), resume(), submit(1), end(1), close()], vec![]),
        (vec![open(), pause(), close()], vec![]),
        (vec![open(), submit(0), end(0)], vec![(0, Fault::NoEnd)]),
        (vec![open(), open(), close()], vec![(1, Fault::SubmittedTwice)]),
        (vec![pause(), open(), close()], vec![(0, Fault::NotSubmitted)]),
        (vec![open(), pause(), pause(), close()], vec![(2, Fault::PausedTwice)]),
        (vec![open(), resume(), close()], vec![(1, Fault::ResumedNotPaused)]),
        (vec![open(), pause(), submit(0), end(0), close()], vec![(2, Fault::SubmittedPaused)]),
        (vec![open(), close(), submit(0), end(0)], vec![(2, Fault::AfterEnd)]),
        (vec![open(), submit(0), close(), end(0)], vec![(2, Fault::LeftBehind)]),
    ];
    for (log, expected) in cases {
        let faults: Vec<_> =
            check(&log, Expect::Finished).iter().map(|v| (v.index, v.fault)).collect();
        assert_eq!(faults, expected, "{}", written(&log));
    }
}

#[test]
fn procs_are_checked_each_for_itself() {
    let at = |proc, body| Event { job: JobId { cluster: 42, proc }, ..event(body) };
    let submit = || Body::Submit { host: "<h>".into(), notes: vec![], warning: Line::default() };
    let log = [at(0, submit()), at(1, submit()), at(0, Body::Aborted { reason: Line::default() })];
    let found = check(&log, Expect::Finished);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "job 42.1: event 000 at position 1 is the last one, but no end"
    );
}
