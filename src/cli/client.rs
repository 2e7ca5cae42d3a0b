//! HTTP over the gateway's local socket.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::{Context, Exit, Failure};
use crate::gateway::{short_path, socket};

/// Longest time for one command: a reload may have to wait for the disk.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the gateway said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Answer {
    /// The body of a success; otherwise the gateway's own words.
    pub(super) fn success(self) -> Result<Value, Failure> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let exit = match self.status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Exit::Usage,
            StatusCode::UNPROCESSABLE_ENTITY => Exit::Config,
            _ => Exit::Internal,
        };
        let error = self.body.get("error").and_then(Value::as_str).unwrap_or("the gateway gave no reason");
        Err(exit.say(error))
    }
}

/// A query string from names and values; those without a value are left out.
pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(name);
        query.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                query.push(char::from(byte));
            } else {
                query.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    query
}

/// Asks the running gateway.
pub(super) fn ask(context: &Context, method: Method, path: &str) -> Result<Answer, Failure> {
    ask_with(context, method, path, None)
}

/// Asks the running gateway, with a JSON body.
pub(super) fn ask_with(context: &Context, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    runtime.block_on(async {
        let answer = tokio::time::timeout(TIMEOUT, exchange(&context.home, method, path, body)).await;
        answer.unwrap_or_else(|_elapsed| {
            Err(Exit::TryAgain.say("the gateway does not answer; try again, or look at its log"))
        })
    })
}

async fn exchange(home: &Path, method: Method, path: &str, body: String) -> Result<Answer, Failure> {
    let not_running = |error: io::Error| {
        let home = home.display();
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Exit::Usage.say(format!("the gateway in {home} belongs to another user; run this as its owner"))
            }
            _ => Exit::TryAgain.say(format!(
                "no gateway is running in {home}; start it with `gateway run`, or name its home with --home DIR"
            )),
        }
    };
    let token = fs::read_to_string(home.join("admin.token")).map_err(not_running)?;
    let stream = UnixStream::connect(short_path(&socket(home))).await.map_err(not_running)?;
    let failed =
        |error: hyper::Error| Exit::TryAgain.because(anyhow::Error::from(error).context("the gateway broke off"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "frontdesk")
        .header(header::AUTHORIZATION, format!("Bearer {}", token.trim_end()))
        .body(Full::new(Bytes::from(body)))
        .map_err(anyhow::Error::from)?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    };
    // The connection must be driven while the answer is read.
    let (status, body) = tokio::select! {
        done = exchange => done.map_err(failed)?,
        ended = connection => {
            ended.map_err(failed)?;
            return Err(Exit::TryAgain.say("the gateway broke off; look at its log"));
        }
    };
    Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_carries_any_text() {
        let pairs = [("key", Some("a:b %&")), ("none", None), ("user", Some("ü"))];
        assert_eq!(query(&pairs), "?key=a%3Ab%20%25%26&user=%C3%BC");
        assert_eq!(query(&[("none", None)]), "");
    }
}
