//! Roots: who may sign what. Drafted, signed one by one, adopted.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use tough::schema::{RoleKeys, RoleType, Root, Signed};

use crate::key::{Signer, read_public};

/// Draft the first root of a repository, or the next one
#[derive(Debug, Args)]
pub(crate) struct Draft {
    /// The repository; it may be empty
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    /// Public keys that sign roots; of three, two must sign
    #[arg(long, value_name = "FILE", required = true)]
    root: Vec<PathBuf>,
    /// So many of them must sign
    #[arg(long, value_name = "N", default_value = "2")]
    threshold: NonZeroU64,
    /// Public keys that sign releases; any of them
    #[arg(long, value_name = "FILE", required = true)]
    targets: Vec<PathBuf>,
    /// Public keys that sign which releases belong together; any of them
    #[arg(long, value_name = "FILE", required = true)]
    snapshot: Vec<PathBuf>,
    /// Public keys that sign that this is the newest; any of them
    #[arg(long, value_name = "FILE", required = true)]
    timestamp: Vec<PathBuf>,
    /// Until it expires
    #[arg(long, value_name = "DAYS", default_value_t = 730)]
    days: u32,
    /// Where the draft goes
    draft: PathBuf,
}

/// So many days from now, to the second.
pub(crate) fn expires(days: u32) -> Result<Timestamp> {
    let seconds = Timestamp::now().as_second();
    Ok(Timestamp::from_second(seconds)?.checked_add(SignedDuration::from_hours(i64::from(days) * 24))?)
}

fn read(path: &Path) -> Result<Signed<Root>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no root", path.display()))
}

fn path(repository: &Path, version: u64) -> PathBuf {
    repository.join("metadata").join(format!("{version}.root.json"))
}

/// The newest root of a repository, if it has one.
pub(crate) fn newest(repository: &Path) -> Result<Option<Signed<Root>>> {
    let mut version = 1;
    while path(repository, version).exists() {
        version += 1;
    }
    if version == 1 { Ok(None) } else { read(&path(repository, version - 1)).map(Some) }
}

/// Writes a file whole, or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    let written = (|| {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::write(&beside, bytes)?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, path)
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn draft(draft: &Draft) -> Result<String> {
    let version = match newest(&draft.repository)? {
        None => NonZeroU64::MIN,
        Some(root) => root.signed.version.checked_add(1).context("there is no higher version")?,
    };
    let mut keys = HashMap::new();
    let mut roles = HashMap::new();
    for (role, files, threshold) in [
        (RoleType::Root, &draft.root, draft.threshold),
        (RoleType::Targets, &draft.targets, NonZeroU64::MIN),
        (RoleType::Snapshot, &draft.snapshot, NonZeroU64::MIN),
        (RoleType::Timestamp, &draft.timestamp, NonZeroU64::MIN),
    ] {
        let mut keyids = Vec::new();
        for file in files {
            let (id, key) = read_public(file)?;
            ensure!(!keyids.contains(&id), "{} is named twice for {role}", file.display());
            keyids.push(id.clone());
            keys.insert(id, key);
        }
        let n_keys = u64::try_from(keyids.len())?;
        ensure!(threshold.get() <= n_keys, "{n_keys} keys cannot make {threshold} signatures: name more with --{role}");
        roles.insert(role, RoleKeys { keyids, threshold, _extra: HashMap::new() });
    }
    let root = Root {
        spec_version: "1.0.0".to_owned(),
        consistent_snapshot: true,
        version,
        expires: expires(draft.days)?,
        keys,
        roles,
        _extra: HashMap::new(),
    };
    let (expires, unsigned) = (root.expires, Signed { signed: root, signatures: Vec::new() });
    write(&draft.draft, &serde_json::to_vec_pretty(&unsigned)?)?;
    Ok(format!("{}: version {version}, until {expires}; have it signed", draft.draft.display()))
}

pub(crate) fn sign(draft: &Path, key: &Path) -> Result<String> {
    let mut root = read(draft)?;
    let signature = Signer::read(key)?.sign(&root.signed)?;
    root.signatures.retain(|other| other.keyid != signature.keyid);
    root.signatures.push(signature);
    write(draft, &serde_json::to_vec_pretty(&root)?)?;
    Ok(format!("{}: {} signatures", draft.display(), root.signatures.len()))
}

pub(crate) fn adopt(draft: &Path, repository: &Path) -> Result<String> {
    let root = read(draft)?;
    root.signed.verify_role(&root).context("not enough of its own root keys have signed it")?;
    let expected = match newest(repository)? {
        None => 1,
        Some(old) => {
            old.signed.verify_role(&root).context("not enough root keys of the version before have signed it")?;
            old.signed.version.get() + 1
        }
    };
    let version = root.signed.version.get();
    if version != expected {
        bail!("it is version {version}, and {expected} comes next: draft it anew");
    }
    let to = path(repository, version);
    write(&to, &serde_json::to_vec_pretty(&root)?)?;
    Ok(format!("{}: adopted; sign the rest anew with `renew`", to.display()))
}
