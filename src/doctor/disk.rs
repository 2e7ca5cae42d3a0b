//! What the disk says: who may read what, how full it is, and what time it last was.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{Finding, Severity, sentence};
use crate::clock::Timestamp;
use crate::gateway::{Offline, device_key};
use crate::tls;
use crate::update::Known;

/// With less it will be full some day soon, which the store says by itself.
const LOW_BYTES: u64 = 200_000_000;
/// File times and clocks differ by a little without anything being wrong.
const CLOCK_TOLERANCE_MS: u64 = 2 * 60 * 1000;

/// A file or directory.
#[derive(Debug, Clone)]
pub(super) struct FileFact {
    pub(super) path: PathBuf,
    /// The lower nine bits.
    pub(super) mode: u32,
    pub(super) owner: u32,
    /// When it was last written.
    pub(super) written: Timestamp,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) home: Option<FileFact>,
    /// Those in the home that nobody else should read.
    pub(super) files: Vec<FileFact>,
    /// Where the store is.
    pub(super) free_bytes: Option<u64>,
    /// A device key in the home that no passphrase protects.
    pub(super) clear_key: Option<PathBuf>,
    /// Without a gateway that runs and says it.
    pub(super) offline: Offline,
    /// Of updates.
    pub(super) updates: Known,
}

impl Disk {
    pub(super) fn look(home: &Path, store: &Path) -> Self {
        let named = [
            "config.toml",
            "config.yml",
            "config.yaml",
            "device.key",
            "admin.token",
            "accounts.json",
            "claim.code",
            tls::FILE,
            tls::ACCOUNT_FILE,
            tls::ACME_FILE,
            "secrets",
            "revisions",
        ];
        let mut paths: Vec<PathBuf> = named.iter().map(|name| home.join(name)).collect();
        paths.push(store.to_owned());
        for directory in ["secrets", "revisions"] {
            let entries = fs::read_dir(home.join(directory)).into_iter().flatten();
            paths.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
        paths.sort_unstable();
        let place = store.parent().filter(|place| place.is_dir()).unwrap_or(home);
        let free = rustix::fs::statvfs(place).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        // What is wrong with it otherwise is said by its mode and owner, and by the start that refuses it.
        let key = device_key::status(home, &device_key::Sources::default(), store).ok().flatten();
        let clear_key = key.filter(|key| key.protection.is_none()).map(|key| key.path);
        let files = paths.iter().filter_map(|path| look(path)).collect();
        Self {
            home: look(home),
            files,
            free_bytes: free,
            clear_key,
            offline: Offline::default(),
            updates: Known::default(),
        }
    }

    pub(super) fn findings(&self, now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        let is_open = self.home.as_ref().is_some_and(|home| home.mode & 0o077 != 0);
        if let Some(home) = self.home.as_ref().filter(|_| is_open) {
            let what = format!("others than its owner may look into {} (mode {:o})", home.path.display(), home.mode);
            let fix = format!("run: chmod 700 {}", home.path.display());
            findings.push(Finding::new(Severity::Warning, "open-home", what, fix));
        }
        for file in &self.files {
            let path = file.path.display();
            if file.mode & 0o077 != 0 {
                // Behind a door that is shut nobody reads it. But with this one no gateway starts.
                let is_key = file.path.file_name().is_some_and(|name| name == device_key::FILE);
                let severity = if is_open || is_key { Severity::Error } else { Severity::Hint };
                let what = format!("others than its owner may use {path} (mode {:o})", file.mode);
                findings.push(Finding::new(severity, "open-file", what, format!("run: chmod go= {path}")));
            }
            if let Some(home) = self.home.as_ref().filter(|home| home.owner != file.owner) {
                let what = format!("{path} belongs to user {}, the home to user {}", file.owner, home.owner);
                let fix = format!("run as root: chown {} {path}", home.owner);
                findings.push(Finding::new(Severity::Warning, "other-owner", what, fix));
            }
        }
        if let Some(path) = &self.clear_key {
            let what =
                format!("no passphrase protects {}: whoever has the disk reads what is kept here", path.display());
            let fix = "run `keys protect`, or have systemd keep the key, as docs/configuration.md says";
            findings.push(Finding::new(Severity::Hint, "clear-key", what, fix));
        }
        let Offline { device_key, store, notes, disk } = &self.offline;
        let errors = [("device-key", device_key), ("store", store), ("disk-full", disk)];
        findings.extend(errors.iter().filter_map(|(id, text)| Some(sentence(Severity::Error, id, text.as_ref()?))));
        findings.extend(notes.iter().map(|note| sentence(Severity::Hint, "store", note)));
        if let Some(free) = self.free_bytes.filter(|free| *free < LOW_BYTES && disk.is_none()) {
            let what = format!("the disk of the store has only {} MB left", free / 1_000_000);
            let fix = "make room: new messages are refused when less than a sixteenth of it, at most 16 MiB, is left";
            findings.push(Finding::new(Severity::Warning, "disk-low", what, fix));
        }
        let last =
            self.files.iter().map(|file| file.written).max().filter(|last| last.since_ms(now) > CLOCK_TOLERANCE_MS);
        if let Some(last) = last {
            let what = format!("the clock says {now}, and files were written at {last}: it is behind");
            let fix = "set the clock, for example with `timedatectl set-ntp true`; signatures and expiry need it";
            findings.push(Finding::new(Severity::Warning, "clock-behind", what, fix));
        }
        findings
    }
}

fn look(path: &Path) -> Option<FileFact> {
    let metadata = fs::metadata(path).ok()?;
    let written = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Some(FileFact {
        path: path.to_owned(),
        mode: metadata.permissions().mode() & 0o777,
        owner: metadata.uid(),
        written: Timestamp(u64::try_from(written.as_millis()).unwrap_or(u64::MAX)),
    })
}
