//! What a job left that nobody fetches: regular files at the top of its scratch directories (§1.4 of the semantics).
//!
//! Invariant: what was brought and is unchanged, what `HTCondor` keeps to itself and the files of the streams do not count.
//! Whatever names the files have, the account is short and printable.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use duj_protocol::{
    Left,
    transfer::{Brought, handshake},
};

use crate::{arguments::Settings, handshake::read};

/// Names in the scratch directory that are `HTCondor`'s own, and are never sent back.
const INTERNAL: [&str; 12] = [
    ".job.ad",
    ".execution_overlay.ad",
    ".machine.ad",
    ".docker_sock",
    ".docker_stdout",
    ".docker_stderror",
    ".condor_container_launched",
    ".update.ad",
    ".update.ad.tmp",
    ".chirp.config",
    ".starter.log",
    ".starter.log.old",
];
/// Names in an account, and bytes of each.
const NAMES: usize = 5;
const LONGEST: usize = 64;
/// Bytes of the list of what was brought, at most: memory is the job's.
const MOST_BROUGHT: u64 = 16 << 20;
/// Entries between two looks at the clock.
const ENTRIES_PER_LOOK: usize = 64;

/// Where to look, and what to pass over.
#[derive(Debug)]
pub(crate) struct LeftBehind {
    scratch: PathBuf,
    others: Vec<PathBuf>,
    own: Vec<OsString>,
    handshake: Option<PathBuf>,
}

impl LeftBehind {
    /// For a job with these settings.
    pub(crate) fn new(settings: &Settings) -> Self {
        let streams = [&settings.streams.output, &settings.streams.error].into_iter().flatten();
        let at_top = streams.filter(|file| {
            file.parent().is_none_or(|above| above.components().all(|part| part.as_os_str() == "."))
        });
        let own = at_top.filter_map(|file| file.file_name()).map(OsString::from);
        Self {
            scratch: settings.scratch.clone(),
            others: settings.also_counted.clone(),
            own: own.chain(INTERNAL.iter().map(OsString::from)).collect(),
            handshake: settings.handshake.clone(),
        }
    }

    /// Counts, for at most `time`: a directory too large for that is not counted to its end. `None` where there is nothing.
    pub(crate) fn look(&self, time: Duration) -> Option<Left> {
        let deadline = Instant::now() + time;
        let brought = self.brought();
        let mut tally = Tally::default();
        tally.count(&self.scratch, b"", deadline, |name, size, modified| {
            self.own.iter().any(|own| own.as_bytes() == name)
                || brought.binary_search(&(escaped(name), size, modified)).is_ok()
        });
        for other in &self.others {
            let mut prefix = other.as_os_str().as_bytes().to_vec();
            if !prefix.ends_with(b"/") {
                prefix.push(b'/');
            }
            tally.count(other, &prefix, deadline, |_, _, _| false);
        }
        tally.into_left()
    }

    /// In order: name, size, time.
    fn brought(&self) -> Vec<(String, u64, i64)> {
        let text =
            self.handshake.as_ref().map(|place| read(place, handshake::BROUGHT, MOST_BROUGHT));
        let text = text.and_then(Result::ok).unwrap_or_default();
        let brought: Brought = serde_json::from_slice(&text).unwrap_or_default();
        let entries = brought.entries.into_iter();
        let mut entries: Vec<_> =
            entries.map(|entry| (entry.name, entry.size, entry.modified)).collect();
        entries.sort_unstable();
        entries
    }
}

#[derive(Debug, Default)]
struct Tally {
    files: u64,
    bytes: u64,
    /// The first ones in order, no more than are told.
    names: BTreeSet<Vec<u8>>,
}

impl Tally {
    fn count(
        &mut self,
        directory: &Path,
        prefix: &[u8],
        deadline: Instant,
        is_passed_over: impl Fn(&[u8], u64, i64) -> bool,
    ) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for (number, entry) in entries.flatten().enumerate() {
            if number % ENTRIES_PER_LOOK == 0 && Instant::now() >= deadline {
                return;
            }
            // Of the entry itself: a link is not followed.
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name();
            let modified = metadata
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.mtime_nsec());
            if !metadata.is_file() || is_passed_over(name.as_bytes(), metadata.len(), modified) {
                continue;
            }
            self.files += 1;
            self.bytes = self.bytes.saturating_add(metadata.len());
            self.names.insert([prefix, name.as_bytes()].concat());
            if self.names.len() > NAMES {
                self.names.pop_last();
            }
        }
    }

    fn into_left(self) -> Option<Left> {
        let names = self.names.iter().map(|name| printable(&escaped(name))).collect();
        (self.files > 0).then_some(Left { files: self.files, bytes: self.bytes, names })
    }
}

/// A name as text, in the protocol's way.
fn escaped(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Cut, and without what would move a cursor, break a line or turn the direction of what follows.
fn printable(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        let unseen = character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        let piece =
            if unseen { character.escape_unicode().to_string() } else { character.to_string() };
        if text.len() + piece.len() > LONGEST {
            break;
        }
        text.push_str(&piece);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_printable() {
        for (name, expected) in [
            (&b"plain"[..], "plain"),
            ("größe.txt".as_bytes(), "größe.txt"),
            (b"a\nb", "a\\u{a}b"),
            (b"a\xffb\\", "a\\xffb\\\\"),
            ("\u{202e}gpj".as_bytes(), "\\u{202e}gpj"),
            (b"\x1b[31m", "\\u{1b}[31m"),
        ] {
            assert_eq!(printable(&escaped(name)), expected);
        }
        let long = printable(&"é".repeat(100));
        assert_eq!((long.len(), long.chars().count()), (64, 32));
        assert_eq!(
            printable(&format!("{}\n", "x".repeat(61))),
            "x".repeat(61),
            "never half a sign"
        );
    }
}
