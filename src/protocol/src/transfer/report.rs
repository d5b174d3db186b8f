//! What a transfer tells of itself.
//!
//! Invariant: a report is at most [`Report::MAX_BYTES`] long, and has lost what is secret in a URL.

use super::ImageCommand;
use serde::{Deserialize, Serialize};

/// Where a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// The job has not begun, or runs.
    #[default]
    Waiting,
    /// Files are on their way.
    Active,
    /// A transient fault; it is tried again.
    Retrying,
    /// Given up, and the outputs are kept for another try.
    Kept,
    /// Given up.
    Failed,
    /// Everything is where it belongs.
    Done,
}

/// What a transfer tells. At most [`Report::MAX_BYTES`] long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Form of this report; [`Report::VERSION`].
    pub version: u32,
    /// Where it is.
    pub state: State,
    /// When the first byte moved, milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<i64>,
    /// When the last one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<i64>,
    /// Files moved.
    pub files: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// `send`: all outputs of a job that ended by itself are where they belong, not only what explains another end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub complete: bool,
    /// What is being retried, or why it was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How often the outputs have been tried; a resend counts.
    #[serde(skip_serializing_if = "is_zero")]
    pub round: u64,
    /// When checkpoints became whole, milliseconds since the epoch: the newest ten of this attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<i64>,
    /// How many there were in this attempt.
    #[serde(skip_serializing_if = "is_zero")]
    pub checkpoint_count: u64,
    /// `prepare`: the image's command, where it was asked for and fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageCommand>,
    /// `prepare`: the image's configuration cannot be had, and why; nothing else was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_unknown: Option<String>,
}

/// Why a transfer does not go on: `HTCondor`'s hold (§3.1, §3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Failure {
    /// 13 input, 12 output, 32 input too big, 33 output too big, 6 a program that cannot be started, 36 a checkpoint.
    pub code: i32,
    /// `errno` where there is one (2 for what is not there, also HTTP's 404; 13 for what is forbidden, also 401 and 403);
    /// else 0.
    pub subcode: i32,
    /// One line: file, URL without credentials, and the other side's words.
    pub message: String,
}

impl Report {
    /// The form this crate writes.
    pub const VERSION: u32 = 1;
    /// Longest report in bytes: the containers of a pod share 4,096.
    pub const MAX_BYTES: usize = 1024;

    /// One line of JSON that fits: the message is cut first, then the image's command.
    pub fn to_message(&self) -> String {
        let mut report = self.clone();
        loop {
            let text = serde_json::to_string(&report).unwrap_or_default();
            let over = text.len().saturating_sub(Self::MAX_BYTES);
            if over == 0 {
                return text;
            }
            let words = report.failure.as_mut().map(|failure| &mut failure.message);
            let words = words.or(report.image_unknown.as_mut()).filter(|words| !words.is_empty());
            match words {
                Some(words) => {
                    let keep = words.len().saturating_sub(over.div_ceil(6).max(16));
                    words.truncate(words.floor_char_boundary(keep));
                }
                None => match &mut report.image {
                    Some(image) if !image.too_long => {
                        (image.entrypoint, image.command, image.too_long) = (vec![], vec![], true);
                    }
                    _ => return String::new(), // cannot be: the rest is bounded
                },
            }
        }
    }

    /// Reads what [`Report::to_message`] wrote; `None` for anything else.
    pub fn from_message(text: &str) -> Option<Self> {
        serde_json::from_str(text.trim()).ok().filter(|report: &Self| report.version > 0)
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_report_is_cut_and_still_a_report() {
        let report = Report {
            version: Report::VERSION,
            state: State::Failed,
            failure: Some(Failure { code: 13, subcode: 2, message: "é\"\u{1}".repeat(900) }),
            image: Some(ImageCommand {
                command: vec!["x".repeat(2000)],
                ..ImageCommand::default()
            }),
            checkpoints: vec![1_771_502_067_123; 10],
            ..Report::default()
        };
        let text = report.to_message();
        assert!(text.len() <= Report::MAX_BYTES && !text.is_empty(), "{} bytes", text.len());
        let read = Report::from_message(&text).unwrap();
        assert_eq!((read.state, read.failure.unwrap().code), (State::Failed, 13));
        let image = read.image.unwrap();
        assert!(image.too_long && image.command.is_empty());
        assert_eq!(Report::from_message("{}"), None);
    }
}
