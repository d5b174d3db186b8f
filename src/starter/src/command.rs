//! The command that the user wants to run, and its starts: the first one and those after checkpoints.
//!
//! Invariant: each start has the same words, environment and streams; only the first one empties the files of the streams.

use std::{ffi::OsString, path::Path};

use duj_protocol::transfer::{ImageCommand, handshake};
use nix::{errno::Errno, unistd::Pid};

use crate::{
    arguments::Settings,
    executable::{Fault, errno_of, explain, locate},
    handshake::read,
    launch,
    not_started::NotStarted,
    streams::{Begin, Followed, Streams},
};

/// Bytes of the image's command, at most: the kernel takes no more words than that.
const MOST_IMAGE: u64 = 6 << 20;

/// Everything that a start needs.
#[derive(Debug)]
pub(crate) struct Command {
    executable: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    streams: Streams,
}

impl Command {
    /// The command of these settings. The scratch directory is there already.
    pub(crate) fn new(
        settings: &Settings,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, NotStarted> {
        let (executable, arguments) = words(settings)?;
        let streams =
            Streams::new(settings.streams.clone(), &settings.scratch).map_err(|error| {
                let errno = errno_of(&error);
                let message = format!("could not open the scratch directory: {}", errno.desc());
                NotStarted::surroundings(errno, message)
            })?;
        Ok(Self { executable, arguments, environment, streams })
    }

    /// Starts it, and returns what is to be followed.
    pub(crate) fn start(&self, begin: Begin) -> Result<(Pid, Vec<Followed>), NotStarted> {
        let opened = self.streams.open(begin)?;
        let path = self.environment.iter().find(|(name, _)| name == "PATH");
        let main = locate(&self.executable, path.map(|(_, path)| path.as_os_str()))
            .and_then(|file| {
                let words = (self.executable.as_os_str(), self.arguments.as_slice());
                launch::spawn(&file, words, &self.environment, &opened.files)
                    .map_err(|errno| explain(&file, errno))
            })
            .map_err(|fault| self.not_started(&fault))?;
        Ok((main, opened.followed))
    }

    fn not_started(&self, fault: &Fault) -> NotStarted {
        NotStarted {
            errno: fault.errno,
            message: fault.message(&self.executable, &self.arguments),
            exit_code: fault.exit_code(),
        }
    }
}

/// The executable and its arguments.
fn words(settings: &Settings) -> Result<(OsString, Vec<OsString>), NotStarted> {
    let image = match &settings.handshake {
        Some(directory) if settings.image_command => read_image(directory)?,
        _ => ImageCommand::default(),
    };
    let mut words = combine(image, &settings.words).into_iter();
    match words.next() {
        Some(executable) => Ok((executable, words.collect())),
        None => Err(NotStarted {
            errno: Errno::ENOENT,
            message: "the image has neither ENTRYPOINT nor CMD: name an executable".into(),
            exit_code: 127,
        }),
    }
}

/// Docker's rule: arguments take the place of the image's CMD, and its ENTRYPOINT comes before either.
fn combine(image: ImageCommand, given: &[OsString]) -> Vec<OsString> {
    let mut words: Vec<OsString> = image.entrypoint.into_iter().map(OsString::from).collect();
    if given.is_empty() {
        words.extend(image.command.into_iter().map(OsString::from));
    } else {
        words.extend_from_slice(given);
    }
    words
}

fn read_image(directory: &Path) -> Result<ImageCommand, NotStarted> {
    let told = |errno, why: &dyn std::fmt::Display| {
        let file = directory.join(handshake::IMAGE_COMMAND);
        let message = format!("could not read the image's command '{}': {why}", file.display());
        NotStarted::surroundings(errno, message)
    };
    let text = read(directory, handshake::IMAGE_COMMAND, MOST_IMAGE).map_err(|error| {
        let errno = errno_of(&error);
        told(errno, &errno.desc())
    })?;
    serde_json::from_slice(&text).map_err(|error| told(Errno::EINVAL, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_command_is_put_together_as_docker_does() {
        for (entrypoint, command, given, expected) in [
            (&["e", "1"][..], &[][..], &[][..], &["e", "1"][..]),
            (&["e", "1"], &[], &["x"], &["e", "1", "x"]),
            (&[], &["c", "2"], &[], &["c", "2"]),
            (&[], &["c", "2"], &["x", "y"], &["x", "y"]),
            (&["e"], &["c", "2"], &[], &["e", "c", "2"]),
            (&["e"], &["c", "2"], &["x"], &["e", "x"]),
            (&[], &[], &[], &[]),
            (&[], &[], &["x"], &["x"]),
        ] {
            let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let image = ImageCommand {
                entrypoint: list(entrypoint),
                command: list(command),
                ..ImageCommand::default()
            };
            let given: Vec<OsString> = given.iter().map(OsString::from).collect();
            assert_eq!(combine(image, &given), expected, "{entrypoint:?} {command:?} {given:?}");
        }
    }
}
