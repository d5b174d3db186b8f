//! How far the caches are behind: the time from the answer to a write of our own until the watch tells of it.
//!
//! Invariant: a bounded number of writes is remembered for each kind, so that some are measured and none costs more than a
//! look at a few numbers. Versions of one kind are ordered numbers (KEP-5504), so a later version tells of an earlier one.

use super::labels::{Cache, Kind};
use crate::index::version;
use kube::{ResourceExt, runtime::watcher};
use prometheus_client::metrics::{
    counter::Counter,
    family::{Family, MetricConstructor},
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};
use tokio::time::Instant;

/// Writes of a kind that are remembered at the same time.
const SAMPLES: usize = 8;

/// Makes the histograms of lags: 1 ms to 33 s.
#[derive(Clone, Debug)]
pub(super) struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 2.0, 16))
    }
}

#[derive(Debug, Default)]
struct Watched {
    /// The newest version that the watch told.
    told: u64,
    /// When it told anything last.
    last: Option<Instant>,
    /// When the list began that is being told.
    list: Option<Instant>,
    /// Versions of our own writes that the watch has not told, and when they were answered; the oldest first.
    awaited: Vec<(u64, Instant)>,
}

/// The caches' lags.
#[derive(Debug)]
pub(super) struct Lag {
    jobs: Mutex<Watched>,
    pods: Mutex<Watched>,
    commands: Mutex<Watched>,
    pub(super) times: Family<Cache, Histogram, Buckets>,
    pub(super) awaited: Family<Cache, Gauge<f64, AtomicU64>>,
    pub(super) silence: Family<Cache, Gauge<f64, AtomicU64>>,
    pub(super) lists: Family<Cache, Counter>,
}

impl Default for Lag {
    fn default() -> Self {
        let lag = Self {
            jobs: Mutex::default(),
            pods: Mutex::default(),
            commands: Mutex::default(),
            times: Family::new_with_constructor(Buckets),
            awaited: Family::default(),
            silence: Family::default(),
            lists: Family::default(),
        };
        for cache in Kind::ALL.iter().copied() {
            drop(lag.times.get_or_create(&Cache { cache }));
            drop(lag.lists.get_or_create(&Cache { cache }));
        }
        lag.refresh();
        lag
    }
}

impl Lag {
    fn of(&self, kind: Kind) -> MutexGuard<'_, Watched> {
        let watched = match kind {
            Kind::Jobs => &self.jobs,
            Kind::Pods => &self.pods,
            Kind::Commands => &self.commands,
        };
        watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write of our own was answered with this version.
    pub(super) fn wrote(&self, kind: Kind, version: u64) {
        let mut watched = self.of(kind);
        if watched.told >= version {
            self.observe(kind, Duration::ZERO);
        } else if watched.awaited.len() < SAMPLES {
            watched.awaited.push((version, Instant::now()));
        }
    }

    /// What a watch tells.
    pub(super) fn told<K: ResourceExt>(&self, kind: Kind, event: &watcher::Event<K>) {
        let mut watched = self.of(kind);
        let now = Instant::now();
        watched.last = Some(now);
        let (told, list) = (watched.told, watched.list);
        let is_told: &dyn Fn(u64, Instant) -> bool = match event {
            watcher::Event::Init => {
                watched.list = Some(now);
                self.lists.get_or_create(&Cache { cache: kind }).inc();
                return;
            }
            // A list has no order of versions.
            watcher::Event::InitApply(_) => return,
            watcher::Event::InitDone => {
                watched.list = None;
                // A list has all that was written before it began; of what was written since, nothing is known.
                &move |_, at| list.is_none_or(|list| at <= list)
            }
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
                watched.told = told.max(version(object));
                let told = watched.told;
                &move |version, _| version <= told
            }
        };
        let after_list = matches!(event, watcher::Event::InitDone);
        watched.awaited.retain(|(version, at)| {
            let is_told = is_told(*version, *at);
            if is_told {
                self.observe(kind, at.elapsed());
            }
            !is_told && !after_list
        });
    }

    fn observe(&self, kind: Kind, lag: Duration) {
        self.times.get_or_create(&Cache { cache: kind }).observe(lag.as_secs_f64());
    }

    /// Brings those up to date that grow by themselves.
    pub(super) fn refresh(&self) {
        for cache in Kind::ALL.iter().copied() {
            let watched = self.of(cache);
            let age = |at: Option<Instant>| at.map_or(0.0, |at| at.elapsed().as_secs_f64());
            let awaited = age(watched.awaited.first().map(|(_, at)| *at));
            let silence = age(watched.last);
            drop(watched);
            self.awaited.get_or_create(&Cache { cache }).set(awaited);
            self.silence.get_or_create(&Cache { cache }).set(silence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};

    fn pod(version: u64) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.resource_version = Some(version.to_string());
        pod
    }

    /// Number of lags that were measured, and their sum in seconds.
    fn measured(lag: &Lag) -> (String, String) {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("lag", "", lag.times.clone());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let value = |name: &str| {
            let name = format!("lag_{name}{{cache=\"pods\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
        };
        (value("count"), value("sum"))
    }

    fn awaited(lag: &Lag) -> Duration {
        lag.refresh();
        let seconds = lag.awaited.get_or_create(&Cache { cache: Kind::Pods }).get();
        Duration::from_secs_f64(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_seen_when_the_watch_tells_it_or_a_later_one() {
        const SECOND: Duration = Duration::from_secs(1);
        let lag = Lag::default();
        lag.wrote(Kind::Pods, 10);
        tokio::time::advance(SECOND).await;
        lag.wrote(Kind::Pods, 12);
        lag.told(Kind::Pods, &Apply(pod(9)));
        assert_eq!((measured(&lag).0.as_str(), awaited(&lag)), ("0", SECOND));
        lag.told(Kind::Pods, &Apply(pod(11)));
        assert_eq!((measured(&lag).0.as_str(), awaited(&lag)), ("1", Duration::ZERO));
        tokio::time::advance(SECOND).await;
        lag.told(Kind::Pods, &Delete(pod(30)));
        assert_eq!(measured(&lag), ("2".into(), "2.0".into()));
        // The watch was faster than the answer.
        lag.wrote(Kind::Pods, 25);
        assert_eq!(measured(&lag), ("3".into(), "2.0".into()));
        assert_eq!(awaited(&lag), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_ends_the_waiting() {
        let lag = Lag::default();
        lag.wrote(Kind::Pods, 10);
        tokio::time::advance(Duration::from_secs(4)).await;
        lag.told::<Pod>(Kind::Pods, &Init);
        tokio::time::advance(Duration::from_millis(1)).await;
        lag.wrote(Kind::Pods, 20);
        lag.told(Kind::Pods, &InitApply(pod(15)));
        assert!(awaited(&lag) > Duration::from_secs(4));
        lag.told::<Pod>(Kind::Pods, &InitDone);
        assert_eq!(measured(&lag).0, "1");
        assert_eq!(awaited(&lag), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_a_few_are_remembered() {
        let lag = Lag::default();
        for version in 1..1000 {
            lag.wrote(Kind::Pods, version);
        }
        assert_eq!(lag.of(Kind::Pods).awaited.len(), SAMPLES);
    }
}
