//! How metadata and files come: over HTTP or from a directory, with bounds on size, time and bandwidth.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::stream;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tough::{Bytes, Transport, TransportError, TransportErrorKind, TransportStream};

use super::digest::Hasher;
use super::{Error, Payload};

/// What is downloaded costs at most so much.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest file of metadata.
    pub metadata_bytes: u64,
    /// Longest silence of a server.
    pub idle: Duration,
    /// All metadata must be there in this time.
    pub metadata_time: Duration,
    /// Files come no faster than that; `None`: as fast as they come.
    pub bytes_per_second: Option<u64>,
    /// So much of the disk stays free.
    pub spare_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            metadata_bytes: 1 << 20,
            idle: Duration::from_secs(30),
            metadata_time: Duration::from_secs(180),
            bytes_per_second: None,
            spare_bytes: 64 << 20,
        }
    }
}

/// Fetches from servers and directories.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    pub(super) http: reqwest::Client,
    pub(super) limits: Limits,
}

/// Why something did not come. The library carries it through.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("it is not there")]
    NotFound,
    #[error("addresses begin with https://, http:// or file://")]
    Unsupported,
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl Fetch {
    /// A file of metadata whole.
    async fn small(&self, url: &Url) -> Result<Bytes, Failure> {
        let too_large = || Failure::TooLarge(self.limits.metadata_bytes);
        let mut body = Vec::new();
        let limit = usize::try_from(self.limits.metadata_bytes).unwrap_or(usize::MAX);
        match url.scheme() {
            "file" => {
                let file = open(&directory_path(url)?).await?;
                file.take(self.limits.metadata_bytes.saturating_add(1)).read_to_end(&mut body).await?;
                if body.len() > limit {
                    return Err(too_large());
                }
            }
            "http" | "https" => {
                let mut response = self.ask(url, None).await?;
                while let Some(chunk) = self.next(&mut response).await? {
                    body.extend_from_slice(&chunk);
                    if body.len() > limit {
                        return Err(too_large());
                    }
                }
            }
            _ => return Err(Failure::Unsupported),
        }
        Ok(body.into())
    }

    /// The answer to a request for all of a file, or for what is behind `skip` bytes.
    async fn ask(&self, url: &Url, skip: Option<u64>) -> Result<Response, Failure> {
        let mut request = self.http.get(url.clone());
        if let Some(skip) = skip {
            request = request.header(RANGE, format!("bytes={skip}-"));
        }
        let answer = timeout(self.limits.idle, request.send()).await.map_err(|_elapsed| self.silent())?;
        let response = answer.map_err(|error| Failure::Other(cause(&error)))?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            // Buckets say "forbidden" of what is not there.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Err(Failure::NotFound),
            status => Err(Failure::Other(format!("the server answered {status}"))),
        }
    }

    async fn next(&self, response: &mut Response) -> Result<Option<Bytes>, Failure> {
        let chunk = timeout(self.limits.idle, response.chunk()).await.map_err(|_elapsed| self.silent())?;
        chunk.map_err(|error| Failure::Other(cause(&error)))
    }

    fn silent(&self) -> Failure {
        Failure::Other(format!("the server was silent for {} s", self.limits.idle.as_secs()))
    }

    /// Brings a file here as `to`, which has it when this returns. What came of an earlier attempt is gone on with;
    /// what is not the file that `payload` names is removed.
    pub(super) async fn download(&self, url: &Url, payload: &Payload, to: &Path) -> Result<(), Error> {
        let unreachable = |failure: Failure| Error::Unreachable { url: url.to_string(), why: failure.to_string() };
        let part = to.with_extension("part");
        let mut have = tokio::fs::metadata(&part).await.map_or(0, |metadata| metadata.len());
        if have > payload.bytes {
            have = 0;
        }
        self.check_room(&part, payload.bytes - have)?;
        let options = || tokio::fs::OpenOptions::new();
        let opened = options().create(true).truncate(false).read(true).write(true).open(&part).await;
        let mut file = opened.map_err(Error::disk("write", &part))?;
        let mut from = self.open_from(url, have).await.map_err(unreachable)?;
        let at = from.at();
        file.set_len(at).await.map_err(Error::disk("write", &part))?;
        file.seek(SeekFrom::Start(at)).await.map_err(Error::disk("write", &part))?;
        let mut n_bytes = at;
        let (began, mut n_came) = (Instant::now(), 0u64);
        loop {
            let chunk = match from.next(self).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(failure) => {
                    // What came is gone on with.
                    file.flush().await.map_err(Error::disk("write", &part))?;
                    return Err(unreachable(failure));
                }
            };
            let n_chunk = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            n_bytes = n_bytes.saturating_add(n_chunk);
            if n_bytes > payload.bytes {
                drop(file);
                let _ = tokio::fs::remove_file(&part).await;
                return Err(Error::Endless { url: url.to_string(), bytes: payload.bytes });
            }
            file.write_all(&chunk).await.map_err(Error::disk("write", &part))?;
            n_came += n_chunk;
            if let Some(rate) = self.limits.bytes_per_second {
                let due_ms = n_came.saturating_mul(1_000) / rate.max(1);
                sleep_until(began + Duration::from_millis(due_ms)).await;
            }
        }
        file.sync_all().await.map_err(Error::disk("write", &part))?;
        if n_bytes < payload.bytes {
            // The rest comes with the next attempt.
            let why = format!("it ended after {n_bytes} of {} bytes", payload.bytes);
            return Err(unreachable(Failure::Other(why)));
        }
        if !is_payload(&mut file, payload).await.map_err(Error::disk("read", &part))? {
            drop(file);
            let _ = tokio::fs::remove_file(&part).await;
            return Err(Error::Payload { what: "file" });
        }
        tokio::fs::rename(&part, to).await.map_err(Error::disk("put in place", to))
    }

    /// Refuses what would not leave the spare room.
    fn check_room(&self, part: &Path, needed: u64) -> Result<(), Error> {
        let directory = part.parent().unwrap_or(Path::new("."));
        let disk = rustix::fs::statvfs(directory).map_err(|errno| Error::disk("look at", directory)(errno.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed = needed.saturating_add(self.limits.spare_bytes);
        if free < needed { Err(Error::NoRoom { directory: directory.to_owned(), needed, free }) } else { Ok(()) }
    }

    /// A source that begins behind `skip` bytes, or at the start where it cannot.
    async fn open_from(&self, url: &Url, skip: u64) -> Result<Source, Failure> {
        if url.scheme() == "file" {
            let mut file = open(&directory_path(url)?).await?;
            file.seek(SeekFrom::Start(skip)).await?;
            return Ok(Source::File { file, at: skip });
        }
        if skip > 0 {
            let response = self.ask(url, Some(skip)).await?;
            let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
            let is_rest = range.is_some_and(|range| range.starts_with(&format!("bytes {skip}-")));
            match response.status() {
                StatusCode::PARTIAL_CONTENT if is_rest => return Ok(Source::Http { response, at: skip }),
                StatusCode::OK => return Ok(Source::Http { response, at: 0 }),
                _ => {}
            }
        }
        let response = self.ask(url, None).await?;
        match response.status() {
            StatusCode::OK => Ok(Source::Http { response, at: 0 }),
            status => Err(Failure::Other(format!("the server answered {status}"))),
        }
    }
}

/// Where bytes come from, and at which of the file they begin.
enum Source {
    File { file: tokio::fs::File, at: u64 },
    Http { response: Response, at: u64 },
}

impl Source {
    fn at(&self) -> u64 {
        match self {
            Self::File { at, .. } | Self::Http { at, .. } => *at,
        }
    }

    async fn next(&mut self, fetch: &Fetch) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Http { response, .. } => fetch.next(response).await,
            Self::File { file, .. } => {
                let mut chunk = vec![0; 64 * 1024];
                let n_bytes = file.read(&mut chunk).await?;
                chunk.truncate(n_bytes);
                Ok((n_bytes > 0).then(|| chunk.into()))
            }
        }
    }
}

async fn is_payload(file: &mut tokio::fs::File, payload: &Payload) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0)).await?;
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let n_bytes = file.read(&mut chunk).await?;
        if n_bytes == 0 {
            return Ok(hasher.finish() == payload.sha256);
        }
        hasher.update(chunk.get(..n_bytes).unwrap_or_default());
    }
}

/// A regular file; a pipe would wait for somebody to write into it.
async fn open(path: &Path) -> Result<tokio::fs::File, Failure> {
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(Failure::Other("it is not a file".to_owned()));
    }
    Ok(tokio::fs::File::open(path).await?)
}

fn directory_path(url: &Url) -> Result<PathBuf, Failure> {
    url.to_file_path().map_err(|()| Failure::Unsupported)
}

/// The innermost cause, which says more than "error sending request".
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[async_trait::async_trait]
impl Transport for Fetch {
    /// Never fails at once: a failure there would be taken for "there is no newer root", and only what is really not there may.
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let fetched = self.small(&url).await.map_err(|failure| {
            let kind = match failure {
                Failure::NotFound => TransportErrorKind::FileNotFound,
                Failure::Unsupported => TransportErrorKind::UnsupportedUrlScheme,
                Failure::TooLarge(_) | Failure::Other(_) => TransportErrorKind::Other,
            };
            TransportError::new_with_cause(kind, url, failure)
        });
        Ok(Box::pin(stream::once(std::future::ready(fetched))))
    }
}
