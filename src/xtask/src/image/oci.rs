//! An image as the OCI image specification has it: config, manifest, and the directory layout.
//! Invariant: everything is named by its digest, and the same layers and settings give the same image.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use oci_client::{
    config::{Architecture, Config, ConfigFile, Os, Rootfs},
    manifest::{
        IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE, ImageIndexEntry,
        OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageIndex,
        OciImageManifest,
    },
};

use super::layer::{Blob, Layer};

/// An image in memory, ready to be written or pushed.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// Its name below the registry's, such as `busybox`.
    pub(super) name: String,
    /// Its tag.
    pub(super) tag: String,
    /// The manifest: its digest is the image's digest.
    pub(super) manifest: Blob,
    /// The config: command, user, environment.
    pub(super) config: Blob,
    /// The layers, lowest first.
    pub(super) layers: Vec<Layer>,
}

impl Image {
    /// Puts layers and settings together, for amd64. No creation time: it would change the digest with every build.
    pub(super) fn new(
        name: &str,
        tag: &str,
        layers: Vec<Layer>,
        config: Config,
        annotations: BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let config = ConfigFile {
            architecture: Architecture::Amd64,
            os: Os::Linux,
            config: Some(config),
            rootfs: Rootfs {
                diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
                ..Rootfs::default()
            },
            ..ConfigFile::default()
        };
        let config = Blob::new(serde_json::to_vec(&config)?);
        let manifest = OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            config: descriptor(&config, IMAGE_CONFIG_MEDIA_TYPE)?,
            layers: layers
                .iter()
                .map(|layer| descriptor(&layer.blob, IMAGE_LAYER_GZIP_MEDIA_TYPE))
                .collect::<anyhow::Result<_>>()?,
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..OciImageManifest::default()
        };
        let manifest = Blob::new(serde_json::to_vec(&manifest)?);
        Ok(Self { name: name.to_owned(), tag: tag.to_owned(), manifest, config, layers })
    }

    /// The blobs that the manifest names.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().map(|layer| &layer.blob).chain([&self.config])
    }

    /// What has to be moved to have this image, in bytes.
    pub(super) fn size(&self) -> usize {
        self.blobs().chain([&self.manifest]).map(|blob| blob.content.len()).sum()
    }
}

/// Writes images into one OCI image layout directory and returns it. What else is there stays, but is no longer in the index.
pub(super) fn write_layout(directory: &Path, images: &[Image]) -> anyhow::Result<PathBuf> {
    let write = |relative: &str, content: &[u8]| {
        let path = directory.join(relative);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    fs::create_dir_all(directory.join("blobs/sha256"))
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for blob in images.iter().flat_map(|image| image.blobs().chain([&image.manifest])) {
        write(&format!("blobs/{}", blob.digest.replace(':', "/")), &blob.content)?;
    }
    let index = OciImageIndex {
        schema_version: 2,
        media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
        manifests: images.iter().map(entry).collect::<anyhow::Result<_>>()?,
        artifact_type: None,
        annotations: None,
    };
    write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    // Last, so that an index never names what is not there yet.
    write("index.json", &serde_json::to_vec(&index)?)?;
    Ok(directory.to_owned())
}

fn entry(image: &Image) -> anyhow::Result<ImageIndexEntry> {
    let reference = format!("{}:{}", image.name, image.tag);
    Ok(ImageIndexEntry {
        media_type: OCI_IMAGE_MEDIA_TYPE.to_owned(),
        digest: image.manifest.digest.clone(),
        size: i64::try_from(image.manifest.content.len())?,
        platform: None,
        artifact_type: None,
        // The first is the specification's, the second what containerd calls the image on import.
        annotations: Some(BTreeMap::from([
            ("org.opencontainers.image.ref.name".to_owned(), reference.clone()),
            ("io.containerd.image.name".to_owned(), reference),
        ])),
    })
}

fn descriptor(blob: &Blob, media_type: &str) -> anyhow::Result<OciDescriptor> {
    Ok(OciDescriptor {
        media_type: media_type.to_owned(),
        digest: blob.digest.clone(),
        size: i64::try_from(blob.content.len())?,
        ..OciDescriptor::default()
    })
}

#[cfg(test)]
mod tests {
    use super::{super::layer::Tree, *};

    fn image() -> Image {
        let layer = Tree::default().file("/hello", 0o755, "world").layer().unwrap();
        let config = Config { cmd: Some(vec!["/hello".to_owned()]), ..Config::default() };
        let annotations =
            BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
        Image::new("hello", "1", vec![layer], config, annotations).unwrap()
    }

    #[test]
    fn the_same_layers_and_settings_give_the_same_image() {
        let image = image();
        assert_eq!(image.manifest.digest, self::image().manifest.digest);
        let config: serde_json::Value = serde_json::from_slice(&image.config.content).unwrap();
        assert_eq!(
            config,
            serde_json::json!({
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/hello"]},
                "rootfs": {"type": "layers", "diff_ids": [image.layers[0].diff_id]},
            })
        );
    }

    #[test]
    fn the_layout_holds_what_its_index_names() {
        let directory = std::env::temp_dir().join(format!("duj-layout-{}", std::process::id()));
        write_layout(&directory, &[image()]).unwrap();
        let read = |relative: &str| fs::read(directory.join(relative)).unwrap();
        let index: OciImageIndex = serde_json::from_slice(&read("index.json")).unwrap();
        let blob = |digest: &str| read(&format!("blobs/{}", digest.replace(':', "/")));
        let manifest: OciImageManifest =
            serde_json::from_slice(&blob(&index.manifests[0].digest)).unwrap();
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            assert_eq!(Blob::new(blob(&descriptor.digest)).digest, descriptor.digest);
        }
        assert!(String::from_utf8(read("oci-layout")).unwrap().contains("1.0.0"));
        fs::remove_dir_all(directory).unwrap();
    }
}
