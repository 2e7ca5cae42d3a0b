//! Which release of a verified repository this device takes. Pure.
//!
//! Every target has `custom.frontdesk`, signed like everything else: what it is and for whom. What has none, or one
//! that cannot be read, is not ours and is left alone.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::digest::Hasher;
use super::{Error, Payload, Version};
use crate::clock::Timestamp;

/// What a device is, as far as programs and kernels care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Board {
    /// PCs.
    #[serde(rename = "x86_64")]
    X86,
    /// Raspberry Pi and other 64-bit ARM boards.
    Arm64,
}

impl Board {
    /// What this program was built for; `None` for what no release is made for.
    #[must_use]
    pub fn of_program() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86 => "x86_64",
            Self::Arm64 => "arm64",
        })
    }
}

/// What a file of a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Kernel, first programs and command line of the appliance.
    Kernel,
    /// The file system of the appliance.
    Root,
    /// The program alone.
    Program,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As most are.
    #[default]
    Normal,
    /// It closes a hole.
    Security,
}

/// From then on, so many of a hundred devices take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// 0 to 100.
    pub percent: u8,
    /// When it begins.
    pub from: jiff::Timestamp,
}

/// `custom.frontdesk` of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Of the release.
    pub version: Version,
    /// For whom.
    pub board: Board,
    /// What it is.
    pub kind: Kind,
    /// The oldest version that may be updated to it directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Version>,
    /// The format of the store that it writes; an older store is upgraded, a newer one it cannot open.
    pub store_format: u64,
    /// For the owner.
    #[serde(default)]
    pub notes: String,
    /// How much it matters.
    #[serde(default)]
    pub severity: Severity,
    /// Who takes it when; without any, everybody now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
}

/// A file of a repository, with what its metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What it is and for whom.
    pub about: About,
    /// Its size and digest.
    pub payload: Payload,
    /// Its name under `targets/`.
    pub file: String,
}

impl Offer {
    /// From the target `name`; `None` when it is not ours. `custom` is the whole of it.
    pub(super) fn read(
        name: &str,
        payload: Payload,
        custom: &BTreeMap<String, Value>,
        is_consistent: bool,
    ) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        // It becomes part of an address and of a path.
        if !name.chars().all(is_plain) || name.starts_with('.') {
            return None;
        }
        let about = About::deserialize(custom.get("frontdesk")?).ok()?;
        let file = if is_consistent { format!("{}.{name}", payload.sha256) } else { name.to_owned() };
        Some(Self { about, payload, file })
    }
}

/// What of the device decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What it is.
    pub board: Board,
    /// What runs.
    pub running: Version,
    /// `true`: kernel and root; `false`: the program alone.
    pub is_appliance: bool,
    /// Of its store.
    pub store_format: u64,
    /// Random, and always the same: its place in the waves.
    pub id: [u8; 16],
    /// A version that was tried and did not work; it is not taken again by itself.
    pub given_up: Option<Version>,
}

impl Device {
    /// 0 to 99; for each version another, so that not the same devices are always the first.
    fn place(&self, version: Version) -> u8 {
        let mut hasher = Hasher::new();
        hasher.update(&self.id);
        hasher.update(version.to_string().as_bytes());
        let digest = hasher.finish().to_string();
        let number = digest.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
        u8::try_from(number % 100).unwrap_or(0)
    }
}

/// All files of a release that a device needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Which.
    pub version: Version,
    /// Its files: the program, or kernel and root.
    pub offers: Vec<Offer>,
    /// What its first file says of all of them.
    pub about: About,
}

/// What there is for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// It has the newest that it can have.
    UpToDate,
    /// This one, now.
    Update(Box<Bundle>),
    /// This one, and others take it first; from then on it is our turn.
    Later {
        /// Which.
        version: Version,
        /// When.
        from: Timestamp,
    },
}

/// Takes the newest release that this device can have and may have by now.
///
/// # Errors
/// [`Error::NothingForBoard`] when there are releases, and none for this board.
pub fn choose(offers: &[Offer], device: &Device, now: Timestamp) -> Result<Choice, Error> {
    let own = || offers.iter().filter(|offer| offer.about.board == device.board);
    if !offers.is_empty() && own().next().is_none() {
        return Err(Error::NothingForBoard(device.board));
    }
    let mut releases: BTreeMap<Version, Vec<&Offer>> = BTreeMap::new();
    for offer in own() {
        releases.entry(offer.about.version).or_default().push(offer);
    }
    let mut later = None;
    for (version, offers) in releases.into_iter().rev() {
        let Some(bundle) = bundle(version, &offers, device) else { continue };
        match begins(&bundle.about, device) {
            Some(from) if from <= now => return Ok(Choice::Update(Box::new(bundle))),
            Some(from) if later.is_none() => later = Some(Choice::Later { version, from }),
            _ => {}
        }
    }
    Ok(later.unwrap_or(Choice::UpToDate))
}

/// The files of a release, if this device can have it at all.
fn bundle(version: Version, offers: &[&Offer], device: &Device) -> Option<Bundle> {
    let kinds: &[Kind] = if device.is_appliance { &[Kind::Kernel, Kind::Root] } else { &[Kind::Program] };
    let mut files = Vec::new();
    for kind in kinds {
        let mut of_kind = offers.iter().filter(|offer| offer.about.kind == *kind);
        // With two of a kind nobody knows which is meant.
        let (Some(offer), None) = (of_kind.next(), of_kind.next()) else { return None };
        files.push((*offer).clone());
    }
    let can = |about: &About| {
        about.minimum.is_none_or(|minimum| device.running >= minimum) && about.store_format >= device.store_format
    };
    let is_wanted = version > device.running && device.given_up != Some(version);
    if !is_wanted || !files.iter().all(|offer| can(&offer.about)) {
        return None;
    }
    let about = files.first()?.about.clone();
    Some(Bundle { version, offers: files, about })
}

/// When this device may have it; `None`: no wave reaches it yet.
fn begins(about: &About, device: &Device) -> Option<Timestamp> {
    if about.waves.is_empty() {
        return Some(Timestamp(0));
    }
    let place = device.place(about.version);
    let reaching = about.waves.iter().filter(|wave| place < wave.percent);
    let from = reaching.map(|wave| wave.from.as_millisecond()).min()?;
    Some(Timestamp(u64::try_from(from).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::update::Sha256;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn device() -> Device {
        Device {
            board: Board::X86,
            running: Version::new(1, 0, 0),
            is_appliance: false,
            store_format: 3,
            id: [7; 16],
            given_up: None,
        }
    }

    fn about(version: &str) -> About {
        About {
            version: version.parse().unwrap(),
            board: Board::X86,
            kind: Kind::Program,
            minimum: None,
            store_format: 3,
            notes: String::new(),
            severity: Severity::Normal,
            waves: Vec::new(),
        }
    }

    fn offer(about: About) -> Offer {
        let payload = Payload { bytes: 1, sha256: Sha256::of(about.version.to_string().as_bytes()) };
        Offer { about, payload, file: "file".to_owned() }
    }

    /// The version that is chosen of such offers.
    fn check(offers: &[About], device: &Device, expected: Option<&str>) {
        let offers: Vec<Offer> = offers.iter().cloned().map(offer).collect();
        let chosen = match choose(&offers, device, NOW).unwrap() {
            Choice::Update(bundle) => Some(bundle.version.to_string()),
            Choice::UpToDate | Choice::Later { .. } => None,
        };
        assert_eq!(chosen.as_deref(), expected, "{offers:?}");
    }

    #[test]
    fn the_newest_that_can_be_had_is_taken() {
        let all = [about("0.9.0"), about("1.0.0"), about("1.1.0"), about("1.2.0")];
        check(&all, &device(), Some("1.2.0"));
        check(&all[..2], &device(), None);
        check(&[], &device(), None);
        check(&all, &Device { given_up: Some(Version::new(1, 2, 0)), ..device() }, Some("1.1.0"));
        let steps = [about("1.1.0"), About { minimum: Some(Version::new(1, 1, 0)), ..about("1.2.0") }];
        check(&steps, &device(), Some("1.1.0"));
        check(&steps, &Device { running: Version::new(1, 1, 0), ..device() }, Some("1.2.0"));
    }

    #[test]
    fn a_release_that_could_not_open_the_store_is_not_taken() {
        check(&[About { store_format: 2, ..about("1.1.0") }], &device(), None);
        check(&[About { store_format: 4, ..about("1.1.0") }], &device(), Some("1.1.0"));
    }

    #[test]
    fn an_appliance_needs_kernel_and_root_once_each() {
        let appliance = Device { is_appliance: true, ..device() };
        let kernel = About { kind: Kind::Kernel, ..about("1.1.0") };
        let root = About { kind: Kind::Root, ..about("1.1.0") };
        check(&[kernel.clone(), root.clone()], &appliance, Some("1.1.0"));
        check(&[kernel.clone(), root.clone()], &device(), None);
        check(std::slice::from_ref(&kernel), &appliance, None);
        check(&[kernel.clone(), kernel, root], &appliance, None);
        check(&[about("1.1.0")], &appliance, None);
    }

    #[test]
    fn a_release_for_another_board_is_none() {
        let offers = [offer(About { board: Board::Arm64, ..about("1.1.0") })];
        assert!(matches!(choose(&offers, &device(), NOW), Err(Error::NothingForBoard(Board::X86))));
    }

    fn wave(percent: u8, from_ms: i64) -> Wave {
        Wave { percent, from: jiff::Timestamp::from_millisecond(from_ms).unwrap() }
    }

    #[test]
    fn a_device_waits_for_its_wave() {
        let soon = 1_800_000_060_000;
        let waved = About { waves: vec![wave(0, 0), wave(100, soon)], ..about("1.1.0") };
        let chosen = choose(&[offer(waved.clone())], &device(), NOW).unwrap();
        let from = Timestamp(u64::try_from(soon).unwrap());
        assert_eq!(chosen, Choice::Later { version: Version::new(1, 1, 0), from });
        assert!(matches!(choose(&[offer(waved)], &device(), from).unwrap(), Choice::Update(_)));
        // Nobody is reached before a later wave is signed; what comes before it may be had.
        check(&[About { waves: vec![wave(0, 0)], ..about("1.2.0") }, about("1.1.0")], &device(), Some("1.1.0"));
    }

    #[test]
    fn so_many_of_a_hundred_devices_are_in_a_wave() {
        let waved = [offer(About { waves: vec![wave(20, 0)], ..about("1.1.0") })];
        let is_in = |n: u16| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&n.to_le_bytes());
            matches!(choose(&waved, &Device { id, ..device() }, NOW).unwrap(), Choice::Update(_))
        };
        let n_in = (0..2_000).filter(|n| is_in(*n)).count();
        assert!((320..480).contains(&n_in), "{n_in}");
    }

    #[test]
    fn names_that_lead_elsewhere_and_targets_of_others_are_left_alone() {
        let payload = Payload { bytes: 1, sha256: Sha256::of(b"") };
        let custom = BTreeMap::from([("frontdesk".to_owned(), serde_json::to_value(about("1.1.0")).unwrap())]);
        assert!(Offer::read("frontdesk-1.1.0-x86_64.program", payload, &custom, true).is_some());
        for name in ["../etc/passwd", "a/b", ".hidden", "a b", "a?b", "a%2fb"] {
            assert_eq!(Offer::read(name, payload, &custom, true), None, "{name}");
        }
        assert_eq!(Offer::read("plain", payload, &BTreeMap::new(), true), None);
        let other = BTreeMap::from([("frontdesk".to_owned(), serde_json::json!({ "version": 2 }))]);
        assert_eq!(Offer::read("plain", payload, &other, true), None);
    }

    proptest! {
        #[test]
        fn what_runs_is_never_replaced_by_something_older_or_equal(
            versions in proptest::collection::vec((0u32..3, 0u32..3, 0u32..3), 0..8),
            running in (0u32..3, 0u32..3, 0u32..3),
        ) {
            let version = |v: &(u32, u32, u32)| Version::new(v.0, v.1, v.2);
            let offers: Vec<Offer> =
                versions.iter().map(|v| offer(about(&version(v).to_string()))).collect();
            let device = Device { running: version(&running), ..device() };
            if let Choice::Update(bundle) = choose(&offers, &device, NOW).unwrap() {
                prop_assert!(bundle.version > device.running);
            }
        }
    }
}
