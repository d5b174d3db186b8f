//! As whom a job's containers run, and with which credentials their images are pulled.
//!
//! Invariant: the pod satisfies Pod Security *restricted*, unless the installation allows more.

use super::files;
use crate::settings::Settings;
use duj_api::DockerUniverseJobSpec;
use k8s_openapi::api::core::v1::{
    Capabilities, LocalObjectReference, PodSecurityContext, SeccompProfile,
    SecurityContext as ContainerSecurityContext,
};

pub(super) fn pull_secrets(
    spec: &DockerUniverseJobSpec,
    settings: &Settings,
) -> Option<Vec<LocalObjectReference>> {
    let own = spec.image_pull_secrets.iter().map(|secret| &secret.name);
    let names: Vec<_> = own
        .chain(&settings.starter_pull_secrets)
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    (!names.is_empty()).then_some(names)
}

pub(super) fn security_context(
    spec: &DockerUniverseJobSpec,
    settings: &Settings,
) -> Result<PodSecurityContext, String> {
    let wanted = spec.security_context.clone().unwrap_or_default();
    let user = wanted.run_as_user.or(settings.run_as_user);
    let group = wanted.run_as_group.or(settings.run_as_group);
    for (field, id) in [("runAsUser", user), ("runAsGroup", group)] {
        if id == Some(0) && !settings.allow_root {
            return Err(format!(
                "securityContext.{field} '0' is refused by this installation: name another id, or leave the field out"
            ));
        }
    }
    // Only volumes of the job's owner need a group to be written to, and the kubelet walks each volume to give it one.
    let has_volumes = !spec.volumes.is_empty() || files::names_claims(&spec.files);
    let fs_group = wanted.fs_group.or(group.filter(|_| has_volumes));
    Ok(PodSecurityContext {
        run_as_non_root: Some(user != Some(0)),
        run_as_user: user,
        run_as_group: group,
        fs_group,
        fs_group_change_policy: fs_group.map(|_| "OnRootMismatch".to_owned()),
        supplemental_groups: Some(wanted.supplemental_groups).filter(|list| !list.is_empty()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    })
}

pub(super) fn container_security() -> ContainerSecurityContext {
    ContainerSecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".into()]) }),
        ..ContainerSecurityContext::default()
    }
}
