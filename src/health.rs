//! Is the system as it should be? What is looked at and how that is said; the parts that need the gateway are the gateway's.
//!
//! A [`Check`] is one thing in one sentence. What the appliance needs besides is looked at here, by whoever is allowed to see it
//! (the firewall shows itself to root alone). [`Remembered`] is how the channels were, for an update to compare with.
//! Nothing here changes anything.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use rustix::fs::{StatVfsMountFlags, major, minor, statvfs};
use serde::{Deserialize, Serialize};

use crate::document::{read_at_most, write_whole};

/// Nobody remembers more.
const MAX_REMEMBERED_BYTES: usize = 1 << 20;
/// The table of the appliance's firewall.
const TABLE: &str = "frontdesk";
/// The share of its partition that a file system can be used for, in percent: the rest is its own.
const USABLE: u64 = 75;
/// The share of the disk that the partitions take once the last one has grown, in percent.
const GROWN: u64 = 95;
/// Time that a machine of today takes for [`work`]. The check was laid out for one of these.
const USUAL_WORK: Duration = Duration::from_millis(40);
/// No board is taken for slower than so many of those.
const MAX_SLOWNESS: u32 = 8;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The same for the same kind of thing.
    pub id: String,
    /// Is it as it should be?
    pub ok: bool,
    /// In one sentence; no word of a conversation, no secret.
    pub what: String,
}

impl Check {
    /// Something that is as it should be.
    #[must_use]
    pub fn good(id: &str, what: impl Into<String>) -> Self {
        Self { id: id.to_owned(), ok: true, what: what.into() }
    }

    /// Something that is not.
    #[must_use]
    pub fn bad(id: &str, what: impl Into<String>) -> Self {
        Self { id: id.to_owned(), ok: false, what: what.into() }
    }

    fn of(id: &str, good: &str, found: Result<(), String>) -> Self {
        found.map_or_else(|bad| Self::bad(id, bad), |()| Self::good(id, good))
    }
}

/// How the channels are: by entry id, does it work?
pub type Channels = BTreeMap<String, bool>;

/// What a health check noted, for a later one to compare with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Remembered {
    /// How the channels were.
    pub channels: Channels,
}

impl Remembered {
    /// Reads what [`Self::write`] wrote; `None`: nothing was noted.
    ///
    /// # Errors
    /// When the file cannot be read, or is something else.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match read_at_most(path, MAX_REMEMBERED_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_whole(path, &serde_json::to_vec(self)?, 0o600)
    }

    /// Does what worked work now? A channel that is not configured any more was taken out by somebody, and one that did not
    /// work before need not.
    #[must_use]
    pub fn compare(&self, now: &Channels) -> Check {
        let worked = self.channels.iter().filter(|(_, works)| **works).map(|(id, _)| id);
        let lost: Vec<&str> = worked.filter(|id| now.get(*id) == Some(&false)).map(String::as_str).collect();
        match lost.as_slice() {
            [] => Check::good("channels", "the channels that worked before work"),
            lost => Check::bad("channels", format!("channels that worked before do not: {}", lost.join(", "))),
        }
    }
}

/// What the appliance needs besides the gateway: `boot` and `data` are where its partitions are mounted. For root.
#[must_use]
pub fn appliance(boot: &Path, data: &Path) -> Vec<Check> {
    vec![firewall_check(), grown_check(data), boot_check(boot)]
}

fn firewall_check() -> Check {
    let rules = Command::new("nft").args(["list", "ruleset"]).output();
    let found = match rules {
        Ok(output) if output.status.success() => firewall(&String::from_utf8_lossy(&output.stdout)),
        Ok(output) => Err(format!("the rules of the firewall cannot be listed: nft ended with {}", output.status)),
        Err(error) => Err(format!("the rules of the firewall cannot be listed: nft: {error}")),
    };
    Check::of("firewall", "the firewall is loaded and lets in what it names alone", found)
}

/// Does this list of rules have the table of ours, with a chain for what comes in that drops what no rule names?
fn firewall(rules: &str) -> Result<(), String> {
    let mut tables = rules.split("table ").filter(|table| table.split_whitespace().nth(1) == Some(TABLE));
    let table = tables.next().ok_or("the firewall is not loaded: there is no table frontdesk")?;
    let is_input = |line: &str| line.contains("hook input");
    let input = table.lines().find(|line| is_input(line)).ok_or("the firewall has no rules for what comes in")?;
    match input.contains("policy drop") {
        true => Ok(()),
        false => Err("the firewall lets in what no rule names".to_owned()),
    }
}

fn grown_check(data: &Path) -> Check {
    let found = sizes(data).map_err(|error| format!("the size of {} cannot be found: {error}", data.display()));
    Check::of("data", "the data partition and its file system have grown to the end of the disk", found.and_then(grown))
}

/// How large something is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    file_system: u64,
    partition: u64,
    /// Where the partition ends.
    end: u64,
    disk: u64,
}

fn sizes(data: &Path) -> io::Result<Sizes> {
    let device = std::fs::metadata(data)?.dev();
    let file_system = statvfs(data)?;
    let partition = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let sectors = |path: String| -> io::Result<u64> {
        let text = read_at_most(Path::new(&path), 64)?;
        let text = String::from_utf8_lossy(&text);
        text.trim().parse::<u64>().map(|n| n.saturating_mul(512)).map_err(io::Error::other)
    };
    let (size, start) = (sectors(format!("{partition}/size"))?, sectors(format!("{partition}/start"))?);
    Ok(Sizes {
        file_system: file_system.f_blocks.saturating_mul(file_system.f_frsize),
        partition: size,
        end: start.saturating_add(size),
        disk: sectors(format!("{partition}/../size"))?,
    })
}

fn grown(sizes: Sizes) -> Result<(), String> {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let is_share = |part: u64, percent: u64, whole: u64| part / 100 >= whole / 10_000 * percent;
    if !is_share(sizes.end, GROWN, sizes.disk) {
        return Err(format!(
            "the data partition ends at {} of {} MiB: it has not grown",
            mib(sizes.end),
            mib(sizes.disk)
        ));
    }
    if !is_share(sizes.file_system, USABLE, sizes.partition) {
        return Err(format!(
            "the file system of the data partition has {} of {} MiB: it has not grown",
            mib(sizes.file_system),
            mib(sizes.partition)
        ));
    }
    Ok(())
}

fn boot_check(boot: &Path) -> Check {
    let look = || -> io::Result<Result<(), String>> {
        let is_mounted = std::fs::metadata(boot)?.dev() != std::fs::metadata("/")?.dev();
        let is_read_only = statvfs(boot)?.f_flag.contains(StatVfsMountFlags::RDONLY);
        Ok(match (is_mounted, is_read_only) {
            (false, _) => Err(format!("the boot partition is not mounted at {}", boot.display())),
            (true, true) => Err("the boot partition cannot be written, so no start could be confirmed".to_owned()),
            (true, false) => Ok(()),
        })
    };
    let found = look().unwrap_or_else(|error| Err(format!("the boot partition cannot be looked at: {error}")));
    Check::of("boot", "the boot partition is mounted and can be written", found)
}

/// How many times longer than a usual machine this one takes, from 1 to 8: boards are waited for as long as they need.
#[must_use]
pub fn slowness() -> u32 {
    let began = Instant::now();
    work();
    slowness_of(began.elapsed())
}

fn slowness_of(took: Duration) -> u32 {
    let times = took.as_micros().div_ceil(USUAL_WORK.as_micros());
    u32::try_from(times).unwrap_or(u32::MAX).clamp(1, MAX_SLOWNESS)
}

/// What the start of the gateway is made of: digests and moving memory.
fn work() {
    let mut block = vec![7_u8; 64 * 1024];
    for _ in 0..128 {
        let digest = digest::digest(&digest::SHA256, &block);
        block.iter_mut().zip(digest.as_ref().iter().cycle()).for_each(|(to, from)| *to ^= from);
    }
    std::hint::black_box(&block);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: &str = "table inet frontdesk {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\t\
                         ct state established,related accept\n\t}\n}\n";

    #[test]
    fn a_firewall_that_is_not_loaded_or_lets_everything_in_is_found() {
        assert_eq!(firewall(RULES), Ok(()));
        let another =
            "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n";
        assert_eq!(firewall(&[another, RULES].concat()), Ok(()));
        let wrong = [
            String::new(),
            another.to_owned(),
            RULES.replace("policy drop", "policy accept"),
            RULES.replace("hook input", "hook output"),
            // The one that drops is another table's.
            [&RULES.replace("policy drop", "policy accept"), another].concat(),
            RULES.replace("frontdesk", "frontdesk2"),
        ];
        for rules in wrong {
            assert!(firewall(&rules).is_err(), "{rules}");
        }
    }

    #[test]
    fn a_disk_that_was_not_grown_is_found() {
        const MIB: u64 = 1024 * 1024;
        let whole = Sizes { file_system: 30_500 * MIB, partition: 31_000 * MIB, end: 32_000 * MIB, disk: 32_010 * MIB };
        assert_eq!(grown(whole), Ok(()));
        // The partition was left as the image has it; then it was grown, and the file system was not.
        let image = Sizes { file_system: 58 * MIB, partition: 64 * MIB, end: 1_064 * MIB, ..whole };
        assert!(grown(image).unwrap_err().contains("partition ends"));
        assert!(grown(Sizes { file_system: 58 * MIB, ..whole }).unwrap_err().contains("file system"));
        // As large as the image, no room to grow: its own tables are a larger share.
        assert_eq!(grown(Sizes { disk: 1_066 * MIB, ..image }), Ok(()));
    }

    #[test]
    fn a_slow_board_gets_more_time_and_none_gets_less_than_the_usual() {
        let check = |ms: u64, expected: u32| assert_eq!(slowness_of(Duration::from_millis(ms)), expected, "{ms}");
        check(0, 1);
        check(40, 1);
        check(41, 2);
        check(1_000_000, MAX_SLOWNESS);
        assert!((1..=MAX_SLOWNESS).contains(&slowness()));
    }

    fn channels(of: &[(&str, bool)]) -> Channels {
        of.iter().map(|(id, works)| ((*id).to_owned(), *works)).collect()
    }

    #[test]
    fn a_channel_that_worked_before_and_does_not_now_is_named() {
        let before = Remembered { channels: channels(&[("a", true), ("b", true), ("c", false), ("gone", true)]) };
        assert!(before.compare(&channels(&[("a", true), ("b", true), ("c", false), ("new", false)])).ok);
        let lost = before.compare(&channels(&[("a", false), ("b", true), ("c", false)]));
        assert_eq!((lost.ok, lost.what.as_str()), (false, "channels that worked before do not: a"));
    }

    #[test]
    fn what_is_remembered_is_read_again_and_rubbish_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("health.json");
        assert_eq!(Remembered::read(&path).unwrap(), None);
        let noted = Remembered { channels: channels(&[("a", true), ("b", false)]) };
        noted.write(&path).unwrap();
        assert_eq!(Remembered::read(&path).unwrap(), Some(noted));
        std::fs::write(&path, "{\"chan").unwrap();
        assert!(Remembered::read(&path).is_err());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_that_did_not_work(before: Vec<(String, bool)>, now: Vec<(String, bool)>) {
            let (before, now): (Channels, Channels) = (before.into_iter().collect(), now.into_iter().collect());
            let is_lost = before.iter().any(|(id, works)| *works && now.get(id) == Some(&false));
            let noted = Remembered { channels: before.clone() };
            prop_assert_eq!(noted.compare(&now).ok, !is_lost);
            let is_same = noted.compare(&before).ok;
            prop_assert!(is_same);
        }
    }
}
