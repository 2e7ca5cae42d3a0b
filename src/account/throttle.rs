//! How often somebody may try.
//!
//! After each failure of an address, and of an account, the next attempt waits: 1 s, 2 s, 4 s … 15 minutes. An attempt
//! before its time is refused and makes nothing longer. What has not failed for an hour begins anew.
//!
//! An address from which an account was used before waits for its own failures only, so nobody elsewhere keeps the owner
//! out of an account. From an address that is new to the account, they can, for as long as they go on.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::code::Digest;

const FIRST_MS: u64 = 1000;
const LONGEST_MS: u64 = 15 * 60 * 1000;
const FORGOTTEN_MS: u64 = 60 * 60 * 1000;
/// So often a failure of an address is worth a line of the log.
const SAID_MS: u64 = 60 * 1000;
/// Addresses, and accounts, that are remembered. Of more the one that failed least often goes, so that many names that
/// somebody made up do not end the wait of one that is guessed at.
const MAX_ENTRIES: usize = 4096;

/// Failures of addresses and of accounts. Times are milliseconds of a clock that nobody sets.
#[derive(Default)]
pub(super) struct Throttle(Mutex<Counters>);

#[derive(Default)]
struct Counters {
    addresses: Counter<IpAddr>,
    accounts: Counter<[u8; 32]>,
}

/// One that was begun. It counts as a failure unless it is said otherwise, so that many at once are not many chances.
pub(super) struct Attempt<'t> {
    throttle: &'t Throttle,
    address: (IpAddr, u64),
    account: Option<([u8; 32], u64)>,
}

impl Throttle {
    /// Begins an attempt from a network; at an account, if its failures count for this network too.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(super) fn begin(&self, address: IpAddr, account: Option<Digest>, now_ms: u64) -> Result<Attempt<'_>, Duration> {
        let account = account.map(|account| account.0);
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait_ms = counters.addresses.wait_ms(&address, now_ms);
        let wait_ms = wait_ms.max(account.map_or(0, |account| counters.accounts.wait_ms(&account, now_ms)));
        if wait_ms > 0 {
            return Err(Duration::from_millis(wait_ms));
        }
        let account = account.map(|account| (account, counters.accounts.add(account, now_ms)));
        let address = (address, counters.addresses.add(address, now_ms));
        drop(counters);
        Ok(Attempt { throttle: self, address, account })
    }

    /// Is a failure of this network to be said? Once a minute, so that nobody fills the log.
    pub(super) fn is_to_be_said(&self, address: IpAddr, now_ms: u64) -> bool {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is not remembered is one of very many.
        let Some(failures) = counters.addresses.0.get_mut(&address) else { return false };
        let is_due = failures.said_ms.is_none_or(|at| now_ms.saturating_sub(at) >= SAID_MS);
        if is_due {
            failures.said_ms = Some(now_ms);
        }
        is_due
    }
}

impl Attempt<'_> {
    /// It was right. The account's failures are over. The address's are not: who has one account could go on guessing
    /// at another by logging in now and then.
    pub(super) fn succeeded(self) {
        let mut counters = self.throttle.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.addresses.take_back(self.address);
        if let Some((account, _)) = self.account {
            counters.accounts.0.remove(&account);
        }
    }

    /// Nothing was tried.
    pub(super) fn take_back(self) {
        let mut counters = self.throttle.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.addresses.take_back(self.address);
        self.account.into_iter().for_each(|account| counters.accounts.take_back(account));
    }
}

struct Counter<K>(HashMap<K, Failures>);

#[derive(Clone, Copy)]
struct Failures {
    n: u32,
    last_ms: u64,
    said_ms: Option<u64>,
}

impl<K> Default for Counter<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Counter<K> {
    fn wait_ms(&self, key: &K, now_ms: u64) -> u64 {
        let failures = self.0.get(key).filter(|failures| !failures.are_forgotten(now_ms));
        failures.map_or(0, |failures| failures.last_ms.saturating_add(delay_ms(failures.n)).saturating_sub(now_ms))
    }

    /// Counts one; says when the one before was.
    fn add(&mut self, key: K, now_ms: u64) -> u64 {
        if self.0.len() >= MAX_ENTRIES && !self.0.contains_key(&key) {
            // As many as there may be are looked at: little beside a password.
            let worth = |failures: &Failures| match failures.are_forgotten(now_ms) {
                true => (0, failures.last_ms),
                false => (failures.n, failures.last_ms),
            };
            let least = self.0.iter().min_by_key(|(_, failures)| worth(failures)).map(|(key, _)| key.clone());
            least.and_then(|least| self.0.remove(&least));
        }
        let failures = self.0.entry(key).or_insert(Failures { n: 0, last_ms: now_ms, said_ms: None });
        if failures.are_forgotten(now_ms) {
            failures.n = 0;
        }
        failures.n = failures.n.saturating_add(1);
        std::mem::replace(&mut failures.last_ms, now_ms)
    }

    fn take_back(&mut self, (key, before_ms): (K, u64)) {
        let Some(failures) = self.0.get_mut(&key) else { return };
        failures.n = failures.n.saturating_sub(1);
        failures.last_ms = before_ms;
        if failures.n == 0 {
            self.0.remove(&key);
        }
    }
}

impl Failures {
    fn are_forgotten(self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_ms) > FORGOTTEN_MS
    }
}

/// After so many failures.
fn delay_ms(n: u32) -> u64 {
    let doubled = 1_u64.checked_shl(n.saturating_sub(1)).unwrap_or(u64::MAX);
    FIRST_MS.saturating_mul(doubled).min(LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    /// Tries as early as it may, and fails; the waits, in seconds.
    fn waits(throttle: &Throttle, address: IpAddr, account: Option<Digest>, n: usize, now_ms: &mut u64) -> Vec<u64> {
        let mut waits = Vec::new();
        for _ in 0..n {
            assert!(throttle.begin(address, account, *now_ms).is_ok(), "its time has come");
            let Err(wait) = throttle.begin(address, account, *now_ms) else { panic!("it has to wait") };
            assert!(throttle.begin(address, account, *now_ms + wait_ms(wait) - 1).is_err(), "not before");
            *now_ms += wait_ms(wait);
            waits.push(wait.as_secs());
        }
        waits
    }

    fn wait_ms(wait: Duration) -> u64 {
        u64::try_from(wait.as_millis()).unwrap()
    }

    #[test]
    fn the_wait_grows_to_a_quarter_of_an_hour_and_is_forgotten_after_an_hour() {
        let (throttle, mut now_ms) = (Throttle::default(), 5);
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900];
        assert_eq!(waits(&throttle, address(1), None, expected.len(), &mut now_ms), expected);
        now_ms += FORGOTTEN_MS;
        assert_eq!(waits(&throttle, address(1), None, 2, &mut now_ms), [1, 2]);
        assert_eq!(delay_ms(u32::MAX), LONGEST_MS);
    }

    #[test]
    fn an_account_waits_also_for_other_addresses_and_a_known_address_only_for_itself() {
        let (throttle, mut now_ms, account) = (Throttle::default(), 0, Digest([1; 32]));
        waits(&throttle, address(1), Some(account), 3, &mut now_ms);
        let now_ms = now_ms - 1;
        assert!(throttle.begin(address(2), Some(account), now_ms).is_err());
        assert!(throttle.begin(address(2), Some(Digest([2; 32])), now_ms).is_ok(), "another account");
        assert!(throttle.begin(address(3), None, now_ms).is_ok(), "known to the account");
        assert!(throttle.begin(address(1), None, now_ms).is_err(), "known to the account, and failed itself");
    }

    #[test]
    fn a_success_clears_the_account_and_not_the_address() {
        let (throttle, mut now_ms, account) = (Throttle::default(), 0, Digest([1; 32]));
        waits(&throttle, address(1), Some(account), 3, &mut now_ms);
        throttle.begin(address(1), Some(account), now_ms).unwrap().succeeded();
        assert!(throttle.begin(address(1), Some(account), now_ms).is_ok(), "what succeeded is not waited for");
        assert_eq!(throttle.begin(address(1), None, now_ms).err().map(|wait| wait.as_secs()), Some(8));
        assert_eq!(throttle.begin(address(2), Some(account), now_ms).err().map(|wait| wait.as_secs()), Some(1));
    }

    #[test]
    fn what_was_not_tried_does_not_count() {
        let throttle = Throttle::default();
        for _ in 0..5 {
            throttle.begin(address(1), Some(Digest([1; 32])), 7).unwrap().take_back();
        }
        assert!(throttle.begin(address(1), Some(Digest([1; 32])), 7).is_ok());
    }

    #[test]
    fn made_up_names_do_not_end_the_wait_of_one_that_is_guessed_at() {
        let (throttle, mut now_ms, victim) = (Throttle::default(), 0, Digest([0; 32]));
        waits(&throttle, address(0), Some(victim), 5, &mut now_ms);
        let made_up = |n: u32| {
            let mut bytes = [1; 32];
            bytes.iter_mut().zip(n.to_le_bytes()).for_each(|(to, from)| *to = from);
            Digest(bytes)
        };
        for n in 1..=2 * u32::try_from(MAX_ENTRIES).unwrap() {
            assert!(throttle.begin(address(n), Some(made_up(n)), now_ms).is_ok());
        }
        assert!(throttle.begin(address(0), None, now_ms).is_ok(), "its time has come");
        let last = u32::MAX;
        assert!(throttle.begin(address(last), Some(victim), now_ms).is_ok(), "its time has come");
        let wait = |from, account| throttle.begin(address(from), account, now_ms).err().map(|wait| wait.as_secs());
        assert_eq!(wait(last - 1, Some(victim)), Some(32), "the account's sixth");
        assert_eq!(wait(0, None), Some(32), "the address's sixth");
    }

    #[test]
    fn what_is_forgotten_goes_before_what_failed_once() {
        let (throttle, mut now_ms) = (Throttle::default(), 0);
        waits(&throttle, address(0), None, 5, &mut now_ms);
        now_ms += 2 * FORGOTTEN_MS;
        let last = u32::try_from(MAX_ENTRIES).unwrap();
        (1..=last).for_each(|n| drop(throttle.begin(address(n), None, now_ms)));
        assert!((1..=last).all(|n| throttle.begin(address(n), None, now_ms).is_err()), "each of them waits");
    }

    #[test]
    fn memory_is_bounded_and_of_equals_the_oldest_goes() {
        let throttle = Throttle::default();
        let last = u32::try_from(MAX_ENTRIES).unwrap();
        for n in 0..=last {
            assert!(throttle.begin(address(n), None, u64::from(n)).is_ok());
        }
        let counters = throttle.0.lock().unwrap();
        let is_remembered = |n| counters.addresses.0.contains_key(&address(n));
        assert_eq!(counters.addresses.0.len(), MAX_ENTRIES);
        assert_eq!([0, 1, last].map(is_remembered), [false, true, true]);
    }
}
