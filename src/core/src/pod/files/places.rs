//! Places that a job's files come from or go to, and the volumes by which the pod has them.
//!
//! Invariant: a volume is there once for what it holds, and is mounted only in the container whose plan names it.

use super::Plans;
use crate::pod::volumes::mount;
use duj_api::{
    files::{ClaimPath, Place, S3Service},
    job::LocalReference,
    names,
};
use duj_protocol::transfer as protocol;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume, VolumeMount,
};

impl Plans<'_> {
    /// Adds a volume, once for what it holds, and mounts it in the container that is being made; where.
    pub(super) fn mounted(
        &mut self,
        prefix: &str,
        holds: String,
        read_only: bool,
        volume: impl FnOnce(Volume) -> Volume,
    ) -> String {
        let number = self.volumes.values().filter(|known| known.name.starts_with(prefix)).count();
        let fresh = || volume(Volume { name: format!("{prefix}{number}"), ..Volume::default() });
        let name = self.volumes.entry(holds).or_insert_with(fresh).name.clone();
        let short = name.strip_prefix("docker-universe-").unwrap_or(&name);
        let path = format!("{}/{short}", names::VOLUMES_MOUNT);
        let mounted = self
            .mounts
            .entry(name.clone())
            .or_insert_with(|| VolumeMount { read_only: Some(true), ..mount(&name, &path) });
        if !read_only {
            mounted.read_only = None;
        }
        path
    }

    pub(super) fn secret(&mut self, prefix: &str, secret: &str, optional: bool) -> String {
        let source = SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            optional: optional.then_some(true),
            ..SecretVolumeSource::default()
        };
        let holds = format!("{prefix}{secret}");
        self.mounted(prefix, holds, true, |volume| Volume { secret: Some(source), ..volume })
    }

    pub(super) fn credentials(&mut self, reference: Option<&LocalReference>) -> Option<String> {
        let name = reference?.name.clone();
        Some(self.secret(names::VOLUME_SECRET, &name, false))
    }

    pub(super) fn claim(&mut self, claim: &ClaimPath, read_only: bool) -> protocol::Place {
        let source = PersistentVolumeClaimVolumeSource {
            claim_name: claim.claim_name.clone(),
            read_only: None,
        };
        let holds = format!("claim {}", claim.claim_name);
        let root = self.mounted(names::VOLUME_CLAIM, holds, read_only, |volume| Volume {
            persistent_volume_claim: Some(source),
            ..volume
        });
        let what = format!("PersistentVolumeClaim '{}'", claim.claim_name);
        protocol::Place::Volume { root, path: claim.path.clone(), what }
    }

    pub(super) fn url(
        &mut self,
        url: &str,
        headers: Option<&LocalReference>,
        s3: Option<&S3Service>,
    ) -> protocol::Place {
        let service = s3.or(self.job.spec.files.s3.as_ref()).cloned();
        let service = service.filter(|_| url.starts_with("s3:"));
        let s3 = service.map(|service| protocol::S3 {
            endpoint: service.endpoint.clone(),
            region: service.region.clone(),
            credentials: self.credentials(service.credentials.as_ref()),
        });
        let headers = self.credentials(headers);
        protocol::Place::Url { url: url.to_owned(), headers, s3 }
    }

    pub(super) fn place(&mut self, place: &Place, read_only: bool) -> Option<protocol::Place> {
        if let Some(claim) = &place.persistent_volume_claim {
            return Some(self.claim(claim, read_only));
        }
        let url = place.url.as_ref()?;
        Some(self.url(url, place.headers_from.as_ref(), place.s3.as_ref()))
    }

    /// Where this proc's checkpoints are: nobody else's.
    pub(super) fn checkpoint(&mut self) -> Option<protocol::Place> {
        let place = self.job.spec.files.checkpoint_destination.clone()?;
        let uid = self.job.metadata.uid.as_deref().unwrap_or_default();
        let own = format!("{uid}/{}", self.attempt.proc);
        Some(match self.place(&place, false)? {
            protocol::Place::Volume { root, path, what } => {
                let path = format!("{}/{own}", path.trim_end_matches('/'));
                protocol::Place::Volume { root, path: path.trim_start_matches('/').into(), what }
            }
            protocol::Place::Url { url, headers, s3 } => {
                let url = format!("{}/{own}/", url.trim_end_matches('/'));
                protocol::Place::Url { url, headers, s3 }
            }
        })
    }
}
