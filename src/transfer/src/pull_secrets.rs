//! Credentials for registries, as Kubernetes' pull secrets have them.
//!
//! Invariant: credentials are given to the registry only whose key names it.

use std::{collections::BTreeMap, ffi::OsStr, fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use oci_client::{Reference, secrets::RegistryAuth};
use serde::Deserialize;

use crate::names;

/// Registries that are one and the same.
const DOCKER_HUB: [&str; 3] = ["index.docker.io", "docker.io", "registry-1.docker.io"];

#[derive(Deserialize)]
struct Config {
    auths: BTreeMap<String, Credentials>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Credentials {
    username: String,
    password: String,
    auth: String,
    registrytoken: String,
}

/// What to try for the image, the most particular first; anonymous where there is nothing.
pub(crate) fn find(directories: &[String], image: &Reference) -> Vec<RegistryAuth> {
    let mut found: Vec<(usize, RegistryAuth)> = directories
        .iter()
        .flat_map(|directory| read(Path::new(directory)))
        .filter_map(|(key, credentials)| Some((fits(&key, image)?, credentials.into_auth()?)))
        .collect();
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    let found: Vec<_> = found.into_iter().map(|(_, auth)| auth).collect();
    if found.is_empty() { vec![RegistryAuth::Anonymous] } else { found }
}

/// A directory that is missing, or has nothing that can be read, has no credentials: a pull without them may do.
fn read(directory: &Path) -> BTreeMap<String, Credentials> {
    let text = |name| fs::read_to_string(directory.join(name)).unwrap_or_default();
    if let Ok(config) = serde_json::from_str::<Config>(&text(".dockerconfigjson")) {
        return config.auths;
    }
    serde_json::from_str(&text(".dockercfg")).unwrap_or_default()
}

impl Credentials {
    fn into_auth(self) -> Option<RegistryAuth> {
        if !self.registrytoken.is_empty() {
            return Some(RegistryAuth::Bearer(self.registrytoken));
        }
        if !self.username.is_empty() {
            return Some(RegistryAuth::Basic(self.username, self.password));
        }
        let text = String::from_utf8(BASE64_STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(RegistryAuth::Basic(user.into(), password.trim_end_matches('\0').into()))
    }
}

/// Whether the key is for the image's registry and, where it has a path, its repository: the more of it, the longer.
fn fits(key: &str, image: &Reference) -> Option<usize> {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let path = path.trim_matches('/');
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let rest = image.repository().strip_prefix(path)?;
    if !(path.is_empty() || rest.is_empty() || rest.starts_with('/')) {
        return None;
    }
    let registry = image.registry();
    let same =
        host_fits(host, registry) || DOCKER_HUB.contains(&registry) && DOCKER_HUB.contains(&host);
    same.then_some(path.len())
}

/// `*` stands for (a piece of) one part of a host's name.
fn host_fits(pattern: &str, host: &str) -> bool {
    let (patterns, parts) = (pattern.split('.'), host.split('.'));
    patterns.clone().count() == parts.clone().count()
        && patterns.zip(parts).all(|(pattern, part)| {
            pattern == part || names::matches(OsStr::new(pattern), OsStr::new(part))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fits_the_registry_that_it_names() {
        let cases = [
            ("https://index.docker.io/v1/", "alpine", true),
            ("docker.io", "docker.io/me/app:1", true),
            ("registry-1.docker.io", "alpine", true),
            ("quay.io", "quay.io/a/b", true),
            ("https://quay.io", "quay.io/a/b", true),
            ("https://quay.io/v2/", "quay.io/a/b", true),
            ("quay.io", "evil-quay.io/a/b", false),
            ("quay.io/a", "quay.io/a/b", true),
            ("quay.io/a", "quay.io/ab/b", false),
            ("*.azurecr.io", "mine.azurecr.io/x/y", true),
            ("*.azurecr.io", "a.b.azurecr.io/x/y", false),
            ("localhost:5000", "localhost:5000/x", true),
            ("localhost:5001", "localhost:5000/x", false),
        ];
        for (key, image, expected) in cases {
            let image: Reference = image.parse().unwrap();
            assert_eq!(fits(key, &image).is_some(), expected, "{key} {image}");
        }
    }

    #[test]
    fn the_most_particular_credentials_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let auth = BASE64_STANDARD.encode("me:p:w");
        let text = format!(
            r#"{{"auths": {{"r.io": {{"username": "u", "password": "p"}}, "r.io/team": {{"auth": "{auth}"}}, "other": {{"auth": "{auth}"}}}}}}"#
        );
        fs::write(directory.path().join(".dockerconfigjson"), text).unwrap();
        let directories = [directory.path().display().to_string(), "/nowhere".into()];
        let found = find(&directories, &"r.io/team/app".parse().unwrap());
        let expected = [
            RegistryAuth::Basic("me".into(), "p:w".into()),
            RegistryAuth::Basic("u".into(), "p".into()),
        ];
        assert_eq!(found, expected);
        let none = find(&directories, &"else.io/app".parse().unwrap());
        assert_eq!(none, [RegistryAuth::Anonymous]);
    }
}
