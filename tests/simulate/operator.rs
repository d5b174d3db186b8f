//! One operator's process: the real code, with a connection to the model for its client.

use crate::{
    connection::{Connection, Stop},
    run::Run,
    world::OWN_NAMESPACE,
};
use docker_universe::{
    leadership::Candidate,
    run::{Installation, operate},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// One operator's process, from its start to its end.
pub(crate) struct Process {
    pub(crate) who: String,
    pub(crate) alive: watch::Sender<bool>,
    /// Its pod's name, where it is elected.
    pub(crate) pod: Option<String>,
    /// Turns `true` when it is told to end.
    pub(crate) told: watch::Receiver<bool>,
    pub(crate) stop: Arc<Stop>,
}

impl Run {
    /// The operator itself, until it dies.
    pub(crate) async fn be_operator(self: Arc<Self>, process: Process) {
        let Process { who, alive, pod, mut told, stop } = process;
        self.site.with(|world| world.tell(&who, "starts"));
        let mut life = alive.subscribe();
        let connection = Connection {
            site: self.site.clone(),
            who: who.clone(),
            plan: self.plan.clone(),
            counters: self.counters.clone(),
            alive,
            elected: pod.clone(),
            stop,
        };
        let client = kube::Client::new(connection, "default");
        let candidate = pod.map(|identity| Candidate {
            client: client.clone(),
            namespace: OWN_NAMESPACE.into(),
            lease: "docker-universe-operator".into(),
            identity,
        });
        let installation = Installation {
            namespace: None,
            own_namespace: OWN_NAMESPACE.into(),
            own_name: who.clone(),
            clock: self.clock,
            settings: self.settings.clone(),
            candidate,
        };
        let (context, mut tasks) = operate(client, installation);
        let told = async {
            if told.wait_for(|told| *told).await.is_err() {
                std::future::pending::<()>().await; // nobody will
            }
            context.claim.resign();
            let ended = tokio::time::timeout(Duration::from_secs(2), context.claim.ended()).await;
            self.site.with(|world| world.tell(&who, &format!("ends, {ended:?}")));
        };
        tokio::select! {
            biased;
            _ = life.wait_for(|alive| !alive) => {}
            () = told => {}
            ended = tasks.join_next() => {
                let lost = matches!(&ended, Some(Ok(Err(error))) if error.to_string().starts_with("the lease went to"));
                self.site.with(|world| if lost {
                    world.tell(&who, "lost the lease, and ends");
                } else {
                    world.violate(format!("I10: a task of {who} ended: {ended:?}"));
                });
            }
        }
    }
}
