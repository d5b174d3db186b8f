//! `starter run`: from the command line to the command's end.
//!
//! Invariant: each way out of here has written a record first, except when there is nowhere to write it.

use std::{ffi::OsString, io, path::Path, time::Instant};

use duj_protocol::{Outcome, Record};
use nix::unistd::Pid;

use crate::{
    arguments::Settings,
    cgroup::{self, Cgroup},
    clock::now_ms,
    disk::DiskWatch,
    environment,
    executable::{Fault, errno_of, explain, locate},
    launch,
    meter::Meter,
    scratch,
    signals::Signals,
    termination::{DEFAULT_PATH, Termination},
    watch::Watch,
};

/// Exit code when the starter itself failed, as Docker's for its daemon.
const EXIT_STARTER: i32 = 125;

/// The command was not started.
struct NotStarted {
    errno: i32,
    message: String,
    exit_code: i32,
}

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
    match start(settings, &mut termination) {
        Ok(watch) => watch.until_the_end(&mut termination),
        Err(fault) => {
            eprintln!("starter: {}", fault.message);
            let outcome = Outcome::NotStarted { errno: fault.errno, message: fault.message };
            let record =
                Record { version: Record::VERSION, outcome: Some(outcome), ..Record::default() };
            termination.conclude(&record);
            fault.exit_code
        }
    }
}

/// Prepares the scratch directory and starts the command.
fn start(settings: &Settings, termination: &mut Termination) -> Result<Watch, NotStarted> {
    let signals = Signals::block().map_err(|error| NotStarted {
        errno: errno_of(&error) as i32,
        message: format!("could not block the starter's signals: {error}"),
        exit_code: EXIT_STARTER,
    })?;
    let container: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let ads = scratch::ads(&container);
    let environment = environment::of_command(container, settings);
    let unprepared = |path: &Path, error: &io::Error| NotStarted {
        errno: errno_of(error) as i32,
        message: format!(
            "could not prepare the scratch directory: '{}': {}",
            path.display(),
            errno_of(error).desc()
        ),
        exit_code: EXIT_STARTER,
    };
    scratch::prepare(&settings.scratch, &ads)
        .map_err(|failure| unprepared(&failure.path, &failure.error))?;
    let volume = settings.scratch.parent().unwrap_or(&settings.scratch);
    let disk = DiskWatch::new(volume, &settings.also_counted, settings.disk_limit, Instant::now())
        .map_err(|(path, error)| unprepared(&path, &error))?;

    let meter = Meter::start(Cgroup::new(cgroup::ROOT));
    let record = Record { version: Record::VERSION, started: Some(now_ms()), ..Record::default() };
    // Before the command can use memory: a kill for lack of it may take the starter along.
    termination.provisional(&record);
    let main = execute(settings, environment).map_err(|fault| NotStarted {
        errno: fault.errno as i32,
        message: fault.message(&settings.executable, &settings.arguments),
        exit_code: fault.exit_code(),
    })?;
    Ok(Watch::new(main, settings, signals, meter, disk, record))
}

fn execute(settings: &Settings, environment: Vec<(OsString, OsString)>) -> Result<Pid, Fault> {
    let path =
        environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str());
    let file = locate(&settings.executable, path)?;
    launch::spawn(&file, &settings.executable, &settings.arguments, environment)
        .map_err(|errno| explain(&file, errno))
}
