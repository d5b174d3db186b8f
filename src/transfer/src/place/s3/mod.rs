//! Files in S3.
//!
//! Invariant: an object appears whole or not at all, and what was begun and given up is aborted; what is read by parts is
//! one and the same object.

mod service;
mod upload;

pub(super) use upload::put;

use std::{fs, io, path::Path, time::Duration};

use bytes::Bytes;
use duj_protocol::transfer::S3;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt as _,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as Key,
};

use super::Context;
use crate::{
    fault::Fault,
    names,
    retry::{Retry, STALL, persist, within},
    scratch::Unfinished,
};

const MIB: u64 = 1 << 20;
/// Bytes that are asked for at once.
const RANGE: u64 = 8 * MIB;
/// How much of a range's bytes is in memory at most.
const RANGE_ROOM: u64 = 4 * MIB;
/// Bytes that are written to the disk at once.
const BLOCK: usize = 1 << 20;
/// Ranges and parts of one file at a time.
const PARTS_AT_ONCE: usize = 8;
/// The slowest line that is not given up, in bytes a second.
const SLOWEST: u64 = 50_000;
/// Objects that a directory may have.
const OBJECTS: usize = 100_000;

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    store: AmazonS3,
    name: String,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its key.
    pub(crate) key: String,
    /// Bytes.
    pub(crate) size: u64,
}

impl Bucket {
    /// Reads the credentials; speaks to nobody yet.
    pub(super) fn open(name: &str, service: &S3) -> Result<Self, Fault> {
        let builder = match &service.credentials {
            Some(directory) => with_credentials(AmazonS3Builder::new(), directory)?,
            None => AmazonS3Builder::from_env(),
        };
        let mut builder = builder
            .with_bucket_name(name)
            .with_region(service.region.as_deref().unwrap_or("us-east-1"))
            .with_retry(service::no_retries())
            .with_http_connector(service::Connector);
        if let Some(endpoint) = &service.endpoint {
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_allow_http(endpoint.starts_with("http://"));
        } else {
            // A bucket with a dot in its name fits no certificate.
            builder = builder.with_virtual_hosted_style_request(!name.contains('.'));
        }
        let store = builder.build().map_err(|error| {
            Fault::permanent(22, format!("the bucket '{}': {error}", names::one_line(name, 80)))
        })?;
        Ok(Self { store, name: name.to_owned() })
    }

    /// What is being done, and the object in the form of a URL.
    pub(crate) fn what(&self, doing: &str, key: &str) -> String {
        format!("{doing} s3://{}/{}", self.name, names::one_line(key, 300))
    }
}

fn with_credentials(builder: AmazonS3Builder, directory: &str) -> Result<AmazonS3Builder, Fault> {
    let read = |name: &str| {
        let path = Path::new(directory).join(name);
        let text = fs::read_to_string(&path).map(|text| text.trim().to_owned());
        text.map_err(|error| {
            (error.kind(), Fault::io(&error, &format!("reading '{}'", path.display())))
        })
    };
    let builder = builder
        .with_access_key_id(read("AWS_ACCESS_KEY_ID").map_err(|(_, fault)| fault)?)
        .with_secret_access_key(read("AWS_SECRET_ACCESS_KEY").map_err(|(_, fault)| fault)?);
    match read("AWS_SESSION_TOKEN") {
        Ok(token) if !token.is_empty() => Ok(builder.with_token(token)),
        Ok(_) | Err((io::ErrorKind::NotFound, _)) => Ok(builder),
        Err((_, fault)) => Err(fault),
    }
}

fn key_of(key: &str, what: &str) -> Result<Key, Fault> {
    Key::parse(key).map_err(|error| Fault::permanent(22, format!("{what}: {error}")))
}

/// Everything below a prefix, which is taken as a directory.
pub(crate) async fn list(
    context: &Context,
    bucket: &Bucket,
    prefix: &str,
) -> Result<Vec<Object>, Fault> {
    let what = bucket.what("listing", prefix);
    let prefix = key_of(prefix, &what)?;
    persist(context.retry(), async || {
        let mut listing = bucket.store.list(Some(&prefix));
        let mut objects = Vec::new();
        loop {
            let next = async { Ok(listing.next().await.transpose()) };
            let next = within(STALL, &what, next).await?;
            let Some(object) = next.map_err(|error| service::fault(&error, &what))? else { break };
            objects.push(Object { key: object.location.into(), size: object.size });
            if objects.len() > OBJECTS {
                return Err(Fault::permanent(7, format!("{what}: more than {OBJECTS} objects")));
            }
        }
        Ok(without_markers(objects))
    })
    .await
}

/// An empty object that others lie below is a mark that some programs leave for a directory.
fn without_markers(mut objects: Vec<Object>) -> Vec<Object> {
    objects.sort_by(|a, b| a.key.split('/').cmp(b.key.split('/')));
    let marks: Vec<bool> = objects
        .iter()
        .zip(objects.iter().skip(1).map(Some).chain([None]))
        .map(|(object, next)| {
            let below = next.and_then(|next| next.key.strip_prefix(object.key.as_str()));
            object.size == 0 && below.is_some_and(|below| below.starts_with('/'))
        })
        .collect();
    let mut marks = marks.into_iter();
    objects.retain(|_| !marks.next().unwrap_or_default());
    objects
}

/// Removes an object; one that is not there is none to remove.
pub(crate) async fn delete(context: &Context, bucket: &Bucket, key: &str) -> Result<(), Fault> {
    let what = bucket.what("deleting", key);
    let key = key_of(key, &what)?;
    persist(context.retry(), async || {
        let deleted =
            async { bucket.store.delete(&key).await.map_err(|e| service::fault(&e, &what)) };
        within(STALL, &what, deleted).await
    })
    .await
}

/// Brings an object, whose size a listing has told.
pub(crate) async fn get(
    context: &Context,
    bucket: &Bucket,
    key: &str,
    size: Option<u64>,
    mut into: Unfinished,
    mode: Option<u32>,
) -> Result<u64, Fault> {
    let what = format!("{} from {}", names::shown(into.path()), bucket.what("", key).trim_start());
    let key = key_of(key, &what)?;
    let (size, tag) = match size {
        Some(size) if size <= RANGE => (size, None),
        _ => head(context, bucket, &key, &what).await?,
    };
    into.reserve(size)?;
    {
        let (into, tag, what, key) = (&into, &tag, &what, &key);
        let ranges = (0..size.div_ceil(RANGE)).map(|number| async move {
            let (start, end) = (number * RANGE, ((number + 1) * RANGE).min(size));
            let _room = context.room((end - start).min(RANGE_ROOM)).await?;
            let mut range = Range { bucket, key, tag: tag.clone(), what, at: start, end };
            range.get(context.retry(), context, into).await
        });
        stream::iter(ranges).buffer_unordered(PARTS_AT_ONCE).try_collect::<()>().await?;
    }
    into.finish(mode)
}

/// The bytes of a small object.
pub(crate) async fn read_small(
    context: &Context,
    bucket: &Bucket,
    key: &str,
    size: u64,
) -> Result<Bytes, Fault> {
    let what = bucket.what("reading", key);
    let key = key_of(key, &what)?;
    persist(context.retry(), async || {
        let bytes = async {
            let answer = bucket.store.get(&key).await.map_err(|e| service::fault(&e, &what))?;
            answer.bytes().await.map_err(|error| service::fault(&error, &what))
        };
        within(limit(size), &what, bytes).await
    })
    .await
}

async fn head(
    context: &Context,
    bucket: &Bucket,
    key: &Key,
    what: &str,
) -> Result<(u64, Option<String>), Fault> {
    persist(context.retry(), async || {
        // Not HEAD: that is answered without words.
        let options = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        let meta = async {
            match bucket.store.get_opts(key, options).await {
                Ok(answer) => Ok(answer.meta),
                Err(error) => {
                    let fault = service::fault(&error, what);
                    // An empty object has no first byte.
                    if !service::is_no_range(&fault) {
                        return Err(fault);
                    }
                    bucket.store.head(key).await.map_err(|error| service::fault(&error, what))
                }
            }
        };
        within(STALL, what, meta).await.map(|meta| (meta.size, meta.e_tag))
    })
    .await
}

struct Range<'a> {
    bucket: &'a Bucket,
    key: &'a Key,
    tag: Option<String>,
    what: &'a str,
    at: u64,
    end: u64,
}

impl Range<'_> {
    async fn get(
        &mut self,
        mut retry: Retry,
        context: &Context,
        into: &Unfinished,
    ) -> Result<(), Fault> {
        loop {
            context.go_on()?;
            let before = self.at;
            let result = self.go_on(into).await;
            if self.at > before {
                retry.progress();
            }
            match result {
                Ok(()) => return Ok(()),
                Err(fault) => retry.after(fault).await?,
            }
        }
    }

    async fn go_on(&mut self, into: &Unfinished) -> Result<(), Fault> {
        let what = self.what;
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.at..self.end)),
            if_match: self.tag.clone(),
            ..GetOptions::default()
        };
        let answer = async {
            let answer = self.bucket.store.get_opts(self.key, options).await;
            answer.map_err(|error| service::fault(&error, what))
        };
        let mut bytes = within(STALL, what, answer).await?.into_stream();
        let (mut blocks, mut waiting) = (Vec::new(), 0);
        while self.at < self.end {
            let next = async { Ok(bytes.next().await) };
            let next = within(STALL, what, next).await;
            if let Ok(Some(Ok(block))) = &next {
                waiting += block.len();
                blocks.push(block.clone());
            }
            if waiting >= BLOCK || !matches!(next, Ok(Some(Ok(_)))) {
                into.write(std::mem::take(&mut blocks), self.at).await?;
                self.at += waiting as u64;
                waiting = 0;
            }
            let next = next?.transpose().map_err(|error| service::fault(&error, what))?;
            if next.is_none() && self.at < self.end {
                return Err(Fault::transient(0, format!("{what}: the answer is too short")));
            }
        }
        Ok(())
    }
}

/// How long so many bytes may take.
fn limit(bytes: u64) -> Duration {
    STALL + Duration::from_secs(bytes / SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_directories_are_no_files() {
        let object = |(key, size): (&str, u64)| Object { key: key.into(), size };
        let listed = [("p/d-x", 1), ("p/d", 0), ("p/d/e", 0), ("p/empty", 0), ("p/d/e/f", 3)];
        let left: Vec<_> = without_markers(listed.map(object).into())
            .into_iter()
            .map(|object| object.key)
            .collect();
        assert_eq!(left, ["p/d/e/f", "p/d-x", "p/empty"]);
    }
}
