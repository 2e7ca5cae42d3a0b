//! Challenges that browsers have not answered yet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;

use super::Error;
use super::code::Digest;
use super::webauthn::{CHALLENGE_BYTES, Challenge};
use crate::document::Secret;

/// So long a challenge may be answered.
pub(super) const CEREMONY_MS: u64 = 5 * 60 * 1000;
/// Open ones of a kind: those that anybody may begin, and those that took a password. Of more the oldest goes, one of the same
/// network first. Nobody ends the second kind without a password.
const MAX_OPEN: usize = 1024;
const MAX_OPEN_OF_A_NETWORK: usize = 16;

/// What a challenge is for.
#[derive(Clone)]
pub(super) enum Purpose {
    /// A passkey is made for an account, by its folded name, and will be called that. `handle` is what authenticators call
    /// the account.
    Add { user: String, label: String, handle: Vec<u8> },
    /// Somebody logs in.
    LogIn,
    /// Somebody who knew the password of an account does.
    Second(KnewPassword),
}

/// Whoever knew the password of an account.
#[derive(Clone)]
pub(super) struct KnewPassword {
    /// Folded name.
    pub(super) user: String,
    /// The hash that the password was compared with.
    pub(super) hash: Secret,
    /// A better one.
    pub(super) renewed: Option<Secret>,
}

#[derive(Clone)]
struct Open {
    purpose: Purpose,
    network: IpAddr,
    challenge: Option<Challenge>,
    began_ms: u64,
}

/// By the digest of what their browser alone has. Times are milliseconds of a clock that nobody sets.
#[derive(Default)]
pub(super) struct Ceremonies(Mutex<BTreeMap<Digest, Open>>);

impl Ceremonies {
    /// Begins one. What its holder had open before is over.
    pub(super) fn open(&self, holder: Digest, purpose: Purpose, network: IpAddr, now_ms: u64) {
        let mut all = self.lock();
        all.retain(|_, open| !open.is_over(now_ms));
        all.remove(&holder);
        let is_free = |purpose: &Purpose| matches!(purpose, Purpose::LogIn);
        let same: Vec<_> = all.iter().filter(|(_, open)| is_free(&open.purpose) == is_free(&purpose)).collect();
        let near: Vec<_> = same.iter().copied().filter(|(_, open)| open.network == network).collect();
        let oldest =
            |those: &[(&Digest, &Open)]| those.iter().min_by_key(|(_, open)| open.began_ms).map(|(holder, _)| **holder);
        let one_too_many = match (near.len() >= MAX_OPEN_OF_A_NETWORK, same.len() >= MAX_OPEN) {
            (true, _) => oldest(&near),
            (false, true) => oldest(&same),
            (false, false) => None,
        };
        one_too_many.and_then(|holder| all.remove(&holder));
        all.insert(holder, Open { purpose, network, challenge: None, began_ms: now_ms });
    }

    /// A new challenge for what its holder has open; the one before is not answered any more. `None`: nothing is open.
    pub(super) fn challenge(&self, holder: Digest, now_ms: u64) -> Result<Option<(Challenge, Purpose)>, Error> {
        let mut challenge = [0; CHALLENGE_BYTES];
        rand::fill(&mut challenge).map_err(|_unspecified| Error::Random)?;
        let mut all = self.lock();
        let Some(open) = all.get_mut(&holder).filter(|open| !open.is_over(now_ms)) else { return Ok(None) };
        open.challenge = Some(challenge);
        Ok(Some((challenge, open.purpose.clone())))
    }

    /// The challenge of this holder, for the one answer to it. `None`: there is none, or it is over.
    pub(super) fn take(&self, holder: Digest, now_ms: u64) -> Option<(Challenge, Purpose)> {
        let open = self.lock().remove(&holder).filter(|open| !open.is_over(now_ms))?;
        open.challenge.map(|challenge| (challenge, open.purpose))
    }

    /// What this holder has open.
    pub(super) fn purpose(&self, holder: Digest, now_ms: u64) -> Option<Purpose> {
        let all = self.lock();
        all.get(&holder).filter(|open| !open.is_over(now_ms)).map(|open| open.purpose.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.began_ms) >= CEREMONY_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(n: u32) -> Digest {
        Digest::of(&n.to_string())
    }

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn a_challenge_is_answered_once_by_its_holder_and_in_time() {
        let all = Ceremonies::default();
        all.open(holder(1), Purpose::LogIn, address(1), 0);
        assert!(all.take(holder(1), 0).is_none(), "nobody has asked for one");
        all.open(holder(1), Purpose::LogIn, address(1), 0);
        let (first, _) = all.challenge(holder(1), 0).unwrap().unwrap();
        let (second, _) = all.challenge(holder(1), 0).unwrap().unwrap();
        assert_ne!(first, second);
        assert!(all.take(holder(2), 0).is_none());
        assert!(all.take(holder(1), CEREMONY_MS - 1).is_some_and(|(challenge, _)| challenge == second));
        assert!(all.take(holder(1), 0).is_none());
        all.open(holder(1), Purpose::LogIn, address(1), 0);
        assert!(all.challenge(holder(1), CEREMONY_MS).unwrap().is_none());
        all.challenge(holder(1), 1).unwrap().unwrap();
        assert!(all.take(holder(1), CEREMONY_MS).is_none());
    }

    #[test]
    fn one_network_ends_its_own_and_memory_is_bounded() {
        let all = Ceremonies::default();
        all.open(holder(0), Purpose::LogIn, address(0), 0);
        for n in 1..=100 {
            all.open(holder(n), Purpose::LogIn, address(1), u64::from(n));
        }
        assert!(all.purpose(holder(0), 100).is_some() && all.purpose(holder(84), 100).is_none());
        assert!(all.purpose(holder(85), 100).is_some());
        for n in 1000..3000 {
            all.open(holder(n), Purpose::LogIn, address(n), 1000);
        }
        assert_eq!(all.lock().len(), MAX_OPEN);
        assert!(all.purpose(holder(0), 1000).is_none(), "the oldest");
        all.open(holder(1), Purpose::LogIn, address(1), 1000 + CEREMONY_MS);
        assert_eq!(all.lock().len(), 1, "what is over goes");
        let knew = KnewPassword { user: "ada".to_owned(), hash: Secret::new(String::new()), renewed: None };
        all.open(holder(9), Purpose::Second(knew), address(1), 1001 + CEREMONY_MS);
        for n in 1000..3000 {
            all.open(holder(n), Purpose::LogIn, address(n % 2), 1002 + CEREMONY_MS);
        }
        assert!(all.purpose(holder(9), 1002 + CEREMONY_MS).is_some(), "it took a password");
    }
}
