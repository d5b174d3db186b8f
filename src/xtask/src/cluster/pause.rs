//! The pause image, made on the spot: a static C program in an OCI layout. Invariant: the same
//! program gives the same digest, since times, owners and order in the archive are fixed.

use std::{fs, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    configuration::PAUSE,
    state::{State, hex, write},
};

const SOURCE: &str = include_str!("pause.c");

/// Makes `pause.tar` unless it is there.
pub(super) fn ensure(state: &State) -> anyhow::Result<()> {
    let archive = state.path("pause.tar");
    if archive.exists() {
        return Ok(());
    }
    let (source, program) = (state.path("pause.c"), state.path("pause"));
    fs::write(&source, SOURCE)?;
    let output = Command::new("gcc")
        .args(["-static", "-Os", "-s", "-o"])
        .args([&program, &source])
        .output()
        .context("cannot run `gcc`")?;
    ensure!(
        output.status.success(),
        "`gcc -static` failed; libc6-dev must be installed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let image = image(&fs::read(&program)?)?;
    fs::remove_file(&source)?;
    fs::remove_file(&program)?;
    write(&archive, &image)
}

/// An OCI layout as an archive, with one image that consists of this program.
fn image(program: &[u8]) -> anyhow::Result<Vec<u8>> {
    let layer = archive(&[("pause", 0o755, program)])?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::to_vec(&json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({"io.containerd.image.name": PAUSE});
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [entry]}))?;
    let blob = |content: &[u8]| digest(content).replace(':', "/");
    archive(&[
        ("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", 0o644, &index),
        (&format!("blobs/{}", blob(&layer)), 0o644, &layer),
        (&format!("blobs/{}", blob(&config)), 0o644, &config),
        (&format!("blobs/{}", blob(&manifest)), 0o644, &manifest),
    ])
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

fn descriptor(media_type: &str, content: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn archive(files: &[(&str, u32, &[u8])]) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(*mode);
        header.set_size(u64::try_from(content.len())?);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, path, *content)?;
    }
    Ok(archive.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program_gives_the_same_image() {
        let first = image(b"program").unwrap();
        assert_eq!(first, image(b"program").unwrap());
        let mut names = Vec::new();
        for entry in tar::Archive::new(first.as_slice()).entries().unwrap() {
            names.push(entry.unwrap().path().unwrap().display().to_string());
        }
        assert_eq!(names.len(), 5);
        assert_eq!(names[0], "oci-layout");
    }
}
