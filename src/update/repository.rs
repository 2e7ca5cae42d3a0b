//! A repository of releases: files on any web server, in a directory, on a stick. Only what its metadata signs counts.
//!
//! The metadata is that of The Update Framework, 1.0, read by `tough`. What was trusted before is kept in a directory: it is what
//! rollbacks are noticed by. The library writes its files one by one, so it works on a copy, and what it accepted is put in
//! place whole. The time is the system's: the library asks for it itself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::Url;
use tokio::time::timeout;
use tough::error::Error as TufError;
use tough::schema::{Root, Signed};
use tough::{RepositoryLoader, TransportError};

use super::release::{Bundle, Offer};
use super::transport::{Failure, Fetch, Limits};
use super::{Error, Payload, Sha256};
use crate::document::{read_at_most, write_whole};

/// What a release was built to trust: a `root.json`, and where its releases are.
pub const BUILT_IN_ROOT: Option<&str> = option_env!("FRONTDESK_UPDATE_ROOT");
/// Where releases are looked for unless the configuration says otherwise.
pub const BUILT_IN_REPOSITORY: Option<&str> = option_env!("FRONTDESK_UPDATE_REPOSITORY");

/// More roots than a life has are not followed at once.
const MAX_ROOTS: u64 = 256;
const MAX_FILE_BYTES: usize = 4 << 20;
/// In the order in which they are put in place.
const KEPT: [&str; 5] = ["root.json", "timestamp.json", "snapshot.json", "targets.json", "latest_known_time.json"];

/// Why a repository is not believed. Each is one attack, or one mistake of whoever keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not enough keys that the root names.
    #[error("its metadata is not signed by the keys that this device trusts")]
    Signature,
    /// Old metadata, shown again or never renewed.
    #[error(
        "its metadata has expired: whoever keeps it must renew it, or somebody shows an old copy, or the clock is wrong"
    )]
    Expired,
    /// Older than what was seen.
    #[error("its metadata is older than what this device has seen; somebody shows an old copy")]
    Rollback,
    /// Files of different times.
    #[error("its files do not belong together: one was exchanged, cut off, or is being uploaded right now")]
    Mixed,
    /// More than it may be.
    #[error("it sends more than its metadata may have")]
    TooLarge,
    /// Not what the specification says.
    #[error("its metadata cannot be read: it is cut off or no metadata")]
    Malformed,
    /// Expiry means nothing then.
    #[error("the clock was set back since the last look; set it, for example with `timedatectl set-ntp true`")]
    Clock,
}

/// Where releases come from and what is trusted of them.
#[derive(Debug)]
pub struct Repository {
    /// Ends with a slash.
    base: Url,
    /// The root that somebody gave us.
    anchor: Vec<u8>,
    /// What was trusted the last time.
    trusted: PathBuf,
    fetch: Fetch,
}

/// Metadata that was verified.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Files of releases.
    pub offers: Vec<Offer>,
}

impl Repository {
    /// At `address`, under which are `metadata/` and `targets/`; `anchor` is a `root.json` that came another way. What is
    /// trusted is kept in the directory `trusted`, which belongs to this alone.
    ///
    /// # Errors
    /// [`Error::Address`] when that is no address.
    pub fn new(
        address: &str,
        anchor: Vec<u8>,
        trusted: &Path,
        http: reqwest::Client,
        limits: Limits,
    ) -> Result<Self, Error> {
        let base = parse_address(address).map_err(|why| Error::Address { address: address.to_owned(), why })?;
        Ok(Self { base, anchor, trusted: trusted.to_owned(), fetch: Fetch { http, limits } })
    }

    /// Looks what there is.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is not to be believed, [`Error::Unreachable`] when it is not there.
    pub async fn load(&self) -> Result<Verified, Error> {
        let root = self.begin().map_err(Error::disk("write", &self.trusted))?;
        let scratch = self.scratch();
        let limits = tough::Limits {
            max_root_size: self.fetch.limits.metadata_bytes,
            max_targets_size: self.fetch.limits.metadata_bytes,
            max_timestamp_size: self.fetch.limits.metadata_bytes,
            max_snapshot_size: self.fetch.limits.metadata_bytes,
            max_root_updates: MAX_ROOTS,
        };
        let loader = RepositoryLoader::new(&root, self.join("metadata/")?, self.join("targets/")?)
            .transport(self.fetch.clone())
            .limits(limits)
            .datastore(scratch);
        let time = self.fetch.limits.metadata_time;
        let Ok(loaded) = timeout(time, loader.load()).await else {
            let why = format!("its metadata was not there after {} s", time.as_secs());
            return Err(Error::Unreachable { url: self.base.to_string(), why });
        };
        // A root counts as soon as it is verified: it may take trust away from keys that sign everything else.
        let kept = if loaded.is_ok() { KEPT.as_slice() } else { &["root.json"] };
        self.keep(kept).map_err(Error::disk("write", &self.trusted))?;
        let loaded = loaded.map_err(|error| self.refusal(&error))?;
        let is_consistent = loaded.root().signed.consistent_snapshot;
        let mut offers = Vec::new();
        for (name, target) in &loaded.targets().signed.targets {
            let Some(sha256) = Sha256::from_bytes(&target.hashes.sha256) else { continue };
            let custom: BTreeMap<String, serde_json::Value> = target.custom.clone().into_iter().collect();
            let payload = Payload { bytes: target.length, sha256 };
            offers.extend(Offer::read(name.raw(), payload, &custom, is_consistent));
        }
        offers.sort_by(|a, b| (a.about.version, &a.file).cmp(&(b.about.version, &b.file)));
        Ok(Verified { offers })
    }

    /// Brings the files of a release into `directory`, each whole and verified, and says where. An attempt that was
    /// cut off is gone on with. What else is there is removed, so that no more than one release lies around.
    ///
    /// # Errors
    /// When the disk has no room, the repository is not there or gives something else than was signed.
    pub async fn download(&self, bundle: &Bundle, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let path = |offer: &Offer| directory.join(format!("{}.verified", offer.payload.sha256));
        let files: Vec<PathBuf> = bundle.offers.iter().map(path).collect();
        prepare(directory, &files).map_err(Error::disk("write", directory))?;
        for (offer, file) in bundle.offers.iter().zip(&files) {
            // It was verified before it got this name.
            if !file.exists() {
                let url = self.join(&format!("targets/{}", offer.file))?;
                self.fetch.download(&url, &offer.payload, file).await?;
            }
        }
        Ok(files)
    }

    fn join(&self, path: &str) -> Result<Url, Error> {
        let address = || self.base.to_string();
        self.base.join(path).map_err(|error| Error::Address { address: address(), why: error.to_string() })
    }

    fn scratch(&self) -> PathBuf {
        self.trusted.join("scratch")
    }

    /// Copies what was trusted to where the library works, and says from which root it goes on.
    fn begin(&self) -> io::Result<Vec<u8>> {
        let (scratch, mark) = (self.scratch(), self.trusted.join("anchor"));
        match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(&scratch)?;
        // Another anchor is another repository: nothing that was seen of the one says anything of the other.
        let digest = Sha256::of(&self.anchor).to_string();
        if read_at_most(&mark, MAX_FILE_BYTES).unwrap_or_default() != digest.as_bytes() {
            for name in KEPT {
                match fs::remove_file(self.trusted.join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            write_whole(&mark, digest.as_bytes(), 0o600)?;
        }
        for name in KEPT {
            match fs::copy(self.trusted.join(name), scratch.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let root = read_at_most(&self.trusted.join("root.json"), MAX_FILE_BYTES).ok();
        let is_root = |bytes: &Vec<u8>| serde_json::from_slice::<Signed<Root>>(bytes).is_ok();
        Ok(root.filter(is_root).unwrap_or_else(|| self.anchor.clone()))
    }

    fn keep(&self, names: &[&str]) -> io::Result<()> {
        let scratch = self.scratch();
        for name in names {
            let (from, to) = (scratch.join(name), self.trusted.join(name));
            // What the library threw away it does not believe any more, whoever keeps it.
            if !from.exists() {
                continue;
            }
            let bytes = fs::read(&from)?;
            if fs::read(&to).ok().as_ref() != Some(&bytes) {
                write_whole(&to, &bytes, 0o600)?;
            }
        }
        fs::remove_dir_all(&scratch)
    }

    /// Which attack it looks like. The words of the library stay in the log.
    fn refusal(&self, error: &TufError) -> Error {
        tracing::warn!(%error, repository = %self.base, "the repository is not believed");
        let refusal = match error {
            TufError::VerifyMetadata { .. } | TufError::VerifyTrustedMetadata { .. } => Refusal::Signature,
            TufError::ExpiredMetadata { .. } => Refusal::Expired,
            TufError::OlderMetadata { .. }
            | TufError::OlderSnapshotInTimestamp { .. }
            | TufError::SnapshotRoleMissing { .. }
            | TufError::SnapshotRoleRollback { .. } => Refusal::Rollback,
            TufError::VersionMismatch { .. } => Refusal::Mixed,
            TufError::MaxUpdatesExceeded { .. } => Refusal::TooLarge,
            TufError::SystemTimeSteppedBackward { .. } => Refusal::Clock,
            TufError::Transport { source, .. } => return self.transport_refusal(source),
            _ => Refusal::Malformed,
        };
        Error::Refused(refusal)
    }

    fn transport_refusal(&self, error: &TransportError) -> Error {
        let source = std::error::Error::source(error);
        let is_too_large = matches!(source.and_then(|source| source.downcast_ref()), Some(Failure::TooLarge(_)));
        match source.and_then(|source| source.downcast_ref::<TufError>()) {
            Some(TufError::HashMismatch { .. }) => Error::Refused(Refusal::Mixed),
            Some(TufError::MaxSizeExceeded { .. }) => Error::Refused(Refusal::TooLarge),
            _ if is_too_large => Error::Refused(Refusal::TooLarge),
            _ => {
                let why = source.map_or_else(|| error.to_string(), ToString::to_string);
                Error::Unreachable { url: error.url().to_owned(), why }
            }
        }
    }
}

/// Makes the directory, and leaves in it what belongs to `files` only.
fn prepare(directory: &Path, files: &[PathBuf]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_wanted = files.iter().any(|file| *file == path || file.with_extension("part") == path);
        if !is_wanted && path.is_file() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// An address of a repository, with a slash at its end.
///
/// # Errors
/// What is wrong with it.
pub fn parse_address(address: &str) -> Result<Url, String> {
    let with_slash = if address.ends_with('/') { address.to_owned() } else { format!("{address}/") };
    let url = Url::parse(&with_slash).map_err(|error| format!("{error}; write \"https://updates.example.com/\""))?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if is_web || (url.scheme() == "file" && url.to_file_path().is_ok()) {
        Ok(url)
    } else {
        Err("it begins with https://, http:// or file://".to_owned())
    }
}
