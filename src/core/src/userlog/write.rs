//! Events as text, byte for byte what `HTCondor` 25 writes, except for the `Z` behind the time.
//!
//! Writing cannot fail and checks nothing: the model's types keep everything out that could harm.
//! Nothing is allocated here but what the log's own text needs; a job of 100,000 procs has as many
//! hundreds of thousands of events.

use std::fmt::{self, Formatter};

use jiff::tz::Offset;

use super::{Body, Bytes, CpuUsage, Event, Evicted, Eviction, Exit, Line, Name, Terminated};

/// What stands for a reason that nobody gave, where the format wants one.
pub(super) const UNSPECIFIED: &str = "Reason unspecified";
/// What warnings of event 000 begin with.
pub(super) const WARNING: &str =
    "WARNING: Committed job submission into the queue with the following warning(s): ";

impl fmt::Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let time = Offset::UTC.to_datetime(self.time);
        write!(
            f,
            "{:03} ({:03}.{:03}.000) {:04}-{:02}-{:02} {:02}:{:02}:{:02}Z ",
            self.body.number(),
            self.job.cluster,
            self.job.proc,
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
        )?;
        body(f, &self.body)?;
        f.write_str("...\n")
    }
}

fn body(f: &mut Formatter<'_>, body: &Body) -> fmt::Result {
    match body {
        Body::Submit { host, notes, warning } => submit(f, host, notes, warning),
        Body::Execute { host, slot, properties } => {
            writeln!(f, "Job executing on host: {host}")?;
            if !slot.is_empty() {
                writeln!(f, "\tSlotName: {slot}")?;
            }
            properties.iter().try_for_each(|(name, value)| writeln!(f, "\t{name} = {value}"))
        }
        Body::Checkpointed { run_remote, run_local, sent } => {
            f.write_str("Job was checkpointed.\n")?;
            usage(f, "\t", *run_remote, "Run Remote")?;
            usage(f, "\t", *run_local, "Run Local")?;
            writeln!(f, "\t{sent}  -  Run Bytes Sent By Job For Checkpoint")
        }
        Body::Evicted(eviction) => evicted(f, eviction),
        Body::Terminated(end) => terminated(f, end),
        Body::ImageSize {
            image_size_kb,
            memory_usage_mb,
            resident_set_size_kb,
            proportional_set_size_kb,
        } => {
            writeln!(f, "Image size of job updated: {image_size_kb}")?;
            measured(f, *memory_usage_mb, "MemoryUsage of job (MB)")?;
            measured(f, *resident_set_size_kb, "ResidentSetSize of job (KB)")?;
            measured(f, *proportional_set_size_kb, "ProportionalSetSize of job (KB)")
        }
        Body::ShadowException { message, run } => {
            writeln!(f, "Shadow exception!\n\t{message}")?;
            moved(f, "Run", *run)
        }
        // Three dots alone would be the end of the event, before it began.
        Body::Generic { text } if text.as_str() == "..." => f.write_str("…\n"),
        Body::Generic { text } => writeln!(f, "{text}"),
        Body::Aborted { reason } => titled(f, "Job was aborted.", reason),
        Body::Suspended { processes } => {
            writeln!(f, "Job was suspended.\n\tNumber of processes actually suspended: {processes}")
        }
        Body::Unsuspended => f.write_str("Job was unsuspended.\n"),
        Body::Held { reason, code, subcode } => {
            writeln!(f, "Job was held.\n\t{}", given(reason))?;
            writeln!(f, "\tCode {code} Subcode {subcode}")
        }
        Body::Released { reason } => titled(f, "Job was released.", reason),
        Body::RemoteError { critical, daemon, host, message, code, subcode } => {
            let kind = if *critical { "Error" } else { "Message" };
            writeln!(f, "{kind} from {} on {}:", known(daemon), known(host))?;
            message.iter().try_for_each(|line| remote_message(f, line))?;
            if *code == 0 { Ok(()) } else { writeln!(f, "\tCode {code} Subcode {subcode}") }
        }
        Body::Disconnected { reason, startd, startd_address } => {
            writeln!(f, "Job disconnected, attempting to reconnect\n    {}", given(reason))?;
            writeln!(f, "    Trying to reconnect to {} {}", known(startd), known(startd_address))
        }
        Body::Reconnected { startd, startd_address, starter_address } => {
            writeln!(f, "Job reconnected to {}", known(startd))?;
            writeln!(f, "    startd address: {}", known(startd_address))?;
            writeln!(f, "    starter address: {}", known(starter_address))
        }
        Body::ReconnectFailed { reason, startd } => {
            writeln!(f, "Job reconnection failed\n    {}", given(reason))?;
            writeln!(f, "    Can not reconnect to {}, rescheduling job", known(startd))
        }
        Body::JobAdInformation { attributes } => {
            f.write_str("Job ad information event triggered.\n")?;
            attributes.iter().try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))
        }
        // HTCondor's reader loses the form without an old value, so there is always one.
        Body::AttributeUpdate { attribute, old, new } => {
            let value = |name| non_empty(name, "undefined");
            writeln!(f, "Changing job attribute {attribute} from {} to {}", value(old), value(new))
        }
        Body::Cluster(event) => event.write(f),
        Body::FileTransfer { stage, queued_seconds, host } => {
            writeln!(f, "{}", stage.as_str())?;
            if let Some(seconds) = queued_seconds {
                writeln!(f, "\tSeconds spent in queue: {seconds}")?;
            }
            if host.is_empty() { Ok(()) } else { writeln!(f, "\tTransferring to host: {host}") }
        }
    }
}

fn submit(f: &mut Formatter<'_>, host: &Name, notes: &[Line], warning: &Line) -> fmt::Result {
    writeln!(f, "Job submitted from host: {host}")?;
    for note in notes.iter().filter(|note| !note.is_empty()) {
        writeln!(f, "    {note}")?;
    }
    if warning.is_empty() { Ok(()) } else { writeln!(f, "    {WARNING}{warning}") }
}

fn evicted(f: &mut Formatter<'_>, eviction: &Evicted) -> fmt::Result {
    f.write_str("Job was evicted.")?;
    if eviction.code != 0 {
        write!(f, " Code {} Subcode {}", eviction.code, eviction.subcode)?;
    }
    f.write_str(match eviction.how {
        Eviction::Stopped => "\n\t(0) CPU times\n",
        Eviction::Checkpointed => "\n\t(1) Job was checkpointed.\n",
        Eviction::Requeued(_) => "\n\t(0) Job terminated and was requeued\n",
    })?;
    cpu(f, eviction.run_remote, "Run Remote")?;
    cpu(f, eviction.run_local, "Run Local")?;
    moved(f, "Run", eviction.run)?;
    let mut label = "Reason: ";
    if let Eviction::Requeued(how) = &eviction.how {
        exit(f, how)?;
        // Without a label, unless the reason could be taken for something else.
        let reason = eviction.reason.as_str();
        if !(reason.starts_with("Reason: ") || reason.starts_with("Partitionable Resources")) {
            label = "";
        }
    }
    if !eviction.reason.is_empty() {
        writeln!(f, "\t{label}{}", eviction.reason)?;
    }
    write!(f, "{}", eviction.resources)
}

fn terminated(f: &mut Formatter<'_>, end: &Terminated) -> fmt::Result {
    f.write_str("Job terminated.\n")?;
    exit(f, &end.exit)?;
    cpu(f, end.run_remote, "Run Remote")?;
    cpu(f, end.run_local, "Run Local")?;
    cpu(f, end.total_remote, "Total Remote")?;
    cpu(f, end.total_local, "Total Local")?;
    moved(f, "Run", end.run)?;
    moved(f, "Total", end.total)?;
    write!(f, "{}", end.resources)
}

fn exit(f: &mut Formatter<'_>, exit: &Exit) -> fmt::Result {
    match exit {
        Exit::Code(code) => writeln!(f, "\t(1) Normal termination (return value {code})"),
        Exit::Signal { number, core } => {
            writeln!(f, "\t(0) Abnormal termination (signal {number})")?;
            if core.is_empty() {
                f.write_str("\t(0) No core file\n")
            } else {
                writeln!(f, "\t(1) Corefile in: {core}")
            }
        }
    }
}

fn cpu(f: &mut Formatter<'_>, used: CpuUsage, which: &str) -> fmt::Result {
    usage(f, "\t\t", used, which)
}

fn usage(f: &mut Formatter<'_>, indent: &str, usage: CpuUsage, which: &str) -> fmt::Result {
    let clock = |f: &mut Formatter<'_>, s: u64| {
        write!(f, "{} {:02}:{:02}:{:02}", s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60)
    };
    write!(f, "{indent}Usr ")?;
    clock(f, usage.user)?;
    f.write_str(", Sys ")?;
    clock(f, usage.system)?;
    writeln!(f, "  -  {which} Usage")
}

fn moved(f: &mut Formatter<'_>, when: &str, bytes: Bytes) -> fmt::Result {
    writeln!(f, "\t{}  -  {when} Bytes Sent By Job", bytes.sent)?;
    writeln!(f, "\t{}  -  {when} Bytes Received By Job", bytes.received)
}

fn measured(f: &mut Formatter<'_>, number: Option<u64>, label: &str) -> fmt::Result {
    number.map_or(Ok(()), |number| writeln!(f, "\t{number}  -  {label}"))
}

pub(super) fn titled(f: &mut Formatter<'_>, title: &str, reason: &Line) -> fmt::Result {
    writeln!(f, "{title}")?;
    if reason.is_empty() { Ok(()) } else { writeln!(f, "\t{reason}") }
}

/// A line of a remote daemon's message. One that reads like the codes of a hold must not become
/// them.
fn remote_message(f: &mut Formatter<'_>, line: &Line) -> fmt::Result {
    if line.is_empty() {
        return Ok(());
    }
    let guard = if super::read::codes(line.as_str()).is_some() { "|" } else { "" };
    writeln!(f, "\t{guard}{line}")
}

fn given(reason: &Line) -> &str {
    if reason.is_empty() { UNSPECIFIED } else { reason.as_str() }
}

fn known(name: &Name) -> &str {
    non_empty(name, "unknown")
}

fn non_empty<'a>(name: &'a Name, otherwise: &'a str) -> &'a str {
    if name.is_empty() { otherwise } else { name.as_str() }
}
