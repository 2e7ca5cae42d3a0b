//! Passwords: which are good enough, and their hashes.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use tokio::sync::Semaphore;
use zxcvbn::feedback::Warning;
use zxcvbn::{Score, zxcvbn};

use super::Error;
use super::name::nfc;
use crate::document::Secret;

/// Shortest password, in characters.
pub const MIN_PASSWORD_CHARS: usize = 10;
/// Longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 256;

/// What argon2id costs: 19 MiB, twice, as OWASP's password storage cheat sheet recommends. Kept with every hash.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const OUTPUT_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// What a file may ask for: more is not from us, and would stop the box.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;
/// Hashes that may be waited for. Each takes about a tenth of a second on a small computer.
const MAX_WAITING: usize = 16;
/// Nobody's. Looked at where there is no account, so that this takes as long.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Under [`MIN_PASSWORD_CHARS`].
    #[error(
        "a password has at least {MIN_PASSWORD_CHARS} characters; a few words that do not belong together are easy to keep"
    )]
    Short,
    /// Over [`MAX_PASSWORD_BYTES`].
    #[error("a password has at most {MAX_PASSWORD_BYTES} bytes")]
    Long,
    /// It is on every list.
    #[error("many people have this password, or one like it; take a few words that do not belong together")]
    Common,
    /// `qwertyuiop`, `abcdefghij`.
    #[error("keys in a row and sequences are easy to guess; take a few words that do not belong together")]
    Sequence,
    /// `aaaaaaaaaa`.
    #[error("repetitions are easy to guess; take a few words that do not belong together")]
    Repetition,
    /// A day that means something.
    #[error("dates and years are easy to guess; take a few words that do not belong together")]
    Date,
    /// Somebody's.
    #[error("names are easy to guess; take a few words that do not belong together")]
    PersonName,
    /// One.
    #[error("one word is easy to guess; add others that do not belong to it")]
    Word,
    /// For several reasons, or because it is about this account or business.
    #[error("this password is easy to guess; add a word or two that do not belong to it")]
    Guessable,
}

impl Weakness {
    /// A word for it that stays the same, for programs and translations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
            Self::Common => "common",
            Self::Sequence => "sequence",
            Self::Repetition => "repetition",
            Self::Date => "date",
            Self::PersonName => "name",
            Self::Word => "word",
            Self::Guessable => "guessable",
        }
    }
}

/// Is a password good enough? `words` are what somebody would try who knows the account: its name, the business.
/// It takes some milliseconds.
///
/// # Errors
/// The worst that is wrong with it.
pub fn check_password(password: &str, words: &[&str]) -> Result<(), Weakness> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(Weakness::Long);
    }
    let password = nfc(password);
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(Weakness::Short);
    }
    let found = zxcvbn(&password, words);
    if found.score() >= Score::Three {
        return Ok(());
    }
    let Some(warning) = found.feedback().and_then(|feedback| feedback.warning()) else {
        return Err(Weakness::Guessable);
    };
    Err(match warning {
        Warning::ThisIsATop10Password
        | Warning::ThisIsATop100Password
        | Warning::ThisIsACommonPassword
        | Warning::ThisIsSimilarToACommonlyUsedPassword => Weakness::Common,
        Warning::StraightRowsOfKeysAreEasyToGuess
        | Warning::ShortKeyboardPatternsAreEasyToGuess
        | Warning::SequencesLikeAbcAreEasyToGuess => Weakness::Sequence,
        Warning::RepeatsLikeAaaAreEasyToGuess | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess => {
            Weakness::Repetition
        }
        Warning::RecentYearsAreEasyToGuess | Warning::DatesAreOftenEasyToGuess => Weakness::Date,
        Warning::NamesAndSurnamesByThemselvesAreEasyToGuess | Warning::CommonNamesAndSurnamesAreEasyToGuess => {
            Weakness::PersonName
        }
        Warning::AWordByItselfIsEasyToGuess => Weakness::Word,
    })
}

/// Does the work with passwords, one at a time: each costs memory that a small computer has only once.
pub(super) struct Hashing {
    one: Arc<Semaphore>,
    waiting: Semaphore,
}

/// How a password fits an account.
pub(super) enum Fit {
    Wrong,
    Right,
    /// Right, and this is a better hash of it.
    Renewed(Secret),
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self { one: Arc::new(Semaphore::new(1)), waiting: Semaphore::new(MAX_WAITING) }
    }

    /// A hash of a password that is good enough.
    pub(super) async fn hash(&self, password: &Secret, words: Vec<String>) -> Result<Secret, Error> {
        let password = password.clone();
        self.run(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            check_password(password.expose(), &words)?;
            hash(password.expose())
        })
        .await?
    }

    /// Compares. Where there is no hash it takes as long.
    pub(super) async fn fit(&self, password: &Secret, hash: Option<Secret>) -> Result<Fit, Error> {
        let password = password.clone();
        self.run(move || fit(password.expose(), hash.as_ref().map(Secret::expose))).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _waiting = self.waiting.try_acquire().map_err(|_full| Error::Busy)?;
        let one = self.one.clone().acquire_owned().await.map_err(|_closed| Error::Interrupted)?;
        let done = tokio::task::spawn_blocking(move || {
            // Also when nobody waits for it any more.
            let _one = one;
            work()
        });
        done.await.map_err(|_interrupted| Error::Interrupted)
    }
}

/// Is it a hash that we can compare with, at a price that we pay?
pub(super) fn is_hash(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let is_ours =
        hash.algorithm.as_str() == Algorithm::Argon2id.as_str() && hash.version == Some(Version::V0x13.into());
    let is_whole = hash.salt.is_some() && hash.hash.is_some();
    is_ours
        && is_whole
        && Params::try_from(&hash).is_ok_and(|params| {
            params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_PASSES && params.p_cost() == LANES
        })
}

fn hash(password: &str) -> Result<Secret, Error> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_unspecified| Error::Random)?;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT_BYTES)).map_err(|_unusual| Error::Interrupted)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(nfc(password).as_bytes(), &salt).map_err(|_memory| Error::Busy)?;
    Ok(Secret::new(hash.to_string()))
}

fn fit(password: &str, hash: Option<&str>) -> Fit {
    // Nobody's password is that long; what it costs to compare one does not depend on it.
    let password = if password.len() > MAX_PASSWORD_BYTES { "" } else { password };
    let is_right = Argon2::default().verify_password(nfc(password).as_bytes(), hash.unwrap_or(DUMMY)).is_ok();
    match hash.filter(|_| is_right) {
        None => Fit::Wrong,
        Some(hash) if is_outdated(hash) => self::hash(password).map_or(Fit::Right, Fit::Renewed),
        Some(_) => Fit::Right,
    }
}

fn is_outdated(hash: &str) -> bool {
    let params = PasswordHash::new(hash).ok().and_then(|hash| Params::try_from(&hash).ok());
    params.is_some_and(|params| params.m_cost() < MEMORY_KIB || params.t_cost() < PASSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_judged_and_the_reason_has_a_name() {
        let check = |password: &str, words: &[&str], expected: Result<(), Weakness>| {
            assert_eq!(check_password(password, words), expected, "{password}");
        };
        check("correct horse battery", &[], Ok(()));
        check("vT9#kq2!mZ", &[], Ok(()));
        check("vT9#kq2!m", &[], Err(Weakness::Short));
        check("äöüäöüäöü", &[], Err(Weakness::Short));
        check(&"ab3 ".repeat(64), &[], Err(Weakness::Repetition));
        check(&"a".repeat(257), &[], Err(Weakness::Long));
        check("password123", &[], Err(Weakness::Common));
        check("qwertyuiop[", &[], Err(Weakness::Sequence));
        check("aaaaaaaaaaaa", &[], Err(Weakness::Repetition));
        let of_business = "zahnarztpraxis lindenhof";
        check(of_business, &[], Ok(()));
        assert!(check_password(of_business, &["Zahnarztpraxis Lindenhof"]).is_err());
    }

    #[test]
    fn a_hash_fits_its_password_only_and_an_old_one_is_renewed() {
        let first = hash("Zoe\u{308} likes tea").unwrap();
        assert!(is_hash(first.expose()) && !is_outdated(first.expose()), "{}", first.expose());
        assert!(first.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", first.expose());
        assert_ne!(hash("Zoe\u{308} likes tea").unwrap(), first, "the salt differs");
        assert!(matches!(fit("Zo\u{eb} likes tea", Some(first.expose())), Fit::Right));
        assert!(matches!(fit("zo\u{eb} likes tea", Some(first.expose())), Fit::Wrong));
        assert!(matches!(fit("", None), Fit::Wrong));
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let weak = weak.hash_password_with_salt(b"an old password", &[7; 16]).unwrap().to_string();
        let Fit::Renewed(renewed) = fit("an old password", Some(&weak)) else { panic!("it is not renewed") };
        assert!(matches!(fit("an old password", Some(renewed.expose())), Fit::Right));
    }

    #[test]
    fn only_hashes_of_a_bearable_price_are_hashes() {
        assert!(is_hash(DUMMY));
        let with = |from: &str, to: &str| is_hash(&DUMMY.replace(from, to));
        assert!(with("m=19456", "m=65536"));
        for (from, to) in [
            ("m=19456", "m=4000000"),
            ("t=2", "t=1000"),
            ("p=1", "p=4"),
            ("argon2id", "argon2i"),
            ("v=19", "v=16"),
            ("argon2id", "scrypt"),
            ("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", ""),
        ] {
            assert!(!with(from, to), "{to}");
        }
    }

    #[tokio::test]
    async fn what_would_wait_too_long_is_refused() {
        let hashing = Hashing::new();
        let one = hashing.one.clone().acquire_owned().await.unwrap();
        let waiting = (0..MAX_WAITING).map(|_| hashing.run(|| ())).collect::<Vec<_>>();
        let mut all = Box::pin(futures_util::future::join_all(waiting));
        assert!(futures_util::poll!(&mut all).is_pending());
        assert!(matches!(hashing.run(|| ()).await, Err(Error::Busy)));
        drop(one);
        assert!(all.await.iter().all(Result::is_ok));
        assert!(hashing.run(|| ()).await.is_ok());
    }
}
