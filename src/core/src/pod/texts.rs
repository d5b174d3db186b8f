//! The job as one proc has it: its macros replaced, in every field that may have them.
//!
//! Invariants: names of Kubernetes' objects are none of these fields, so which of them a pod reads does not depend on an item;
//! what a macro put into a path or a URL keeps to the rules that the API server applied to the text as it was written.

use super::Attempt;
use crate::{
    macros::{self, Scope},
    queue::Items,
};
use duj_api::{
    DockerUniverseJob, DockerUniverseJobStatus,
    files::{ClaimPath, Files},
    rules,
};
use jiff::Timestamp;
use regex::Regex;
use std::sync::LazyLock;

/// The job with the texts of the attempt's proc. `Err` is one line that names the text and says what to write instead.
pub(super) fn of_proc(
    job: &DockerUniverseJob,
    items: &Items,
    attempt: Attempt,
) -> Result<DockerUniverseJob, String> {
    let texts = Texts {
        scope: Scope {
            uid: job.metadata.uid.as_deref().unwrap_or_default(),
            cluster_id: attempt.cluster_id,
            proc: attempt.proc,
            place: items.place(attempt.proc),
            submitted: job
                .metadata
                .creation_timestamp
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        },
    };
    // The log and the records are of no use to a pod, and long.
    let image = job.status.as_ref().map(|status| status.image.clone());
    let mut own = DockerUniverseJob {
        metadata: job.metadata.clone(),
        spec: job.spec.clone(),
        status: image
            .map(|image| DockerUniverseJobStatus { image, ..DockerUniverseJobStatus::default() }),
    };
    let spec = &mut own.spec;
    texts.optional("executable", &mut spec.executable, is_executable, rules::EXECUTABLE_MESSAGE)?;
    for (number, argument) in spec.arguments.iter_mut().enumerate() {
        texts.any(&format!("arguments[{number}]"), argument)?;
    }
    for variable in &mut spec.environment {
        if let Some(value) = &mut variable.value {
            texts.any(&format!("environment.{}", variable.name), value)?;
        }
    }
    texts.files(&mut spec.files)?;
    Ok(own)
}

struct Texts<'a> {
    scope: Scope<'a>,
}

impl Texts<'_> {
    /// A text that may be anything but NUL, which no process can be given.
    fn any(&self, field: &str, text: &mut String) -> Result<(), String> {
        self.ruled(field, text, |text| !text.contains('\0'), "it cannot have a NUL character")
    }

    /// A text that has to keep to a rule when its macros are replaced.
    fn ruled(
        &self,
        field: &str,
        text: &mut String,
        rule: impl Fn(&str) -> bool,
        message: &str,
    ) -> Result<(), String> {
        let expanded = macros::expand(text, field, &self.scope)?;
        if expanded != *text && !rule(&expanded) {
            let (written, shown) = (macros::brief(text), macros::brief(&expanded));
            return Err(format!("{field} '{written}' comes to '{shown}' in this proc: {message}"));
        }
        *text = expanded;
        Ok(())
    }

    fn optional(
        &self,
        field: &str,
        text: &mut Option<String>,
        rule: impl Fn(&str) -> bool,
        message: &str,
    ) -> Result<(), String> {
        text.as_mut().map_or(Ok(()), |text| self.ruled(field, text, rule, message))
    }

    fn files(&self, files: &mut Files) -> Result<(), String> {
        self.optional("input", &mut files.input, is_stdin, rules::STDIN_MESSAGE)?;
        for (field, file) in [("output", &mut files.output), ("error", &mut files.error)] {
            self.optional(field, file, is_scratch_file, rules::SCRATCH_FILE_MESSAGE)?;
        }
        for (number, input) in files.transfer_input.iter_mut().enumerate() {
            let field = |part| format!("transferInput[{number}].{part}");
            let (name, message) = (&mut input.name, rules::SCRATCH_FILE_MESSAGE);
            self.optional(&field("name"), name, is_scratch_file, message)?;
            self.claim(&field("persistentVolumeClaim.path"), &mut input.persistent_volume_claim)?;
            self.url(&field("url"), &mut input.url)?;
        }
        let lists = [
            ("transferOutput", &mut files.transfer_output),
            ("transferCheckpoint", &mut files.transfer_checkpoint),
        ];
        for (list, names) in lists {
            for (number, name) in names.iter_mut().flatten().enumerate() {
                let (field, message) = (format!("{list}[{number}]"), rules::SCRATCH_FILES_MESSAGE);
                self.ruled(&field, name, is_in_scratch, message)?;
            }
        }
        for (number, remap) in files.transfer_output_remaps.iter_mut().enumerate() {
            let field = |part| format!("transferOutputRemaps[{number}].{part}");
            let message = rules::SCRATCH_FILE_MESSAGE;
            self.ruled(&field("name"), &mut remap.name, is_scratch_file, message)?;
            self.optional(&field("to"), &mut remap.to, is_scratch_file, message)?;
            let path = field("persistentVolumeClaim.path");
            self.claim(&path, &mut remap.persistent_volume_claim)?;
            self.url(&field("url"), &mut remap.url)?;
            let claim = remap.persistent_volume_claim.as_ref().map(|claim| claim.path.as_str());
            let place = claim.or(remap.url.as_deref());
            if place.is_some_and(|place| place.is_empty() || place.ends_with('/')) {
                return Err(format!(
                    "transferOutputRemaps[{number}]: {}",
                    rules::REMAP_FILE_MESSAGE
                ));
            }
        }
        let places = [
            ("outputDestination", &mut files.output_destination),
            ("checkpointDestination", &mut files.checkpoint_destination),
        ];
        for (place, at) in places {
            let Some(at) = at else { continue };
            let path = format!("{place}.persistentVolumeClaim.path");
            self.claim(&path, &mut at.persistent_volume_claim)?;
            self.url(&format!("{place}.url"), &mut at.url)?;
        }
        Ok(())
    }

    fn claim(&self, field: &str, claim: &mut Option<ClaimPath>) -> Result<(), String> {
        let Some(claim) = claim else { return Ok(()) };
        self.ruled(field, &mut claim.path, is_claim_path, rules::CLAIM_PATH_MESSAGE)
    }

    fn url(&self, field: &str, url: &mut Option<String>) -> Result<(), String> {
        let message = "it must be an http://, https:// or s3:// URL without white space, user, password and, in an S3 key, '//'";
        self.optional(field, url, is_url, message)
    }
}

fn has_part(path: &str, parts: &[&str]) -> bool {
    path.split('/').any(|part| parts.contains(&part))
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_ascii_control())
}

fn is_executable(text: &str) -> bool {
    let brought = text.strip_prefix("./");
    let is_found = text.starts_with('/') || !text.contains('/');
    let is_brought = brought.is_some_and(|name| !name.is_empty() && !has_part(name, &["..", ""]));
    is_printable(text) && (is_found || is_brought)
}

fn is_stdin(text: &str) -> bool {
    is_printable(text) && !text.ends_with('/') && !has_part(text, &["..", "."])
}

fn is_scratch_file(text: &str) -> bool {
    is_printable(text) && !has_part(text, &["..", ".", ""])
}

/// With `*`, `?` and a slash at the end.
fn is_in_scratch(text: &str) -> bool {
    let path = text.strip_suffix('/').unwrap_or(text);
    is_printable(text) && !has_part(path, &["..", ".", ""])
}

fn is_claim_path(text: &str) -> bool {
    let path = text.strip_suffix('/').unwrap_or(text);
    text.is_empty() || (is_printable(text) && !has_part(path, &["..", ".", ""]))
}

fn is_url(text: &str) -> bool {
    static URL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(rules::URL).ok());
    let form = URL.as_ref().is_some_and(|form| form.is_match(text));
    let behind = text.split_once("://").map_or("", |(_, behind)| behind);
    let host = behind.split('/').next().unwrap_or_default();
    let key = !text.starts_with("s3://") || !behind.contains("//");
    form && is_printable(text) && !host.contains('@') && key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_macros_put_into_paths_keeps_to_the_rules() {
        for (path, file, claim, stdin, program) in [
            ("a", true, true, true, true),
            ("a/b.c", true, true, true, false),
            ("/a", false, false, true, true),
            ("./a", false, false, false, true),
            ("../a", false, false, false, false),
            ("a/../b", false, false, false, false),
            ("a//b", false, false, true, false),
            ("a/", false, true, false, false),
            ("", false, true, false, false),
            ("a\nb", false, false, false, false),
        ] {
            assert_eq!(is_scratch_file(path), file, "{path}");
            assert_eq!(is_claim_path(path), claim, "{path}");
            assert_eq!(is_stdin(path), stdin, "{path}");
            assert_eq!(is_executable(path), program, "{path}");
        }
        for (url, right) in [
            ("https://host/a/b?c=d", true),
            ("s3://bucket/key", true),
            ("s3://bucket/a//b", false),
            ("https://user:word@host/", false),
            ("https://host/a b", false),
            ("file:///etc/passwd", false),
            ("https:///a", false),
        ] {
            assert_eq!(is_url(url), right, "{url}");
        }
    }
}
