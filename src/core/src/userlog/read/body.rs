//! What follows an event's header, by its number. Lines come without their line ends.

use std::{collections::BTreeMap, str::Lines};

use super::Malformed;
use crate::userlog::{
    Attribute, Body, Bytes, Cluster, CpuUsage, Evicted, Eviction, Exit, Line, Name, ResourceTable,
    Terminated, TransferStage,
    write::{UNSPECIFIED, WARNING},
};

/// The lines below an event's first.
pub(crate) struct Rest<'a> {
    pub(crate) number: u16,
    pub(crate) lines: Lines<'a>,
}

/// The body of event `number`, whose first line goes on with `title`.
pub(super) fn parse(number: u16, title: &str, lines: Lines<'_>) -> Result<Body, Malformed> {
    let rest = &mut Rest { number, lines };
    match number {
        0 => submit(rest, title),
        1 => execute(rest, title),
        3 => {
            rest.after(title, "Job was checkpointed.")?;
            let (run_remote, run_local) = (rest.cpu()?, rest.cpu()?);
            // Old writers leave it out.
            let sent = measured(rest.peek()).map_or(0, |(number, _)| number);
            Ok(Body::Checkpointed { run_remote, run_local, sent })
        }
        4 => evicted(rest, title),
        5 => terminated(rest, title),
        6 => image_size(rest, title),
        7 => {
            rest.after(title, "Shadow exception!")?;
            let message = rest.reason();
            Ok(Body::ShadowException { message, run: rest.moved("Run") })
        }
        8 => Ok(Body::Generic { text: Line::new(title) }),
        9 => {
            // Old writers say "by the user" in the title, and how it ended in a trailer.
            rest.after(title, "Job was aborted")?;
            let reason = rest.reason();
            let trailer = reason.as_str().starts_with("Job terminated by ");
            Ok(Body::Aborted { reason: if trailer { Line::default() } else { reason } })
        }
        10 => {
            rest.after(title, "Job was suspended.")?;
            let expected = "Number of processes actually suspended: ";
            let count = rest.after(rest.peek().trim_start(), expected)?;
            Ok(Body::Suspended { processes: rest.number_in(count, expected)? })
        }
        11 => rest.after(title, "Job was unsuspended.").map(|_| Body::Unsuspended),
        12 => {
            rest.after(title, "Job was held.")?;
            let reason = specified(rest.reason());
            let (code, subcode) = codes(rest.peek().trim_start()).unwrap_or_default();
            Ok(Body::Held { reason, code, subcode })
        }
        13 => {
            rest.after(title, "Job was released.")?;
            Ok(Body::Released { reason: rest.reason() })
        }
        21 => remote_error(rest, title),
        22..=24 => connection(rest, title),
        28 => {
            rest.after(title, "Job ad information event triggered.")?;
            let attributes = rest.attributes();
            if attributes.is_empty() {
                return Err(rest.lacks("TriggerEventTypeNumber = 0"));
            }
            Ok(Body::JobAdInformation { attributes })
        }
        33 => attribute_update(rest, title),
        35..=38 => Cluster::parse(rest, title).map(Body::Cluster),
        40 => file_transfer(rest, title),
        number => Err(Malformed::Unknown(number)),
    }
}

impl<'a> Rest<'a> {
    pub(crate) fn lacks(&self, expected: &'static str) -> Malformed {
        Malformed::Body { number: self.number, expected }
    }

    /// What follows `expected` in `text`.
    pub(crate) fn after<'t>(
        &self,
        text: &'t str,
        expected: &'static str,
    ) -> Result<&'t str, Malformed> {
        // A title's last blank may be lost where nothing follows it.
        text.strip_prefix(expected)
            .or_else(|| text.strip_prefix(expected.trim_end()).filter(|rest| rest.is_empty()))
            .ok_or_else(|| self.lacks(expected))
    }

    fn number_in<T: std::str::FromStr>(
        &self,
        text: &str,
        expected: &'static str,
    ) -> Result<T, Malformed> {
        text.trim().parse().map_err(|_| self.lacks(expected))
    }

    fn peek(&self) -> &'a str {
        self.lines.clone().next().unwrap_or_default()
    }

    pub(crate) fn next(&mut self) -> &'a str {
        self.lines.next().unwrap_or_default()
    }

    /// The next line, whatever it is.
    pub(crate) fn reason(&mut self) -> Line {
        Line::new(self.next())
    }

    /// The number in the next line, where that begins with this label; else 0.
    pub(crate) fn code(&mut self, label: &str) -> i32 {
        let code = self.peek().trim_start().strip_prefix(label).map(str::parse);
        let Some(Ok(code)) = code else { return 0 };
        self.next();
        code
    }

    /// `\t\tUsr 0 00:00:01, Sys 0 00:00:00  -  Run Remote Usage`.
    fn cpu(&mut self) -> Result<CpuUsage, Malformed> {
        let usage = |line: &str| {
            let (user, rest) = line.trim_start().strip_prefix("Usr ")?.split_once(", Sys ")?;
            let system = rest.split_once("  -").map_or(rest, |(system, _)| system);
            Some(CpuUsage { user: seconds(user)?, system: seconds(system)? })
        };
        usage(self.next()).ok_or_else(|| self.lacks("Usr 0 00:00:00, Sys 0 00:00:00"))
    }

    /// `\t<n>  -  <when> Bytes Sent By Job` and its companion; absent in old logs.
    fn moved(&mut self, when: &str) -> Bytes {
        let mut bytes = Bytes::default();
        while let Some((number, label)) = measured(self.peek()) {
            match label.strip_prefix(when) {
                Some(" Bytes Sent By Job") => bytes.sent = number,
                Some(" Bytes Received By Job") => bytes.received = number,
                _ => break,
            }
            self.next();
        }
        bytes
    }

    /// `\t(1) Normal termination (return value 0)`, or the other form with its core line.
    fn exit(&mut self) -> Result<Exit, Malformed> {
        const NORMAL: &str = "(1) Normal termination (return value ";
        const ABNORMAL: &str = "(0) Abnormal termination (signal ";
        let line = self.next().trim();
        if let Some(value) = line.strip_prefix(NORMAL) {
            return Ok(Exit::Code(self.number_in(value.trim_end_matches(')'), NORMAL)?));
        }
        let number = self.after(line, ABNORMAL)?;
        let number = self.number_in(number.trim_end_matches(')'), ABNORMAL)?;
        let core = self.next().trim();
        let core = Line::new(core.strip_prefix("(1) Corefile in: ").unwrap_or_default());
        Ok(Exit::Signal { number, core })
    }

    /// All that is left: `Name = value`, one a line.
    fn attributes(&mut self) -> BTreeMap<Attribute, Line> {
        let pairs = self.lines.by_ref().filter_map(|line| line.split_once(" = "));
        pairs.map(|(name, value)| (Attribute::new(name), Line::new(value))).collect()
    }

    fn resources(&mut self) -> ResourceTable {
        if !ResourceTable::is_banner(self.peek()) {
            return ResourceTable::default();
        }
        ResourceTable::parse(self.next(), &mut self.lines)
    }
}

fn submit(rest: &mut Rest<'_>, title: &str) -> Result<Body, Malformed> {
    let host = Name::new(rest.after(title, "Job submitted from host: ")?);
    let (mut notes, mut warning) = (Vec::new(), Line::default());
    for line in rest.lines.by_ref().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix(WARNING.trim_end()) {
            Some(text) => warning = Line::new(text),
            None => notes.push(Line::new(line)),
        }
    }
    Ok(Body::Submit { host, notes, warning })
}

fn execute(rest: &mut Rest<'_>, title: &str) -> Result<Body, Malformed> {
    let host = Name::new(rest.after(title, "Job executing on host: ")?);
    let slot = match rest.peek().strip_prefix("\tSlotName:") {
        Some(slot) => {
            rest.next();
            Name::new(slot.trim().trim_matches('"'))
        }
        None => Name::default(),
    };
    Ok(Body::Execute { host, slot, properties: rest.attributes() })
}

fn evicted(rest: &mut Rest<'_>, title: &str) -> Result<Body, Malformed> {
    let (code, subcode) = codes(rest.after(title, "Job was evicted.")?.trim()).unwrap_or_default();
    let how = rest.next().trim();
    let (run_remote, run_local) = (rest.cpu()?, rest.cpu()?);
    let run = rest.moved("Run");
    let how = match how {
        "(0) Job terminated and was requeued" => Eviction::Requeued(rest.exit()?),
        how if how.starts_with("(1)") => Eviction::Checkpointed,
        how if how.starts_with("(0)") => Eviction::Stopped,
        _ => return Err(rest.lacks("(0) CPU times")),
    };
    let reason = if ResourceTable::is_banner(rest.peek()) {
        Line::default()
    } else {
        let line = rest.next();
        Line::new(line.strip_prefix("\tReason: ").unwrap_or(line))
    };
    let resources = rest.resources();
    Ok(Body::Evicted(Evicted { how, code, subcode, reason, run_remote, run_local, run, resources }))
}

fn terminated(rest: &mut Rest<'_>, title: &str) -> Result<Body, Malformed> {
    rest.after(title, "Job terminated.")?;
    // Fields are read in the order in which they are written here.
    Ok(Body::Terminated(Terminated {
        exit: rest.exit()?,
        run_remote: rest.cpu()?,
        run_local: rest.cpu()?,
        total_remote: rest.cpu()?,
        total_local: rest.cpu()?,
        run: rest.moved("Run"),
        total: rest.moved("Total"),
        resources: rest.resources(),
    }))
}

fn image_size(rest: &mut Rest<'_>, title: &str) -> Result<Body, Malformed> {
    let expected = "Image size of job updated: ";
    let image_size_kb = rest.number_in(rest.after(title, expected)?, expected)?;
    let (mut memory, mut resident, mut proportional) = (None, None, None);
    while let Some((number, label)) = measured(rest.next()) {
        match label.split(' ').next() {
            Some("MemoryUsage") => memory = Some(number),
            Some("ResidentSetSize") => resident = Some(number),
            Some("ProportionalSetSize") => proportional = Some(number),
            _ => break,
        }
    }
    Ok(Body::ImageSize {
        image_size_kb,
        memory_usage_mb: memory,
        resident_set_size_kb: resident,
        proportional_set_size_kb: proportional,
    })
}

fn remote_error(rest: &mut Rest<'_>, title: &str) -> Result<Body, Malformed> {
    let expected = "Error from starter on host:";
    let (kind, whom) = title.split_once(" from ").ok_or_else(|| rest.lacks(expected))?;
    let (daemon, host) = whom.split_once(" on ").unwrap_or(("", whom));
    let (mut message, mut hold) = (Vec::new(), (0, 0));
    for line in rest.lines.by_ref() {
        let line = line.strip_prefix('\t').unwrap_or(line);
        if let Some(found) = codes(line) {
            hold = found;
            break;
        }
        message.push(Line::new(line));
    }
    Ok(Body::RemoteError {
        critical: kind != "Message",
        daemon: Name::new(daemon),
        host: Name::new(host.strip_suffix(':').unwrap_or(host)),
        message,
        code: hold.0,
        subcode: hold.1,
    })
}

fn connection(rest: &mut Rest<'_>, title: &str) -> Result<Body, Malformed> {
    match rest.number {
        22 => {
            rest.after(title, "Job disconnected, attempting to reconnect")?;
            let reason = specified(rest.reason());
            let expected = "Trying to reconnect to ";
            let whom = rest.after(rest.peek().trim_start(), expected)?;
            let (startd, address) = whom.split_once(' ').ok_or_else(|| rest.lacks(expected))?;
            Ok(Body::Disconnected { reason, startd: startd.into(), startd_address: address.into() })
        }
        23 => {
            let startd = Name::new(rest.after(title, "Job reconnected to ")?);
            let startd_address = rest.next().trim_start();
            let starter_address = rest.next().trim_start();
            Ok(Body::Reconnected {
                startd,
                startd_address: rest.after(startd_address, "startd address: ")?.into(),
                starter_address: rest.after(starter_address, "starter address: ")?.into(),
            })
        }
        _ => {
            rest.after(title, "Job reconnection failed")?;
            let reason = specified(rest.reason());
            let whom = rest.after(rest.peek().trim_start(), "Can not reconnect to ")?;
            let startd = whom.split_once(',').map_or(whom, |(startd, _)| startd);
            Ok(Body::ReconnectFailed { reason, startd: startd.into() })
        }
    }
}

fn attribute_update(rest: &mut Rest<'_>, title: &str) -> Result<Body, Malformed> {
    let expected = "Changing job attribute ";
    let update = |text: &str| {
        let (attribute, values) = text.split_once(" from ")?;
        let (old, new) = values.split_once(" to ")?;
        Some((attribute.to_owned(), old.to_owned(), new.to_owned()))
    };
    let setting = |text: &str| {
        let (attribute, new) = text.strip_prefix("Setting job attribute ")?.split_once(" to ")?;
        Some((attribute.to_owned(), String::new(), new.to_owned()))
    };
    let (attribute, old, new) = title
        .strip_prefix(expected)
        .and_then(update)
        .or_else(|| setting(title))
        .ok_or_else(|| rest.lacks(expected))?;
    Ok(Body::AttributeUpdate { attribute: attribute.into(), old: old.into(), new: new.into() })
}

fn file_transfer(rest: &mut Rest<'_>, title: &str) -> Result<Body, Malformed> {
    let stage = TransferStage::ALL.into_iter().find(|stage| stage.as_str() == title);
    let stage = stage.ok_or_else(|| rest.lacks("Started transferring input files"))?;
    let expected = "\tSeconds spent in queue: ";
    let queued_seconds = match rest.peek().strip_prefix(expected) {
        Some(seconds) => {
            rest.next();
            Some(rest.number_in(seconds, expected)?)
        }
        None => None,
    };
    let host = rest.peek().strip_prefix("\tTransferring to host: ").unwrap_or_default().into();
    Ok(Body::FileTransfer { stage, queued_seconds, host })
}

/// A reason, where "unspecified" is none.
fn specified(reason: Line) -> Line {
    if reason.as_str() == UNSPECIFIED { Line::default() } else { reason }
}

/// `Code 34 Subcode 102`, as `HTCondor`'s `sscanf` finds it: with any blanks between the parts, or
/// none, and with anything behind.
pub(crate) fn codes(text: &str) -> Option<(i32, i32)> {
    fn integer(text: &str) -> Option<(i32, &str)> {
        let text = text.trim_start();
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let digits = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
        let (number, rest) = text.split_at(text.len() - unsigned.len() + digits);
        (digits > 0).then(|| (number.parse().unwrap_or(i32::MAX), rest))
    }
    let (code, rest) = integer(text.strip_prefix("Code")?)?;
    let (subcode, _) = integer(rest.trim_start().strip_prefix("Subcode")?)?;
    Some((code, subcode))
}

/// A number and what it measures: `\t20  -  MemoryUsage of job (MB)`.
fn measured(line: &str) -> Option<(u64, &str)> {
    let (number, label) = line.split_once(" - ")?;
    Some((number.trim().parse().ok()?, label.trim()))
}

/// Seconds of `D HH:MM:SS`.
fn seconds(text: &str) -> Option<u64> {
    let (days, clock) = text.trim().split_once(' ')?;
    let mut total = days.parse::<u64>().ok()?.checked_mul(24)?;
    let mut parts = clock.split(':').map(|part| part.parse::<u64>().ok());
    total = total.checked_add(parts.next()??)?.checked_mul(60)?;
    total = total.checked_add(parts.next()??)?.checked_mul(60)?;
    total.checked_add(parts.next()??)
}
