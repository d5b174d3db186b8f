//! Connections to the real API server. Invariant: the server is who the cluster's own authority says; a call is sent once
//! and never again.

use super::Cluster;
use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, body::Bytes, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a call of the administrator may take.
const ANSWER: Duration = Duration::from_secs(30);

/// What sends calls over one connection.
pub(super) type Sender = http1::SendRequest<Full<Bytes>>;

/// The API server, as one client sees it.
#[derive(Clone)]
pub(super) struct Server {
    host: String,
    tls: TlsConnector,
}

impl Server {
    /// For clients that show a token.
    pub(super) fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(&cluster.pki("ca.crt"))?);
        Ok(Self::with(cluster, builder.with_no_client_auth()))
    }

    /// For the administrator, who has a certificate.
    pub(super) fn for_administrator(cluster: &Cluster) -> anyhow::Result<Self> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(&cluster.pki("ca.crt"))?);
        let certificate = CertificateDer::from_pem_file(cluster.pki("admin.crt"))?;
        let key = PrivateKeyDer::from_pem_file(cluster.pki("admin.key"))?;
        Ok(Self::with(cluster, builder.with_client_auth_cert(vec![certificate], key)?))
    }

    fn with(cluster: &Cluster, tls: ClientConfig) -> Self {
        Self { host: cluster.node_address.clone(), tls: TlsConnector::from(Arc::new(tls)) }
    }

    /// The value of the header `host`.
    pub(super) fn authority(&self) -> String {
        format!("{}:6443", self.host)
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> anyhow::Result<Sender> {
        let connect = async {
            let stream = TcpStream::connect(self.authority()).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(self.host.clone())?;
            let stream = self.tls.connect(name, stream).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Ends with the sender or the server; how is told to whoever waits for an answer.
            tokio::spawn(connection);
            anyhow::Ok(sender)
        };
        tokio::time::timeout(CONNECT, connect).await.context("the API server does not accept")?
    }
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).context("the cluster's authority")?)?;
    Ok(roots)
}

/// What the API server said to the administrator.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) code: u16,
    /// The object, or the reason.
    pub(super) body: Value,
}

impl Answer {
    /// The object; a refusal is an error.
    pub(super) fn good(self) -> anyhow::Result<Value> {
        if self.code >= 300 {
            bail!("{}: {}", self.code, self.body["message"]);
        }
        Ok(self.body)
    }
}

/// The administrator: what people and checks do to the cluster, past the proxy.
#[derive(Clone)]
pub(super) struct Administrator {
    server: Server,
}

impl Administrator {
    /// Of this cluster.
    pub(super) fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Self { server: Server::for_administrator(cluster)? })
    }

    /// One call; the API server may be down.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let call = async {
            let mut sender = self.server.connect().await?;
            let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header(header::HOST, self.server.authority())
                .header(header::CONTENT_TYPE, kind)
                .body(Full::from(body))?;
            let response: Response<Incoming> = sender.send_request(request).await?;
            let code = response.status().as_u16();
            let bytes = response.into_body().collect().await?.to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or_else(
                |_| serde_json::json!({ "message": String::from_utf8_lossy(&bytes) }),
            );
            anyhow::Ok(Answer { code, body })
        };
        let answer = tokio::time::timeout(ANSWER, call).await;
        answer
            .context("the API server does not answer")?
            .with_context(|| format!("{method} {path}"))
    }

    /// Reads an object or a list.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, "application/json", None).await?.good()
    }

    /// Brings an object to this form, whether it is there or not: may be said again when the answer was lost.
    pub(super) async fn apply(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        let path = format!("{path}?fieldManager=chaos&force=true");
        self.call(Method::PATCH, &path, "application/apply-patch+yaml", Some(object)).await?.good()
    }

    /// Deletes objects; those that are gone are as good.
    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let background = serde_json::json!({ "propagationPolicy": "Background" });
        let answer = self.call(Method::DELETE, path, "application/json", Some(&background)).await?;
        if answer.code == 404 { Ok(()) } else { answer.good().map(|_| ()) }
    }
}
