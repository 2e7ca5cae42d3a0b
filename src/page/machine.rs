//! How full the machine is.

use std::path::Path;

/// What could be found out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Machine {
    pub(super) disk: Option<Disk>,
    /// Bytes of memory that this process holds.
    pub(super) resident: Option<u64>,
}

/// Of the file system that the home is on, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk {
    pub(super) free: u64,
    pub(super) total: u64,
}

pub(super) fn look(home: &Path) -> Machine {
    let disk = rustix::fs::statvfs(home).ok().map(|disk| Disk {
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
        total: disk.f_blocks.saturating_mul(disk.f_frsize),
    });
    Machine { disk, resident: std::fs::read_to_string("/proc/self/status").ok().and_then(|text| resident(&text)) }
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
