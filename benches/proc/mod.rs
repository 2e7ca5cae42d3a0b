//! What a row of a table costs, by what Linux counts in `/proc` and `/sys`: processor time, bytes and flushes.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The tick of `/proc`, `USER_HZ` in `time(7)`: the same on all machines.
const TICKS_PER_SEC: f64 = 100.0;
/// Of `/sys/block/*/stat`, whatever the device has.
const SECTOR_BYTES: u64 = 512;

/// What a process, and the disk under a directory, have done so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    cpu_ticks: u64,
    /// What the process gave the system to write, page by page.
    written_bytes: u64,
    /// What the disk was given by all processes, with the file system's own journal; zero where nobody says.
    device_bytes: u64,
}

/// A process and the disk that it writes to.
#[derive(Debug)]
pub(crate) struct Measured {
    process: PathBuf,
    device: PathBuf,
}

impl Measured {
    pub(crate) fn new(pid: u32, directory: &Path) -> Self {
        let device = fs::metadata(directory).map(|data| data.dev()).unwrap_or_default();
        // `makedev(3)`
        let major = ((device >> 8) & 0xfff) | ((device >> 32) & 0xffff_f000);
        let minor = (device & 0xff) | ((device >> 12) & 0xffff_ff00);
        Self { process: process(pid), device: format!("/sys/dev/block/{major}:{minor}/stat").into() }
    }

    /// Until now. What other programs have not written yet is written first, so that it counts for nobody later.
    pub(crate) fn done(&self) -> Done {
        rustix::fs::sync();
        let stat = fs::read_to_string(self.process.join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything: `proc_pid_stat(5)`, fields 14 and 15.
        let stat = stat.rsplit(')').next().unwrap_or_default();
        let cpu_ticks = stat.split_whitespace().skip(11).take(2).filter_map(number).sum();
        let device = fs::read_to_string(&self.device).unwrap_or_default();
        let n_sectors = device.split_whitespace().nth(6).and_then(number).unwrap_or_default();
        Done {
            cpu_ticks,
            written_bytes: field(&self.process.join("io"), "write_bytes:"),
            device_bytes: n_sectors * SECTOR_BYTES,
        }
    }
}

impl Done {
    /// What was done after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_ticks: self.cpu_ticks - before.cpu_ticks,
            written_bytes: self.written_bytes - before.written_bytes,
            device_bytes: self.device_bytes - before.device_bytes,
        }
    }

    /// Milliseconds of processor time for each of so many.
    pub(crate) fn cpu_ms_each(self, n: usize) -> f64 {
        count(self.cpu_ticks) / TICKS_PER_SEC * 1000.0 / size(n)
    }

    /// KiB that the process wrote for each of so many.
    pub(crate) fn kib_each(self, n: usize) -> f64 {
        count(self.written_bytes) / 1024.0 / size(n)
    }

    /// KiB that the disk was given for each of so many.
    pub(crate) fn device_kib_each(self, n: usize) -> f64 {
        count(self.device_bytes) / 1024.0 / size(n)
    }
}

/// How long one step took each time.
#[derive(Debug, Default, Clone)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Once more.
    pub(crate) fn note(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Those of somebody else too.
    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// How often.
    pub(crate) fn n(&self) -> usize {
        self.0.len()
    }

    /// In order, so that they can be printed.
    pub(crate) fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// In milliseconds, when they are sorted: so many of a hundred are below.
    pub(crate) fn at(&self, percent: usize) -> f64 {
        self.0.get(self.0.len() * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}

/// `p50 / p99` in milliseconds, when they are sorted.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} / {:.2}", self.at(50), self.at(99))
    }
}

/// How often a second this disk takes 4 KiB for good, with nothing else to do.
///
/// # Errors
/// The disk's.
pub(crate) fn syncs_per_sec(directory: &Path) -> std::io::Result<f64> {
    const PAGE: &[u8] = &[7; 4096];
    const PAGES: u64 = 256;
    let path = directory.join("sync");
    let file = File::create(&path)?;
    for n in 0..PAGES {
        file.write_all_at(PAGE, n * 4096)?;
    }
    file.sync_all()?;
    let (started, mut n) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(2) {
        file.write_all_at(PAGE, n % PAGES * 4096)?;
        file.sync_data()?;
        n += 1;
    }
    let elapsed = started.elapsed();
    fs::remove_file(path)?;
    Ok(count(n) / elapsed.as_secs_f64())
}

/// What Linux says of a process.
pub(crate) fn process(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// The number behind a name.
pub(crate) fn field(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| number(rest.split_whitespace().next()?)).unwrap_or_default()
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// As a factor.
#[expect(clippy::cast_precision_loss, reason = "counts of a short run")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

/// As a factor.
#[expect(clippy::cast_precision_loss, reason = "counts of a short run")]
pub(crate) fn size(number: usize) -> f64 {
    number as f64
}
