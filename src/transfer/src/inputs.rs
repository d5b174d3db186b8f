//! Which files the inputs are, and where each lands.
//!
//! Invariant: each file of the scratch directory comes from one input, the last that has its name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use duj_protocol::transfer::{Input, Source};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use url::Url;

use crate::{
    fault::Fault,
    names,
    place::{
        AT_ONCE, Context, Location, http,
        s3::{self, Bucket},
        volume,
    },
    scratch::Scratch,
    tree::{Found, Kind, Tree},
};

/// Where a file comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// No file, but a directory.
    Directory,
    /// From the plan.
    Bytes(Vec<u8>),
    /// From a volume.
    Volume(Arc<Tree>, Found),
    /// By HTTP, with a directory of headers.
    Http(Url, Option<String>),
    /// An object, its key, and its size where it is known.
    Object(Arc<Bucket>, String, Option<u64>),
}

/// Files by where they land.
pub(crate) type Landing = BTreeMap<PathBuf, Origin>;

/// What all inputs are.
pub(crate) async fn expand(
    context: &Context,
    inputs: &[Input],
    preserve: bool,
) -> Result<Landing, Fault> {
    let mut landing = Landing::new();
    for input in inputs {
        let name = input.name.as_deref().map(checked).transpose()?;
        match &input.source {
            Source::Text(text) => {
                landing.insert(named(name)?, Origin::Bytes(text.clone().into_bytes()));
            }
            Source::Base64(text) => {
                let name = named(name)?;
                let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|error| {
                    let shown = names::shown(&name);
                    Fault::permanent(22, format!("the content of '{shown}' is no base64: {error}"))
                })?;
                landing.insert(name, Origin::Bytes(bytes));
            }
            Source::Place(place) => match Location::of(place, context)? {
                Location::Volume { root, path, content, what } => {
                    let found = in_volume(&root, &path, &what, content, name, preserve)?;
                    landing.extend(found);
                }
                Location::Http { url, headers } => {
                    let name =
                        name.or_else(|| names::last_of_url(&url)).ok_or_else(|| nameless(&url))?;
                    landing.insert(name, Origin::Http(url, headers));
                }
                Location::S3 { bucket, key } => {
                    landing.extend(in_bucket(context, bucket, key, name).await?);
                }
            },
        }
    }
    Ok(landing)
}

fn checked(name: &str) -> Result<PathBuf, Fault> {
    names::relative(name).map_err(|words| Fault::permanent(22, words))
}

fn named(name: Option<PathBuf>) -> Result<PathBuf, Fault> {
    name.ok_or_else(|| Fault::permanent(22, "an input that is given as text has no name"))
}

fn nameless(url: &Url) -> Fault {
    let url = names::public_url(url.as_str());
    Fault::permanent(22, format!("'{url}' does not end in a file's name: give the input a name"))
}

/// A file or a directory of a volume.
fn in_volume(
    root: &Path,
    path: &Path,
    what: &str,
    content: bool,
    name: Option<PathBuf>,
    preserve: bool,
) -> Result<Landing, Fault> {
    let tree = Arc::new(Tree::volume(root, what)?);
    let top = tree.look(path)?;
    let own = if preserve { path } else { Path::new(path.file_name().unwrap_or_default()) };
    let mut landing = Landing::new();
    match top.kind {
        Kind::Special => return Err(tree.special(path)),
        Kind::File if content => {
            return Err(tree.fault(&std::io::Error::from_raw_os_error(20), path));
        }
        Kind::File => {
            landing.insert(name.unwrap_or_else(|| own.to_owned()), Origin::Volume(tree, top));
        }
        Kind::Directory => {
            let to = match name {
                Some(name) => name,
                None if content && !preserve => PathBuf::new(),
                None => own.to_owned(),
            };
            let dots = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b"..");
            if !to.as_os_str().is_empty() {
                landing.insert(to.clone(), Origin::Directory);
            }
            for found in tree.walk(&top, dots)? {
                let below = found.path.strip_prefix(path).unwrap_or(&found.path);
                let origin = match found.kind {
                    Kind::Directory => Origin::Directory,
                    _ => Origin::Volume(Arc::clone(&tree), found.clone()),
                };
                landing.insert(to.join(below), origin);
            }
        }
    }
    Ok(landing)
}

/// An object, or all below a prefix.
async fn in_bucket(
    context: &Context,
    bucket: Arc<Bucket>,
    key: String,
    name: Option<PathBuf>,
) -> Result<Landing, Fault> {
    let mut landing = Landing::new();
    if !key.is_empty() && !key.ends_with('/') {
        let last = key.rsplit('/').next().unwrap_or_default();
        let name = match name {
            Some(name) => name,
            None => checked(last)?,
        };
        landing.insert(name, Origin::Object(bucket, key, None));
        return Ok(landing);
    }
    let to = name.unwrap_or_default();
    let objects = s3::list(context, &bucket, &key).await?;
    if objects.is_empty() {
        let detail = format!("{}: nothing is there", bucket.what("listing", &key));
        return Err(Fault::permanent(2, detail));
    }
    for object in objects {
        let below = object.key.strip_prefix(&key).unwrap_or(&object.key);
        let path = to.join(checked(below)?);
        landing.insert(path, Origin::Object(Arc::clone(&bucket), object.key, Some(object.size)));
    }
    Ok(landing)
}

/// Brings all files, several at once. Where one fails, the others are given up.
pub(crate) async fn bring(
    context: &Context,
    scratch: &Scratch,
    landing: Landing,
) -> Result<(), Fault> {
    let (directories, files): (Vec<_>, Vec<_>) =
        landing.into_iter().partition(|(_, origin)| matches!(origin, Origin::Directory));
    for (path, _) in directories {
        scratch.make_directory(&path)?;
    }
    stream::iter(files)
        .map(
            |(path, origin)| async move { bring_one(context, scratch, &path, &origin, None).await },
        )
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Brings one file; `mode` where it is known.
pub(crate) async fn bring_one(
    context: &Context,
    scratch: &Scratch,
    path: &Path,
    origin: &Origin,
    mode: Option<u32>,
) -> Result<(), Fault> {
    let mut into = scratch.begin(path)?;
    let bytes = match origin {
        Origin::Directory => return Ok(()),
        Origin::Bytes(bytes) => {
            into.reserve(bytes.len() as u64)?;
            into.write(vec![Bytes::copy_from_slice(bytes)], 0).await?;
            into.finish(mode)?
        }
        Origin::Volume(tree, found) => volume::get(context, tree, found, into, mode).await?,
        Origin::Http(url, headers) => http::get(context, url, headers.as_deref(), into).await?,
        Origin::Object(bucket, key, size) => {
            s3::get(context, bucket, key, *size, into, mode).await?
        }
    };
    context.reporter().moved(bytes);
    Ok(())
}
