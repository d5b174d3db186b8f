//! The cluster's S3 server: a program that serves a directory. Invariant: its keys are made once, so that a repaired
//! cluster accepts the ones it gave out, and the bucket is there whenever the cluster is up.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;

use super::state::{State, hex};

/// The bucket that tests, demo and people may use.
const BUCKET: &str = "jobs";

/// The file with the keys, below the state directory, as the server's environment has them.
pub(super) const KEYS: &str = "s3.keys";

/// The directory that the server serves, below the state directory; each directory in it is a bucket.
pub(super) const DIRECTORY: &str = "s3";

/// The server's variables for its keys.
const VARIABLES: [&str; 2] = ["ROOT_ACCESS_KEY_ID", "ROOT_SECRET_ACCESS_KEY"];

/// What a client of the S3 server says who it is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// `AWS_ACCESS_KEY_ID`.
    pub(crate) access: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub(crate) secret: String,
}

impl Keys {
    /// New ones.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let mut random = [0; 28];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let (access, secret) = random.split_at(8);
        Ok(Self { access: format!("DUJ{}", hex(access).to_uppercase()), secret: hex(secret) })
    }

    /// As the server's environment.
    pub(crate) fn server_variables(&self) -> [(&'static str, &str); 2] {
        [(VARIABLES[0], &self.access), (VARIABLES[1], &self.secret)]
    }

    /// As a client's environment.
    pub(crate) fn client_variables(self) -> [(&'static str, String); 2] {
        [("AWS_ACCESS_KEY_ID", self.access), ("AWS_SECRET_ACCESS_KEY", self.secret)]
    }

    /// Those of the cluster with this state directory.
    pub(super) fn read(state: &Path) -> anyhow::Result<Self> {
        let path = state.join(KEYS);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let found = lines.find(|(known, _)| *known == name);
            let (_, value) = found.with_context(|| format!("{} is damaged", path.display()))?;
            Ok::<_, anyhow::Error>(value.to_owned())
        };
        Ok(Self { access: value(VARIABLES[0])?, secret: value(VARIABLES[1])? })
    }

    fn write(&self, state: &Path) -> anyhow::Result<()> {
        let unfinished = state.join(format!("{KEYS}.unfinished"));
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        for (name, value) in self.server_variables() {
            writeln!(file, "{name}={value}")?;
        }
        Ok(fs::rename(unfinished, state.join(KEYS))?)
    }
}

/// Makes the keys and the bucket unless they are there.
pub(super) fn ensure(state: &State) -> anyhow::Result<()> {
    fs::create_dir_all(state.path(DIRECTORY).join(BUCKET))
        .with_context(|| format!("cannot make {}", state.text(DIRECTORY)))?;
    if Keys::read(&state.dir).is_err() {
        Keys::generate()?.write(&state.dir)?;
    }
    Ok(())
}

/// Puts an object into the bucket of the cluster with this state directory.
pub(super) fn put(state: &Path, key: &str, content: &str) -> anyhow::Result<()> {
    let path = state.join(DIRECTORY).join(BUCKET).join(key);
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Whether the bucket is there; people may delete what they like.
pub(super) fn has_bucket(state: &State) -> bool {
    state.path(DIRECTORY).join(BUCKET).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_random_and_survive_their_file() {
        let keys = Keys::generate().unwrap();
        assert!(keys != Keys::generate().unwrap());
        assert_eq!((keys.access.len(), keys.secret.len()), (19, 40));
        let directory = std::env::temp_dir().join(format!("duj-keys-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert!(Keys::read(&directory).is_err());
        keys.write(&directory).unwrap();
        assert!(Keys::read(&directory).unwrap() == keys);
        fs::remove_dir_all(directory).unwrap();
    }
}
