//! The CEL rules of the resources and their messages, in one place, so that tests and docs quote the same words.
//!
//! CEL has a budget per rule and per resource, so a rule over a list needs `maxItems` and `maxLength` beside it.

#![allow(missing_docs, reason = "each rule stands beside the message that says what it is")]

mod files;
mod queue;

pub use files::*;
pub use queue::*;

pub const IMAGE_WHITESPACE: &str = "self == self.trim()";
pub const IMAGE_WHITESPACE_MESSAGE: &str =
    "the image must not begin or end with white space: write it as 'registry/name:tag'";

pub const NO_CONTROL: &str = "!self.matches('[\\\\x00-\\\\x1f\\\\x7f]')";
pub const NO_CONTROL_MESSAGE: &str = "control characters are not allowed here";

pub const EXECUTABLE: &str = "self.startsWith('/') || !self.contains('/') || (self.startsWith('./') && self.size() > 2 && !self.split('/').exists(p, p == '..' || p == ''))";
pub const EXECUTABLE_MESSAGE: &str = "executable must be an absolute path in the image ('/bin/sleep'), a name without a slash that is found on the image's PATH ('sleep'), or a file that transferInput brings ('./run.sh')";
pub const EXECUTABLE_BROUGHT: &str = "!has(self.executable) || !self.executable.startsWith('./') || (has(self.transferInput) && self.transferInput.size() > 0)";
pub const EXECUTABLE_BROUGHT_MESSAGE: &str = "an executable that begins with './' is a file in the scratch directory: let one of transferInput bring it, for example {name: run.sh, configMap: {name: scripts, key: run.sh}}; a program in the image is written with its absolute path";

pub const OVERRIDE_ENTRYPOINT: &str =
    "has(self.executable) || !has(self.overrideEntrypoint) || !self.overrideEntrypoint";
pub const OVERRIDE_ENTRYPOINT_MESSAGE: &str = "overrideEntrypoint: true needs an executable that runs in place of the image's ENTRYPOINT; without an executable the image's own command runs";

/// A pattern, not a CEL rule: looking into each argument is estimated at 2.7 times what one rule may cost.
pub const ARGUMENT_WITHOUT_NUL: &str = r"^[^\x00]*$";
pub const ARGUMENTS_SIZE: &str = "self.map(a, a.size()).sum() <= 262144";
pub const ARGUMENTS_SIZE_MESSAGE: &str = "arguments cannot be longer than 262144 characters together: put long text into a ConfigMap and mount it as a volume";

pub const ENVIRONMENT_NAME: &str = "!self.contains('=')";
pub const ENVIRONMENT_NAME_MESSAGE: &str =
    "an environment name cannot contain '=': write the value in its own field 'value'";
pub const ENVIRONMENT_RESERVED: &str = "!(self.startsWith('_CONDOR_') || self.startsWith('_DOCKER_UNIVERSE_') || self in ['BATCH_SYSTEM', 'TMPDIR', 'TEMP', 'TMP'])";
pub const ENVIRONMENT_RESERVED_MESSAGE: &str = "this environment name is set by the docker universe itself (BATCH_SYSTEM, TMPDIR, TEMP, TMP, _CONDOR_*): choose another name";
pub const ENVIRONMENT_VALUE: &str = "!(has(self.value) && has(self.valueFrom))";
pub const ENVIRONMENT_VALUE_MESSAGE: &str =
    "give either 'value' or 'valueFrom' for an environment name, not both";
pub const ENVIRONMENT_NUL: &str = "!self.contains('\\x00')";
pub const ENVIRONMENT_NUL_MESSAGE: &str = "an environment value cannot contain a NUL character";
pub const ENVIRONMENT_SIZE: &str = "self.map(e, has(e.value) ? e.value.size() : 0).sum() <= 262144";
pub const ENVIRONMENT_SIZE_MESSAGE: &str = "environment values cannot be longer than 262144 characters together: put long text into a ConfigMap and mount it as a volume";
pub const VALUE_FROM: &str = "has(self.configMapKeyRef) != has(self.secretKeyRef)";
pub const VALUE_FROM_MESSAGE: &str =
    "valueFrom must name exactly one of 'configMapKeyRef' and 'secretKeyRef'";

/// A quantity between two others. The pattern stands first: the server's own reader of quantities does not come back from
/// `1e999999999` within the 30 seconds that a request has.
macro_rules! quantity_between {
    ($quantity:literal, $least:literal, $most:literal) => {
        concat!(
            "string(",
            $quantity,
            ").matches('^[0-9]*[.]?[0-9]+([KMGTPE]i|[numkMGTPE]|[eE][+-]?[12]?[0-9])?$')",
            " && isQuantity(string(",
            $quantity,
            ")) && quantity(string(",
            $quantity,
            ")).compareTo(quantity('",
            $least,
            "')) >= 0 && quantity(string(",
            $quantity,
            ")).compareTo(quantity('",
            $most,
            "')) <= 0"
        )
    };
}

pub const CPUS: &str = quantity_between!("self", "0", "100000");
pub const CPUS_MESSAGE: &str =
    "requestCpus must be a number of cores between 0 and 100000, such as '1', '500m' or '2.5'";
pub const MEMORY: &str = quantity_between!("self", "4Mi", "1Pi");
pub const MEMORY_MESSAGE: &str = "requestMemory must be a size between '4Mi' and '1Pi' with its unit, such as '128Mi' or '2Gi' (a bare number is bytes here, not MiB as in a submit file)";
pub const RETRY_MEMORY: &str =
    concat!("self.all(step, ", quantity_between!("step", "4Mi", "1Pi"), ")");
pub const RETRY_MEMORY_MESSAGE: &str = "each of retryRequestMemory must be a size between '4Mi' and '1Pi' with its unit, such as '256Mi' or '2Gi'";
pub const RETRY_MEMORY_MAX: &str = quantity_between!("self", "4Mi", "1Pi");
pub const RETRY_MEMORY_MAX_MESSAGE: &str =
    "retryRequestMemoryMax must be a size between '4Mi' and '1Pi' with its unit, such as '8Gi'";
pub const RETRY_MEMORY_ONE: &str = "!has(self.retryRequestMemory) || !(has(self.retryRequestMemoryIncrease) || has(self.retryRequestMemoryMax))";
pub const RETRY_MEMORY_ONE_MESSAGE: &str = "give either 'retryRequestMemory', a list of sizes, or 'retryRequestMemoryIncrease' and 'retryRequestMemoryMax'";
pub const DISK: &str = quantity_between!("self", "1Mi", "1Pi");
pub const DISK_MESSAGE: &str = "requestDisk must be a size between '1Mi' and '1Pi' with its unit, such as '500Mi' or '10Gi' (a bare number is bytes here, not KiB as in a submit file)";

pub const LEASE: &str = "self >= 20 && self <= 604800";
pub const LEASE_MESSAGE: &str = "leaseDuration must be between 20 and 604800 seconds: several minutes suit most jobs; leave the field out for a job that waits for its node, however long that takes (0 in a submit file)";

pub const VOLUME_SOURCE: &str = "[has(self.persistentVolumeClaim), has(self.configMap), has(self.secret), has(self.csi), has(self.nfs)].filter(x, x).size() == 1";
pub const VOLUME_SOURCE_MESSAGE: &str = "a volume must name exactly one of 'persistentVolumeClaim', 'configMap', 'secret', 'csi' and 'nfs'";
pub const MOUNT_ABSOLUTE: &str = "self.startsWith('/') && !self.contains(':') && !self.split('/').exists(p, p == '..' || p == '.') && !self.contains('//')";
pub const MOUNT_ABSOLUTE_MESSAGE: &str =
    "mountPath must be an absolute path without '.', '..', '//' and ':', such as '/data'";
pub const MOUNT_RESERVED: &str = "!(self.matches('^(/|/(scratch|\\\\.docker-universe|\\\\.docker-universe-control|proc|sys|dev|tmp|var/tmp)(/.*)?)/?$') || self.matches('^/var/?$'))";
pub const MOUNT_RESERVED_MESSAGE: &str = "mountPath cannot be '/', the scratch directory (/scratch, /tmp, /var/tmp), /.docker-universe, /proc, /sys or /dev, nor hide them: choose another path, such as '/data'";
pub const SUB_PATH: &str = "!self.startsWith('/') && !self.split('/').exists(p, p == '..')";
pub const SUB_PATH_MESSAGE: &str = "subPath must be relative and without '..'";
pub const MOUNT_NAMES: &str = "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))";
pub const MOUNT_NAMES_MESSAGE: &str = "each of volumeMounts must name one of volumes";

pub const COMMAND_JOB: &str = "has(self.job) != has(self.constraint)";
pub const COMMAND_JOB_MESSAGE: &str = "give either 'job', the name of a job, or 'constraint', an expression that jobs of this namespace match ('true' for all)";
pub const COMMAND_PROCS: &str = "!has(self.procs) || has(self.job)";
pub const COMMAND_PROCS_MESSAGE: &str =
    "procs are those of one 'job': with a constraint, write it as 'ProcId < 5'";
pub const COMMAND_SUBCODE: &str = "!has(self.subcode) || self.verb == 'hold'";
pub const COMMAND_SUBCODE_MESSAGE: &str = "subcode is for the verb 'hold' only";
pub const COMMAND_PRIORITY: &str = "self.verb == 'prio' ? has(self.priority) != has(self.priorityChange) : !has(self.priority) && !has(self.priorityChange)";
pub const COMMAND_PRIORITY_MESSAGE: &str = "the verb 'prio' needs either 'priority' (condor_prio -p) or 'priorityChange' (condor_prio +n, -n), and no other verb takes them";

pub const JOB_NAME: &str = "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')";
pub const JOB_NAME_MESSAGE: &str = "metadata.name must be at most 63 lower-case letters, digits and '-', without dots, because pods are named after it";

/// "The spec is as it was." Written with `has`: the cost of comparing CEL's optional values (`.?`) is estimated as boundless.
macro_rules! unchanged {
    ($($field:literal)+) => {
        concat!(
            "self.spec.image == oldSelf.spec.image",
            $(
                " && (has(self.spec.", $field, ") ? has(oldSelf.spec.", $field, ") && self.spec.", $field,
                " == oldSelf.spec.", $field, " : !has(oldSelf.spec.", $field, "))",
            )+
        )
    };
}

/// The fields that shape a pod, compared between the stored and the new job.
pub const MENDING: &str = concat!(
    // Every write of a status asks this: what is equal as a whole need not be compared field by field.
    "self.spec == oldSelf.spec || (has(oldSelf.status) && has(oldSelf.status.counts) && oldSelf.status.counts.held > 0",
    " && oldSelf.status.counts.idle + oldSelf.status.counts.running + oldSelf.status.counts.suspended == 0) || (",
    unchanged!(
        "executable" "overrideEntrypoint" "input" "output" "error" "transferInput" "maxTransferInputMb" "transferOutput"
        "transferOutputRemaps" "whenToTransferOutput" "outputDestination" "maxTransferOutputMb" "preserveRelativePaths"
        "checkpointExitCode" "transferCheckpoint" "checkpointDestination" "s3"
        "imagePullPolicy" "imagePullSecrets" "arguments" "environment" "requestCpus" "requestMemory" "requestDisk"
        "requestGpus" "killSig" "maxVacateTime" "leaseDuration" "scheduling" "serviceAccountName" "securityContext" "volumes"
        "volumeMounts"
    ),
    ")",
);
pub const MENDING_MESSAGE: &str = "what shapes the pod can change only while every proc that is left is held: set spec.hold to true first, change it, then set spec.hold to false (hold, priority, policies, batchName, removePods, ttlSecondsAfterFinished, queue.maxMaterialize and queue.maxIdle can change at any time; a finished job is deleted and created anew)";
