//! Buckets that speak S3. Requests are signed by `rusty-s3` and sent by our HTTP client; addresses have the bucket in
//! their path, as servers other than Amazon's want it.
//!
//! A backup is uploaded in parts as it is made, so that one part is in memory and not the whole. Its name appears when all
//! parts are there. Everything here waits, so it is called where waiting is allowed.

use std::io::{self, Read, Write};
use std::time::Duration;

use hyper::body::Bytes;
use reqwest::{Method, Response, StatusCode, Url};
use rusty_s3::actions::{
    CompleteMultipartUpload, CompleteMultipartUploadResponse, CreateMultipartUpload, ListObjectsV2, S3Action,
};
use rusty_s3::{Credentials, UrlStyle};
use tokio::runtime::Handle;

use super::destination::Sink;
use super::{Error, Name, S3};

/// Of one part. S3 takes at most ten thousand, so no backup is larger than 78 GiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// How long a signed request counts.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);
/// A part must be up in this time.
const TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// A request that failed for reasons of the network or the server is made again, as often and after such waits.
const WAITS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(8)];

/// Sends requests.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl Client {
    /// With this HTTP client, on this runtime, which others must drive.
    #[must_use]
    pub fn new(http: reqwest::Client, runtime: Handle) -> Self {
        Self { http, runtime }
    }

    /// Can this be the address of a server?
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_endpoint(text: &str) -> Result<(), String> {
        let url: Option<Url> = text.parse().ok();
        let is_web = url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        is_web.then_some(()).ok_or_else(|| format!("{text:?} is no address; write \"https://s3.example.com\""))
    }

    pub(super) fn bucket(&self, name: &str, prefix: &str, s3: &S3) -> Result<Bucket, Error> {
        let is_name = (3..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        let prefix = prefix.trim_end_matches('/');
        // `.` and `..` in an address are not what they are in a name.
        let is_prefix = prefix.is_empty() || prefix.split('/').all(|piece| !matches!(piece, "" | "." | ".."));
        if !is_name || !is_prefix {
            return Err(Error::Place(format!(
                "s3://{name}/{prefix} is no place in a bucket; write s3://bucket/prefix"
            )));
        }
        let endpoint: Url =
            s3.endpoint.parse().map_err(|_error| Error::Place("s3_endpoint is no address".to_owned()))?;
        let bucket = rusty_s3::Bucket::new(endpoint, UrlStyle::Path, name.to_owned(), s3.region.clone());
        Ok(Bucket {
            client: self.clone(),
            bucket: bucket.map_err(|_error| Error::Place("s3_endpoint is no address".to_owned()))?,
            credentials: Credentials::new(s3.access_key.expose(), s3.secret_key.expose()),
            prefix: prefix.to_owned(),
        })
    }
}

/// A bucket, and the beginning of names in it.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    bucket: rusty_s3::Bucket,
    credentials: Credentials,
    prefix: String,
}

impl Bucket {
    pub(super) fn create(&self, name: &str) -> Upload {
        Upload { bucket: self.clone(), key: self.key(name), part: Vec::new(), begun: None }
    }

    pub(super) fn read(&self, name: &str) -> Result<Download, Error> {
        let key = self.key(name);
        let url = || self.bucket.get_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        let response = self.send(&Method::GET, url, Vec::new())?;
        Ok(Download { response, runtime: self.client.runtime.clone(), piece: Bytes::new() })
    }

    pub(super) fn list(&self) -> Result<Vec<(Name, u64)>, Error> {
        let names = self.names("frontdesk-")?.into_iter();
        Ok(names.filter_map(|(name, n_bytes)| Some((Name::parse(&name)?, n_bytes))).collect())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        let key = self.key(name);
        let url = || self.bucket.delete_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        self.send(&Method::DELETE, url, Vec::new()).map(drop)
    }

    pub(super) fn show(&self, name: &str) -> String {
        format!("s3://{}/{}", self.bucket.name(), self.key(name))
    }

    /// The names that begin so, without the prefix, and how many bytes each has.
    fn names(&self, beginning: &str) -> Result<Vec<(String, u64)>, Error> {
        let (beginning, cut) = (self.key(beginning), self.key("").len());
        let (mut names, mut token): (Vec<(String, u64)>, Option<String>) = (Vec::new(), None);
        loop {
            let url = || {
                let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
                action.with_prefix(&*beginning);
                if let Some(token) = &token {
                    action.with_continuation_token(&**token);
                }
                action.sign(SIGNED_FOR)
            };
            let text = self.text(self.send(&Method::GET, url, Vec::new())?)?;
            let listed =
                ListObjectsV2::parse_response(&text).map_err(|_error| self.error("it lists nothing readable"))?;
            let objects = listed.contents.iter();
            names.extend(
                objects.filter_map(|object| Some((object.key.get(cut..)?.to_owned(), object.size.unwrap_or_default()))),
            );
            token = listed.next_continuation_token;
            if token.is_none() {
                return Ok(names);
            }
        }
    }

    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    fn error(&self, reason: impl Into<String>) -> Error {
        Error::Bucket { bucket: self.bucket.name().to_owned(), reason: reason.into() }
    }

    fn text(&self, response: Response) -> Result<String, Error> {
        self.client.runtime.block_on(response.text()).map_err(|error| self.error(error.without_url().to_string()))
    }

    /// Sends a request, again if that may help. The address is signed anew each time, and is in no error.
    fn send(&self, method: &Method, url: impl Fn() -> Url, body: Vec<u8>) -> Result<Response, Error> {
        let body = Bytes::from(body);
        let mut waits = WAITS.iter();
        loop {
            let request = self.client.http.request(method.clone(), url()).body(body.clone());
            let request = if *method == Method::GET { request } else { request.timeout(TIMEOUT) };
            let (reason, may_help) = match self.client.runtime.block_on(request.send()) {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let status = response.status();
                    let may_help = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    (explain(status, &self.text(response)?), may_help)
                }
                Err(error) => (causes(&error.without_url()), true),
            };
            match waits.next() {
                Some(wait) if may_help => self.client.runtime.block_on(async { tokio::time::sleep(*wait).await }),
                _ => return Err(self.error(reason)),
            }
        }
    }
}

/// The server's own word for it, which is one of a list.
fn explain(status: StatusCode, body: &str) -> String {
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    let code = code.filter(|code| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let help = match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => "; check s3_access_key, s3_secret_key and s3_region",
        StatusCode::NOT_FOUND => "; check the name and s3_endpoint",
        _ => "",
    };
    match code {
        Some(code) => format!("it answers {} {code}{help}", status.as_u16()),
        None => format!("it answers {}{help}", status.as_u16()),
    }
}

fn causes(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), |cause| format!("it cannot be reached: {cause}"))
}

/// A backup on its way up.
pub(super) struct Upload {
    bucket: Bucket,
    key: String,
    part: Vec<u8>,
    /// Its id and the tags of the parts that are there. `None`: all of it fits in one request so far.
    begun: Option<(String, Vec<String>)>,
}

impl Upload {
    fn send_part(&mut self) -> Result<(), Error> {
        let Self { bucket, key, part, begun } = self;
        let (id, tags) = match begun {
            Some(begun) => begun,
            None => {
                let url = || bucket.bucket.create_multipart_upload(Some(&bucket.credentials), key).sign(SIGNED_FOR);
                let text = bucket.text(bucket.send(&Method::POST, url, Vec::new())?)?;
                let created = CreateMultipartUpload::parse_response(&text);
                let created = created.map_err(|_error| bucket.error("it begins no upload"))?;
                begun.insert((created.upload_id().to_owned(), Vec::new()))
            }
        };
        let number = u16::try_from(tags.len() + 1).ok().filter(|number| *number <= 10_000);
        let number = number.ok_or_else(|| bucket.error("the backup has too many parts"))?;
        let url = || bucket.bucket.upload_part(Some(&bucket.credentials), key, number, id).sign(SIGNED_FOR);
        let response = bucket.send(&Method::PUT, url, std::mem::take(part))?;
        let tag = response.headers().get("etag").and_then(|tag| tag.to_str().ok());
        tags.push(tag.ok_or_else(|| bucket.error("it gave a part no tag"))?.to_owned());
        Ok(())
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART_BYTES {
            self.send_part().map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Upload {
    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        if self.begun.is_some() {
            self.send_part()?;
        }
        let part = std::mem::take(&mut self.part);
        let Self { bucket, key, .. } = &*self;
        let Some((id, tags)) = &self.begun else {
            let url = || bucket.bucket.put_object(Some(&bucket.credentials), key).sign(SIGNED_FOR);
            return bucket.send(&Method::PUT, url, part).map(drop);
        };
        let action = || {
            let tags = tags.iter().map(String::as_str);
            CompleteMultipartUpload::new(&bucket.bucket, Some(&bucket.credentials), key, id, tags)
        };
        let body = action().body().into_bytes();
        let text = bucket.text(bucket.send(&Method::POST, || action().sign(SIGNED_FOR), body)?)?;
        // It may say 200 and then that it failed.
        CompleteMultipartUploadResponse::parse(&text)
            .map_err(|_error| bucket.error("it did not complete the upload"))?;
        self.begun = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Self { bucket, key, begun, .. } = self;
        if let Some((id, _)) = begun {
            let url = || bucket.bucket.abort_multipart_upload(Some(&bucket.credentials), key, id).sign(SIGNED_FOR);
            if let Err(error) = bucket.send(&Method::DELETE, url, Vec::new()) {
                tracing::warn!(%error, "parts of a backup that was not completed are left in the bucket");
            }
        }
    }
}

/// A backup on its way down.
pub(super) struct Download {
    response: Response,
    runtime: Handle,
    piece: Bytes,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            // Timers begin on the runtime, also where the caller is none of its threads.
            let next = async { tokio::time::timeout(TIMEOUT, self.response.chunk()).await };
            let next = self.runtime.block_on(next).map_err(io::Error::other)?;
            match next.map_err(|error| io::Error::other(error.without_url()))? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let n = self.piece.len().min(buffer.len());
        let taken = self.piece.split_to(n);
        buffer.iter_mut().zip(taken).for_each(|(to, from)| *to = from);
        Ok(n)
    }
}
