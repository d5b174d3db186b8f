//! The command's environment: the container's, and `HTCondor`'s over it (§2.3 of the semantics).
//!
//! Invariant: a variable stands in it once; what the user gave stays where `HTCondor` lets it stay; of the variables by which
//! the operator speaks to the starter none is left.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use duj_protocol::environment::{PLACES, PREFIX, SCRATCH, THREAD_COUNTS};

use crate::{arguments::Settings, scratch};

/// A name and its value.
type Variable = (OsString, OsString);

/// What the command is started with.
pub(crate) fn of_command(container: Vec<Variable>, settings: &Settings) -> Vec<Variable> {
    let own = own(settings);
    let is_kept = |name: &OsStr| {
        !name.as_bytes().starts_with(PREFIX.as_bytes()) && own.iter().all(|(set, _)| set != name)
    };
    let mut variables: Vec<_> = container.into_iter().filter(|(name, _)| is_kept(name)).collect();
    variables.extend(own);
    variables
}

fn own(settings: &Settings) -> Vec<Variable> {
    let place = settings.scratch.as_os_str();
    let given = |name: &str| settings.given.iter().any(|given| given == name);
    let mut own: Vec<Variable> =
        SCRATCH.iter().map(|name| (name.into(), place.to_owned())).collect();
    own.push(("BATCH_SYSTEM".into(), "HTCondor".into()));
    for (name, file) in
        [("_CONDOR_JOB_AD", scratch::JOB_AD), ("_CONDOR_MACHINE_AD", scratch::MACHINE_AD)]
    {
        own.push((name.into(), settings.scratch.join(file).into()));
    }
    own.extend(
        PLACES.iter().filter(|name| !given(name)).map(|name| (name.into(), place.to_owned())),
    );
    if let Some(threads) = settings.threads {
        let threads = OsString::from(threads.to_string());
        let names = THREAD_COUNTS.iter().filter(|name| !given(name));
        own.extend(names.map(|name| (name.into(), threads.clone())));
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Invocation, parse};

    fn command(line: &str, container: &[(&str, &str)]) -> Vec<(String, String)> {
        let words = line.split_whitespace().map(OsString::from);
        let Ok(Invocation::Run(settings)) = parse(words) else { panic!("'{line}' is refused") };
        let container = container.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let text = |part: OsString| part.into_string().unwrap();
        let mut all: Vec<_> = of_command(container, &settings)
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn what_the_user_gave_stays_and_what_the_image_has_does_not() {
        let container = [
            ("PATH", "/bin"),
            ("HOME", "/root"),
            ("GOMAXPROCS", "64"),
            ("OMP_NUM_THREADS", "9"),
            ("TMPDIR", "/elsewhere"),
            ("_CONDOR_SLOT", "pod@node"),
            ("_DOCKER_UNIVERSE_NODE", "node"),
        ];
        let all =
            command("run --scratch /s/w --threads 2 --given OMP_NUM_THREADS -- x", &container);
        let value = |wanted: &str| -> Vec<&str> {
            let of_name = all.iter().filter(|(name, _)| name == wanted);
            of_name.map(|(_, value)| value.as_str()).collect()
        };
        for (name, expected) in [
            ("PATH", &["/bin"][..]),
            ("HOME", &["/s/w"]),
            ("GOMAXPROCS", &["2"]),
            ("OMP_NUM_THREADS", &["9"]),
            ("TMPDIR", &["/s/w"]),
            ("_CONDOR_SLOT", &["pod@node"]),
            ("_CONDOR_JOB_AD", &["/s/w/.job.ad"]),
            ("_DOCKER_UNIVERSE_NODE", &[]),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
        let mut names: Vec<_> = all.iter().map(|(name, _)| name).collect();
        names.dedup();
        assert_eq!(names.len(), all.len(), "each stands there once: {all:?}");
    }

    #[test]
    fn nobody_counts_threads_where_nobody_said_how_many() {
        let all = command("run --scratch /s/w -- x", &[("GOMAXPROCS", "64")]);
        let threads: Vec<_> = all.iter().filter(|(name, _)| name == "GOMAXPROCS").collect();
        assert_eq!(threads, [&("GOMAXPROCS".to_owned(), "64".to_owned())]);
        assert!(all.iter().all(|(name, _)| name != "OMP_NUM_THREADS"));
    }
}
