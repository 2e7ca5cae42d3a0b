//! Asks a certificate authority, through the client that asks everybody else.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

/// As long as one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers of authorities are some kilobytes.
const MAX_BYTES: usize = 1024 * 1024;

struct Client(reqwest::Client);

pub(super) fn boxed(http: reqwest::Client) -> Box<dyn HttpClient> {
    Box::new(Client(http))
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.0.clone();
        Box::pin(async move { ask(&http, request).await.map_err(Error::Other) })
    }
}

async fn ask(
    http: &reqwest::Client,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Box<dyn StdError + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let url = head.uri.to_string();
    let request = http.request(head.method, url).headers(head.headers).body(body).timeout(PATIENCE);
    // The address is the operator's own; what it is about is said by the caller.
    let mut answer = request.send().await.map_err(|error| with_causes(&error.without_url()))?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.clone_from(answer.headers());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| with_causes(&error.without_url()))? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err("the answer is too long".into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(response.body(Full::new(Bytes::from(bytes)))?.into())
}

/// What lies under an error of the client says more than itself.
fn with_causes(error: &reqwest::Error) -> String {
    let (mut text, mut error): (String, &dyn StdError) = (error.to_string(), error);
    while let Some(cause) = error.source() {
        text = format!("{text}: {cause}");
        error = cause;
    }
    text
}
