//! What command lines are understood, and which are refused.

use std::ffi::OsStr;

use super::{values::signal, *};

fn parsed(line: &str) -> Result<Invocation, UsageError> {
    parse(line.split_whitespace().map(OsString::from))
}

#[test]
fn a_full_command_line_is_understood() {
    let line = "run --scratch /scratch/work --also-count /tmp --also-count /var/tmp --disk-limit 5000 \
                --kill-sig SIGUSR1 --max-vacate-time 600 --record /r --control /c \
                --lease-duration 40 --threads 4 --given HOME,TF_NUM_THREADS --input /in --output o/ut \
                --error err --handshake /h --checkpoint-exit-code 85 --image-command --tell-left \
                -- sleep --scratch 3";
    let expected = Settings {
        scratch: "/scratch/work".into(),
        also_counted: vec!["/tmp".into(), "/var/tmp".into()],
        disk_limit: Some(5000),
        kill_signal: Signal::SIGUSR1,
        max_vacate_time: Some(Duration::from_mins(10)),
        record: Some("/r".into()),
        control: Some(ControlSettings {
            directory: "/c".into(),
            lease_duration: Some(Duration::from_secs(40)),
        }),
        threads: Some(4),
        given: vec!["HOME".into(), "TF_NUM_THREADS".into()],
        streams: StreamSettings {
            input: Some("/in".into()),
            output: Some("o/ut".into()),
            error: Some("err".into()),
        },
        handshake: Some("/h".into()),
        image_command: true,
        checkpoint_exit_code: Some(85),
        tell_left: true,
        words: vec!["sleep".into(), "--scratch".into(), "3".into()],
    };
    assert_eq!(parsed(line), Ok(Invocation::Run(Box::new(expected))));
}

#[test]
fn the_rest_has_defaults() {
    let Ok(Invocation::Run(settings)) = parsed("run --scratch /s/w -- /bin/true") else {
        panic!("refused")
    };
    assert_eq!(settings.kill_signal, Signal::SIGTERM);
    assert_eq!(
        (settings.disk_limit, settings.max_vacate_time, settings.record),
        (None, None, None)
    );
    assert_eq!((settings.control, settings.threads), (None, None));
    assert!(settings.given.is_empty());
    assert_eq!(settings.streams, StreamSettings::default());
    assert_eq!((settings.handshake, settings.checkpoint_exit_code), (None, None));
    assert!(!settings.image_command && !settings.tell_left);
    assert_eq!(settings.words, ["/bin/true"]);
}

#[test]
fn the_images_own_command_needs_no_executable() {
    for (line, expected) in [
        ("run --scratch /s/w --handshake /h --image-command --", &[][..]),
        ("run --scratch /s/w --handshake /h --image-command -- -v", &["-v"]),
    ] {
        let Ok(Invocation::Run(settings)) = parsed(line) else { panic!("'{line}' is refused") };
        assert_eq!(settings.words, expected);
    }
}

#[test]
fn signals_go_by_name_and_number() {
    for name in ["SIGHUP", "HUP", "1"] {
        assert_eq!(signal(OsStr::new(name)), Ok(Signal::SIGHUP), "{name}");
    }
    for name in ["", "0", "-1", "99", "SIGNONE", "sigterm"] {
        assert!(signal(OsStr::new(name)).is_err(), "{name}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (line, part) in [
        ("", "subcommand is missing"),
        ("walk", "'walk'"),
        ("install", "'install' takes"),
        ("install a b", "'install' takes"),
        ("run", "are missing"),
        ("run --scratch", "value of flag '--scratch'"),
        ("run --scratch /s/w sleep", "unknown flag 'sleep'"),
        ("run --scratch /s/w --", "executable after '--'"),
        ("run -- sleep", "flag '--scratch'"),
        ("run --scratch s/w -- sleep", "absolute"),
        ("run --scratch /s -- sleep", "two levels"),
        ("run --scratch /s/../w -- sleep", "'..'"),
        ("run --scratch / -- sleep", "two levels"),
        ("run --disk-limit -5 -- sleep", "not '-5'"),
        ("run --max-vacate-time 1h -- sleep", "not '1h'"),
        ("run --kill-sig SIGX -- sleep", "'SIGX'"),
        ("run --scratch /s/w --control c -- sleep", "'c' must be an absolute path"),
        (
            "run --scratch /s/w --max-vacate-time 1 --lease-duration 5 -- sleep",
            "'--lease-duration' needs flag '--control'",
        ),
        (
            "run --scratch /s/w --control /c --lease-duration 5 -- sleep",
            "'--lease-duration' needs flag '--max-vacate-time'",
        ),
        (
            "run --scratch /s/w --max-vacate-time 1 --control /c --lease-duration 0 -- sleep",
            "at least 1 second",
        ),
        ("run --lease-duration -1 -- sleep", "not '-1'"),
        ("run --threads many -- sleep", "not 'many'"),
        ("run --input ../in -- sleep", "not '../in'"),
        ("run --output a/../b -- sleep", "without '..'"),
        ("run --output /tmp/out -- sleep", "relative to the scratch directory"),
        ("run --error / -- sleep", "flag '--error'"),
        ("run --scratch /s/w --handshake h -- sleep", "'h' must be an absolute path"),
        ("run --scratch /s/w --image-command --", "'--image-command' needs flag '--handshake'"),
        (
            "run --scratch /s/w --checkpoint-exit-code 85 -- sleep",
            "'--checkpoint-exit-code' needs flag '--handshake'",
        ),
        ("run --checkpoint-exit-code 256 -- sleep", "up to 255, not '256'"),
        ("run --checkpoint-exit-code -1 -- sleep", "not '-1'"),
    ] {
        let error = parsed(line).unwrap_err();
        assert!(error.message.contains(part), "'{line}' gave '{}'", error.message);
    }
}

#[test]
fn the_record_is_known_wherever_the_error_is() {
    for line in ["run --record /r --bad", "run --bad --record /r -- x", "run --record /r -- x"] {
        assert_eq!(parsed(line).unwrap_err().record, Some("/r".into()), "{line}");
    }
    assert_eq!(parsed("run --bad -- x --record /r").unwrap_err().record, None);
}
