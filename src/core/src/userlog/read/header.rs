//! `NNN (CCC.PPP.SSS) <date> <time> `: what each event begins with.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

use super::Malformed;
use crate::userlog::JobId;

/// What the header says.
pub(super) struct Header {
    pub(super) number: u16,
    pub(super) job: JobId,
    pub(super) time: Timestamp,
}

/// Splits an event's first line into its header and the title behind it.
pub(super) fn parse(
    line: &str,
    year: Option<i16>,
    offset: Offset,
) -> Result<(Header, &str), Malformed> {
    let (number, job, rest) = number_and_job(line).ok_or(Malformed::Header)?;
    let (time, title) = time(rest, year, offset)?;
    Ok((Header { number, job, time }, title))
}

fn number_and_job(line: &str) -> Option<(u16, JobId, &str)> {
    let (number, rest) = line.split_once(' ')?;
    // Exactly three digits: HTCondor's reader stops for good at anything else.
    let digits = number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse().ok().filter(|_| digits)?;
    let (job, rest) = rest.strip_prefix('(')?.split_once(") ")?;
    let mut parts = job.split('.');
    let (cluster, proc, _subproc) = (parts.next()?, parts.next()?, parts.next()?);
    let job = JobId { cluster: cluster.parse().ok()?, proc: proc.parse().ok()? };
    parts.next().is_none().then_some((number, job, rest))
}

/// `2026-08-21 10:00:00[.mmm][Z|±hh:mm]`, the same with a `T`, or `08/21 10:00:00`.
fn time(text: &str, year: Option<i16>, local: Offset) -> Result<(Timestamp, &str), Malformed> {
    let (date, clock, title) = split(text).ok_or(Malformed::Time)?;
    let (year, month, day) = match date.split_once('/') {
        Some((month, day)) => (year.ok_or(Malformed::NoYear)?, month, day),
        None => iso_date(date).ok_or(Malformed::Time)?,
    };
    let moment = || {
        let (clock, offset) = zone(clock, local)?;
        let (hms, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let mut hms = hms.split(':');
        let mut part = || hms.next()?.parse::<i8>().ok();
        let (hour, minute, second) = (part()?, part()?, part()?);
        let (month, day) = (month.parse().ok()?, day.parse().ok()?);
        let datetime =
            DateTime::new(year, month, day, hour, minute, second, nanoseconds(fraction)?).ok()?;
        offset.to_timestamp(datetime).ok()
    };
    Ok((moment().ok_or(Malformed::Time)?, title))
}

/// Date, clock and title. A title may be empty, and then the blank in front of it may be, too.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let word = |text| str::split_once(text, ' ').unwrap_or((text, ""));
    let (date, rest) = word(text);
    if let Some((date, clock)) = date.split_once('T') {
        return Some((date, clock, rest));
    }
    let (clock, title) = word(rest);
    (!clock.is_empty()).then_some((date, clock, title))
}

fn iso_date(date: &str) -> Option<(i16, &str, &str)> {
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    Some((year.parse().ok()?, month, day))
}

/// Splits a clock from its zone.
fn zone(clock: &str, local: Offset) -> Option<(&str, Offset)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, Offset::UTC));
    }
    let Some(at) = clock.find(['+', '-']) else { return Some((clock, local)) };
    let (clock, zone) = clock.split_at(at);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone[1..].split_once(':').or_else(|| zone[1..].split_at_checked(2))?;
    let seconds = hours.parse::<i32>().ok()? * 3_600 + minutes.parse::<i32>().unwrap_or(0) * 60;
    Some((clock, Offset::from_seconds(sign * seconds).ok()?))
}

/// Nanoseconds of a fraction's digits.
fn nanoseconds(fraction: &str) -> Option<i32> {
    let digits = fraction.get(..9).unwrap_or(fraction);
    let scale = 10_i32.pow(9 - u32::try_from(digits.len()).ok()?);
    Some(digits.parse::<u32>().ok().and_then(|n| i32::try_from(n).ok())? * scale)
}
