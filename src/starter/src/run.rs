//! `starter run`: from the command line to the command's end.
//!
//! Invariant: each way out of here has written a record first, except when there is nowhere to write it; where a handshake
//! was begun, it has the same record.

use std::{ffi::OsString, io, path::Path, time::Duration, time::Instant};

use duj_protocol::Record;

use crate::{
    arguments::Settings,
    cgroup::{self, Cgroup},
    clock::now_ms,
    command::Command,
    disk::DiskWatch,
    environment,
    executable::errno_of,
    handshake::Handshake,
    job::Job,
    meter::Meter,
    not_started::{EXIT_STARTER, NotStarted},
    scratch,
    signals::Signals,
    termination::{DEFAULT_PATH, Termination},
    watch::Watch,
};

/// How long the log may take for what is left of the command's files; what it has not taken then is in the files only.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the command and returns the exit code for the starter.
pub(crate) fn run(settings: &Settings) -> i32 {
    let mut termination = match Termination::open(settings.record.as_deref()) {
        Ok(termination) => termination,
        Err(error) => {
            // A job whose end nobody learns of would be run again and again: rather not run it at all.
            let path = settings.record.as_deref().unwrap_or(DEFAULT_PATH.as_ref()).display();
            eprintln!("starter: could not open the termination message '{path}': {error}");
            return EXIT_STARTER;
        }
    };
    // Its lock is held until this process ends, whatever happens below.
    let handshake = match settings.handshake.as_deref().map(Handshake::begin).transpose() {
        Ok(handshake) => handshake,
        Err(fault) => return refused(fault, &mut termination, None),
    };
    match start(settings, &mut termination) {
        Ok(watch) => {
            let mut ended = watch.until_the_end(&mut termination);
            conclude(&ended.record, &mut termination, handshake.as_ref());
            ended.follow.finish(LAST_WORDS);
            ended.exit_code
        }
        Err(fault) => refused(fault, &mut termination, handshake.as_ref()),
    }
}

fn conclude(record: &Record, termination: &mut Termination, handshake: Option<&Handshake>) {
    termination.conclude(record);
    if let Some(handshake) = handshake {
        handshake.conclude(record);
    }
}

/// The command was not started, which is told before the log is: that may not take it.
fn refused(fault: NotStarted, termination: &mut Termination, handshake: Option<&Handshake>) -> i32 {
    let (exit_code, words) = (fault.exit_code, fault.message.clone());
    let outcome = Some(fault.into_outcome());
    let record = Record { version: Record::VERSION, outcome, ..Record::default() };
    conclude(&record, termination, handshake);
    eprintln!("starter: {words}");
    exit_code
}

/// Prepares the scratch directory and starts the command.
fn start(settings: &Settings, termination: &mut Termination) -> Result<Watch, NotStarted> {
    let signals = Signals::block().map_err(|error| {
        let message = format!("could not block the starter's signals: {error}");
        NotStarted::surroundings(errno_of(&error), message)
    })?;
    let container: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let ads = scratch::ads(&container);
    let environment = environment::of_command(container, settings);
    let unprepared = |path: &Path, error: &io::Error| {
        let errno = errno_of(error);
        let path = path.display();
        let message =
            format!("could not prepare the scratch directory: '{path}': {}", errno.desc());
        NotStarted::surroundings(errno, message)
    };
    scratch::prepare(&settings.scratch, &ads)
        .map_err(|failure| unprepared(&failure.path, &failure.error))?;
    let volume = settings.scratch.parent().unwrap_or(&settings.scratch);
    let disk = DiskWatch::new(volume, &settings.also_counted, settings.disk_limit, Instant::now())
        .map_err(|(path, error)| unprepared(&path, &error))?;
    let command = Command::new(settings, environment)?;

    let meter = Meter::start(Cgroup::new(cgroup::ROOT));
    let record = Record { version: Record::VERSION, started: Some(now_ms()), ..Record::default() };
    // Before the command can use memory: a kill for lack of it may take the starter along.
    termination.provisional(&record);
    let job = Job::start(command, settings)?;
    Ok(Watch::new(job, settings, signals, meter, disk, record))
}
