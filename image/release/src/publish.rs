//! Releases: files and the metadata that signs them.
//!
//! A file is there before the metadata that names it, and `timestamp.json` comes last, so whoever looks in between
//! finds what was there before. Nothing is signed on top of what does not verify.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::digest;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tough::schema::{Hashes, Metafile, Role, Root, Signed, Snapshot, Target, Targets, Timestamp};
use tough::{FilesystemTransport, RepositoryLoader, TargetName};
use url::Url;

use crate::key::{self, Signer};
use crate::root::{expires, newest, write};

const SPEC_VERSION: &str = "1.0.0";

/// Where and by whom
#[derive(Debug, Args)]
pub(crate) struct Signing {
    /// The repository
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    /// Secret keys of targets, snapshot and timestamp
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// Until the list of releases expires
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    targets_days: u32,
    /// Until what belongs together expires
    #[arg(long, value_name = "DAYS", default_value_t = 60)]
    snapshot_days: u32,
    /// Until "this is the newest" expires
    #[arg(long, value_name = "DAYS", default_value_t = 14)]
    timestamp_days: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Board {
    #[value(name = "x86_64")]
    X86,
    Arm64,
}

impl Board {
    fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

/// Add a release for one board
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    signing: Signing,
    /// As 1.2.3
    #[arg(long = "release", value_name = "VERSION", value_parser = version)]
    version: String,
    /// For whom
    #[arg(long)]
    board: Board,
    /// The program alone
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The kernel image of the appliance
    #[arg(long, value_name = "FILE", requires = "root")]
    kernel: Option<PathBuf>,
    /// The root of the appliance
    #[arg(long, value_name = "FILE", requires = "kernel")]
    root: Option<PathBuf>,
    /// The format of the store that it writes
    #[arg(long, value_name = "N")]
    store_format: u64,
    /// The oldest version that may be updated to it directly
    #[arg(long, value_name = "VERSION", value_parser = version)]
    minimum: Option<String>,
    /// A few sentences for the owner
    #[arg(long, default_value = "")]
    notes: String,
    /// It closes a hole
    #[arg(long)]
    security: bool,
    /// From then on so many of a hundred devices take it, as 10@2026-12-01T06:00:00Z; without any, all do at once
    #[arg(long = "wave", value_name = "PERCENT@TIME", value_parser = wave)]
    waves: Vec<Value>,
}

/// Say anew who takes a release when
#[derive(Debug, Args)]
pub(crate) struct Waves {
    #[command(flatten)]
    signing: Signing,
    /// As 1.2.3
    #[arg(long = "release", value_name = "VERSION", value_parser = version)]
    version: String,
    /// As 10@2026-12-01T06:00:00Z; without any, everybody now
    #[arg(long = "wave", value_name = "PERCENT@TIME", value_parser = wave)]
    waves: Vec<Value>,
}

/// Take a release back; devices that have it keep it
#[derive(Debug, Args)]
pub(crate) struct Withdraw {
    #[command(flatten)]
    signing: Signing,
    /// As 1.2.3
    #[arg(long = "release", value_name = "VERSION", value_parser = version)]
    version: String,
}

fn version(text: &str) -> Result<String, String> {
    let is_number = |piece: &str| piece.parse::<u32>().is_ok_and(|number| number.to_string() == piece);
    let is_version = text.split('.').count() == 3 && text.split('.').all(is_number);
    if is_version { Ok(text.to_owned()) } else { Err("versions look like 1.2.3".to_owned()) }
}

fn wave(text: &str) -> Result<Value, String> {
    let wrong = || "write 10@2026-12-01T06:00:00Z".to_owned();
    let (percent, from) = text.split_once('@').ok_or_else(wrong)?;
    let percent: u8 = percent.parse().ok().filter(|percent| *percent <= 100).ok_or_else(wrong)?;
    let from: jiff::Timestamp = from.parse().map_err(|_| wrong())?;
    Ok(json!({ "percent": percent, "from": from }))
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a repository says, verified.
struct Current {
    root: Root,
    targets: Option<Targets>,
    snapshot_version: u64,
    timestamp_version: u64,
}

fn read<T: Role + Serialize + DeserializeOwned>(repository: &Path, name: &str, root: &Root) -> Result<(T, Vec<u8>)> {
    let path = repository.join("metadata").join(name);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let signed: Signed<T> =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is no metadata", path.display()))?;
    root.verify_role(&signed).with_context(|| {
        format!("{} is not signed by the keys of the newest root; sign it anew with `renew`", path.display())
    })?;
    Ok((signed.signed, bytes))
}

impl Current {
    /// `roots` are those that may have signed what is there: the newest, and the one before while it is renewed.
    fn load(repository: &Path) -> Result<Self> {
        let root = newest(repository)?.context("the repository has no root; draft one and adopt it")?;
        root.signed.verify_role(&root).context("the newest root is not signed by its own keys")?;
        let mut current = Self { root: root.signed, targets: None, snapshot_version: 0, timestamp_version: 0 };
        if !repository.join("metadata/timestamp.json").exists() {
            return Ok(current);
        }
        let root = current.signing_root(repository)?;
        let (timestamp, _): (Timestamp, _) = read(repository, "timestamp.json", &root)?;
        let listed = timestamp.meta.get("snapshot.json").context("the timestamp names no snapshot")?;
        let (snapshot, bytes): (Snapshot, _) = read(repository, &format!("{}.snapshot.json", listed.version), &root)?;
        ensure_listed(listed, &bytes)?;
        let listed = snapshot.meta.get("targets.json").context("the snapshot names no targets")?;
        let (targets, bytes): (Targets, _) = read(repository, &format!("{}.targets.json", listed.version), &root)?;
        ensure_listed(listed, &bytes)?;
        current.snapshot_version = snapshot.version.get();
        current.timestamp_version = timestamp.version.get();
        current.targets = Some(targets);
        Ok(current)
    }

    /// The root whose keys signed the timestamp: the newest one, or after a rotation one before it.
    fn signing_root(&self, repository: &Path) -> Result<Root> {
        let bytes = fs::read(repository.join("metadata/timestamp.json"))?;
        let timestamp: Signed<Timestamp> = serde_json::from_slice(&bytes).context("timestamp.json is no metadata")?;
        for version in (1..=self.root.version.get()).rev() {
            let bytes = fs::read(repository.join(format!("metadata/{version}.root.json")))?;
            let root: Signed<Root> = serde_json::from_slice(&bytes)?;
            if root.signed.verify_role(&timestamp).is_ok() {
                return Ok(root.signed);
            }
        }
        bail!("no root of the repository names the keys that signed timestamp.json; somebody changed it")
    }
}

fn ensure_listed(listed: &Metafile, bytes: &[u8]) -> Result<()> {
    let is_listed = listed.hashes.as_ref().is_some_and(|hashes| *hashes.sha256 == *sha256(bytes));
    ensure!(is_listed, "the files of the repository do not belong together; bring back a copy of it");
    Ok(())
}

fn meta(version: NonZeroU64, bytes: &[u8]) -> Result<Metafile> {
    let hashes = Hashes { sha256: sha256(bytes).into(), _extra: HashMap::new() };
    Ok(Metafile { version, length: Some(u64::try_from(bytes.len())?), hashes: Some(hashes), _extra: HashMap::new() })
}

/// Lets `change` change the list of releases, signs everything and writes it.
fn publish(signing: &Signing, change: impl FnOnce(&mut Targets) -> Result<()>) -> Result<String> {
    let repository = &signing.repository;
    let signers = signing.keys.iter().map(|path| Signer::read(path)).collect::<Result<Vec<_>>>()?;
    let current = Current::load(repository)?;
    let next = |version: u64| NonZeroU64::new(version + 1).unwrap_or(NonZeroU64::MIN);
    let old_version = current.targets.as_ref().map_or(0, |targets| targets.version.get());
    let expires_at = expires(signing.targets_days)?;
    let mut targets = Targets::new(SPEC_VERSION.to_owned(), next(old_version), expires_at);
    targets.targets = current.targets.map(|old| old.targets).unwrap_or_default();
    change(&mut targets)?;

    let (version, kept) = (targets.version, files(&targets));
    let bytes = serde_json::to_vec(&key::sign(targets, &current.root, &signers)?)?;
    let mut snapshot =
        Snapshot::new(SPEC_VERSION.to_owned(), next(current.snapshot_version), expires(signing.snapshot_days)?);
    snapshot.meta.insert("targets.json".to_owned(), meta(version, &bytes)?);
    let snapshot_version = snapshot.version;
    let snapshot_bytes = serde_json::to_vec(&key::sign(snapshot, &current.root, &signers)?)?;
    let expires_at = expires(signing.timestamp_days)?;
    let mut timestamp = Timestamp::new(SPEC_VERSION.to_owned(), next(current.timestamp_version), expires_at);
    timestamp.meta.insert("snapshot.json".to_owned(), meta(snapshot_version, &snapshot_bytes)?);
    let timestamp_bytes = serde_json::to_vec(&key::sign(timestamp, &current.root, &signers)?)?;

    let metadata = repository.join("metadata");
    write(&metadata.join(format!("{version}.targets.json")), &bytes)?;
    write(&metadata.join(format!("{snapshot_version}.snapshot.json")), &snapshot_bytes)?;
    write(&metadata.join("timestamp.json"), &timestamp_bytes)?;
    remove_others(&repository.join("targets"), &kept)?;
    Ok(format!("{}: {} files; sign anew before {expires_at}", repository.display(), kept.len()))
}

/// Names of the files that a list names.
fn files(targets: &Targets) -> Vec<String> {
    let name = |(name, target): (&TargetName, &Target)| format!("{}.{}", hex(&target.hashes.sha256), name.raw());
    targets.targets.iter().map(name).collect()
}

fn remove_others(directory: &Path, kept: &[String]) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !kept.iter().any(|name| entry.file_name() == name.as_str()) {
            fs::remove_file(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

pub(crate) fn add(add: &Add) -> Result<String> {
    let given = [("program", &add.program), ("kernel", &add.kernel), ("root", &add.root)];
    let given: Vec<_> = given.into_iter().filter_map(|(kind, path)| Some((kind, path.as_ref()?))).collect();
    ensure!(!given.is_empty(), "name what belongs to it: --program, or --kernel and --root");
    // What is not signed in the end is not copied.
    drop(Current::load(&add.signing.repository)?);
    let mut listed = Vec::new();
    for (kind, path) in given {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(!bytes.is_empty(), "{} is empty", path.display());
        let name = format!("frontdesk-{}-{}.{kind}", add.version, add.board.name());
        let sha256 = sha256(&bytes);
        write(&add.signing.repository.join("targets").join(format!("{}.{name}", hex(&sha256))), &bytes)?;
        let mut about = json!({
            "version": add.version, "board": add.board.name(), "kind": kind, "store_format": add.store_format,
            "notes": add.notes, "severity": if add.security { "security" } else { "normal" }, "waves": add.waves,
        });
        if let (Some(about), Some(minimum)) = (about.as_object_mut(), &add.minimum) {
            about.insert("minimum".to_owned(), json!(minimum));
        }
        let target = Target {
            length: u64::try_from(bytes.len())?,
            hashes: Hashes { sha256: sha256.into(), _extra: HashMap::new() },
            custom: HashMap::from([("frontdesk".to_owned(), about)]),
            _extra: HashMap::new(),
        };
        listed.push((TargetName::new(name)?, target));
    }
    publish(&add.signing, |targets| {
        for (name, target) in listed {
            // Two contents under one version would be two versions.
            let is_other = targets.targets.get(&name).is_some_and(|old| old.hashes != target.hashes);
            ensure!(!is_other, "{} is published with another content; take a new version", name.raw());
            targets.targets.insert(name, target);
        }
        Ok(())
    })
}

/// The targets of a release.
fn of<'a>(targets: &'a mut Targets, version: &str) -> impl Iterator<Item = (&'a TargetName, &'a mut Target)> {
    let is_of = move |target: &Target| {
        target.custom.get("frontdesk").and_then(|about| about.get("version")).and_then(Value::as_str) == Some(version)
    };
    let mut names = Vec::new();
    for (name, target) in &mut targets.targets {
        if is_of(target) {
            names.push((name, target));
        }
    }
    names.into_iter()
}

pub(crate) fn waves(waves: &Waves) -> Result<String> {
    publish(&waves.signing, |targets| {
        let mut n_changed = 0;
        for (_, target) in of(targets, &waves.version) {
            if let Some(about) = target.custom.get_mut("frontdesk").and_then(Value::as_object_mut) {
                about.insert("waves".to_owned(), json!(waves.waves));
                n_changed += 1;
            }
        }
        ensure!(n_changed > 0, "there is no release {}", waves.version);
        Ok(())
    })
}

pub(crate) fn withdraw(withdraw: &Withdraw) -> Result<String> {
    publish(&withdraw.signing, |targets| {
        let names: Vec<TargetName> = of(targets, &withdraw.version).map(|(name, _)| name.clone()).collect();
        ensure!(!names.is_empty(), "there is no release {}", withdraw.version);
        for name in names {
            targets.targets.remove(&name);
        }
        Ok(())
    })
}

pub(crate) fn renew(signing: &Signing) -> Result<String> {
    publish(signing, |_| Ok(()))
}

pub(crate) fn check(repository: &Path, root: &Path) -> Result<String> {
    let trusted = fs::read(root).with_context(|| format!("cannot read {}", root.display()))?;
    let base = repository.canonicalize().with_context(|| format!("cannot find {}", repository.display()))?;
    let at = |name: &str| Url::from_directory_path(base.join(name)).ok().context("the repository has no path");
    let loader = RepositoryLoader::new(&trusted, at("metadata")?, at("targets")?).transport(FilesystemTransport);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let loaded = runtime.block_on(loader.load()).context("a device would refuse it")?;
    let targets = &loaded.targets().signed;
    for (name, target) in &targets.targets {
        let path = base.join("targets").join(format!("{}.{}", hex(&target.hashes.sha256), name.raw()));
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(*target.hashes.sha256 == *sha256(&bytes), "{} is not the file that was signed", path.display());
    }
    let soonest = loaded.timestamp().signed.expires.min(loaded.snapshot().signed.expires).min(targets.expires);
    Ok(format!("{}: {} files, good until {soonest}", repository.display(), targets.targets.len()))
}
