//! Commands that no job answers: for a job that does not exist, or that came after the command. And the end of all
//! commands: an hour after their answer they are deleted.
//!
//! Invariant: a command is answered here only after the API server itself said that it has no job.

use crate::{index::JobKey, observe, perform, run::Context};
use duj_api::{DockerUniverseCommand, DockerUniverseCommandStatus, DockerUniverseJob};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// An answered command stays this long.
const KEEP: SignedDuration = SignedDuration::from_hours(1);
const SWEEP: Duration = Duration::from_mins(1);

/// Looks at the commands of the places that are named, and of all places once a minute.
pub async fn look_after(context: Arc<Context>, mut places: mpsc::UnboundedReceiver<JobKey>) {
    context.index.wait_until_ready().await;
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let round = tokio::select! {
            place = places.recv() => match place {
                Some(place) => vec![place],
                None => return,
            },
            _ = sweep.tick() => context.index.places_with_commands(),
        };
        for place in round {
            for command in context.index.commands(&place) {
                if let Err(error) = look_at(&context, &place, &command).await {
                    tracing::warn!(
                        command = format!("{}/{}", place.namespace, command.name_any()),
                        "{error}"
                    );
                }
            }
        }
    }
}

async fn look_at(
    context: &Context,
    place: &JobKey,
    command: &DockerUniverseCommand,
) -> Result<(), perform::Error> {
    let name = command.name_any();
    if let Some(status) = &command.status {
        let old = |time: &Time| context.clock.now().duration_since(time.0) > KEEP;
        if status.answered.as_ref().is_some_and(old) {
            let uid = command.uid().unwrap_or_default();
            perform::forget(context, &place.namespace, &name, &uid).await?;
        }
        return Ok(());
    }
    let jobs: Api<DockerUniverseJob> = Api::namespaced(context.client.clone(), &place.namespace);
    let job = perform::call("look for a command's job", jobs.get_opt(&place.name)).await?;
    let message = match job {
        None => format!("job '{}' not found", place.name),
        Some(job) if !observe::is_for(command, &job) => {
            format!(
                "job '{}' not found: the one of that name was made after this command",
                place.name
            )
        }
        Some(_) => return Ok(()), // its own reconciliation answers
    };
    let status = DockerUniverseCommandStatus {
        accepted: 0,
        refused: 1,
        message,
        answered: Some(Time(context.clock.now())),
    };
    perform::answer(context, &place.namespace, &name, status).await
}
