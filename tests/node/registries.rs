//! Registries that a test needs for itself, on the addresses of this machine from which the node pulls over plain HTTP.
//!
//! Invariant: each port belongs to one test, and a registry ends with the value that stands for it, or with its test.

use crate::world::{registry, variable};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The user that [`Private`] knows.
pub(crate) const USER: &str = "user";
/// The password of [`USER`].
pub(crate) const PASSWORD: &str = "secret";
/// [`PASSWORD`] in bcrypt, the one form of it that the registry takes.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

/// The address of a registry of this machine, as the node names it.
pub(crate) fn address(port: u16) -> String {
    format!("{}:{port}", variable("HOST_ADDRESS"))
}

/// Debian's `docker-registry` with a password: it has what the cluster's registry has, for who may ask.
pub(crate) struct Private {
    process: Child,
    directory: PathBuf,
}

impl Private {
    /// Starts it, and waits until it listens.
    pub(crate) async fn start(port: u16) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("registry-{port}"));
        fs::create_dir_all(&directory).expect("a directory for the registry");
        let passwords = directory.join("htpasswd");
        fs::write(&passwords, format!("{USER}:{HASH}\n")).expect("a file of passwords");
        let configuration = directory.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ inmemory: {{}} }}\nhttp: {{ addr: '{}' }}\n\
             auth: {{ htpasswd: {{ realm: test, path: '{}' }} }}\nproxy: {{ remoteurl: 'http://{}' }}\n",
            address(port),
            passwords.display(),
            registry(),
        );
        fs::write(&configuration, text).expect("a configuration");
        let log = directory.join("log");
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a file for its words"))
            .spawn()
            .expect("the packages util-linux and docker-registry are installed");
        let mut private = Self { process, directory };
        while TcpStream::connect(address(port)).await.is_err() {
            let listens_soon = matches!(private.process.try_wait(), Ok(None));
            assert!(listens_soon, "the registry ended: {}", fs::read_to_string(&log).unwrap());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        private
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What stands in front of the cluster's registry: it lets everything through, or answers everything by itself.
pub(crate) struct Front {
    refuses: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Front {
    /// Lets everything through.
    pub(crate) async fn open(port: u16) -> Self {
        Self::start(port, None).await
    }

    /// Answers every request with this status, such as `503 Service Unavailable`, until it is mended.
    pub(crate) async fn refusing(port: u16, status: &'static str) -> Self {
        Self::start(port, Some(status)).await
    }

    /// From now on everything is let through.
    pub(crate) fn mend(&self) {
        self.refuses.store(false, Ordering::Relaxed);
    }

    async fn start(port: u16, status: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(address(port)).await.expect("the port is free");
        let refuses = Arc::new(AtomicBool::new(status.is_some()));
        let is_refusing = refuses.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let status = status.filter(|_| is_refusing.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    // A client that goes away is none of the test's business.
                    let _ = match status {
                        Some(status) => refuse(client, status).await,
                        None => pass_on(client).await,
                    };
                });
            }
        });
        Self { refuses, task }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What stands in front of the cluster's registry as the large registries do it: who comes without a token is sent for one,
/// and gets it for [`USER`] and [`PASSWORD`].
pub(crate) struct Tokens {
    task: JoinHandle<()>,
}

/// [`USER`] and [`PASSWORD`] in base64, as a header has them.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";
/// The one token.
const BEARER: &str = "Bearer a-token";

impl Tokens {
    /// Waits for clients.
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(address(port)).await.expect("the port is free");
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // A client that goes away is none of the test's business.
                    let _ = token_or_image(client, port).await;
                });
            }
        });
        Self { task }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn token_or_image(mut client: TcpStream, port: u16) -> std::io::Result<()> {
    let mut request = Vec::new();
    let ended = |request: &[u8]| request.windows(4).any(|four| four == b"\r\n\r\n");
    while !ended(&request) && client.read_buf(&mut request).await? > 0 {}
    let head = String::from_utf8_lossy(&request).into_owned();
    let shows = |what: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.any(|(name, value)| name.eq_ignore_ascii_case("authorization") && value == what)
    };
    if shows(BEARER) {
        let mut server = TcpStream::connect(registry()).await?;
        server.write_all(&request).await?;
        return copy_bidirectional(&mut client, &mut server).await.map(|_| ());
    }
    let (status, more, body) = if head.starts_with("GET /token") && shows(BASIC) {
        ("200 OK", String::new(), r#"{"token":"a-token"}"#)
    } else if head.starts_with("GET /token") {
        ("401 Unauthorized", String::new(), "")
    } else if head.starts_with("POST /token") {
        // Not every registry knows that way; clients then ask with a GET.
        ("404 Not Found", String::new(), "")
    } else {
        let realm = format!("Bearer realm=\"http://{}/token\",service=\"test\"", address(port));
        ("401 Unauthorized", format!("WWW-Authenticate: {realm}\r\n"), "")
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\n{more}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    // The rest of a body has to be read, or the answer is lost with it.
    tokio::io::copy(&mut client, &mut tokio::io::sink()).await.map(|_| ())
}

async fn refuse(mut client: TcpStream, status: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && client.read_buf(&mut request).await? > 0 {}
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    client.write_all(answer.as_bytes()).await
}

async fn pass_on(mut client: TcpStream) -> std::io::Result<()> {
    let mut server = TcpStream::connect(registry()).await?;
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}
