//! A request as the operator's client sends it, read from its HTTP form.

use crate::store::{Kind, Part};
use axum::http::{Method, Request as HttpRequest, header};
use kube::client::Body;
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    MergePatch,
    StrategicPatch,
    Replace,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The request may change something.
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// What it is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Objects(Kind),
    Events,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    pub(crate) target: Target,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) part: Part,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: Value,
    pub(crate) metadata_only: bool,
}

impl Request {
    /// Reads a request; `Err` tells what this model does not serve.
    pub(crate) async fn read(request: HttpRequest<Body>) -> Result<Self, String> {
        let (head, body) = request.into_parts();
        let bytes = body.collect_bytes().await.map_err(|error| error.to_string())?;
        let body = match bytes.as_ref() {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|error| error.to_string())?,
        };
        let text = |name: header::HeaderName| {
            head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let query: BTreeMap<String, String> = head
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let unknown = || format!("{} {} is not served by this model", head.method, head.uri);
        let place = Place::read(head.uri.path()).ok_or_else(unknown)?;
        let is_watch = query.get("watch").is_some_and(|watch| watch == "true");
        let verb = match (&head.method, &place.name) {
            (&Method::GET, None) if is_watch => Verb::Watch,
            (&Method::GET, None) => Verb::List,
            (&Method::GET, Some(_)) => Verb::Get,
            (&Method::POST, None) => Verb::Create,
            (&Method::PUT, Some(_)) => Verb::Replace,
            (&Method::DELETE, Some(_)) => Verb::Delete,
            (&Method::DELETE, None) => Verb::DeleteCollection,
            (&Method::PATCH, Some(_)) => match text(header::CONTENT_TYPE) {
                "application/merge-patch+json" => Verb::MergePatch,
                "application/strategic-merge-patch+json" => Verb::StrategicPatch,
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        Ok(Self {
            verb,
            target: place.target,
            namespace: place.namespace,
            name: place.name,
            part: place.part,
            metadata_only: text(header::ACCEPT).contains("as=PartialObjectMetadata"),
            query,
            body,
        })
    }

    pub(crate) fn asked(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The request is a write to something other than Events and the operators' lease.
    pub(crate) fn counts(&self) -> bool {
        let beside = matches!(self.target, Target::Events | Target::Objects(Kind::Lease));
        self.verb.writes() && !beside
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.target {
            Target::Objects(kind) => kind.plural(),
            Target::Events => "events",
        };
        write!(f, "{:?} {what}", self.verb)?;
        if let Some(name) = &self.name {
            write!(f, " '{name}'")?;
        } else if let Some(name) = self.body["metadata"]["name"].as_str() {
            write!(f, " '{name}'")?;
        }
        if self.part == Part::Status { write!(f, " status") } else { Ok(()) }
    }
}

struct Place {
    target: Target,
    namespace: Option<String>,
    name: Option<String>,
    part: Part,
}

impl Place {
    fn read(path: &str) -> Option<Self> {
        let mut words = path.trim_matches('/').split('/').peekable();
        let group = match words.next()? {
            "api" => "",
            "apis" => words.next()?,
            _ => return None,
        };
        let version = words.next()?;
        let mut namespace = None;
        if words.peek() == Some(&"namespaces") {
            words.next();
            namespace = Some(words.next()?.to_owned());
        }
        let plural = words.next()?;
        let target = match (group, version, plural) {
            ("" | "events.k8s.io", "v1", "events") => Target::Events,
            _ => Target::Objects(Kind::ALL.into_iter().find(|kind| {
                let full = if group.is_empty() {
                    version.to_owned()
                } else {
                    format!("{group}/{version}")
                };
                kind.plural() == plural && kind.api_version() == full
            })?),
        };
        let name = words.next().map(str::to_owned);
        let part = match words.next() {
            None => Part::Main,
            Some("status") => Part::Status,
            Some(_) => return None,
        };
        Some(Self { target, namespace, name, part })
    }
}

/// Text of a query, decoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
