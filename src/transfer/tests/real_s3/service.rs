//! `versitygw` as a process, on a directory.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use duj_protocol::transfer::{Place, S3};

use crate::program::wait;

/// A service with one bucket, `bucket`; it ends with the test.
pub(crate) struct Service {
    directory: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Service {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("data/bucket")).unwrap();
        fs::create_dir(directory.path().join("keys")).unwrap();
        fs::write(directory.path().join("keys/AWS_ACCESS_KEY_ID"), "tester").unwrap();
        fs::write(directory.path().join("keys/AWS_SECRET_ACCESS_KEY"), "tester's secret\n")
            .unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut service = Self { directory, port, process: None };
        service.resume();
        service
    }

    pub(crate) fn resume(&mut self) {
        let program = env::var_os("VERSITYGW").expect("VERSITYGW names the program");
        let process = Command::new(program)
            .args(["--access", "tester", "--secret", "tester's secret"])
            .args(["--port", &format!("127.0.0.1:{}", self.port), "--quiet", "posix"])
            .arg(self.directory.path().join("data"))
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        wait("the service", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn place(&self, key: &str) -> Place {
        let s3 = S3 {
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            region: None,
            credentials: Some(self.at("keys").to_str().unwrap().to_owned()),
        };
        Place::Url { url: format!("s3://bucket/{key}"), headers: None, s3: Some(s3) }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Keys of all objects, in order.
    pub(crate) fn objects(&self) -> Vec<String> {
        let mut found = Vec::new();
        below(&self.at("data/bucket"), "", &mut found);
        found.retain(|name| !name.starts_with(".sgwtmp"));
        found.sort();
        found
    }

    /// Where uploads by parts are until they are whole.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.at("data/bucket/.sgwtmp/multipart")
    }

    /// What is left of uploads by parts.
    pub(crate) fn unfinished_uploads(&self) -> Vec<String> {
        let mut found = Vec::new();
        below(&self.uploads(), "", &mut found);
        found
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

fn below(directory: &Path, prefix: &str, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            below(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}
