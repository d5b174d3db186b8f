//! The rules of files in and out.
//!
//! Invariant: what has nowhere to come from or to go to is refused when it is applied.

pub const URL: &str = r"^(https?|s3)://[^/?#\s]+(/[^\s\x00-\x1f\x7f]*)?$";
pub const URL_USER: &str = "!self.matches('^[a-z0-9]+://[^/]*@')";
pub const URL_USER_MESSAGE: &str = "a URL cannot have a user and a password in it: put them into a Secret and name it in headersFrom (key 'Authorization') or in s3.credentials";
pub const URL_OPTIONS: &str = "(!has(self.headersFrom) || (has(self.url) && self.url.startsWith('http'))) && (!has(self.s3) || (has(self.url) && self.url.startsWith('s3:')))";
pub const URL_OPTIONS_MESSAGE: &str =
    "headersFrom is for an http:// or https:// URL, and s3 for an s3:// URL";
pub const STDIN: &str = "!self.endsWith('/') && !self.split('/').exists(p, p == '..' || p == '.')";
pub const STDIN_MESSAGE: &str = "input must be a file in the scratch directory ('data.txt') or an absolute path in the image, without '.' and '..'";
pub const SCRATCH_FILE: &str = "!self.startsWith('/') && !self.endsWith('/') && !self.split('/').exists(p, p == '..' || p == '.' || p == '')";
pub const SCRATCH_FILE_MESSAGE: &str = "this must be a relative path without '.', '..' and '//', such as 'result.txt' or 'out/result.txt'";
pub const SCRATCH_FILES: &str = "self.all(f, !f.startsWith('/') && !f.contains('//') && !f.split('/').exists(p, p == '..' || p == '.'))";
pub const SCRATCH_FILES_MESSAGE: &str =
    "each file must be a path relative to the scratch directory, without '.', '..' and '//'";
pub const CLAIM_PATH: &str = "!self.startsWith('/') && !self.contains('//') && !self.split('/').exists(p, p == '..' || p == '.')";
pub const CLAIM_PATH_MESSAGE: &str =
    "path must be relative to the volume and without '..', '.' and '//'";
pub const INPUT_SOURCE: &str = "[has(self.text), has(self.base64), has(self.configMap), has(self.secret), has(self.persistentVolumeClaim), has(self.url)].filter(x, x).size() == 1";
pub const INPUT_SOURCE_MESSAGE: &str = "each of transferInput must have exactly one of 'text', 'base64', 'configMap', 'secret', 'persistentVolumeClaim' and 'url'";
pub const INLINE_NAME: &str = "has(self.name) || !(has(self.text) || has(self.base64))";
pub const INLINE_NAME_MESSAGE: &str =
    "an input with 'text' or 'base64' needs a 'name' for its file";
pub const INLINE_SIZE: &str = "self.map(i, (has(i.text) ? i.text.size() : 0) + (has(i.base64) ? i.base64.size() : 0)).sum() <= 131072";
pub const INLINE_SIZE_MESSAGE: &str = "inline inputs cannot be longer than 131072 characters together: put long text into a ConfigMap and name it in 'configMap'";
pub const S3_KEY: &str = "!self.startsWith('s3://') || !self.substring(5).contains('//')";
pub const S3_KEY_MESSAGE: &str = "an s3:// URL cannot have '//' in its key";
pub const REMAP_FILE: &str = "(!has(self.persistentVolumeClaim) || (has(self.persistentVolumeClaim.path) && self.persistentVolumeClaim.path != '' && !self.persistentVolumeClaim.path.endsWith('/'))) && (!has(self.url) || (!self.url.endsWith('/') && self.url.matches('^[a-z0-9]+://[^/]+/.')))";
pub const REMAP_FILE_MESSAGE: &str = "the place of one output must name the file itself: a path in the claim, or a URL that does not end with '/'";
pub const REMAP_PATTERN: &str = "has(self.outputDestination) || !has(self.transferOutput) || !self.transferOutput.exists(f, f.endsWith('/') || f.matches('[*?\\\\[]'))";
pub const REMAP_PATTERN_MESSAGE: &str = "patterns and directories of transferOutput need an outputDestination: transferOutputRemaps has places for single files";
pub const CHECKPOINT_HTTP: &str = "!has(self.checkpointDestination) || !has(self.checkpointDestination.url) || self.checkpointDestination.url.startsWith('s3://')";
pub const CHECKPOINT_HTTP_MESSAGE: &str =
    "checkpointDestination must be an s3:// URL or a persistentVolumeClaim";
pub const PLACE: &str = "has(self.persistentVolumeClaim) != has(self.url)";
pub const PLACE_MESSAGE: &str =
    "a destination must have exactly one of 'url' and 'persistentVolumeClaim'";
pub const REMAP: &str =
    "[has(self.to), has(self.persistentVolumeClaim), has(self.url)].filter(x, x).size() == 1";
pub const REMAP_MESSAGE: &str =
    "each of transferOutputRemaps must have exactly one of 'to', 'url' and 'persistentVolumeClaim'";

pub const OUTPUT_NOWHERE: &str = "has(self.outputDestination) || !has(self.transferOutput) || self.transferOutput.all(f, has(self.transferOutputRemaps) && self.transferOutputRemaps.exists(r, r.name == f && !has(r.to)))";
pub const OUTPUT_NOWHERE_MESSAGE: &str = "the files of transferOutput have nowhere to go: give outputDestination, for example {url: 's3://bucket/results/$(ClusterId).$(ProcId)/'}, or each of them its own place in transferOutputRemaps";
pub const REMAP_NOWHERE: &str = "has(self.outputDestination) || !has(self.transferOutputRemaps) || !self.transferOutputRemaps.exists(r, has(r.to))";
pub const REMAP_NOWHERE_MESSAGE: &str =
    "'to' of transferOutputRemaps is a name at the outputDestination: give one";
pub const WHEN_NOWHERE: &str = "!has(self.whenToTransferOutput) || self.whenToTransferOutput == 'ON_EXIT' || has(self.outputDestination) || has(self.transferOutputRemaps) || (self.whenToTransferOutput == 'ON_EXIT_OR_EVICT' && has(self.checkpointDestination))";
pub const WHEN_NOWHERE_MESSAGE: &str =
    "whenToTransferOutput needs somewhere to transfer to: give outputDestination";
pub const EVICT_NOWHERE: &str = "!has(self.whenToTransferOutput) || self.whenToTransferOutput != 'ON_EXIT_OR_EVICT' || has(self.checkpointDestination)";
pub const EVICT_NOWHERE_MESSAGE: &str = "ON_EXIT_OR_EVICT needs a checkpointDestination, where the files of an attempt that was stopped wait for the next one";
pub const CHECKPOINT_NOWHERE: &str =
    "!has(self.checkpointExitCode) || has(self.checkpointDestination)";
pub const CHECKPOINT_NOWHERE_MESSAGE: &str =
    "checkpointExitCode needs a checkpointDestination, where the checkpoints are kept";
pub const CHECKPOINT_NEVER: &str = "(!has(self.checkpointDestination) || has(self.checkpointExitCode) || (has(self.whenToTransferOutput) && self.whenToTransferOutput == 'ON_EXIT_OR_EVICT')) && (!has(self.transferCheckpoint) || has(self.checkpointExitCode))";
pub const CHECKPOINT_NEVER_MESSAGE: &str = "checkpointDestination and transferCheckpoint are for a job with a checkpointExitCode (or, the former, with whenToTransferOutput: ON_EXIT_OR_EVICT)";
pub const FILES_UNUSED: &str = "(!has(self.maxTransferInputMb) || has(self.transferInput)) && (!has(self.maxTransferOutputMb) || has(self.outputDestination) || has(self.transferOutputRemaps)) && (!has(self.transferRetention) || has(self.outputDestination) || has(self.transferOutputRemaps))";
pub const FILES_UNUSED_MESSAGE: &str = "maxTransferInputMb is for a job with transferInput, maxTransferOutputMb and transferRetention for one with an outputDestination or transferOutputRemaps";
pub const S3_UNUSED: &str = "!has(self.s3) || (has(self.transferInput) && self.transferInput.exists(i, has(i.url) && i.url.startsWith('s3://'))) || (has(self.outputDestination) && has(self.outputDestination.url) && self.outputDestination.url.startsWith('s3://')) || (has(self.checkpointDestination) && has(self.checkpointDestination.url) && self.checkpointDestination.url.startsWith('s3://')) || (has(self.transferOutputRemaps) && self.transferOutputRemaps.exists(r, has(r.url) && r.url.startsWith('s3://')))";
pub const S3_UNUSED_MESSAGE: &str =
    "s3 is the service of s3:// URLs, and the job has none: leave the field out";
pub const PRESERVE_UNUSED: &str = "!has(self.preserveRelativePaths) || !self.preserveRelativePaths || has(self.transferInput) || has(self.outputDestination)";
pub const PRESERVE_UNUSED_MESSAGE: &str =
    "preserveRelativePaths is for a job with transferInput or outputDestination";
pub const STDIN_BROUGHT: &str = "!has(self.input) || self.input.startsWith('/') || (has(self.transferInput) && self.transferInput.size() > 0)";
pub const STDIN_BROUGHT_MESSAGE: &str = "input is a file in the scratch directory: let one of transferInput bring it, for example {name: data.txt, text: '...'}; a file in the image is written with its absolute path";
