//! Objects in the cluster's S3 server, as a test sees them.
//!
//! Invariant: each test has a prefix of its own in the bucket, so that tests do not see each other's objects.

#![allow(dead_code, reason = "each word is for whichever test needs it")]

use crate::world::{World, variable};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use object_store::{
    ObjectStore as _, ObjectStoreExt as _,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use serde_json::json;

/// The bucket that each cluster has.
const BUCKET: &str = "jobs";

/// The objects of one test.
pub struct Objects {
    store: AmazonS3,
    prefix: String,
}

/// The server's URL, for the node and pods as for this machine.
pub fn endpoint() -> String {
    variable("S3_ENDPOINT")
}

impl Objects {
    /// None yet.
    pub fn of(world: &World) -> Self {
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint())
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(BUCKET)
            .with_access_key_id(variable("AWS_ACCESS_KEY_ID"))
            .with_secret_access_key(variable("AWS_SECRET_ACCESS_KEY"))
            .build()
            .expect("a client for S3");
        Self { store, prefix: world.namespace.clone() }
    }

    /// `s3://…` of an object.
    pub fn url(&self, key: &str) -> String {
        format!("s3://{BUCKET}/{}/{key}", self.prefix)
    }

    fn path(&self, key: &str) -> Path {
        Path::parse(format!("{}/{key}", self.prefix)).expect("a key")
    }

    /// Writes an object.
    pub async fn put(&self, key: &str, content: impl Into<Vec<u8>>) {
        self.store.put(&self.path(key), content.into().into()).await.expect("an object is taken");
    }

    /// An object's content, or nothing where there is no such object.
    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.store.get(&self.path(key)).await {
            Ok(found) => Some(found.bytes().await.expect("an object's content").to_vec()),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("object '{key}': {error}"),
        }
    }

    /// The same as text.
    pub async fn text(&self, key: &str) -> Option<String> {
        self.get(key).await.map(|content| String::from_utf8_lossy(&content).into_owned())
    }

    /// The keys that there are, sorted.
    pub async fn keys(&self) -> Vec<String> {
        let prefix = Path::parse(&self.prefix).expect("a key");
        let found: Vec<_> = self.store.list(Some(&prefix)).try_collect().await.expect("a list");
        let own = format!("{}/", self.prefix);
        let key = |path: &Path| path.as_ref().strip_prefix(&own).unwrap_or_default().to_owned();
        let mut keys: Vec<_> = found.iter().map(|object| key(&object.location)).collect();
        keys.sort();
        keys
    }

    /// Makes a Secret of this name, with which a job gets at the objects.
    pub async fn secret(&self, world: &World, name: &str) {
        let keys = json!({
            "AWS_ACCESS_KEY_ID": variable("AWS_ACCESS_KEY_ID"),
            "AWS_SECRET_ACCESS_KEY": variable("AWS_SECRET_ACCESS_KEY"),
        });
        let secret = json!({ "metadata": { "name": name }, "stringData": keys });
        world.create::<Secret>(secret).await;
    }

    /// Makes a Secret of this name, with a secret that is not the server's.
    pub async fn wrong_secret(&self, world: &World, name: &str) {
        let user = variable("AWS_ACCESS_KEY_ID");
        let keys = json!({ "AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": "nothing" });
        let secret = json!({ "metadata": { "name": name }, "stringData": keys });
        world.create::<Secret>(secret).await;
    }

    /// Removes the objects; to be called at the end of a test that passed.
    pub async fn end(self) {
        for key in self.keys().await {
            self.store.delete(&self.path(&key)).await.expect("an object can be deleted");
        }
    }
}
