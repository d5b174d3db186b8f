//! Two pods with an operator each, of which one is elected. They are killed and started again, told to end and replaced, and
//! stopped in the middle of a write, to go on when the other one has long taken over.

use crate::{chance::Chance, connection::Stop, operator::Process, run::Run};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// They are disturbed for so long; then one of them is left.
const DISTURBED: Duration = Duration::from_secs(100);

/// What becomes of a process.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is killed after so long; its container is started again in its pod.
    Killed(Duration),
    /// It is told to end after so long, as in a rolling update; another pod follows.
    Ended(Duration),
    /// It is stopped at the write with this number, for so long, and killed after so long.
    Stopped(u64, Duration, Duration),
}

impl Fate {
    fn of(chance: &mut Chance) -> Self {
        let length = chance.millis(3_000, 40_000);
        match chance.below(5) {
            0 => Self::Killed(length),
            1 => Self::Ended(length),
            _ => Self::Stopped(chance.below(5), chance.millis(500, 60_000), 3 * length),
        }
    }
}

/// Keeps both pods.
pub(crate) async fn keep(run: Arc<Run>, seed: u64, relief: watch::Receiver<u64>) {
    let mut pods = JoinSet::new();
    for place in ["a", "b"] {
        pods.spawn(keep_one(run.clone(), seed, place, relief.clone()));
    }
    while pods.join_next().await.is_some() {}
}

async fn keep_one(run: Arc<Run>, seed: u64, place: &'static str, mut relief: watch::Receiver<u64>) {
    let mut chance = Chance::of(seed, &format!("pod {place}"));
    let mut generation = 1;
    tokio::time::sleep(chance.millis(0, 3_000)).await;
    for number in 1.. {
        let disturbed = run.site.with(|world| world.elapsed()) < DISTURBED;
        if !disturbed && place == "b" {
            return;
        }
        let fate = Fate::of(&mut chance);
        let stop = match fate {
            Fate::Stopped(write, length, _) if disturbed => Stop::at(write, length),
            _ => Stop::default(),
        };
        let (alive, _) = watch::channel(true);
        let (tell, told) = watch::channel(false);
        let process = Process {
            who: format!("{place}{generation}.{number}"),
            alive: alive.clone(),
            pod: Some(format!("pod-{place}-{generation}")),
            told,
            stop: Arc::new(stop),
        };
        let mut operator = Box::pin(run.clone().be_operator(process));
        if disturbed {
            let (Fate::Killed(time) | Fate::Ended(time) | Fate::Stopped(_, _, time)) = fate;
            if tokio::time::timeout(time, &mut operator).await.is_err() {
                if let Fate::Ended(_) = fate {
                    tell.send_replace(true);
                    operator.await;
                    generation += 1;
                } else {
                    run.counters.kills.fetch_add(1, Ordering::Relaxed);
                    run.site.with(|world| world.tell(place, "is killed"));
                }
            }
        } else {
            tokio::select! {
                biased;
                () = operator => {}
                _ = relief.changed() => {}
            }
        }
        alive.send_replace(false);
        tokio::time::sleep(chance.millis(200, 4_000)).await;
    }
}
