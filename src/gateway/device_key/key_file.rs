//! How the key lies in its file: one line of words.
//!
//! ```text
//! frontdesk-device-key 1 clear KEY CHECK
//! frontdesk-device-key 1 argon2id m=65536,t=3,p=1 SALT SEALED CHECK
//! ```
//!
//! All but the second and third words are hexadecimal. `SEALED` is the key under AES-256-GCM-SIV, with the key that
//! argon2id (RFC 9106) makes of passphrase and salt, bound to the words before it. That key seals once, so its nonce is
//! zero. `CHECK` is the beginning of the SHA-256 of everything before it: it tells a damaged file from a wrong
//! passphrase, and says nothing of a key that is random. What earlier versions wrote, 32 bytes and no word, is read too.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::{Bytes, Error};

const NAME: &str = "frontdesk-device-key";
const VERSION: &str = "1";
const CLEAR: &str = "clear";
const ARGON2ID: &str = "argon2id";
const SALT_BYTES: usize = 16;
/// Key and tag.
const SEALED_BYTES: usize = 32 + 16;
const CHECK_BYTES: usize = 8;
/// A file that asks for more is not ours: a gigabyte is all the box has.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 100;
const MAX_LANES: u32 = 16;

/// What argon2id is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kdf {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// How often it goes over it.
    pub passes: u32,
    /// Parts of it that can be worked on at once.
    pub lanes: u32,
}

/// RFC 9106 recommends these where memory is scarce, with four lanes; one suits a small computer that starts.
impl Default for Kdf {
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }
}

impl fmt::Display for Kdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={},t={},p={}", self.memory_kib, self.passes, self.lanes)
    }
}

/// The content of a key file.
pub(super) enum KeyFile {
    Clear(Bytes),
    Protected(Protected),
}

/// A key under a passphrase.
pub(super) struct Protected {
    pub(super) kdf: Kdf,
    salt: [u8; SALT_BYTES],
    sealed: [u8; SEALED_BYTES],
}

impl KeyFile {
    /// `None` when it is not what [`Self::print`] writes.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if let Ok(key) = <[u8; 32]>::try_from(bytes)
            && !bytes.starts_with(NAME.as_bytes())
        {
            return Some(Self::Clear(Zeroizing::new(key)));
        }
        let line = str::from_utf8(bytes).ok()?;
        let (checked, found) = line.strip_suffix('\n').unwrap_or(line).rsplit_once(' ')?;
        if check(checked) != found {
            return None;
        }
        let mut words = checked.split(' ');
        if words.next()? != NAME || words.next()? != VERSION {
            return None;
        }
        let content = match words.next()? {
            CLEAR => Self::Clear(Zeroizing::new(unhex(words.next()?)?)),
            ARGON2ID => Self::Protected(Protected {
                kdf: Kdf::parse(words.next()?)?,
                salt: unhex(words.next()?)?,
                sealed: unhex(words.next()?)?,
            }),
            _ => return None,
        };
        words.next().is_none().then_some(content)
    }

    /// The line, with its end.
    pub(super) fn print(&self) -> Zeroizing<String> {
        let checked = Zeroizing::new(match self {
            Self::Clear(key) => format!("{NAME} {VERSION} {CLEAR} {}", *hex(&**key)),
            Self::Protected(protected) => format!("{} {}", protected.head(), *hex(&protected.sealed)),
        });
        Zeroizing::new(format!("{} {}\n", *checked, check(&checked)))
    }
}

impl Protected {
    /// Puts `passphrase` over `key`. Takes as long as the parameters want.
    pub(super) fn seal(key: &Bytes, passphrase: &str, kdf: Kdf, salt: [u8; SALT_BYTES]) -> Result<Self, Error> {
        let mut protected = Self { kdf, salt, sealed: [0; SEALED_BYTES] };
        let (cipher, bound_to) = (protected.cipher(passphrase)?, protected.head());
        let (text, tag) = protected.sealed.split_at_mut(32);
        text.copy_from_slice(&**key);
        let sealed = cipher.seal_in_place_separate_tag(nonce(), Aad::from(bound_to), text);
        let sealed = sealed.map_err(|_unspecified| Error::Kdf("the cipher cannot be used".to_owned()))?;
        tag.copy_from_slice(sealed.as_ref());
        Ok(protected)
    }

    /// The key; `None` when the passphrase is another one.
    pub(super) fn open(&self, passphrase: &str) -> Result<Option<Bytes>, Error> {
        let mut key = Zeroizing::new([0; 32]);
        let (text, tag) = self.sealed.split_at(32);
        let opened =
            self.cipher(passphrase)?.open_separate_gather(nonce(), Aad::from(self.head()), text, tag, &mut *key);
        Ok(opened.is_ok().then_some(key))
    }

    /// The words that the sealed one is bound to.
    fn head(&self) -> String {
        format!("{NAME} {VERSION} {ARGON2ID} {} {}", self.kdf, *hex(&self.salt))
    }

    fn cipher(&self, passphrase: &str) -> Result<LessSafeKey, Error> {
        let failed = |error: argon2::Error| Error::Kdf(error.to_string());
        let Kdf { memory_kib, passes, lanes } = self.kdf;
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(failed)?;
        let mut key = Zeroizing::new([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase.as_bytes(), &self.salt, &mut *key).map_err(failed)?;
        let key = UnboundKey::new(&AES_256_GCM_SIV, &*key);
        key.map(LessSafeKey::new).map_err(|_unspecified| Error::Kdf("the cipher cannot be used".to_owned()))
    }
}

impl Kdf {
    fn parse(text: &str) -> Option<Self> {
        let (memory, rest) = text.strip_prefix("m=")?.split_once(",t=")?;
        let (passes, lanes) = rest.split_once(",p=")?;
        let kdf = Self { memory_kib: memory.parse().ok()?, passes: passes.parse().ok()?, lanes: lanes.parse().ok()? };
        let is_ours = kdf.to_string() == text
            && (1..=MAX_LANES).contains(&kdf.lanes)
            && (1..=MAX_PASSES).contains(&kdf.passes)
            && (8 * kdf.lanes..=MAX_MEMORY_KIB).contains(&kdf.memory_kib);
        is_ours.then_some(kdf)
    }
}

/// One key seals one text.
fn nonce() -> Nonce {
    Nonce::from(&[0; 12])
}

fn check(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(CHECK_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    text
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut digits = text.chars().map(|digit| digit.to_digit(16).filter(|_| !digit.is_ascii_uppercase()));
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As cheap as it gets.
    const FAST: Kdf = Kdf { memory_kib: 8, passes: 1, lanes: 1 };
    const CLEAR_LINE: &str = "frontdesk-device-key 1 clear 0909090909090909090909090909090909090909090909090909090909090909 6aaaccc3e99d0c94\n";
    const PROTECTED_LINE: &str = "frontdesk-device-key 1 argon2id m=8,t=1,p=1 \
                                  05050505050505050505050505050505 \
                                  6c195d167d06fc65daa51030941e91b1130207fab6a3775b511461a1c7217d16edac990f2b69c7ba4aa6bc7a44acb756 9ffb03ed5fb61446\n";

    fn key() -> Bytes {
        Zeroizing::new([9; 32])
    }

    fn clear(bytes: &[u8]) -> Option<[u8; 32]> {
        match KeyFile::parse(bytes)? {
            KeyFile::Clear(key) => Some(*key),
            KeyFile::Protected(_) => None,
        }
    }

    fn opened(bytes: &[u8], passphrase: &str) -> Option<Bytes> {
        match KeyFile::parse(bytes)? {
            KeyFile::Clear(_) => None,
            KeyFile::Protected(protected) => protected.open(passphrase).unwrap(),
        }
    }

    /// What was written must be read for ever. The lines were made with Python's cryptography.
    #[test]
    fn files_keep_their_shape() {
        assert_eq!(clear(CLEAR_LINE.as_bytes()), Some([9; 32]));
        assert_eq!(*KeyFile::Clear(key()).print(), CLEAR_LINE);
        assert_eq!(opened(PROTECTED_LINE.as_bytes(), "correct horse"), Some(key()));
        let protected = Protected::seal(&key(), "correct horse", FAST, [5; 16]).unwrap();
        assert_eq!(*KeyFile::Protected(protected).print(), PROTECTED_LINE);
        assert_eq!(clear(&[9; 32]), Some([9; 32]), "before there were words");
    }

    #[test]
    fn a_wrong_passphrase_is_not_a_damaged_file() {
        let protected = Protected::seal(&key(), "correct horse", FAST, [5; 16]).unwrap();
        for wrong in ["", "correct horse ", "Correct horse", "correct horsf"] {
            assert_eq!(protected.open(wrong).unwrap(), None, "{wrong}");
        }
        let other = Protected { salt: [6; 16], ..Protected::seal(&key(), "correct horse", FAST, [5; 16]).unwrap() };
        assert_eq!(other.open("correct horse").unwrap(), None, "another salt");
    }

    #[test]
    fn a_file_with_a_changed_byte_is_refused() {
        for line in [CLEAR_LINE, PROTECTED_LINE] {
            for n in 0..line.len() - 1 {
                for change in [1, 0x20] {
                    let mut bytes = line.as_bytes().to_vec();
                    bytes[n] ^= change;
                    assert!(KeyFile::parse(&bytes).is_none(), "byte {n} of {line}");
                }
                assert!(KeyFile::parse(&line.as_bytes()[..n]).is_none(), "cut at {n}");
            }
        }
    }

    #[test]
    fn a_file_cannot_ask_for_all_memory() {
        let check = |text: &str, expected: bool| assert_eq!(Kdf::parse(text).is_some(), expected, "{text}");
        check("m=65536,t=3,p=1", true);
        check("m=262144,t=3,p=4", true);
        check("m=262145,t=3,p=4", false);
        check("m=4294967295,t=3,p=1", false);
        check("m=31,t=3,p=4", false);
        check("m=65536,t=0,p=1", false);
        check("m=65536,t=101,p=1", false);
        check("m=65536,t=3,p=0", false);
        check("m=+65536,t=3,p=1", false);
        check("m=65536,t=3,p=1,x=1", false);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed(key: [u8; 32], passphrase in ".{0,40}", salt: [u8; 16]) {
            let line = KeyFile::Clear(Zeroizing::new(key)).print();
            prop_assert_eq!(clear(line.as_bytes()), Some(key));
            let protected = Protected::seal(&Zeroizing::new(key), &passphrase, FAST, salt).unwrap();
            let line = KeyFile::Protected(protected).print();
            prop_assert_eq!(opened(line.as_bytes(), &passphrase).map(|key| *key), Some(key));
        }

        #[test]
        fn nothing_else_is_a_key(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(bytes.len() == 32 || KeyFile::parse(&bytes).is_none());
        }
    }
}
