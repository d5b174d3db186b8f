//! An HTTP server that a test tells what to answer, faults included.

#![allow(dead_code, reason = "not every test program uses all of it")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What a client sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut known = self.headers.iter();
        known.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What it gets.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes of the body that really come, and what happens then.
    breaks: Option<(usize, Break)>,
}

#[derive(Clone, Copy)]
pub(crate) enum Break {
    Close,
    Stall,
}

pub(crate) fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, headers: Vec::new(), body: body.into(), breaks: None }
}

impl Answer {
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn breaking(mut self, after: usize, how: Break) -> Self {
        self.breaks = Some((after, how));
        self
    }
}

/// A server that lives as long as the test program.
pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `respond` gets the request and how many there were before it.
    pub(crate) fn start(
        respond: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (respond, seen) = (Arc::new(respond), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (respond, seen) = (Arc::clone(&respond), Arc::clone(&seen));
                thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    let before = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    write(stream, &request, &respond(&request, before));
                });
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let mut request = Request {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        ..Request::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        request.headers.push((name.to_owned(), value.to_owned()));
    }
    let length = request.header("content-length").and_then(|value| value.parse().ok());
    reader.take(length.unwrap_or(0)).read_to_end(&mut request.body).ok()?;
    Some(request)
}

/// The client may be gone by then.
fn write(mut stream: TcpStream, request: &Request, answer: &Answer) {
    let own =
        [("connection", "close".to_owned()), ("content-length", answer.body.len().to_string())];
    let headers = own.iter().chain(&answer.headers);
    let lines: Vec<_> = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {} x\r\n{}", answer.status, lines.concat());
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    if request.method == "HEAD" {
        return;
    }
    let (length, how) = answer.breaks.unwrap_or((answer.body.len(), Break::Close));
    let _ = stream.write_all(&answer.body[..length]);
    let _ = stream.flush();
    if matches!(how, Break::Stall) {
        thread::sleep(Duration::from_mins(2));
    }
}
