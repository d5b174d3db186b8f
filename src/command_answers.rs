//! Commands that no job answers: by a constraint, for a job that does not exist, or for one that came after the command. And
//! the end of all commands: an hour after their answer they are deleted.
//!
//! Invariant: a command is answered here only after the API server itself said that it has no job.

use crate::{
    constraint::{Progress, RollCall},
    index::JobKey,
    observe, perform,
    run::Context,
};
use duj_api::{DockerUniverseCommand, DockerUniverseCommandStatus, DockerUniverseJob};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt, runtime::reflector::Store};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

/// An answered command stays this long.
const KEEP: SignedDuration = SignedDuration::from_hours(1);
const SWEEP: Duration = Duration::from_mins(1);
/// Jobs that carry out a command by constraint are looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Looks at the commands of the places that are named, and of all places once a minute.
pub async fn look_after(
    context: Arc<Context>,
    jobs: Store<DockerUniverseJob>,
    mut places: mpsc::UnboundedReceiver<JobKey>,
) {
    context.index.wait_until_ready().await;
    let mut roll_call = RollCall::new(jobs);
    let mut under_way = HashSet::new();
    let (mut sweep, mut again) = (interval(SWEEP), interval(LOOK_AGAIN));
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if !context.claim.is_current() {
            // Who leads first looks at all places; what is told until then need not be kept.
            tokio::select! {
                place = places.recv() => if place.is_none() { return },
                () = context.claim.wait() => sweep.reset_immediately(),
            }
            continue;
        }
        let round = tokio::select! {
            place = places.recv() => match place {
                Some(place) => vec![place],
                None => return,
            },
            _ = sweep.tick() => {
                if under_way.is_empty() {
                    roll_call.rest();
                }
                context.index.places_with_commands()
            }
            _ = again.tick(), if !under_way.is_empty() => under_way.drain().collect(),
        };
        for place in round {
            for command in context.index.commands(&place) {
                match look_at(&context, &mut roll_call, &place, &command).await {
                    Ok(Progress::Answered) => {}
                    Ok(Progress::UnderWay) => {
                        under_way.insert(place.clone());
                    }
                    Err(error) if error.is_not_leading() => {}
                    Err(error) => {
                        let command = format!("{}/{}", place.namespace, command.name_any());
                        tracing::warn!(command, "{error}");
                        if place.name.is_empty() {
                            under_way.insert(place.clone());
                        }
                    }
                }
            }
        }
    }
}

async fn look_at(
    context: &Context,
    roll_call: &mut RollCall,
    place: &JobKey,
    command: &DockerUniverseCommand,
) -> Result<Progress, perform::Error> {
    let name = command.name_any();
    if let Some(answered) = command.status.as_ref().and_then(|status| status.answered.as_ref()) {
        if context.clock.now().duration_since(answered.0) > KEEP {
            let uid = command.uid().unwrap_or_default();
            perform::forget(context, &place.namespace, &name, &uid).await?;
        }
        return Ok(Progress::Answered);
    }
    if let Some(constraint) = &command.spec.constraint {
        return roll_call.go_on(context, command, &constraint.0).await;
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
        Some(_) => return Ok(Progress::Answered), // its own reconciliation answers
    };
    let status = DockerUniverseCommandStatus {
        accepted: 0,
        refused: 1,
        message,
        answered: Some(Time(context.clock.now())),
        ..DockerUniverseCommandStatus::default()
    };
    perform::answer(context, command, &status).await?;
    Ok(Progress::Answered)
}
