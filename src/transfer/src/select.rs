//! Which files of the scratch directory are sent, and by which names (§1.4).
//!
//! Invariant: no file outside the scratch directory is sent, and no two go by the same name.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use duj_protocol::transfer::Brought;

use crate::{
    fault::Fault,
    names,
    tree::{Found, Kind, Tree},
};

const ENOTDIR: i32 = 20;

/// Files by their names at the destination.
pub(crate) type Selection = BTreeMap<PathBuf, Found>;

/// What is chosen from, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selector<'a> {
    /// The scratch directory.
    pub(crate) tree: &'a Tree,
    /// What was there before the job.
    pub(crate) brought: &'a Brought,
    /// The standard streams, which are sent by themselves.
    pub(crate) streams: &'a [&'a Path],
    /// Keep the directories of a relative path.
    pub(crate) preserve: bool,
}

impl Selector<'_> {
    /// The files that `files` names, or those that are new or changed; and the first fault: as with `HTCondor`, what is
    /// there is sent though something else is missing.
    pub(crate) fn select(&self, files: Option<&[String]>) -> (Selection, Result<(), Fault>) {
        let mut selection = Selection::new();
        let result = match files {
            Some(files) => {
                let results = files.iter().map(|item| self.add(item, &mut selection));
                results.fold(Ok(()), Result::and)
            }
            None => self.add_changed(&mut selection),
        };
        selection.retain(|_, found| !self.streams.contains(&found.path.as_path()));
        (selection, result)
    }

    /// A standard stream, if it is there.
    pub(crate) fn stream(&self, path: &Path) -> Result<(PathBuf, Found), Fault> {
        let found = self.tree.look(path)?;
        match found.kind {
            Kind::File => Ok((self.name_of(path), found)),
            Kind::Directory => Err(self.tree.fault(&io::Error::from_raw_os_error(21), path)),
            Kind::Special => Err(self.tree.special(path)),
        }
    }

    /// Regular files at the top that were not brought as they are.
    fn add_changed(&self, selection: &mut Selection) -> Result<(), Fault> {
        let top = self.tree.look(Path::new(""))?;
        for name in self.tree.names(&top)? {
            // Links that lead out or nowhere are left.
            let Ok(found) = self.tree.find(Path::new(&name)) else { continue };
            if found.kind == Kind::File && !is_own(&name) && !self.is_as_brought(&name, &found) {
                selection.insert(PathBuf::from(name), found);
            }
        }
        Ok(())
    }

    fn is_as_brought(&self, name: &OsStr, found: &Found) -> bool {
        let name = names::escaped(name);
        self.brought.entries.iter().any(|entry| {
            entry.name == name && entry.size == found.size && entry.modified == found.modified
        })
    }

    /// One item of the list.
    fn add(&self, item: &str, selection: &mut Selection) -> Result<(), Fault> {
        let trimmed = item.strip_suffix('/').unwrap_or(item);
        let content = trimmed.len() < item.len();
        let path = names::relative(trimmed).map_err(|words| Fault::permanent(22, words))?;
        match self.tree.find(&path) {
            Ok(found) => self.add_found(found, content, selection),
            // It is there, and may not be read.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.tree.fault(&error, &path))
            }
            Err(_) if path.iter().any(names::is_pattern) => {
                for path in self.expand(&path)? {
                    self.add_found(self.tree.look(&path)?, content, selection)?;
                }
                Ok(())
            }
            Err(error) => Err(self.tree.fault(&error, &path)),
        }
    }

    /// What the pattern matches, in order; nothing is no fault.
    fn expand(&self, pattern: &Path) -> Result<Vec<PathBuf>, Fault> {
        let mut matched = vec![PathBuf::new()];
        for part in pattern {
            let mut next = Vec::new();
            for path in matched {
                if !names::is_pattern(part) {
                    next.extend(Some(path.join(part)).filter(|path| self.tree.find(path).is_ok()));
                    continue;
                }
                let found = self.tree.look(&path)?;
                if found.kind == Kind::Directory {
                    let names = self.tree.names(&found)?.into_iter();
                    let names = names.filter(|name| names::matches(part, name));
                    next.extend(names.map(|name| path.join(name)));
                }
            }
            matched = next;
        }
        Ok(matched)
    }

    fn add_found(
        &self,
        found: Found,
        content: bool,
        selection: &mut Selection,
    ) -> Result<(), Fault> {
        match found.kind {
            Kind::Special => Err(self.tree.special(&found.path)),
            Kind::File if content => {
                Err(self.tree.fault(&io::Error::from_raw_os_error(ENOTDIR), &found.path))
            }
            Kind::File => keep(selection, self.name_of(&found.path), found),
            Kind::Directory => {
                let to = if content && !self.preserve {
                    PathBuf::new()
                } else {
                    self.name_of(&found.path)
                };
                for below in self.tree.walk(&found, |_| false)? {
                    let name = below.path.strip_prefix(&found.path).unwrap_or(&below.path);
                    if below.kind == Kind::File {
                        keep(selection, to.join(name), below)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// How a path is named at the destination.
    fn name_of(&self, path: &Path) -> PathBuf {
        match path.file_name() {
            Some(name) if !self.preserve => PathBuf::from(name),
            _ => path.to_owned(),
        }
    }
}

/// Two files cannot have one name: neither is dropped in silence.
pub(crate) fn keep(selection: &mut Selection, name: PathBuf, found: Found) -> Result<(), Fault> {
    if let Some(other) = selection.get(&name).filter(|other| other.path != found.path) {
        let shown = [&other.path, &found.path, &name].map(|path| names::shown(path));
        let [one, two, name] = shown;
        let words = format!(
            "{one} and {two} would both be sent as {name}: keep their directories with preserveRelativePaths"
        );
        return Err(Fault::permanent(17, words));
    }
    selection.insert(name, found);
    Ok(())
}

/// What the system puts into a scratch directory, and never sends unless it is asked for.
fn is_own(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let whole: [&[u8]; 3] = [b".job.ad", b".machine.ad", b".chirp.config"];
    let starts: [&[u8]; 3] = [b".update.ad", b".docker_", b".condor_"];
    whole.contains(&name) || starts.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{ffi::OsStrExt as _, fs::symlink},
    };

    use duj_protocol::transfer::Entry;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("d/e")).unwrap();
        for file in ["a.txt", "b.txt", ".hidden", ".job.ad", "out", "d/x.txt", "d/e/y.txt", "[1]"] {
            fs::write(at(file), file).unwrap();
        }
        fs::write(directory.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
        symlink("a.txt", at("inside")).unwrap();
        symlink(at("b.txt"), at("absolute")).unwrap();
        symlink("/etc/passwd", at("outside")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        let tree = Tree::scratch(directory.path().to_str().unwrap()).unwrap();
        (directory, tree)
    }

    fn select(
        tree: &Tree,
        brought: &Brought,
        preserve: bool,
        files: Option<&[&str]>,
    ) -> Result<Vec<String>, Fault> {
        let streams = [Path::new("out")];
        let selector = Selector { tree, brought, streams: &streams, preserve };
        let files: Option<Vec<_>> =
            files.map(|files| files.iter().map(ToString::to_string).collect());
        let (selection, result) = selector.select(files.as_deref());
        result?;
        Ok(selection.keys().map(|name| names::escaped(name.as_os_str())).collect())
    }

    #[test]
    fn new_and_changed_files_at_the_top_go_by_default() {
        let (_directory, tree) = scratch();
        let brought = |name: &str, size| {
            let modified = tree.look(Path::new(name)).unwrap().modified;
            Entry { name: name.into(), size, modified }
        };
        let brought = Brought { entries: vec![brought("b.txt", 5), brought("[1]", 99)] };
        let names = select(&tree, &brought, false, None).unwrap();
        assert_eq!(names, [".hidden", "[1]", "a.txt", "absolute", "inside", r"\xFF"]);
    }

    #[test]
    fn a_list_is_sent_exactly() {
        let (_directory, tree) = scratch();
        let cases: [(&[&str], bool, &[&str]); 10] = [
            (&["a.txt"], false, &["a.txt"]),
            (&["d"], false, &["d/e/y.txt", "d/x.txt"]),
            (&["d/"], false, &["e/y.txt", "x.txt"]),
            (&["d/e"], false, &["e/y.txt"]),
            (&["d/e", "d/x.txt"], true, &["d/e/y.txt", "d/x.txt"]),
            (&["d/x.txt"], false, &["x.txt"]),
            (&["*.txt", "d/*.txt"], false, &["a.txt", "b.txt", "x.txt"]),
            (&["*.none", "[1]"], false, &["[1]"]),
            (&[".job.ad", "inside"], false, &[".job.ad", "inside"]),
            (&[], false, &[]),
        ];
        for (files, preserve, expected) in cases {
            let names = select(&tree, &Brought::default(), preserve, Some(files)).unwrap();
            assert_eq!(names, expected, "{files:?}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_its_name() {
        let (directory, tree) = scratch();
        std::os::unix::net::UnixListener::bind(directory.path().join("d/socket")).unwrap();
        symlink("..", directory.path().join("d/e/loop")).unwrap();
        let cases = [
            ("missing", 2, "missing"),
            ("outside", 40, "outside"),
            ("dangling", 2, "dangling"),
            ("d", 40, "d/e/loop"),
            ("d/socket", 95, "d/socket"),
            ("a.txt/", 20, "a.txt"),
            ("../x", 22, "../x"),
        ];
        for (item, subcode, named) in cases {
            let fault = select(&tree, &Brought::default(), false, Some(&[item])).unwrap_err();
            assert_eq!(fault.subcode, subcode, "{item}: {fault}");
            assert!(fault.detail.contains(named), "{fault}");
        }
    }
}
