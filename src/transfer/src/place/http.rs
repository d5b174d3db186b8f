//! Files that HTTP reaches.
//!
//! Invariant: what is cut off is taken up where it ended only if the server says that the file is still the same one;
//! an upload says its length first, so that a server can tell a whole file.

use std::{
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Body, Method, Response, StatusCode,
    header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE},
};
use tokio::sync::mpsc;
use url::Url;

use super::{Context, Outgoing};
use crate::{
    fault::Fault,
    names, net,
    retry::{STALL, persist, within},
    scratch::Unfinished,
};

/// Bytes that are written to the disk at once.
const BLOCK: usize = 1 << 20;
/// Bytes that are read from the disk at once.
const READ: usize = 256 << 10;
/// A server that has everything may take this long to say so: it may have to write it down first.
const ANSWER: Duration = Duration::from_mins(5);

/// Brings a file.
pub(crate) async fn get(
    context: &Context,
    url: &Url,
    headers: Option<&str>,
    into: Unfinished,
) -> Result<u64, Fault> {
    let _turn = context.turn().await?;
    let headers = net::headers(headers)?;
    let what = format!("{} from {}", names::shown(into.path()), names::public_url(url.as_str()));
    let mut download = Download { into, at: 0, same: None, what };
    let mut retry = context.retry();
    loop {
        let before = download.at;
        let fault = match download.go_on(url, &headers).await {
            Ok(()) => break,
            Err(fault) => fault,
        };
        if download.at > before {
            retry.progress();
        }
        context.go_on()?;
        retry.after(fault).await?;
    }
    retry.progress();
    download.into.finish(None)
}

struct Download {
    into: Unfinished,
    at: u64,
    /// What tells that the file is still the same one.
    same: Option<HeaderValue>,
    what: String,
}

impl Download {
    async fn go_on(&mut self, url: &Url, headers: &HeaderMap) -> Result<(), Fault> {
        let mut own = HeaderMap::new();
        if let Some(same) = self.same.clone().filter(|_| self.at > 0) {
            own.insert(IF_RANGE, same);
            let range = HeaderValue::try_from(format!("bytes={}-", self.at));
            own.extend(range.ok().map(|range| (RANGE, range)));
        }
        let request = net::request(Method::GET, url, headers, &own, || None);
        let answer = within(STALL, &self.what, request).await?;
        if !self.continues(&answer) {
            self.at = 0;
            self.into.clear()?;
        }
        self.same = strong(answer.headers());
        if let Some(rest) = answer.content_length() {
            self.into.reserve(self.at.saturating_add(rest))?;
        }
        self.take(answer).await
    }

    fn continues(&self, answer: &Response) -> bool {
        let starts = format!("bytes {}-", self.at);
        let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        answer.status() == StatusCode::PARTIAL_CONTENT
            && range.is_some_and(|range| range.starts_with(&starts))
    }

    async fn take(&mut self, mut answer: Response) -> Result<(), Fault> {
        let (mut blocks, mut waiting) = (Vec::new(), 0);
        loop {
            let what = &self.what;
            let chunk =
                async { answer.chunk().await.map_err(|error| Fault::network(&error, what)) };
            let chunk = within(STALL, what, chunk).await;
            if let Ok(Some(chunk)) = &chunk {
                waiting += chunk.len();
                blocks.push(chunk.clone());
            }
            if waiting >= BLOCK || !matches!(chunk, Ok(Some(_))) {
                self.keep(std::mem::take(&mut blocks), waiting as u64).await?;
                waiting = 0;
            }
            if chunk?.is_none() {
                return Ok(());
            }
        }
    }

    async fn keep(&mut self, blocks: Vec<Bytes>, bytes: u64) -> Result<(), Fault> {
        self.into.reserve(self.at + bytes)?;
        self.into.write(blocks, self.at).await?;
        self.at += bytes;
        Ok(())
    }
}

/// A weak tag does not promise the same bytes.
fn strong(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    tag.or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

/// Puts a file there.
pub(super) async fn put(
    context: &Context,
    url: &Url,
    headers: Option<&str>,
    file: &Outgoing,
) -> Result<(), Fault> {
    let headers = net::headers(headers)?;
    let own = HeaderMap::new();
    let what = format!("PUT {}", names::public_url(url.as_str()));
    persist(context.retry(), async || {
        context.go_on()?;
        let sent = Arc::new(AtomicU64::new(0));
        let broken = Arc::new(std::sync::Mutex::new(None));
        let body = || Some((Body::wrap_stream(body(file, &sent, &broken)), file.size));
        let request = net::request(Method::PUT, url, &headers, &own, body);
        let result = watched(request, &sent, file.size, &what).await;
        let reading = broken.lock().ok().and_then(|mut broken| broken.take());
        match (result, reading) {
            (Err(_), Some(error)) => Err(file.fault(&error)),
            (result, _) => result.map(drop),
        }
    })
    .await
}

/// What came of a request, as long as bytes of its body go out.
async fn watched(
    request: impl Future<Output = Result<Response, Fault>>,
    sent: &AtomicU64,
    size: u64,
    what: &str,
) -> Result<Response, Fault> {
    let mut request = std::pin::pin!(request);
    let mut before = None;
    loop {
        let now = sent.load(Ordering::Relaxed);
        if before == Some(now) {
            let limit = if now < size { STALL } else { ANSWER };
            return Err(Fault::transient(
                110,
                format!("{what}: nothing moved for {} s", limit.as_secs()),
            ));
        }
        before = Some(now);
        let limit = if now < size { STALL } else { ANSWER };
        if let Ok(answer) = tokio::time::timeout(limit, &mut request).await {
            return answer;
        }
    }
}

type Broken = Arc<std::sync::Mutex<Option<io::Error>>>;

/// The file's bytes; where it cannot be read, the body breaks off.
fn body(
    file: &Outgoing,
    sent: &Arc<AtomicU64>,
    broken: &Broken,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (file, sent, broken) = (file.clone(), Arc::clone(sent), Arc::clone(broken));
    sent.store(0, Ordering::Relaxed);
    let (give, mut take) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut at = 0;
        while at < file.size {
            let wanted = usize::try_from(file.size - at).unwrap_or(READ).min(READ);
            let mut block = vec![0; wanted];
            let read = file.file.read_exact_at(&mut block, at).map(|()| Bytes::from(block));
            let failed = read.is_err();
            let read = read.map_err(|error| {
                let kind = error.kind();
                if let Ok(mut broken) = broken.lock() {
                    *broken = Some(error);
                }
                io::Error::from(kind)
            });
            at += wanted as u64;
            if give.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    futures::stream::poll_fn(move |context| {
        let next = take.poll_recv(context);
        if let std::task::Poll::Ready(Some(Ok(block))) = &next {
            sent.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
        next
    })
}
