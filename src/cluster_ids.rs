//! `ClusterId`s: numbers that no two jobs share and that only grow, as a schedd gives them.
//!
//! They come in blocks out of one `ConfigMap`, so that a job costs no write for its number. Invariant: a block is
//! reserved by a guarded write before any number of it is used; a number that was reserved and not used is lost, never given twice.

use crate::perform::{Error, call};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use std::{collections::BTreeMap, ops::Range};
use tokio::sync::Mutex;

/// Name of the `ConfigMap` in the operator's namespace. It stays when the operator is uninstalled.
pub const NAME: &str = "docker-universe-cluster-ids";
const KEY: &str = "next";
/// Numbers in the first block of a process. Each block that is used up is followed by one of twice its size: who needs few
/// wastes few, and who needs many writes seldom.
const BLOCK: i64 = 100;
/// Numbers in the largest block.
const LARGEST: i64 = 6400;
/// A conflict means that somebody else reserved a block meanwhile.
const TRIES: usize = 10;

/// Numbers that are reserved and not used, and how many the next reservation takes.
#[derive(Debug)]
struct Block {
    left: Range<i64>,
    next: i64,
}

/// Hands out numbers.
pub struct ClusterIds {
    store: Api<ConfigMap>,
    block: Mutex<Block>,
    /// The highest number that is known to be in use, for a store that was lost.
    floor: std::sync::atomic::AtomicI64,
}

impl ClusterIds {
    /// Numbers from the store in this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            store: Api::namespaced(client, namespace),
            block: Mutex::new(Block { left: 0..0, next: BLOCK }),
            floor: std::sync::atomic::AtomicI64::new(0),
        }
    }

    /// A job has this number.
    pub fn seen(&self, id: i64) {
        self.floor.fetch_max(id, std::sync::atomic::Ordering::Relaxed);
    }

    /// The next number.
    pub async fn next(&self) -> Result<i64, Error> {
        let mut block = self.block.lock().await;
        if block.left.is_empty() {
            block.left = self.reserve(block.next).await?;
            block.next = (block.next * 2).min(LARGEST);
        }
        let id = block.left.start;
        block.left.start += 1;
        Ok(id)
    }

    async fn reserve(&self, size: i64) -> Result<Range<i64>, Error> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.try_reserve(size).await {
                Ok(block) => return Ok(block),
                Err(error) if error.is_conflict() || error.is_already_exists() => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::ClusterIds("no block could be reserved".into())))
    }

    async fn try_reserve(&self, size: i64) -> Result<Range<i64>, Error> {
        let floor = self.floor.load(std::sync::atomic::Ordering::Relaxed) + 1;
        let Some(mut store) = call("read the next cluster id", self.store.get_opt(NAME)).await?
        else {
            let store = ConfigMap {
                metadata: ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() },
                data: Some(BTreeMap::from([(KEY.into(), (floor + size).to_string())])),
                ..ConfigMap::default()
            };
            call("reserve cluster ids", self.store.create(&PostParams::default(), &store)).await?;
            return Ok(floor..floor + size);
        };
        let next = store.data.as_ref().and_then(|data| data.get(KEY)).cloned().unwrap_or_default();
        let next: i64 = next.parse().map_err(|_| {
            Error::ClusterIds(format!(
                "key '{KEY}' of ConfigMap '{NAME}' is '{next}', not a number"
            ))
        })?;
        let first = next.max(floor);
        store.data.get_or_insert_default().insert(KEY.into(), (first + size).to_string());
        store.managed_fields_mut().clear();
        // Replacing needs the resource version that was read: a second operator gets a conflict, not the same block.
        call("reserve cluster ids", self.store.replace(NAME, &PostParams::default(), &store))
            .await?;
        Ok(first..first + size)
    }
}
