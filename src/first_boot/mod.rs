//! What a person says to an appliance before its first start: `frontdesk.toml` on the boot partition, which any computer can
//! write. It is read once; what it says is put where the system looks for it, and the passphrase of the wireless network is taken
//! out of it. A file that cannot be used changes nothing and stops nothing: what is wrong is noted for page and console.
//!
//! ```text
//! hostname               what the machine is called
//! localtime              a link to its time zone
//! wired.network          systemd-networkd: a fixed address by cable
//! wireless.network       the same without cable
//! wpa_supplicant.conf    network, passphrase and country of the radio; only root reads it
//! gateway.env            what the gateway is told: name, zone, proxy, digest of the claim code
//! first-boot.json        what was read last, and what was wrong with it
//! ```
//!
//! [`settings`] decides what a text says, [`render`] what the system is told; both are pure. Knows nothing of the gateway.

mod render;
mod settings;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::document::{read_at_most, sync_directory, write_whole};

pub use settings::{Passphrase, Place, Presets, Wifi, Wired};

/// The variable with the directory that [`apply`] writes into, for those who show what it noted.
pub const DIRECTORY: &str = "FRONTDESK_SYSTEM";
/// The variable with the name of the box in the local network.
pub const NAME: &str = "FRONTDESK_NAME";
/// The variable with the digest of the code that the box is claimed with.
pub const CLAIM: &str = "FRONTDESK_CLAIM_SHA256";

/// What the file may be called: computers that hide the ends of names add another.
const FILES: [&str; 2] = ["frontdesk.toml", "frontdesk.toml.txt"];
const NOTE: &str = "first-boot.json";
const MAX_BYTES: usize = 64 * 1024;
/// What the machine is called until somebody says otherwise.
const USUAL_NAME: &str = "frontdesk";

/// What was read last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// SHA-256 of the file as it was left, in hex; none: there was none.
    #[serde(default)]
    pub digest: Option<String>,
    /// What is wrong with it, each in one sentence without a secret.
    #[serde(default)]
    pub problems: Vec<String>,
}

impl Note {
    /// What [`apply`] noted; nothing, where it never ran.
    #[must_use]
    pub fn read(directory: &Path) -> Self {
        let bytes = read_at_most(&directory.join(NOTE), MAX_BYTES);
        bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied {
    /// There is no file.
    NoFile,
    /// It was read before, and nothing in it has changed.
    Known,
    /// It was read and used.
    Used,
    /// It cannot be used; what counted before counts on.
    Refused(Vec<String>),
}

/// Reads the file on the partition that is mounted at `boot` and puts what it says into `directory`. Running it again, also after
/// the power went in the middle, comes to the same.
///
/// # Errors
/// When a disk does not give or take it.
pub fn apply(boot: &Path, directory: &Path) -> io::Result<Applied> {
    fs::create_dir_all(directory)?;
    let (file, bytes) = match find(boot)? {
        Some(found) => found,
        None => {
            note(directory, &Note::default())?;
            return Ok(Applied::NoFile);
        }
    };
    // FAT does not rename in one step: an empty file is one that a power cut took, and says nothing.
    if bytes.is_empty() {
        return Ok(Applied::Known);
    }
    let before = Note::read(directory);
    if before.digest.as_deref() == Some(&*hex_digest(&bytes)) {
        return Ok(if before.problems.is_empty() { Applied::Known } else { Applied::Refused(before.problems) });
    }
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let known = render::known_network(&fs::read_to_string(directory.join(render::RADIO)).unwrap_or_default());
    let parsed = text(&bytes).and_then(|text| Ok((text.clone(), settings::read(&name, &text, known.as_ref())?)));
    let (text, presets) = match parsed {
        Ok(parsed) => parsed,
        Err(problems) => {
            note(directory, &Note { digest: Some(hex_digest(&bytes)), problems: problems.clone() })?;
            return Ok(Applied::Refused(problems));
        }
    };
    put(directory, &presets)?;
    // Last, once everything it said is kept: cut off before this, it is read again; after this, its digest is not known, and
    // reading it without the passphrase keeps the one there is.
    let left = settings::without_passphrase(&text);
    if left.as_bytes() != bytes {
        replace(&file, left.as_bytes())?;
    }
    note(directory, &Note { digest: Some(hex_digest(left.as_bytes())), problems: Vec::new() })?;
    Ok(Applied::Used)
}

/// What the machine is to be called.
#[must_use]
pub fn host_name(directory: &Path) -> String {
    let name = fs::read_to_string(directory.join(render::HOST)).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { USUAL_NAME.to_owned() } else { name.to_owned() }
}

fn find(boot: &Path) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    for name in FILES {
        let path = boot.join(name);
        match read_at_most(&path, MAX_BYTES + 1) {
            // As good as a text that means nothing.
            Ok(bytes) if bytes.len() > MAX_BYTES => return Ok(Some((path, Vec::from([0xFF])))),
            Ok(bytes) => return Ok(Some((path, bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Editors of Windows write a mark in front.
fn text(bytes: &[u8]) -> Result<String, Vec<String>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_error| vec!["frontdesk.toml is no text in UTF-8 of at most 64 KiB; save it as UTF-8".to_owned()])?;
    Ok(text.trim_start_matches('\u{FEFF}').to_owned())
}

/// Each file whole; what is not said any more goes.
fn put(directory: &Path, presets: &Presets) -> io::Result<()> {
    for (name, mode, content) in render::files(presets) {
        let path = directory.join(name);
        match content {
            Some(content) => write_whole(&path, content.as_bytes(), mode)?,
            None => remove(&path)?,
        }
    }
    let link = directory.join(render::ZONE);
    match &presets.time_zone {
        Some(zone) => {
            let new = directory.join("localtime.new");
            remove(&new)?;
            std::os::unix::fs::symlink(Path::new("/usr/share/zoneinfo").join(zone), &new)?;
            fs::rename(new, link)?;
        }
        None => remove(&link)?,
    }
    sync_directory(directory)
}

fn note(directory: &Path, note: &Note) -> io::Result<()> {
    write_whole(&directory.join(NOTE), &serde_json::to_vec(note)?, 0o644)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// On FAT: the old content is written over before its name goes, so that the passphrase is not left behind in free blocks where
/// the card writes in place.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let new = file.with_extension("new");
    let mut written = fs::File::create(&new)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    drop(written);
    let old = fs::OpenOptions::new().write(true).open(file)?;
    fs::rename(&new, file)?;
    let length = usize::try_from(old.metadata()?.len()).unwrap_or(MAX_BYTES).min(MAX_BYTES);
    // The handle is of the old content still.
    (&old).write_all(&vec![b' '; length])?;
    old.sync_all()?;
    file.parent().map_or(Ok(()), sync_directory)
}

fn hex_digest(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
