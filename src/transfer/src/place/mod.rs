//! Places outside the pod, and what all of them share.
//!
//! Invariant: however many files there are, what is in memory at a time is bounded.

mod blocks;
pub(crate) mod http;
pub(crate) mod s3;
pub(crate) mod volume;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use duj_protocol::transfer::{Place, S3};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use self::blocks::Blocks;
use crate::{fault::Fault, names, report::Reporter, retry::Retry};

/// What may be under way in S3 at a time, in MiB; a request for less counts as one.
const ROOM: u32 = 32;
/// Files by other ways at a time.
const FILES: usize = 4;
/// Files that are looked after at a time.
pub(crate) const AT_ONCE: usize = 32;

/// A bucket's name, its service, and its client.
type Known = (String, S3, Arc<s3::Bucket>);

/// What the moving of all files shares.
#[derive(Debug)]
pub(crate) struct Context {
    reporter: Arc<Reporter>,
    patience: Duration,
    room: Semaphore,
    files: Semaphore,
    stopped: AtomicBool,
    blocks: Blocks,
    buckets: Mutex<Vec<Known>>,
}

impl Context {
    /// Faults are retried for `patience` seconds.
    pub(crate) fn new(reporter: &Arc<Reporter>, patience: u64) -> Self {
        Self {
            reporter: Arc::clone(reporter),
            patience: Duration::from_secs(patience),
            room: Semaphore::new(ROOM as usize),
            files: Semaphore::new(FILES),
            stopped: AtomicBool::new(false),
            blocks: Blocks::default(),
            buckets: Mutex::default(),
        }
    }

    /// Who is told.
    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Patience for one operation.
    pub(crate) fn retry(&self) -> Retry {
        Retry::new(&self.reporter, self.patience)
    }

    /// One file has failed: what goes on ends at its next step.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// A fault where one file has failed.
    pub(crate) fn go_on(&self) -> Result<(), Fault> {
        let stopped = self.stopped.load(Ordering::Relaxed);
        if stopped { Err(Fault::permanent(125, "another file failed")) } else { Ok(()) }
    }

    /// Room in memory for so many bytes.
    async fn room(&self, bytes: u64) -> Result<SemaphorePermit<'_>, Fault> {
        let wanted = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(ROOM).clamp(1, ROOM);
        self.room.acquire_many(wanted).await.map_err(|_| Fault::permanent(0, "closed"))
    }

    /// The turn of one file.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Fault> {
        self.files.acquire().await.map_err(|_| Fault::permanent(0, "closed"))
    }

    /// The bucket, with the service's settings; one client for all that goes there.
    fn bucket(&self, name: &str, service: &S3) -> Result<Arc<s3::Bucket>, Fault> {
        let mut known = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(bucket, at, _): &&Known| bucket == name && at == service;
        if let Some((.., bucket)) = known.iter().find(same) {
            return Ok(Arc::clone(bucket));
        }
        let bucket = Arc::new(s3::Bucket::open(name, service)?);
        known.push((name.to_owned(), service.clone(), Arc::clone(&bucket)));
        Ok(bucket)
    }
}

/// A place that has been looked at.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    /// Something in a volume.
    Volume {
        /// The mount.
        root: PathBuf,
        /// In it; empty is the mount itself.
        path: PathBuf,
        /// It is a directory's content that is meant.
        content: bool,
        /// How a message names the volume.
        what: String,
    },
    /// Something that HTTP reaches.
    Http {
        /// Its address.
        url: Url,
        /// The directory with its headers.
        headers: Option<String>,
    },
    /// An object, or what begins with a key.
    S3 {
        /// Its bucket.
        bucket: Arc<s3::Bucket>,
        /// The key.
        key: String,
    },
}

impl Location {
    /// Refuses what leads out of a volume, and unknown kinds of URL.
    pub(crate) fn of(place: &Place, context: &Context) -> Result<Self, Fault> {
        match place {
            Place::Volume { root, path, what } => {
                let trimmed = path.strip_suffix('/').unwrap_or(path);
                let inner = trimmed.is_empty() || trimmed.len() < path.len();
                let refused = |words| Fault::permanent(22, format!("{what}: {words}"));
                let path = if path.is_empty() {
                    PathBuf::new()
                } else {
                    names::relative(trimmed).map_err(refused)?
                };
                Ok(Self::Volume { root: root.into(), path, content: inner, what: what.clone() })
            }
            Place::Url { url, headers, s3 } => {
                if let Some(rest) = url.strip_prefix("s3://") {
                    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                    let bucket = context.bucket(bucket, &s3.clone().unwrap_or_default())?;
                    return Ok(Self::S3 { bucket, key: key.to_owned() });
                }
                let shown = names::public_url(url);
                let refused = |words: &str| Fault::permanent(22, format!("'{shown}': {words}"));
                let url = Url::parse(url).map_err(|error| refused(&error.to_string()))?;
                if !matches!(url.scheme(), "http" | "https") {
                    return Err(refused("only http, https and s3 are known"));
                }
                Ok(Self::Http { url, headers: headers.clone() })
            }
        }
    }

    /// `name` below it.
    pub(crate) fn join(&self, name: &Path) -> Result<Self, Fault> {
        let mut joined = self.clone();
        match &mut joined {
            Self::Volume { path, content, .. } => {
                path.push(name);
                *content = false;
            }
            Self::Http { url, .. } => {
                let path = format!("{}/{}", url.path().trim_end_matches('/'), names::encoded(name));
                url.set_path(&path);
            }
            Self::S3 { key, .. } => {
                let name = as_key(name)?;
                if !key.is_empty() && !key.ends_with('/') {
                    key.push('/');
                }
                key.push_str(name);
            }
        }
        Ok(joined)
    }

    /// The same name with `suffix` at its end.
    pub(crate) fn with_suffix(mut self, suffix: &str) -> Self {
        match &mut self {
            Self::Volume { path, .. } => *path = names::with_suffix(path, suffix),
            Self::Http { url, .. } => {
                let path = format!("{}{suffix}", url.path());
                url.set_path(&path);
            }
            Self::S3 { key, .. } => key.push_str(suffix),
        }
        self
    }

    /// Sends a file to this very place: it is there whole or not at all.
    pub(crate) async fn put(&self, context: &Context, file: &Outgoing) -> Result<(), Fault> {
        context.go_on()?;
        match self {
            Self::Volume { root, path, what, .. } => {
                let _turn = context.turn().await?;
                volume::put(context, root, path, what, file).await
            }
            Self::Http { url, headers } => {
                let _turn = context.turn().await?;
                http::put(context, url, headers.as_deref(), file).await
            }
            Self::S3 { bucket, key } => s3::put(context, bucket, key, file).await,
        }
    }
}

/// S3's keys are UTF-8, and what is no character is refused by servers and clients alike.
fn as_key(name: &Path) -> Result<&str, Fault> {
    let text = name.to_str().filter(|text| !text.contains(|c: char| c.is_ascii_control()));
    text.ok_or_else(|| {
        let shown = names::shown(name);
        Fault::permanent(
            84,
            format!("'{shown}' cannot be a key in S3: it has control characters, or is not UTF-8"),
        )
    })
}

/// A file that is sent.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// Open for reading.
    pub(crate) file: Arc<File>,
    /// Bytes that it had when it was looked at.
    pub(crate) size: u64,
    /// Permissions.
    pub(crate) mode: u32,
    /// "reading from file x".
    pub(crate) reading: String,
}

impl Outgoing {
    /// It had fewer bytes than when it was looked at.
    fn fault(&self, error: &std::io::Error) -> Fault {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return Fault::permanent(0, format!("{}: it became shorter meanwhile", self.reading));
        }
        Fault::io(error, &self.reading)
    }
}
