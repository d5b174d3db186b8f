//! One layer of an image: a file tree, written as a tar archive and compressed. Invariant: the bytes
//! depend on the tree alone, never on the machine, the clock or the order of the calls that made it.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

/// What stands at a path.
#[derive(Clone, Debug)]
enum Node {
    Directory { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { target: String },
}

/// A file tree in the making. All of it belongs to root; a parent that nobody named gets mode 0755.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// Adds a directory.
    pub(super) fn directory(mut self, path: &str, mode: u32) -> Self {
        self.add(path, Node::Directory { mode });
        self
    }

    /// Adds a file.
    pub(super) fn file(mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        self.add(path, Node::File { mode, content: content.into() });
        self
    }

    /// Adds a symbolic link.
    pub(super) fn link(mut self, path: &str, target: &str) -> Self {
        self.add(path, Node::Link { target: target.to_owned() });
        self
    }

    fn add(&mut self, path: &str, node: Node) {
        let path = path.trim_matches('/');
        for (slash, _) in path.match_indices('/') {
            self.0.entry(path[..slash].to_owned()).or_insert(Node::Directory { mode: 0o755 });
        }
        self.0.insert(path.to_owned(), node);
    }

    /// Writes the tree as a layer.
    pub(super) fn layer(&self) -> io::Result<Layer> {
        let archive = self.archive()?;
        // The header must not tell when or where it was made: no time, no file name, "unknown" system.
        let mut gzip =
            GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
        gzip.write_all(&archive)?;
        Ok(Layer { blob: Blob::new(gzip.finish()?), diff_id: digest(&archive) })
    }

    fn archive(&self) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        // Sorted by path, so that a directory always stands in front of what it contains.
        for (path, node) in &self.0 {
            let mut header = tar::Header::new_ustar();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            match node {
                Node::Directory { mode } => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Node::File { mode, content } => {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(*mode);
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, path, content.as_slice())?;
                }
                Node::Link { target } => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    archive.append_link(&mut header, path, target)?;
                }
            }
        }
        archive.into_inner()
    }
}

/// A file tree as an image carries it.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// The compressed archive.
    pub(super) blob: Blob,
    /// Digest of the archive before compression.
    pub(super) diff_id: String,
}

/// Bytes and their name in a registry.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    /// The bytes.
    pub(super) content: Vec<u8>,
    /// `sha256:` and 64 digits.
    pub(super) digest: String,
}

impl Blob {
    /// Names these bytes.
    pub(super) fn new(content: Vec<u8>) -> Self {
        Self { digest: digest(&content), content }
    }
}

fn digest(content: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(content).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(archive: &[u8]) -> Vec<(String, u32, u64, u64)> {
        tar::Archive::new(archive)
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (
                    entry.path().unwrap().display().to_string(),
                    header.mode().unwrap(),
                    header.uid().unwrap() + header.gid().unwrap(),
                    header.mtime().unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn the_bytes_depend_on_the_tree_alone() {
        let one = Tree::default()
            .file("/b/c", 0o755, "x")
            .link("/a", "b/c")
            .directory("/tmp", 0o1777)
            .layer()
            .unwrap();
        let other = Tree::default()
            .directory("tmp/", 0o1777)
            .link("a", "b/c")
            .file("b/c", 0o755, "x")
            .layer()
            .unwrap();
        assert_eq!(one.blob.content, other.blob.content);
        // Written down, because two machines must agree and not only two calls. (The compressor's output
        // may change with its version, which the lock file fixes.)
        assert_eq!(
            one.diff_id,
            "sha256:99e649594ed705cfba2aa176abd90ee050fd58732962d14415fc4f11e24c70cd"
        );
    }

    #[test]
    fn parents_come_first_and_nothing_tells_who_made_it() {
        let tree = Tree::default().file("/b/c/d", 0o640, "x").directory("/b", 0o700);
        assert_eq!(
            entries(&tree.archive().unwrap()),
            [
                ("b/".to_owned(), 0o700, 0, 0),
                ("b/c/".to_owned(), 0o755, 0, 0),
                ("b/c/d".to_owned(), 0o640, 0, 0)
            ]
        );
    }

    #[test]
    fn the_digest_names_the_bytes() {
        assert_eq!(
            Blob::new(Vec::new()).digest,
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
