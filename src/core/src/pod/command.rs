//! What runs in container `job`: the starter's arguments and the user's command behind them.
//!
//! Invariant: the words of the job, as this proc has them, reach the command as they stand.

use super::{Attempt, Requests, TMP, VAR_TMP, environment, files, max_vacate_time, unexpanded};
use crate::{
    fate,
    settings::{Delivery, Settings},
};
use duj_api::{DockerUniverseJob, DockerUniverseJobSpec, job::Signal, names, status::Image};
use duj_protocol::flags;

/// The image that runs: the one that was found by the job's reference, once that is known.
pub(super) fn image(job: &DockerUniverseJob) -> String {
    let name = &job.spec.image;
    let pulled = job.spec.image_pull_policy != Some(duj_api::job::ImagePullPolicy::Never);
    match known_image(job) {
        Some(image) if pulled && !name.contains('@') && !image.digest.is_empty() => {
            format!("{}@{}", fate::without_tag(name), image.digest)
        }
        _ => name.clone(),
    }
}

/// What is known of the image by which the job names it now.
fn known_image(job: &DockerUniverseJob) -> Option<&Image> {
    let image = job.status.as_ref()?.image.as_ref()?;
    (image.name == job.spec.image && needs_image(&job.spec)).then_some(image)
}

/// Whether a job's command depends on what its image runs by itself.
pub(crate) fn needs_image(spec: &DockerUniverseJobSpec) -> bool {
    spec.executable.is_none() || spec.override_entrypoint == Some(false)
}

/// Whether that has to be found out by the pod itself.
pub(crate) fn asks_for_image(job: &DockerUniverseJob, delivery: Delivery) -> bool {
    needs_image(&job.spec) && known_image(job).is_none() && delivery != Delivery::None
}

/// The user's command, without what only the pod's own `prepare` knows.
fn command(job: &DockerUniverseJob) -> Vec<String> {
    let spec = &job.spec;
    let own = spec.executable.iter().chain(&spec.arguments).map(|word| unexpanded(word));
    let Some(image) = known_image(job) else { return own.collect() };
    let own: Vec<String> = own.collect();
    let of_image = |words: &[String]| words.iter().map(|word| unexpanded(word)).collect();
    let mut words: Vec<String> = of_image(&image.entrypoint);
    words.extend(if own.is_empty() { of_image(&image.command) } else { own });
    words
}

/// The container's command and arguments.
pub(super) fn of(
    job: &DockerUniverseJob,
    settings: &Settings,
    requests: &Requests,
    attempt: Attempt,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    if attempt.delivery == Delivery::None {
        let own = command(job);
        return (None, (!own.is_empty()).then_some(own));
    }
    let arguments = starter_arguments(job, settings, requests, attempt);
    (Some(vec![names::STARTER.into()]), Some(arguments))
}

fn starter_arguments(
    job: &DockerUniverseJob,
    settings: &Settings,
    requests: &Requests,
    attempt: Attempt,
) -> Vec<String> {
    let spec = &job.spec;
    let mut arguments: Vec<String> = vec![
        flags::RUN.into(),
        flags::SCRATCH.into(),
        names::SCRATCH.into(),
        flags::MAX_VACATE_TIME.into(),
        max_vacate_time(spec, settings).to_string(),
        flags::ALSO_COUNT.into(),
        TMP.into(),
        flags::ALSO_COUNT.into(),
        VAR_TMP.into(),
        flags::CONTROL.into(),
        names::CONTROL_MOUNT.into(),
        flags::THREADS.into(),
        requests.threads().to_string(),
    ];
    let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    let given = environment::given(spec);
    if !given.is_empty() {
        flag(flags::GIVEN, given.join(","));
    }
    if let Some(signal) = spec.kill_sig.filter(|signal| *signal != Signal::default()) {
        flag(flags::KILL_SIGNAL, signal.name().into());
    }
    if let Some(duration) = spec.lease_duration {
        flag(flags::LEASE_DURATION, duration.to_string());
    }
    if let Some(limit) = requests.disk_bytes {
        flag(flags::DISK_LIMIT, limit.to_string());
    }
    let streams = [
        (flags::INPUT, &spec.files.input),
        (flags::OUTPUT, &spec.files.output),
        (flags::ERROR, &spec.files.error),
    ];
    for (name, file) in streams {
        if let Some(file) = file {
            flag(name, unexpanded(file));
        }
    }
    if let Some(code) = spec.files.checkpoint_exit_code {
        flag(flags::CHECKPOINT_EXIT_CODE, code.to_string());
    }
    let asks = asks_for_image(job, attempt.delivery);
    let prepares = files::prepares(job, attempt.delivery);
    if prepares || files::sends(&spec.files) {
        flag(flags::HANDSHAKE, names::HANDSHAKE.into());
    }
    if asks {
        arguments.push(flags::IMAGE_COMMAND.into());
    }
    // Who wants nothing to be sent knows what is left.
    let wants_nothing = spec.files.transfer_output.as_ref().is_some_and(Vec::is_empty);
    if !files::has_destination(&spec.files) && !wants_nothing {
        arguments.push(flags::TELL_LEFT.into());
    }
    arguments.push("--".into());
    arguments.extend(command(job));
    arguments
}
