//! Sending files to S3.
//!
//! Invariant: an object appears whole or not at all; the parts of one that is given up are removed.

use std::{io, os::unix::fs::FileExt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    ObjectStoreExt as _, PutPayload,
    multipart::{MultipartStore, PartId},
    path::Path as Key,
};

use super::{Bucket, MIB, PARTS_AT_ONCE, key_of, limit, service};
use crate::{
    fault::Fault,
    place::{Context, Outgoing},
    retry::{STALL, persist, within},
};

/// S3's own least size of a part but the last.
const PART: u64 = 5 * MIB;
/// S3 takes at most 10,000.
const PARTS: u64 = 9_000;
/// What a part may have in memory.
const LARGEST_PART: u64 = 32 * MIB;
/// A service that puts many parts together takes its time.
const COMPLETION: Duration = Duration::from_mins(10);

/// Puts a file there.
pub(in crate::place) async fn put(
    context: &Context,
    bucket: &Bucket,
    key: &str,
    file: &Outgoing,
) -> Result<(), Fault> {
    let what = bucket.what("PUT", key);
    let key = key_of(key, &what)?;
    if file.size <= PART {
        let _room = context.room(file.size).await?;
        let bytes = read(context, file, 0, file.size).await?;
        return persist(context.retry(), async || {
            context.go_on()?;
            let put = async {
                let put = bucket.store.put(&key, PutPayload::from(bytes.clone())).await;
                put.map_err(|error| service::fault(&error, &what))
            };
            within(limit(file.size), &what, put).await.map(drop)
        })
        .await;
    }
    let id = persist(context.retry(), async || {
        let begun = async {
            let begun = bucket.store.create_multipart(&key).await;
            begun.map_err(|error| service::fault(&error, &what))
        };
        within(STALL, &what, begun).await
    })
    .await?;
    let done = put_parts(context, bucket, &key, &id, file, &what).await;
    if done.is_err() {
        // Best effort: the service's own rules remove what this does not.
        let aborted = bucket.store.abort_multipart(&key, &id);
        let _ = tokio::time::timeout(STALL, aborted).await;
    }
    done
}

async fn put_parts(
    context: &Context,
    bucket: &Bucket,
    key: &Key,
    id: &String,
    file: &Outgoing,
    what: &str,
) -> Result<(), Fault> {
    let part = PART.max(file.size.div_ceil(PARTS).next_multiple_of(MIB));
    if part > LARGEST_PART {
        let most = (LARGEST_PART * PARTS) >> 30;
        return Err(Fault::permanent(27, format!("{what}: the file is larger than {most} GiB")));
    }
    let parts = (0..file.size.div_ceil(part)).map(|number| async move {
        let (start, end) = (number * part, ((number + 1) * part).min(file.size));
        let _room = context.room(end - start).await?;
        context.go_on()?;
        let bytes = read(context, file, start, end).await?;
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        persist(context.retry(), async || {
            context.go_on()?;
            let put = async {
                let bytes = PutPayload::from(bytes.clone());
                let put = bucket.store.put_part(key, id, index, bytes).await;
                put.map_err(|error| service::fault(&error, what))
            };
            within(limit(end - start), what, put).await
        })
        .await
    });
    let parts: Vec<PartId> = stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
    persist(context.retry(), async || {
        let completed = async {
            let completed = bucket.store.complete_multipart(key, id, parts.clone()).await;
            completed.map_err(|error| service::fault(&error, what))
        };
        within(COMPLETION, what, completed).await.map(drop)
    })
    .await
}

/// Bytes of a file, read off the threads that speak to servers.
async fn read(context: &Context, file: &Outgoing, start: u64, end: u64) -> Result<Bytes, Fault> {
    let (from, blocks) = (Arc::clone(&file.file), context.blocks.clone());
    let read = tokio::task::spawn_blocking(move || {
        let length = usize::try_from(end - start).unwrap_or_default();
        blocks.fill(length, |bytes| from.read_exact_at(bytes, start))
    });
    let read = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    read.map_err(|error| file.fault(&error))
}
