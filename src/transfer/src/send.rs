//! `transfer send`: waits for the job's end beside it, then sends what it left.
//!
//! Invariant: from the moment that the job has started until everything is sent or given up, nothing but SIGKILL ends this
//! program: it may be asked to end before the job is.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use duj_protocol::{
    Record,
    transfer::{RESEND, Remap, STOP, SendPlan, State, handshake},
};
use futures::{StreamExt as _, stream};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use crate::{
    checkpoint,
    decide::{Decision, decide},
    fault::Fault,
    handshake as files, names,
    place::{AT_ONCE, Context, Location, Outgoing},
    report::Reporter,
    select::{Selection, Selector, keep},
    signals::Signals,
    tree::{Found, Tree},
};

/// `ENOENT`.
const NOT_THERE: i32 = 2;
/// Hold code of checkpoints.
const CHECKPOINT: i32 = 36;
/// Between two looks at the handshake: first, and at most.
const SOON: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_millis(250);

/// Does what the plan says; the exit code.
pub(crate) async fn send(plan: SendPlan, reporter: &Arc<Reporter>) -> i32 {
    let resend = resend(&plan);
    match Sender::new(&plan, reporter) {
        Ok(sender) => match sender.run(resend).await {
            Ok(()) => {
                reporter.conclude(State::Done, None);
                0
            }
            Err(fault) => failed(reporter, &fault),
        },
        Err(fault) => failed(reporter, &fault),
    }
}

fn failed(reporter: &Reporter, fault: &Fault) -> i32 {
    reporter.conclude(State::Failed, Some(fault.failure(reporter.direction())));
    1
}

fn resend(plan: &SendPlan) -> Option<String> {
    fs::read_to_string(Path::new(&plan.control).join(RESEND))
        .ok()
        .map(|text| text.trim().to_owned())
}

struct Sender<'a> {
    plan: &'a SendPlan,
    reporter: &'a Arc<Reporter>,
    handshake: &'a Path,
    signals: Signals,
}

impl<'a> Sender<'a> {
    fn new(plan: &'a SendPlan, reporter: &'a Arc<Reporter>) -> Result<Self, Fault> {
        let signals =
            Signals::ignore().map_err(|error| Fault::io(&error, "waiting for signals"))?;
        Ok(Self { plan, reporter, handshake: Path::new(&plan.handshake), signals })
    }

    async fn run(&self, resend: Option<String>) -> Result<(), Fault> {
        self.reporter.print_now();
        if !self.started().await {
            return Ok(());
        }
        self.wait_for_end().await?;
        let record = files::read(self.handshake, handshake::OUTCOME);
        let record: Option<Record> = record.and_then(|text| serde_json::from_str(&text).ok());
        let why = fs::read_to_string(Path::new(&self.plan.control).join(STOP)).ok();
        let why = why.as_deref().and_then(|text| text.split(' ').next());
        match decide(self.plan, record.as_ref(), why) {
            Decision::Nothing => Ok(()),
            Decision::Checkpoint { remains } => {
                let saved = self.save(true).await;
                if remains {
                    self.send_remains().await?;
                }
                saved
            }
            Decision::Remains => {
                self.reporter.begin_round(1);
                self.send_remains().await
            }
            Decision::Outputs { files } => {
                self.send_until_done(files, resend).await?;
                self.reporter.change(|report| report.complete = true);
                Ok(())
            }
        }
    }

    /// Waits for the job to start; whether it did before this program was asked to end.
    async fn started(&self) -> bool {
        let mut pause = SOON;
        while files::open_file(self.handshake, handshake::STARTED).is_err() {
            if self.signals.asked() {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LATER);
        }
        true
    }

    /// Waits until the starter is gone, and saves checkpoints for it meanwhile.
    async fn wait_for_end(&self) -> Result<(), Fault> {
        let path = self.handshake.join(handshake::LOCK);
        let failed = |error| Fault::io(&error, &format!("waiting for '{}'", path.display()));
        let lock = files::open_file(self.handshake, handshake::LOCK).map_err(failed)?;
        let (tell, mut ended) = oneshot::channel();
        thread::spawn(move || {
            let locked = loop {
                match flock(&lock, FlockOperation::LockExclusive) {
                    Err(rustix::io::Errno::INTR) => {}
                    locked => break locked,
                }
            };
            let _ = tell.send(locked);
        });
        let mut answered = None;
        loop {
            tokio::select! {
                locked = &mut ended => {
                    let gone = Err(rustix::io::Errno::CANCELED);
                    return locked.unwrap_or(gone).map_err(|error| failed(error.into()));
                }
                () = tokio::time::sleep(LATER) => {}
            }
            let wanted = files::checkpoint_wanted(self.handshake);
            if let Some(number) = wanted.filter(|_| wanted != answered) {
                answered = wanted;
                self.answer(number).await?;
            }
        }
    }

    /// Saves the checkpoint that the starter waits for, and tells it.
    async fn answer(&self, number: u64) -> Result<(), Fault> {
        let saved = self.save(false).await;
        let fault = saved.as_ref().err();
        self.reporter.tell(State::Waiting, fault);
        let answered = match fault {
            None => files::write(self.handshake, handshake::CHECKPOINT_SAVED, &number.to_string()),
            Some(fault) => {
                let text = format!("{number} {fault}");
                files::write(self.handshake, handshake::CHECKPOINT_FAILED, &text)
            }
        };
        answered.map_err(|error| Fault::io(&error, "answering the starter"))
    }

    async fn save(&self, evicted: bool) -> Result<(), Fault> {
        self.reporter.begin();
        self.save_now(evicted).await.map_err(|fault| fault.with_code(CHECKPOINT))?;
        self.reporter.checkpoint();
        Ok(())
    }

    async fn save_now(&self, evicted: bool) -> Result<(), Fault> {
        let place = self.plan.checkpoint.as_ref();
        let place =
            place.ok_or_else(|| Fault::permanent(22, "there is no place for checkpoints"))?;
        let context = Context::new(self.reporter, self.plan.patience);
        let tree = self.tree()?;
        let list = self.plan.checkpoint_files.as_deref().or(self.plan.files.as_deref());
        let (mut selection, all) = self.select(&tree, list);
        match all {
            // Of an attempt that was stopped on its way what is there is worth keeping.
            Err(fault) if evicted && fault.subcode == NOT_THERE => {}
            all => all?,
        }
        // They go on in the next attempt.
        let (brought, streams) = (files::brought(self.handshake), self.streams());
        let selector = self.selector(&tree, &brought, &streams);
        for (name, found) in streams.iter().filter_map(|stream| selector.stream(stream).ok()) {
            keep(&mut selection, name, found)?;
        }
        checkpoint::save(&context, place, &tree, &selection).await
    }

    /// Sends everything, and where that fails keeps it for another try.
    async fn send_until_done(&self, files: bool, mut resend: Option<String>) -> Result<(), Fault> {
        let mut round = 0;
        loop {
            round += 1;
            self.reporter.begin_round(round);
            let Err(fault) = self.send_outputs(files).await else { return Ok(()) };
            self.reporter.tell(State::Kept, Some(&fault));
            if !self.asked_again(&mut resend).await {
                return Err(fault);
            }
        }
    }

    /// Waits for another number in the control directory; not when the time is over or the pod goes away.
    async fn asked_again(&self, known: &mut Option<String>) -> bool {
        let end = Instant::now() + Duration::from_secs(self.plan.retention);
        while Instant::now() < end && !self.signals.asked() {
            let now = resend(self.plan);
            if now.is_some() && now != *known {
                *known = now;
                return true;
            }
            tokio::time::sleep(LATER).await;
        }
        false
    }

    /// The standard streams, and the file set if `files`.
    async fn send_outputs(&self, files: bool) -> Result<(), Fault> {
        let context = Context::new(self.reporter, self.plan.patience);
        let tree = self.tree()?;
        let list = if files { self.plan.files.as_deref() } else { Some(&[][..]) };
        let (mut selection, mut all) = self.select(&tree, list);
        let (brought, streams) = (files::brought(self.handshake), self.streams());
        let selector = self.selector(&tree, &brought, &streams);
        for stream in &streams {
            match selector.stream(stream) {
                Ok((name, found)) => all = all.and(keep(&mut selection, name, found)),
                Err(fault) => all = all.and(Err(fault)),
            }
        }
        self.send_selection(&context, &tree, selection, "").await?;
        all
    }

    /// Such of the standard streams as are there, by names of their own.
    async fn send_remains(&self) -> Result<(), Fault> {
        let context = Context::new(self.reporter, self.plan.patience);
        let tree = self.tree()?;
        let (brought, streams) = (files::brought(self.handshake), self.streams());
        let selector = self.selector(&tree, &brought, &streams);
        let there = streams.iter().filter_map(|stream| selector.stream(stream).ok());
        let suffix = format!(".{}", self.plan.attempt);
        self.send_selection(&context, &tree, there.collect(), &suffix).await
    }

    async fn send_selection(
        &self,
        context: &Context,
        tree: &Tree,
        selection: Selection,
        suffix: &str,
    ) -> Result<(), Fault> {
        let mut uploads = Vec::new();
        for (name, found) in &selection {
            let is_stream = self.streams().contains(&found.path.as_path());
            match self.place_of(context, name, &found.path)? {
                Some(place) => uploads.push((place.with_suffix(suffix), found)),
                // Somebody named it.
                None if self.plan.files.is_some() && !is_stream => {
                    let words = format!("{} has nowhere to go", names::shown(&found.path));
                    return Err(Fault::permanent(22, words));
                }
                None => {}
            }
        }
        self.check_size(&uploads)?;
        upload(context, tree, uploads).await
    }

    fn check_size(&self, uploads: &[(Location, &Found)]) -> Result<(), Fault> {
        let Some(max) = self.plan.max_output_bytes else { return Ok(()) };
        let mut all = 0_u64;
        for (_, found) in uploads {
            all = all.saturating_add(found.size);
            if all > max {
                let (max, file) = (max >> 20, found.size.div_ceil(1 << 20));
                let detail = format!(
                    "{}: max total download bytes exceeded (max={max} MB, this file={file} MB)",
                    names::shown(&found.path)
                );
                return Err(Fault::permanent(0, detail).with_code(33));
            }
        }
        Ok(())
    }

    /// Where a file goes, if anywhere.
    fn place_of(
        &self,
        context: &Context,
        name: &Path,
        path: &Path,
    ) -> Result<Option<Location>, Fault> {
        let is_of = |from: &str| Path::new(from) == path || Path::new(from) == name;
        let remap = self.plan.remaps.iter().find(|(from, _)| is_of(from));
        let refused = |words| Fault::permanent(22, words);
        let name: PathBuf = match remap {
            Some((_, Remap::Place(place))) => return Location::of(place, context).map(Some),
            Some((_, Remap::Name(to))) => names::relative(to).map_err(refused)?,
            None => name.to_owned(),
        };
        let Some(place) = &self.plan.destination else { return Ok(None) };
        Location::of(place, context)?.join(&name).map(Some)
    }

    fn tree(&self) -> Result<Tree, Fault> {
        Tree::scratch(&self.plan.scratch)
    }

    fn select(&self, tree: &Tree, list: Option<&[String]>) -> (Selection, Result<(), Fault>) {
        let (brought, streams) = (files::brought(self.handshake), self.streams());
        self.selector(tree, &brought, &streams).select(list)
    }

    fn selector<'b>(
        &self,
        tree: &'b Tree,
        brought: &'b duj_protocol::transfer::Brought,
        streams: &'b [&'b Path],
    ) -> Selector<'b> {
        Selector { tree, brought, streams, preserve: self.plan.preserve_relative_paths }
    }

    /// Both may be one file.
    fn streams(&self) -> Vec<&'a Path> {
        let streams = [&self.plan.output, &self.plan.error].into_iter().flatten().map(Path::new);
        let mut streams: Vec<_> = streams.collect();
        streams.dedup();
        streams
    }
}

/// Sends files, several at once. Where one fails, the others are given up, and none is left half done.
pub(crate) async fn upload(
    context: &Context,
    tree: &Tree,
    uploads: Vec<(Location, &Found)>,
) -> Result<(), Fault> {
    let mut results = stream::iter(uploads)
        .map(|(place, found)| async move {
            context.go_on()?;
            let outgoing = Outgoing {
                file: Arc::new(tree.open_file(found)?),
                size: found.size,
                mode: found.mode,
                reading: tree.reading(&found.path),
            };
            place.put(context, &outgoing).await?;
            context.reporter().moved(found.size);
            Ok(())
        })
        .buffer_unordered(AT_ONCE);
    let mut first = Ok(());
    while let Some(result) = results.next().await {
        if result.is_err() && first.is_ok() {
            context.stop();
            first = result;
        }
    }
    first
}
