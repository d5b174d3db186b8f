//! What is done to the operator and to the API server, by the clock. Invariant: when it has ended, the API server serves.

use super::operator::Killer;
use crate::cluster::{Change, Cluster};
use anyhow::anyhow;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The operator is killed this often.
const KILL: Duration = Duration::from_secs(3);
/// Longer than any call of the operator waits.
const FROZEN: Duration = Duration::from_secs(12);
const API_SERVER: &str = "kube-apiserver";
const TICK: Duration = Duration::from_millis(50);

/// How often what was done to the API server.
pub(super) type Deeds = BTreeMap<&'static str, u64>;

/// A storm that goes on.
pub(super) struct Storm {
    end: Arc<AtomicBool>,
    kills: JoinHandle<()>,
    server: JoinHandle<anyhow::Result<Deeds>>,
}

impl Storm {
    /// Begins to kill.
    pub(super) fn begin(cluster: &Cluster, killer: Killer, server_every: Duration) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (kills_end, server_end) = (end.clone(), end.clone());
        let cluster = cluster.clone();
        Self {
            end,
            kills: thread::spawn(move || {
                while wait(KILL, &kills_end) {
                    killer.kill("every 3 seconds");
                }
            }),
            server: thread::spawn(move || trouble(&cluster, server_every, &server_end)),
        }
    }

    /// Ends it; what was done to the API server.
    pub(super) async fn end(self) -> anyhow::Result<Deeds> {
        self.end.store(true, Ordering::Relaxed);
        let joined = tokio::task::spawn_blocking(move || (self.kills.join(), self.server.join()));
        let (kills, server) = joined.await?;
        kills.map_err(|_| anyhow!("the killing panicked"))?;
        server.map_err(|_| anyhow!("the trouble of the API server panicked"))?
    }
}

fn trouble(cluster: &Cluster, every: Duration, end: &AtomicBool) -> anyhow::Result<Deeds> {
    let mut deeds = Deeds::new();
    let kinds = ["killed", "ended and started", "frozen for 12 s"];
    for kind in kinds.iter().cycle() {
        if !wait(every, end) {
            break;
        }
        match *kind {
            "killed" => cluster.change(Change::Kill, API_SERVER)?,
            "frozen for 12 s" => {
                cluster.change(Change::Freeze, API_SERVER)?;
                thread::sleep(FROZEN);
                cluster.change(Change::Thaw, API_SERVER)?;
            }
            _ => {
                cluster.change(Change::Stop, API_SERVER)?;
                cluster.change(Change::Start, API_SERVER)?;
            }
        }
        *deeds.entry(*kind).or_default() += 1;
    }
    Ok(deeds)
}

/// Waits; whether the end has not come.
fn wait(time: Duration, end: &AtomicBool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < time && !end.load(Ordering::Relaxed) {
        thread::sleep(TICK);
    }
    !end.load(Ordering::Relaxed)
}
