//! Text as events: a reader with `HTCondor`'s tolerance, for our own logs and for those of others.
//!
//! It takes ISO and legacy dates, local times, fractions of a second, CRLF, job ids without
//! padding, and what `HTCondor` before 24.8 wrote behind events 005 and 009. Unlike `HTCondor`'s
//! reader it says what it cannot read and goes on behind it: a log is good when no item is an
//! error. Invariant: what [`Event`] writes comes back as it was.

mod body;
mod header;

use jiff::tz::Offset;

use super::Event;

pub(super) use body::{Rest, codes};

/// Reads a log whose times say that they are UTC, as ours do.
pub fn read(text: &str) -> Reader<'_> {
    Reader { rest: text, line: 1, year: None, offset: Offset::UTC }
}

/// The events of a log, one after the other; see [`read`].
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a str,
    /// The line that `rest` begins with, from 1.
    line: usize,
    year: Option<i16>,
    offset: Offset,
}

impl<'a> Reader<'a> {
    /// Takes legacy dates (`MM/DD`) for dates of this year.
    pub fn in_year(self, year: i16) -> Self {
        Self { year: Some(year), ..self }
    }

    /// Takes times without a zone for times at this offset from UTC.
    pub fn at_offset(self, offset: Offset) -> Self {
        Self { offset, ..self }
    }

    /// Cuts the next event off: its text without the `...` line, or `None` where that is missing.
    fn frame(&mut self) -> Option<&'a str> {
        let mut end = 0;
        for line in self.rest.split_inclusive('\n') {
            let complete =
                line.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
            self.line += 1;
            if complete == Some("...") {
                let event = &self.rest[..end];
                self.rest = &self.rest[end + line.len()..];
                return Some(event);
            }
            end += line.len();
        }
        self.rest = "";
        None
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let event = self.frame().ok_or(Malformed::Unfinished).and_then(|text| {
            let mut lines = text.lines();
            let first = lines.next().unwrap_or_default();
            let (header, title) = header::parse(first, self.year, self.offset)?;
            let body = body::parse(header.number, title, lines)?;
            Ok(Event { job: header.job, time: header.time, body })
        });
        Some(event.map_err(|cause| ReadError { line, cause }))
    }
}

/// Why an entry of a log could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("userlog entry at line {line}: {cause}")]
pub struct ReadError {
    /// The line it begins with, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub cause: Malformed,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin with a number and a job id.
    #[error("no event number and job id, as in '005 (042.000.000)'")]
    Header,
    /// There is no time, or an impossible one.
    #[error("no time, as in '2026-08-21 10:00:00Z'")]
    Time,
    /// The date has no year, and none was given.
    #[error("a date without a year; say which year the log is from")]
    NoYear,
    /// A number that is not in our model.
    #[error("event {0:03} is of no kind that is read here")]
    Unknown(u16),
    /// The text does not fit the number.
    #[error("event {number:03} lacks '{expected}'")]
    Body {
        /// The event's number.
        number: u16,
        /// What should be there.
        expected: &'static str,
    },
    /// The text ends before the event does: it may still be being written.
    #[error("no '...' line ends it")]
    Unfinished,
}
