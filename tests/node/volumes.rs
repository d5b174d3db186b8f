//! Persistent volumes that are directories of this machine, whose files the node shares: a test reads and writes what jobs
//! do.
//!
//! Invariant: a volume is bound to its claim before a test goes on.

#![allow(dead_code, reason = "each word is for whichever test needs it")]

use crate::world::World;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

/// A volume and its claim.
pub struct Volume {
    /// The directory of this machine.
    pub directory: PathBuf,
    name: String,
    client: Client,
}

impl Volume {
    /// A claim of this name, into which whoever runs a job may write.
    pub async fn writable(world: &World, claim: &str) -> Self {
        Self::with_mode(world, claim, 0o777).await
    }

    /// A claim of this name, into which only root could write.
    pub async fn not_writable(world: &World, claim: &str) -> Self {
        Self::with_mode(world, claim, 0o755).await
    }

    async fn with_mode(world: &World, claim: &str, mode: u32) -> Self {
        let name = format!("{}-{claim}", world.namespace);
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&name);
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let volume = json!({
            "metadata": { "name": name },
            "spec": {
                "capacity": { "storage": "1Mi" }, "accessModes": ["ReadWriteMany"], "storageClassName": "",
                "hostPath": { "path": directory }, "claimRef": { "namespace": world.namespace, "name": claim },
            },
        });
        let volume = serde_json::from_value(volume).unwrap();
        let volumes: Api<PersistentVolume> = Api::all(world.client.clone());
        volumes.create(&PostParams::default(), &volume).await.expect("a volume");
        world
            .create::<PersistentVolumeClaim>(json!({
                "metadata": { "name": claim },
                "spec": {
                    "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name,
                    "resources": { "requests": { "storage": "1Mi" } },
                },
            }))
            .await;
        let claims: Api<PersistentVolumeClaim> = world.api();
        world
            .until(&format!("claim '{claim}' is bound"), || async {
                let seen = claims.get(claim).await.ok().and_then(|claim| claim.status);
                seen.and_then(|status| status.phase).is_some_and(|phase| phase == "Bound")
            })
            .await;
        Self { directory, name, client: world.client.clone() }
    }

    /// Makes a directory into which anybody may write.
    pub fn make_directory(&self, path: &str) {
        let path = self.directory.join(path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }

    /// Writes a file, which anybody may read.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A file's content, or nothing where there is no such file.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.directory.join(path)).ok()
    }

    /// The same as text.
    pub fn text(&self, path: &str) -> Option<String> {
        self.read(path).map(|content| String::from_utf8_lossy(&content).into_owned())
    }

    /// Paths of all files, sorted.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut directories = vec![self.directory.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    directories.push(path);
                } else {
                    let path = path.strip_prefix(&self.directory).unwrap();
                    files.push(path.to_string_lossy().into_owned());
                }
            }
        }
        files.sort();
        files
    }

    /// Removes the volume and its files; to be called at the end of a test that passed.
    pub async fn end(self) {
        let volumes: Api<PersistentVolume> = Api::all(self.client);
        volumes.delete(&self.name, &DeleteParams::default()).await.unwrap();
        fs::remove_dir_all(self.directory).unwrap();
    }
}
