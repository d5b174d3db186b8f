//! Checkpoints at a place outside the pod: `<place>/<number>/files/…` and, when all of them are there,
//! `<place>/<number>/MANIFEST`.
//!
//! Invariant: only a checkpoint that is whole is restored: its manifest is there, and each file has the size that stands
//! in it. An older one goes only when a newer one is whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use duj_protocol::transfer::Place;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use crate::{
    fault::Fault,
    inputs::{self, Origin},
    names,
    place::{AT_ONCE, Context, Location, Outgoing, s3, volume},
    scratch::Scratch,
    select::Selection,
    send,
    tree::{Kind, Tree},
};

const MANIFEST: &str = "MANIFEST";
const FILES: &str = "files";
/// Of a manifest.
const MAX_BYTES: u64 = 32 << 20;

/// A file of a checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    path: String,
    size: u64,
    mode: u32,
}

/// What is at a place: numbers, and of each the objects and their sizes.
type Found = BTreeMap<u64, BTreeMap<String, u64>>;

/// Brings the newest whole checkpoint, if there is one; the files that it had.
pub(crate) async fn restore(
    context: &Context,
    place: &Place,
    scratch: &Scratch,
) -> Result<BTreeSet<PathBuf>, Fault> {
    let location = Location::of(place, context)?;
    let found = list(context, &location).await?;
    for (number, objects) in
        found.iter().rev().filter(|(_, objects)| objects.contains_key(MANIFEST))
    {
        let Some(entries) = manifest(context, &location, *number, objects).await? else { continue };
        let whole = entries.iter().all(|entry| {
            names::relative(&entry.path).is_ok()
                && objects.get(&format!("{FILES}/{}", entry.path)) == Some(&entry.size)
        });
        if whole {
            return bring(context, &location, scratch, *number, &entries).await;
        }
    }
    Ok(BTreeSet::new())
}

async fn bring(
    context: &Context,
    location: &Location,
    scratch: &Scratch,
    number: u64,
    entries: &[Entry],
) -> Result<BTreeSet<PathBuf>, Fault> {
    let source = Source::open(location)?;
    let source = &source;
    stream::iter(entries)
        .map(|entry| async move {
            let name = format!("{number}/{FILES}/{}", entry.path);
            let origin = source.origin(&name, entry.size)?;
            let mode = Some(entry.mode).filter(|mode| *mode != 0);
            let path = PathBuf::from(&entry.path);
            inputs::bring_one(context, scratch, &path, &origin, mode).await.map(|()| path)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Saves the files as the next checkpoint, then removes those before it.
pub(crate) async fn save(
    context: &Context,
    place: &Place,
    tree: &Tree,
    files: &Selection,
) -> Result<(), Fault> {
    let location = Location::of(place, context)?;
    let found = list(context, &location).await?;
    let number = found.keys().next_back().map_or(1, |newest| newest + 1);
    let below = |name: &str| location.join(Path::new(&format!("{number}/{name}")));
    let mut entries = Vec::new();
    let mut uploads = Vec::new();
    for found in files.values() {
        let shown = names::shown(&found.path);
        let path = found.path.to_str().ok_or_else(|| {
            Fault::permanent(84, format!("'{shown}' cannot be in a checkpoint: it is not UTF-8"))
        })?;
        uploads.push((below(&format!("{FILES}/{path}"))?, found));
        entries.push(Entry { path: path.to_owned(), size: found.size, mode: found.mode });
    }
    send::upload(context, tree, uploads).await?;
    let text = serde_json::to_vec(&entries).unwrap_or_default();
    let text = in_memory(&text).map_err(|error| Fault::io(&error, "writing the manifest"))?;
    below(MANIFEST)?.put(context, &text).await?;
    for (number, objects) in found {
        // It is whole without them gone.
        if let Err(fault) = remove(context, &location, number, &objects).await {
            eprintln!("transfer: checkpoint {number} could not be removed: {fault}");
        }
    }
    Ok(())
}

fn in_memory(text: &[u8]) -> io::Result<Outgoing> {
    let mut file = File::from(rustix::fs::memfd_create(MANIFEST, MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    Ok(Outgoing {
        file: Arc::new(file),
        size: text.len() as u64,
        mode: 0o644,
        reading: "reading the manifest".into(),
    })
}

/// Everything at the place that belongs to a number.
async fn list(context: &Context, location: &Location) -> Result<Found, Fault> {
    let mut found = Found::new();
    let mut add = |path: &str, size| {
        let Some((number, rest)) = path.split_once('/') else { return };
        if let Ok(number) = number.parse() {
            found.entry(number).or_default().insert(rest.to_owned(), size);
        }
    };
    match location {
        Location::S3 { bucket, key } => {
            let prefix = format!("{}/", key.trim_end_matches('/'));
            for object in s3::list(context, bucket, &prefix).await? {
                let below = object.key.strip_prefix(prefix.trim_start_matches('/'));
                add(below.unwrap_or_default(), object.size);
            }
        }
        Location::Volume { root, path, what, .. } => {
            let tree = Tree::volume(root, what)?;
            let top = match tree.find(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
                top => top.map_err(|error| tree.fault(&error, path))?,
            };
            for entry in tree.walk(&top, |_| false)? {
                let below = entry.path.strip_prefix(path).ok().and_then(Path::to_str);
                if let Some(below) = below.filter(|_| entry.kind == Kind::File) {
                    add(below, entry.size);
                }
            }
        }
        Location::Http { .. } => return Err(unlistable()),
    }
    Ok(found)
}

fn unlistable() -> Fault {
    Fault::permanent(95, "checkpoints need a place that can be listed: a volume or S3")
}

/// What stands in a manifest; `None` where it cannot be read as one.
async fn manifest(
    context: &Context,
    location: &Location,
    number: u64,
    objects: &BTreeMap<String, u64>,
) -> Result<Option<Vec<Entry>>, Fault> {
    let size = objects.get(MANIFEST).copied().unwrap_or_default();
    if size > MAX_BYTES {
        return Ok(None);
    }
    let source = Source::open(location)?;
    let bytes = match source.origin(&format!("{number}/{MANIFEST}"), size)? {
        Origin::Object(bucket, key, _) => {
            s3::read_small(context, &bucket, &key, size).await?.into()
        }
        Origin::Volume(tree, found) => volume::read_small(&tree, &found)?,
        _ => return Err(unlistable()),
    };
    Ok(serde_json::from_slice(&bytes).ok())
}

async fn remove(
    context: &Context,
    location: &Location,
    number: u64,
    objects: &BTreeMap<String, u64>,
) -> Result<(), Fault> {
    if let Location::Volume { root, path, .. } = location {
        return volume::remove(root, &path.join(number.to_string()));
    }
    // Without its manifest it is none any more, however far this comes.
    if objects.contains_key(MANIFEST) {
        remove_one(context, location, number, MANIFEST).await?;
    }
    stream::iter(objects.keys().filter(|name| *name != MANIFEST))
        .map(|name| remove_one(context, location, number, name))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn remove_one(
    context: &Context,
    at: &Location,
    number: u64,
    name: &str,
) -> Result<(), Fault> {
    match at.join(Path::new(&format!("{number}/{name}")))? {
        Location::S3 { bucket, key } => s3::delete(context, &bucket, &key).await,
        _ => Err(unlistable()),
    }
}

/// Where files of a checkpoint are read from.
enum Source {
    Volume(Arc<Tree>, PathBuf),
    Other(Location),
}

impl Source {
    fn open(location: &Location) -> Result<Self, Fault> {
        let Location::Volume { root, path, what, .. } = location else {
            return Ok(Self::Other(location.clone()));
        };
        Ok(Self::Volume(Arc::new(Tree::volume(root, what)?), path.clone()))
    }

    fn origin(&self, name: &str, size: u64) -> Result<Origin, Fault> {
        match self {
            Self::Volume(tree, path) => {
                let found = tree.look(&path.join(name))?;
                Ok(Origin::Volume(Arc::clone(tree), found))
            }
            Self::Other(location) => match location.join(Path::new(name))? {
                Location::S3 { bucket, key } => Ok(Origin::Object(bucket, key, Some(size))),
                _ => Err(unlistable()),
            },
        }
    }
}
