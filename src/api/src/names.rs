//! Labels, annotations, finalizers, container and volume names: the words by which the parts find each other.
//!
//! Invariant: a pod's name is a pure function of job name, job UID, proc and attempt, at most 63 characters and a
//! valid DNS label, so that making the same pod twice is "already exists" and never a second pod.

/// Label: name of the job that a pod belongs to.
pub const LABEL_JOB: &str = "dockeruniverse.io/job";
/// Label: UID of the job that a pod belongs to.
pub const LABEL_JOB_UID: &str = "dockeruniverse.io/job-uid";
/// Label: `HTCondor`'s `ClusterId`.
pub const LABEL_CLUSTER_ID: &str = "dockeruniverse.io/cluster-id";
/// Label: `HTCondor`'s `ProcId`.
pub const LABEL_PROC_ID: &str = "dockeruniverse.io/proc-id";
/// Label: number of the attempt, from 0.
pub const LABEL_ATTEMPT: &str = "dockeruniverse.io/attempt";
/// Label by which the operator selects its pods, with the value [`MANAGED_BY`].
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "docker-universe";
/// How many parts of the log a page holds.
pub const ANNOTATION_PARTS: &str = "dockeruniverse.io/userlog-parts";
/// The key of the items in the `ConfigMap` that keeps them.
pub const ITEMS_KEY: &str = "items";
/// `true` on the pod of a proc that is suspended.
pub const ANNOTATION_SUSPEND: &str = "dockeruniverse.io/suspend";
/// Annotation: the lease of the job in a pod, as its starter reads it (`duj_protocol::lease::Mark`).
pub const ANNOTATION_LEASE: &str = "dockeruniverse.io/lease";
/// Annotation: the generation of the job that a pod was made from.
pub const ANNOTATION_GENERATION: &str = "dockeruniverse.io/generation";
/// Annotation: the name `HTCondor` would give the container, `HTCJob<cluster>_<proc>` (upper case is not allowed in pod names).
pub const ANNOTATION_CONTAINER_NAME: &str = "dockeruniverse.io/container-name";
/// Finalizer of a pod whose end is not yet accounted in its job's status.
pub const FINALIZER_ACCOUNTED: &str = "dockeruniverse.io/accounted";

/// Container that runs the user's command.
pub const CONTAINER_JOB: &str = "job";
/// Init container that brings what the job needs into the pod.
pub const CONTAINER_PREPARE: &str = "prepare";
/// Container that sends the job's outputs.
pub const CONTAINER_TRANSFER: &str = "transfer";
/// Volumes with inputs, by their number; `prepare` alone mounts them.
pub const VOLUME_INPUT: &str = "docker-universe-input-";
/// Volumes of claims that files come from or go to, by their number.
pub const VOLUME_CLAIM: &str = "docker-universe-claim-";
/// Volume with further certificates to trust.
pub const VOLUME_CA: &str = "docker-universe-ca-";
/// Volumes with credentials and headers, by their number; `prepare` and `transfer` mount what they need.
pub const VOLUME_SECRET: &str = "docker-universe-secret-";
/// Volumes with the image's pull secrets, by their number; `prepare` alone mounts them.
pub const VOLUME_PULL_SECRET: &str = "docker-universe-pull-secret-";
/// Where `prepare` and `transfer` find such volumes: this directory and the volume's name without `docker-universe-`.
pub const VOLUMES_MOUNT: &str = "/volumes";
/// A number on the pod of a proc whose outputs are to be sent again.
pub const ANNOTATION_RESEND: &str = "dockeruniverse.io/resend";
/// Why the job in a pod is about to be stopped, for what becomes of its outputs.
pub const ANNOTATION_STOP: &str = "dockeruniverse.io/stop";
/// Volume that holds the scratch directory.
pub const VOLUME_SCRATCH: &str = "docker-universe-scratch";
/// Volume through which the operator speaks to the starter.
pub const VOLUME_CONTROL: &str = "docker-universe-control";
/// Volume that is mounted at `/tmp`. Its name, like the next one's, begins with the scratch volume's: all three are scratch.
pub const VOLUME_TMP: &str = "docker-universe-scratch-tmp";
/// Volume that is mounted at `/var/tmp`.
pub const VOLUME_VAR_TMP: &str = "docker-universe-scratch-var-tmp";
/// Volume that holds the starter.
pub const VOLUME_STARTER: &str = "docker-universe-starter";

/// Where the scratch volume is mounted.
pub const SCRATCH_MOUNT: &str = "/scratch";
/// The scratch directory: cwd, HOME and TMPDIR of the job.
pub const SCRATCH: &str = "/scratch/work";
/// Where the starter and the program that transfers find each other.
pub const HANDSHAKE: &str = "/scratch/.transfer";
/// Where the control files are mounted.
pub const CONTROL_MOUNT: &str = "/.docker-universe-control";
/// Where the starter's volume is mounted.
pub const STARTER_MOUNT: &str = "/.docker-universe";
/// The starter's path in the pod.
pub const STARTER: &str = "/.docker-universe/starter";

/// Name of the pod of one attempt of one proc.
pub fn pod_name(job: &str, uid: &str, proc: u32, attempt: u32) -> String {
    let uid: String = uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let suffix = format!("-{uid}-{proc}-{attempt}").to_ascii_lowercase();
    let room = 63usize.saturating_sub(suffix.len());
    let stem: String = job.chars().take(room).collect();
    let stem = stem.trim_end_matches(['-', '.']);
    format!("{stem}{suffix}")
}

/// Name of the `ConfigMap` that keeps a job's items as they were when it was submitted. Not `-items`: that is how people call
/// the one that the items come from.
pub fn items_name(job: &str) -> String {
    format!("{job}-itemdata")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_names_are_dns_labels_of_at_most_63_characters() {
        let uid = "0a1b2c3d-1111-2222-3333-444455556666";
        assert_eq!(pod_name("hello", uid, 0, 2), "hello-0a1b2c3d-0-2");
        let long = pod_name(&"a".repeat(63), uid, 99_999, 12);
        assert_eq!(long.len(), 63);
        assert_eq!(
            pod_name(&format!("{}-{}", "a".repeat(45), "b"), uid, 100, 1).matches("--").count(),
            0
        );
    }
}
