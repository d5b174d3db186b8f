//! An S3 server of the benchmark's own, on the loopback. Invariant: it ends with the value that stands for it.

use crate::cluster::S3Keys;
use anyhow::{Context as _, bail};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The only bucket.
pub(super) const BUCKET: &str = "bench";

/// How long it may take to listen.
const LIMIT: Duration = Duration::from_secs(20);

/// The server.
pub(super) struct Server {
    /// Its URL.
    pub(super) endpoint: String,
    /// Who may use it.
    pub(super) keys: S3Keys,
    root: PathBuf,
    process: Child,
}

impl Server {
    /// Starts it above a directory in this one.
    pub(super) fn start(program: &Path, directory: &Path) -> anyhow::Result<Self> {
        let root = directory.join("server");
        fs::create_dir_all(root.join(BUCKET))?;
        let keys = S3Keys::generate()?;
        // Nobody else takes a port that was free a moment ago, or the server says so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = directory.join("server.log");
        let process = Command::new(program)
            .args(["--port", &address.to_string(), "--keep-alive", "--quiet", "posix"])
            .arg(&root)
            .envs(keys.server_variables())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let mut server = Self { endpoint: format!("http://{address}"), keys, root, process };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if server.process.try_wait()?.is_some() || begun.elapsed() > LIMIT {
                bail!("the S3 server does not listen: {}", fs::read_to_string(&log)?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The directory in which the bucket's objects are files.
    pub(super) fn bucket(&self) -> PathBuf {
        self.root.join(BUCKET)
    }

    /// Removes all objects.
    pub(super) fn empty(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(self.bucket())?;
        Ok(fs::create_dir_all(self.bucket())?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _ = self.process.wait();
    }
}
