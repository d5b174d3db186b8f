//! What can go wrong, and whether another try may help.
//!
//! Invariant: the words of a fault are one line without control characters, and have no credentials in them.

use std::{error::Error, fmt, io, time::Duration};

use duj_protocol::transfer::Failure;
use rustix::io::Errno;

use crate::names;

/// Input files.
pub(crate) const INPUT: i32 = 13;
/// Output files.
pub(crate) const OUTPUT: i32 = 12;
/// Bytes of a server's own words in a message.
const WORDS: usize = 300;

/// Why something was not done.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Another try may help.
    pub(crate) transient: bool,
    /// The hold code where it is not the direction's own.
    pub(crate) code: Option<i32>,
    /// `errno`, or 0.
    pub(crate) subcode: i32,
    /// One line.
    pub(crate) detail: String,
    /// How long the other side asks to be left alone.
    pub(crate) after: Option<Duration>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Fault {}

impl Fault {
    /// No other try helps.
    pub(crate) fn permanent(subcode: i32, detail: impl AsRef<str>) -> Self {
        let detail = names::one_line(detail.as_ref(), 3 * WORDS);
        Self { transient: false, code: None, subcode, detail, after: None }
    }

    /// Another try may help.
    pub(crate) fn transient(subcode: i32, detail: impl AsRef<str>) -> Self {
        Self { transient: true, ..Self::permanent(subcode, detail) }
    }

    /// With a hold code of its own.
    pub(crate) fn with_code(self, code: i32) -> Self {
        Self { code: Some(code), ..self }
    }

    /// What the system said while `doing` ("reading from file x").
    pub(crate) fn io(error: &io::Error, doing: &str) -> Self {
        let subcode = error.raw_os_error().unwrap_or(match error.kind() {
            io::ErrorKind::NotFound => 2,
            io::ErrorKind::PermissionDenied => 13,
            _ => 0,
        });
        let words = system_words(error);
        let detail = if subcode == 0 {
            format!("{doing}: {words}")
        } else {
            format!("{doing}: (errno {subcode}) {words}")
        };
        let passing = [Errno::STALE, Errno::TIMEDOUT, Errno::AGAIN, Errno::INTR];
        let transient = passing.iter().any(|errno| errno.raw_os_error() == subcode);
        Self { transient, ..Self::permanent(subcode, detail) }
    }

    /// What a server answered: its status, and its own words.
    pub(crate) fn status(status: u16, what: &str, words: &str) -> Self {
        let words = names::one_line(words, WORDS);
        let colon = if words.is_empty() { "" } else { ": " };
        let detail = format!("{what}: the server answered {status}{colon}{words}");
        match status {
            404 | 410 => Self::permanent(2, detail),
            401 | 403 | 407 => Self::permanent(13, detail),
            507 => Self::permanent(28, detail),
            408 | 425 | 429 | 500 | 502..=504 | 506 | 508..=599 => Self::transient(0, detail),
            _ => Self::permanent(0, detail),
        }
    }

    /// What went wrong before there was an answer, or in the middle of it.
    pub(crate) fn network(error: &(dyn Error + 'static), what: &str) -> Self {
        let chain: Vec<_> = chain(error).collect();
        if let Some(tls) = chain.iter().find_map(|error| tls_fault(*error)) {
            return Self::permanent(71, format!("{what}: {tls}"));
        }
        let innermost = chain.last().map(ToString::to_string).unwrap_or_default();
        if chain.iter().any(|error| error.to_string().contains("dns error")) {
            return Self::transient(
                113,
                format!("{what}: the name cannot be resolved: {innermost}"),
            );
        }
        let errno = chain.iter().find_map(|error| error.downcast_ref::<io::Error>());
        let subcode = errno.and_then(io::Error::raw_os_error).unwrap_or(0);
        Self::transient(subcode, format!("{what}: {innermost}"))
    }

    /// As the job's owner reads it, in `HTCondor`'s form (§3.3).
    pub(crate) fn failure(&self, direction: i32) -> Failure {
        let code = self.code.unwrap_or(direction);
        let detail = &self.detail;
        let message = match code {
            6 => detail.clone(),
            36 => format!("Starter failed to upload checkpoint: {detail}"),
            13 | 32 => format!(
                "Transfer input files failure at the execution point while receiving files. Details: {detail}"
            ),
            _ => format!(
                "Transfer output files failure at the execution point while sending files. Details: {detail}"
            ),
        };
        Failure { code, subcode: self.subcode, message }
    }
}

/// Without the "(os error n)" that the library adds.
fn system_words(error: &io::Error) -> String {
    let words = error.to_string();
    match words.rfind(" (os error ") {
        Some(end) => words[..end].to_owned(),
        None => words,
    }
}

/// The error and its causes, also those that an I/O error wraps.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// A server that cannot be trusted, or that does not speak TLS; a connection that broke off is none of these.
fn tls_fault(error: &(dyn Error + 'static)) -> Option<String> {
    error.downcast_ref::<rustls::Error>().map(|error| format!("TLS: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_errno_and_its_hope() {
        let cases = [
            (404, false, 2),
            (410, false, 2),
            (401, false, 13),
            (403, false, 13),
            (400, false, 0),
            (416, false, 0),
            (501, false, 0),
            (507, false, 28),
            (429, true, 0),
            (408, true, 0),
            (500, true, 0),
            (503, true, 0),
            (504, true, 0),
        ];
        for (status, transient, subcode) in cases {
            let fault = Fault::status(status, "GET http://a/b", "no\nway\u{7}");
            assert_eq!((fault.transient, fault.subcode), (transient, subcode), "{status}");
            assert_eq!(
                fault.detail,
                format!("GET http://a/b: the server answered {status}: no way")
            );
        }
    }

    #[test]
    fn the_systems_words_are_as_htcondor_writes_them() {
        let fault = Fault::io(&io::Error::from_raw_os_error(2), "reading from file /s/a");
        let failure = fault.failure(OUTPUT);
        assert_eq!((failure.code, failure.subcode), (12, 2));
        assert_eq!(
            failure.message,
            "Transfer output files failure at the execution point while sending files. Details: reading from file /s/a: (errno 2) No such file or directory"
        );
    }
}
