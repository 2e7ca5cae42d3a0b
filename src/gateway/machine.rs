//! How full the machine is, and what this process takes of it.

use std::path::Path;
use std::time::Duration;

/// What could be found out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    /// Where everything is kept.
    pub disk: Option<Disk>,
    /// Bytes of memory that this process holds.
    pub resident: Option<u64>,
    /// Time of processors that this process has used.
    pub cpu: Option<Duration>,
}

/// Of the file system that the home is on, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    /// That this user may still take.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Looks at it now; `home` is where everything is kept.
#[must_use]
pub fn look(home: &Path) -> Machine {
    let disk = rustix::fs::statvfs(home).ok().map(|disk| Disk {
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
        total: disk.f_blocks.saturating_mul(disk.f_frsize),
    });
    Machine { disk, resident: memory(), cpu: cpu() }
}

/// Bytes of memory that this process holds.
pub(super) fn memory() -> Option<u64> {
    std::fs::read_to_string("/proc/self/status").ok().and_then(|text| resident(&text))
}

fn cpu() -> Option<Duration> {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(spent.tv_sec).ok()?, u32::try_from(spent.tv_nsec).ok()?))
}

/// `VmRSS` of `/proc/PID/status`, which is in units of 1024 bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_system_says() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   14200 kB\nThreads:\t3\n"), Some(14_200 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
