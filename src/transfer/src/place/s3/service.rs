//! How the S3 library speaks to the service: by this program's own client, and with its own words for what fails.
//!
//! Invariant: each answer that is no success becomes a [`Fault`] with the status and the service's words, which the
//! library hands on untouched.

use std::error::Error;

use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    },
};

use crate::{
    fault::{Fault, chain},
    net,
};

/// Gives the library this program's client.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = net::client().map_err(|fault| object_store::Error::Generic {
            store: "S3",
            source: Box::new(fault),
        })?;
        Ok(HttpClient::new(Service(HttpClient::new(client.clone()))))
    }
}

#[derive(Debug)]
struct Service(HttpClient);

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.0.execute(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let after = net::retry_after(answer.headers());
        let body = answer.into_body().bytes().await.unwrap_or_default();
        let fault = Fault { after, ..Fault::status(status.as_u16(), "", &net::words(&body)) };
        Err(HttpError::new(HttpErrorKind::Unknown, fault))
    }
}

/// This program tries again itself: it tells of it, and knows how long.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, backoff: BackoffConfig::default(), ..RetryConfig::default() }
}

/// What the library says, in this program's words.
pub(super) fn fault(error: &object_store::Error, what: &str) -> Fault {
    let first: &(dyn Error + 'static) = error;
    if let Some(known) = chain(first).find_map(|error| error.downcast_ref::<Fault>()) {
        let detail = format!("{what}{}", known.detail);
        return Fault { detail, ..known.clone() };
    }
    match error {
        object_store::Error::InvalidPath { .. } | object_store::Error::NotSupported { .. } => {
            Fault::permanent(22, format!("{what}: {error}"))
        }
        _ => Fault::network(first, what),
    }
}

/// Whether the service said that the object has not these bytes.
pub(super) fn is_no_range(fault: &Fault) -> bool {
    fault.detail.contains("the server answered 416")
}
