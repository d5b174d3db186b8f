//! The volumes of a job's pod that every job has, and those that its owner names.
//!
//! Invariant: scratch, in all its parts, is a volume of the pod and goes with it.

use super::{files::sends, kube_quantity_of};
use crate::{
    pod::Requests,
    settings::{Delivery, Settings},
};
use duj_api::{DockerUniverseJobSpec, names, volume};
use duj_protocol::{control, transfer};
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, ImageVolumeSource,
    ObjectFieldSelector, Volume, VolumeMount,
};

pub(super) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.into(), mount_path: path.into(), ..VolumeMount::default() }
}

pub(super) fn volumes(
    spec: &DockerUniverseJobSpec,
    settings: &Settings,
    requests: &Requests,
    delivery: Delivery,
) -> Vec<Volume> {
    let scratch = |name: &str| Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: requests.disk_bytes.map(|bytes| kube_quantity_of(backstop(bytes))),
            medium: None,
        }),
        ..Volume::default()
    };
    let starter = Volume { name: names::VOLUME_STARTER.into(), ..Volume::default() };
    let starter = match delivery {
        Delivery::ImageVolume => Volume {
            image: Some(ImageVolumeSource {
                reference: Some(settings.image.clone()),
                pull_policy: Some("IfNotPresent".into()),
            }),
            ..starter
        },
        Delivery::InitContainer | Delivery::None => {
            Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..starter }
        }
    };
    let own = [
        scratch(names::VOLUME_SCRATCH),
        scratch(names::VOLUME_TMP),
        scratch(names::VOLUME_VAR_TMP),
        starter,
        control_volume(spec),
    ];
    own.into_iter().chain(spec.volumes.iter().map(user_volume)).collect()
}

/// The pod's annotations that its starter heeds.
fn control_volume(spec: &DockerUniverseJobSpec) -> Volume {
    let file = |path: &str, annotation: &str| DownwardAPIVolumeFile {
        path: path.into(),
        field_ref: Some(ObjectFieldSelector {
            field_path: format!("metadata.annotations['{annotation}']"),
            api_version: None,
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let suspend = file(control::SUSPEND, names::ANNOTATION_SUSPEND);
    let lease = spec.lease_duration.map(|_| file(control::LEASE, names::ANNOTATION_LEASE));
    let resend = sends(&spec.files).then(|| file(transfer::RESEND, names::ANNOTATION_RESEND));
    let stop = sends(&spec.files).then(|| file(transfer::STOP, names::ANNOTATION_STOP));
    Volume {
        name: names::VOLUME_CONTROL.into(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some([suspend].into_iter().chain(lease).chain(resend).chain(stop).collect()),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The kubelet's own limit stands above the starter's, so that the starter, which is faster and says more, acts first.
fn backstop(bytes: i64) -> i64 {
    bytes.saturating_add(bytes / 10).saturating_add(64 << 20)
}

fn user_volume(wanted: &volume::Volume) -> Volume {
    Volume {
        name: wanted.name.clone(),
        persistent_volume_claim: wanted.persistent_volume_claim.clone(),
        config_map: wanted.config_map.clone(),
        secret: wanted.secret.clone(),
        csi: wanted.csi.clone(),
        nfs: wanted.nfs.clone(),
        ..Volume::default()
    }
}
