//! Keys, certificates and kubeconfigs of a cluster. Invariant: `pki/` is complete from the moment it
//! has its name; it is made once, so that a repaired cluster accepts the credentials it gave out.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::{
    address::{API_SERVICE, Addresses},
    state::{State, write},
};

/// Who gets a kubeconfig: file name, common name, and the group that gives the rights.
const CLIENTS: [(&str, &str, Option<&str>); 5] = [
    ("admin", "docker-universe-admin", Some("system:masters")),
    ("kube-controller-manager", "system:kube-controller-manager", None),
    ("kube-scheduler", "system:kube-scheduler", None),
    ("kube-proxy", "system:kube-proxy", None),
    ("apiserver-kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters")),
];

/// Makes keys and certificates unless they are there, and all kubeconfigs.
pub(super) fn ensure(state: &State, addresses: Addresses) -> anyhow::Result<()> {
    let pki = state.path("pki");
    if !pki.is_dir() {
        let work = state.path("pki.unfinished");
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        fs::create_dir_all(&work)?;
        create(&work, &state.node_name(), addresses)?;
        fs::rename(&work, &pki)?;
    }
    for client in ["kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"] {
        let path = state.path(&format!("kubeconfigs/{client}"));
        write(&path, kubeconfig(state, client, "127.0.0.1").as_bytes())?;
    }
    let admin = kubeconfig(state, "admin", &addresses.node().to_string());
    write(&state.kubeconfig(), admin.as_bytes())
}

fn create(directory: &Path, node: &str, addresses: Addresses) -> anyhow::Result<()> {
    let mut ca = params("docker-universe-ca", None);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    fs::write(directory.join("ca.crt"), ca.pem())?;

    let sign = |file: &str, mut params: CertificateParams, usage| -> anyhow::Result<()> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &ca)?;
        fs::write(directory.join(format!("{file}.crt")), certificate.pem())?;
        secret(&directory.join(format!("{file}.key")), &key.serialize_pem())
    };
    for (file, name, group) in CLIENTS {
        sign(file, params(name, group), ExtendedKeyUsagePurpose::ClientAuth)?;
    }
    let kubelet = params(&format!("system:node:{node}"), Some("system:nodes"));
    sign("kubelet", kubelet, ExtendedKeyUsagePurpose::ClientAuth)?;

    let own = addresses.node().to_string();
    let service = API_SERVICE.to_string();
    let mut api = CertificateParams::new(
        [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            &service,
            &own,
        ]
        .map(str::to_owned),
    )?;
    name(&mut api, "kube-apiserver", None);
    sign("apiserver", api, ExtendedKeyUsagePurpose::ServerAuth)?;
    let mut serving = CertificateParams::new([node.to_owned(), own])?;
    name(&mut serving, &format!("system:node:{node}"), Some("system:nodes"));
    sign("kubelet-serving", serving, ExtendedKeyUsagePurpose::ServerAuth)?;

    let accounts = KeyPair::generate()?;
    fs::write(directory.join("service-accounts.pub"), accounts.public_key_pem())?;
    secret(&directory.join("service-accounts.key"), &accounts.serialize_pem())
}

fn params(common_name: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    name(&mut params, common_name, group);
    params
}

fn name(params: &mut CertificateParams, common_name: &str, group: Option<&str>) {
    // A cluster for tests must not end because a year has passed, nor because a clock is wrong.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
}

fn secret(path: &Path, content: &str) -> anyhow::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(content.as_bytes())?)
}

/// Refers to the files in `pki/`; the paths were checked to need no quoting beyond quotation marks.
fn kubeconfig(state: &State, client: &str, server: &str) -> String {
    let pki = state.text("pki");
    let cluster = format!("docker-universe-{}", state.name);
    format!(
        r#"apiVersion: v1
kind: Config
current-context: "{cluster}"
clusters:
- name: "{cluster}"
  cluster:
    server: "https://{server}:6443"
    certificate-authority: "{pki}/ca.crt"
users:
- name: "{client}"
  user:
    client-certificate: "{pki}/{client}.crt"
    client-key: "{pki}/{client}.key"
contexts:
- name: "{cluster}"
  context:
    cluster: "{cluster}"
    user: "{client}"
"#
    )
}
