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
        OciImageManifest, Platform,
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
    /// The manifest, or the index: its digest is the image's digest.
    pub(super) manifest: Blob,
    /// What of the two it is.
    pub(super) media_type: &'static str,
    /// The config: command, user, environment. An index has none.
    pub(super) config: Option<Blob>,
    /// The layers, lowest first. An index has none.
    pub(super) layers: Vec<Layer>,
    /// What an index chooses from.
    pub(super) members: Vec<Image>,
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
        Self::of_platform(name, tag, &amd64(), layers, config, annotations)
    }

    /// The same for another platform.
    pub(super) fn of_platform(
        name: &str,
        tag: &str,
        platform: &Platform,
        layers: Vec<Layer>,
        config: Config,
        annotations: BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let config = ConfigFile {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
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
        Ok(Self {
            name: name.to_owned(),
            tag: tag.to_owned(),
            manifest,
            media_type: OCI_IMAGE_MEDIA_TYPE,
            config: Some(config),
            layers,
            members: Vec::new(),
        })
    }

    /// An index over images of several platforms, with the annotations that each has in it.
    pub(super) fn index(
        name: &str,
        tag: &str,
        members: Vec<(Platform, Image, BTreeMap<String, String>)>,
    ) -> anyhow::Result<Self> {
        let entry = |(platform, image, annotations): &(Platform, Self, BTreeMap<_, _>)| {
            let annotations = (!annotations.is_empty()).then(|| annotations.clone());
            image.entry(Some(platform.clone()), annotations)
        };
        let manifest = index(members.iter().map(entry).collect::<anyhow::Result<_>>()?)?;
        Ok(Self {
            name: name.to_owned(),
            tag: tag.to_owned(),
            manifest,
            media_type: OCI_IMAGE_INDEX_MEDIA_TYPE,
            config: None,
            layers: Vec::new(),
            members: members.into_iter().map(|(_, image, _)| image).collect(),
        })
    }

    /// The blobs that the manifest names.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().map(|layer| &layer.blob).chain(&self.config)
    }

    /// Itself, after the images that it chooses from.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Self> {
        self.members.iter().chain([self])
    }

    /// What has to be moved to have this image, in bytes.
    pub(super) fn size(&self) -> usize {
        self.parts().flat_map(Self::everything).map(|blob| blob.content.len()).sum()
    }

    fn everything(&self) -> impl Iterator<Item = &Blob> {
        self.blobs().chain([&self.manifest])
    }

    fn entry(
        &self,
        platform: Option<Platform>,
        annotations: Option<BTreeMap<String, String>>,
    ) -> anyhow::Result<ImageIndexEntry> {
        Ok(ImageIndexEntry {
            media_type: self.media_type.to_owned(),
            digest: self.manifest.digest.clone(),
            size: i64::try_from(self.manifest.content.len())?,
            platform,
            artifact_type: None,
            annotations,
        })
    }
}

/// The platform that everything of the project is built for.
pub(super) fn amd64() -> Platform {
    platform(Os::Linux, Architecture::Amd64)
}

/// A platform without a version or variant.
pub(super) fn platform(os: Os, architecture: Architecture) -> Platform {
    Platform {
        architecture,
        os,
        os_version: None,
        os_features: None,
        variant: None,
        features: None,
    }
}

fn index(manifests: Vec<ImageIndexEntry>) -> anyhow::Result<Blob> {
    Ok(Blob::new(serde_json::to_vec(&OciImageIndex {
        schema_version: 2,
        media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
        manifests,
        artifact_type: None,
        annotations: None,
    })?))
}

/// Writes images into one OCI image layout directory and returns it. What else is there stays, but is no longer in the index.
pub(super) fn write_layout(directory: &Path, images: &[Image]) -> anyhow::Result<PathBuf> {
    let write = |relative: &str, content: &[u8]| {
        let path = directory.join(relative);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    fs::create_dir_all(directory.join("blobs/sha256"))
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for blob in images.iter().flat_map(Image::parts).flat_map(Image::everything) {
        write(&format!("blobs/{}", blob.digest.replace(':', "/")), &blob.content)?;
    }
    let index = index(images.iter().map(entry).collect::<anyhow::Result<_>>()?)?;
    write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    // Last, so that an index never names what is not there yet.
    write("index.json", &index.content)?;
    Ok(directory.to_owned())
}

fn entry(image: &Image) -> anyhow::Result<ImageIndexEntry> {
    let reference = format!("{}:{}", image.name, image.tag);
    // The first is the specification's, the second what containerd calls the image on import.
    let annotations = BTreeMap::from([
        ("org.opencontainers.image.ref.name".to_owned(), reference.clone()),
        ("io.containerd.image.name".to_owned(), reference),
    ]);
    image.entry(None, Some(annotations))
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
        let config: serde_json::Value =
            serde_json::from_slice(&image.config.as_ref().unwrap().content).unwrap();
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
