//! A boot loader in memory, whose power goes at a chosen operation.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Boot, State, TRIES, Trial};
use crate::update::{Error, Payload, Sha256, Version};

/// A boot loader in memory. Each operation happens whole or not at all.
#[derive(Debug)]
pub struct Fake(Mutex<Inside>);

#[derive(Debug)]
struct Inside {
    running: Version,
    /// Confirmed ones.
    good: Vec<Version>,
    trial: Option<Trial>,
    /// Operations until the power goes.
    left: Option<u64>,
    n_operations: u64,
}

impl Fake {
    /// Runs this version, which is confirmed.
    #[must_use]
    pub fn new(running: Version) -> Self {
        let inside = Inside { running, good: vec![running], trial: None, left: None, n_operations: 0 };
        Self(Mutex::new(inside))
    }

    /// The power goes after so many more operations: the one behind them and all later ones fail.
    pub fn cut_after(&self, n_operations: u64) {
        self.inside().left = Some(n_operations);
    }

    /// So many operations were done.
    #[must_use]
    pub fn n_operations(&self) -> u64 {
        self.inside().n_operations
    }

    /// The machine starts again, with power: the loader counts and chooses.
    pub fn restart(&self) {
        let mut inside = self.inside();
        inside.left = None;
        let best = inside.good.iter().copied().max();
        match &mut inside.trial {
            Some(trial) if trial.left > 0 => {
                trial.left -= 1;
                inside.running = trial.version;
            }
            _ => inside.running = best.unwrap_or(inside.running),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operation(&self) -> Result<MutexGuard<'_, Inside>, Error> {
        let mut inside = self.inside();
        match inside.left {
            Some(0) => {
                let path = Path::new("the boot partition");
                return Err(Error::disk("write", path)(io::Error::other("the power is off")));
            }
            Some(left) => inside.left = Some(left - 1),
            None => {}
        }
        inside.n_operations += 1;
        Ok(inside)
    }
}

impl Boot for Fake {
    fn running(&self) -> Version {
        self.inside().running
    }

    fn clean(&self) -> Result<(), Error> {
        self.operation().map(|_| ())
    }

    fn state(&self) -> Result<State, Error> {
        let inside = self.operation()?;
        let running = inside.running;
        let pending = |trial: &Trial| trial.left > 0 || trial.version == running;
        let failed = inside.trial.filter(|trial| !pending(trial)).map(|trial| trial.version);
        Ok(State { running, trial: inside.trial.filter(pending), failed })
    }

    fn clear_idle(&self) -> Result<(), Error> {
        let mut inside = self.operation()?;
        let running = inside.running;
        if !inside.good.contains(&running) {
            return Err(Error::NoWayBack(running));
        }
        inside.trial = None;
        inside.good.retain(|version| *version == running);
        Ok(())
    }

    fn stage(&self, version: Version, payload: &Payload, kernel: &mut dyn Read) -> Result<(), Error> {
        let mut bytes = Vec::new();
        kernel.read_to_end(&mut bytes).map_err(Error::disk("read the release for", Path::new("the boot partition")))?;
        if Sha256::of(&bytes) != payload.sha256 {
            return Err(Error::Payload { what: "kernel" });
        }
        self.operation()?.trial = Some(Trial { version, left: TRIES });
        Ok(())
    }

    fn count_running(&self) -> Result<(), Error> {
        self.operation().map(|_| ())
    }

    fn commit_running(&self) -> Result<(), Error> {
        let mut inside = self.operation()?;
        let running = inside.running;
        inside.trial = None;
        if !inside.good.contains(&running) {
            inside.good.push(running);
        }
        Ok(())
    }

    fn previous(&self) -> Result<Option<Version>, Error> {
        let inside = self.operation()?;
        let running = inside.running;
        Ok(inside.good.iter().copied().filter(|version| *version != running).max())
    }

    fn go_back(&self) -> Result<(), Error> {
        self.previous()?.ok_or(Error::NoPrevious)?;
        let mut inside = self.operation()?;
        let running = inside.running;
        inside.good.retain(|version| *version != running);
        Ok(())
    }
}
