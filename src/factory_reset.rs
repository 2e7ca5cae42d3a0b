//! Back to how the box was delivered: everything that people put on it is removed at a start, before anything reads it.
//!
//! Somebody asks for it, with a file called `factory-reset` on the boot partition, or on the page, which leaves a file in the home. At
//! the next start a mark is made that outlives a power cut, the request is taken away, what was kept is removed, and the mark goes last:
//! cut off anywhere, the next start goes on with it. A request that cannot be taken away is not followed, or every start would do it.
//!
//! Kept are the versions of the system and what the updater knows of them: an older one must not come back by a reset.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::document::{sync_directory, write_whole};

/// The request of the page, in the home of the gateway.
pub const REQUEST: &str = "factory-reset";
/// What computers that hide the ends of names make of it.
const REQUESTS: [&str; 3] = ["factory-reset", "factory-reset.txt", "factory-reset.TXT"];
/// The mark, below `lib` of the data partition.
const MARK: &str = "frontdesk-reset";
/// What is emptied, below the data partition: the home, as the system keeps it for a user that comes and goes and as it does
/// otherwise; what the first start was told; the log, which has names in it.
const EMPTIED: [&str; 4] = ["lib/private/frontdesk", "lib/frontdesk", "lib/frontdesk-system", "log/journal"];
/// Single files of what is kept.
const REMOVED: [&str; 1] = ["lib/frontdesk-update/health.json"];
/// Opens everything that is sealed; written over before it goes, so that what stays in free blocks stays closed.
const KEYS: [&str; 2] = ["device.key", "tls.pem"];

/// Does what was asked for, if something was; false: nothing was. `var` is where the data partition is mounted. `step` is called
/// before each change, and an error of it ends everything, as a power cut does.
///
/// # Errors
/// When a disk does not take it; the next start goes on.
pub fn run(boot: &Path, var: &Path, step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<bool> {
    let mark = var.join("lib").join(MARK);
    let goes_on = fs::symlink_metadata(&mark).is_ok();
    let requests = requests(boot, var);
    if requests.is_empty() && !goes_on {
        return Ok(false);
    }
    step()?;
    write_whole(&mark, b"", 0o600)?;
    for request in requests {
        step()?;
        let taken = gone(fs::remove_file(&request)).and_then(|()| request.parent().map_or(Ok(()), sync_directory));
        if let Err(error) = taken {
            // Whoever then removes it by hand does not want it any more.
            if !goes_on {
                gone(fs::remove_file(&mark))?;
                sync_directory(&var.join("lib"))?;
            }
            return Err(error);
        }
    }
    for home in EMPTIED.iter().take(2) {
        for key in KEYS {
            step()?;
            // What cannot be written over still goes.
            if let Err(error) = spoil(&var.join(home).join(key)) {
                tracing::warn!(%error, "{key} was not written over");
            }
        }
    }
    for name in EMPTIED {
        empty(&var.join(name), step)?;
    }
    for name in REMOVED {
        step()?;
        gone(fs::remove_file(var.join(name)))?;
    }
    step()?;
    gone(fs::remove_file(&mark))?;
    sync_directory(&var.join("lib"))?;
    Ok(true)
}

fn requests(boot: &Path, var: &Path) -> Vec<PathBuf> {
    let on_boot = REQUESTS.iter().map(|name| boot.join(name)).filter(|path| fs::symlink_metadata(path).is_ok());
    // The home is another user's: what leads elsewhere from there is not followed.
    let in_home = EMPTIED.iter().take(2).map(|home| var.join(home).join(REQUEST));
    let in_home = in_home.filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file()));
    on_boot.chain(in_home).collect()
}

/// Empties a directory. A link is followed once: the home of a user that comes and goes is one.
fn empty(directory: &Path, step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        step()?;
        match entry.file_type()?.is_dir() {
            true => gone(fs::remove_dir_all(entry.path()))?,
            false => gone(fs::remove_file(entry.path()))?,
        }
    }
    sync_directory(directory)
}

/// A file, and nothing that leads elsewhere or waits: it is another user's.
fn spoil(path: &Path) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match rustix::fs::open(path, flags, rustix::fs::Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let length = usize::try_from(found.len()).unwrap_or(usize::MAX).min(64 * 1024);
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        boot: tempfile::TempDir,
        var: tempfile::TempDir,
    }

    const KEPT: [&str; 3] = [
        "lib/frontdesk-update/status.json",
        "lib/frontdesk-update/trusted/root.json",
        "lib/frontdesk-model/model.gguf",
    ];

    impl Machine {
        /// One that people have used.
        fn used() -> Self {
            let machine = Self { boot: tempfile::tempdir().unwrap(), var: tempfile::tempdir().unwrap() };
            let files = [
                "lib/private/frontdesk/config.toml",
                "lib/private/frontdesk/device.key",
                "lib/private/frontdesk/tls.pem",
                "lib/private/frontdesk/secrets/SLACK",
                "lib/private/frontdesk/revisions/0001.toml",
                "lib/frontdesk-system/wpa_supplicant.conf",
                "lib/frontdesk-update/health.json",
                "log/journal/0123/system.journal",
            ];
            for name in files.iter().chain(&KEPT) {
                let path = machine.var.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "kept").unwrap();
            }
            std::os::unix::fs::symlink("private/frontdesk", machine.var.path().join("lib/frontdesk")).unwrap();
            fs::write(machine.boot.path().join("config.txt"), "of the board").unwrap();
            machine
        }

        fn asked_on_the_card() -> Self {
            let machine = Self::used();
            fs::write(machine.boot.path().join("factory-reset.txt"), "").unwrap();
            machine
        }

        fn run(&self, step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<bool> {
            run(self.boot.path(), self.var.path(), step)
        }

        /// What is there, below both.
        fn files(&self) -> Vec<String> {
            let mut found = Vec::new();
            let mut left = vec![self.var.path().to_owned(), self.boot.path().to_owned()];
            while let Some(directory) = left.pop() {
                for entry in fs::read_dir(&directory).unwrap() {
                    let path = entry.unwrap().path();
                    match fs::symlink_metadata(&path).unwrap().is_dir() {
                        true => left.push(path),
                        false => {
                            let base =
                                if path.starts_with(self.var.path()) { self.var.path() } else { self.boot.path() };
                            found.push(path.strip_prefix(base).unwrap().to_string_lossy().into_owned());
                        }
                    }
                }
            }
            found.sort();
            found
        }
    }

    fn as_delivered() -> Vec<String> {
        let mut expected: Vec<String> = KEPT.iter().map(ToString::to_string).collect();
        expected.extend(["config.txt", "lib/frontdesk"].map(str::to_owned));
        expected.sort();
        expected
    }

    #[test]
    fn what_people_put_there_goes_and_what_the_updater_knows_stays() {
        let machine = Machine::asked_on_the_card();
        assert!(machine.run(&mut || Ok(())).unwrap());
        assert_eq!(machine.files(), as_delivered());
        assert!(machine.var.path().join("lib/private/frontdesk").is_dir(), "the link leads somewhere still");
        assert!(!machine.run(&mut || Ok(())).unwrap(), "once");
    }

    #[test]
    fn the_page_asks_by_a_file_in_the_home_and_without_a_request_nothing_goes() {
        let machine = Machine::used();
        let before = machine.files();
        assert!(!machine.run(&mut || Ok(())).unwrap());
        assert_eq!(machine.files(), before);
        fs::write(machine.var.path().join("lib/private/frontdesk").join(REQUEST), "{}").unwrap();
        assert!(machine.run(&mut || Ok(())).unwrap());
        assert_eq!(machine.files(), as_delivered());
    }

    #[test]
    fn cut_off_before_any_step_the_next_start_goes_on_with_it() {
        for n_steps in 0.. {
            let machine = Machine::asked_on_the_card();
            let mut left = n_steps;
            let ended = machine.run(&mut || {
                left -= i32::from(left > 0);
                if left == 0 { Err(io::Error::other("the power went")) } else { Ok(()) }
            });
            if ended.is_ok() {
                assert!(n_steps > 15, "only {n_steps} steps");
                break;
            }
            assert!(machine.run(&mut || Ok(())).unwrap(), "cut at {n_steps}, it was forgotten");
            assert_eq!(machine.files(), as_delivered(), "cut at {n_steps}");
        }
    }

    #[test]
    fn a_request_that_stays_is_not_followed() {
        let machine = Machine::used();
        // What cannot be removed as a file.
        fs::create_dir(machine.boot.path().join("factory-reset")).unwrap();
        let before = machine.files();
        assert!(machine.run(&mut || Ok(())).is_err());
        assert_eq!(machine.files(), before);
        fs::remove_dir(machine.boot.path().join("factory-reset")).unwrap();
        assert!(!machine.run(&mut || Ok(())).unwrap(), "it was taken back");
        assert_eq!(machine.files(), before);
    }

    #[test]
    fn what_leads_out_of_the_home_is_neither_followed_nor_written_over() {
        let machine = Machine::asked_on_the_card();
        let home = machine.var.path().join("lib/private/frontdesk");
        let kernel = machine.boot.path().join("config.txt");
        for key in KEYS {
            fs::remove_file(home.join(key)).unwrap();
        }
        std::os::unix::fs::symlink(&kernel, home.join("device.key")).unwrap();
        fs::create_dir(home.join("tls.pem")).unwrap();
        std::os::unix::fs::symlink(&kernel, home.join(REQUEST)).unwrap();
        assert!(machine.run(&mut || Ok(())).unwrap());
        assert_eq!(machine.files(), as_delivered());
        assert_eq!(fs::read(&kernel).unwrap(), b"of the board");
        std::os::unix::fs::symlink(&kernel, home.join(REQUEST)).unwrap();
        assert!(!machine.run(&mut || Ok(())).unwrap(), "a link asks for nothing");
        assert!(kernel.exists());
    }

    #[test]
    fn keys_are_written_over_before_they_go() {
        let directory = tempfile::tempdir().unwrap();
        let (key, link) = (directory.path().join("device.key"), directory.path().join("also"));
        fs::write(&key, "a secret").unwrap();
        fs::hard_link(&key, &link).unwrap();
        spoil(&key).unwrap();
        assert_eq!(fs::read(&link).unwrap(), [0; 8]);
        spoil(&directory.path().join("nothing")).unwrap();
    }
}
