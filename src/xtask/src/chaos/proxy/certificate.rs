//! The proxy's own certificate. Invariant: its key lives in this process only, and nobody but the operator's kubeconfig
//! is told to trust it.

use anyhow::Context as _;
use rcgen::{CertificateParams, KeyPair};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// A certificate for the loopback address.
pub(in crate::chaos) struct Certificate {
    pem: String,
    key: String,
}

impl Certificate {
    /// A new one.
    pub(in crate::chaos) fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?;
        Ok(Self { pem: certificate.pem(), key: key.serialize_pem() })
    }

    /// What takes connections with it; HTTP/1.1, as the operator's client speaks it.
    pub(super) fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Writes a kubeconfig for the proxy on this port, with this token, into a directory.
    pub(in crate::chaos) fn kubeconfig(
        &self,
        directory: &Path,
        port: u16,
        token: &str,
    ) -> anyhow::Result<std::path::PathBuf> {
        let authority = directory.join("proxy.crt");
        fs::write(&authority, &self.pem)?;
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "chaos",
            "clusters": [{ "name": "chaos", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": authority,
            } }],
            "users": [{ "name": "operator", "user": { "token": token } }],
            "contexts": [{ "name": "chaos", "context": { "cluster": "chaos", "user": "operator" } }],
        });
        let path = directory.join("kubeconfig");
        fs::write(&path, config.to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }
}
