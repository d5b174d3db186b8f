//! A watch on its way to the operator: frames are lines of JSON. Invariant: frames come in the API server's order, and a
//! frame that is lost is followed by the stream's end.

use super::{Body, Cut};
use crate::chaos::plan::Watch;
use futures::{SinkExt as _, StreamExt as _, channel::mpsc};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Response,
    body::{Bytes, Frame, Incoming},
    header,
};
use std::time::Duration;

type Teller = mpsc::Sender<Result<Frame<Bytes>, Cut>>;

/// Frames that come late come so much late at most.
const LATEST: Duration = Duration::from_secs(20);

/// What the API server says of a resource version that is too old.
const EXPIRED: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);

/// The answer with its frames as they come, until its fault.
pub(super) fn through(
    answer: Response<Incoming>,
    fault: Option<(Watch, u32)>,
    count: impl FnOnce(&'static str) + Send + 'static,
) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    // A refusal is no stream.
    let fault = fault.filter(|_| parts.status.is_success());
    let (teller, told) = mpsc::channel(4);
    tokio::spawn(async move {
        // The operator that is gone hears nothing.
        let _ = relay(body, fault, teller, count).await;
    });
    Response::from_parts(parts, StreamBody::new(told.boxed()))
}

/// Lines from pieces.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, piece: &[u8]) -> Vec<Bytes> {
        self.rest.extend_from_slice(piece);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            lines.push(self.rest.drain(..=end).collect());
        }
        lines
    }
}

fn is_bookmark(line: &[u8]) -> bool {
    line.starts_with(br#"{"type":"BOOKMARK""#)
}

/// Ends when the stream does, or the operator goes away.
async fn relay(
    mut body: Incoming,
    fault: Option<(Watch, u32)>,
    mut teller: Teller,
    count: impl FnOnce(&'static str),
) -> Result<(), mpsc::SendError> {
    let (kind, after) = fault.unzip();
    let (mut lines, mut seen, mut count) = (Lines::default(), 0, Some(count));
    let (mut delay, mut late, mut lost) = (Duration::ZERO, Duration::ZERO, 0);
    loop {
        let piece = tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => return teller.send(Err(Cut)).await,
                None => return Ok(()),
            },
            // The operator went away, and nothing comes that could tell.
            () = gone(&teller) => return Ok(()),
        };
        for line in lines.take(&piece) {
            if kind == Some(Watch::NoBookmarks) && is_bookmark(&line) {
                if let Some(count) = count.take() {
                    count(Watch::NoBookmarks.name());
                }
                continue;
            }
            seen += 1;
            let now = kind.filter(|_| after.is_some_and(|after| seen > after));
            if let Some(Watch::DropAndCut(frames)) = now {
                lost += 1;
                if lost < frames {
                    continue;
                }
            }
            let struck = now.filter(|kind| *kind != Watch::NoBookmarks);
            if let Some(kind) = struck
                && let Some(count) = count.take()
            {
                count(kind.name());
                if let Watch::Delay(wait) = kind {
                    delay = wait;
                }
                if strike(kind, &line, &mut teller).await? {
                    continue;
                }
                return teller.send(Err(Cut)).await;
            }
            // Each waits for the one before: without an end the last would come minutes late.
            if !delay.is_zero() && late < LATEST {
                tokio::time::sleep(delay).await;
                late += delay;
            }
            teller.send(Ok(Frame::data(line))).await?;
        }
    }
}

/// Whether the stream goes on; the line has been told, or not, as the fault wants it.
async fn strike(kind: Watch, line: &Bytes, teller: &mut Teller) -> Result<bool, mpsc::SendError> {
    let frame = |bytes: Bytes| Ok(Frame::data(bytes));
    match kind {
        Watch::Cut => {
            teller.send(frame(line.clone())).await?;
            Ok(false)
        }
        Watch::DropAndCut(_) => Ok(false),
        Watch::CutInFrame => {
            teller.send(frame(line.slice(..line.len() / 2))).await?;
            Ok(false)
        }
        Watch::Expired => {
            teller.send(frame(Bytes::from_static(EXPIRED.as_bytes()))).await?;
            Ok(false)
        }
        Watch::Silence(time) => {
            tokio::time::sleep(time).await;
            Ok(false)
        }
        Watch::Repeat => {
            teller.send(frame(line.clone())).await?;
            teller.send(frame(line.clone())).await?;
            Ok(true)
        }
        Watch::Delay(time) => {
            tokio::time::sleep(time).await;
            teller.send(frame(line.clone())).await?;
            Ok(true)
        }
        Watch::NoBookmarks => Ok(true),
    }
}

/// Ends when nobody listens any more.
async fn gone(teller: &Teller) {
    while !teller.is_closed() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_from_whatever_pieces() {
        let mut lines = Lines::default();
        assert!(lines.take(b"{\"a\":").is_empty());
        assert_eq!(lines.take(b"1}\n{}\n{"), ["{\"a\":1}\n", "{}\n"]);
        assert_eq!(lines.take(b"}\n"), ["{}\n"]);
    }
}
