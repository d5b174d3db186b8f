//! What a shell or a child process needs to work on a cluster. Invariant: every value is quoted, so
//! that `eval` of the script does nothing but set variables.

use std::{env, ffi::OsString, fmt::Write as _};

use super::{Cluster, s3};

/// The variables of a child process.
pub(super) fn variables(cluster: &Cluster) -> Vec<(&'static str, OsString)> {
    let mut path = cluster.bin.clone().into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut variables = vec![("PATH", path)];
    variables.extend(own(cluster).map(|(name, value)| (name, value.into())));
    variables
}

/// The same for a POSIX shell.
pub(super) fn script(cluster: &Cluster) -> String {
    let path = format!("export PATH={}:\"$PATH\"\n", quote(&cluster.bin.to_string_lossy()));
    own(cluster).fold(path, |mut lines, (name, value)| {
        let _infallible = writeln!(lines, "export {name}={}", quote(&value));
        lines
    })
}

fn own(cluster: &Cluster) -> impl Iterator<Item = (&'static str, String)> {
    // A cluster that an older version brought up has none.
    let keys = s3::Keys::read(&cluster.state).ok();
    [
        ("KUBECONFIG", cluster.kubeconfig.to_string_lossy().into_owned()),
        ("REGISTRY", cluster.registry.clone()),
        ("S3_ENDPOINT", cluster.s3.clone()),
        ("HOST_ADDRESS", cluster.host_address.clone()),
        ("DOCKER_UNIVERSE_CLUSTER", cluster.name.clone()),
    ]
    .into_iter()
    .chain(keys.into_iter().flat_map(s3::Keys::client_variables))
}

/// One word for a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::cluster::{address::Addresses, state::State};

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for text in ["plain", "with space", "it's", "$HOME `id` \\ \"x\"", ""] {
            let script = format!("printf %s {}", quote(text));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }

    #[test]
    fn the_script_sets_the_variables() {
        let state = State::of("dev").unwrap();
        let cluster = Cluster::of(&state, Addresses::new(0).unwrap());
        let script = format!("{}printf '%s %s' \"$REGISTRY\" \"$PATH\"", script(&cluster));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("10.245.255.2:5000 "), "{text}");
        assert!(text.contains("/dev/bin:"), "{text}");
    }
}
