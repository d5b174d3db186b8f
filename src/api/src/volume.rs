//! The volumes a job may mount: an allow-list of Kubernetes' volume types, and where they go.

use crate::rules;
use k8s_openapi::api::core::v1::{
    CSIVolumeSource, ConfigMapVolumeSource, NFSVolumeSource, PersistentVolumeClaimVolumeSource,
    SecretVolumeSource,
};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A volume of one of the allowed types.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::VOLUME_SOURCE).message(rules::VOLUME_SOURCE_MESSAGE))]
pub struct Volume {
    /// The volume's name, used by `volumeMounts`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!self.startsWith('docker-universe-')").message("a volume name cannot start with 'docker-universe-': those are the operator's own"))]
    pub name: String,
    /// A claim of the job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
    /// A `ConfigMap` of the job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolumeSource>,
    /// A Secret of the job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolumeSource>,
    /// An inline volume of a CSI driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<CSIVolumeSource>,
    /// An NFS export (the namespace's Pod Security may refuse it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nfs: Option<NFSVolumeSource>,
}

/// Where a volume appears in the job's container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The name of one of `volumes`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Absolute path in the container; not the scratch directory, `/tmp`, `/var/tmp` or a system path.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(rules::MOUNT_ABSOLUTE).message(rules::MOUNT_ABSOLUTE_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::MOUNT_RESERVED).message(rules::MOUNT_RESERVED_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub mount_path: String,
    /// Path inside the volume, relative and without `..`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(rules::SUB_PATH).message(rules::SUB_PATH_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::NO_CONTROL).message(rules::NO_CONTROL_MESSAGE))]
    pub sub_path: Option<String>,
    /// Mounted read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}
