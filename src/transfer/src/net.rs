//! The connection to servers: which ones are trusted, how long is waited, where a redirect may lead.
//!
//! Invariant: headers and passwords that the user gave for one server are never sent to another.

use std::{fs, path::Path, sync::OnceLock, time::Duration};

use reqwest::{
    Body, Client, Method, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    },
    redirect::Policy,
};
use url::Url;

use crate::{
    fault::Fault,
    names,
    retry::{STALL, within},
};

const CONNECT: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 10;
/// A server that asks for more is asked again earlier.
const LONGEST_AFTER: Duration = Duration::from_mins(2);
/// Of an answer that is an error.
const ERROR_BODY: usize = 8 << 10;

/// The client for everything but registries; made when it is first needed.
pub(crate) fn client() -> Result<&'static Client, Fault> {
    static CLIENT: OnceLock<Result<Client, Fault>> = OnceLock::new();
    CLIENT.get_or_init(make).as_ref().map_err(Clone::clone)
}

fn make() -> Result<Client, Fault> {
    let roots = roots().into_iter().filter_map(|der| reqwest::Certificate::from_der(&der).ok());
    Client::builder()
        .tls_certs_only(roots)
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .tcp_keepalive(STALL)
        .http1_only() // one stream a connection: a stalled one holds up no other
        .user_agent(concat!("docker-universe-transfer/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Fault::permanent(71, format!("no HTTP client: {error}")))
}

/// Mozilla's authorities, and the machine's: the program's own image may have none, `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// name more.
pub(crate) fn roots() -> Vec<Vec<u8>> {
    let known = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| der.to_vec());
    let local = rustls_native_certs::load_native_certs().certs;
    known.chain(local.into_iter().map(|der| der.to_vec())).collect()
}

/// The headers of a directory with one file for each; what begins with `..` is the mount's own.
pub(crate) fn headers(directory: Option<&str>) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    let Some(directory) = directory.map(Path::new) else { return Ok(headers) };
    let reading =
        |error| Fault::io(&error, &format!("reading headers from '{}'", directory.display()));
    for entry in fs::read_dir(directory).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("..") {
            continue;
        }
        let value = fs::read(entry.path()).map_err(reading)?;
        let parsed =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.trim_ascii()));
        let (Ok(name), Ok(mut value)) = parsed else {
            let name = names::one_line(&name, 80);
            return Err(Fault::permanent(
                22,
                format!("'{name}' is no header, or its value is none"),
            ));
        };
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// One request, and wherever redirects lead; the answer is a success.
///
/// `body` makes the body anew for each server, with its length.
pub(crate) async fn request(
    method: Method,
    url: &Url,
    headers: &HeaderMap,
    own: &HeaderMap,
    mut body: impl FnMut() -> Option<(Body, u64)>,
) -> Result<Response, Fault> {
    let what = format!("{method} {}", names::public_url(url.as_str()));
    let mut url = url.clone();
    let mut headers = headers.clone();
    for _ in 0..REDIRECTS {
        let mut request = client()?.request(method.clone(), url.clone()).headers(headers.clone());
        request = request.headers(own.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some((body, length)) = body() {
            request = request.header(CONTENT_LENGTH, length).body(body);
        }
        let answer = request.send().await.map_err(|error| Fault::network(&error, &what))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        match redirect(&url, &answer) {
            Some(next) => {
                if next.origin() != url.origin() {
                    headers.clear();
                }
                url = next;
            }
            None => return Err(refusal(answer, &what).await),
        }
    }
    Err(Fault::permanent(40, format!("{what}: more than {REDIRECTS} redirects")))
}

/// Where the answer says to go instead, by http or https.
fn redirect(url: &Url, answer: &Response) -> Option<Url> {
    let status = answer.status();
    let known = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    let place = answer.headers().get(LOCATION)?.to_str().ok()?;
    let next = url.join(place).ok().filter(|next| matches!(next.scheme(), "http" | "https"))?;
    known.contains(&status).then_some(next)
}

/// What the server said instead of a success.
async fn refusal(mut answer: Response, what: &str) -> Fault {
    let (status, after) = (answer.status().as_u16(), retry_after(answer.headers()));
    let mut body = Vec::new();
    while body.len() < ERROR_BODY {
        let chunk = async { answer.chunk().await.map_err(|error| Fault::network(&error, what)) };
        let Ok(Some(chunk)) = within(CONNECT, what, chunk).await else { break };
        body.extend_from_slice(&chunk);
    }
    Fault { after, ..Fault::status(status, what, &words(&body)) }
}

/// How long the server asks to be left alone; a date is not read.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_AFTER))
}

/// The words of an error's body: of XML as S3 has it its code and message, of other markup what is no tag.
pub(crate) fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(ERROR_BODY)]);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.to_owned())
    };
    if let (Some(code), message) = (element("Code"), element("Message")) {
        return format!("{code} {}", message.unwrap_or_default());
    }
    if !text.trim_start().starts_with('<') {
        return text.into_owned();
    }
    text.split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, after)| after))
        .fold(String::new(), |line, part| line + " " + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_read_from_what_it_answers() {
        let cases: [(&[u8], &str); 4] = [
            (b"no such file\n", "no such file"),
            (b"<html><title>403</title><p>Go away</p></html>", "403 Go away"),
            (
                b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>It is not there</Message></Error>",
                "NoSuchKey It is not there",
            ),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        ];
        for (body, expected) in cases {
            assert_eq!(names::one_line(&words(body), 300), expected);
        }
    }
}
