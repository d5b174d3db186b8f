//! `transfer prepare`: everything that has to be there before the job starts.
//!
//! Invariant: what was brought is written down last, when all of it is there.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use duj_protocol::transfer::{Brought, Entry, Failure, PreparePlan, State, handshake};

use crate::{
    checkpoint, executable, fault::Fault, handshake as files, image, inputs, names, place::Context,
    report::Reporter, scratch::Scratch, signals::Signals, tree::Tree,
};

/// Exit code where the image's configuration cannot be had.
const EXIT_IMAGE_UNKNOWN: i32 = 3;
/// Exit code of a program that was asked to end, as a shell tells it.
const EXIT_ASKED: i32 = 128 + 15;
/// Everyone may execute the starter, nobody may change it.
const STARTER_MODE: u32 = 0o555;

/// Does what the plan says; the exit code. It ends at once when it is asked to: no job has begun yet.
pub(crate) async fn prepare(plan: PreparePlan, reporter: &Arc<Reporter>) -> i32 {
    let signals = match Signals::ignore() {
        Ok(signals) => signals,
        Err(error) => {
            let fault = Fault::io(&error, "waiting for signals");
            return failed(reporter, fault.failure(reporter.direction()));
        }
    };
    tokio::select! {
        code = prepare_all(&plan, reporter) => code,
        () = signals.wait() => {
            reporter.conclude(State::Failed, None);
            EXIT_ASKED
        }
    }
}

async fn prepare_all(plan: &PreparePlan, reporter: &Arc<Reporter>) -> i32 {
    let ended = match begin(plan) {
        Ok(()) => ask_for_image(plan, reporter).await,
        Err(fault) => Err(fault),
    };
    match ended {
        Ok(None) => {}
        Ok(Some(unknown)) => {
            reporter.change(|report| report.image_unknown = Some(unknown));
            reporter.conclude(State::Failed, None);
            return EXIT_IMAGE_UNKNOWN;
        }
        Err(fault) => return failed(reporter, fault.failure(reporter.direction())),
    }
    match bring(plan, reporter).await {
        Ok(()) => {
            reporter.conclude(State::Done, None);
            0
        }
        Err(fault) => failed(reporter, fault.failure(reporter.direction())),
    }
}

fn failed(reporter: &Reporter, failure: Failure) -> i32 {
    reporter.conclude(State::Failed, Some(failure));
    1
}

/// The starter and the directories.
fn begin(plan: &PreparePlan) -> Result<(), Fault> {
    if let Some((from, to)) = &plan.install {
        install(Path::new(from), Path::new(to))
            .map_err(|error| Fault::io(&error, &format!("installing the starter as '{to}'")))?;
    }
    for directory in [&plan.scratch, &plan.handshake] {
        let path = Path::new(directory);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        // The mode given at creation is subject to the umask, and counts not where it is there already.
        made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
            .map_err(|error| Fault::io(&error, &format!("making directory {directory}")))?;
    }
    Ok(())
}

/// The file appears whole or not at all: another container may start at any time.
fn install(from: &Path, to: &Path) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{}", std::process::id()));
    let unfinished = to.with_file_name(name);
    let copy = || {
        let mut source = File::open(from)?;
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o755);
        let mut copy = options.open(&unfinished)?;
        io::copy(&mut source, &mut copy)?;
        copy.set_permissions(Permissions::from_mode(STARTER_MODE))?;
        drop(copy);
        fs::rename(&unfinished, to)
    };
    copy().inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

/// Why the image's command is not known, where it was asked for.
async fn ask_for_image(
    plan: &PreparePlan,
    reporter: &Arc<Reporter>,
) -> Result<Option<String>, Fault> {
    let Some(question) = &plan.image else { return Ok(None) };
    let context = Context::new(reporter, plan.patience);
    let command = match image::ask(&context, question).await {
        Ok(command) => command,
        Err(fault) => return Ok(Some(fault.detail)),
    };
    let text = serde_json::to_string(&command).unwrap_or_default();
    write_handshake(plan, handshake::IMAGE_COMMAND, &text)?;
    reporter.change(|report| {
        report.image = Some(command);
        report.failure = None;
    });
    Ok(None)
}

fn write_handshake(plan: &PreparePlan, name: &str, text: &str) -> Result<(), Fault> {
    let directory = Path::new(&plan.handshake);
    let failed = |error| Fault::io(&error, &format!("writing to file {}/{name}", plan.handshake));
    files::write(directory, name, text).map_err(failed)
}

/// The files.
async fn bring(plan: &PreparePlan, reporter: &Arc<Reporter>) -> Result<(), Fault> {
    let context = Context::new(reporter, plan.patience);
    let path = Path::new(&plan.scratch);
    let opening = |error: io::Error| Fault::io(&error, &format!("opening {}", plan.scratch));
    let scratch = Scratch::open(path, plan.max_input_bytes, plan.disk_limit).map_err(opening)?;
    let tree = Tree::scratch(&plan.scratch)?;
    if plan.restore.is_some() || !plan.inputs.is_empty() {
        reporter.begin();
    }
    let restored = match &plan.restore {
        Some(place) => checkpoint::restore(&context, place, &scratch.unlimited()).await?,
        None => BTreeSet::new(),
    };
    if !restored.is_empty() {
        write_handshake(plan, handshake::RESTORED, "")?;
    }
    let mut landing = inputs::expand(&context, &plan.inputs, plan.preserve_relative_paths).await?;
    landing.retain(|path, _| !restored.contains(path));
    inputs::bring(&context, &scratch, landing).await?;

    if let Some(program) = &plan.executable {
        executable::make(&tree, program)?;
    }
    if let Some(stdin) = &plan.stdin {
        let stdin = names::relative(stdin).map_err(|words| Fault::permanent(22, words))?;
        tree.open_file(&tree.look(&stdin)?)?;
    }
    let brought = look_around(&tree, &restored)?;
    let text = serde_json::to_string(&brought).unwrap_or_default();
    write_handshake(plan, handshake::BROUGHT, &text)
}

/// What is at the top of the scratch directory, but what a checkpoint brought: that was never sent.
fn look_around(tree: &Tree, restored: &BTreeSet<PathBuf>) -> Result<Brought, Fault> {
    let top = tree.look(Path::new(""))?;
    let names = tree.names(&top)?;
    let fresh = names.iter().map(Path::new).filter(|name| !restored.contains(*name));
    let entries = fresh.map(|name| {
        let found = tree.look(name)?;
        let name = names::escaped(name.as_os_str());
        Ok(Entry { name, size: found.size, modified: found.modified })
    });
    Ok(Brought { entries: entries.collect::<Result<_, Fault>>()? })
}
